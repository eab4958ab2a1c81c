"""Score forecasts against observed load."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from energy_forecast.database import scores as stored_scores
from energy_forecast.database.cities import StoredCity, all_cities, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.forecasts import LARGEST_KWH
from energy_forecast.database.models import version_names
from energy_forecast.database.scores import HoursToScore
from energy_forecast.event_log import log_run
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.parallel import Step, each
from energy_forecast.pipelines.score_city import CityScores, score_city, sums_kept_from
from energy_forecast.progress import Progress, Steps, silent

# Cities of one item of work, which share a transaction
_TOGETHER = 20
# Cities whose scores are stored in one transaction, and averaged in one evaluation: the memory is bounded, and a
# command that is stopped keeps the scores before
_STORED_TOGETHER = 1000


@dataclass(frozen=True, repr=False)
class ScoreReport:
    """Result of scoring.

    scores: the changed rows, as in forecast_scores, with city, model, version and `month`, the local month as YYYY-MM.
    new: number of rows that were added.
    hours: number of hours with new or changed pairs.
    scored_cities: number of cities with hours to score.
    unchanged_cities: number of the other cities.
    left_out: by city, the number of these hours whose actual is faulty; they count in no score.
    failed: the reason by city.
    """

    as_of: datetime
    scores: list[dict[str, Any]]
    new: int
    hours: int
    scored_cities: int
    unchanged_cities: int
    left_out: dict[str, int]
    failed: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the counts, and the failed cities one a line."""
        counts = f"{self.new:,} of {len(self.scores):,} new, {self.hours:,} hours of {self.scored_cities:,} cities"
        return "\n".join([f"<Report of scores: {counts}>", *(f"{city}: {why}" for city, why in self.failed.items())])


