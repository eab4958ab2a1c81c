"""Pure forecasting: frames in, forecasts out, without database, clock or network.

`fit` fits a model to the data of one city that were known at one time. The result forecasts that city at any later
time, and can be written to bytes and read back. A forecast depends on the frames that it is given and on nothing else.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from energy_forecast.forecasting.blas import one_blas_thread
from energy_forecast.forecasting.data.resample import hourly
from energy_forecast.forecasting.data.weather_errors import WeatherErrors, estimate_weather_errors
from energy_forecast.forecasting.registry import model_by_name, model_names, own_model
from energy_forecast.forecasting.types import (
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    City,
    FittedForecaster,
    Forecast,
    Forecaster,
    ForecastInput,
    TrainingInput,
)
from energy_forecast.time_arguments import LONGEST_HORIZON_HOURS

__all__ = [
    "LONGEST_HORIZON_HOURS",
    "QUANTILE_COLUMNS",
    "QUANTILE_LEVELS",
    "City",
    "FittedForecaster",
    "Forecast",
    "ForecastInput",
    "Forecaster",
    "TrainingInput",
    "WeatherErrors",
    "estimate_weather_errors",
    "fit",
    "hourly",
    "load_model",
    "model_by_name",
    "model_names",
]


def fit(
    model: str | Forecaster,
    city: City,
    load: pl.DataFrame,
    weather: pl.DataFrame,
    *,
    at: datetime,
    seed: int = 0,
    weather_errors: WeatherErrors | None = None,
) -> FittedForecaster:
    """Fit a model to the data of a city that were known at one time.

    Args:
        model: a registered name, or a model such as `Ensemble([...])`.
        city: place, time zone and country of the load.
        load: timestamp (UTC, start of the hour), consumption_kwh; one row an hour, sorted. A gap is a missing row.
        weather: timestamp, temperature (degrees Celsius), humidity (percent), wind_speed (m/s), precipitation (mm);
            values may be null, and the frame may be empty.
        at: the time of knowledge. Rows of hours that had not ended by then are dropped.
        seed: of all random numbers. The same arguments give the same model, bit by bit.
        weather_errors: the expected errors of the weather forecasts that the model will get, and their columns:
            `estimate_weather_errors` measures them. By default those of a service that gives the temperature only.

    Returns:
        The fitted model. Its forecasts do not depend on later calls.

    Raises:
        UnknownModelError: no model has this name, or the model has the name of a built-in model of another type.
        NotEnoughDataError: the load is too short for this model.

    Examples:
        >>> from datetime import UTC, datetime
        >>> hours = pl.datetime_range(
        ...     datetime(2026, 1, 1), datetime(2026, 1, 29), "1h", closed="left", time_zone="UTC", eager=True
        ... )
        >>> load = pl.DataFrame({"timestamp": hours, "consumption_kwh": [100.0 + hour.hour for hour in hours]})
        >>> no_weather = pl.DataFrame(schema={"timestamp": hours.dtype, "temperature": pl.Float64})
        >>> issued_at = datetime(2026, 1, 29, tzinfo=UTC)
        >>> munich = City("Munich", 48.14, 11.58, "Europe/Berlin", "DE", "BY")
        >>> model = fit("naive-168", munich, load, no_weather, at=issued_at)
        >>> again = load_model("naive-168", model.to_bytes())
        >>> made = again.predict(ForecastInput(load, no_weather, no_weather, issued_at, horizon_hours=3))
        >>> made.frame["predicted"].to_list()
        [100.0, 101.0, 102.0]
    """
    chosen = model_by_name(model) if isinstance(model, str) else own_model(model)
    with one_blas_thread:
        return chosen.fit(TrainingInput(city, load, weather, at, seed, weather_errors))


def load_model(model: str | Forecaster, data: bytes) -> FittedForecaster:
    """Return a fitted model from its bytes.

    Args:
        model: the name under which it was fitted, or the model itself.
        data: as `FittedForecaster.to_bytes` returned them. Reading executes nothing of it.

    Raises:
        UnknownModelError: no model has this name.
        ArtifactError: the bytes are damaged, or belong to another model or version.
    """
    return (model_by_name(model) if isinstance(model, str) else model).from_bytes(data)
