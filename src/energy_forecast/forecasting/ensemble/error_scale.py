"""Scale of the forecast error: expected size by lead and hour, recent size, recent shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from energy_forecast.forecasting.conformal.quantiles import error_profile
from energy_forecast.forecasting.hours import CALIBRATION_LEADS, KERNEL
from energy_forecast.forecasting.serialization import Shape, Stored
from energy_forecast.forecasting.types import QUANTILE_LEVELS, Floats, Ints

_SCALE_HALF_LIFE_DAYS = 10.0
_SCALE_PRIOR_DAYS = 2.0
_SPREAD_POWER = 0.4
_SPREAD_BOUNDS = (0.3, 3.0)
_FARTHEST_ERROR = 8.0
_SMALLEST = 1e-4
# The first days of the window, at which the aggregation has no history
_SKIPPED_DAYS = 7
# Coverage adjustment: half-life of the days, and the number of days without adjustment that are added
_COVERAGE_HALF_LIFE_DAYS = 20.0
_COVERAGE_PRIOR_DAYS = 15.0
_COVERAGE_BOUNDS = (1 / 3, 3.0)
_CENTRAL = len(QUANTILE_LEVELS) // 2
# Expected error of the first day ahead: how many mean errors are added to each lead and hour, and how often the
# factors of the lead and of the hour are fitted in turn
_DAY = 24
_PRIOR_ERRORS = 20
_ROUNDS = 4
_LATER = int(CALIBRATION_LEADS.bucket(np.array([_DAY]))[0])
# Rows of a profile: the leads of the first day, then the later buckets
PROFILE_ROWS = _DAY + len(CALIBRATION_LEADS) - _LATER
# First hours ahead: half-life of the days, and the number of days without a difference that are added
SHORT_LEAD_HOURS = CALIBRATION_LEADS.borders[0]
_SHORT_LEAD_HALF_LIFE_DAYS = 20.0
_SHORT_LEAD_PRIOR_DAYS = 5.0


@dataclass(frozen=True)
class ErrorProfile(Stored):
    """Expected values by lead time and local hour, as shares of the level; tables of `expected_abs_error`.

    error: the absolute error, divided by `spread_factor`. spread: the spread of the members.
    """

    error: Annotated[Floats, Shape(PROFILE_ROWS, 24)]
    spread: Annotated[Floats, Shape(PROFILE_ROWS, 24)]

    def expected_error(self, spread: Floats, lead: Ints, hour: Ints) -> Floats:
        """Return the expected absolute error for members with this `spread`, a share of the level."""
        factor = spread_factor(spread, profile_at(self.spread, lead, hour))
        return np.asarray(profile_at(self.error, lead, hour) * factor, float)


def expected_abs_error(values: Floats, lead: Ints, hour: Ints) -> Floats:
    """Return the expected size of `values` [n] (NaN where unknown), [PROFILE_ROWS, 24].

    A row is a lead (hours) of the first day, or a later bucket; a column is a local hour.

    Held-out forecasts are issued at three hours of the day, so in the first day a cell is known for few leads. Its size
    is therefore the product of a factor of the hour and a factor of the lead, fitted in turn. A profile by bucket,
    which took an hour's error at the tested leads for its error at all leads, gave 1.7 % more pinball loss in the first
    six hours to forecasts issued at 6, 12 and 18 o'clock (docs/decisions/appendix-models.md).
    """
    table = error_profile(values, lead, hour)[[0] * _DAY + list(range(_LATER, len(CALIBRATION_LEADS)))]
    first = np.isfinite(values) & (lead < _DAY)
    if first.any():
        size, at, of_day = np.maximum(np.abs(values[first]), _SMALLEST), lead[first], hour[first]
        by_lead = np.ones(_DAY)
        for _ in range(_ROUNDS):
            by_hour = _mean_by(of_day, size / by_lead[at], circular=True)
            by_lead = _mean_by(at, size / by_hour[of_day], circular=False)
        table[:_DAY] = np.maximum(by_lead[:, None] * by_hour, _SMALLEST)
    return table


def _mean_by(index: Ints, values: Floats, *, circular: bool) -> Floats:
    """Return means of `values` [n] at each `index` (0 to 23) and its neighbours, shrunk to the total mean, [24]."""
    sums = np.stack([np.bincount(index, values, _DAY), np.bincount(index, minlength=_DAY)])
    sums = np.pad(sums, ((0, 0), (1, 1)), mode="wrap" if circular else "constant")
    total, count = (np.convolve(each, KERNEL, mode="valid") for each in sums)
    return np.asarray((total + _PRIOR_ERRORS * values.mean()) / (count + _PRIOR_ERRORS), float)


def profile_at(table: Floats, lead: Ints, hour: Ints) -> Floats:
    """Return the cells of a table of `expected_abs_error` at lead times (hours) and local hours, in their shape."""
    row = np.where(lead < _DAY, lead, CALIBRATION_LEADS.bucket(lead) - _LATER + _DAY)
    return np.asarray(table[row, hour], float)


def spread_factor(spread: Floats, expected: Floats) -> Floats:
    """Return the factor of an interval's width from the members' spread, at most 1.6."""
    return np.asarray(np.clip(spread / expected, *_SPREAD_BOUNDS) ** _SPREAD_POWER, float)


def recent_scale(standardized: Floats) -> Floats:
    """Return the recent mean size of errors at each day's origin and at the end, in units of the expected, [J + 1].

    It is a mean with a half-life of ten days, to which two days of expected size are added.

    Args:
        standardized: [J, 24] errors of consecutive days divided by their expected size, NaN where unknown.
    """
    known = np.isfinite(standardized)
    size = np.minimum(np.where(known, np.abs(standardized), 0.0), _FARTHEST_ERROR).sum(axis=1) / 24
    count = known.sum(axis=1) / 24
    decay = 0.5 ** (1 / _SCALE_HALF_LIFE_DAYS)
    scale = np.ones(len(standardized) + 1)
    top = bottom = 0.0
    for day in range(len(standardized)):
        top, bottom = decay * (top + size[day]), decay * (bottom + count[day])
        scale[day + 1] = (_SCALE_PRIOR_DAYS + top) / (_SCALE_PRIOR_DAYS + bottom)
    return scale


def short_lead_scale(standardized: Floats) -> float:
    """Return the recent size of errors in the first hours ahead, relative to those of the whole day; 1 is as expected.

    They depend on the last hours before the issue, and later ones on the weather: one can grow without the other.

    Args:
        standardized: [J, 24] errors of consecutive days divided by their expected size and by their day's scale.
    """
    first = standardized[:, :SHORT_LEAD_HOURS]
    weight = np.where(np.isfinite(first), _day_weights(len(first), _SHORT_LEAD_HALF_LIFE_DAYS)[:, None], 0.0)
    size = np.minimum(np.abs(np.nan_to_num(first)), _FARTHEST_ERROR)
    prior = _SHORT_LEAD_PRIOR_DAYS * SHORT_LEAD_HOURS
    return float((prior + (weight * size).sum()) / (prior + weight.sum()))


def _day_weights(days: int, half_life: float) -> Floats:
    """Return the weights of consecutive days; 0 for the first ones, at which the aggregation has no history."""
    weight = 0.5 ** (np.arange(days, 0, -1) / half_life)
    return np.where(np.arange(days) < _SKIPPED_DAYS, 0.0, weight)


def coverage_weights(days: int) -> Floats:
    """Return the weights of the hours of consecutive days for `coverage_adjustment`, [days, 24]; a new day's is 1."""
    return np.asarray(np.repeat(_day_weights(days, _COVERAGE_HALF_LIFE_DAYS)[:, None] / 24, 24, axis=1), float)


