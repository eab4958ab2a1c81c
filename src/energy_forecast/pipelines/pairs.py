"""Pairs of a forecast and its actual, and their scores."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.forecasting import QUANTILE_COLUMNS, City
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.evaluation.breakdown import day_type_cells, scores_by_hour
from energy_forecast.forecasting.evaluation.hour_sums import HourSums, hour_sums
from energy_forecast.forecasting.hours import REPORT_LEADS
from energy_forecast.local_times import to_local, to_utc_first

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def lead_buckets(hours: int) -> list[tuple[int, int]]:
    """Return the range of lead times up to `hours`, followed by the buckets within it: (first, end) in hours."""
    parts = [(low, min(high, hours)) for low, high in REPORT_LEADS if low < hours]
    return list(dict.fromkeys([(0, hours), *parts]))


def join_actuals(forecasts: pl.DataFrame, load: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Return the forecasts with three more columns.

    `actual` is the observed load, and `reference` is naive-168: the load at the same local hour a week before. Both are
    kWh in the hour, null if unknown or faulty. `left_out` is true if the actual is faulty.

    Args:
        forecasts: timestamp and any other columns.
        load: as `actual_load` returns it, from 8 days before the first forecast on.
        timezone: the IANA zone of the city.
    """
    known = load.select("timestamp", pl.col("consumption_kwh").alias("actual"), "left_out")
    reference = known.select(pl.col("timestamp").alias("week_before"), pl.col("actual").alias("reference"))
    return (
        forecasts.with_columns(week_before(forecasts["timestamp"], timezone).alias("week_before"))
        .join(known, on="timestamp", how="left")
        .join(reference, on="week_before", how="left")
        .drop("week_before")
        .with_columns(pl.col("left_out").fill_null(value=False))
    )


def week_before(times: pl.Series, timezone: str) -> pl.Series:
    """Return the same local hour a week before each time, for naive-168.

    A repeated local hour has its first occurrence, a skipped one is null.
    """
    return to_utc_first(to_local(times, timezone).dt.offset_by("-7d"), timezone)


def matured(issued: pl.DataFrame, load: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Return the forecasts with a valid actual. Of several for one issue time and hour, the last recorded one counts.

    Args:
        issued: purpose, weather, issued_at, timestamp, predicted, quantiles (kWh), in the order of recording; model_id
            if they are of several versions.
        load, timezone: as in `join_actuals`.
    """
    pairs = join_actuals(last_recorded(issued), load, timezone)
    return pairs.filter(pl.col("actual").is_not_null()).drop("left_out")


def last_recorded(issued: pl.DataFrame) -> pl.DataFrame:
    """Return the last recorded forecast for each issue time and hour, with columns for the quantiles; see `matured`."""
    key = [name for name in ("model_id", "purpose", "weather", "issued_at", "timestamp") if name in issued.columns]
    return (
        issued.unique(key, keep="last", maintain_order=True)
        .with_columns(pl.col("quantiles").list.to_struct(fields=QUANTILE_COLUMNS).struct.unnest())
        .drop("quantiles")
    )


def score_pairs(pairs: pl.DataFrame, city: City) -> dict[str, Any]:
    """Return the scores of the pairs of one city, as the columns of forecast_scores.

    Args:
        pairs: issued_at, timestamp, actual, predicted, q05 .. q95, reference (naive-168; null if unknown), kWh.
    """
    _, sums = hour_sums(pairs)
    return score_hours(sums, city)


def score_hours(sums: HourSums, city: City) -> dict[str, Any]:
    """Return the scores of a period of one city, as the columns of forecast_scores.

    Args:
        sums: the sums of each target hour with a pair, by time.
    """
    count, actual, reference = sums["count"].astype(float), sums["actual"], sums["reference"]
    times = pl.Series("timestamp", sums["timestamp"]).cast(pl.Datetime("us", "UTC"))
    cells = day_type_cells(times, city)
    pairs, not_zero, known = math.fsum(count), actual != 0, np.isfinite(reference)
    squared, mean = math.fsum(sums["squared"]), math.fsum(count * actual) / pairs
    # Rounding may not make a constant load vary
    variation = math.fsum(count * (actual - mean) ** 2) if actual.min() < actual.max() else 0.0
    relative = math.fsum(sums["absolute"][not_zero] / np.abs(actual[not_zero]))
    return {
        "period_start": _moment(sums["timestamp"][0]),
        "period_end": _moment(sums["timestamp"][-1]) + _HOUR,
        "pair_count": int(pairs),
        "pair_digest": _digest(sums, cells),
        "mape": 100 * relative / math.fsum(count[not_zero]) if not_zero.any() else None,
        "mae_kwh": math.fsum(sums["absolute"]) / pairs,
        "rmse_kwh": math.sqrt(squared / pairs),
        "r2_score": 1 - squared / variation if variation > 0 else None,
        "pinball_kwh": math.fsum(sums["pinball"]) / pairs,
        "coverage_90": math.fsum(sums["inside"]) / pairs,
        "width_90_kwh": math.fsum(sums["width"]) / pairs,
        "skill_naive_168": _known(
            metrics.skill_score(
                math.fsum(sums["absolute"][known]), math.fsum((count * np.abs(actual - reference))[known])
            )
        ),
        "by_hour": scores_by_hour(sums, cells),
    }


def _digest(sums: HourSums, cells: Any) -> bytes:
    """Return the SHA-256 of the digests of the hours, and of their types of day and local hours."""
    return hashlib.sha256(sums["digest"].tobytes() + cells.astype("<i8").tobytes()).digest()


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _moment(microseconds: Any) -> datetime:
    return _UNIX + timedelta(microseconds=int(microseconds))


def local_month(times: pl.Series, timezone: str) -> pl.Series:
    """Return the first local moment of the month of each time.

    In UTC, November 2020 in Havana would be two months: it began at a midnight that occurs twice.
    """
    return to_local(times, timezone).dt.truncate("1mo")
