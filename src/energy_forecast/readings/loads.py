"""Readings of loads: faults of the data, batches and their rejected rows, and load by temperature."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl

from energy_forecast.database import reports
from energy_forecast.database.cities import city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.readings import dicts_of, framed
from energy_forecast.errors import EnergyForecastError, NotFoundError
from energy_forecast.readings.cursors import cursor_of, position_of
from energy_forecast.readings.spans import span_of
from energy_forecast.tables import UTC_TIME, Schema, Table

QUALITY: Schema = {
    "series": pl.String,
    "fault": pl.String,
    "first": UTC_TIME,
    "end": UTC_TIME,
    "hours": pl.Int64,
    "factor": pl.Float64,
    "left_out": pl.Boolean,
    "recorded_at": UTC_TIME,
}
WEATHER_CORRELATION: Schema = {
    **dict.fromkeys(("temperature_from", "temperature_to", "mean_consumption_kwh"), pl.Float64),
    "hours": pl.Int64,
}
_COUNTS: Schema = dict.fromkeys(
    ("read", "inserted", "corrected", "unchanged", "rejected", "cells_left_empty"), pl.Int64
)
BATCHES: Schema = {
    "batch_id": pl.String,
    "dataset": pl.String,
    "recorded_at": UTC_TIME,
    "finished_at": UTC_TIME,
    **_COUNTS,
}
BATCH: Schema = {"column": pl.String, "reason": pl.String, "count": pl.Int64, "cell_only": pl.Boolean}
REJECTED: Schema = {
    "file": pl.String,
    "line": pl.Int64,
    "column": pl.String,
    "reason": pl.String,
    "cell_only": pl.Boolean,
    "row_data": pl.String,
}
_BIN_WIDTHS = 0.01, 50


def quality(connection: Connection, city: str, *, start: datetime | None = None, end: datetime | None = None) -> Table:
    """Return the faults that the checks after loads found in a city, such as gaps, by default of the last 90 days.

    `left_out` hours are not used by training and scores. The values are not changed. A load is checked after it was
    stored, so its faults may come later.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the span is empty or too long.
    """
    place = city_named(connection, city)
    now = database_now(connection)
    first, last = span_of(start, end, day=None, zone=place.timezone, default=(now - timedelta(days=90), now))
    rows = dicts_of(connection, "quality", {"city": place.id, "first": first, "end": last})
    facts = {"city": place.name, "timezone": place.timezone, "start": first, "end": last}
    return Table(framed(rows, QUALITY), facts)


def weather_correlation(
    connection: Connection, city: str, *, days: int = 30, bin_width: float = 1.0, as_of: datetime | None = None
) -> Table:
    """Return the mean load of a city's complete hours by temperature.

    The facts are the number of hours that the means include, those left out by reason, and Pearson's `coefficient`,
    which is null if it is undefined. `as_of` is the end of the days; the values are those known now.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the width is out of range.
    """
    if not _BIN_WIDTHS[0] <= bin_width <= _BIN_WIDTHS[1]:
        raise EnergyForecastError(f"`bin_width` is {bin_width:g}.", hint="Give 0.01 to 50 degrees.")
    place = city_named(connection, city)
    until = as_of or database_now(connection)
    width = Decimal(f"{bin_width:.2f}")
    rows = [
        {
            "temperature_from": row["temperature"],
            "temperature_to": row["temperature_end"],
            "mean_consumption_kwh": row["avg_consumption"],
            "hours": row["sample_count"],
        }
        for row in reports.weather_correlation(connection, place.id, days=days, bin_width=width, until=until)
    ]
    found = reports.weather_correlation_inputs(connection, place.id, days=days, until=until)
    facts = {"city": place.name, "timezone": place.timezone, "days": days, "bin_width": float(width), "as_of": until}
    return Table(framed(rows, WEATHER_CORRELATION), facts | found)


def batches(connection: Connection, *, limit: int = 100, cursor: str | None = None) -> Table:
    """Return the batches that the reader loaded over HTTP, or all batches for the operator, the last finished first.

    If there are more rows than `limit`, the fact `next` is the cursor of the following ones; otherwise it is null.

    Raises:
        EnergyForecastError: the cursor is not one of this list.
    """
    before, before_batch = position_of(cursor, datetime.fromisoformat, UUID) if cursor is not None else (None, None)
    rows = dicts_of(connection, "batches", {"before": before, "before_batch": before_batch, "limit": limit + 1})
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else cursor_of(last["finished_at"].isoformat(), last["batch_id"])
    return Table(framed(rows[:limit], BATCHES), {"next": following})


def batch(connection: Connection, *, batch: UUID) -> Table:
    """Return the reasons for which rows of a batch were rejected, or cells left empty, with their counts.

    The facts are the counts of rows, which add up: read = inserted + corrected + unchanged + rejected; and the names of
    the files and the notes.

    Raises:
        NotFoundError: it is not a batch of the reader.
    """
    facts = _batch(connection, batch)
    rows = facts.pop("reasons")
    return Table(framed(rows, BATCH), facts)


def rejected_rows(connection: Connection, *, batch: UUID) -> Table:
    """Return the rejected rows of a batch, and the rows with a cell that was left empty, in the order of its files.

    `line` is the line of a CSV file (the header is line 1), or the row from 1. `row_data` is JSON with the row as it
    was sent. A batch stores a limited number of rows, and retention deletes old ones: the facts `rejected` and `kept`
    are the numbers of all rejected rows and of the rows here.

    Raises:
        NotFoundError: it is not a batch of the reader.
    """
    facts = _batch(connection, batch)
    rows = [row | {"column": row["column_name"]} for row in dicts_of(connection, "rejected_rows", {"batch": batch})]
    names = ("batch_id", "dataset", "rejected", "cells_left_empty")
    return Table(framed(rows, REJECTED), {name: facts[name] for name in names} | {"kept": len(rows)})


def _batch(connection: Connection, batch: UUID) -> dict[str, Any]:
    found = dicts_of(connection, "batch", {"batch": batch})
    if not found:
        raise NotFoundError(f"The batch {batch} was not found.", hint="`batches` lists them.")
    return found[0]
