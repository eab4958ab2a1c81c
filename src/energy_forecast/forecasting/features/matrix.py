"""The feature matrix, built by the same function for training and for forecasts.

Loads are shares of the level before the origin (the mean of the last week), so that a fit stays valid while a city
grows. Column names describe the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_forecast.forecasting.features.calendar import sun_elevation
from energy_forecast.forecasting.features.samples import GRAIN, HistoryView, Samples, running_sums, window_mean
from energy_forecast.forecasting.features.simulated_errors import SampleErrors
from energy_forecast.forecasting.types import Floats, Ints
from energy_forecast.weather_ranges import WEATHER_RANGES

# Number of known days at the same local hour, the latest first, and of whole weeks before the target
DAY_LAGS = 7
WEEK_LAGS = 4
_KIND_TRIES = 14
SMOOTHED_HOURS = (6, 24, 72, 240)
LAGGED_HOURS = (1, 2, 3)
_PART_ROWS = 1024
_EXTREME_HOURS = 24


@dataclass(frozen=True)
class FeatureMatrix:
    """Features of n samples: `names` and `values` [n, p], in single or double precision, NaN where unknown."""

    names: tuple[str, ...]
    values: NDArray[Any]

    def __getitem__(self, name: str) -> Floats:
        return np.asarray(self.values[:, self.names.index(name)], float)


def in_parts(function: Callable[[FeatureMatrix], NDArray[Any]], matrix: FeatureMatrix) -> NDArray[Any]:
    """Return the results of a function of rows, computed for parts of the rows: [n] or [n, q].

    The intermediate values of a part fit into the cache. Those of all samples of a training would take hundreds of MB.
    """
    rows = len(matrix.values)
    first = function(FeatureMatrix(matrix.names, matrix.values[:_PART_ROWS]))
    found = np.empty((rows, *first.shape[1:]), first.dtype)
    found[:_PART_ROWS] = first
    for begin in range(_PART_ROWS, rows, _PART_ROWS):
        part = slice(begin, begin + _PART_ROWS)
        found[part] = function(FeatureMatrix(matrix.names, matrix.values[part]))
    return found


def column_stack_blocked(columns: Sequence[Floats]) -> Floats:
    """Return columns [n] as a matrix [n, p]. Works in blocks, since a whole column misses the cache at every value."""
    return _stacked(columns, np.empty((len(columns[0]), len(columns))))


def single_columns(columns: Sequence[Floats]) -> NDArray[np.float32]:
    """Return `column_stack_blocked` in single precision."""
    return _stacked(columns, np.empty((len(columns[0]), len(columns)), np.float32))


def _stacked(columns: Sequence[Floats], out: NDArray[Any]) -> NDArray[Any]:
    for begin in range(0, len(out), _PART_ROWS):
        part = slice(begin, begin + _PART_ROWS)
        # A stray value may be too large for single precision; it becomes infinite, which is unknown
        with np.errstate(over="ignore"):
            out[part] = np.stack([column[part] for column in columns], axis=1)
    return out


def feature_matrix(samples: Samples, *, weather: bool) -> FeatureMatrix:
    """Return the features of `samples`, with or without those of the weather."""
    columns = {**_load_columns(samples), **_calendar_columns(samples)}
    if weather:
        columns.update(_weather_columns(samples, lag_days=_lag_days(samples)))
    return FeatureMatrix(tuple(columns), single_columns(list(columns.values())))


def _lag_days(samples: Samples) -> dict[str, Ints]:
    """Return the distance in days from each target to the days that it is compared with."""
    first = samples.first_known_day
    return {"day": first, "week": -(-first // 7) * 7, "like_day": last_like_day(samples)}


def _load_columns(samples: Samples) -> dict[str, Floats]:
    level = samples.level
    first = samples.first_known_day
    columns: dict[str, Floats] = {}
    for i in range(DAY_LAGS):
        columns[f"load_known_day_{i + 1}"] = samples.same_hour(first + i) / level
    first_week = -(-first // 7)
    for i in range(WEEK_LAGS):
        columns[f"load_known_week_{i + 1}"] = samples.same_hour(7 * (first_week + i)) / level
    columns["load_like_day"] = samples.same_hour(last_like_day(samples)) / level

    lags = column_stack_blocked(list(columns.values()))
    known = np.isfinite(lags)
    n = known.sum(axis=1)
    # An unknown lag is imputed by the mean of the other days at this hour, which is better than the mean of all hours
    mean = np.where(n > 0, np.where(known, lags, 0.0).sum(axis=1) / np.maximum(n, 1), 1.0)
    for name, value in columns.items():
        columns[name] = np.where(np.isfinite(value), value, mean)
    columns["load_same_hour_mean"] = mean

    origins, back = np.unique(samples.origins, return_inverse=True)
    for name, value in _origin_columns(samples.view, origins).items():
        columns[name] = value[back]
    lead = samples.lead.astype(float)
    columns["lead_hours"] = np.minimum(lead, 191.0)
    return columns


def _origin_columns(view: HistoryView, origins: Ints) -> dict[str, Floats]:
    """Return ratios of the load shortly before each origin to earlier loads."""
    week = view.mean_load(origins, 168)
    columns = {
        "load_mean_24h": _ratio(view.mean_load(origins, 24), week),
        "load_mean_672h": _ratio(view.mean_load(origins, 672), week),
    }
    for hours in (1, 3, 6, 24):
        now = view.mean_load(origins, hours)
        for days in (1, 7):
            then = view.mean_load(origins - 24 * days, hours)
            columns[f"load_last_{hours}h_over_{days}d_before"] = _ratio(now, then) - 1.0
    return columns


def _ratio(now: Floats, then: Floats) -> Floats:
    """Return now / then; NaN if the load was zero then, as at night at a site that is closed."""
    return np.divide(now, then, out=np.full_like(now, np.nan), where=then > 0)


def last_like_day(samples: Samples) -> Ints:
    """Return the number of days from the last known day of the same kind (work, half rest, rest) to the target."""
    calendar = samples.view.calendar
    kind = calendar.kind[samples.position]
    best = samples.first_known_day + 6
    for i in range(_KIND_TRIES - 1, -1, -1):
        days = samples.first_known_day + i
        position = np.clip(samples.position - 24 * days, 0, len(calendar.kind) - 1)
        best = np.where(calendar.kind[position] == kind, days, best)
    return np.asarray(best, np.int64)


def hour_matrix(view: HistoryView, hours: Ints, *, weather: bool) -> FeatureMatrix:
    """Return features of the hours alone, without any load or other day: calendar and weather."""
    samples = Samples(view, hours, hours).with_weather_of_history()
    columns = _hour_columns(samples)
    if weather:
        columns.update(_weather_columns(samples, lag_days={}))
    return FeatureMatrix(tuple(columns), column_stack_blocked(list(columns.values())))


def _hour_columns(samples: Samples) -> dict[str, Floats]:
    calendar, at = samples.view.calendar, samples.position
    year = 2 * np.pi * calendar.yearday[at] / 365.25
    columns = {
        "local_hour": calendar.hour[at],
        "weekday": calendar.weekday[at],
        "day_kind": calendar.kind[at],
        "is_holiday": calendar.holiday[at],
        "is_eve_of_holiday": calendar.eve[at],
        "is_morrow_of_holiday": calendar.morrow[at],
        "special_day_effect": calendar.special_day_effect[at],
        "year_sine": np.sin(year),
        "year_cosine": np.cos(year),
        "sun_elevation": sun_elevation(samples.view.city, samples.targets),
    }
    return {name: np.asarray(value, float) for name, value in columns.items()}


def _calendar_columns(samples: Samples) -> dict[str, Floats]:
    calendar, at = samples.view.calendar, samples.position
    lag_days = _lag_days(samples)
    columns = _hour_columns(samples)
    for name in ("day", "week"):
        then = np.clip(at - 24 * lag_days[name], 0, len(calendar.kind) - 1)
        columns[f"{name}_lag_kind"] = calendar.kind[then]
        columns[f"{name}_lag_is_holiday"] = calendar.holiday[then]
        columns[f"{name}_lag_weekday"] = calendar.weekday[then]
        columns[f"{name}_lag_special_day_effect"] = calendar.special_day_effect[then]
    del columns["week_lag_weekday"], columns["week_lag_special_day_effect"]
    return {name: np.asarray(value, float) for name, value in columns.items()}


def _weather_columns(samples: Samples, *, lag_days: dict[str, Ints]) -> dict[str, Floats]:
    """Return the features of the weather by name, each [n]: degrees Celsius, percent, m/s, mm; NaN where unknown.

    They are those at the target hour, before it, and on the days that it is compared with. None uses weather after the
    target, so the end of a weather forecast changes no hour before it.
    """
    weather, at = samples.view.history.weather, samples.position
    temperature = weather["temperature"]
    sums = running_sums(temperature)
    columns = {"temperature": temperature[at]}
    for hours in LAGGED_HOURS:
        columns[f"temperature_{hours}h_ago"] = _filled(temperature[at - hours], columns["temperature"])
    for hours in SMOOTHED_HOURS:
        columns[f"temperature_mean_{hours}h"] = window_mean(sums, at + 1, hours, 0.0)
    columns["temperature_max_24h"] = _extreme(temperature, at, np.fmax)
    columns["temperature_min_24h"] = _extreme(temperature, at, np.fmin)
    for name, days in lag_days.items():
        then = samples.days_before(days) - samples.view.history.start
        mean = window_mean(sums, then + 1, 24, 0.0)
        # Unknown weather of the other day is imputed by that of the target
        columns[f"temperature_{name}_lag"] = _filled(temperature[then], columns["temperature"])
        columns[f"temperature_mean_24h_{name}_lag"] = _filled(mean, columns["temperature_mean_24h"])
    humidity_sums = running_sums(weather["humidity"])
    columns["humidity"] = weather["humidity"][at]
    columns["humidity_mean_24h"] = window_mean(humidity_sums, at + 1, 24, 0.0)
    columns["wind_speed"] = weather["wind_speed"][at]
    columns["precipitation_6h"] = window_mean(running_sums(weather["precipitation"]), at + 1, 6, 0.0)
    errors = samples.view.simulated_errors
    if errors is not None:
        where = np.flatnonzero(np.ones(len(samples), bool) if samples.simulated is None else samples.simulated)
        if len(where):
            own = samples.take(where)
            of_own = SampleErrors.at_origins(errors, own.origins, own.lead)
            for name, value in _changed_by_errors(own, of_own, {n: c[where] for n, c in columns.items()}).items():
                columns[name][where] = value
    return columns


def target_temperature(samples: Samples) -> Floats:
    """Return the temperature of the targets, with the errors of simulated weather forecasts, [n]; NaN if unknown."""
    found = samples.view.history.weather["temperature"][samples.position]
    errors = samples.view.simulated_errors
    if errors is None:
        return found
    added = SampleErrors.at_origins(errors, samples.origins, samples.lead).at("temperature")
    return found + (added if samples.simulated is None else np.where(samples.simulated, added, 0.0))


def _changed_by_errors(samples: Samples, errors: SampleErrors, columns: dict[str, Floats]) -> dict[str, Floats]:
    """Return the weather columns of samples as a weather forecast issued at the origin would give them, each [n]."""
    history, at = samples.view.history, samples.position
    temperature = history.weather["temperature"]
    changed = {"temperature": columns["temperature"] + errors.at("temperature")}
    for hours in LAGGED_HOURS:
        name = f"temperature_{hours}h_ago"
        changed[name] = columns[name] + errors.at("temperature", hours)
    for hours in SMOOTHED_HOURS:
        name = f"temperature_mean_{hours}h"
        changed[name] = columns[name] + errors.mean("temperature", hours)
    back = np.arange(_EXTREME_HOURS)
    highest, lowest = np.empty(len(samples)), np.empty(len(samples))
    for begin in range(0, len(samples), _PART_ROWS):
        part = slice(begin, begin + _PART_ROWS)
        window = temperature[at[part, None] - back] + errors.last("temperature", _EXTREME_HOURS, part)
        highest[part], lowest[part] = np.fmax.reduce(window, axis=1), np.fmin.reduce(window, axis=1)
    changed["temperature_max_24h"], changed["temperature_min_24h"] = highest, lowest
    # A column that the service does not give is known up to the origin only
    for name, mean, hours in (("humidity", "humidity_mean_24h", 24), ("wind_speed", None, 0)):
        if name in errors.columns:
            changed[name] = np.clip(columns[name] + errors.at(name), *WEATHER_RANGES[name])
            if mean is not None:
                changed[mean] = np.clip(columns[mean] + errors.mean(name, hours), *WEATHER_RANGES[name])
            continue
        changed[name] = np.full(len(samples), np.nan)
        if mean is not None:
            changed[mean] = _mean_until(history.weather[name], at + 1, hours, samples.origins - history.start)
    rain, mean = history.weather["precipitation"], "precipitation_6h"
    if "precipitation" in errors.columns:
        back = np.arange(6)
        values = [
            rain[at[part, None] - back] * errors.last("precipitation", 6, part)
            for part in (slice(begin, begin + _PART_ROWS) for begin in range(0, len(samples), _PART_ROWS))
        ]
        changed[mean] = _mean_of_known(np.concatenate(values))
    else:
        changed[mean] = _mean_until(rain, at + 1, 6, samples.origins - history.start)
    return changed


def _mean_of_known(values: Floats) -> Floats:
    """Return the mean of the known values of each row; NaN if none is known."""
    known = np.isfinite(values)
    n = known.sum(axis=1)
    return np.where(n > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(n, 1), np.nan)


def _mean_until(values: Floats, until: Ints, hours: int, known_until: Ints) -> Floats:
    """Return the mean of the known `hours` values before each index `until`, without those from `known_until` on."""
    total, count = running_sums(values)
    begin = np.clip(until - hours, 0, len(values))
    end = np.maximum(np.minimum(until, known_until), begin)
    n = count[end] - count[begin]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, (total[end] - total[begin]) * GRAIN / n, np.nan)


def _filled(values: Floats, other: Floats) -> Floats:
    return np.where(np.isfinite(values), values, other)


def _extreme(values: Floats, at: Ints, of: np.ufunc) -> Floats:
    """Return the extreme of the 24 hours that end with each index."""
    begin, end = int(at.min()) - 23, int(at.max()) + 1
    part = values[begin:end]
    # Windows are doubled up to 16, and two overlapping ones make 24: four passes instead of 23
    reach, width = part, 1
    while width < 16:
        reach, width = of(reach[: len(reach) - width], reach[width:]), 2 * width
    return np.asarray(of(reach[at - begin - 23], reach[at - begin - 15]), float)
