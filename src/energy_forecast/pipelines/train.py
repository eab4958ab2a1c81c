"""Training: fit models to what was known at a moment, keep them as versions."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
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
from energy_forecast.forecasting import fit, load, model_by_name, model_names
from energy_forecast.forecasting.data.weather_clock import WeatherClock
from energy_forecast.pipelines.as_of import AsOfData, forecasting_city, read_as_of
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.parallel import Step, each
from energy_forecast.progress import Progress, Steps, silent

SEED = 0
NAIVE = ("naive-24", "naive-168")


@dataclass(frozen=True)
class Trained:
    """A model version that is there for a city; `reused` when the same data had given it before."""

    city: str
    model: str
    version: str
    model_id: UUID
    reused: bool
    facts: dict[str, Any]

    @property
    def left_out(self) -> int:
        """How many faulty hours it did not learn from."""
        return sum(self.facts.get("faulty_hours", {}).values())

    @property
    def clock(self) -> WeatherClock:
        """The clock of the weather that it learnt from."""
        kept = self.facts.get("weather_clock", {})
        # As JSON a year is text
        return WeatherClock(*({int(y): v for y, v in kept.get(name, {}).items()} for name in ("weather", "load")))


@dataclass(frozen=True)
class TrainingReport:
    """Result of a training. `failed` maps (city, model) to the reason; `lacking` are those that need more data."""

    until: datetime
    trained: list[Trained]
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    lacking: set[tuple[str, str]] = field(default_factory=set)


def check_models(names: Sequence[str]) -> list[str]:
    """The names, or all models when none is named.

    Raises:
        UnknownModelError: there is no model of one of the names.
    """
    for name in names:
        if name not in model_names():
            raise UnknownModelError(f"There is no model {name!r}.", hint=f"Models: {', '.join(model_names())}.")
    return list(dict.fromkeys(names)) or list(model_names())


def check_not_future(moment: datetime | None, now: datetime, option: str) -> datetime:
    """The moment, or now.

    Raises:
        EnergyForecastError: the moment lies in the future.
    """
    if moment is not None and moment > now:
        raise EnergyForecastError(
            f"{option} lies in the future: {moment.isoformat()}.", hint="Give a moment that has been."
        )
    return moment or now


def train(
    database: Database,
    *,
    models: Sequence[str] = (),
    cities: Sequence[str] = (),
    until: datetime | None = None,
    processes: int = 1,
    allow_none: bool = False,
    progress: Progress = silent,
) -> TrainingReport:
    """Fit models to each city and keep them, one version a model. Each city is kept as soon as it is finished.

    A model that was already trained from the very same data by the same code, and by that moment, is reused: after an
    interruption the same call goes on where it stopped. A fault in one city costs only that city, and a fault of one
    model only that model: see isolation.attempt.

    Args:
        models: names; all when empty.
        cities: names; all when empty.
        until: knowledge cutoff: nothing that became available later is seen. Now when None.
        processes: how many cities are learnt at a time; see parallel.each. What is learnt does not depend on it.
        allow_none: return the report also if not one city could be trained.

    Raises:
        UnknownModelError, UnknownCityError: a name is not known.
        NotEnoughDataError: not one city could be trained, and `allow_none` is not set.
        DatabaseError: the database refused.
    """
    names = check_models(models)
    trained: list[Trained] = []
    failed: dict[tuple[str, str], str] = {}
    lacking: set[tuple[str, str]] = set()
    versions: dict[str, Version] = {}
    with database.transaction(Role.FORECASTER) as connection:
        until = check_not_future(until, database_now(connection), "--until")
        chosen = cities_named(connection, cities)
    # A naive model has learnt before a process has started
    processes = 1 if set(names) <= set(NAIVE) else min(processes, len(chosen))
    learn = partial(_learn, database, names, until)
    told = Steps(progress, f"Training {', '.join(names)}", len(chosen) * len(names))
    name_of = partial(_named, names)
    with closing(each(learn, chosen, name=name_of, processes=processes, steps=told)) as results:
        for city, learnt in zip(chosen, results, strict=True):
            kept = learnt
            if not isinstance(learnt, Failed):
                kept = attempt(f"Keep the models of {city.name}", partial(_keep, database, until, learnt, versions))
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
        raise NotEnoughDataError(next(iter(failed.values()), "There is no city to train a model for."))
    return TrainingReport(until, trained, failed, lacking)


def _named(names: Sequence[str], city: StoredCity) -> str:
    return f"Train {', '.join(names)} for {city.name}"


Learnt = dict[str, StoredArtifact | NewArtifact | Failed]


def _learn(database: Database, names: Sequence[str], until: datetime, city: StoredCity, step: Step) -> Learnt:
    """By model: the version that there was already, what was learnt, or why nothing could be."""
    # No transaction stays open while a model is fitted: an open one holds up vacuum
    with database.transaction(Role.FORECASTER) as connection:
        known = read_as_of(connection, city, at=until)
        digests = {name: training_digest(name, city, known) for name in names}
        alike = {name: _alike(connection, name, city, digest, until) for name, digest in digests.items()}

    def learn(name: str) -> NewArtifact:
        fitted = fit(name, forecasting_city(city), known.load, known.weather, at=until + known.shift.by, seed=SEED)
        return NewArtifact(city.id, fitted.save(), digests[name], fitted.parameters)

    learnt: Learnt = {}
    for name in names:
        same = alike[name]
        one = attempt(f"Train {name} for {city.name}", partial(learn, name)) if same is None else same
        learnt[name] = one
        step(f"{'Not trained:' if isinstance(one, Failed) else 'Trained'} {name} for {city.name}")
    return learnt


def _alike(
    connection: Connection, name: str, city: StoredCity, digest: bytes, until: datetime
) -> StoredArtifact | None:
    """The version that was trained from just the same, where it can still be read."""

    def read() -> StoredArtifact | None:
        with savepoint(connection):
            found = stored_models.trained_identically(
                connection, name=name, city=city.id, training_digest=digest, at=until
            )
        if found is not None:
            load(name, found.artifact)
        return found

    found = attempt(f"Read {name} of {city.name}", read)
    return None if isinstance(found, Failed) else found


def _keep(database: Database, until: datetime, learnt: Learnt, versions: dict[str, Version]) -> Learnt:
    """Add the new models of a city to this training's versions, which begin with their first city.

    Returns:
        The models, or why they could not be kept.
    """
    kept = dict(learnt)
    if not any(isinstance(one, NewArtifact) for one in learnt.values()):
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
        for name, one in learnt.items():
            if isinstance(one, NewArtifact):
                added = attempt(f"Keep {name}", partial(add, connection, name, one))
                if isinstance(added, Failed):
                    kept[name] = added
    # Not before the transaction is committed
    versions |= begun
    return kept


@functools.cache
def code_digest() -> str:
    """SHA-256 of the code that learns, in hexadecimal: a version number does not change with every commit."""
    folder = files("energy_forecast.forecasting")
    digest = hashlib.sha256()
    with as_file(folder) as path:
        for file in sorted(path.rglob("*.py")):
            digest.update(file.relative_to(path).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def training_digest(name: str, city: StoredCity, known: AsOfData) -> bytes:
    """SHA-256 of all that a fit depends on: equal digests mean equal models."""
    digest = hashlib.sha256()
    versions = {
        package: package_version(package) for package in ("energy-forecast", "holidays", "numpy", "xgboost-cpu")
    }
    facts = asdict(forecasting_city(city)) | {"model": name, "seed": SEED, "versions": versions, "code": code_digest()}
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for frame in (known.load, known.weather):
        for column in frame.columns:
            digest.update(column.encode())
            digest.update(frame[column].to_physical().fill_null(float("nan")).to_numpy().tobytes())
    return digest.digest()
