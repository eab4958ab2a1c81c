"""Naive models: the same hour of the last known day, or of the last known week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.models.regressor import FittedRegressor, Regressor, Trainer
from energy_forecast.forecasting.types import Floats, Ints


@dataclass(frozen=True)
class Naive(FittedRegressor, Regressor):
    """The load at the same local hour, the smallest whole number of periods before that is known at the origin.

    If that hour is unknown or faulty, up to three more periods are tried, then the level of the last week is used.
    There is nothing to fit, so it is a FittedRegressor too.
    """

    name: str
    period_days: int
    needed_hours: int
    kind = "baseline"
    weather = False
    uses_weather = False
    learns = False
    adapts = False

    @property
    def settings(self) -> dict[str, Any]:
        """Return settings and sizes of the fit, as plain JSON."""
        return {"period_hours": 24 * self.period_days}

    def trainer(self, view: HistoryView, *, weather: bool, seed: int) -> Trainer:  # noqa: ARG002
        """Return a function that returns this model, since there is nothing to fit."""
        return lambda _until: self

    def predict(self, samples: Samples) -> Floats:
        """Return the load of each target, kWh."""
        return self.repeated(samples)[0]

    def repeated(self, samples: Samples) -> tuple[Floats, Ints]:
        """Return the repeated load (kWh) and its distance in local days; 0 days if the level is used."""
        period = self.period_days
        days = -(-samples.first_known_day // period) * period
        load = samples.same_hour(days)
        for _ in range(3):
            unknown = ~np.isfinite(load)
            if not unknown.any():
                break
            days = np.where(unknown, days + period, days)
            load[unknown] = samples.same_hour(days)[unknown]
        known = np.isfinite(load)
        return np.where(known, load, samples.level), np.where(known, days, 0)


NAIVE_24 = Naive("naive-24", 1, 7 * 24)
NAIVE_168 = Naive("naive-168", 7, 14 * 24)
