"""Retraining: which cities the policy says are to be learnt anew, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from energy_forecast.database import champions
from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database import models as stored_models
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.models import StoredArtifact, newest_artifact
from energy_forecast.errors import EnergyForecastError
from energy_forecast.forecasting import QUANTILE_COLUMNS
from energy_forecast.pipelines.as_of import actual_load, forecasting_city
from energy_forecast.pipelines.fallback import DEFAULT_MODEL
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.score import join_actuals, score_pairs
from energy_forecast.pipelines.train import TrainingReport, train
from energy_forecast.progress import Progress, silent

# What a threshold of each reason counts, and between what it may lie: as the database's own check
THRESHOLDS = {
    "age": ("days", 1, 3650),
    "drift": ("times the held-out MAPE", 1, 100),
    "coverage": ("of the hours inside", 0, 1),
}
# Held-out scores are those of the first day of lead
_LEAD = timedelta(hours=24)
# Three days of hours: fewer say nothing of a change
_FEWEST_HOURS = 72


@dataclass(frozen=True)
class RetrainingStatus:
    """How the newest version of the model that serves a city stands.

    reasons: why it is to be learnt anew; empty where it is not. mape, held_out_mape: percent, of the forecasts issued
    in the policy's window, a day ahead, and on held-out time. coverage: the share of those hours inside the 90 %
    interval. hours: how many hours those are. None where nothing is known. fault: why this could not be found out.
    """

    city: str
    model: str
    version: str | None
    trained_until: datetime | None
    age_days: float | None
    reasons: list[str]
    mape: float | None = None
    held_out_mape: float | None = None
    coverage: float | None = None
    hours: int = 0
    fault: str | None = None


@dataclass(frozen=True)
class Retraining:
    """Result of `train_due`: how each city stood before, and the trainings."""

    statuses: list[RetrainingStatus]
    reports: list[TrainingReport] = field(default_factory=list)


def policies(database: Database) -> list[dict[str, Any]]:
    """When a city is to be learnt anew: reason, threshold (None: never), window_days, note, and who changed it when."""
    with database.transaction(Role.FORECASTER) as connection:
        return stored_models.retraining_policies(connection)


def set_policy(database: Database, reason: str, threshold: float | None) -> dict[str, Any]:
    """Changes from when on a city is to be learnt anew for a reason.

    Raises:
        EnergyForecastError: there is no such reason, or the threshold is out of range.
    """
    if reason in THRESHOLDS and threshold is not None:
        unit, least, most = THRESHOLDS[reason]
        if not least <= threshold <= most:
            raise EnergyForecastError(
                f"{threshold:g} {unit} is no threshold of {reason}: it has to lie between {least} and {most:,}.",
                hint="Or say never.",
            )
    with database.transaction(Role.OPERATOR) as connection:
        changed = stored_models.set_retraining_policy(connection, reason, threshold)
    if changed is None:
        raise EnergyForecastError(f"{reason!r} is no reason to retrain.", hint="Reasons: age, drift, coverage.")
    return changed


def retraining_status(database: Database, *, cities: Sequence[str] = ()) -> list[RetrainingStatus]:
    """How each city's model stands against the policy now.

    Judged is the newest version of the champion's model (of the ensemble where there is no champion): once it has been
    learnt anew, it is due no more, even while the champion still serves.

    Raises:
        UnknownCityError: a name is not known.
    """
    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection)
        policy = {row["reason"]: row for row in stored_models.retraining_policies(connection)}
        found = []
        for city in cities_named(connection, cities):
            one = attempt(f"Judge the model of {city.name}", partial(_city_status, connection, city, policy, now))
            if isinstance(one, Failed):
                one = RetrainingStatus(city.name, "", None, None, None, [], fault=one.reason)
            found.append(one)
        return found


def train_due(
    database: Database, *, cities: Sequence[str] = (), processes: int = 1, progress: Progress = silent
) -> Retraining:
    """Trains what is due, each city by the model that serves it. A champion serves on until another is promoted.

    Raises:
        UnknownCityError: a name is not known.
        DatabaseError: the database refused.
    """
    found = retraining_status(database, cities=cities)
    due: dict[str, list[str]] = {}
    for one in found:
        if one.reasons:
            due.setdefault(one.model, []).append(one.city)
    reports = [
        train(database, models=[model], cities=names, processes=processes, allow_none=True, progress=progress)
        for model, names in due.items()
    ]
    return Retraining(found, reports)


def _city_status(
    connection: Connection, city: StoredCity, policy: dict[str, dict[str, Any]], now: datetime
) -> RetrainingStatus:
    with savepoint(connection):
        return _assess(connection, city, policy, now)


def _assess(
    connection: Connection, city: StoredCity, policy: dict[str, dict[str, Any]], now: datetime
) -> RetrainingStatus:
    champion = champions.champion_at(connection, city.id, now)
    model = DEFAULT_MODEL if champion is None else champion.name
    newest = newest_artifact(connection, name=model, city=city.id, at=now)
    if newest is None:
        return RetrainingStatus(city.name, model, None, None, None, ["never trained"])
    age = (now - newest.trained_until) / timedelta(days=1)
    reasons = []
    oldest = policy["age"]["threshold"]
    if oldest is not None and age > oldest:
        reasons.append(f"age: learnt from data up to {age:.0f} days ago, more than {oldest:g}")
    facts: dict[str, Any] = {}
    for reason in ("drift", "coverage"):
        limit = policy[reason]["threshold"]
        if limit is None:
            continue
        late = _of_late(connection, city, newest, now - timedelta(days=policy[reason]["window_days"]), now)
        facts |= late
        if late["hours"] < _FEWEST_HOURS:
            continue
        usual = late["held_out_mape"]
        if reason == "drift" and usual and late["mape"] is not None and late["mape"] > limit * usual:
            reasons.append(f"drift: MAPE {late['mape']:.2f} % of late, {usual:.2f} % on held-out time")
        if reason == "coverage" and late["coverage"] < limit:
            reasons.append(f"coverage: {late['coverage']:.0%} of the hours inside the 90 % interval, below {limit:.0%}")
    return RetrainingStatus(city.name, model, newest.version, newest.trained_until, age, reasons, **facts)


def _of_late(
    connection: Connection, city: StoredCity, version: StoredArtifact, first: datetime, now: datetime
) -> dict[str, Any]:
    """Scores of what a version forecast a day ahead for the hours from `first` on, and of its held-out time."""
    nothing = {"mape": None, "held_out_mape": None, "coverage": None, "hours": 0}
    issued = stored_forecasts.to_score(connection, city=city.id, model=version.id, by=now).filter(
        pl.col("timestamp") >= first, pl.col("timestamp") - pl.col("issued_at") < _LEAD
    )
    if issued.is_empty():
        return nothing
    load = actual_load(connection, city, as_of=now, first=first - timedelta(days=8), end=now)
    quantiles = [pl.col("quantiles").list.get(i).alias(name) for i, name in enumerate(QUANTILE_COLUMNS)]
    pairs = join_actuals(issued.with_columns(quantiles).drop("quantiles"), load, city.timezone)
    pairs = pairs.filter(pl.col("actual").is_not_null())
    if pairs.is_empty():
        return nothing
    scores = score_pairs(pairs, forecasting_city(city))
    head = "weather" if (pairs["weather"] == "forecast").any() else "plain"
    held_out = version.training_facts.get(head, {}).get("held_out", {})
    return {
        "mape": scores["mape"],
        "held_out_mape": held_out.get("mape"),
        "coverage": scores["coverage_90"],
        "hours": pairs["timestamp"].n_unique(),
    }
