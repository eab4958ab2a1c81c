"""Issued forecasts of a city over a span of hours, as columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries
from energy_forecast.database.readings import vintage_frame
from energy_forecast.tables import UTC_TIME, Schema, quantile_column

_RUN: Schema = {
    **dict.fromkeys(("model", "version", "purpose", "weather", "assumptions"), pl.String),
    "issued_at": UTC_TIME,
    "counts_from": UTC_TIME,
}
_ISSUED: Schema = {name: _RUN[name] for name in ("model", "version", "issued_at", "counts_from")}


def scorable_values(
    connection: Connection,
    *,
    city: UUID,
    first: datetime,
    end: datetime,
    as_of: datetime,
    levels: Sequence[float],
    models: Sequence[str] | None = None,
    purpose: str | None = None,
    weather: str | None = None,
    assumptions: dict[str, Any] | None = None,
) -> pl.DataFrame:
    """Return the forecasts of hours from `first` to before `end` that count in scores.

    Of several forecasts of one model, purpose and issue time for an hour, the last recorded one is returned.

    Args:
        as_of: live forecasts recorded by then, replays and backtests issued by then.
        levels: of the quantiles; runs with other levels are left out.
        models: names; None for all.
        purpose, weather, assumptions: of the runs; None for any. Runs of different weather or assumptions do not
            replace each other.

    Returns:
        model, version, purpose, weather, assumptions (JSON), issued_at, timestamp (UTC), predicted and the quantiles
        (kWh), in the order of model, issue and time.
    """
    given = {"models": models, "purpose": purpose, "weather": weather, "assumptions": assumptions}
    rows = _vintages(connection, city, given | {"first": first, "end": end, "as_of": as_of})
    rows = [row for row in rows if row["quantile_levels"] == list(levels)]
    columns = ["predicted", *(quantile_column(level) for level in levels)]
    if not rows:
        kinds = {name: kind for name, kind in _RUN.items() if name != "counts_from"}
        return pl.DataFrame(schema={**kinds, "timestamp": UTC_TIME, **dict.fromkeys(columns, pl.Float64)})
    for place, row in enumerate(rows):
        # The column of the city holds the place of the run
        row["city"] = str(place)
        row["assumptions"] = json.dumps(row["assumptions"], sort_keys=True)
    values = vintage_frame(rows, levels)
    runs = pl.DataFrame([{name: row[name] for name in _RUN} for row in rows], schema=_RUN)
    places = values["city"].cast(pl.UInt32)
    found = pl.concat([runs[places], values.drop("city", "interval_end")], how="horizontal").filter(
        pl.col("timestamp") >= first, pl.col("timestamp") < end, pl.col("timestamp") >= pl.col("counts_from")
    )
    key = ["model", "purpose", "weather", "assumptions", "issued_at", "timestamp"]
    return (
        found.drop("counts_from")
        .unique(key, keep="last", maintain_order=True)
        .sort("model", "issued_at", "timestamp", maintain_order=True)
    )


def issued_by(
    connection: Connection,
    *,
    city: UUID,
    models: Sequence[str],
    purpose: str,
    weather: str | None = None,
    assumptions: dict[str, Any] | None = None,
    first: datetime | None = None,
    end: datetime | None = None,
) -> pl.DataFrame:
    """Return the forecasts of models for a city: model, version, issued_at, timestamp, predicted and quantiles, kWh.

    Of several with one issue time and hour, the last recorded one is returned.

    Args:
        purpose: live, replay or backtest.
        weather: kind of weather used; None for any.
        assumptions: of the backtests; None for any.
        first, end: bounds of the issue times.
    """
    given = {"models": models, "purpose": purpose, "weather": weather, "assumptions": assumptions}
    rows = _vintages(connection, city, given | {"issued_first": first, "issued_end": end})
    schema = {name: kind for name, kind in _ISSUED.items() if name != "counts_from"}
    schema |= {"order": pl.Int64, "timestamp": UTC_TIME, "predicted": pl.Float64, "quantiles": pl.List(pl.Float64)}
    parts = [pl.DataFrame(schema=schema)]
    by_levels: dict[int, list[dict[str, Any]]] = {}
    for order, row in enumerate(rows):
        row["order"] = order
        by_levels.setdefault(len(row["quantile_levels"]), []).append(row)
    for part in by_levels.values():
        for place, row in enumerate(part):
            row["city"] = str(place)
        # Levels that the name of a column cannot hold may not occur twice
        levels = [number / 1000 for number in range(1, 1 + len(part[0]["quantile_levels"]))]
        values = vintage_frame(part, levels)
        names = ("model", "version", "issued_at", "counts_from", "order")
        runs = pl.DataFrame(
            [{name: row[name] for name in names} for row in part], schema={**_ISSUED, "order": pl.Int64}
        )
        quantiles = pl.concat_list(quantile_column(level) for level in levels).alias("quantiles")
        both = pl.concat([runs[values["city"].cast(pl.UInt32)], values.drop("city")], how="horizontal")
        parts.append(both.filter(pl.col("timestamp") >= pl.col("counts_from")).with_columns(quantiles).select(*schema))
    return (
        pl.concat(parts)
        .sort("order", maintain_order=True)
        .unique(["model", "issued_at", "timestamp"], keep="last", maintain_order=True)
        .sort("model", "issued_at", "timestamp", maintain_order=True)
        .drop("order")
    )


def _vintages(connection: Connection, city: UUID, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of scorable_vintages; a parameter that is missing omits its condition."""
    names = ("first", "end", "issued_first", "issued_end", "as_of", "models", "purpose", "weather", "assumptions")
    parameters: dict[str, Any] = {"city": city} | {name: given.get(name) for name in names}
    if parameters["models"] is not None:
        parameters["models"] = list(parameters["models"])
    if parameters["assumptions"] is not None:
        parameters["assumptions"] = Jsonb(parameters["assumptions"])
    with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        return cursor.execute(queries("vintages")["scorable_vintages"], parameters).fetchall()
