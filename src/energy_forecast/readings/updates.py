"""The reading of updates: what has changed since a position."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from energy_forecast.database.connection import Connection
from energy_forecast.database.readings import dicts_of, framed
from energy_forecast.errors import EnergyForecastError
from energy_forecast.readings.cursors import cursor_of, position_of
from energy_forecast.tables import UTC_TIME, Schema, Table

UPDATES: Schema = {"city": pl.String, "changed": pl.String, "recorded_at": UTC_TIME}


def updates(connection: Connection, *, cursor: str | None = None) -> Table:
    """Return the cities of the reader with new or corrected load, weather, forecasts, champions or scores since a call.

    `changed` is consumption, weather, weather-forecasts, forecasts, champions or scores: what to read again. The fact
    `next` is the cursor of the next call; without a cursor, the answer has no rows but this position. A change is in an
    answer after its commit, however long its transaction was open. A city may be reported again without a change, but
    no change is left out, except for scores whose transaction was open for more than three hours.

    Raises:
        EnergyForecastError: the cursor is not one of this reader.
    """
    since, first, scores = (None, None, None)
    if cursor is not None:
        since, first, scores = position_of(cursor, bytes.fromhex, _time, _count)
    rows = dicts_of(connection, "updates", {"since": since, "first": first, "scores": scores})
    if not rows:
        raise EnergyForecastError("`cursor` is not one of this list.", hint="Use that of `next`.")
    position = rows[0]
    following = cursor_of(bytes(position["cursor"]).hex(), position["next_start"].isoformat(), position["next_scores"])
    return Table(framed([row for row in rows if row["city"] is not None], UPDATES), {"next": following})


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None or not 2000 < found.year < 9000:
        raise ValueError("not a time of a position")
    return found


def _count(number: object) -> int:
    if not isinstance(number, int) or not 0 <= number < 2**62:
        raise ValueError("not a count")
    return number
