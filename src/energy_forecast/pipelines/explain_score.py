"""Explain a score: list its pairs of forecast and actual, and recompute it from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl

from energy_forecast.database import scores as stored_scores
from energy_forecast.database.cities import StoredCity, all_cities, city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError, UnknownScoreError
from energy_forecast.forecasting.explain.weather_share import ErrorParts, error_parts
from energy_forecast.pipelines.as_of import actual_load, forecasting_city
from energy_forecast.pipelines.issue_times import issue_times
from energy_forecast.pipelines.pairs import matured, score_pairs
from energy_forecast.pipelines.weather_share import with_weather_share
from energy_forecast.progress import Progress, silent

# The recomputed columns: every number of a row, and the digest of its pairs
RECOMPUTED = (
    "pair_count",
    "pair_digest",
    "mape",
    "mae_kwh",
    "rmse_kwh",
    "r2_score",
    "pinball_kwh",
    "coverage_90",
    "width_90_kwh",
    "skill_naive_168",
    "by_hour",
)

# Number of hours with the largest errors that are shown
WORST = 10
# The columns that do not depend on the location of the city
_COMPARED = ("pair_count", "mape", "mae_kwh", "rmse_kwh", "pinball_kwh", "coverage_90", "width_90_kwh")


@dataclass(frozen=True)
class WrongScore:
    """A stored score that differs from the recomputed one.

    column: the first column that differs.
    stored, recomputed: its values; None if there is no value.
    """

    id: UUID
    city: str
    model: str
    column: str
    stored: float | None
    recomputed: float | None

    def __str__(self) -> str:
        return (
            f"The score of {self.model} for {self.city} has {self.column} = {_number(self.stored)}, but its forecasts "
            f"and the load give {_number(self.recomputed)}"
        )


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:,.6g}"


@dataclass(frozen=True)
class ScoreExplanation:
    """A stored score and the same score recomputed.

    pairs: issued_at, timestamp, actual, predicted, q05 .. q95, reference (naive-168), kWh in the hour; by time.
    worst: the pairs with the largest errors, the largest first, with weather_kwh and weather_percent: the part of the
        weather forecast's error in theirs; null if unknown.
    differing: the columns that differ; empty if all digits agree.
    """

    stored: dict[str, Any]
    recomputed: dict[str, Any]
    pairs: pl.DataFrame
    worst: pl.DataFrame
    differing: list[str]

    @property
    def weather_share(self) -> ErrorParts | None:
        """Return the error of the worst hours and its parts; None if they are unknown."""
        return error_parts(self.worst)


def explain_score(
    database: Database,
    *,
    id: UUID | None = None,
    city: str | None = None,
    model: str | None = None,
    purpose: str | None = None,
    month: str | None = None,
    lead_start: int | None = None,
) -> ScoreExplanation:
    """Find a score and its pairs, and recompute it with the actuals that were known at that time.

    Args:
        id, city, model, purpose, month, lead_start: as in `database.scores.find_scores`; the newest match is used.

    Raises:
        UnknownCityError: no city has this name.
        UnknownScoreError: no score matches.
        NotEnoughDataError: retention removed the forecasts, or some of them.
        EnergyForecastError: the forecasts no longer exist, and no removal is recorded.
        DatabaseError: the database refused the request.
    """
    with database.transaction(Role.FORECASTER) as connection:
        found = stored_scores.find_scores(
            connection, id=id, city=city, model=model, purpose=purpose, month=month, lead_start=lead_start, limit=1
        )
        if not found:
            if city is not None:
                city_named(connection, city)
            raise UnknownScoreError(
                "No stored score matches.", hint="Omit conditions, or score the forecasts first: energy-forecast score"
            )
        stored = found[0]
        place = city_named(connection, stored["city"])
        pairs = pairs_of(connection, place, stored)
        removed = _removed(connection, stored) if pairs.height < stored["pair_count"] else None
        if removed is not None:
            issued_in, at = removed
            raise NotEnoughDataError(
                f"{stored['pair_count'] - pairs.height:,} of the {stored['pair_count']:,} forecasts behind this score "
                f"are not stored any more: retention removed those issued in {issued_in:%Y-%m} on {at:%Y-%m-%d}.",
                hint="See: energy-forecast retention ledger. The score stays as it was recorded.",
            )
        if pairs.is_empty():
            raise EnergyForecastError("The forecasts behind this score are no longer stored.")
        largest = pairs[(pairs["actual"] - pairs["predicted"]).abs().arg_sort(descending=True)[:WORST]]
        worst = with_weather_share(connection, place, stored, largest, database_now(connection))
    recomputed = score_pairs(pairs, forecasting_city(place))
    differing = [name for name in RECOMPUTED if _bytes(stored[name]) != _bytes(recomputed[name])]
    unused = ("purpose", "weather")
    return ScoreExplanation(stored, recomputed, pairs.drop(unused).sort("timestamp"), worst.drop(unused), differing)


def wrong_scores(database: Database, *, progress: Progress = silent) -> list[WrongScore]:
    """Recompute the scores of live forecasts that readers use first, and return those with other values.

    The forecaster's role may insert a score with any values. Scores whose load or forecasts were removed cannot be
    recomputed and are left out.

    Raises:
        DatabaseError: the database refused the request.
    """
    wrong = []
    with database.transaction(Role.FORECASTER) as connection:
        counting = stored_scores.scores_that_count(connection)
        places = {city.id: city for city in all_cities(connection)}
        for number, stored in enumerate(counting):
            progress(f"Recomputing scores of {stored['city']}", number, len(counting))
            place = places[stored["city_id"]]
            pairs = pairs_of(connection, place, stored)
            if pairs.height < stored["pair_count"] and (
                _removed(connection, stored) is not None or _has_lost_load(connection, place, stored)
            ):
                continue
            recomputed = score_pairs(pairs, forecasting_city(place)) if not pairs.is_empty() else {"pair_count": 0}
            column = next((name for name in _COMPARED if not _agree(stored[name], recomputed.get(name))), None)
            if column is not None:
                wrong.append(
                    WrongScore(
                        stored["id"], stored["city"], stored["model"], column, stored[column], recomputed.get(column)
                    )
                )
    return wrong


def _agree(stored: float | None, recomputed: float | None) -> bool:
    if stored is None or recomputed is None:
        return stored is recomputed
    # Sums differ in the last digits from processor to processor
    return math.isclose(stored, recomputed, rel_tol=1e-6, abs_tol=1e-6)


def _removed(connection: Connection, stored: dict[str, Any]) -> tuple[datetime, datetime] | None:
    """Return the month of the forecasts of a score that retention removed, and the time of the removal."""
    first = stored["period_start"] - timedelta(hours=stored["lead_end_hours"])
    return stored_scores.removed_vintages(connection, first=first, end=stored["period_end"])


def _has_lost_load(connection: Connection, city: StoredCity, stored: dict[str, Any]) -> bool:
    """Return whether the city has no load at the start of the score's period."""
    first = stored["period_start"]
    load = actual_load(connection, city, as_of=stored["actuals_as_of"], first=first, end=first + timedelta(hours=1))
    return load.is_empty()


def _bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview | bytes) else value


def pairs_of(connection: Connection, city: StoredCity, stored: dict[str, Any]) -> pl.DataFrame:
    """Return the pairs of a stored score, as in `ScoreExplanation`, with the actuals that were known at its time."""
    issues = None
    if stored["issued_at_local"] is not None:
        end = stored["issued_until"] + timedelta(microseconds=1)
        every = stored["issued_every"]
        issues = issue_times(stored["issued_from"], end, every, at_local=stored["issued_at_local"], zone=city.timezone)
    issued = stored_scores.scored_forecasts(connection, stored, issues)
    load = actual_load(
        connection,
        city,
        as_of=stored["actuals_as_of"],
        first=stored["period_start"] - timedelta(days=8),
        end=stored["period_end"] + timedelta(hours=1),
        # A late value without available_at counts as available from the end of its interval
        recorded_by=stored["created_at"],
    )
    return matured(issued, load, city.timezone)
