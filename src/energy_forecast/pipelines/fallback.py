"""Fallback chain: which model version forecasts a city if the preferred one cannot.

The levels in order: the preferred model with all its inputs; the same model without weather; another version that can
be read; naive-168; naive-24. If none works, the city gets no forecast, and the report lists every reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from energy_forecast.database import champions
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.models import StoredArtifact, artifact_of, newest_artifact
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.issue import FALLBACK_MODEL, CityForecast, issue_forecast
from energy_forecast.pipelines.parallel import Step

DEFAULT_MODEL = "ensemble"
# Models of a city without a champion, the best first
PREFERRED_MODELS = (DEFAULT_MODEL, FALLBACK_MODEL)
# Number of versions of one model to try, the newest first
_VERSIONS = 4


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
        self.add_reason(failed.message, group=group)

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
            return _best(connection, outcome.city, artifact, request, list(outcome.reasons))

    with savepoint(connection):
        for read in _candidates(connection, outcome.city, request, names):
            found = attempt(f"Forecast {outcome.city.name}", partial(issue, read))
            if isinstance(found, Failed):
                outcome.add_failure(found)
            elif found is not None:
                outcome.issued = found
                return


def _candidates(
    connection: Connection, city: StoredCity, request: ForecastRequest, names: Sequence[str]
) -> Iterator[Callable[[], StoredArtifact | None]]:
    """Yield a reader of each version that may forecast a city, the best version first."""
    if request.model is None and (found := champions.champion_at(connection, city.id, request.at)) is not None:
        yield partial(artifact_of, connection, model=found.model_id, city=city.id)
    for name in names:
        for older in range(_VERSIONS):
            yield partial(newest_artifact, connection, name=name, city=city.id, at=request.at, older=older)


def _best(
    connection: Connection, city: StoredCity, artifact: StoredArtifact, request: ForecastRequest, reasons: list[str]
) -> CityForecast:
    """Return the forecast of a version, or of the naive model if that was better on held-out data."""
    # A champion has already won on a backtest
    chosen = request.model is not None or champions.champion_at(connection, city.id, request.at) is not None
    if not reasons and not chosen and artifact.name != DEFAULT_MODEL:
        reasons.append(f"{city.name} has no version of {DEFAULT_MODEL}: energy-forecast train")
    issued = issue_forecast(connection, city, artifact, request.at, request.hours, reasons)
    if chosen or reasons:
        return issued

    def issue_naive() -> CityForecast | None:
        with savepoint(connection):
            return _issue_better_naive(connection, city, artifact, request, issued)

    found = attempt(f"Forecast {city.name} by {FALLBACK_MODEL}", issue_naive)
    return issued if found is None or isinstance(found, Failed) else found


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
    variant = artifact.training_facts.get("with_weather" if issued.weather_hours else "without_weather", {})
    held_out = variant.get("held_out", {})
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
