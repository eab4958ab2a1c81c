"""The reading of the present state of all cities: load, forecast and error of the last hour, and the next peak."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.readings import dicts_of, vintage_frame
from energy_forecast.tables import UTC_TIME, Schema, Table

OVERVIEW: Schema = {
    "city": pl.String,
    "timestamp": UTC_TIME,
    **dict.fromkeys(("actual", "predicted", "predicted_low", "predicted_high", "error_percent"), pl.Float64),
    **dict.fromkeys(("known_until", "issued_at"), UTC_TIME),
    **dict.fromkeys(("model", "version"), pl.String),
    "fallback_level": pl.Int32,
    "peak_at": UTC_TIME,
    **dict.fromkeys(("peak_kwh", "peak_low", "peak_high"), pl.Float64),
    "timezone": pl.String,
}
_AHEAD = timedelta(hours=24)


def overview(
    connection: Connection, *, as_of: datetime | None = None, purpose: Literal["live", "replay"] = "live"
) -> Table:
    """Return one row for each city of the reader: load, forecast and error of the last hour, and the next peak.

    `timestamp` is the last complete hour with load, and `predicted` the forecast of it that was in use at its start.
    The peak is the interval with the highest forecast of the next 24 hours; its interval is that of the load in it.
    The forecasts are live ones; with `purpose` replay, replays by their time of issue.
    Values are null for a city without load in the last three days, or without a forecast.
    """
    known_at = as_of or database_now(connection)
    rows = [_row(row, known_at) for row in dicts_of(connection, "overview", {"as_of": known_at, "purpose": purpose})]
    return Table(pl.DataFrame(rows, schema=OVERVIEW), {"as_of": known_at, "purpose": purpose})


def _row(row: Mapping[str, Any], known_at: datetime) -> dict[str, Any]:
    actual, predicted = row["consumption_kwh"], row["predicted_then"]
    found: dict[str, Any] = {
        "city": row["city"],
        "timezone": row["timezone"],
        "timestamp": row["hour"],
        "actual": actual,
        "predicted": predicted,
        "predicted_low": row["low_then"],
        "predicted_high": row["high_then"],
        "error_percent": 100 * (predicted - actual) / actual if actual and predicted is not None else None,
        "known_until": row["known_until"],
        "issued_at": row["issued_at"],
        "model": row["model"],
        "version": row["version"],
        "fallback_level": row["fallback_level"],
    }
    if row["run_id"] is None:
        return found
    frame = vintage_frame([row], row["quantile_levels"])
    ahead = frame.filter(pl.col("interval_end") > known_at, pl.col("timestamp") < known_at + _AHEAD)
    if ahead.is_empty():
        return found
    peak = ahead.sort("predicted", "timestamp", descending=[True, False]).row(0, named=True)
    return found | {
        "peak_at": peak["timestamp"],
        "peak_kwh": peak["predicted"],
        "peak_low": peak.get("q05"),
        "peak_high": peak.get("q95"),
    }
