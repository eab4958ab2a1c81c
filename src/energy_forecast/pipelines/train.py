"""Train models on the data known at a moment, and store them as versions."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from importlib.metadata import version as package_version
from importlib.resources import as_file, files
from typing import Any
from uuid import UUID

from energy_forecast.database import models as stored_models
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.models import NewArtifact, StoredArtifact, Version
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError, UnknownModelError
from energy_forecast.event_log import log_run
from energy_forecast.forecasting import WeatherErrors, fit, load_model, model_by_name, model_names
from energy_forecast.forecasting.data.weather_clock import WeatherClock
from energy_forecast.pipelines.as_of import AsOfData, forecasting_city, read_as_of
from energy_forecast.pipelines.assumptions import NO_ASSUMPTIONS, Assumptions, measured_weather_errors
from energy_forecast.pipelines.fallback import NAIVE_MODELS
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.parallel import Step, each
from energy_forecast.progress import Progress, Steps, silent

SEED = 0


@dataclass(frozen=True)
class Trained:
    """A trained model version of a city; `reused` if the same data had already produced it."""

    city: str
    model: str
    version: str
    model_id: UUID
    reused: bool
    facts: dict[str, Any]

    @property
    def left_out(self) -> int:
        """The number of faulty hours that training left out."""
        return sum(self.facts.get("faulty_hours", {}).values())

    @property
    def clock(self) -> WeatherClock:
        """The detected clock of the weather in the training data."""
        kept = self.facts.get("weather_clock", {})
        # In JSON a year is a string
        return WeatherClock(*({int(y): v for y, v in kept.get(name, {}).items()} for name in ("weather", "load")))


@dataclass(frozen=True)
class TrainingReport:
    """Result of a training. `failed` maps (city, model) to the reason; `lacking` holds those that need more data."""

    until: datetime
    trained: list[Trained]
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    lacking: set[tuple[str, str]] = field(default_factory=set)


def check_models(names: Sequence[str]) -> list[str]:
    """Return the names, or all models if there are none.

    Raises:
        UnknownModelError: a name is unknown.
    """
    for name in names:
        if name not in model_names():
            raise UnknownModelError(f"There is no model {name!r}.", hint=f"Models: {', '.join(model_names())}.")
    return list(dict.fromkeys(names)) or list(model_names())


def check_not_future(moment: datetime | None, now: datetime, name: str) -> datetime:
    """Return the moment, or now if it is None.

    Args:
        name: the parameter in backquotes, for the message.

    Raises:
        EnergyForecastError: the moment is in the future.
    """
    if moment is not None and moment > now:
        raise EnergyForecastError(f"{name} is in the future: {moment.isoformat()}.", hint="Use a time that has passed.")
    return moment or now


@log_run(
    "train",
    lambda report: {
        "trained": len(report.trained),
        "reused": sum(one.reused for one in report.trained),
        "failed": len(report.failed),
    },
    failed=lambda report: report.failed,
)
def train(
    database: Database,
    *,
    models: Sequence[str] = (),
    cities: Sequence[str] = (),
    until: datetime | None = None,
    assumptions: Mapping[str, Assumptions] | None = None,
    processes: int = 1,
    allow_none: bool = False,
    progress: Progress = silent,
) -> TrainingReport:
    """Train models for each city and store them, one version for each model. Each city is stored when it is finished.

    A stored model with the same training data, code and moment is reused, so the same call continues after an
    interruption. A failure in one city or one model does not affect the others: see isolation.attempt.

    Args:
        models: names; all if empty.
        cities: names; all if empty.
        until: knowledge cutoff: data that became available later is not used. None for now.
        assumptions: of a backtest by city: how late its load is known, and the errors of simulated weather forecasts,
            for which the models are trained.
        processes: number of cities to train at a time; see parallel.each. The models do not depend on it.
        allow_none: return the report even if no city could be trained.

    Raises:
        UnknownModelError, UnknownCityError: a name is unknown.
        NotEnoughDataError: no city could be trained, and `allow_none` is false.
        DatabaseError: the database refused the request.
    """
    names = check_models(models)
    trained: list[Trained] = []
    failed: dict[tuple[str, str], str] = {}
    lacking: set[tuple[str, str]] = set()
    versions: dict[str, Version] = {}
    with database.transaction(Role.FORECASTER) as connection:
        until = check_not_future(until, database_now(connection), "`until`")
        chosen = cities_named(connection, cities)
    # A naive model is trained faster than a process starts
    processes = 1 if set(names) <= set(NAIVE_MODELS) else min(processes, len(chosen))
    train_city = partial(_train_city, database, names, until, assumptions or {})
    steps = Steps(progress, f"Training {', '.join(names)}", len(chosen) * len(names))
    name_of = partial(_named, names)
    with closing(each(train_city, chosen, name=name_of, processes=processes, steps=steps)) as results:
        for city, result in zip(chosen, results, strict=True):
            kept = result
            if not isinstance(result, Failed):
                kept = attempt(f"Store the models of {city.name}", partial(_store, database, until, result, versions))
            for name in names:
                one = kept if isinstance(kept, Failed) else kept[name]
                if isinstance(one, Failed):
                    failed[city.name, name] = one.reason
                    if one.lacks_data:
                        lacking.add((city.name, name))
                elif isinstance(one, StoredArtifact):
                    trained.append(Trained(city.name, name, one.version, one.id, True, one.training_facts))
                else:
                    version = versions[name]
                    trained.append(Trained(city.name, name, version.version, version.id, False, one.training_facts))
    if versions:
        with database.transaction(Role.FORECASTER) as connection:
            for name in versions:
                stored_models.update_active(connection, name)
    if not trained and not allow_none:
        raise NotEnoughDataError(next(iter(failed.values()), "No city to train a model for."))
    return TrainingReport(until, trained, failed, lacking)


def _named(names: Sequence[str], city: StoredCity) -> str:
    return f"Train {', '.join(names)} for {city.name}"


TrainedModels = dict[str, StoredArtifact | NewArtifact | Failed]


def _train_city(
    database: Database,
    names: Sequence[str],
    until: datetime,
    assumptions: Mapping[str, Assumptions],
    city: StoredCity,
    step: Step,
) -> TrainedModels:
    """Return for each model the reused version, the new artifact, or the failure."""
    # No transaction stays open during training, because it would delay VACUUM
    with database.transaction(Role.FORECASTER) as connection:
        assumed = assumptions.get(city.name, NO_ASSUMPTIONS)
        known = read_as_of(connection, city, at=until, assumptions=assumed)
        simulated = assumed.weather
        errors = measured_weather_errors(connection, city, until) if simulated is None else simulated.errors
        digests = {name: training_digest(name, city, known, errors) for name in names}
        identical = {name: _find_identical(connection, name, city, digest, until) for name, digest in digests.items()}

    def fit_model(name: str) -> NewArtifact:
        fitted = fit(
            name,
            forecasting_city(city),
            known.load,
            known.weather,
            at=until + known.shift.offset,
            seed=SEED,
            weather_errors=errors,
        )
        return NewArtifact(city.id, fitted.to_bytes(), digests[name], fitted.parameters)

    trained: TrainedModels = {}
    for name in names:
        same = identical[name]
        one = attempt(f"Train {name} for {city.name}", partial(fit_model, name)) if same is None else same
        trained[name] = one
        step(f"{'Not trained:' if isinstance(one, Failed) else 'Trained'} {name} for {city.name}")
    return trained


def _find_identical(
    connection: Connection, name: str, city: StoredCity, digest: bytes, until: datetime
) -> StoredArtifact | None:
    """Return the version with identical training data and code, if it can be read."""

    def read() -> StoredArtifact | None:
        with savepoint(connection):
            found = stored_models.trained_identically(
                connection, name=name, city=city.id, training_digest=digest, at=until
            )
        if found is not None:
            load_model(name, found.artifact)
        return found

    found = attempt(f"Read {name} of {city.name}", read)
    return None if isinstance(found, Failed) else found


def _store(database: Database, until: datetime, trained: TrainedModels, versions: dict[str, Version]) -> TrainedModels:
    """Add the new models of a city to the versions of this training. A version is created with its first city.

    Returns:
        The models, or the failures to store them.
    """
    kept = dict(trained)
    if not any(isinstance(one, NewArtifact) for one in trained.values()):
        return kept
    begun: dict[str, Version] = {}

    def add(connection: Connection, name: str, artifact: NewArtifact) -> None:
        with savepoint(connection):
            if name in versions:
                stored_models.add_artifacts(connection, versions[name].id, [artifact])
                return
            begun[name] = stored_models.add_version(
                connection,
                name=name,
                kind=model_by_name(name).kind,
                parameters={
                    "seed": SEED,
                    "package_version": package_version("energy-forecast"),
                    "code_sha256": code_digest(),
                },
                trained_until=until,
                artifacts=[artifact],
            )

    with database.transaction(Role.FORECASTER) as connection:
        for name, one in trained.items():
            if isinstance(one, NewArtifact):
                added = attempt(f"Store {name}", partial(add, connection, name, one))
                if isinstance(added, Failed):
                    kept[name] = added
    # Only after the commit
    versions |= begun
    return kept


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of the training code in hexadecimal. A version number would not change with every commit."""
    folder = files("energy_forecast.forecasting")
    digest = hashlib.sha256()
    with as_file(folder) as path:
        for file in sorted(path.rglob("*.py")):
            digest.update(file.relative_to(path).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def training_digest(name: str, city: StoredCity, known: AsOfData, weather_errors: WeatherErrors | None) -> bytes:
    """Return the SHA-256 of everything that training depends on. Equal digests mean equal models."""
    digest = hashlib.sha256()
    versions = {
        package: package_version(package) for package in ("energy-forecast", "holidays", "numpy", "xgboost-cpu")
    }
    facts = asdict(forecasting_city(city)) | {"model": name, "seed": SEED, "versions": versions, "code": code_digest()}
    facts["weather_errors"] = None if weather_errors is None else weather_errors.settings()
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for frame in (known.load, known.weather):
        for column in frame.columns:
            digest.update(column.encode())
            digest.update(frame[column].to_physical().fill_null(float("nan")).to_numpy().tobytes())
    return digest.digest()
