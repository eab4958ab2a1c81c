"""Forecast runs, vintages and current predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import polars as pl
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import one_row, queries
from energy_forecast.database.wire import HEADER, TRAILER, Field, encode_rows
from energy_forecast.errors import OutOfRangeError

# Energy is DECIMAL(12,2), which overflows from 9999999999.995 on; rounding cannot reach that from this bound
LARGEST_KWH = 9_999_999_999.99
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
# Columns of forecasts read for scoring; energy in kWh per hour
ISSUED: dict[str, pl.DataType | type[pl.DataType]] = {
    "purpose": pl.String,
    "weather": pl.String,
    "issued_at": pl.Datetime("us", "UTC"),
    "timestamp": pl.Datetime("us", "UTC"),
    "predicted": pl.Float64,
    "quantiles": pl.List(pl.Float64),
}


@dataclass(frozen=True)
class NewForecast:
    """The forecast of one city in a run.

    Args:
        frame: timestamp (UTC, consecutive intervals of the run), predicted (kWh), then one column per quantile level of
            the run, ascending.
    """

    city_id: UUID
    frame: pl.DataFrame


@dataclass(frozen=True)
class NewRun:
    """One execution of one model version."""

    model_id: UUID
    purpose: str
    issued_at: datetime
    horizon: timedelta
    weather: str
    quantile_levels: Sequence[float]
    started_at: datetime
    finished_at: datetime
    forecasts: Sequence[NewForecast]
    interval_minutes: int = 60
    status: str = "succeeded"
    notes: dict[str, Any] = field(default_factory=dict)
    fallback_levels: dict[str, Any] = field(default_factory=dict)
    assumptions: dict[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid4)


def check_range(frame: pl.DataFrame) -> None:
    """Check that the tables can store a forecast, whose columns after the first are kWh per hour.

    Raises:
        OutOfRangeError: a value is too large.
    """
    largest = float(frame[:, 1:].to_numpy().max(initial=0.0))
    if largest > LARGEST_KWH:
        raise OutOfRangeError(
            f"{largest:,.0f} kWh in an hour is more than the database can store ({LARGEST_KWH:,.2f}). "
            "Is the unit of the load right?"
        )


def as_stored(frame: pl.DataFrame) -> pl.DataFrame:
    """Round a forecast as the tables store it, so that scores use the stored values.

    `predicted` is rounded to hundredths of a kWh, and the quantiles to single precision, 7 digits.
    """
    quantiles = pl.exclude("timestamp", "predicted").cast(pl.Float32).cast(pl.Float64)
    return frame.with_columns(pl.col("predicted").round(2), quantiles)


def ensure_partitions(connection: Connection, *, first: datetime, last: datetime) -> None:
    """Create the partitions of vintages issued in [first, last]. Use a separate transaction to keep its locks short."""
    connection.execute(queries("forecasts")["ensure_partitions"], {"first": first, "last": last})


def add_runs(connection: Connection, runs: Sequence[NewRun]) -> None:
    """Store runs with their vintages. Those of live runs and replays become the current predictions."""
    statements = queries("forecasts")
    for run in runs:
        connection.execute(
            statements["add_run"],
            {
                "id": run.id,
                "model": run.model_id,
                "purpose": run.purpose,
                "issued_at": run.issued_at,
                "horizon": run.horizon,
                "weather": run.weather,
                "interval_minutes": run.interval_minutes,
                "quantile_levels": list(run.quantile_levels),
                "status": run.status,
                "notes": Jsonb(run.notes),
                "fallback_levels": Jsonb(run.fallback_levels),
                "assumptions": Jsonb(run.assumptions),
                "started_at": run.started_at,
                "finished_at": run.finished_at,
            },
        )
    connection.execute(statements["make_staging"])
    with connection.cursor().copy(statements["copy_staging"]) as copy:
        copy.write(HEADER)
        for run in runs:
            for forecast in run.forecasts:
                copy.write(_staged(run, forecast))
        copy.write(TRAILER)
    connection.execute(statements["add_vintages"])


def _staged(run: NewRun, forecast: NewForecast) -> bytes:
    """Encode the forecast of a city as a row of the staging table."""
    frame = forecast.frame
    times = frame["timestamp"].dt.epoch("us").to_numpy()
    quantiles = frame[:, 2:].to_numpy()
    fields = [
        Field("uuid", run.id),
        Field("uuid", forecast.city_id),
        Field("uuid", run.model_id),
        Field("timestamptz", (run.issued_at - _UNIX) // timedelta(microseconds=1)),
        Field("timestamptz", times[:1]),
        Field("timestamptz", times[-1:]),
        Field("int2", run.interval_minutes),
        Field("int2", quantiles.shape[1]),
        Field("float8[]", frame["predicted"].to_numpy()[None, :]),
        Field("float4[]", quantiles.reshape(1, -1)),
    ]
    return encode_rows(fields, 1)


def vintage(
    connection: Connection, *, city: UUID, model: str, issued_at: datetime, purpose: str | None = None
) -> list[dict[str, Any]]:
    """Return the rows of the forecast that a model issued for a city at a time; empty if it issued none.

    Args:
        purpose: live or replay; None for both.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        parameters = {"city": city, "model": model, "issued_at": issued_at, "purpose": purpose}
        return cursor.execute(queries("forecasts")["vintage"], parameters).fetchall()


