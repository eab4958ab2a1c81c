"""ENTSO-E documents: every interval of a local day in order, power for energy, and codes without typing errors."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest

from energy_forecast.errors import EnergyForecastError, NotEnoughDataError
from energy_forecast.readings.entsoe import check_eic, document_of
from energy_forecast.readings.spans import day_span
from energy_forecast.tables import Table

AREA, PARTY = "10Y1001A1001A83F", "10X1001A1001A450"
NAMESPACE = "{urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0}"
CREATED = datetime(2026, 3, 28, 10, tzinfo=UTC)


def forecast(zone: str, first: datetime, count: int, minutes: int = 60) -> Table:
    """Return a forecast of 1000 kWh, 1001 kWh and so on."""
    step = timedelta(minutes=minutes)
    frame = pl.DataFrame(
        {"timestamp": [first + n * step for n in range(count)], "predicted": [1000.0 + n for n in range(count)]}
    )
    return Table(frame, {"city": "A", "timezone": zone, "interval_minutes": minutes, "issued_at": CREATED})


def document(table: Table, day: date, **changes: Any) -> ElementTree.Element:
    given = {"area": AREA, "sender": PARTY, "receiver": PARTY, "revision": 1, **changes}
    return ElementTree.fromstring(document_of(table, CREATED, day=day, **given))


def texts(root: ElementTree.Element, path: str) -> list[str | None]:
    return [one.text for one in root.findall("/".join(NAMESPACE + part for part in path.split("/")))]


@pytest.mark.parametrize(
    ("zone", "day", "minutes", "count", "start", "end"),
    [
        ("Europe/Berlin", date(2026, 3, 28), 60, 24, "2026-03-27T23:00Z", "2026-03-28T23:00Z"),
        ("Europe/Berlin", date(2026, 3, 29), 60, 23, "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("Europe/Berlin", date(2026, 10, 25), 60, 25, "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        ("Europe/Berlin", date(2026, 10, 25), 15, 100, "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        ("Asia/Kolkata", date(2026, 3, 29), 60, 24, "2026-03-28T18:30Z", "2026-03-29T18:30Z"),
        ("America/New_York", date(2026, 11, 1), 60, 25, "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
    ],
)
def test_has_every_interval_of_the_local_day(
    zone: str, day: date, minutes: int, count: int, start: str, end: str
) -> None:
    first, _ = day_span(day, zone)
    before = 6 * 60 // minutes
    table = forecast(zone, first - timedelta(hours=6), before + count + 5, minutes)
    root = document(table, day)
    assert texts(root, "time_Period.timeInterval/start") == [start]
    assert texts(root, "time_Period.timeInterval/end") == [end]
    assert texts(root, "TimeSeries/Period/timeInterval/end") == [end]
    assert texts(root, "TimeSeries/Period/resolution") == [f"PT{minutes}M"]
    assert texts(root, "TimeSeries/Period/Point/position") == [str(n) for n in range(1, count + 1)]
    quantities = [float(text or "nan") for text in texts(root, "TimeSeries/Period/Point/quantity")]
    assert quantities == [round((1000 + before + n) * 60 / minutes / 1000, 3) for n in range(count)]


def test_elements_are_in_the_order_of_the_description() -> None:
    first, _ = day_span(date(2026, 3, 28), "Europe/Berlin")
    root = document(forecast("Europe/Berlin", first, 24), date(2026, 3, 28), revision=7)
    assert [one.tag.removeprefix(NAMESPACE) for one in root] == [
        *("mRID", "revisionNumber", "type", "process.processType", "sender_MarketParticipant.mRID"),
        *("sender_MarketParticipant.marketRole.type", "receiver_MarketParticipant.mRID"),
        *("receiver_MarketParticipant.marketRole.type", "createdDateTime", "time_Period.timeInterval", "TimeSeries"),
    ]
    assert (texts(root, "type"), texts(root, "process.processType"), texts(root, "revisionNumber")) == (
        ["A65"],
        ["A01"],
        ["7"],
    )
    series = root.find(f"{NAMESPACE}TimeSeries")
    assert series is not None
    assert [one.tag.removeprefix(NAMESPACE) for one in series] == [
        *("mRID", "businessType", "objectAggregation", "outBiddingZone_Domain.mRID", "quantity_Measure_Unit.name"),
        *("curveType", "Period"),
    ]
    assert texts(series, "quantity_Measure_Unit.name") == ["MAW"]


@pytest.mark.parametrize("left_out", [0, 5, 23])
def test_refuses_a_day_with_a_missing_interval(left_out: int) -> None:
    first, _ = day_span(date(2026, 3, 28), "Europe/Berlin")
    table = forecast("Europe/Berlin", first, 24)
    part = Table(table.frame.filter(pl.int_range(pl.len()) != left_out), table.facts)
    with pytest.raises(NotEnoughDataError, match="23 of the 24"):
        document(part, date(2026, 3, 28))


@pytest.mark.parametrize("code", [AREA, PARTY, "10YFR-RTE------C", "10YBE----------2", "10YDE-EON------1"])
def test_accepts_codes_of_the_field(code: str) -> None:
    assert check_eic(code, "area", "XY") == code


@pytest.mark.parametrize("code", ["10Y1001A1001A83G", "10Y1001A1001A38F", "10y1001A1001A83F", "10Y", "", PARTY])
def test_refuses_other_codes_of_an_area(code: str) -> None:
    with pytest.raises(EnergyForecastError, match="`area`"):
        check_eic(code, "area", "YZ")
