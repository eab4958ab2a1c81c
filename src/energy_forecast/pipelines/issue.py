"""Forecast one city by one model version: read the data known at the issue time, and predict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import polars as pl

from energy_forecast import zones
from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection
from energy_forecast.database.models import StoredArtifact
from energy_forecast.forecasting import load_model
from energy_forecast.pipelines.as_of import AsOfData, read_as_of

FALLBACK_MODEL = "naive-168"
LAST_RESORT_MODEL = "naive-24"
FALLBACK_LEVELS = ("full", "without weather", "another version", FALLBACK_MODEL, LAST_RESORT_MODEL)
FULL, WITHOUT_WEATHER, ANOTHER_VERSION = range(3)
_STALE_HOURS = 3
# Length of the history shown with a forecast
_SHOWN = timedelta(days=28)


@dataclass(frozen=True)
class FallbackLevel:
    """How far a forecast fell back from the preferred model.

    level: the index in FALLBACK_LEVELS.
    stale_hours: hours between the end of the last known load and the first hour forecast.
    weather_hours: number of forecast hours for which weather was known and used.
    reasons: why no better level could be used.
    """

    level: int
    stale_hours: int
    weather_hours: int
    reasons: list[str]

    @property
    def name(self) -> str:
        """Return the name of the level, as in FALLBACK_LEVELS."""
        return FALLBACK_LEVELS[self.level]

    def as_dict(self) -> dict[str, object]:
        """Return the level as JSON values."""
        return {
            "level": self.level,
            "name": self.name,
            "stale_hours": self.stale_hours,
            "weather_hours": self.weather_hours,
            "reasons": self.reasons,
        }


@dataclass(frozen=True)
class CityForecast:
    """The issued forecast of a city.

    fallback: the model level and the inputs it was made from.
    frame: timestamp (UTC), predicted, q05 .. q95, kWh in the hour.
    features: timestamp, and the leading features of the model.
    history: timestamp, consumption_kwh: the known load of the last weeks.
    temperature: timestamp, temperature (degrees Celsius): observed up to the issue time, forecast after it;
        empty for a city without weather.
    """

    city: str
    city_id: UUID
    timezone: str
    model: str
    version: str
    model_id: UUID
    run_id: UUID | None
    issued_at: datetime
    weather_hours: int
    frame: pl.DataFrame
    features: pl.DataFrame
    history: pl.DataFrame
    temperature: pl.DataFrame
    notes: list[str]
    fallback: FallbackLevel


def issue_forecast(
    connection: Connection, city: StoredCity, artifact: StoredArtifact, at: datetime, hours: int, reasons: list[str]
) -> CityForecast:
    """Return the forecast of a city by one model version, from the data known at `at`.

    Args:
        reasons: why better versions could not be used; empty for the preferred one.

    Raises:
        NotEnoughDataError: no load is known in the days that the model uses.
        ArtifactError: the version cannot be read.
        OutOfRangeError: a value is larger than the database can store.
    """
    fitted = load_model(artifact.name, artifact.artifact)
    known = read_as_of(connection, city, at=at, first=at - timedelta(days=fitted.history_days + 1), horizon_hours=hours)
    made = fitted.predict(known.forecast_input(hours))
    stored_forecasts.check_range(made.frame)
    to_city_hours = known.shift.to_city_hours
    level = _level(artifact, made.weather_hours, hours, fell_back=bool(reasons))
    # Old load is included, so that the gap is visible
    shown = at - timedelta(hours=made.stale_hours) - _SHOWN
    notes = list(made.notes)
    if made.weather_ends is not None:
        local = (made.weather_ends - known.shift.offset).astimezone(zones.zone(city.timezone))
        notes.append(
            f"From {local:%a %Y-%m-%d %H:%M} ({city.timezone}) on, the forecast does not use weather. Its "
            "level may change abruptly there."
        )
    why = [*reasons, *(notes if level or made.stale_hours >= _STALE_HOURS else [])]
    return CityForecast(
        city=city.name,
        city_id=city.id,
        timezone=city.timezone,
        model=artifact.name,
        version=artifact.version,
        model_id=artifact.id,
        run_id=None,
        issued_at=at,
        weather_hours=made.weather_hours,
        frame=stored_forecasts.as_stored(to_city_hours(made.frame)),
        features=to_city_hours(made.features),
        history=to_city_hours(_late(known.load, shown)),
        temperature=to_city_hours(_temperature(known, shown)),
        notes=notes,
        fallback=FallbackLevel(level, made.stale_hours, made.weather_hours, why),
    )


def _level(artifact: StoredArtifact, weather_hours: int, hours: int, *, fell_back: bool) -> int:
    """Return the fallback level of a forecast with weather in so many of its hours."""
    if fell_back:
        return FALLBACK_LEVELS.index(artifact.name) if artifact.name in FALLBACK_LEVELS else ANOTHER_VERSION
    return WITHOUT_WEATHER if "with_weather" in artifact.training_facts and weather_hours < hours else FULL


def _late(frame: pl.DataFrame, since: datetime) -> pl.DataFrame:
    """Return the rows from a time on. A binary search of the sorted frame is ten times as fast as a filter."""
    return frame[int(frame["timestamp"].search_sorted(since)) :]


def _temperature(known: AsOfData, since: datetime) -> pl.DataFrame:
    """Return the observed temperature, followed by the forecast temperature."""
    observed = _late(known.weather.select("timestamp", "temperature"), since)
    ahead = known.weather_ahead.select("timestamp", "temperature")
    if not observed.height:
        return _late(ahead, since)
    return observed.vstack(ahead[int(ahead["timestamp"].search_sorted(observed["timestamp"][-1], side="right")) :])
