"""Regressors: point models without frames, missing weather or intervals.

`conformal.training.ConformalForecaster` turns one into a Forecaster, and an Ensemble combines several.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from energy_forecast.forecasting.features.matrix import FeatureMatrix, feature_matrix
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.serialization import Stored
from energy_forecast.forecasting.types import Floats


class FittedRegressor(Stored, ABC):
    """A point model that was fitted to one city; a frozen dataclass. weather: whether it uses weather."""

    weather: bool

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings and sizes of the fit, as plain JSON."""
        return {}

    @abstractmethod
    def predict(self, samples: Samples) -> Floats:
        """Return the load of each target, kWh; NaN where the model cannot predict."""


class MatrixRegressor(FittedRegressor):
    """A FittedRegressor that uses the feature matrix only, so that contributions can be computed."""

    @abstractmethod
    def share(self, matrix: FeatureMatrix) -> Floats:
        """Return the load as a share of the level, [n]."""

    def predict(self, samples: Samples) -> Floats:
        """Return the load of each target, kWh; NaN if the temperature is unknown to a model with weather."""
        matrix = feature_matrix(samples, weather=self.weather)
        share = self.share(matrix)
        if self.weather:
            share = np.where(np.isfinite(matrix["temperature"]), share, np.nan)
        return np.asarray(share * samples.level, float)


# Fits to the targets before an hour number
Trainer = Callable[[int], FittedRegressor]


class Regressor(ABC):
    """A point model that is not fitted yet.

    name, kind: as of a Forecaster.
    needed_hours: the smallest number of known hours of load.
    uses_weather: whether a variant with weather is worth fitting.
    learns: False if there is nothing to fit, so that all of history is held-out data.
    adapts: whether to blend with naive-168 and to correct by the recent bias, as far as this improved held-out data.
        False for baselines: only their intervals adapt.
    """

    name: str
    kind: str
    needed_hours: int
    uses_weather: bool = True
    learns: bool = True
    adapts: bool = True

    @abstractmethod
    def trainer(self, view: HistoryView, *, weather: bool, seed: int) -> Trainer:
        """Build the training set once, and return a function that fits to its targets before an hour number."""