def backtested(
    connection: Connection,
    *,
    city: UUID,
    models: Sequence[UUID],
    times: Sequence[datetime],
    horizon: timedelta,
    weathers: Sequence[str],
    assumptions: dict[str, Any],
    quantile_columns: Sequence[str],
) -> list[tuple[UUID, datetime, str, pl.DataFrame]]:
    """Return the existing backtest forecasts: version, issue time, weather used, frame (as NewForecast.frame)."""
    parameters = {
        "city": city,
        "models": list(models),
        "times": list(times),
        "first": min(times),
        "last": max(times),
        "horizon": horizon,
        "weathers": list(weathers),
        "assumptions": Jsonb(assumptions),
    }
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries("forecasts")["backtested"], parameters).fetchall()
    found: dict[tuple[UUID, datetime, str], list[tuple[Any, ...]]] = {}
    for model, issued_at, weather, timestamp, predicted, quantiles in rows:
        found.setdefault((model, issued_at, weather), []).append((timestamp, predicted, *quantiles))
    schema: dict[str, Any] = {"timestamp": pl.Datetime("us", "UTC"), "predicted": pl.Float64}
    return [
        (*key, pl.DataFrame(lines, schema=schema | dict.fromkeys(quantile_columns, pl.Float64), orient="row"))
        for key, lines in found.items()
    ]


def live_load_age(connection: Connection, *, city: UUID, name: str, since: datetime) -> tuple[int, timedelta | None]:
    """Return the number of days with live forecasts of a city, and the median age of their last known load.

    Args:
        name: of the city, under which runs store the age.
        since: first issue time.
    """
    parameters = {"city": city, "name": name, "since": since}
    days, hours = one_row(connection, queries("forecasts")["live_load_age"], parameters)
    return days, None if hours is None else timedelta(hours=hours)


def to_score(connection: Connection, *, city: UUID, first: datetime, end: datetime) -> pl.DataFrame:
    """Return the scorable forecasts of a city for the hours in [first, end), in the order of recording.

    Their columns are model_id (text), purpose, weather, issued_at, timestamp, predicted and quantiles (kWh).
    """
    with connection.cursor(binary=True) as cursor:
        parameters = {"city": city, "first": first, "end": end}
        rows = cursor.execute(queries("forecasts")["to_score"], parameters).fetchall()
    return pl.DataFrame(
        [(str(model), *rest) for model, *rest in rows], schema={"model_id": pl.String, **ISSUED}, orient="row"
    )


def last_run(
    connection: Connection,
    *,
    city: UUID,
    at: datetime,
    purposes: Sequence[str],
    model: str | None = None,
    model_id: UUID | None = None,
    recorded_by: datetime | None = None,
) -> dict[str, Any] | None:
    """Return the run of the last forecast of a city issued by a time, or None."""
    parameters = {
        "city": city,
        "at": at,
        "purposes": list(purposes),
        "model": model,
        "model_id": model_id,
        "recorded_by": recorded_by,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries("forecasts")["last_run"], parameters).fetchone()


def run_forecast(connection: Connection, *, run: UUID, issued_at: datetime, city: UUID) -> pl.DataFrame:
    """Return a run's forecast of a city: purpose, weather, issued_at, timestamp, predicted and quantiles (kWh)."""
    with connection.cursor(binary=True) as cursor:
        parameters = {"run": run, "issued_at": issued_at, "city": city}
        rows = cursor.execute(queries("forecasts")["run_forecast"], parameters).fetchall()
    return pl.DataFrame(rows, schema=ISSUED, orient="row")
