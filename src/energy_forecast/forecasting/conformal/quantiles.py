"""Conformal prediction: intervals from the quantiles of errors on held-out data.

An error is divided by the level of the load and by the expected absolute error of its lead time and local hour (the
profile). Then the recent bias is subtracted, and the rest is divided by the recent scale of the city's errors. The
result has nearly one distribution. Its quantiles are empirical: with n errors, level a is the ceil((n + 1) a)-th
smallest (Vovk et al. 2005; Lei et al. 2018). Subtracting the bias keeps the coverage of a regression whose errors have
shifted: Chicago's vanilla benchmark in 2022 lost 14 % of its pinball loss by it, Tetouan's (zone 1) 56 %.

The hours of a day err together, and the days of a cold spell too, so n errors are far fewer independent ones. The
missing spread of so few is added as in Student's t: see `spread_for_few`. The median of the errors is not used: the
recent bias gives the middle. Keeping the median of a few weeks' errors cost gradient-boosting 4 to 10 % of pinball
loss on histories of 3 weeks (US cities, Tetouan, Victoria, England and Wales), and gained nothing on 26.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

import numpy as np

from energy_forecast.forecasting.hours import CALIBRATION_LEADS, sum_over_neighbours
from energy_forecast.forecasting.serialization import Shape, Stored
from energy_forecast.forecasting.types import QUANTILE_LEVELS, Floats, Ints
from energy_forecast.time_arguments import LONGEST_HORIZON_HOURS

BUCKETS = len(CALIBRATION_LEADS)
RECENT_HOURS = 24 * 28
_HALF_LIFE_HOURS = 24 * 10
_BIAS_HALF_LIFE_HOURS = 24 * 4
_BIAS_PRIOR_HOURS = 24 * 2
_PRIOR_HOURS = 24 * 5
_SMALLEST = 1e-4
# The number of days of errors that count as one independent day. On 31 windows after 3 to 26 weeks of history, the 90 %
# interval of gradient-boosting covered 82 to 91 % before any widening, 89 to 94 % with 2, 90 to 95 % with 2.5.
_DAYS_ALIKE = 2.0
_FEWEST = 3.0
_GAUSSIAN = np.array([NormalDist().inv_cdf(quantile) for quantile in QUANTILE_LEVELS])


def long_lead_factor(lead: Ints) -> Floats:
    """Return the factor by which errors at leads (hours) beyond the longest tested one are larger, [n].

    Leads are that long if a meter has sent nothing for days. The factor is the cube root of lead / 168: in Baltimore,
    2023, the ensemble's 90 % interval without it covered 88, 86, 85 and 70 % when the last 7, 10, 14 and 28 days were
    unknown.
    """
    return np.asarray(np.cbrt(np.maximum(lead / LONGEST_HORIZON_HOURS, 1.0)), float)


@dataclass(frozen=True)
class Calibration(Stored):
    """The error distribution on held-out data.

    profile: [BUCKETS, 24], the expected absolute error by lead bucket and local hour, as a share of the level.
    quantiles: [BUCKETS, 19], quantiles of the errors divided by profile and recent scale.
    n: the number of errors.
    """

    profile: Annotated[Floats, Shape(BUCKETS, 24)]
    quantiles: Annotated[Floats, Shape(BUCKETS, len(QUANTILE_LEVELS))]
    n: int

    def bias_correction(self, lead: Ints, hour: Ints, bias: float) -> Floats:
        """Return the recent bias as a share of the level, [n]."""
        return np.asarray(bias * self.profile[CALIBRATION_LEADS.bucket(lead), hour], float)

    def error_quantiles(self, lead: Ints, hour: Ints, bias: float, scale: float) -> Floats:
        """Return quantiles of the error as a share of the level, [n, 19]."""
        bucket = CALIBRATION_LEADS.bucket(lead)
        wide = scale * long_lead_factor(lead)[:, None]
        errors: Floats = (bias + self.quantiles[bucket] * wide) * self.profile[bucket, hour][:, None]
        return errors


def error_profile(errors: Floats, lead: Ints, hour: Ints) -> Floats:
    """Return the expected absolute error by lead bucket and local hour, [BUCKETS, 24].

    A cell is the mean over its hour and the two neighbours (weights 1, 2, 1), shrunk to the mean of its bucket with the
    weight of 20 errors. A bucket without errors takes the values of the one before it, or of the one after.
    """
    bucket = CALIBRATION_LEADS.bucket(lead)
    cell = bucket * 24 + hour
    good = np.isfinite(errors)
    total, count = (
        sum_over_neighbours(np.asarray(np.bincount(cell[good], values, BUCKETS * 24), float).reshape(BUCKETS, 24))
        for values in (np.abs(errors[good]), np.ones(int(good.sum())))
    )
    profile = np.full((BUCKETS, 24), np.nan)
    for b in range(BUCKETS):
        if count[b].sum() > 0:
            mean = total[b].sum() / count[b].sum()
            profile[b] = (total[b] + 20 * mean) / (count[b] + 20)
    for b in [*range(1, BUCKETS), *range(BUCKETS - 2, -1, -1)]:
        if not np.isfinite(profile[b, 0]):
            profile[b] = profile[b - 1] if b and np.isfinite(profile[b - 1, 0]) else profile[min(b + 1, BUCKETS - 1)]
    return np.asarray(np.maximum(np.nan_to_num(profile, nan=0.05), _SMALLEST), float)


def recent_bias_and_scale(standardized: Floats, age: Ints) -> tuple[float, float]:
    """Return bias and scale of recent errors, in units of the expected absolute error (0 and 1 are as expected).

    The bias is a mean with a half-life of four days, to which two days without error are added. The scale is the mean
    absolute distance from it with a half-life of ten days, to which five days of expected errors are added.

    Args:
        standardized: [h] errors divided by their profile; NaN where unknown.
        age: [h] hours from each error to the present.
    """
    known = np.isfinite(standardized)
    value = np.clip(standardized[known], -8.0, 8.0)
    near, far = 0.5 ** (age[known] / _BIAS_HALF_LIFE_HOURS), 0.5 ** (age[known] / _HALF_LIFE_HOURS)
    bias = float((near * value).sum() / (_BIAS_PRIOR_HOURS + near.sum()))
    scale = float((_PRIOR_HOURS + (far * np.abs(value - bias)).sum()) / (_PRIOR_HOURS + far.sum()))
    return bias, scale


def calibrate(
    errors: Floats, targets: Ints, lead: Ints, hour: Ints, bias: Floats, scale: Floats, profile: Floats
) -> Calibration:
    """Return the calibration from held-out errors.

    Args:
        errors: [n] held-out errors (actual - predicted) as a share of the level.
        targets, lead, hour: [n] hour number of the target, lead time in hours, and local hour of the target.
        bias, scale: [n] recent_bias_and_scale at the origin of each error.
        profile: from error_profile.
    """
    standardized = (errors / profile[CALIBRATION_LEADS.bucket(lead), hour] - bias) / scale
    return Calibration(profile, fit_quantiles(standardized, targets, lead), int(np.isfinite(errors).sum()))


def fit_quantiles(standardized: Floats, targets: Ints, lead: Ints, *, most_days: float = np.inf) -> Floats:
    """Return the quantiles of standardized errors (NaN where unknown) by lead bucket, [BUCKETS, 19].

    Args:
        most_days: the largest number of independent days that the errors may count as.
    """
    bucket = CALIBRATION_LEADS.bucket(lead)
    good = np.isfinite(standardized)
    quantiles = np.empty((BUCKETS, len(QUANTILE_LEVELS)))
    for b in range(BUCKETS):
        own = good & (bucket == b)
        # Fewer than 200 errors do not define a 5 % tail: it would be based on fewer than ten of them
        taken = own if own.sum() >= 200 else good
        days = len(np.unique(targets[taken] // 24))
        independent = min(days / _DAYS_ALIKE, most_days)
        quantiles[b] = spread_for_few(conformal_quantiles(np.sort(standardized[taken])), independent)
    return quantiles


def conformal_quantiles(ordered: Floats) -> Floats:
    """Return the quantiles at QUANTILE_LEVELS of ascending errors, one rank further out on both sides."""
    n = len(ordered)
    if n == 0:
        return np.zeros(len(QUANTILE_LEVELS))
    levels = np.asarray(QUANTILE_LEVELS)
    upper = np.ceil((n + 1) * levels - 1e-9).astype(int) - 1
    lower = np.floor((n + 1) * levels + 1e-9).astype(int) - 1
    rank = np.where(levels > 0.5, upper, lower)
    middle = np.median(ordered)
    return np.where(levels == 0.5, middle, ordered[np.clip(rank, 0, n - 1)])


def spread_for_few(quantiles: Floats, n: float) -> Floats:
    """Return quantiles around a median of 0 for one more error, from those of `n` independent errors.

    If the spread of normal errors is estimated from n of them, the next one follows Student's t with n - 1 degrees of
    freedom, scaled by sqrt(1 + 1 / n). The ratio of its quantiles to the normal ones widens each level here: the 90 %
    interval by 65 % at n = 3, by 22 % at n = 8, by 3 % at n = 50. t is computed by its series in 1 / degrees of freedom
    (Abramowitz and Stegun 26.7.5), accurate to 0.01 from 3 degrees on at these levels.
    """
    z, v = _GAUSSIAN, max(n - 1, _FEWEST)
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    ratio = np.divide(t, z, out=np.ones_like(z), where=np.abs(z) > _SMALLEST) * np.sqrt(1 + 1 / max(n, 1.0))
    return np.asarray((quantiles - np.median(quantiles)) * ratio, float)
