"""The clock of the database, the only clock that the platform uses. A module of its own, because it needs no frames."""

from __future__ import annotations

from datetime import datetime

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import one_row, queries


def database_now(connection: Connection) -> datetime:
    """Return the current time of the database, the only clock that the platform uses."""
    row = one_row(connection, queries("clock")["now"])
    now: datetime = row[0]
    return now
