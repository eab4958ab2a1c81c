"""Detection of a load whose timestamps are wrong by hours, from three independent signs.

- Night: on workdays the load is lowest at about 03:30 local time.
- Week: work begins after days of rest, and does not begin on the first of them, at about 05:30 local time.
- Weather: the load follows changes of the temperature within two hours, and the temperature follows the sun.

Industry, irrigation and air conditioning may use most at night, so one sign proves nothing: two must agree, and the
third must not contradict them. docs/decisions/units-and-labels.md has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.faults import find_faults, plausible_weather
from energy_forecast.forecasting.data.history import hour_numbers
from energy_forecast.forecasting.features.calendar import WORKDAY, Calendar, build_calendar
from energy_forecast.forecasting.types import City, Flags, Floats, Ints

# A smaller shift is within the habits of cities
SMALLEST_SHIFT = 3
# Two signs agree if they differ by at most this, and a third one contradicts them if it differs by more
_AGREEMENT, _CONTRADICTION = 2.0, 4.0
# A sign of less contradicts any shift
_NO_SHIFT = 1.5
_NIGHT_MINIMUM, _WORK_BEGINS, _WARMEST = 3.5, 5.5, 15.5
_FEWEST_DAYS = 60
# The span in which season and level of the load are taken as constant
_BLOCK_DAYS = 56
# A step is the difference of the means of so many hours after and before it
_STEP_HOURS = 3
# Hours from the midnight before the first day of work or rest in which the step is searched: 06:00 - 12 h to + 14 h
_FIRST_STEP, _LAST_STEP = -6, 20
_BEFORE, _AFTER = -12, 28
_LONGEST_LAG = 14
_SMALLEST_NIGHT, _SMALLEST_STEP, _SMALLEST_CORRELATION, _SMALLEST_WARMTH = 0.08, 0.02, 0.25, 0.5
# Largest ratio of the second best to the best hour of a sign that is clear
_CLEAR = 0.75
# The second best hour is at least so far from the best
_APART = 5


@dataclass(frozen=True)
class LoadClock:
    """Hours by which the timestamps of the load are too late, by each sign; None if the sign is not clear.

    weather_clock: the same for the timestamps of the weather, from the warmest time of day by the sun.
    """

    night: float | None
    week: float | None
    weather: float | None
    weather_clock: float | None

    @property
    def shift(self) -> int | None:
        """Return the hours by which the timestamps are too late, negative if too early; None without a finding.

        Two signs must agree on SMALLEST_SHIFT hours or more. The third must be unclear, or not far from them.
        """
        known = [sign for sign in (self.week, self.night, self.weather) if sign is not None]
        pairs = [(one, _wrapped(other - one)) for one, other in combinations(known, 2)]
        if not pairs:
            return None
        one, apart = min(pairs, key=lambda pair: abs(pair[1]))
        mean = _wrapped(one + apart / 2)
        far = max(abs(_wrapped(sign - mean)) for sign in known)
        if abs(apart) > _AGREEMENT or far > _CONTRADICTION or min(map(abs, known)) < _NO_SHIFT:
            return None
        return round(mean) if abs(mean) >= SMALLEST_SHIFT - 0.5 else None

    def __str__(self) -> str:
        shift = self.shift
        assert shift is not None
        names = {"night": self.night, "week": self.week, "temperature": self.weather}
        signs = ", ".join(f"{name} {sign:+.0f} h" for name, sign in names.items() if sign is not None)
        late = "late" if shift > 0 else "early"
        return (
            f"the timestamps of the load are about {abs(shift)} hours too {late} ({signs}). "
            "Load the file again with its time zone (energy-forecast ingest consumption FILE --timezone ZONE), or "
            "correct that of the city (energy-forecast city import FILE)"
        )


def load_clock(city: City, load: pl.DataFrame, weather: pl.DataFrame) -> LoadClock:
    """Return the signs of hourly load (timestamp, consumption_kwh) and weather (timestamp, temperature) of a city."""
    nothing = LoadClock(None, None, None, None)
    if load.is_empty():
        return nothing
    hours = hour_numbers(load["timestamp"])
    start, n = int(hours[0]), int(hours[-1] - hours[0]) + 1
    kwh = _on_grid(hours, load["consumption_kwh"], start, n)
    kwh[find_faults(kwh).where] = np.nan
    kwh[kwh <= 0] = np.nan
    if np.isfinite(kwh).sum() < 24 * _FEWEST_DAYS:
        return nothing
    temperature = np.full(n, np.nan)
    if not weather.is_empty():
        temperature = plausible_weather(
            "temperature", _on_grid(hour_numbers(weather["timestamp"]), weather["temperature"], start, n)
        )
    calendar = build_calendar(city, start, n)
    level = np.log(kwh)
    weather_clock = _warmest_time(temperature, start, city.longitude)
    lag = _lag(level, temperature, start) if weather_clock is not None else None
    by_weather = None
    if lag is not None and weather_clock is not None:
        # The hour of the warmest time differs by two hours between cities and seasons
        by_weather = _wrapped(lag + (weather_clock if abs(weather_clock) >= SMALLEST_SHIFT else 0.0))
    return LoadClock(*_night_and_week(level, calendar), by_weather, weather_clock)


def _on_grid(hours: Ints, values: pl.Series, start: int, n: int) -> Floats:
    grid = np.full(n, np.nan)
    inside = (hours >= start) & (hours < start + n)
    grid[hours[inside] - start] = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()[inside]
    return grid


def _night_and_week(level: Floats, calendar: Calendar) -> tuple[float | None, float | None]:
    """Return the shifts by the hour of the lowest load, and by the hour at which work begins."""
    day = calendar.day - calendar.day[0]
    works = np.zeros(day[-1] + 1, bool)
    works[day[calendar.kind == WORKDAY]] = True
    # Workdays between workdays, of which every hour is one of work for any shift
    middle = works & np.roll(works, 1) & np.roll(works, -1)
    middle[[0, -1]] = False
    usual = _means(level, day // _BLOCK_DAYS * 24 + calendar.hour, middle[day])
    by_hour = np.array([_mean(usual[(calendar.hour == hour) & np.isfinite(usual)]) for hour in range(24)])
    night = _lowest_hour(by_hour)
    other = level - usual
    first = np.flatnonzero(np.diff(day, prepend=-1))
    begins = np.flatnonzero(works & np.roll(works, -1) & ~np.roll(works, 1))
    ends = np.flatnonzero(~works & np.roll(works, 1) & np.roll(works, 2))
    steps = _steps(_around(other, first, begins) - _around(other, first, ends))
    searched = steps[_FIRST_STEP - _BEFORE : _LAST_STEP - _BEFORE + 1]
    best = _clear_peak(searched, _SMALLEST_STEP, circular=False)
    # A load that is higher on days of rest has its largest step downwards
    if best is not None and -searched.min() > searched.max():
        best = None
    week = None if best is None else _wrapped(best + _FIRST_STEP - _WORK_BEGINS)
    return None if night is None else _wrapped(night - _NIGHT_MINIMUM), week


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else np.nan


def _means(values: Floats, key: Ints, where: Flags) -> Floats:
    """Return for each value the mean of the flagged known values with its key; NaN without any."""
    used = where & np.isfinite(values)
    size = int(key.max()) + 1
    total, count = np.bincount(key[used], values[used], size), np.bincount(key[used], minlength=size)
    return np.asarray(np.divide(total, count, out=np.full(size, np.nan), where=count > 0)[key], float)


def _lowest_hour(by_hour: Floats) -> float | None:
    """Return the hour of the lowest load, of three hours each; None if it is not clear."""
    if not np.isfinite(by_hour).all():
        return None
    depth = by_hour.max() - (np.roll(by_hour, 1) + by_hour + np.roll(by_hour, -1)) / 3
    return _clear_peak(depth, _SMALLEST_NIGHT, circular=True)


def _around(values: Floats, first: Ints, days: Ints) -> Floats:
    """Return the median of the values in the hours from _BEFORE to _AFTER around the beginning of days."""
    begin = first[days]
    begin = begin[(begin + _BEFORE >= 0) & (begin + _AFTER <= len(values))]
    if not len(begin):
        return np.full(_AFTER - _BEFORE, np.nan)
    rows = values[begin[:, None] + np.arange(_BEFORE, _AFTER)]
    rows = rows[np.isfinite(rows).all(axis=1)]
    return np.median(rows - rows.mean(axis=1, keepdims=True), axis=0) if len(rows) else np.full(rows.shape[1], np.nan)


def _steps(values: Floats) -> Floats:
    """Return the step at each hour; NaN near the ends."""
    sums = np.convolve(values, np.ones(_STEP_HOURS) / _STEP_HOURS, "valid")
    steps = np.full(len(values), np.nan)
    steps[_STEP_HOURS : len(values) - _STEP_HOURS + 1] = sums[_STEP_HOURS:] - sums[:-_STEP_HOURS]
    return steps


def _clear_peak(values: Floats, smallest: float, *, circular: bool) -> float | None:
    """Return the position of the largest value; None if it is small, or if another one far from it is nearly as large.

    The position is the mean of those around the largest value, by the part of each above the half of it.
    """
    if not np.isfinite(values).all():
        return None
    best = int(values.argmax())
    top = float(values[best])
    n = len(values)
    distance = np.arange(n) - best
    if circular:
        distance = (distance + n // 2) % n - n // 2
    if top < smallest or values[np.abs(distance) >= _APART].max() > _CLEAR * top:
        return None
    weight = np.where(np.abs(distance) < 3, np.maximum(values - 0.5 * top, 0), 0)
    return best + float((weight * distance).sum() / weight.sum())


def _lag(level: Floats, temperature: Floats, start: int) -> float | None:
    """Return the hours by which the load follows the temperature; None if it is not clear.

    Both are relative to the usual values of the hour of the week, and to the mean of 25 hours. Winter and summer have
    opposite signs, so each block counts by its largest correlation.
    """
    hour = start + np.arange(len(level))
    block = np.arange(len(level)) // (24 * _BLOCK_DAYS)
    anomalies = []
    for values, period in ((level, 168), (temperature, 24)):
        relative = values - _means(values, block * period + hour % period, np.isfinite(values))
        known = np.isfinite(relative)
        count = np.convolve(known, np.ones(25), "same")
        mean = np.convolve(np.where(known, relative, 0.0), np.ones(25), "same") / np.maximum(count, 1)
        anomalies.append(np.where(known & (count >= 20), relative - mean, 0.0))
    load, warmth = anomalies
    lags = np.arange(-_LONGEST_LAG, _LONGEST_LAG + 1)
    total, used = np.zeros(len(lags)), 0
    for number in range(int(block[-1]) + 1):
        own = np.flatnonzero(block == number)
        own = own[(own >= _LONGEST_LAG) & (own < len(level) - _LONGEST_LAG)]
        size = np.sqrt((load[own] ** 2).sum() * (warmth[own] ** 2).sum()) if len(own) else 0.0
        if size <= 0:
            continue
        correlation = np.array([load[own] @ warmth[own - lag] for lag in lags]) / size
        total += correlation * correlation[np.abs(correlation).argmax()]
        used += 1
    if not used:
        return None
    best = _clear_peak(np.sqrt(np.maximum(total / used, 0.0)), _SMALLEST_CORRELATION, circular=False)
    return None if best is None else best - _LONGEST_LAG


def _warmest_time(temperature: Floats, start: int, longitude: float) -> float | None:
    """Return the hours by which the warmest time is later than usual by the sun; None if days are alike."""
    solar = start + np.arange(len(temperature)) + 0.5 + longitude / 15
    relative = temperature - _means(temperature, np.arange(len(temperature)) // 24, np.isfinite(temperature))
    known = np.isfinite(relative)
    if known.sum() < 24 * _FEWEST_DAYS:
        return None
    harmonic = 2 * np.mean(relative[known] * np.exp(2j * np.pi * solar[known] / 24))
    if abs(harmonic) < _SMALLEST_WARMTH:
        return None
    return _wrapped(float(np.angle(harmonic)) * 12 / np.pi - _WARMEST)


def _wrapped(hours: float) -> float:
    return (hours + 12) % 24 - 12
