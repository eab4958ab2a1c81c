"""Coverage tests of intervals by city, lead time and season, with the verdicts passed, failed and not enough data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.forecasting.hours import REPORT_LEADS
from energy_forecast.forecasting.types import QUANTILE_COLUMNS, QUANTILE_LEVELS, Flags, Ints
from energy_forecast.local_times import to_local

# Central intervals by nominal coverage
_INTERVALS = {0.9: ("q05", "q95"), 0.8: ("q10", "q90"), 0.5: ("q25", "q75")}
_SEASONS = {12: "winter", 1: "winter", 2: "winter", 3: "spring", 4: "spring", 5: "spring", 6: "summer", 7: "summer"}
_SEASONS |= {8: "summer", 9: "autumn", 10: "autumn", 11: "autumn"}
PASSED, FAILED, NOT_ENOUGH_DATA = "passed", "failed", "not enough data"
# Largest difference of the observed coverage from the nominal one
WITHIN = {"city": 0.02, "lead": 0.04, "season": 0.04}
# Largest difference of the true coverage: beyond it, at most 5 % of verdicts are a false `passed`
MARGIN = {"city": 0.05, "lead": 0.10, "season": 0.10}
# Blocks for the standard error: adjacent days are correlated, weeks much less
_BLOCK_DAYS = 7
_FEWEST_BLOCKS = 4
FEWEST_DAYS = _BLOCK_DAYS * _FEWEST_BLOCKS
_RISK = 0.05


def coverage_certificate(pairs: pl.DataFrame, *, timezone: str = "UTC", southern: bool = False) -> pl.DataFrame:
    """Return the coverage of the central 90, 80 and 50 % intervals of one model, with a verdict on each.

    The verdict comes from the confidence interval of the coverage, with weeks as independent observations
    (docs/decisions/certificate.md has the rule and its measured error rates):

    - passed: the observed coverage is within the tolerance, and the interval is within the margin. So the data could
      have shown a miss as large as the margin.
    - failed: the observed coverage is outside the tolerance, and chance does not explain it. The risk of 5 % is for all
      verdicts on a city together.
    - not enough data: neither is shown.

    Args:
        pairs: city, issued_at, timestamp, actual (null where unknown; such rows are left out) and the quantiles q05 ..
            q95.
        timezone: IANA zone whose clock gives the target's day and season.
        southern: the cities are south of the equator: July is winter.

    Returns:
        One row a group and interval: part (city, lead, season), group, city, nominal, hours, days (of target hours),
        coverage, lower and upper (90 % confidence interval of the coverage; null for fewer than 28 days), tolerance,
        margin, width_kwh (mean width of the interval), verdict.
    """
    known = pairs.filter(pl.col("actual").is_not_null())
    lead = pl.col("timestamp") - pl.col("issued_at")
    bucket = pl.lit(None, pl.String)
    for low, high in REPORT_LEADS:
        inside = (lead >= timedelta(hours=low)) & (lead < timedelta(hours=high))
        bucket = pl.when(inside).then(pl.lit(f"{low}-{high} h")).otherwise(bucket)
    local = to_local(known["timestamp"], timezone)
    month = (local.dt.month() + (5 if southern else -1)) % 12 + 1
    known = known.with_columns(
        pl.lit("all").alias("_city"),
        bucket.alias("_lead"),
        month.replace_strict(_SEASONS).alias("_season"),
        local.dt.date().alias("_day"),
    )
    rows = [row for (city,), part in known.group_by("city", maintain_order=True) for row in _of_city(str(city), part)]
    first_hour = pl.col("group").str.extract(r"^(\d+)-").cast(pl.Int64)
    return pl.DataFrame(rows, schema=_ROW).sort("city", "part", first_hour, "group", "nominal")


_ROW = {
    **{"part": pl.String, "group": pl.String, "city": pl.String, "nominal": pl.Float64, "hours": pl.Int64},
    **{"days": pl.Int64, "coverage": pl.Float64, "lower": pl.Float64, "upper": pl.Float64, "tolerance": pl.Float64},
    **{"margin": pl.Float64, "width_kwh": pl.Float64, "verdict": pl.String},
}


def _of_city(city: str, known: pl.DataFrame) -> Iterator[dict[str, Any]]:
    groups = [
        (part, str(group), rows)
        for part in WITHIN
        for (group,), rows in known.filter(pl.col(f"_{part}").is_not_null()).group_by(f"_{part}", maintain_order=True)
    ]
    risk = _RISK / (len(groups) * len(_INTERVALS))
    for part, group, rows in groups:
        day = rows["_day"].rank("dense").to_numpy().astype(np.int64) - 1
        days = int(day.max()) + 1
        for nominal, (lower, upper) in _INTERVALS.items():
            inside = rows.select(pl.col("actual").is_between(pl.col(lower), pl.col(upper))).to_series().to_numpy()
            coverage = float(inside.mean())
            facts = {"part": part, "group": group, "city": city, "nominal": nominal, "hours": rows.height, "days": days}
            width = rows.select((pl.col(upper) - pl.col(lower)).mean()).item()
            facts |= {"coverage": coverage, "tolerance": WITHIN[part], "margin": MARGIN[part], "width_kwh": width}
            found = _error(inside, day, nominal)
            if found is None:
                yield facts | {"lower": None, "upper": None, "verdict": NOT_ENOUGH_DATA}
                continue
            error, half_width, blocks = found
            difference = abs(coverage - nominal)
            verdict = NOT_ENOUGH_DATA
            if difference <= WITHIN[part] and difference + half_width <= MARGIN[part]:
                verdict = PASSED
            elif difference > WITHIN[part] and difference > _t_quantile(1 - risk / 2, blocks - 1) * error:
                verdict = FAILED
            yield facts | {"lower": coverage - half_width, "upper": coverage + half_width, "verdict": verdict}


def _error(inside: Flags, day: Ints, nominal: float) -> tuple[float, float, int] | None:
    """Return the standard error of a share, half the width of its 90 % confidence interval, and the number of blocks.

    None for fewer than 28 days.

    Args:
        inside: whether each hour counts.
        day: the number of its day, from 0 on without a gap.
        nominal: the share that is expected.
    """
    days = int(day.max()) + 1
    if days < FEWEST_DAYS:
        return None
    blocks = days // _BLOCK_DAYS
    # At least the error of two independent trials a day, or a month without a miss would be a proof
    least = float(np.sqrt(nominal * (1 - nominal) / (2 * days)))
    error = max(_standard_error(inside, np.minimum(day // _BLOCK_DAYS, blocks - 1), float(inside.mean())), least)
    return error, _t_quantile(1 - _RISK, blocks - 1) * error, blocks


def _standard_error(inside: Flags, block: Ints, coverage: float) -> float:
    """Return the standard error of a share whose blocks are independent, and whose hours within a block need not be."""
    sums = np.bincount(block, weights=inside - coverage)
    return float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(inside))


def _t_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's distribution, by the expansion around the normal one (Abramowitz, Stegun 26.7.5).

    With three degrees of freedom it is 0.1 % too small at the probability 0.95 and 4 % at 0.9995, with five 0.5 %.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def reliability(pairs: pl.DataFrame, *, timezone: str = "UTC") -> pl.DataFrame:
    """Return how often actual values are at or below each quantile.

    The shares between adjacent levels are the histogram of the probability integral transform (Dawid 1984).

    Args:
        pairs, timezone: see `coverage_certificate`.

    Returns:
        city, level, observed (share), lower and upper (its 90 % confidence interval, as in `coverage_certificate`; null
        for fewer than 28 days), hours, days.
    """
    known = pairs.filter(pl.col("actual").is_not_null())
    known = known.with_columns(to_local(known["timestamp"], timezone).dt.date().alias("_day"))
    rows = []
    for (city,), part in known.group_by("city", maintain_order=True):
        day = part["_day"].rank("dense").to_numpy().astype(np.int64) - 1
        for level, column in zip(QUANTILE_LEVELS, QUANTILE_COLUMNS, strict=True):
            below = part.select(pl.col("actual") <= pl.col(column)).to_series().to_numpy()
            observed, found = float(below.mean()), _error(below, day, level)
            bounds = (None, None) if found is None else (max(0.0, observed - found[1]), min(1.0, observed + found[1]))
            rows.append((city, level, observed, *bounds, part.height, int(day.max()) + 1))
    return pl.DataFrame(rows, schema=_RELIABILITY, orient="row").sort("city", "level")


_RELIABILITY = {
    **{"city": pl.String, "level": pl.Float64, "observed": pl.Float64, "lower": pl.Float64, "upper": pl.Float64},
    **{"hours": pl.Int64, "days": pl.Int64},
}
