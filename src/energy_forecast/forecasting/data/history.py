"""Load and weather as arrays on one hourly grid.

An hour is a number: the hours since 1970-01-01T00:00Z. An unknown value is NaN, for a missing row and for a faulty
value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.faults import Faults, find_faults, plausible_weather
from energy_forecast.forecasting.data.weather_imputation import impute_weather
from energy_forecast.forecasting.types import Flags, Floats, Ints

WEATHER_COLUMNS = ("temperature", "humidity", "wind_speed", "precipitation")
# The grid extends this far beyond the data on both sides, so that lags need no bounds check. The longest lag is 28 days
# before an origin that is itself 14 days before its target.
PADDING_HOURS = 24 * 84
_HOUR = 3_600_000_000


def hour_number(moment: datetime) -> int:
    """Return the number of the hour that contains `moment`, which must have a UTC offset."""
    return int(moment.astimezone(UTC).timestamp() // 3600)


def hour_numbers(moments: pl.Series) -> Ints:
    """Return the number of the UTC hour of each timestamp, [n]."""
    # Without an expression of polars, which costs ten times as much
    return np.asarray(moments.to_numpy().astype("datetime64[us]").astype(np.int64) // _HOUR, np.int64)


def timestamps(hours: Ints) -> pl.Series:
    """Return hour numbers as a series of UTC timestamps."""
    return pl.Series("timestamp", hours * _HOUR, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


@dataclass(frozen=True)
class History:
    """Load and weather of one city as known at one moment.

    load[i] (kWh), weather[column][i]: of the hour `start + i`.
    first: the first hour with known load.
    known_until: the hour after the last known load, the origin of a forecast.
    faults: the hours that were left out of `load`.
    imputed[column]: flags the hours with an imputed value; columns without any are absent.
    """

    start: int
    load: Floats
    weather: dict[str, Floats]
    first: int
    known_until: int
    faults: Faults
    imputed: dict[str, Flags] = field(default_factory=dict)

    @property
    def has_weather(self) -> bool:
        """Return whether any temperature is known."""
        return bool(np.isfinite(self.weather["temperature"]).any())


def build_history(
    load: pl.DataFrame,
    weather: pl.DataFrame,
    weather_ahead: pl.DataFrame,
    *,
    issued_at: datetime,
    days: int | None,
    served: Sequence[str] = WEATHER_COLUMNS,
) -> History:
    """Return the history as known at `issued_at`.

    Args:
        load, weather: observations known at `issued_at`. Rows of hours that had not ended by then are dropped here too,
            so that a leak upstream does not become a leak in a forecast.
        weather_ahead: weather forecasts for hours from `issued_at` on; earlier rows are dropped.
        days: the number of days before `issued_at` to use, or None for all.
        served: the columns of `weather_ahead` to use. Values that it lacks are imputed, those of other columns are not.
    """
    cut = hour_number(issued_at)
    floor = -(1 << 60) if days is None else cut - 24 * days
    load_hours, (values,) = _columns(load, ("consumption_kwh",), floor, cut)
    past_hours, past = _columns(weather, WEATHER_COLUMNS, floor, cut)
    ahead_hours, ahead = _columns(weather_ahead, WEATHER_COLUMNS, cut, 1 << 60)

    known = np.isfinite(values)
    first = int(load_hours[known].min()) if known.any() else cut
    known_until = int(load_hours[known].max()) + 1 if known.any() else cut
    begin = min(first, cut if days is None else floor) - PADDING_HOURS
    grid = np.full(cut + PADDING_HOURS - begin, np.nan)

    kwh = grid.copy()
    kwh[load_hours - begin] = values
    columns = {}
    for name, before, after in zip(WEATHER_COLUMNS, past, ahead, strict=True):
        column = grid.copy()
        inside = (past_hours >= begin) & (past_hours < cut)
        column[past_hours[inside] - begin] = before[inside]
        inside = (ahead_hours < begin + len(grid)) & (name in served)
        column[ahead_hours[inside] - begin] = after[inside]
        columns[name] = _bridge(plausible_weather(name, column))

    imputed = impute_weather(columns, begin, cut, ahead=served)

    faults = find_faults(kwh)
    kwh[faults.where] = np.nan
    if faults.where.any() and np.isfinite(kwh).any():
        good = np.flatnonzero(np.isfinite(kwh))
        first, known_until = begin + int(good[0]), begin + int(good[-1]) + 1
    return History(begin, kwh, columns, first, known_until, faults, imputed)


def _columns(frame: pl.DataFrame, names: tuple[str, ...], begin: int, end: int) -> tuple[Ints, list[Floats]]:
    """Return the rows of the hours [begin, end) as hour numbers and one array per column; a missing column is NaN."""
    if frame.is_empty():
        return np.empty(0, np.int64), [np.empty(0) for _ in names]
    # to_numpy turns null into NaN; each polars expression would take a millisecond, even for a short frame
    hours = frame["timestamp"].to_numpy().astype("datetime64[us]").astype(np.int64) // _HOUR
    inside = (hours >= begin) & (hours < end)
    arrays = []
    for name in names:
        array = frame[name].to_numpy().astype(float) if name in frame.columns else np.full(len(hours), np.nan)
        arrays.append(array[inside])
    return hours[inside], arrays


def _bridge(values: Floats) -> Floats:
    """Fill gaps of at most three hours linearly. For weather only, which is smooth and never a target."""
    good = np.flatnonzero(np.isfinite(values))
    if len(good) < 2:
        return values
    gap = np.diff(good)
    filled = values.copy()
    short = (gap > 1) & (gap <= 4)
    for left, width in zip(good[:-1][short], gap[short], strict=True):
        share = np.arange(1, width) / width
        filled[left + 1 : left + width] = values[left] * (1 - share) + values[left + width] * share
    return filled
