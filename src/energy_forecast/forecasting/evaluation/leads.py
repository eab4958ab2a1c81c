"""Errors by lead time: of each model on its own pairs, and of models on the pairs that they have in common."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from energy_forecast.forecasting.hours import LEAD_STEPS
from energy_forecast.forecasting.types import QUANTILE_COLUMNS, QUANTILE_LEVELS

# Runs with different ones are never mixed
CONDITIONS = ("purpose", "weather", "assumptions")
OWN, COMMON = "own", "common"


def errors_by_lead(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the errors of models by purpose, weather, assumptions and lead time.

    `pairs` is `own` for all pairs of the model, and `common` for those whose issue time and hour all models with these
    conditions have. `common` is left out if only one model has them.

    Args:
        pairs: model, purpose, weather, assumptions, issued_at, timestamp (UTC), actual, predicted, q05 .. q95 and
            reference (null if unknown), kWh.

    Returns:
        purpose, weather, assumptions, model, pairs, lead_start_hours, lead_end_hours (of LEAD_STEPS), pair_count, mape
        (percent; null if all actuals are zero), mae_kwh, rmse_kwh, bias_kwh (forecast minus actual), pinball_kwh,
        coverage_90 (share), width_90_kwh, mean_consumption_kwh, skill_naive_168 (null without a reference).
    """
    lead = pl.col("timestamp") - pl.col("issued_at")
    start = pl.lit(None, pl.Int64)
    for low, high in LEAD_STEPS:
        inside = (lead >= timedelta(hours=low)) & (lead < timedelta(hours=high))
        start = pl.when(inside).then(pl.lit(low, pl.Int64)).otherwise(start)
    shared = [*CONDITIONS, "issued_at", "timestamp"]
    placed = pairs.with_columns(
        start.alias("lead_start_hours"),
        pl.col("model").n_unique().over(CONDITIONS).alias("_models"),
        pl.len().over(shared).alias("_here"),
    ).filter(pl.col("lead_start_hours").is_not_null())
    both = placed.filter(pl.col("_models") > 1, pl.col("_here") == pl.col("_models"))
    parts = [
        part.group_by(*CONDITIONS, "model", "lead_start_hours").agg(pl.lit(name).alias("pairs"), *_scores())
        for name, part in ((OWN, placed), (COMMON, both))
    ]
    return (
        pl.concat(parts)
        .with_columns(
            pl.col("lead_start_hours").replace_strict(dict(LEAD_STEPS), return_dtype=pl.Int64).alias("lead_end_hours")
        )
        .sort(*CONDITIONS, "model", "pairs", "lead_start_hours", descending=[False] * 4 + [True, False])
    )


def _scores() -> list[pl.Expr]:
    error = pl.col("predicted") - pl.col("actual")
    absolute = error.abs()
    losses = [
        pl.max_horizontal(level * (pl.col("actual") - pl.col(name)), (level - 1) * (pl.col("actual") - pl.col(name)))
        for level, name in zip(QUANTILE_LEVELS, QUANTILE_COLUMNS, strict=True)
    ]
    outer = QUANTILE_COLUMNS[0], QUANTILE_COLUMNS[-1]
    reference = (pl.col("actual") - pl.col("reference")).abs()
    has_reference = pl.col("reference").is_not_null()
    of_reference = reference.filter(has_reference).sum()
    return [
        pl.len().cast(pl.Int64).alias("pair_count"),
        (100 * absolute / pl.col("actual").abs()).filter(pl.col("actual") != 0).mean().alias("mape"),
        absolute.mean().alias("mae_kwh"),
        (error**2).mean().sqrt().alias("rmse_kwh"),
        error.mean().alias("bias_kwh"),
        (pl.sum_horizontal(losses) / len(losses)).mean().alias("pinball_kwh"),
        pl.col("actual").is_between(pl.col(outer[0]), pl.col(outer[1])).mean().alias("coverage_90"),
        (pl.col(outer[1]) - pl.col(outer[0])).mean().alias("width_90_kwh"),
        pl.col("actual").mean().alias("mean_consumption_kwh"),
        pl.when(of_reference > 0)
        .then(1 - absolute.filter(has_reference).sum() / of_reference)
        .alias("skill_naive_168"),
    ]
