"""Local calendar: hours, weekdays, holidays, and the elevation of the sun."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import holidays
import numpy as np

from energy_forecast.forecasting.data.history import timestamps
from energy_forecast.forecasting.types import City, Flags, Floats, Ints
from energy_forecast.local_times import to_local

WORKDAY, HALF_REST, REST = 0, 1, 2
# Limits for a city without a subdivision, as shares of the country's subdivisions: a holiday of fewer than _FEW is a
# workday (the four parts of the United Kingdom differ in size), one of at least _MOST is a day of rest
_FEW, _MOST = 1 / 3, 1 / 2


@dataclass(frozen=True)
class Calendar:
    """Local time of the hours `start .. start + n - 1`, one entry per hour.

    offset: local minus UTC time in hours, rounded down; it differs between two hours if the clocks changed in between.
    day: local days since 1970-01-01. weekday: Monday is 0. yearday: 0 to 365.
    holiday: 1 on a public holiday, 0 on other days; for a city without a subdivision, the share of the country's
        subdivisions with a holiday. eve, morrow: the same for the next and the previous day, times 1 - holiday.
    kind: WORKDAY, HALF_REST (the first day of the weekend, a holiday of a part of the country) or REST.
    """

    start: int
    offset: Ints
    hour: Ints
    day: Ints
    weekday: Ints
    yearday: Ints
    month: Ints
    holiday: Floats
    eve: Floats
    morrow: Floats
    kind: Ints


def build_calendar(city: City, start: int, length: int) -> Calendar:
    """Return the calendar of `city` for `length` hours from hour number `start`."""
    hours = np.arange(start, start + length, dtype=np.int64)
    local = to_local(timestamps(hours), city.timezone)
    wall = local.dt.epoch("s").to_numpy()
    local_hours = wall // 3600
    day = local_hours // 24
    first, last = int(day[0]) - 2, int(day[-1]) + 2
    share = _holidays_between(city.country_code, city.subdivision, first, last)
    weekday = (day + 3) % 7
    position = day - first
    holiday = share[position]
    return Calendar(
        start=start,
        offset=local_hours - hours,
        hour=local_hours % 24,
        day=day,
        weekday=weekday,
        yearday=local.dt.ordinal_day().to_numpy().astype(np.int64) - 1,
        month=local.dt.month().to_numpy().astype(np.int64),
        holiday=holiday,
        eve=share[position + 1] * (1 - holiday),
        morrow=share[position - 1] * (1 - holiday),
        kind=_kinds(city, weekday, holiday),
    )


def day_kinds(city: City, first: date, last: date) -> tuple[Ints, Flags]:
    """Return the kind of each local day from `first` to `last` (included), and whether it is a public holiday."""
    begin, end = ((day - date(1970, 1, 1)).days for day in (first, last))
    holiday = _holidays_between(city.country_code, city.subdivision, begin, end)
    return _kinds(city, (np.arange(begin, end + 1, dtype=np.int64) + 3) % 7, holiday), holiday >= _MOST


def _kinds(city: City, weekday: Ints, holiday: Floats) -> Ints:
    weekend = _weekend(city.country_code)
    kind = np.full(len(weekday), WORKDAY, np.int64)
    kind[np.isin(weekday, weekend[:-1]) | (holiday > 0)] = HALF_REST
    kind[(holiday >= _MOST) | (weekday == weekend[-1])] = REST
    return kind


def holiday_name(city: City, day: date) -> str | None:
    """Return the name of the city's public holiday on that day, in English if known; None on other days."""
    known = _calendar_of(city.country_code, city.subdivision)
    if city.country_code is None or known is None:
        return None
    found = holidays.country_holidays(
        city.country_code.upper(), subdiv=known or None, years=day.year, language="en_US"
    ).get(day)
    return None if found is None else str(found)


def has_holidays(country_code: str | None, subdivision: str | None) -> bool:
    """Return whether holidays are known for this country and subdivision."""
    return _calendar_of(country_code, subdivision) is not None


@lru_cache(maxsize=256)
def _calendar_of(country_code: str | None, subdivision: str | None) -> str | None:
    """Return the subdivision to use ("" for the whole country), or None if no holidays are known.

    A subdivision that the library does not know falls back to the country.
    """
    if not country_code:
        return None
    supported = holidays.list_supported_countries(include_aliases=True)
    if country_code.upper() not in supported:
        return None
    return subdivision if subdivision and subdivision in supported[country_code.upper()] else ""


@lru_cache(maxsize=4096)
def _holidays_of_year(country_code: str, subdivision: str, year: int) -> dict[date, float]:
    """Return the holidays of a year, each with the share of the country that has it; 1 for a subdivision."""

    def holidays_of(part: str | None) -> set[date]:
        found = holidays.country_holidays(country_code.upper(), subdiv=part, years=year)
        return {day for day in found if day.year == year}

    whole = dict.fromkeys(holidays_of(subdivision or None), 1.0)
    parts = [] if subdivision else holidays.list_supported_countries(include_aliases=True)[country_code.upper()]
    counts = Counter(day for part in parts for day in holidays_of(part))
    return {day: n / len(parts) for day, n in counts.items() if n >= _FEW * len(parts)} | whole


def _holidays_between(country_code: str | None, subdivision: str | None, first: int, last: int) -> Floats:
    """Return the holiday share of each day from `first` to `last` (days since 1970-01-01, included)."""
    share = np.zeros(last - first + 1)
    known = _calendar_of(country_code, subdivision)
    if country_code is None or known is None:
        return share
    epoch = date(1970, 1, 1)
    for year in range((epoch + timedelta(first)).year, (epoch + timedelta(last)).year + 1):
        for day, part in _holidays_of_year(country_code, known, year).items():
            position = (day - epoch).days - first
            if 0 <= position < len(share):
                share[position] = part
    return share


@lru_cache(maxsize=256)
def _weekend(country_code: str | None) -> tuple[int, ...]:
    """Return the weekdays of the weekend, the day with the least work last; Saturday and Sunday by default."""
    if _calendar_of(country_code, None) is None or country_code is None:
        return (5, 6)
    days = set(holidays.country_holidays(country_code.upper()).weekend)
    if not days:
        return (5, 6)
    return tuple(sorted(days, key=lambda weekday: (weekday + 3) % 7))


def sun_elevation(city: City, hours: Ints) -> Floats:
    """Return the sine of the sun's elevation at the middle of each hour, negative at night.

    Declination by Cooper (1969), equation of time by Spencer (1971): accurate to about half a degree.
    """
    middle = hours + 0.5
    days = middle / 24
    # Years of 365.2422 days from a January 1st: the error is less than a day
    angle = 2 * np.pi * np.mod(days, 365.2422) / 365.2422
    declination = np.radians(23.45) * np.sin(angle - 2 * np.pi * 80.3 / 365.2422)
    minutes = 229.18 * (
        0.000075
        + 0.001868 * np.cos(angle)
        - 0.032077 * np.sin(angle)
        - 0.014615 * np.cos(2 * angle)
        - 0.040849 * np.sin(2 * angle)
    )
    solar_hour = np.mod(middle, 24) + city.longitude / 15 + minutes / 60
    turn = np.radians(15 * (solar_hour - 12))
    latitude = np.radians(city.latitude)
    return np.asarray(
        np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(turn), float
    )
