"""Local calendar: hours, weekdays, holidays, names of special days, and the elevation of the sun."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
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
    special_day_effect: the expected effect of the day on the logarithm of the load (special_days.py), 0 if unknown.
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
    special_day_effect: Floats


def build_calendar(city: City, start: int, length: int) -> Calendar:
    """Return the calendar of `city` for `length` hours from hour number `start`."""
    hours = np.arange(start, start + length, dtype=np.int64)
    local = to_local(timestamps(hours), city.timezone)
    wall = local.dt.epoch("s").to_numpy()
    local_hours = wall // 3600
    day = local_hours // 24
    nothing = np.zeros(length)
    calendar = Calendar(
        start=start,
        offset=local_hours - hours,
        hour=local_hours % 24,
        day=day,
        weekday=(day + 3) % 7,
        yearday=local.dt.ordinal_day().to_numpy().astype(np.int64) - 1,
        month=local.dt.month().to_numpy().astype(np.int64),
        holiday=nothing,
        eve=nothing,
        morrow=nothing,
        kind=nothing.astype(np.int64),
        special_day_effect=nothing,
    )
    return with_holidays(calendar, city, holiday_shares(city, int(day[0]) - 1, int(day[-1]) + 1))


def with_holidays(calendar: Calendar, city: City, share: Floats) -> Calendar:
    """Return the calendar with these holidays: the share of each day from the day before the first to that after it."""
    position = calendar.day - calendar.day[0] + 1
    holiday = share[position]
    return replace(
        calendar,
        holiday=holiday,
        eve=share[position + 1] * (1 - holiday),
        morrow=share[position - 1] * (1 - holiday),
        kind=_kinds(city, calendar.weekday, holiday),
    )


def day_kinds(city: City, first: date, last: date) -> tuple[Ints, Flags]:
    """Return the kind of each local day from `first` to `last` (included), and whether it is a public holiday."""
    begin, end = _number(first), _number(last)
    holiday = holiday_shares(city, begin, end)
    return _kinds(city, (np.arange(begin, end + 1, dtype=np.int64) + 3) % 7, holiday), holiday >= _MOST


def _kinds(city: City, weekday: Ints, holiday: Floats) -> Ints:
    weekend = weekend_of(city.country_code)
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


def holiday_shares(city: City, first: int, last: int) -> Floats:
    """Return the holiday share of each day from `first` to `last` (days since 1970-01-01, included)."""
    share = np.zeros(last - first + 1)
    known = _calendar_of(city.country_code, city.subdivision)
    if city.country_code is None or known is None:
        return share
    for year in range(_date(first).year, _date(last).year + 1):
        for day, part in _holidays_of_year(city.country_code, known, year).items():
            position = _number(day) - first
            if 0 <= position < len(share):
                share[position] = part
    return share


def day_names(city: City, first: int, last: int) -> dict[int, tuple[str, str]]:
    """Return name and role of each special day from `first` to `last` (days since 1970-01-01, included), in order.

    Special days are those that the library lists in any category but school holidays, the days next to public holidays,
    and those from 20 December to 5 January, which have their date as a name.
    Role: holiday, other (another category), eve, morrow, bridge (between a holiday and the weekend) or season.
    """
    known = _calendar_of(city.country_code, city.subdivision)
    if city.country_code is None or known is None:
        return {}
    years = range(_date(first).year, _date(last).year + 1)
    named = [item for year in years for item in _special_days_of_year(city.country_code, known, year).items()]
    return {day: own for day, own in named if first <= day <= last}


@lru_cache(maxsize=4096)
def _special_days_of_year(country_code: str, subdivision: str, year: int) -> dict[int, tuple[str, str]]:
    listed: dict[int, tuple[str, str]] = {}
    for own in (year - 1, year, year + 1):
        listed |= _listed_days(country_code, subdivision, own)
    first, last = _number(date(year, 1, 1)), _number(date(year, 12, 31))
    named = ((day, _name_of(day, listed, weekend_of(country_code))) for day in range(first, last + 1))
    return {day: own for day, own in named if own is not None}


def _name_of(day: int, listed: dict[int, tuple[str, str]], weekend: tuple[int, ...]) -> tuple[str, str] | None:
    own = _date(day)
    if (own.month, own.day) >= (12, 20) or (own.month, own.day) <= (1, 5):
        return f"{own:%m-%d}", "season"
    if day in listed:
        return listed[day]
    for other, role in ((day - 1, "morrow"), (day + 1, "eve")):
        if other in listed and listed[other][1] == "holiday":
            opposite = 2 * day - other
            between = (opposite + 3) % 7 in weekend and (day + 3) % 7 not in weekend
            return f"{'bridge' if between else role} of {listed[other][0]}", "bridge" if between else role
    return None


@lru_cache(maxsize=4096)
def _listed_days(country_code: str, subdivision: str, year: int) -> dict[int, tuple[str, str]]:
    """Return name and role of the days of a year that the library lists; other categories do not rename public ones."""
    public = _holidays_of_year(country_code, subdivision, year)
    categories = holidays.country_holidays(country_code.upper()).supported_categories
    parts = [] if subdivision else holidays.list_supported_countries(include_aliases=True)[country_code.upper()]
    names: dict[date, set[str]] = {}
    # School holidays last for weeks, in which no other day shows the load without them
    for category in (one for one in categories if one != holidays.SCHOOL):
        for part in (subdivision or None, *(parts if category == "public" else ())):
            found = holidays.country_holidays(
                country_code.upper(), subdiv=part, years=year, categories=category, language="en_US"
            )
            for day, text in found.items():
                # "(observed)" and "(estimated)" are not part of a name
                if day.year == year and (category == "public" or day not in public):
                    names.setdefault(day, set()).update(name.split(" (")[0] for name in text.split("; "))
    return {_number(day): (min(own), "holiday" if day in public else "other") for day, own in names.items()}


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(day)


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


@lru_cache(maxsize=256)
def weekend_of(country_code: str | None) -> tuple[int, ...]:
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
