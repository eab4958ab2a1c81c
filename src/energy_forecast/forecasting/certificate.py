"""Whether intervals cover what they say: by city, lead time and season, with the tolerance that chance needs."""

from __future__ import annotations

from datetime import timedelta
from statistics import NormalDist

import polars as pl

from energy_forecast.forecasting.contract import QUANTILE_COLUMNS, QUANTILE_LEVELS
from energy_forecast.local_times import to_local

LEAD_BUCKETS = ((0, 6), (6, 24), (24, 48), (48, 168))
# Central intervals by nominal coverage
_INTERVALS = {0.9: ("q05", "q95"), 0.8: ("q10", "q90"), 0.5: ("q25", "q75")}
_SEASONS = {12: "winter", 1: "winter", 2: "winter", 3: "spring", 4: "spring", 5: "spring", 6: "summer", 7: "summer"}
_SEASONS |= {8: "summer", 9: "autumn", 10: "autumn", 11: "autumn"}
WITHIN = {"city": 0.02, "lead": 0.04, "season": 0.04}


def coverage_certificate(
    pairs: pl.DataFrame, *, timezone: str = "UTC", southern: bool = False, confidence: float = 0.95
) -> pl.DataFrame:
    """Coverage of the central 90, 80 and 50 % intervals of one model and the verdict on each.

    Args:
        pairs: city, issued_at, timestamp (the target's local or UTC time; its month makes the season), actual (null
            where unknown, which is left out) and the quantiles q05 .. q95.
        timezone: IANA zone, on whose clock the months of the seasons begin.
        southern: the cities lie south of the equator: July is winter.
        confidence: of the tolerance.

    Returns:
        One row a group and interval: part (city, lead, season), group, city, nominal, hours, days, coverage, tolerance,
        passed. The tolerance is what the part is allowed (2 points a city, 4 a lead bucket or season), or what chance
        alone may take from as many independent trials as there are days of issue, if that is more: the hours of one
        forecast err together, and counting them one by one would fail an honest interval.
    """
    known = pairs.filter(pl.col("actual").is_not_null())
    lead = pl.col("timestamp") - pl.col("issued_at")
    bucket = pl.lit(None, pl.String)
    for low, high in LEAD_BUCKETS:
        inside = (lead >= timedelta(hours=low)) & (lead < timedelta(hours=high))
        bucket = pl.when(inside).then(pl.lit(f"{low}-{high} h")).otherwise(bucket)
    month = (to_local(known["timestamp"], timezone).dt.month() + (5 if southern else -1)) % 12 + 1
    known = known.with_columns(
        pl.lit("all").alias("_city"), bucket.alias("_lead"), month.replace_strict(_SEASONS).alias("_season")
    )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    parts = []
    for part in ("city", "lead", "season"):
        for nominal, (lower, upper) in _INTERVALS.items():
            within = pl.col("actual").is_between(pl.col(lower), pl.col(upper))
            chance = z * (nominal * (1 - nominal) / pl.col("days")).sqrt()
            parts.append(
                known.filter(pl.col(f"_{part}").is_not_null())
                .group_by("city", pl.col(f"_{part}").alias("group"))
                .agg(
                    pl.len().cast(pl.Int64).alias("hours"),
                    pl.col("issued_at").n_unique().cast(pl.Int64).alias("days"),
                    within.mean().alias("coverage"),
                )
                .with_columns(
                    pl.lit(part).alias("part"),
                    pl.lit(nominal).alias("nominal"),
                    pl.max_horizontal(pl.lit(WITHIN[part]), chance).alias("tolerance"),
                )
                .with_columns(((pl.col("coverage") - nominal).abs() <= pl.col("tolerance")).alias("passed"))
            )
    columns = ["part", "group", "city", "nominal", "hours", "days", "coverage", "tolerance", "passed"]
    first_hour = pl.col("group").str.extract(r"^(\d+)-").cast(pl.Int64)
    return pl.concat(parts).select(columns).sort("city", "part", first_hour, "group", "nominal")


def reliability(pairs: pl.DataFrame) -> pl.DataFrame:
    """How often actuals lie at or below each quantile: city, level, observed (share), hours.

    The shares between neighbouring levels are the histogram of the probability integral transform (Dawid 1984).

    Args:
        pairs: as `coverage_certificate`.
    """
    known = pairs.filter(pl.col("actual").is_not_null())
    parts = [
        known.group_by("city").agg(
            pl.lit(level).alias("level"),
            (pl.col("actual") <= pl.col(column)).mean().alias("observed"),
            pl.len().cast(pl.Int64).alias("hours"),
        )
        for level, column in zip(QUANTILE_LEVELS, QUANTILE_COLUMNS, strict=True)
    ]
    return pl.concat(parts).sort("city", "level")
