"""Read times and spans as users give them: on the command line as text, in Python also as objects."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

from energy_forecast.errors import EnergyForecastError

_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
LONGEST_HORIZON_HOURS = 168


def read_moment(given: str | datetime) -> datetime:
    """Return a time in UTC.

    Args:
        given: ISO 8601 text with an offset, such as 2026-03-01T00:00Z, or an aware datetime.

    Raises:
        EnergyForecastError: it is no time, has no offset, or is not between the years 1970 and 9000.
    """
    text = given.isoformat() if isinstance(given, datetime) else str(given)
    try:
        # combine: a subclass such as that of pandas becomes a plain datetime
        parsed = (
            datetime.combine(given, given.timetz()) if isinstance(given, datetime) else datetime.fromisoformat(text)
        )
    except (ValueError, TypeError) as error:
        raise EnergyForecastError(f"{text!r} is not a time such as 2026-03-01T00:00Z.") from error
    if parsed.tzinfo is None:
        whole = text if "T" in text or " " in text else f"{text[:10]}T00:00"
        raise EnergyForecastError(f"{text!r} has no offset; write {whole}Z for UTC, or such as {whole}+02:00.")
    if not 1970 <= parsed.year < 9000:
        raise EnergyForecastError(f"{text!r} is not between the years 1970 and 9000.")
    return parsed.astimezone(UTC)


def read_span(given: str | timedelta) -> timedelta:
    """Return a span of time.

    Args:
        given: text such as 90min, 48h or 30d, or a timedelta.

    Raises:
        EnergyForecastError: it is no span, or not longer than zero.
    """
    found = re.fullmatch(r"(\d{1,6})\s*(min|h|d)", given) if isinstance(given, str) else None
    span = int(found[1]) * _UNITS[found[2]] if found else given
    if not isinstance(span, timedelta) or span <= timedelta(0):
        raise EnergyForecastError(f"{str(given)!r} is not a span of time such as 48h or 30d.")
    return span


def read_delay(given: str | timedelta) -> timedelta:
    """Return a delay: a span of time of up to 30 days, or zero such as 0h.

    Raises:
        EnergyForecastError: it is another span, or none.
    """
    if given == timedelta(0) or (isinstance(given, str) and re.fullmatch(r"0+\s*(min|h|d)", given)):
        return timedelta(0)
    span = read_span(given)
    if span > timedelta(days=30):
        raise EnergyForecastError(f"{str(given)!r} is longer than 30d.")
    return span


def read_horizon(given: str | timedelta) -> timedelta:
    """Return a longest lead time: whole hours, up to a week.

    Raises:
        EnergyForecastError: it is another span, or none.
    """
    span = read_span(given)
    if span % timedelta(hours=1) or span > timedelta(hours=LONGEST_HORIZON_HOURS):
        raise EnergyForecastError(f"{str(given)!r} is not a whole number of hours from 1h to {LONGEST_HORIZON_HOURS}h.")
    return span


def read_local_time(text: str) -> time:
    """Return a local time of day, given as text such as 00:00.

    Raises:
        EnergyForecastError: it is no time of day.
    """
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if found is None:
        raise EnergyForecastError(f"{text!r} is not a local time such as 00:00 or 13:30.")
    return time(int(found[1]), int(found[2]))
