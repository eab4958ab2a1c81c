"""The types that forecasting exchanges with the rest of the platform.

A load frame has `timestamp` (Datetime us, UTC, START of the hour) and `consumption_kwh` (Float64), one row per complete
hour, sorted; a gap is a missing row. A weather frame has `timestamp`, `temperature` (degrees Celsius), `humidity`
(percent), `wind_speed` (m/s) and `precipitation` (mm), all nullable. It may be empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.serialization import header_value
from energy_forecast.zones import zone_names

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

QUANTILE_LEVELS: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(1, 20))
QUANTILE_COLUMNS: tuple[str, ...] = tuple(f"q{round(100 * quantile):02d}" for quantile in QUANTILE_LEVELS)
LONGEST_HORIZON_HOURS = 168


@dataclass(frozen=True)
class City:
    """A place with its time zone and holidays: all that a model knows of it, apart from load and weather.

    `timezone` is an IANA zone. `country_code` (ISO 3166-1 alpha-2) and `subdivision` select the holidays. Without a
    country there are no holidays.
    """

    name: str
    latitude: float
    longitude: float
    timezone: str
    country_code: str | None = None
    subdivision: str | None = None

    @classmethod
    def restore(cls, stored: Any) -> City:
        """Return the city of an artifact. Raises ArtifactError."""
        names = [header_value(stored, name, str) for name in ("name", "timezone")]
        if names[1] not in zone_names():
            raise ArtifactError(f"The stored model has no usable time zone: {names[1]!r}.")
        rest = [stored.get(name) for name in ("country_code", "subdivision")]
        if not all(one is None or isinstance(one, str) for one in rest):
            raise ArtifactError("The stored model has no usable country.")
        latitude, longitude = (header_value(stored, name, float) for name in ("latitude", "longitude"))
        return cls(names[0], latitude, longitude, names[1], *rest)


@dataclass(frozen=True)
class ForecastInput:
    """The data of one forecast: the `horizon_hours` (1 to 168) full hours that begin at or after `issued_at`.

    load, weather: observations. A model drops the rows of the issue time and later.
    weather_ahead: weather forecasts for the hours from the issue time on, with or without gaps.
    """

    load: pl.DataFrame
    weather: pl.DataFrame
    weather_ahead: pl.DataFrame
    issued_at: datetime
    horizon_hours: int

    def recent(self, days: int) -> ForecastInput:
        """Return the same input with only the last `days` days of observations before the issue time."""
        inside = pl.col("timestamp") >= self.issued_at - timedelta(days=days)
        return replace(self, load=self.load.filter(inside), weather=self.weather.filter(inside))


@dataclass(frozen=True)
class Forecast:
    """One issued forecast.

    frame: timestamp, predicted, q05, q10 .. q95, all kWh in the hour; finite, not negative, quantiles in order.
    features: timestamp and the values of the leading features for that hour, with readable names.
    weather_hours: number of hours that were forecast with weather.
    stale_hours: number of hours between the end of the last known load and the first hour.
    weather_ends: the first hour after the last one with weather; None if that is the end of the horizon, or if no hour
        has weather.
    imputed_weather: by weather column, the number of hours with weather at which this column was imputed.
    notes: which inputs were missing, and how the forecast was made without them.
    """

    frame: pl.DataFrame
    features: pl.DataFrame
    weather_hours: int
    notes: list[str] = field(default_factory=list)
    stale_hours: int = 0
    weather_ends: datetime | None = None
    imputed_weather: dict[str, int] = field(default_factory=dict)


class FittedForecaster(Protocol):
    """A model that was fitted to one city, and can forecast that city at any later time.

    parameters: settings and held-out scores, as plain JSON.
    history_days: the number of days of load and weather before the issue time that it uses. More days change nothing;
        fewer are accepted.

    A third-party class may leave out `contributions` and `repeated_hours`.
    """

    @property
    def name(self) -> str:
        """Return the name of the model."""
        ...

    @property
    def parameters(self) -> dict[str, Any]:
        """Return settings and held-out scores, as plain JSON."""
        ...

    @property
    def history_days(self) -> int:
        """Return the number of days of history that it uses."""
        ...

    def predict(self, data: ForecastInput) -> Forecast:
        """Return the forecast. Raises NotEnoughDataError if no load is known before the issue time."""
        ...

    def contributions(self, data: ForecastInput) -> pl.DataFrame | None:
        """Return the contributions of feature groups to `predict(data)`, or None if they are not available.

        See explain.contributions.contributions_of for the columns.
        """
        ...

    def repeated_hours(self, data: ForecastInput) -> pl.DataFrame | None:
        """Return the hour whose load `predict(data)` repeats for each hour; None if the model does more than repeat.

        Columns: timestamp, repeated_from (START of the repeated hour; null if the mean of the last week is used).
        """
        ...

    def to_bytes(self) -> bytes:
        """Return the model as bytes without code. The same fit gives the same bytes."""
        ...
