"""Spans of readings: between two times, or a local day of a city."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from energy_forecast.errors import EnergyForecastError
from energy_forecast.zones import instant_at

# Of one answer; a longer span is read in parts
LONGEST_SPAN = timedelta(days=3700)


def day_span(day: date, zone: str) -> tuple[datetime, datetime]:
    """Return the begin and the end of a local day of a zone, UTC; it has 23, 24 or 25 hours."""
    midnight = datetime.combine(day, time())
    return instant_at(zone, midnight), instant_at(zone, midnight + timedelta(days=1))


def span_of(
    start: datetime | None,
    end: datetime | None,
    *,
    day: date | None,
    zone: str,
    default: tuple[datetime, datetime],
) -> tuple[datetime, datetime]:
    """Return a half-open span in UTC.

    Args:
        start, end: its bounds. Missing ones are those of `default`; a missing start is at least a week before the end.
        day: a local day, instead of both.
        zone: the IANA zone of `day`.

    Raises:
        EnergyForecastError: it is empty, too long, or given in both ways.
    """
    if day is not None:
        if start is not None or end is not None:
            raise EnergyForecastError("`day` excludes `start` and `end`.", hint="Leave one of them out.")
        return day_span(day, zone)
    last = end or default[1]
    first = start or min(default[0], last - timedelta(days=7))
    if last <= first:
        raise EnergyForecastError(
            f"`end` must be later than `start`, and {last:%Y-%m-%dT%H:%MZ} is not later than {first:%Y-%m-%dT%H:%MZ}.",
            hint="Without `end`, the span ends now, or at `as_of`." if end is None else None,
        )
    if last - first > LONGEST_SPAN:
        raise EnergyForecastError(
            f"The span is {(last - first).days} days long, and may have {LONGEST_SPAN.days}.", hint="Read it in parts."
        )
    return first, last
