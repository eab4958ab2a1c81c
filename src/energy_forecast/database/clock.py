"""The database's clock; the only one that the platform goes by. Apart, since commands that need it need no frames."""

from __future__ import annotations

from datetime import datetime

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries


def database_now(connection: Connection) -> datetime:
    """The database's clock; the only one that the platform goes by."""
    row = connection.execute(queries("clock")["now"]).fetchone()
    assert row is not None
    now: datetime = row[0]
    return now
