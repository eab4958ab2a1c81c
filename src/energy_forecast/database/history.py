"""The past as it could be known at a moment. Nothing here returns "the data" without saying as of when."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries

_TIME = pl.Datetime("us", "UTC")
# PostgreSQL counts its microseconds from 2000 on
_EPOCH = 946_684_800_000_000
LOAD_SCHEMA: dict[str, pl.DataType] = {"timestamp": _TIME, "consumption_kwh": pl.Float64()}
WEATHER_SCHEMA: dict[str, pl.DataType] = {
    "timestamp": _TIME,
    "temperature": pl.Float64(),
    "humidity": pl.Float64(),
    "wind_speed": pl.Float64(),
    "precipitation": pl.Float64(),
}


def _frame(
    connection: Connection, query: str, parameters: dict[str, Any], schema: dict[str, pl.DataType]
) -> pl.DataFrame:
    """The one row of a query: each column of the frame as the bytes of its values, in a fifth of the time of rows."""
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(queries("history")[query], parameters).fetchone()
    assert row is not None
    times, *values = (b"" if part is None else part for part in row)
    hours = np.frombuffer(times, ">i8").astype(np.int64) + _EPOCH
    if (np.diff(hours) <= 0).any():
        raise ValueError(f"{query} gave hours out of order")
    name, *names = schema
    columns = [pl.Series(name, hours, dtype=pl.Int64).cast(_TIME)]
    columns += [
        pl.Series(name, np.frombuffer(part, ">f8").astype(float), nan_to_null=True)
        for name, part in zip(names, values, strict=True)
    ]
    return pl.DataFrame(columns)


def phase_as_of(connection: Connection, city: UUID, as_of: datetime) -> int:
    """The minute past the UTC hour at which the city's hours begin."""
    row = connection.execute(queries("history")["phase"], {"city": city, "as_of": as_of}).fetchone()
    assert row is not None
    return int(row[0])


def load_as_of(
    connection: Connection, city: UUID, *, as_of: datetime, first: datetime, end: datetime, phase: int
) -> pl.DataFrame:
    """Hourly consumption known at `as_of`: timestamp (UTC), consumption_kwh. A missing hour has no row."""
    parameters = {"city": city, "as_of": as_of, "first": first, "end": end, "phase": phase}
    return _frame(connection, "load", parameters, LOAD_SCHEMA)


def weather_as_of(
    connection: Connection, city: UUID, *, as_of: datetime, first: datetime, end: datetime, phase: int
) -> pl.DataFrame:
    """Hourly observed weather known at `as_of`: timestamp, temperature (C), humidity (%), wind_speed (m/s),
    precipitation (mm)."""
    parameters = {"city": city, "as_of": as_of, "first": first, "end": end, "phase": phase}
    return _frame(connection, "weather", parameters, WEATHER_SCHEMA)


def weather_forecast_as_of(
    connection: Connection, city: UUID, *, as_of: datetime, first: datetime, end: datetime, phase: int
) -> pl.DataFrame:
    """The latest weather forecast issued by `as_of`, hourly; columns as `weather_as_of`."""
    parameters = {"city": city, "as_of": as_of, "first": first, "end": end, "phase": phase}
    return _frame(connection, "weather_forecast", parameters, WEATHER_SCHEMA)
