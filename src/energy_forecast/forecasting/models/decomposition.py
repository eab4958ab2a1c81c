"""Multiplicative decomposition into level and weekly season, without weather. It works with little history.

Weights decay with age. The season of an hour is its mean share of its week's load in the previous weeks. The level is
the ratio of the last days to their seasons. Each local hour is corrected by its recent ratio to its day. On Tetouan,
ten months of data that include Ramadan, it is better than the regressions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.models.regressor import FittedRegressor, Regressor, Trainer
from energy_forecast.forecasting.types import Floats, Ints

WEEKS = 6
DAYS = 7
_WEEK_HALF_LIFE = 1.5
_LEVEL_HALF_LIFE_DAYS = 0.7
_HOUR_HALF_LIFE_DAYS = 3.0
_HOUR_SHARE = 0.95
_HOUR_PRIOR = 0.5
# Weight of an hour on another kind of day: small, since it is a weak predictor, but not zero
_OTHER_KIND = 0.03


@dataclass(frozen=True)
class Decomposition(FittedRegressor, Regressor):
    """The decomposition as a regressor. There is nothing to fit, so it is a FittedRegressor too."""

    name = "decomposition"
    kind = "baseline"
    needed_hours = 14 * 24
    weather = False
    uses_weather = False
    learns = False

    def trainer(self, view: HistoryView, *, weather: bool, seed: int) -> Trainer:  # noqa: ARG002
        """Return a function that returns this model, since there is nothing to fit."""
        return lambda _until: self

    def predict(self, samples: Samples) -> Floats:
        """Return the load of each target, kWh."""
        return decompose(samples)


def decompose(samples: Samples) -> Floats:
    """Return the load of each target, kWh; the level of the week before if nothing else is known."""
    view = samples.view
    origins, back = np.unique(samples.origins, return_inverse=True)
    first_week = -(-samples.first_known_day // 7)
    season = _season(view, samples.targets, first_week)

    begin = int(origins.min()) - 24 * 2 * DAYS
    hours = np.arange(begin, int(origins.max()), dtype=np.int64)
    seasons = _season(view, hours, np.ones(len(hours), np.int64))
    load = view.history.load[hours - view.history.start]
    both = np.isfinite(load) & np.isfinite(seasons)
    loads, seasonal = _day_sums(np.where(both, load, 0.0)), _day_sums(np.where(both, seasons, 0.0))

    top, bottom = np.zeros(len(origins)), np.zeros(len(origins))
    for day in range(DAYS):
        end = origins - 24 * day - begin - 24
        weight = 0.5 ** (day / _LEVEL_HALF_LIFE_DAYS)
        top += weight * loads[end]
        bottom += weight * seasonal[end]
    level = _ratio(top, bottom)[back]

    total, count = np.zeros(len(samples)), np.zeros(len(samples))
    for day in range(DAYS):
        then = samples.days_before(samples.first_known_day + day)
        at = np.clip(then - begin, 0, len(hours) - 1)
        end = samples.origins - 24 * ((samples.origins - 1 - then) // 24) - begin - 24
        end = np.clip(end, 0, len(loads) - 1)
        expected = seasons[at] * _ratio(loads[end], seasonal[end])
        ratio = _ratio(load[at], expected)
        known = np.isfinite(ratio) & (ratio > 0) & (then < samples.origins)
        weight = np.where(known, 0.5 ** (day / _HOUR_HALF_LIFE_DAYS), 0.0)
        total += weight * np.log(np.where(known, ratio, 1.0))
        count += weight
    predicted = season * level * np.exp(_HOUR_SHARE * total / (count + _HOUR_PRIOR))
    return np.where(np.isfinite(predicted), predicted, samples.level)


def _season(view: HistoryView, hours: Ints, first_week: Ints) -> Floats:
    """Return the mean share of each hour in its week's mean load, over whole weeks from `first_week` before on."""
    calendar, history = view.calendar, view.history
    last = len(history.load) - 1
    at = hours - history.start
    total, count = np.zeros(len(hours)), np.zeros(len(hours))
    for week in range(WEEKS):
        then = np.clip(at - 168 * (first_week + week), 0, last)
        then = np.clip(then + calendar.offset[at] - calendar.offset[then], 0, last)
        share = _ratio(history.load[then], view.mean_load(then + history.start, 168))
        known = np.isfinite(share)
        weight = 0.5 ** (week / _WEEK_HALF_LIFE) * np.where(calendar.kind[then] == calendar.kind[at], 1.0, _OTHER_KIND)
        total += np.where(known, weight * np.where(known, share, 0.0), 0.0)
        count += np.where(known, weight, 0.0)
    return _ratio(total, count)


def _day_sums(values: Floats) -> Floats:
    """Return sums of 24 values from each index. Running sums would depend on the start of the array."""
    total = values[: len(values) - 23].copy()
    for hour in range(1, 24):
        total += values[hour : len(values) - 23 + hour]
    return total


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