def coverage_adjustment(standardized: Floats, weight: Floats, quantiles: Floats) -> Floats:
    """Return the factor of each quantile that would recently have covered its nominal share, [19]; 1 is as fitted.

    The scale follows the size of errors, but not their shape: if held-out data had a few days with large errors and the
    last weeks had none, the mean size comes from those days and every interval is too wide. Each central interval is
    therefore scaled to its nominal coverage of the last weeks, shrunk to 1 as if 15 more days had been as fitted.

    Args:
        standardized: [n] errors divided by their expected size and by the scale at their origin, NaN where unknown.
        weight: [n], in days.
        quantiles: [n, 19] as fitted, for the lead time of each error.
    """
    known = np.isfinite(standardized)
    value, weight, quantiles = standardized[known], weight[known], quantiles[known]
    factor = np.ones(len(QUANTILE_LEVELS))
    total = float(weight.sum())
    if total <= 0:
        return factor
    trust = total / (total + _COVERAGE_PRIOR_DAYS)
    for k in range(_CENTRAL):
        side = np.where(value < 0, quantiles[:, k], quantiles[:, -1 - k])
        needed = np.divide(value, side, out=np.full_like(value, _COVERAGE_BOUNDS[1]), where=np.abs(side) > 0)
        order = np.argsort(needed, kind="stable")
        covered = np.cumsum(weight[order])
        nominal = 1 - 2 * QUANTILE_LEVELS[k]
        found = float(needed[order[min(int(np.searchsorted(covered, nominal * total)), len(order) - 1)]])
        factor[k] = factor[-1 - k] = np.clip(found, *_COVERAGE_BOUNDS) ** trust
    return factor
