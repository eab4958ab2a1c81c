"""Fallback chain: which model version forecasts a city if the preferred one cannot.

The levels in order: the preferred model with all its inputs; the same model without weather; another version that can
be read; naive-168; naive-24. If none works, the city gets no forecast, and the report lists every reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import polars as pl

from energy_forecast import zones
from energy_forecast.database import champions
from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.models import StoredArtifact, artifact_of, newest_artifact, version_for
from energy_forecast.forecasting import load_model
from energy_forecast.forecasting.models import weather_fallback
from energy_forecast.forecasting.types import STALE_HOURS
from energy_forecast.pipelines.as_of import AsOfData, read_as_of
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.parallel import Step

DEFAULT_MODEL = "ensemble"
FALLBACK_MODEL = "naive-168"
LAST_RESORT_MODEL = "naive-24"
NAIVE_MODELS = (LAST_RESORT_MODEL, FALLBACK_MODEL)
FALLBACK_LEVELS = ("full", "without weather", "another version", FALLBACK_MODEL, LAST_RESORT_MODEL)
FULL, WITHOUT_WEATHER, ANOTHER_VERSION = range(3)
# Models of a city without a champion, the best first
PREFERRED_MODELS = (DEFAULT_MODEL, FALLBACK_MODEL)
# Number of versions of one model to try, the newest first
_VERSIONS = 4
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
    history: timestamp, consumption_kwh: the known load of the last weeks.
    temperature: timestamp, temperature (degrees Celsius): observed up to the issue time, forecast after it;
        empty for a city without weather.
    chosen_as: why this model serves: requested, champion, default (the city has no champion) or fallback.
    """

    city: str
    city_id: UUID
    timezone: str
    model: str
    version: str
    model_id: UUID
    run_id: UUID | None
    issued_at: datetime
    frame: pl.DataFrame
    history: pl.DataFrame
    temperature: pl.DataFrame
    notes: list[str]
    fallback: FallbackLevel
    chosen_as: str = "default"


@dataclass
class CityOutcome:
    """The outcome for one city so far: its forecast, and the reasons against better levels.

    reasons: maps each reason to its group: models give the same reason with different numbers.
    """

    city: StoredCity
    issued: CityForecast | None = None
    reasons: dict[str, str | None] = field(default_factory=dict)
    damaged: bool = False
    lacks_load: bool = False

    def add_reason(self, reason: str, *, group: str | None = None) -> None:
        """Add the reason why a level could not be used."""
        self.reasons.setdefault(reason, group)

    def add_failure(self, failed: Failed) -> None:
        """Add the failure of a version."""
        self.lacks_load |= failed.lacks_data
        self.damaged |= not failed.lacks_data
        group = "lacks data" if failed.lacks_data else "out of range" if failed.out_of_range else None
        self.add_reason(failed.reason, group=group)

    @property
    def failure(self) -> str:
        """The reasons for a missing forecast. Of each group only the last, from the model that needs the least data."""
        last = {group: reason for reason, group in self.reasons.items()}
        return " ".join(reason for reason, group in self.reasons.items() if group is None or last[group] == reason)


@dataclass(frozen=True)
class ForecastRequest:
    """The forecast to issue. model: the requested one; None for the champion, or the preferred models without one."""

    model: str | None
    at: datetime
    hours: int


def issue_batch(
    database: Database, request: ForecastRequest, names: Sequence[str], work: Sequence[CityOutcome], step: Step
) -> Sequence[CityOutcome]:
    """Forecast cities, each by the first version that can, and return their outcomes.

    Args:
        names: the models to try, the best first. Without a requested model, the champion of the city comes first.
    """
    with database.transaction(Role.FORECASTER) as connection:
        for outcome in work:
            what = f"Forecast {outcome.city.name}"
            done = attempt(what, partial(_issue_city, connection, request, names, outcome))
            if isinstance(done, Failed):
                outcome.add_failure(done)
            step("Forecasting")
    return work


def _issue_city(connection: Connection, request: ForecastRequest, names: Sequence[str], outcome: CityOutcome) -> None:
    """Forecast a city with the first usable version, and add the failures of the others to `outcome`."""

    def issue(read: Callable[[], StoredArtifact | None]) -> CityForecast | None:
        with savepoint(connection):
            artifact = read()
            if artifact is None:
                return None
            # A champion has already won on a backtest
            chosen = request.model is not None or champion is not None
            return _best(connection, outcome.city, artifact, request, list(outcome.reasons), chosen=chosen)

    with savepoint(connection):
        champion = None
        if request.model is None:
            champion = champions.champion_at(connection, outcome.city.id, request.at)
        for read in _candidates(connection, outcome.city, request, names, champion):
            found = attempt(f"Forecast {outcome.city.name}", partial(issue, read))
            if isinstance(found, Failed):
                outcome.add_failure(found)
            elif found is not None:
                outcome.issued = replace(found, chosen_as=_chosen_as(request, champion, found))
                return


