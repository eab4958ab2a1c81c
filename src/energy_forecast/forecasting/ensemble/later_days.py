"""A sample of the forecasts of the last weeks for days two to seven, by which the width of their intervals is checked.

The window of the aggregation holds forecasts a day ahead only, and their errors reveal little about later days: with
calibration by held-out data alone, the 90 % interval of days two to seven covered 86 to 97 %. All hours of all later
forecasts would multiply the work of an issue. Errors of neighbouring hours are alike, so every third day and every
fifth hour are enough (docs/decisions/appendix-models.md).

Origins are fixed hours, the same for every issue. So the predictions of the hours in the training data, which the
members can no longer be tested on, can be stored.
"""

from __future__ import annotations

import numpy as np

from energy_forecast.forecasting.ensemble.online_weights import WINDOW_DAYS
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.hours import CALIBRATION_LEADS
from energy_forecast.forecasting.types import Floats, Ints
from energy_forecast.time_arguments import LONGEST_HORIZON_HOURS

_DAYS, _HOURS = 3, 5
# The first week of the window is left out: the aggregation has no history there
_WINDOW_DAYS = WINDOW_DAYS - 7
_HALF_LIFE_DAYS = 20.0
_BORDERS = (0, *CALIBRATION_LEADS.borders, LONGEST_HORIZON_HOURS)


def later_buckets(longest: int) -> range:
    """Return the buckets of leads of days two to seven that a forecast to a lead of `longest` hours uses."""
    first, last = CALIBRATION_LEADS.bucket(np.array([24, longest]))
    return range(int(first), int(last) + 1)


def later_samples(view: HistoryView, end: int, buckets: range) -> Samples:
    """Return the sample of forecasts of the last weeks whose target is before the hour number `end`."""
    begin = end - 24 * _WINDOW_DAYS
    origins = np.arange(-(-begin // (24 * _DAYS)) * 24 * _DAYS, end, 24 * _DAYS, dtype=np.int64)
    leads = np.arange(24, _BORDERS[buckets.stop], dtype=np.int64) if buckets else np.empty(0, np.int64)
    origin, lead = np.repeat(origins, len(leads)), np.tile(leads, len(origins))
    taken = ((lead + origin // 24) % _HOURS == 0) & (origin + lead < end)
    return Samples(view, origin[taken], (origin + lead)[taken])


def later_weights(samples: Samples, end: int) -> Floats:
    """Return the weight of each of `later_samples` in days, [n]: a forecast of a bucket of leads counts as three days.

    It halves every 20 days of age.
    """
    hours = np.diff(_BORDERS)[CALIBRATION_LEADS.bucket(samples.lead)]
    age = (end - samples.targets) / 24
    return np.asarray(0.5 ** (age / _HALF_LIFE_DAYS) * _DAYS * _HOURS / hours, float)


def same_samples(samples: Samples, others: Samples) -> tuple[Ints, Ints]:
    """Return the positions in `samples` of the ones that are in `others` too, and their positions there."""

    def key(of: Samples) -> Ints:
        return np.asarray(of.origins * LONGEST_HORIZON_HOURS + of.lead, np.int64)

    _, here, there = np.intersect1d(key(samples), key(others), assume_unique=True, return_indices=True)
    return here, there
