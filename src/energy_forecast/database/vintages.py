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
    parameters = {
        "city": city,
        "first": first,
        "end": end,
        "as_of": as_of,
        "levels": list(levels),
        "models": None if models is None else list(models),
        "purpose": purpose,
        "weather": weather,
        "assumptions": None if assumptions is None else Jsonb(assumptions),
    }
    with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        rows = cursor.execute(queries("vintages")["scorable_vintages"], parameters).fetchall()
    columns = ["predicted", *(quantile_column(level) for level in levels)]
    if not rows:
        kinds = {name: kind for name, kind in _RUN.items() if name != "counts_from"}
        return pl.DataFrame(schema={**kinds, "timestamp": UTC_TIME, **dict.fromkeys(columns, pl.Float64)})
    for place, row in enumerate(rows):
        row["city"] = str(place)
        row["assumptions"] = json.dumps(row["assumptions"], sort_keys=True)
    values = vintage_frame(rows, levels)
    runs = pl.DataFrame([{name: row[name] for name in _RUN} for row in rows], schema=_RUN)
    # The column of the city holds the place of the run
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
