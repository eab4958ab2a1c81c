"""Readings of models and runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import polars as pl

from energy_forecast.database.cities import cities_named
from energy_forecast.database.connection import Connection
from energy_forecast.database.models import list_models
from energy_forecast.database.readings import dicts_of, framed
from energy_forecast.errors import NotFoundError
from energy_forecast.readings.cursors import cursor_of, position_of
from energy_forecast.readings.forecasts import Purpose
from energy_forecast.tables import UTC_TIME, Schema, Table

MODELS: Schema = {
    **dict.fromkeys(("model", "version", "type"), pl.String),
    "is_active": pl.Boolean,
    "trained_at": UTC_TIME,
    "trained_until": UTC_TIME,
    "cities": pl.List(pl.String),
    **dict.fromkeys(("mape", "mae_kwh", "rmse_kwh", "r2_score"), pl.Float64),
}
RUNS: Schema = {
    "run_id": pl.String,
    "issued_at": UTC_TIME,
    "recorded_at": UTC_TIME,
    **dict.fromkeys(("model", "version", "purpose", "weather"), pl.String),
    "horizon_hours": pl.Float64,
    "interval_minutes": pl.Int32,
    "status": pl.String,
    "started_at": UTC_TIME,
    "finished_at": UTC_TIME,
}
OUTCOMES: Schema = {
    "run_id": pl.String,
    "city": pl.String,
    "issued_at": UTC_TIME,
    "recorded_at": UTC_TIME,
    **dict.fromkeys(("model", "version", "purpose", "weather"), pl.String),
    "has_failed": pl.Boolean,
    "fallback_level": pl.Int32,
    "notes": pl.List(pl.String),
    "first": UTC_TIME,
    "end": UTC_TIME,
    "started_at": UTC_TIME,
    "finished_at": UTC_TIME,
}
RUN: Schema = {
    "city": pl.String,
    "first": UTC_TIME,
    "end": UTC_TIME,
    "fallback_level": pl.Int32,
    "notes": pl.List(pl.String),
}


def models(connection: Connection) -> Table:
    """Return the model versions that were trained for a city of the reader, the newest of each model first.

    `cities` are those of the reader. The scores are of the last evaluation on held-out data. It is a mean over all
    cities of the version, so it is null if the reader may not see each of them.
    """
    names = {"name": "model", "mae": "mae_kwh", "rmse": "rmse_kwh"}
    rows = [{names.get(name, name): value for name, value in row.items()} for row in list_models(connection)]
    return Table(framed(rows, MODELS))


def runs(
    connection: Connection,
    *,
    purpose: Purpose | None = None,
    model: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Table:
    """Return the runs that forecast a city of the reader, the last recorded first.

    If there are more rows than `limit`, the fact `next` is the cursor of the following ones; otherwise it is null.

    Raises:
        EnergyForecastError: the cursor is not one of this list.
    """
    before, before_run = position_of(cursor, datetime.fromisoformat, UUID) if cursor is not None else (None, None)
    parameters = {"purpose": purpose, "model": model, "before": before, "before_run": before_run, "limit": limit + 1}
    rows = dicts_of(connection, "runs", parameters)
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else cursor_of(last["recorded_at"].isoformat(), last["run_id"])
    return Table(framed(rows[:limit], RUNS), {"next": following})


def run_outcomes(
    connection: Connection,
    *,
    cities: Sequence[str] | None = None,
    purpose: Purpose | None = None,
    model: str | None = None,
    limit: int = 100,
) -> Table:
    """Return the cities of the last runs, also those that failed, with fallback level and notes; the newest run first.

    `limit` counts runs. A failed city has no `first` and `end`, and its notes are the reason. A run that forecast no
    city of the reader is left out.

    Raises:
        UnknownCityError: the reader sees no city of a name.
    """
    chosen = [city.id for city in cities_named(connection, cities or ())]
    parameters = {"cities": chosen, "purpose": purpose, "model": model, "limit": limit}
    return Table(framed(dicts_of(connection, "run_outcomes", parameters), OUTCOMES))


def run(connection: Connection, *, run: UUID) -> Table:
    """Return the cities of a run that the reader may see, with the fallback level and notes of each.

    The facts describe the run.

    Raises:
        NotFoundError: the run forecast no city of the reader.
    """
    found = dicts_of(connection, "run", {"run": run})
    if not found:
        raise NotFoundError(f"The run {run} was not found.", hint="`runs` lists them.")
    rows = dicts_of(connection, "run_cities", {"run": run, "issued_at": found[0]["issued_at"]})
    return Table(framed(rows, RUN), found[0])
