"""The width of intervals on unusual days: special days, days after holidays, hot and cold days.

Errors are larger on these days. They are few, so the recent scale of the errors and the quantiles of all days reveal
little about them: the 90 % interval of days two to seven covered 84 % on special and on cold days
(docs/decisions/appendix-models.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from energy_forecast.forecasting.features.samples import HistoryView, running_sums, window_mean
from energy_forecast.forecasting.serialization import Shape, Stored
from energy_forecast.forecasting.types import Floats, Ints

# A special day with this effect on the logarithm of the load counts as one, and so does any public holiday
_FULL_EFFECT = 0.1
# Temperatures beyond the extreme deciles, as a multiple of the distance from the median to the decile
_FARTHEST = 1.5
# Prior of the increase of the expected error on a special day, the day after a holiday, a hot and a cold day. It counts
# as much as 15 of such days.
_PRIOR = np.array([0.5, 0.2, 0.3, 0.3])
_PRIOR_DAYS = 15.0
_LARGEST = 1.5
_FARTHEST_ERROR = 6.0


@dataclass(frozen=True)
class UnusualDays(Stored):
    """The increase of the expected error on unusual days.

    usual_temperature: the lowest decile, the median and the highest decile of the mean temperature of 24 hours, C; NaN
        without weather.
    increase: by kind, as a share.
    """

    usual_temperature: Annotated[Floats, Shape(3, finite=False)]
    increase: Annotated[Floats, Shape(len(_PRIOR))]

    def factor(self, view: HistoryView, hours: Ints) -> Floats:
        """Return the factor of the expected error at hour numbers of a history, [n]; 1 on usual days."""
        return np.asarray(1 + self._kinds(view, hours) @ self.increase, float)

    def _kinds(self, view: HistoryView, hours: Ints) -> Floats:
        """Return how far each hour belongs to each kind of unusual day, [n, 4]."""
        calendar, at = view.calendar, hours - view.history.start
        special = np.minimum(np.abs(calendar.special_day_effect[at]) / _FULL_EFFECT, 1.0)
        low, middle, high = self.usual_temperature
        temperature = _day_temperature(view, hours)
        hot = (temperature - high) / max(high - middle, 1.0)
        cold = (low - temperature) / max(middle - low, 1.0)
        kinds = [
            np.maximum(special, calendar.holiday[at]),
            calendar.morrow[at],
            *(np.clip(np.nan_to_num(far, nan=0.0), 0.0, _FARTHEST) for far in (hot, cold)),
        ]
        return np.stack(kinds, axis=-1)

    @staticmethod
    def fit(view: HistoryView, hours: Ints, standardized: Floats, *, weather: bool) -> UnusualDays:
        """Measure the increase.

        Args:
            hours: [n] hour numbers of the targets of held-out errors.
            standardized: [n] the errors divided by their expected size, NaN where unknown.
        """
        history = view.history
        temperature = _day_temperature(view, np.arange(history.first, history.known_until, dtype=np.int64))
        known = np.isfinite(temperature)
        usual = np.full(3, np.nan)
        if weather and known.any():
            usual = np.quantile(temperature[known], [0.1, 0.5, 0.9])
        own = UnusualDays(usual, np.zeros(len(_PRIOR)))
        known = np.isfinite(standardized)
        size = np.minimum(np.abs(standardized[known]), _FARTHEST_ERROR)
        # A day has several errors, but counts as one
        days = len(np.unique(hours[known] // 24))
        prior = _PRIOR_DAYS * len(size) / max(days, 1)
        if not size.sum() > 0:
            return own
        inputs = np.column_stack([np.ones(len(size)), own._kinds(view, hours[known])])
        square = inputs.T @ inputs + np.diag([1e-9] + [prior] * len(_PRIOR))
        product = inputs.T @ (size / size.mean()) + np.concatenate([[0.0], prior * _PRIOR])
        base, *increase = np.linalg.solve(square, product)
        return UnusualDays(usual, np.clip(np.array(increase) / base, 0.0, _LARGEST))


def _day_temperature(view: HistoryView, hours: Ints) -> Floats:
    """Return the mean temperature of the 24 hours up to the end of each hour, [n]; NaN if half of it is unknown."""
    return window_mean(running_sums(view.history.weather["temperature"]), hours - view.history.start + 1, 24, 0.5)
