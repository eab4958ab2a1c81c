"""Breakdown of scores by local hour, and by type of day or weekday."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.forecasting.evaluation.hour_sums import HourSums, hour_sums
from energy_forecast.forecasting.features.calendar import day_kinds
from energy_forecast.forecasting.types import City, Floats, Ints
from energy_forecast.local_times import to_local

# By the kind in features.calendar; in a country with another weekend, its first and its last day
DAY_TYPES = ("workday", "saturday", "sunday_or_holiday")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "holiday")


def scores_by_hour(sums: HourSums, cells: Ints) -> list[dict[str, Any]]:
    """Return scores by type of day and local hour, in their order; parts without a pair are left out.

    Args:
        sums: the sums of each target hour, by time.
        cells: the cell of each hour, as `day_type_cells` returns them.

    Returns:
        day_type (of DAY_TYPES), local_hour, pair_count, mape (percent; None if every actual value is zero), mae_kwh,
        rmse_kwh, bias_kwh (forecast minus actual), pinball_kwh, coverage_90 (share). The same sums give the same
        digits.
    """
    return [
        {"day_type": DAY_TYPES[cell // 24], "local_hour": cell % 24} | scores
        for cell, scores in _by_cell(sums, cells, 24 * len(DAY_TYPES))
    ]


def day_type_cells(timestamps: pl.Series, city: City) -> Ints:
    """Return 24 times the index in DAY_TYPES plus the local hour, for each time (UTC)."""
    kind, _, _, hour = _local(timestamps, city)
    return kind * 24 + hour


def errors_by_weekday(pairs: pl.DataFrame, city: City) -> pl.DataFrame:
    """Return the scores of `scores_by_hour` by weekday (of WEEKDAYS): weekday, local_hour, pair_count, ...

    Args:
        pairs: issued_at, timestamp (UTC), actual, predicted, q05 .. q95, kWh, all known.
    """
    _, sums = hour_sums(pairs.with_columns(pl.lit(None, pl.Float64).alias("reference")))
    times = pl.Series("timestamp", sums["timestamp"]).cast(pl.Datetime("us", "UTC"))
    _, weekday, holiday, hour = _local(times, city)
    row = np.where(holiday == 1, WEEKDAYS.index("holiday"), weekday)
    rows = [
        {"weekday": WEEKDAYS[cell // 24], "local_hour": cell % 24} | scores
        for cell, scores in _by_cell(sums, row * 24 + hour, 24 * len(WEEKDAYS))
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _local(timestamps: pl.Series, city: City) -> tuple[Ints, Ints, Ints, Ints]:
    """Return kind of day, weekday (Monday is 0), whether it is a holiday, and hour, in local time."""
    wall = to_local(timestamps, city.timezone)
    day = wall.dt.date().cast(pl.Int64).to_numpy()
    kinds, holidays = day_kinds(city, wall.dt.date().min(), wall.dt.date().max())  # type: ignore[arg-type]
    at = day - day.min()
    return kinds[at], (day + 3) % 7, holidays[at].astype(np.int64), wall.dt.hour().cast(pl.Int64).to_numpy()


def _by_cell(sums: HourSums, cell: Ints, cells: int) -> list[tuple[int, dict[str, Any]]]:
    def add(values: Floats) -> Floats:
        # Added in the order of the rows: another order gives other last digits
        return np.asarray(np.bincount(cell, values, cells), float)

    count, actual = sums["count"].astype(float), sums["actual"]
    n = add(count)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(actual != 0, sums["absolute"] / np.abs(actual), 0.0)
        columns = {
            "mape": 100 * add(relative) / add(np.where(actual != 0, count, 0.0)),
            "mae_kwh": add(sums["absolute"]) / n,
            "rmse_kwh": np.sqrt(add(sums["squared"]) / n),
            "bias_kwh": add(sums["error"]) / n,
            "pinball_kwh": add(sums["pinball"]) / n,
            "coverage_90": add(sums["inside"].astype(float)) / n,
        }
    return [
        (
            int(i),
            {"pair_count": int(n[i])}
            | {name: float(x[i]) if math.isfinite(x[i]) else None for name, x in columns.items()},
        )
        for i in np.flatnonzero(n)
    ]
