"""Protocols of models.

`Forecaster` is all that the platform requires. A package registers its own by an entry point of the group
`energy_forecast.models` whose object is a Forecaster, or a class without arguments that makes one.

`Regressor` is smaller: a point model without frames, missing weather or intervals.
`conformal.training.ConformalForecaster` turns it into a Forecaster.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import polars as pl

from energy_forecast.forecasting.features.matrix import FeatureMatrix
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.serialization import Arrays
from energy_forecast.forecasting.types import City, FittedForecaster, Floats

# Called with a short text when a part of the work is done
Progress = Callable[[str], None]


@runtime_checkable
class Forecaster(Protocol):
    """A forecasting model that is not fitted yet. kind: baseline, regression, trees or ensemble, for display."""

    @property
    def name(self) -> str:
        """Return the name of the model."""
        ...

    @property
    def kind(self) -> str:
        """Return the kind of the model, for display."""
        ...

    def fit(
        self,
        city: City,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        *,
        at: datetime,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> FittedForecaster:
        """Fit the model to the data of `city` known at the time `at`. The same arguments give the same bytes.

        Args:
            load, weather: frames as described in types.py; rows of hours that had not ended by `at` are dropped.

        Raises:
            NotEnoughDataError: the load is too short for this model.
        """
        ...

    def from_bytes(self, data: bytes) -> FittedForecaster:
        """Return the fitted model that `to_bytes` wrote as `data`, without running code of it. Raises ArtifactError."""
        ...


class FittedRegressor(Protocol):
    """A point model that was fitted to one city."""

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings and sizes of the fit, as plain JSON."""
        ...

    def predict(self, samples: Samples) -> Floats:
        """Return the load of each target, kWh; NaN where the model cannot predict."""
        ...

    def leading(self, samples: Samples) -> dict[str, Floats]:
        """Return the values of the most important features, the most important first, with readable names."""
        ...

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Return all that `restore` needs, as JSON and plain arrays."""
        ...


@runtime_checkable
class ExplainableRegressor(Protocol):
    """A FittedRegressor that uses the feature matrix only, so that contributions can be computed."""

    @property
    def weather(self) -> bool:
        """Return whether its matrix has the weather features."""
        ...

    def share(self, matrix: FeatureMatrix) -> Floats:
        """Return the load as a share of the level, [n]."""
        ...


# Fits to the targets before an hour number
Trainer = Callable[[int], FittedRegressor]


class Regressor(Protocol):
    """A point model that is not fitted yet.

    needed_hours: the smallest number of known hours of load.
    uses_weather: whether a variant with weather is worth fitting.
    learns: False if there is nothing to fit, so that all of history is held-out data.
    adapts: whether to blend with naive-168 and to correct by the recent bias, as far as this improved held-out data.
        False for baselines: only their intervals adapt.
    """

    name: str
    kind: str
    needed_hours: int
    uses_weather: bool
    learns: bool
    adapts: bool

    def trainer(self, view: HistoryView, *, weather: bool, seed: int) -> Trainer:
        """Build the training set once, and return a function that fits to its targets before an hour number."""
        ...

    def restore(self, state: dict[str, Any], arrays: Arrays) -> FittedRegressor:
        """Return the fitted regressor of a `state`. Raises ArtifactError."""
        ...
