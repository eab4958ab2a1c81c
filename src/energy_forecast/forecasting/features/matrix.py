"""The one table of features, made by the same function when a model learns and when it forecasts.

Loads are shares of the level before the origin (the mean of the last week), so that what is learnt holds for a city
that grows. Names say what a value is; the leading ones are shown beside a forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from energy_forecast.forecasting.features.calendar import sun_elevation
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.features.weather import weather_columns
from energy_forecast.forecasting.types import Floats, Ints

# Known days at the same local hour, the latest first, and whole weeks before the target.
DAY_LAGS = 7
WEEK_LAGS = 4
_KIND_TRIES = 14
_PART_ROWS = 1024


@dataclass(frozen=True)
class Table:
    """Features of n rows: `names` and `values` [n, p], NaN where unknown."""

    names: tuple[str, ...]
    values: Floats

    def __getitem__(self, name: str) -> Floats:
        return np.asarray(self.values[:, self.names.index(name)], float)


def side_by_side(columns: Sequence[Floats]) -> Floats:
    """Columns [n] as a matrix [n, p], part by part: a column written whole misses the cache at every value."""
    out = np.empty((len(columns[0]), len(columns)))
    for begin in range(0, len(out), _PART_ROWS):
        part = slice(begin, begin + _PART_ROWS)
        out[part] = np.stack([column[part] for column in columns], axis=1)
    return out


def feature_table(rows: Rows, *, weather: bool) -> Table:
    """The features of `rows`, with those of the weather or without."""
    columns = {**_load_columns(rows), **_calendar_columns(rows)}
    if weather:
        columns.update(weather_columns(rows, lag_days=_lag_days(rows)))
    return Table(tuple(columns), side_by_side(list(columns.values())))


def _lag_days(rows: Rows) -> dict[str, Ints]:
    """How many days before the target the days are with which it is compared."""
    first = rows.first_known_day
    return {"day": first, "week": -(-first // 7) * 7, "like_day": last_like_day(rows)}


def _load_columns(rows: Rows) -> dict[str, Floats]:
    level = rows.level
    first = rows.first_known_day
    columns: dict[str, Floats] = {}
    for i in range(DAY_LAGS):
        columns[f"load_known_day_{i + 1}"] = rows.same_hour(first + i) / level
    first_week = -(-first // 7)
    for i in range(WEEK_LAGS):
        columns[f"load_known_week_{i + 1}"] = rows.same_hour(7 * (first_week + i)) / level
    columns["load_like_day"] = rows.same_hour(last_like_day(rows)) / level

    lags = side_by_side(list(columns.values()))
    known = np.isfinite(lags)
    n = known.sum(axis=1)
    # A day that is unknown is best guessed by the other days at this hour, not by the average hour.
    usual = np.where(n > 0, np.where(known, lags, 0.0).sum(axis=1) / np.maximum(n, 1), 1.0)
    for name, value in columns.items():
        columns[name] = np.where(np.isfinite(value), value, usual)
    columns["load_same_hour_mean"] = usual

    origins, back = np.unique(rows.origins, return_inverse=True)
    for name, value in _origin_columns(rows.past, origins).items():
        columns[name] = value[back]
    lead = rows.lead.astype(float)
    columns["lead_hours"] = np.minimum(lead, 191.0)
    return columns


def _origin_columns(past: Past, origins: Ints) -> dict[str, Floats]:
    """How the load has gone just before each origin."""
    week = past.mean_load(origins, 168)
    columns = {
        "load_mean_24h": _ratio(past.mean_load(origins, 24), week),
        "load_mean_672h": _ratio(past.mean_load(origins, 672), week),
    }
    for hours in (1, 3, 6, 24):
        now = past.mean_load(origins, hours)
        for days in (1, 7):
            then = past.mean_load(origins - 24 * days, hours)
            columns[f"load_last_{hours}h_over_{days}d_before"] = _ratio(now, then) - 1.0
    return columns


def _ratio(now: Floats, then: Floats) -> Floats:
    """now / then; NaN where there was no load then, as in the nights of a site that rests."""
    return np.divide(now, then, out=np.full_like(now, np.nan), where=then > 0)


def last_like_day(rows: Rows) -> Ints:
    """How many days before the target the last known day of the same kind was: of work, half rest or rest."""
    calendar = rows.past.calendar
    kind = calendar.kind[rows.position]
    best = rows.first_known_day + 6
    for i in range(_KIND_TRIES - 1, -1, -1):
        days = rows.first_known_day + i
        position = np.clip(rows.position - 24 * days, 0, len(calendar.kind) - 1)
        best = np.where(calendar.kind[position] == kind, days, best)
    return np.asarray(best, np.int64)


def hour_table(past: Past, hours: Ints, *, weather: bool) -> Table:
    """What is known of hours themselves, without any load or other day: their calendar, and their weather."""
    rows = Rows(past, hours, hours)
    columns = _hour_columns(rows)
    if weather:
        columns.update(weather_columns(rows, lag_days={}))
    return Table(tuple(columns), side_by_side(list(columns.values())))


def _hour_columns(rows: Rows) -> dict[str, Floats]:
    calendar, at = rows.past.calendar, rows.position
    year = 2 * np.pi * calendar.yearday[at] / 365.25
    columns = {
        "local_hour": calendar.hour[at],
        "weekday": calendar.weekday[at],
        "day_kind": calendar.kind[at],
        "is_holiday": calendar.holiday[at],
        "is_eve_of_holiday": calendar.eve[at],
        "is_morrow_of_holiday": calendar.morrow[at],
        "year_sine": np.sin(year),
        "year_cosine": np.cos(year),
        "sun_elevation": sun_elevation(rows.past.city, rows.targets),
    }
    return {name: np.asarray(value, float) for name, value in columns.items()}


def _calendar_columns(rows: Rows) -> dict[str, Floats]:
    calendar, at = rows.past.calendar, rows.position
    lag_days = _lag_days(rows)
    columns = _hour_columns(rows)
    for name in ("day", "week"):
        then = np.clip(at - 24 * lag_days[name], 0, len(calendar.kind) - 1)
        columns[f"{name}_lag_kind"] = calendar.kind[then]
        columns[f"{name}_lag_is_holiday"] = calendar.holiday[then]
        columns[f"{name}_lag_weekday"] = calendar.weekday[then]
    del columns["week_lag_weekday"]
    return {name: np.asarray(value, float) for name, value in columns.items()}
