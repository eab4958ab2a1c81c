"""The forecast of a city for a local day as an ENTSO-E Generation Load document (GL_MarketDocument of IEC 62325-451-6).

Element names, their order and the codes follow "Generation Load document UML model and schema", version 1.0, published
by ENTSO-E on 2017-01-27, and its code lists. The XML schema is part of IEC 62325-451-6, which is not free: documents
are not validated against it. Tests check the elements, their order, the intervals and the values.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree

from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError
from energy_forecast.readings.forecasts import live_forecast
from energy_forecast.readings.spans import day_span
from energy_forecast.tables import Table

_NAMESPACE = "urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"
# Codes: A65 system total load, A01 day ahead, A04 consumption, A01 area, MAW megawatt, A01 sequential fixed blocks
_DOCUMENT_TYPE, _PROCESS_TYPE, _BUSINESS_TYPE, _AGGREGATION, _UNIT, _CURVE = "A65", "A01", "A04", "A01", "MAW", "A01"
# Roles: A39 data provider, A32 market information aggregator
_SENDER_ROLE, _RECEIVER_ROLE = "A39", "A32"
_EIC = re.compile(r"[0-9A-Z-]{15}[0-9A-Z]")
_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"


def check_eic(code: str, name: str, kinds: str) -> str:
    """Return an Energy Identification Code.

    Args:
        name: the parameter, for messages.
        kinds: letters that the third character may be: Y for an area, X for a party.

    Raises:
        EnergyForecastError: it has another form, or its check character is wrong.
    """
    if not _EIC.fullmatch(code):
        raise EnergyForecastError(
            f"`{name}`: {code!r} is not an EIC code of 16 characters.", hint="Ask the issuing office for the code."
        )
    if code[2] not in kinds:
        raise EnergyForecastError(
            f"`{name}`: the third character of {code!r} must be {' or '.join(kinds)}.",
            hint="Check the kind of the code.",
        )
    total = sum(_CHARACTERS.index(one) * weight for one, weight in zip(code, range(16, 1, -1), strict=False))
    if code[15] != _CHARACTERS[36 - (total - 1) % 37]:
        raise EnergyForecastError(
            f"`{name}`: the check character of {code!r} is wrong.", hint="Check the code for typing errors."
        )
    return code


def gl_market_document(
    connection: Connection,
    city: str,
    *,
    day: date,
    area: str,
    sender: str,
    receiver: str,
    revision: int = 1,
    as_of: datetime | None = None,
    model: str | None = None,
) -> bytes:
    """Return the day-ahead total load forecast of a city (A65, A01) as XML, mean power in MW.

    Args:
        day: a local day of the city; it has 23, 24 or 25 hours.
        area: EIC code of the area, whose load is that of the city.
        sender, receiver: EIC codes of the parties.
        revision: 1 to 999; a later document of the same day needs a higher number.
        as_of, model: as in `live_forecast`.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        NotEnoughDataError: there is no live forecast of the whole day.
        EnergyForecastError: a code is invalid.
    """
    table = live_forecast(connection, city, as_of=as_of, model=model)
    return document_of(
        table, database_now(connection), day=day, area=area, sender=sender, receiver=receiver, revision=revision
    )


def document_of(
    forecast: Table, created_at: datetime, *, day: date, area: str, sender: str, receiver: str, revision: int
) -> bytes:
    """Return the document of a forecast; see `gl_market_document`.

    Args:
        forecast: of `live_forecast`.
        created_at: the time of the document.
    """
    check_eic(area, "area", "YZ")
    check_eic(sender, "sender", "X")
    check_eic(receiver, "receiver", "X")
    if not 1 <= revision <= 999:
        raise EnergyForecastError(f"`revision`: {revision} is not between 1 and 999.")
    facts = forecast.facts
    first, end = day_span(day, facts["timezone"])
    values = _values_of_day(forecast, first, end, day)
    root = ElementTree.Element("GL_MarketDocument", {"xmlns": _NAMESPACE})
    _add(root, "mRID", f"{area}-{_DOCUMENT_TYPE}-{day:%Y%m%d}")
    _add(root, "revisionNumber", str(revision))
    _add(root, "type", _DOCUMENT_TYPE)
    _add(root, "process.processType", _PROCESS_TYPE)
    _add(root, "sender_MarketParticipant.mRID", sender, codingScheme="A01")
    _add(root, "sender_MarketParticipant.marketRole.type", _SENDER_ROLE)
    _add(root, "receiver_MarketParticipant.mRID", receiver, codingScheme="A01")
    _add(root, "receiver_MarketParticipant.marketRole.type", _RECEIVER_ROLE)
    _add(root, "createdDateTime", f"{created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    _add_interval(root, "time_Period.timeInterval", first, end)
    series = _add(root, "TimeSeries")
    _add(series, "mRID", "1")
    _add(series, "businessType", _BUSINESS_TYPE)
    _add(series, "objectAggregation", _AGGREGATION)
    _add(series, "outBiddingZone_Domain.mRID", area, codingScheme="A01")
    _add(series, "quantity_Measure_Unit.name", _UNIT)
    _add(series, "curveType", _CURVE)
    period = _add(series, "Period")
    _add_interval(period, "timeInterval", first, end)
    _add(period, "resolution", f"PT{facts['interval_minutes']}M")
    for position, kwh in enumerate(values, start=1):
        point = _add(period, "Point")
        _add(point, "position", str(position))
        # kWh in the interval as mean power in MW, to the kW
        _add(point, "quantity", f"{kwh * 60 / facts['interval_minutes'] / 1000:.3f}")
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _values_of_day(forecast: Table, first: datetime, end: datetime, day: date) -> list[float]:
    """Return the forecast of each interval of a day, kWh.

    Raises:
        NotEnoughDataError: an interval is missing.
    """
    times, values = forecast.frame["timestamp"].to_list(), forecast.frame["predicted"].to_list()
    found = {at: kwh for at, kwh in zip(times, values, strict=True) if first <= at < end}
    step = timedelta(minutes=forecast.facts["interval_minutes"])
    count = int((end - first) / step)
    if list(found) != [first + number * step for number in range(count)] or first + count * step != end:
        facts = forecast.facts
        raise NotEnoughDataError(
            f"The forecast of {facts['city']} issued at {facts['issued_at']:%Y-%m-%d %H:%M}Z has {len(found)} of the "
            f"{count} intervals of {day}.",
            hint="Issue a forecast whose horizon covers the day.",
        )
    return list(found.values())


def _add(parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, name, attributes)
    child.text = text
    return child


def _add_interval(parent: ElementTree.Element, name: str, first: datetime, end: datetime) -> None:
    interval = _add(parent, name)
    _add(interval, "start", f"{first.astimezone(UTC):%Y-%m-%dT%H:%MZ}")
    _add(interval, "end", f"{end.astimezone(UTC):%Y-%m-%dT%H:%MZ}")
