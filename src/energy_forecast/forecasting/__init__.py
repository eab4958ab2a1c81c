"""Pure forecasting: frames in, forecasts out, without database, clock or network.

`fit` fits a model to the data of one city that were known at one time. The result forecasts that city at any later
time, and can be written to bytes and read back. A forecast depends on the frames that it is given and on nothing else.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from energy_forecast.errors import ArtifactError, EnergyForecastError
from energy_forecast.forecasting.blas import one_blas_thread
from energy_forecast.forecasting.data.resample import hourly
from energy_forecast.forecasting.models.protocol import Forecaster, Progress
from energy_forecast.forecasting.registry import model_by_name, model_names
from energy_forecast.forecasting.types import (
    LONGEST_HORIZON_HOURS,
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    City,
    FittedForecaster,
    Forecast,
    ForecastInput,
)

__all__ = [
    "LONGEST_HORIZON_HOURS",
    "QUANTILE_COLUMNS",
    "QUANTILE_LEVELS",
    "City",
    "FittedForecaster",
    "Forecast",
    "ForecastInput",
    "Forecaster",
    "fit",
    "hourly",
    "load_model",
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
    progress: Progress | None = None,
) -> FittedForecaster:
    """Fit the model `name` to the data of `city` known at the time `at`; see Forecaster.fit.

    Raises:
        UnknownModelError: no model has this name.
        NotEnoughDataError: the load is too short for this model.
    """
    with one_blas_thread:
        return model_by_name(name).fit(city, load, weather, at=at, seed=seed, progress=progress)


def load_model(name: str, data: bytes) -> FittedForecaster:
    """Return the fitted model that `to_bytes` wrote as `data`.

    Raises:
        ArtifactError: the bytes are damaged, or belong to another model.
    """
    try:
        return model_by_name(name).from_bytes(data)
    except EnergyForecastError:
        raise
    except Exception as error:
        # Undamaged, but of another version: a value is missing or has another shape
        raise ArtifactError(hint="It was trained by another version; train the model again.") from error
