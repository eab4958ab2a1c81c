"""The words in which forecasting talks to the rest of the platform.

A frame of loads has `timestamp` (Datetime us, UTC, START of the hour) and `consumption_kwh` (Float64), one row a
complete hour, sorted; a gap is a missing row. A frame of weather has `timestamp`, `temperature` (degrees Celsius),
`humidity` (percent), `wind_speed` (m/s) and `precipitation` (mm), all nullable. It may be empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.serialization import fact
from energy_forecast.zones import zone_names

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

QUANTILE_LEVELS: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(1, 20))
QUANTILE_COLUMNS: tuple[str, ...] = tuple(f"q{round(100 * level):02d}" for level in QUANTILE_LEVELS)
LONGEST_HORIZON_HOURS = 168


@dataclass(frozen=True)
class City:
    """Where and when a city is: all that a model may know of it beside its load and weather.

    `timezone` is an IANA zone; `country_code` (ISO 3166-1 alpha-2) and `subdivision` choose the holidays. Without a
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
        """The city of an artifact. Raises ArtifactError."""
        names = [fact(stored, name, str) for name in ("name", "timezone")]
        if names[1] not in zone_names():
            raise ArtifactError(f"The stored model has no usable time zone: {names[1]!r}.")
        rest = [stored.get(name) for name in ("country_code", "subdivision")]
        if not all(one is None or isinstance(one, str) for one in rest):
            raise ArtifactError("The stored model has no usable country.")
        return cls(names[0], fact(stored, "latitude", float), fact(stored, "longitude", float), names[1], *rest)


@dataclass(frozen=True)
class Forecast:
    """One vintage.

    frame: timestamp, predicted, q05, q10 .. q95, all kWh in the hour; finite, not negative, quantiles in order.
    features: timestamp and the values of the leading features for that hour, named for people.
    weather_hours: how many of the hours were forecast with weather known for them.
    stale_hours: how many hours before the first hour the last known load ended.
    weather_ends: the first of the hours from which on no weather is known to the end, where it is for some before; None
        where there is no such hour.
    usual_weather: by column of the weather, at how many of the hours with weather it was not known, so that what is
        usual stood in.
    notes: what was missing, and what was done instead; empty when nothing was.
    """

    frame: pl.DataFrame
    features: pl.DataFrame
    weather_hours: int
    notes: list[str] = field(default_factory=list)
    stale_hours: int = 0
    weather_ends: datetime | None = None
    usual_weather: dict[str, int] = field(default_factory=dict)


class FittedModel(Protocol):
    """A model that has learnt from one city, and can forecast that city at any later moment.

    `parameters` says how it was fitted and how it did on held-out time, as plain JSON. `history_days` is how many
    days of load and weather before the issue time it looks at; more change nothing, fewer are borne.
    """

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Any]: ...

    @property
    def history_days(self) -> int: ...

    def forecast(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> Forecast:
        """Forecast the `horizon_hours` (1 to 168) full hours that begin at or after `issued_at`.

        Whatever `load` and `weather` hold of the issue time and after is dropped; `weather_ahead` may hold anything,
        with holes. Raises NotEnoughDataError when no load at all is known before the issue time.
        """
        ...

    def save(self) -> bytes:
        """The model as bytes, the same for the same fit. Holds no code: nothing is run when it is read back."""
        ...


@runtime_checkable
class Explaining(Protocol):
    """A FittedModel that can tell what drove a forecast. Other models need not."""

    def drivers(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> pl.DataFrame | None:
        """What drove the forecast of the same arguments: see drivers.drivers_of. None where it cannot be told."""
        ...


@runtime_checkable
class Repeating(Protocol):
    """A FittedModel that can tell which loads it repeats. Other models need not."""

    def repeats(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> pl.DataFrame | None:
        """Which load the forecast of the same arguments repeats: timestamp, repeated_from (the beginning of the hour
        whose load it is; null where the mean of the last week stands in). None for a model that does more than repeat.
        """
        ...
