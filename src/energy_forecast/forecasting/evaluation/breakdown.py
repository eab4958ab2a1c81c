"""Breakdown of scores by local hour, and by type of day or weekday."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.forecasting.evaluation.metrics import pinball_losses
from energy_forecast.forecasting.features.calendar import day_kinds
from energy_forecast.forecasting.types import QUANTILE_COLUMNS, City, Floats, Ints
from energy_forecast.local_times import to_local

# By the kind in features.calendar; in a country with another weekend, its first and its last day
DAY_TYPES = ("workday", "saturday", "sunday_or_holiday")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "holiday")


def scores_by_hour(pairs: pl.DataFrame, city: City) -> list[dict[str, Any]]:
    """Return scores by type of day and local hour, in their order; parts without a pair are left out.

    Args:
        pairs: issued_at, timestamp (UTC), actual, predicted, q05 .. q95, kWh, all known.

    Returns:
        day_type (of DAY_TYPES), local_hour, pair_count, mape (percent; None if every actual value is zero), mae_kwh,
        rmse_kwh, bias_kwh (forecast minus actual), pinball_kwh, coverage_90 (share). The same pairs give the same
        digits.
    """
    pairs = pairs.sort("issued_at", "timestamp")
    kind, _, _, hour = _local(pairs["timestamp"], city)
    return [
        {"day_type": DAY_TYPES[cell // 24], "local_hour": cell % 24} | scores
        for cell, scores in _by_cell(pairs, kind * 24 + hour, 24 * len(DAY_TYPES))
    ]


def errors_by_weekday(pairs: pl.DataFrame, city: City) -> pl.DataFrame:
    """Return the scores of `scores_by_hour` by weekday (of WEEKDAYS): weekday, local_hour, pair_count, ..."""
    pairs = pairs.sort("issued_at", "timestamp")
    _, weekday, holiday, hour = _local(pairs["timestamp"], city)
    row = np.where(holiday == 1, WEEKDAYS.index("holiday"), weekday)
    rows = [
        {"weekday": WEEKDAYS[cell // 24], "local_hour": cell % 24} | scores
        for cell, scores in _by_cell(pairs, row * 24 + hour, 24 * len(WEEKDAYS))
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _local(timestamps: pl.Series, city: City) -> tuple[Ints, Ints, Ints, Ints]:
    """Return kind of day, weekday (Monday is 0), whether it is a holiday, and hour, in local time."""
    wall = to_local(timestamps, city.timezone)
    day = wall.dt.date().cast(pl.Int64).to_numpy()
    kinds, holidays = day_kinds(city, wall.dt.date().min(), wall.dt.date().max())  # type: ignore[arg-type]
    at = day - day.min()
    return kinds[at], (day + 3) % 7, holidays[at].astype(np.int64), wall.dt.hour().cast(pl.Int64).to_numpy()


def _by_cell(pairs: pl.DataFrame, cell: Ints, cells: int) -> list[tuple[int, dict[str, Any]]]:
    actual, predicted = pairs["actual"].to_numpy(), pairs["predicted"].to_numpy()
    quantiles = pairs.select(QUANTILE_COLUMNS).to_numpy()
    error = predicted - actual
    inside = (actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1])

    def sums(values: Floats) -> Floats:
        # Added in the order of the rows: another order gives other last digits
        return np.asarray(np.bincount(cell, values, cells), float)

    n, not_zero = np.bincount(cell, minlength=cells), sums((actual != 0).astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "mape": 100 * sums(np.where(actual != 0, np.abs(error / actual), 0.0)) / not_zero,
            "mae_kwh": sums(np.abs(error)) / n,
            "rmse_kwh": np.sqrt(sums(error**2) / n),
            "bias_kwh": sums(error) / n,
            "pinball_kwh": sums(pinball_losses(actual, quantiles).mean(axis=1)) / n,
            "coverage_90": sums(inside.astype(float)) / n,
        }
    return [
        (
            int(i),
            {"pair_count": int(n[i])}
            | {name: float(x[i]) if math.isfinite(x[i]) else None for name, x in columns.items()},
        )
        for i in np.flatnonzero(n)
    ]
