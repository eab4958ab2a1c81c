"""How wide the intervals are: what is usual of an hour, how large errors have been of late, and of what shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_forecast.forecasting.conformal.quantiles import BUCKETS, LEAD_BORDERS, error_profile, lead_bucket
from energy_forecast.forecasting.types import QUANTILE_LEVELS, Floats, Ints

_SCALE_HALF_LIFE_DAYS = 10.0
_SCALE_PRIOR_DAYS = 2.0
_APART_POWER = 0.4
_APART_BOUNDS = (0.3, 3.0)
_FARTHEST_ERROR = 8.0
_SMALLEST = 1e-4
# The first days of the window, which were followed from nothing
_SKIPPED_DAYS = 7
# Of the reach: what a day before counts, and how many days of usual reach are added
_REACH_HALF_LIFE_DAYS = 20.0
_REACH_PRIOR_DAYS = 20.0
_REACH_BOUNDS = (1 / 3, 3.0)
_CENTRAL = len(QUANTILE_LEVELS) // 2
# Of the usual of the first day ahead: how many usual errors are added to each lead and hour, how much of its
# neighbours each takes, and how often the two are told apart once more
_DAY = 24
_PRIOR_ERRORS = 20
_BESIDE = (1.0, 2.0, 1.0)
_ROUNDS = 4
_LATER = lead_bucket(np.array([_DAY]))[0]
# Of the first hours ahead: what a day before counts, and how many days are added on which they erred as the others did
SOON_HOURS = LEAD_BORDERS[0]
_SOON_HALF_LIFE_DAYS = 20.0
_SOON_PRIOR_DAYS = 5.0


@dataclass(frozen=True)
class Usual:
    """What is usual by lead time and local hour, as shares of the level, tables of `usual_sizes`.

    error: the absolute error, once divided by `apart_factor`. apart: how far members lie apart.
    """

    error: Floats
    apart: Floats

    def size(self, apart: Floats, lead: Ints, hour: Ints) -> Floats:
        """The usual size of an error where members lie `apart`, a share of the level."""
        factor = apart_factor(apart, usual_of(self.apart, lead, hour))
        return np.asarray(usual_of(self.error, lead, hour) * factor, float)


def usual_sizes(values: Floats, lead: Ints, hour: Ints) -> Floats:
    """The usual size of `values` [n] (NaN where unknown): a row for each lead (hours) of the first day, then for each
    later bucket; a column for each local hour.

    Held-out forecasts are issued at three times of day, so that of the first day a cell is known for few leads. Its
    size is therefore taken as one share of the hour and one of the lead, told apart by turns. A profile by bucket, that
    took an hour's error at the leads it was tried at for its error at all of them, gave 1.7 % more pinball loss in the
    first six hours to forecasts issued at 6, 12 and 18 o'clock (docs/decisions/models.md).
    """
    table = error_profile(values, lead, hour)[[0] * _DAY + list(range(_LATER, BUCKETS))]
    first = np.isfinite(values) & (lead < _DAY)
    if first.any():
        size, at, of_day = np.maximum(np.abs(values[first]), _SMALLEST), lead[first], hour[first]
        by_lead = np.ones(_DAY)
        for _ in range(_ROUNDS):
            by_hour = _mean_by(of_day, size / by_lead[at], around=True)
            by_lead = _mean_by(at, size / by_hour[of_day], around=False)
        table[:_DAY] = np.maximum(by_lead[:, None] * by_hour, _SMALLEST)
    return table


def _mean_by(index: Ints, values: Floats, *, around: bool) -> Floats:
    """The mean of `values` [n] at an `index` (0 to 23) and the two beside it, drawn to the mean of all, [24]."""
    sums = np.stack([np.bincount(index, values, _DAY), np.bincount(index, minlength=_DAY)])
    sums = np.pad(sums, ((0, 0), (1, 1)), mode="wrap" if around else "constant")
    total, count = (np.convolve(each, _BESIDE, mode="valid") for each in sums)
    return np.asarray((total + _PRIOR_ERRORS * values.mean()) / (count + _PRIOR_ERRORS), float)


def usual_of(table: Floats, lead: Ints, hour: Ints) -> Floats:
    """The cells of a table of `usual_sizes` for lead times (hours) and local hours, of their shape."""
    return np.asarray(table[np.where(lead < _DAY, lead, lead_bucket(lead) - _LATER + _DAY), hour], float)


def apart_factor(apart: Floats, usual: Floats) -> Floats:
    """How much wider than usual an interval is for members that lie `apart`, and no more than 1.6 times."""
    return np.asarray(np.clip(apart / usual, *_APART_BOUNDS) ** _APART_POWER, float)


def running_scale(standard: Floats) -> Floats:
    """How large errors had been of late at each day's origin and at the end, in units of the usual, [J + 1].

    Args:
        standard: [J, 24] errors of days in a row divided by their usual size, NaN where unknown. Their mean size with a
            half-life of ten days, to which two usual days are added.
    """
    known = np.isfinite(standard)
    size = np.minimum(np.where(known, np.abs(standard), 0.0), _FARTHEST_ERROR).sum(axis=1) / 24
    count = known.sum(axis=1) / 24
    keep = 0.5 ** (1 / _SCALE_HALF_LIFE_DAYS)
    scale = np.ones(len(standard) + 1)
    top = bottom = 0.0
    for day in range(len(standard)):
        top, bottom = keep * (top + size[day]), keep * (bottom + count[day])
        scale[day + 1] = (_SCALE_PRIOR_DAYS + top) / (_SCALE_PRIOR_DAYS + bottom)
    return scale


def soon_scale(standard: Floats) -> float:
    """How large errors of the first hours ahead have been of late, against those of the whole day; 1 is as usual.

    They hang on the last hours before the issue, and those of the hours after on the weather: when one grows, the other
    need not.

    Args:
        standard: [J, 24] errors of days in a row divided by their usual size and by the scale at their day.
    """
    soon = standard[:, :SOON_HOURS]
    weight = np.where(np.isfinite(soon), _weights(len(soon), _SOON_HALF_LIFE_DAYS)[:, None], 0.0)
    size = np.minimum(np.abs(np.nan_to_num(soon)), _FARTHEST_ERROR)
    prior = _SOON_PRIOR_DAYS * SOON_HOURS
    return float((prior + (weight * size).sum()) / (prior + weight.sum()))


def _weights(days: int, half_life: float) -> Floats:
    """What each of `days` in a row counts; the first of them, which were followed from nothing, count nothing."""
    weight = 0.5 ** (np.arange(days, 0, -1) / half_life)
    return np.where(np.arange(days) < _SKIPPED_DAYS, 0.0, weight)


def recent_reach(standard: Floats, quantiles: Floats) -> Floats:
    """How far each quantile has had to reach of late to hold its share, against where it lies: 1 is as learnt, [19].

    The scale follows how large errors are, but not their shape: where held-out time had rare wild days and the last
    weeks had none, the mean size is told by the wild ones and every interval is too wide. So for each central interval
    the factor is taken that would have held its nominal share of the last weeks, drawn towards 1 as if three weeks had
    been as learnt.

    Args:
        standard: [J, 24] errors of days in a row divided by their usual size and by the scales at their day.
        quantiles: [24, 19] as learnt, for the lead time of each of the 24 hours.
    """
    known = np.isfinite(standard)
    weight = np.where(known, _weights(len(standard), _REACH_HALF_LIFE_DAYS)[:, None], 0.0)
    factor = np.ones(len(QUANTILE_LEVELS))
    total = float(weight.sum())
    if total <= 0:
        return factor
    trust = total / 24 / (total / 24 + _REACH_PRIOR_DAYS)
    value = np.where(known, standard, 0.0)
    for k in range(_CENTRAL):
        side = np.where(value < 0, quantiles[:, k], quantiles[:, -1 - k])
        needed = np.divide(value, side, out=np.full_like(value, _REACH_BOUNDS[1]), where=np.abs(side) > 0).ravel()
        order = np.argsort(needed, kind="stable")
        held = np.cumsum(weight.ravel()[order])
        nominal = 1 - 2 * QUANTILE_LEVELS[k]
        reach = float(needed[order[int(np.searchsorted(held, nominal * total))]])
        factor[k] = factor[-1 - k] = np.clip(reach, *_REACH_BOUNDS) ** trust
    return factor
