"""The pure part: frames in, forecasts out. No database, no clock, no network.

`fit` learns from what was known of one city at one moment; the FittedModel it returns forecasts that city at any
later moment, and can be saved and loaded. What a forecast may know is decided by the frames it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl

from energy_forecast.errors import ArtifactError, EnergyForecastError
from energy_forecast.forecasting.data.resample import hourly
from energy_forecast.forecasting.models.protocol import Model
from energy_forecast.forecasting.registry import model_by_name, model_names
from energy_forecast.forecasting.types import (
    LONGEST_HORIZON_HOURS,
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    City,
    FittedModel,
    Forecast,
)

__all__ = [
    "LONGEST_HORIZON_HOURS",
    "QUANTILE_COLUMNS",
    "QUANTILE_LEVELS",
    "City",
    "FittedModel",
    "Forecast",
    "Model",
    "fit",
    "hourly",
    "load",
    "model_by_name",
    "model_names",
]


def fit(
    name: str,
    city: City,
    load: pl.DataFrame,
    weather: pl.DataFrame,
    *,
    at: datetime,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> FittedModel:
    """Fit the model `name` to what was known of `city` at the moment `at`; see Model.fit.

    Raises:
        UnknownModelError: there is no such model.
        NotEnoughDataError: the load is too short for this model.
    """
    return model_by_name(name).fit(city, load, weather, at=at, seed=seed, progress=progress)


def load(name: str, data: bytes) -> FittedModel:
    """Return the fitted model whose `save` gave `data`.

    Raises:
        ArtifactError: it is damaged, or of another model.
    """
    try:
        return model_by_name(name).load(data)
    except EnergyForecastError:
        raise
    except Exception as error:
        # Whole, but not as this version's models are: something is missing, or has another shape
        raise ArtifactError(hint="It was trained by another version; train the model again.") from error
