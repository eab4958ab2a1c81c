"""Rows of readings as frames."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from psycopg.rows import dict_row

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries
from energy_forecast.tables import UTC_TIME, Schema, quantile_column

# PostgreSQL sends an array as a head and, for each element, its length and its bytes
_HEAD = 20
_ELEMENTS = {
    "float8": np.dtype([("length", ">i4"), ("value", ">f8")]),
    "float4": np.dtype([("length", ">i4"), ("value", ">f4")]),
}


def rows_of(connection: Connection, query: str, parameters: Mapping[str, Any], schema: Schema) -> pl.DataFrame:
    """Return the rows of a query whose columns are those of the schema, in its order."""
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries("readings")[query], parameters).fetchall()
    return pl.DataFrame(rows, schema=schema, orient="row")


def dicts_of(connection: Connection, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a query as dictionaries."""
    with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        return cursor.execute(queries("readings")[query], parameters).fetchall()


def framed(rows: Sequence[Mapping[str, Any]], schema: Schema) -> pl.DataFrame:
    """Return some columns of rows: ids and JSON as text, decimals as floats."""
    values = {name: [_plain(row[name], kind) for row in rows] for name, kind in schema.items()}
    return pl.DataFrame(values, schema=schema)


def _plain(value: Any, kind: Any) -> Any:
    if value is None:
        return None
    if kind == pl.String and not isinstance(value, str):
        return str(value) if isinstance(value, UUID) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return float(value) if kind == pl.Float64 else value


def array(sent: bytes, kind: str) -> np.ndarray[Any, Any]:
    """Return the values of an array that a query returned by array_send: float8 or float4."""
    return np.frombuffer(sent, _ELEMENTS[kind], offset=_HEAD)["value"].astype(np.float64)


def vintage_frame(rows: Sequence[Mapping[str, Any]], levels: Sequence[float]) -> pl.DataFrame:
    """Return forecasts with the same quantile levels as one frame, in their order.

    Args:
        rows: city, first_timestamp, interval_minutes, and predicted and quantiles as bytes of array_send.

    Returns:
        city, timestamp, interval_end (UTC), predicted and a column for each quantile level, kWh.
    """
    epoch = datetime(1970, 1, 1, tzinfo=rows[0]["first_timestamp"].tzinfo)
    values = [array(row["predicted"], "float8") for row in rows]
    counts = np.array([len(one) for one in values])
    minutes = np.repeat([row["interval_minutes"] * 60_000_000 for row in rows], counts)
    firsts = np.repeat([(row["first_timestamp"] - epoch) // timedelta(microseconds=1) for row in rows], counts)
    places = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    starts = firsts + places * minutes
    quantiles = np.concatenate([array(row["quantiles"], "float4").reshape(-1, len(levels)) for row in rows])
    columns = {
        "city": pl.Series([row["city"] for row in rows], dtype=pl.String)[np.repeat(np.arange(len(rows)), counts)],
        "timestamp": pl.Series(starts).cast(UTC_TIME),
        "interval_end": pl.Series(starts + minutes).cast(UTC_TIME),
        "predicted": np.concatenate(values),
        **{quantile_column(level): quantiles[:, place] for place, level in enumerate(levels)},
    }
    return pl.DataFrame(columns)
