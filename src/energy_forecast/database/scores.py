"""Scores and evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection
from energy_forecast.database.forecasts import ISSUED
from energy_forecast.database.named_queries import dict_rows, queries


def add_scores(connection: Connection, scores: Sequence[dict[str, Any]]) -> int:
    """Add rows to forecast_scores, those of a backtest with their issue times. Existing pairs are not changed.

    Returns:
        The number of new rows.
    """
    issues = dict.fromkeys(("issued_from", "issued_until", "issued_every", "issued_at_local", "horizon"))
    return sum(
        connection.execute(
            queries("scores")["add_score"], issues | score | {"by_hour": Jsonb(score["by_hour"])}
        ).rowcount
        for score in scores
    )


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
    parameters = score | {"issues": None if issues is None else list(issues)}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries("scores")["scored_forecasts"], parameters).fetchall()
    return pl.DataFrame(rows, schema=ISSUED, orient="row")


def issued_by(
    connection: Connection,
    *,
    city: UUID,
    models: Sequence[str],
    purpose: str,
    weather: str | None = None,
    first: datetime | None = None,
    end: datetime | None = None,
) -> pl.DataFrame:
    """Return the forecasts of models for a city: model, version, issued_at, timestamp, predicted and quantiles, kWh.

    Args:
        purpose: live, replay or backtest.
        weather: kind of weather used; None for any.
        first, end: bounds of the issue times.
    """
    parameters = {
        "city": city,
        "models": list(models),
        "purpose": purpose,
        "weather": weather,
        "first": first,
        "end": end,
    }
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries("scores")["issued_by"], parameters).fetchall()
    schema = {"model": pl.String, "version": pl.String} | {
        name: ISSUED[name] for name in ("issued_at", "timestamp", "predicted", "quantiles")
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
