"""Scores and evaluations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection
from energy_forecast.database.forecasts import ISSUED
from energy_forecast.database.named_queries import dict_rows, object_rows, one_row, queries
from energy_forecast.database.wire import Array, decode

_UNIX = date(1970, 1, 1)
# Sums that are no longer kept are looked for in this span
_FORGOTTEN_DAYS = 62


@dataclass(frozen=True)
class HoursToScore:
    """A range of hours of a city whose load or forecasts changed since they were scored.

    first_hour, last_hour: START of the first and the last interval; None: all hours of the city.
    has_new_forecasts: whether forecasts of these hours were added; otherwise the load changed.
    """

    id: int
    city_id: UUID
    first_hour: datetime | None
    last_hour: datetime | None
    has_new_forecasts: bool


@dataclass(frozen=True)
class ScoredDays:
    """The stored state of scored days.

    days: [n], UTC days since 1970, ascending.
    phases: [n], minutes past the UTC hour at which the hours begin.
    has_sums: [n], whether the sums of the day are stored.
    actuals: [n, 24, 2], actual (NaN: unknown, infinity: faulty) and naive-168 (NaN: unknown), kWh.
    """

    days: Array
    phases: Array
    has_sums: Array
    actuals: Array


@dataclass(frozen=True)
class ScoredDay:
    """The state of a scored day to store: see `ScoredDays`; None: its sums are not kept."""

    day: int
    phase: int
    actuals: bytes
    sums: bytes | None


def add_scores(
    connection: Connection, scores: Sequence[dict[str, Any]], period: tuple[datetime, datetime] | None = None
) -> int:
    """Add rows to forecast_scores, those of a backtest with their issue times and assumptions.

    Existing pairs are not added again.

    Args:
        period: start and end of the local month of the scores; None for a backtest, which is compared by its period.

    Returns:
        The number of new rows.
    """
    issues = dict.fromkeys(("issued_from", "issued_until", "issued_every", "issued_at_local", "horizon"))
    added = 0
    for score in scores:
        start, end = period or (score["period_start"], score["period_end"])
        facts = {"by_hour": Jsonb(score["by_hour"]), "assumptions": Jsonb(score.get("assumptions", {}))}
        parameters = issues | score | facts | {"month_start": start, "month_end": end}
        added += connection.execute(queries("scores")["add_score"], parameters).rowcount
    return added


def add_metrics(connection: Connection, metrics: dict[str, Any]) -> None:
    """Add an evaluation of a model version to model_metrics."""
    connection.execute(
        queries("scores")["add_metrics"], metrics | {"detailed_metrics": Jsonb(metrics["detailed_metrics"])}
    )


def latest_scores(connection: Connection, *, purpose: str, cities: Sequence[str]) -> list[dict[str, Any]]:
    """Return the newest score of each city, model, weather and lead-time bucket."""
    return dict_rows(connection, queries("scores")["latest_scores"], {"purpose": purpose, "cities": list(cities)})


def find_scores(
    connection: Connection,
    *,
    id: UUID | None = None,
    city: str | None = None,
    model: str | None = None,
    purpose: str | None = None,
    month: str | None = None,
    lead_start: int | None = None,
    limit: int = 20,
) -> list[dict[str, Any]]:
    """Return scores with the names of their city and model, newest first; None omits a condition.

    Args:
        month: the local month, as YYYY-MM.
        lead_start: start of the lead-time bucket, hours.
    """
    parameters = {
        "id": id,
        "city": city,
        "model": model,
        "purpose": purpose,
        "month": month,
        "lead_start": lead_start,
        "limit": limit,
    }
    return dict_rows(connection, queries("scores")["find_scores"], parameters)


def scores_that_count(connection: Connection) -> list[dict[str, Any]]:
    """Return the scores of live forecasts of the last 35 days that readers use first, by city."""
    return dict_rows(connection, queries("scores")["scores_that_count"])


def removed_vintages(connection: Connection, *, first: datetime, end: datetime) -> tuple[datetime, datetime] | None:
    """Return the last month of vintages issued in [first, end) that retention removed, and when; None if none was."""
    parameters = {"first": first, "end": end}
    return connection.execute(queries("scores")["removed_vintages"], parameters).fetchone()


def scored_forecasts(
    connection: Connection, score: dict[str, Any], issues: Sequence[datetime] | None = None
) -> pl.DataFrame:
    """Return the forecasts behind a score: purpose, weather, issued_at, timestamp, predicted and quantiles (kWh).

    Args:
        issues: the issue times of a backtest that issued at a local time.
    """
    parameters = score | {
        "issues": None if issues is None else list(issues),
        "assumptions": Jsonb(score["assumptions"]),
    }
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries("scores")["scored_forecasts"], parameters).fetchall()
    return pl.DataFrame(rows, schema=ISSUED, orient="row")


def hours_to_score(connection: Connection, *, everything: bool) -> dict[UUID, list[HoursToScore]]:
    """Return the hours to score by city.

    Args:
        everything: add all hours of all cities with forecasts first.
    """
    if everything:
        connection.execute(queries("scores")["score_everything"])
    connection.execute(queries("scores")["assign_hours_to_score"])
    found: dict[UUID, list[HoursToScore]] = defaultdict(list)
    for row in object_rows(connection, HoursToScore, queries("scores")["hours_to_score"]):
        found[row.city_id].append(row)
    return found


def finish_hours(connection: Connection, ids: Sequence[int], now: datetime) -> bool:
    """Delete hours that were scored as of `now`, and return whether all of them were still there."""
    (count,) = one_row(connection, queries("scores")["finish_hours"], {"ids": list(ids), "now": now})
    return bool(count == len(ids))


def removed_until(connection: Connection) -> datetime | None:
    """Return the end of the last month whose load or forecasts retention removed; None if it removed none."""
    (end,) = one_row(connection, queries("scores")["removed_until"])
    assert end is None or isinstance(end, datetime)
    return end


def first_issue(connection: Connection, city: UUID) -> datetime | None:
    """Return the first issue time of the forecasts of a city; None if it has none."""
    (first,) = one_row(connection, queries("scores")["first_issue"], {"city": city})
    assert first is None or isinstance(first, datetime)
    return first


def scored_days(connection: Connection, city: UUID, first: int, last: int) -> ScoredDays:
    """Return the scored days from `first` to `last` (UTC days since 1970), and the last one of the city."""
    with connection.cursor(binary=True) as cursor:
        parameters = {"city": city, "first": _date(first), "last": _date(last)}
        row = cursor.execute(queries("scores")["scored_days"], parameters).fetchone()
    assert row is not None
    days, phases, has_sums = (decode(part, kind) for part, kind in zip(row, ("int4", "int2", "int2"), strict=False))
    actuals = np.frombuffer(row[3] or b"", "<f8").reshape(-1, 24, 2)
    return ScoredDays(days.astype(np.int64), phases, has_sums.astype(bool), actuals)


def sums_of_days(connection: Connection, city: UUID, days: Iterable[int]) -> dict[int, bytes]:
    """Return the stored sums by day (UTC, since 1970)."""
    parameters = {"city": city, "days": [_date(day) for day in days]}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries("scores")["sums_of_days"], parameters).fetchall()
    return {(day - _UNIX).days: sums for day, sums in rows}


def store_days(connection: Connection, city: UUID, days: Sequence[ScoredDay], *, replace: bool, kept_from: int) -> None:
    """Store the state of scored days of a city.

    Args:
        replace: remove the state of all other days.
        kept_from: the first day whose sums are kept (UTC, since 1970).
    """
    if replace:
        connection.execute(queries("scores")["forget_days"], {"city": city})
    else:
        # A city that was not scored for longer keeps older sums, which are valid
        bounds = {"first": _date(kept_from - _FORGOTTEN_DAYS), "end": _date(kept_from)}
        connection.execute(queries("scores")["forget_sums"], {"city": city} | bounds)
    for day in days:
        connection.execute(
            queries("scores")["store_scored_day"],
            {"city": city, "day": _date(day.day), "phase": day.phase, "actuals": day.actuals, "sums": day.sums},
        )


def _date(day: int) -> date:
    return _UNIX + timedelta(days=int(day))
