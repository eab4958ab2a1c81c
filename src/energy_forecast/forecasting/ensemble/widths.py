"""How wide the intervals are: what is usual of an hour, how large errors have been of late, and of what shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_forecast.forecasting.contract import QUANTILE_LEVELS, Floats, Ints
from energy_forecast.forecasting.intervals import lead_bucket

_SCALE_HALF_LIFE_DAYS = 10.0
_SCALE_PRIOR_DAYS = 2.0
_APART_POWER = 0.4
_APART_BOUNDS = (0.3, 3.0)
_FARTHEST_ERROR = 8.0
# Of the reach: what a day before counts, how many days of usual reach are added, and the first days of the window,
# which were followed from nothing
_REACH_HALF_LIFE_DAYS = 20.0
_REACH_PRIOR_DAYS = 20.0
_REACH_SKIPS_DAYS = 7
_REACH_BOUNDS = (1 / 3, 3.0)
_CENTRAL = len(QUANTILE_LEVELS) // 2


@dataclass(frozen=True)
class Usual:
    """What is usual by lead bucket and local hour, [BUCKETS, 24] each, as shares of the level.

    error: the absolute error, once divided by `apart_factor`. apart: how far members lie apart.
    """

    error: Floats
    apart: Floats

    def size(self, apart: Floats, lead: Ints, hour: Ints) -> Floats:
        """The usual size of an error where members lie `apart`, a share of the level."""
        bucket = lead_bucket(lead)
        return np.asarray(self.error[bucket, hour] * apart_factor(apart, self.apart[bucket, hour]), float)


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


def recent_reach(standard: Floats, quantiles: Floats) -> Floats:
    """How far each quantile has had to reach of late to hold its share, against where it lies: 1 is as learnt, [19].

    The scale follows how large errors are, but not their shape: where held-out time had rare wild days and the last
    weeks had none, the mean size is told by the wild ones and every interval is too wide. So for each central interval
    the factor is taken that would have held its nominal share of the last weeks, drawn towards 1 as if three weeks had
    been as learnt.

    Args:
        standard: [J, 24] errors of days in a row divided by their usual size and by the scale at their day.
        quantiles: [24, 19] as learnt, for the lead time of each of the 24 hours.
    """
    days = len(standard)
    age = np.arange(days, 0, -1)
    weight = np.where(np.arange(days) < _REACH_SKIPS_DAYS, 0.0, 0.5 ** (age / _REACH_HALF_LIFE_DAYS))
    known = np.isfinite(standard)
    weight = np.where(known, weight[:, None], 0.0)
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