def evaluation(model_id: object, parts: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """Return a row of model_metrics: the unweighted mean of scores of one model version."""

    def mean(name: str) -> float | None:
        values = [part[name] for part in parts if part[name] is not None]
        return float(np.mean(values)) if values else None

    def within(value: float | None, limit: float) -> float | None:
        return value if value is not None and abs(value) <= limit else None

    # DECIMAL(8,4) and DECIMAL(12,2): a value that does not fit has no meaning as a score
    of_shares, of_energies = 9_999.9999, LARGEST_KWH
    return {
        "model_id": model_id,
        "mape": within(mean("mape"), of_shares),
        "rmse": within(mean("rmse_kwh"), of_energies),
        "mae": within(mean("mae_kwh"), of_energies),
        "r2_score": within(mean("r2_score"), of_shares),
        "detailed_metrics": settings
        | {
            "purpose": parts[0]["purpose"],
            "weather": parts[0]["weather"],
            "cities": len({part["city_id"] for part in parts}),
            "pairs": sum(part["pair_count"] for part in parts),
            "period_start": min(part["period_start"] for part in parts).isoformat(),
            "period_end": max(part["period_end"] for part in parts).isoformat(),
            "pinball_kwh": mean("pinball_kwh"),
            "coverage_90": mean("coverage_90"),
            "skill_naive_168": mean("skill_naive_168"),
        },
    }


@dataclass(frozen=True)
class _Work:
    """The hours to score of one city."""

    city: StoredCity
    changes: list[HoursToScore]


@dataclass(frozen=True)
class _Scoring:
    """The inputs of `score` that all cities share."""

    database: Database
    now: datetime
    removed_until: datetime | None

    def score_cities(self, works: Sequence[_Work], step: Step) -> list[CityScores | Failed]:
        """Return the changed scores of each city, or why it could not be scored."""
        found = []
        with self.database.transaction(Role.FORECASTER) as connection:
            for work in works:
                name = work.city.name
                found.append(attempt(f"Score the forecasts of {name}", partial(self._score, connection, work)))
                step(f"Scored {name}")
        return found

    def _score(self, connection: Connection, work: _Work) -> CityScores:
        with savepoint(connection):
            return score_city(connection, work.city, work.changes, now=self.now, removed_until=self.removed_until)

    def store(self, scored: Sequence[CityScores], failed: dict[str, str]) -> list[dict[str, Any]]:
        """Store the scores of cities with their mean, and return the new rows. Failures are added to `failed`."""
        new: list[dict[str, Any]] = []
        if not scored:
            return new
        with self.database.transaction(Role.FORECASTER) as connection:
            names = version_names(connection)
            for row in (row for one in scored for month in one.months for row in month.rows):
                row["model"], row["version"] = names[row["model_id"]]
            for one in scored:
                added = attempt(f"Store the scores of {one.city.name}", partial(self._store, connection, one))
                if isinstance(added, Failed):
                    failed[one.city.name] = added.reason
                else:
                    new += added
            # Live forecasts are never averaged with later ones, nor forecasts with different weather sources
            alike: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
            for row in new:
                alike[row["model_id"], row["purpose"], row["weather"]].append(row)
            for (model_id, _, _), rows in alike.items():
                stored_scores.add_metrics(connection, evaluation(model_id, rows, {}))
        return new

    def _store(self, connection: Connection, scores: CityScores) -> list[dict[str, Any]]:
        """Store the scores of a city and return the new rows; none if another process scored it meanwhile."""
        new = []
        with savepoint(connection), suppress(_ScoredMeanwhileError), connection.transaction():
            if not stored_scores.finish_hours(connection, scores.finished, self.now):
                raise _ScoredMeanwhileError
            stored_scores.store_days(
                connection, scores.city.id, scores.days, replace=scores.replace, kept_from=sums_kept_from(self.now)
            )
            for month in scores.months:
                new += [row for row in month.rows if stored_scores.add_scores(connection, [row], month.period)]
        return new


class _ScoredMeanwhileError(Exception):
    """Another process scored the same hours of a city first, so nothing of this one may be stored."""


@log_run(
    "score",
    lambda report: {
        "scores": len(report.scores),
        "new": report.new,
        "hours": report.hours,
        "failed": len(report.failed),
    },
    failed=lambda report: report.failed,
)
def score(
    database: Database,
    *,
    cities: Sequence[str] = (),
    everything: bool = False,
    processes: int = 1,
    progress: Progress = silent,
) -> ScoreReport:
    """Score the forecasts whose hours have a new or changed actual. Stored scores do not change.

    forecast_scores gets one row for each changed city, model version, weather, local month and lead time bucket, with
    the same scores by weekday type and local hour. model_metrics gets one row for each model version, purpose and
    weather with a new score. A failure in one city does not affect the others: see isolation.attempt. Its hours are
    scored by the next call.

    Args:
        cities: names; all if empty.
        everything: score all forecasts of all cities again; only scores that differ are added.
        processes: number of processes to use; see parallel.each. The scores do not depend on it.

    Raises:
        UnknownCityError: a name is unknown.
        DatabaseError: the database refused the request.
    """
    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection)
        chosen = cities_named(connection, cities) if cities else all_cities(connection)
        waiting = stored_scores.hours_to_score(connection, everything=everything)
        scoring = _Scoring(database, now, stored_scores.removed_until(connection))
    works = [_Work(city, waiting[city.id]) for city in chosen if city.id in waiting]
    parts = [works[at : at + _TOGETHER] for at in range(0, len(works), _TOGETHER)]
    report_steps = Steps(progress, "Scoring", len(works))
    scored: list[CityScores] = []
    done: list[CityScores] = []
    new: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    with closing(
        each(scoring.score_cities, parts, name=_names, processes=min(processes, len(parts)), steps=report_steps)
    ) as results:
        for part, found in zip(parts, results, strict=True):
            for work, one in zip(part, [found] * len(part) if isinstance(found, Failed) else found, strict=True):
                if isinstance(one, Failed):
                    failed[work.city.name] = one.reason
                else:
                    scored.append(one)
            if len(scored) >= _STORED_TOGETHER:
                new += scoring.store(scored, failed)
                done, scored = done + scored, []
    new += scoring.store(scored, failed)
    done = [one for one in done + scored if one.city.name not in failed]
    return ScoreReport(
        as_of=now,
        scores=[row for one in done for month in one.months for row in month.rows],
        new=len(new),
        hours=sum(one.hours for one in done),
        scored_cities=len(works),
        unchanged_cities=len(chosen) - len(works),
        left_out={one.city.name: one.left_out for one in done if one.left_out},
        failed=failed,
    )


def _names(works: Sequence[_Work]) -> str:
    return "Score the forecasts of " + ", ".join(work.city.name for work in works)


def scores_to_show(database: Database, cities: Sequence[str]) -> list[dict[str, Any]]:
    """Return the newest scores of cities to show with a forecast: rows of forecast_scores with their `purpose`.

    For each city these are the scores of live forecasts, or of replays if there are none, and the scores of backtests
    over all lead times.
    """
    with database.transaction(Role.FORECASTER) as connection:
        found = {
            purpose: stored_scores.latest_scores(connection, purpose=purpose, cities=cities)
            for purpose in ("live", "replay", "backtest")
        }
    return worth_showing(found)


def worth_showing(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Select from the newest scores of each purpose; see scores_to_show."""
    in_time = {row["city"] for row in found["live"]}
    shown = [
        row | {"purpose": purpose}
        for purpose, rows in found.items()
        for row in rows
        if purpose != "replay" or row["city"] not in in_time
    ]
    longest: dict[tuple[Any, ...], int] = defaultdict(int)
    for row in shown:
        key = row["city"], row["model"], row["weather"]
        if row["purpose"] == "backtest" and row["lead_start_hours"] == 0:
            longest[key] = max(longest[key], row["lead_end_hours"])
    return [
        row
        for row in shown
        if row["purpose"] != "backtest"
        or (row["lead_start_hours"], row["lead_end_hours"]) == (0, longest[row["city"], row["model"], row["weather"]])
    ]
