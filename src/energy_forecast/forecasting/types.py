"""The types that forecasting exchanges with the rest of the platform.

A load frame has `timestamp` (Datetime us, UTC, START of the hour) and `consumption_kwh` (Float64), one row per complete
hour, sorted; a gap is a missing row. A weather frame has `timestamp`, `temperature` (degrees Celsius), `humidity`
(percent), `wind_speed` (m/s) and `precipitation` (mm), all nullable. It may be empty.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.serialization import Stored
from energy_forecast.zones import zone_names

if TYPE_CHECKING:
    from energy_forecast.forecasting.data.weather_errors import WeatherErrors

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

QUANTILE_LEVELS: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(1, 20))
QUANTILE_COLUMNS: tuple[str, ...] = tuple(f"q{round(100 * quantile):02d}" for quantile in QUANTILE_LEVELS)
# Age of the last known load from which a forecast has a note
STALE_HOURS = 3


@dataclass(frozen=True)
class City(Stored):
    """A place with its time zone and holidays: all that a model knows of it, apart from load and weather.

    Attributes:
        name: of the city, for messages.
        latitude: degrees north. longitude: degrees east.
        timezone: IANA zone.
        country_code: ISO 3166-1 alpha-2, selects the holidays; None for no holidays.
        subdivision: part of the country as in ISO 3166-2, without the country; None for the whole country.
    """

    name: str
    latitude: float
    longitude: float
    timezone: str
    country_code: str | None = None
    subdivision: str | None = None

    def check(self) -> None:
        """Raise ArtifactError if the time zone is unknown."""
        if self.timezone not in zone_names():
            raise ArtifactError(f"The stored model has no usable time zone: {self.timezone!r}.")


@dataclass(frozen=True)
class TrainingInput:
    """The data of one fit: the load and weather of a city that were known at the time `at`.

    Attributes:
        city: the city.
        load: timestamp, consumption_kwh. A model drops the rows of hours that had not ended by `at`.
        weather: observed weather, dropped in the same way.
        at: the time of knowledge.
        seed: of all random numbers.
        weather_errors: the expected errors of the weather forecasts that the model will get, and their columns; None
            for the default errors of a service that gives the temperature only.
    """

    city: City
    load: pl.DataFrame
    weather: pl.DataFrame
    at: datetime
    seed: int = 0
    weather_errors: WeatherErrors | None = None


@dataclass(frozen=True)
class ForecastInput:
    """The data of one forecast: the `horizon_hours` (1 to 168) full hours that begin at or after `issued_at`.

    Attributes:
        load: timestamp, consumption_kwh. A model drops the rows of the issue time and later.
        weather: observed weather, dropped in the same way.
        weather_ahead: weather forecasts for the hours from the issue time on, with or without gaps.
        issued_at: the issue time.
        horizon_hours: number of hours to forecast.
        weather_is_observed: whether `weather_ahead` is observed weather, in a backtest with perfect weather forecasts.
    """

    load: pl.DataFrame
    weather: pl.DataFrame
    weather_ahead: pl.DataFrame
    issued_at: datetime
    horizon_hours: int
    weather_is_observed: bool = False

    def recent(self, days: int) -> ForecastInput:
        """Return the same input with only the last `days` days of observations before the issue time."""
        inside = pl.col("timestamp") >= self.issued_at - timedelta(days=days)
        return replace(self, load=self.load.filter(inside), weather=self.weather.filter(inside))


@dataclass(frozen=True)
class Forecast:
    """One issued forecast.

    Attributes:
        frame: timestamp, predicted, q05, q10 .. q95, all kWh in the hour; finite, not negative, quantiles in order.
        weather_hours: number of hours that were forecast with weather.
        notes: which inputs were missing, and how the forecast was made without them.
        stale_hours: number of hours between the end of the last known load and the first hour.
        weather_ends: the first hour after the last one with weather; None if that is the end of the horizon, or if no
            hour has weather.
        imputed_weather: by weather column, the number of hours with weather at which this column was imputed.
    """

    frame: pl.DataFrame
    weather_hours: int
    notes: list[str] = field(default_factory=list)
    stale_hours: int = 0
    weather_ends: datetime | None = None
    imputed_weather: dict[str, int] = field(default_factory=dict)


class FittedForecaster(ABC):
    """A model that was fitted to one city, and can forecast that city at any later time.

    Attributes:
        name: the model's, as registered.
        parameters: settings and held-out scores, as plain JSON.
        history_days: the number of days of load and weather before the issue time that it uses. More days change
            nothing; fewer are accepted.
    """

    name: str
    parameters: dict[str, Any]
    history_days: int

    @abstractmethod
    def predict(self, data: ForecastInput) -> Forecast:
        """Return the forecast of the `horizon_hours` full hours that begin at or after the issue time.

        Raises:
            NotEnoughDataError: no load is known before the issue time.
        """

    def contributions(self, data: ForecastInput) -> pl.DataFrame | None:  # noqa: ARG002
        """Return the contributions of feature groups to `predict(data)`; None if they are not available.

        See explain.contributions.contributions_of for the columns.
        """
        return None

    def repeated_hours(self, data: ForecastInput) -> pl.DataFrame | None:  # noqa: ARG002
        """Return the hour whose load `predict(data)` repeats for each hour; None if the model does more than repeat.

        Columns: timestamp, repeated_from (START of the repeated hour; null if the mean of the last week is used).
        """
        return None

    @abstractmethod
    def to_bytes(self) -> bytes:
        """Return the model as bytes without code. The same fit gives the same bytes."""


class Forecaster(ABC):
    """A model that is not fitted yet.

    A package registers its own by an entry point of the group `energy_forecast.models` whose object is a Forecaster, or
    a class without arguments that makes one.

    Attributes:
        name: the name under which it is registered.
        kind: baseline, regression, trees or ensemble, for display.
    """

    name: str
    kind: str

    @abstractmethod
    def fit(self, data: TrainingInput) -> FittedForecaster:
        """Fit the model. The same input gives the same bytes.

        Raises:
            NotEnoughDataError: the load is too short for this model.
        """

    @abstractmethod
    def from_bytes(self, data: bytes) -> FittedForecaster:
        """Return the fitted model that `to_bytes` wrote as `data`, without running code of it. Raises ArtifactError."""
