"""Readings of arriving data: when values were recorded, sources that are late, and rejected rows of a city."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from energy_forecast.database.cities import cities_named, city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.readings import dicts_of, framed
from energy_forecast.readings.spans import span_of
from energy_forecast.tables import UTC_TIME, Schema, Table

ARRIVALS: Schema = {
    "series": pl.String,
    "recorded_hour": UTC_TIME,
    "row_count": pl.Int64,
    "first": UTC_TIME,
    "end": UTC_TIME,
    **dict.fromkeys(("median_delay_hours", "longest_delay_hours", "median_availability_hours"), pl.Float64),
}
SOURCES: Schema = {
    **dict.fromkeys(("city", "series"), pl.String),
    "recorded_at": UTC_TIME,
    "end": UTC_TIME,
    "recording_count": pl.Int64,
    "usual_gap_hours": pl.Float64,
    "expected_by": UTC_TIME,
    "is_late": pl.Boolean,
}
REJECTIONS: Schema = {
    **dict.fromkeys(("file", "column", "reason"), pl.String),
    "cell_only": pl.Boolean,
    "count": pl.Int64,
    "recorded_at": UTC_TIME,
    "line": pl.Int64,
    "row_data": pl.String,
}
_DEFAULT_SPAN = timedelta(days=7)
# Fewer recordings show no rhythm
_FEWEST_RECORDINGS = 5
# A source is late once it is silent for longer than this multiple of its usual gap
_LATE = 1.5


def arrivals(connection: Connection, city: str, *, start: datetime | None = None, end: datetime | None = None) -> Table:
    """Return the number of recorded rows of a city by series and hour of recording, by default of the last seven days.

    The rows are first versions of load and observed weather, and weather forecasts that were issued in the span. Delays
    are from the end of the interval: to the recording, and to `available_at`. Weather forecasts have none.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the span is empty or too long.
    """
    place = city_named(connection, city)
    now = database_now(connection)
    first, last = span_of(start, end, day=None, zone=place.timezone, default=(now - _DEFAULT_SPAN, now))
    rows = dicts_of(connection, "arrivals", {"city": place.id, "first": first, "end": last})
    facts = {"city": place.name, "timezone": place.timezone, "start": first, "end": last}
    return Table(framed(rows, ARRIVALS), facts)


def sources(connection: Connection, *, cities: Sequence[str] | None = None, as_of: datetime | None = None) -> Table:
    """Return when the last load, weather and weather forecasts of cities were recorded, and whether new ones are late.

    The usual gap is the 90 % quantile of the times between two recordings over the last 14 days with values. A series
    is late if its last recording is older than one and a half usual gaps. With fewer than five recordings both are
    null.

    Raises:
        UnknownCityError: the reader sees no city of a name.
    """
    known_at = as_of or database_now(connection)
    chosen = [city.id for city in cities_named(connection, cities or ())]
    found = dicts_of(connection, "sources", {"cities": chosen, "at": known_at, "fewest": _FEWEST_RECORDINGS})
    rows = [row | _lateness(row["recorded_at"], row["usual_gap_hours"], known_at) for row in found]
    return Table(framed(rows, SOURCES), {"as_of": known_at})


def rejections(connection: Connection, city: str, *, days: int = 30, as_of: datetime | None = None) -> Table:
    """Return the quarantined rows of a city of the last days, counted by file, column and reason.

    `line` and `row_data` are those of the newest row. Rows that name an unknown city belong to no city: `rejected_rows`
    has them by batch. There are at most 200 rows, the most frequent first.

    Raises:
        UnknownCityError: the reader sees no city of this name.
    """
    place = city_named(connection, city)
    until = as_of or database_now(connection)
    found = dicts_of(connection, "rejections", {"city": place.id, "first": until - timedelta(days=days), "end": until})
    rows = [row | {"column": row["column_name"]} for row in found]
    facts = {"city": place.name, "timezone": place.timezone, "days": days, "as_of": until}
    return Table(framed(rows, REJECTIONS), facts)


def _lateness(recorded_at: datetime, usual_gap: float | None, now: datetime) -> dict[str, datetime | bool | None]:
    """Return the time by which the next recording is expected, and whether it has passed."""
    if usual_gap is None:
        return {"expected_by": None, "is_late": None}
    expected = recorded_at + timedelta(hours=_LATE * usual_gap)
    return {"expected_by": expected, "is_late": now > expected}
