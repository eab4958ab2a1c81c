"""Retraining: find the cities that the policy requires to train again, and train them."""

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
from energy_forecast.forecasting.models.weather_fallback import FORECAST_WEATHER, WITHOUT_WEATHER
from energy_forecast.pipelines.as_of import actual_load, forecasting_city
from energy_forecast.pipelines.fallback import DEFAULT_MODEL
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.pairs import matured, score_pairs
from energy_forecast.pipelines.train import TrainingReport, train
from energy_forecast.progress import Progress, silent

# Unit and allowed range of the threshold of each reason, as in the check constraint of the database
THRESHOLDS = {
    "age": ("days", 1, 3650),
    "drift": ("times the held-out MAPE", 1, 100),
    "coverage": ("of the hours inside", 0, 1),
}
# Held-out scores cover lead times of the first day
_LEAD = timedelta(hours=24)
# Three days: fewer hours are not evidence of a change
_FEWEST_HOURS = 72


@dataclass(frozen=True)
class RetrainingStatus:
    """Status of the newest version of the active model of a city.

    Unknown values are None.

    reasons: why the model is due for retraining; empty if it is not.
    mape, held_out_mape: percent, of day-ahead forecasts in the window of the policy `drift`, and on held-out data.
    coverage: share of the hours in the window of the policy `coverage` inside the 90 % interval.
    hours: number of hours in the last window that was judged.
    fault: why the status could not be determined.
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
    """Result of `train_due`: the status of each city before, and the training reports."""

    statuses: list[RetrainingStatus]
    reports: list[TrainingReport] = field(default_factory=list)


def policies(database: Database) -> list[dict[str, Any]]:
    """Return the policies: reason, threshold (None for never), window_days, note, and the last change."""
    with database.transaction(Role.FORECASTER) as connection:
        return stored_models.retraining_policies(connection)


def set_policy(database: Database, reason: str, threshold: float | None) -> dict[str, Any]:
    """Set the threshold for retraining for a reason; None for never. Return the changed policy.

    Raises:
        EnergyForecastError: the reason is unknown, or the threshold is out of range.
    """
    if reason in THRESHOLDS and threshold is not None:
        unit, least, most = THRESHOLDS[reason]
        if not least <= threshold <= most:
            raise EnergyForecastError(
                f"The threshold of {reason} must be between {least} and {most:,} {unit}, and not {threshold:g}.",
                hint='To switch it off, use "never".',
            )
    with database.transaction(Role.OPERATOR) as connection:
        changed = stored_models.set_retraining_policy(connection, reason, threshold)
    if changed is None:
        raise EnergyForecastError(f"{reason!r} is not a reason to retrain.", hint="Reasons: age, drift, coverage.")
    return changed


def retraining_status(database: Database, *, cities: Sequence[str] = ()) -> list[RetrainingStatus]:
    """Return the status of the model of each city against the policy.

    The status is that of the newest version of the champion's model (without a champion, of the ensemble). After a
    retraining the city is no longer due, even if the champion is still an older version.

    Raises:
        UnknownCityError: a name is unknown.
    """
    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection)
        policy = {row["reason"]: row for row in stored_models.retraining_policies(connection)}
        found = []
        for city in cities_named(connection, cities):
            one = attempt(f"Assess the model of {city.name}", partial(_city_status, connection, city, policy, now))
            if isinstance(one, Failed):
                one = RetrainingStatus(city.name, "", None, None, None, [], fault=one.reason)
            found.append(one)
        return found


def train_due(
    database: Database, *, cities: Sequence[str] = (), processes: int = 1, progress: Progress = silent
) -> Retraining:
    """Train the active model of each city that is due. A champion stays active until another is promoted.

    Raises:
        UnknownCityError: a name is unknown.
        DatabaseError: the database refused the request.
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
        reasons.append(f"age: training data ends {age:.0f} days ago, more than {oldest:g}")
    facts: dict[str, Any] = {}
    for reason in ("drift", "coverage"):
        limit = policy[reason]["threshold"]
        if limit is None:
            continue
        recent = _recent_scores(connection, city, newest, now - timedelta(days=policy[reason]["window_days"]), now)
        # The windows of the two policies can differ: the MAPE is of the first one
        facts = recent | {name: facts[name] for name in ("mape", "held_out_mape") if name in facts}
        if recent["hours"] < _FEWEST_HOURS:
            continue
        expected = recent["held_out_mape"]
        if reason == "drift" and expected and recent["mape"] is not None and recent["mape"] > limit * expected:
            reasons.append(f"drift: MAPE {recent['mape']:.2f} % recently, {expected:.2f} % on held-out data")
        if reason == "coverage" and recent["coverage"] < limit:
            reasons.append(
                f"coverage: {recent['coverage']:.0%} of the hours inside the 90 % interval, below {limit:.0%}"
            )
    return RetrainingStatus(city.name, model, newest.version, newest.trained_until, age, reasons, **facts)


def _recent_scores(
    connection: Connection, city: StoredCity, version: StoredArtifact, first: datetime, now: datetime
) -> dict[str, Any]:
    """Return the scores of day-ahead forecasts of a version for the hours from `first` on, and on held-out data."""
    nothing = {"mape": None, "held_out_mape": None, "coverage": None, "hours": 0}
    issued = stored_forecasts.to_score(connection, city=city.id, first=first, end=now).filter(
        pl.col("model_id") == str(version.id), pl.col("timestamp") - pl.col("issued_at") < _LEAD
    )
    if issued.is_empty():
        return nothing
    load = actual_load(connection, city, as_of=now, first=first - timedelta(days=8), end=now)
    pairs = of_one_kind(matured(issued, load, city.timezone))
    if pairs.is_empty():
        return nothing
    scores = score_pairs(pairs, forecasting_city(city))
    variant = WITHOUT_WEATHER if pairs["weather"][0] == "none" else FORECAST_WEATHER
    held_out = version.training_facts.get(variant, {}).get("held_out", {})
    return {
        "mape": scores["mape"],
        "held_out_mape": held_out.get("mape"),
        "coverage": scores["coverage_90"],
        "hours": pairs["timestamp"].n_unique(),
    }


def of_one_kind(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the live pairs, or the replayed ones if there are none, with the weather that most of them used."""
    for kind in (pl.col("purpose") == "live", pl.col("weather") == pl.col("weather").mode().sort().first()):
        pairs = pairs.filter(kind) if pairs.select(kind.any()).item() else pairs
    return pairs