def _chosen_as(request: ForecastRequest, champion: champions.Champion | None, issued: CityForecast) -> str:
    if issued.fallback.level > WITHOUT_WEATHER:
        return "fallback"
    if request.model is not None:
        return "requested"
    return "default" if champion is None else "champion"


def _candidates(
    connection: Connection,
    city: StoredCity,
    request: ForecastRequest,
    names: Sequence[str],
    champion: champions.Champion | None,
) -> Iterator[Callable[[], StoredArtifact | None]]:
    """Yield a reader of each version that may forecast a city, the best version first."""
    if champion is not None:
        yield partial(artifact_of, connection, model=champion.model_id, city=city.id)
    for name in names:
        for older in range(_VERSIONS):
            yield partial(newest_artifact, connection, name=name, city=city.id, at=request.at, older=older)


def _best(
    connection: Connection,
    city: StoredCity,
    artifact: StoredArtifact,
    request: ForecastRequest,
    reasons: list[str],
    *,
    chosen: bool,
) -> CityForecast:
    """Return the forecast of a version, or of the naive model if that was better on held-out data.

    Args:
        chosen: whether the version is the champion or of the requested model; the naive model does not replace it.
    """
    if not reasons and not chosen and artifact.name != DEFAULT_MODEL:
        reasons.append(_lacking_version(connection, city, request.at))
    issued = issue_forecast(connection, city, artifact, request.at, request.hours, reasons)
    if chosen or reasons:
        return issued

    def issue_naive() -> CityForecast | None:
        with savepoint(connection):
            return _issue_better_naive(connection, city, artifact, request, issued)

    found = attempt(f"Forecast {city.name} by {FALLBACK_MODEL}", issue_naive)
    return issued if found is None or isinstance(found, Failed) else found


def _lacking_version(connection: Connection, city: StoredCity, at: datetime) -> str:
    """Return that a city has no version of the default model for an issue time, and the remedy."""
    if version_for(connection, name=DEFAULT_MODEL, version=None, city=city.id) is None:
        return f"{city.name} has no version of {DEFAULT_MODEL}: energy-forecast train --model {DEFAULT_MODEL}"
    trained = f"{at.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
    return (
        f"Every version of {DEFAULT_MODEL} for {city.name} uses training data from after {trained}. "
        f"Train an earlier one: energy-forecast train --model {DEFAULT_MODEL} --until {trained}"
    )


def _issue_better_naive(
    connection: Connection,
    city: StoredCity,
    artifact: StoredArtifact,
    request: ForecastRequest,
    issued: CityForecast,
) -> CityForecast | None:
    """Return the forecast of the fallback model if it was better on held-out data, with a note; else None."""
    if artifact.name == FALLBACK_MODEL:
        return None
    variant = weather_fallback.FORECAST_WEATHER if issued.fallback.weather_hours else weather_fallback.WITHOUT_WEATHER
    held_out = artifact.training_facts.get(variant, {}).get("held_out", {})
    own, other = held_out.get("mae"), held_out.get("naive_168_mae")
    if own is None or other is None or own <= other:
        return None
    fallback = newest_artifact(connection, name=FALLBACK_MODEL, city=city.id, at=request.at)
    if fallback is None:
        return None
    found = issue_forecast(connection, city, fallback, request.at, request.hours, [])
    share = 100 * (own / other - 1)
    found.notes.append(
        f"{FALLBACK_MODEL} serves this city: on held-out data the error of {artifact.name} was {share:.0f} % larger."
    )
    return found


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
        notes.append(f"From {local:%a %Y-%m-%d %H:%M} ({city.timezone}) on, the forecast does not use weather.")
    why = [*reasons, *(notes if level or made.stale_hours >= STALE_HOURS else [])]
    return CityForecast(
        city=city.name,
        city_id=city.id,
        timezone=city.timezone,
        model=artifact.name,
        version=artifact.version,
        model_id=artifact.id,
        run_id=None,
        issued_at=at,
        frame=stored_forecasts.as_stored(to_city_hours(made.frame)),
        history=to_city_hours(_late(known.load, shown)),
        temperature=to_city_hours(_temperature(known, shown)),
        notes=notes,
        fallback=FallbackLevel(level, made.stale_hours, made.weather_hours, why),
    )


def _level(artifact: StoredArtifact, weather_hours: int, hours: int, *, fell_back: bool) -> int:
    """Return the fallback level of a forecast with weather in so many of its hours."""
    if fell_back:
        return FALLBACK_LEVELS.index(artifact.name) if artifact.name in FALLBACK_LEVELS else ANOTHER_VERSION
    uses_weather = weather_fallback.FORECAST_WEATHER in artifact.training_facts
    return WITHOUT_WEATHER if uses_weather and weather_hours < hours else FULL


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
