"""Point-in-time history: every function returns the data available at a given time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import one_row, queries
from energy_forecast.database.wire import decode

_TIME = pl.Datetime("us", "UTC")
_MINUTES = 60
_MINUTE = 60_000_000
_HOUR = _MINUTES * _MINUTE
LOAD_SCHEMA: dict[str, pl.DataType] = {"timestamp": _TIME, "consumption_kwh": pl.Float64()}
WEATHER_SCHEMA: dict[str, pl.DataType] = {
    "timestamp": _TIME,
    "temperature": pl.Float64(),
    "humidity": pl.Float64(),
    "wind_speed": pl.Float64(),
    "precipitation": pl.Float64(),
}


@dataclass(frozen=True)
class Availability:
    """The available_at of load, relative to the end of its intervals.

    A file without available_at sets it to the end of each interval, which cannot be distinguished from a stated value.

    Args:
        values: number of values.
        at_interval_end: number of values with available_at equal to the end of their interval.
        median_minutes: median delay; None without values.
    """

    values: int
    at_interval_end: int
    median_minutes: float | None


@dataclass(frozen=True)
class _Hours:
    """Rows grouped by hour.

    Args:
        starts: START of each hour that has rows, microseconds since 1970, ascending.
        begins: index of the first row of each hour.
    """

    starts: np.ndarray[Any, Any]
    begins: np.ndarray[Any, Any]

    @classmethod
    def of(cls, times: np.ndarray[Any, Any], phase: int, issues: np.ndarray[Any, Any] | None = None) -> _Hours:
        """Group times by hour.

        Args:
            times: n times, microseconds since 1970, ascending.
            phase: minutes past the full hour at which an hour begins.
            issues: n issue times, ascending; `times` then ascend within each. None for one.
        """
        starts = (times - phase * _MINUTE) // _HOUR * _HOUR + phase * _MINUTE
        is_new = np.diff(starts, prepend=starts[:1] - 1) != 0
        if issues is not None:
            is_new |= np.diff(issues, prepend=issues[:1]) != 0
        begins = np.flatnonzero(is_new)
        return cls(starts[begins], begins)

    def sum(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the sum of integers [n] in each hour."""
        return np.add.reduceat(values, self.begins) if len(self.begins) else values[:0]


def _columns(
    connection: Connection, query: str, parameters: dict[str, Any], types: Sequence[str], recorded_by: datetime | None
) -> tuple[np.ndarray[Any, Any], list[np.ndarray[Any, Any]]]:
    """Return the times and values of a query that returns each column as bytes."""
    if recorded_by is not None:
        query, parameters = f"{query}_recorded", parameters | {"recorded_by": recorded_by}
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(queries("history")[query], parameters).fetchone()
    assert row is not None
    times, *values = (decode(part, kind) for part, kind in zip(row, ("timestamptz", *types), strict=True))
    if (np.diff(times) <= 0).any():
        raise ValueError(f"{query} returned times out of order")
    return times, values


