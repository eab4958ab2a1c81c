"""Zones whose clocks do what clocks can do, and days around the changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache

from hypothesis import strategies as st

from energy_forecast.zones import zone as rules_of

ZONES = [
    "America/Asuncion",
    "America/Havana",  # 01:00 goes back to 00:00: midnight comes twice
    "America/New_York",
    "America/Sao_Paulo",  # midnight was left out
    "America/St_Johns",  # until 2011 the clock moved at 00:01, in autumn back into the day before
    "Africa/Casablanca",  # summer time stops for Ramadan
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",  # moves by half an hour
    "Europe/Berlin",
    "Pacific/Apia",  # had no 2011-12-30
    "Pacific/Chatham",
    "UTC",
]
# Rules of the time to come change: tests must not fail with the next release of tzdata
FIRST, LAST = date(2000, 1, 1), date(2024, 12, 31)


@cache
def days_of_change(zone: str) -> list[date]:
    """Return the days of 2000 to 2024 at which the clock of a zone changed."""
    at, clock, found = datetime(2000, 1, 1, tzinfo=UTC), rules_of(zone), []
    while at.date() <= LAST:
        later = at + timedelta(hours=24)
        if at.astimezone(clock).utcoffset() != later.astimezone(clock).utcoffset():
            found.append(later.astimezone(clock).date())
        at = later
    return found


@st.composite
def zones_and_days(draw: st.DrawFn) -> tuple[str, date]:
    """Draw a zone and a day; most days are near a change of the clock."""
    zone = draw(st.sampled_from(ZONES))
    near = days_of_change(zone)
    if near and draw(st.integers(0, 3)) > 0:
        return zone, draw(st.sampled_from(near)) + timedelta(days=draw(st.integers(-2, 1)))
    return zone, draw(st.dates(FIRST + timedelta(days=3), LAST - timedelta(days=3)))