def _cents(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return numbers as integer hundredths: the columns have two decimals and twelve digits."""
    return np.asarray(np.rint(values * 100), np.int64)


def _frame(schema: dict[str, pl.DataType], times: np.ndarray[Any, Any], *values: np.ndarray[Any, Any]) -> pl.DataFrame:
    name, *names = schema
    columns = [pl.Series(name, times, dtype=pl.Int64).cast(_TIME)]
    columns += [pl.Series(name, part, nan_to_null=True) for name, part in zip(names, values, strict=True)]
    return pl.DataFrame(columns)


def _weather(
    connection: Connection, query: str, parameters: dict[str, Any], phase: int, recorded_by: datetime | None
) -> pl.DataFrame:
    """Return the hourly means, and the hourly sum of precipitation, of the available values."""
    times, values = _columns(connection, query, parameters, ("float8",) * 4, recorded_by)
    return hourly_weather(times, dict(zip(list(WEATHER_SCHEMA)[1:], values, strict=True)), phase)


def hourly_weather(times: np.ndarray[Any, Any], values: Mapping[str, np.ndarray[Any, Any]], phase: int) -> pl.DataFrame:
    """Return the hourly means, and the hourly sum of precipitation, of columns of `WEATHER_SCHEMA`; NaN is unknown."""
    return _weather_by_hour(_Hours.of(times, phase), values)


def _weather_by_hour(hours: _Hours, values: Mapping[str, np.ndarray[Any, Any]]) -> pl.DataFrame:
    by_hour = []
    for name, part in values.items():
        known = np.isfinite(part)
        count = hours.sum(known.astype(np.int64))
        # Sums of integers do not depend on the order
        total = hours.sum(_cents(np.where(known, part, 0.0)))
        divisor = np.where(count > 0, 100, 0) if name == "precipitation" else 100 * count
        by_hour.append(np.divide(total, divisor, out=np.full(len(total), np.nan), where=divisor > 0))
    return _frame({name: WEATHER_SCHEMA[name] for name in ("timestamp", *values)}, hours.starts, *by_hour)


def phase_as_of(connection: Connection, city: UUID, as_of: datetime) -> int:
    """Return the minute past the UTC hour at which the city's hours begin."""
    row = one_row(connection, queries("history")["phase"], {"city": city, "as_of": as_of})
    return int(row[0])


@dataclass(frozen=True)
class Thinning:
    """Weather forecasts that retention removed from a month: those with a lead time of `kept_lead_hours` or more."""

    range_start: datetime
    range_end: datetime
    kept_lead_hours: int
    removed_at: datetime


def thinned_weather_forecasts(connection: Connection, city: UUID, *, first: datetime, end: datetime) -> Thinning | None:
    """Return the thinning that may have removed weather forecasts of a city for the hours in [first, end)."""
    parameters = {"city": city, "first": first, "end": end}
    row = connection.execute(queries("history")["thinned_weather_forecasts"], parameters).fetchone()
    return None if row is None else Thinning(*row)


def availability(
    connection: Connection, city: UUID, *, as_of: datetime, first: datetime, end: datetime
) -> Availability:
    """Return the availability of the load of the intervals that start in [first, end), as known at `as_of`."""
    parameters = {"city": city, "as_of": as_of, "first": first, "end": end}
    row = one_row(connection, queries("history")["availability"], parameters)
    values, at_interval_end, median = row
    return Availability(values, at_interval_end, None if median is None else float(median))


def load_as_of(
    connection: Connection,
    city: UUID,
    *,
    as_of: datetime,
    first: datetime,
    end: datetime,
    phase: int,
    recorded_by: datetime | None = None,
) -> pl.DataFrame:
    """Return hourly consumption known at `as_of`: timestamp (UTC), consumption_kwh. A missing hour has no row.

    Args:
        first, end: select the intervals that start in [first, end).
        phase: the minute past the UTC hour at which hours begin.
        recorded_by: exclude values that this database recorded later, even if their source claims an earlier time.
    """
    return load_and_overlaps_as_of(
        connection, city, as_of=as_of, first=first, end=end, phase=phase, recorded_by=recorded_by
    )[0]


def load_and_overlaps_as_of(
    connection: Connection,
    city: UUID,
    *,
    as_of: datetime,
    first: datetime,
    end: datetime,
    phase: int,
    recorded_by: datetime | None = None,
) -> tuple[pl.DataFrame, pl.Series]:
    """Return `load_as_of`, and the START (UTC) of the hours that it excludes because their intervals overlap."""
    parameters = {"city": city, "as_of": as_of, "first": first, "end": end}
    times, (kwh, minutes) = _columns(connection, "load", parameters, ("float8", "int2"), recorded_by)
    return hourly_load(times, _cents(kwh), minutes, phase)


def hourly_load(
    times: np.ndarray[Any, Any], hundredths: np.ndarray[Any, Any], minutes: np.ndarray[Any, Any], phase: int
) -> tuple[pl.DataFrame, pl.Series]:
    """Return hourly consumption of n values in time order, and the START of the hours whose intervals overlap.

    Args:
        hundredths: kWh in hundredths.
        minutes: length of each interval.
        phase: the minute past the UTC hour at which hours begin.
    """
    hours = _Hours.of(times, phase)
    known = hours.sum(minutes)
    # Partial hours are excluded, and so are hours whose intervals overlap, which would count twice
    whole = known == _MINUTES
    load = _frame(LOAD_SCHEMA, hours.starts[whole], hours.sum(hundredths)[whole] / 100)
    return load, pl.Series("timestamp", hours.starts[known > _MINUTES], dtype=pl.Int64).cast(_TIME)


def weather_as_of(
    connection: Connection,
    city: UUID,
    *,
    as_of: datetime,
    first: datetime,
    end: datetime,
    phase: int,
    recorded_by: datetime | None = None,
) -> pl.DataFrame:
    """Return hourly observed weather known at `as_of`.

    Its columns are timestamp, temperature (C), humidity (%), wind_speed (m/s) and precipitation (mm).
    """
    parameters = {"city": city, "as_of": as_of, "first": first, "end": end}
    return _weather(connection, "weather", parameters, phase, recorded_by)


def weather_forecast_as_of(
    connection: Connection,
    city: UUID,
    *,
    as_of: datetime,
    first: datetime,
    end: datetime,
    phase: int,
    recorded_by: datetime | None = None,
) -> pl.DataFrame:
    """Return the latest weather forecast issued by `as_of`, hourly; columns as `weather_as_of`."""
    parameters = {"city": city, "as_of": as_of, "first": first, "end": end}
    return _weather(connection, "weather_forecast", parameters, phase, recorded_by)


def weather_vintages_as_of(
    connection: Connection, city: UUID, *, as_of: datetime, first: datetime, phase: int
) -> pl.DataFrame:
    """Return the first weather forecast of each UTC day issued in [first, as_of], for the hours until `as_of`.

    Its columns are issued_at and those of `weather_as_of`, hourly, in the order of both times.
    """
    parameters = {"city": city, "as_of": as_of, "first": first}
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(queries("history")["weather_vintages"], parameters).fetchone()
    assert row is not None
    kinds = ("timestamptz", "timestamptz", *("float8",) * 4)
    issues, times, *values = (decode(part, kind) for part, kind in zip(row, kinds, strict=True))
    hours = _Hours.of(times, phase, issues)
    weather = _weather_by_hour(hours, dict(zip(list(WEATHER_SCHEMA)[1:], values, strict=True)))
    return weather.insert_column(0, pl.Series("issued_at", issues[hours.begins], dtype=pl.Int64).cast(_TIME))
