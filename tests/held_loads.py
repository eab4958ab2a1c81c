"""Loads held up at a step, so that a test may kill them or look at what others see meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg

from energy_forecast.database import Connection, Database

# After all rows, before the ledger's: the last that a load does before its commit
BEFORE_COMMIT: LiteralString = "LOCK TABLE ops.ingest_batches IN SHARE MODE"
_PATIENCE_SECONDS = 60


class HeldUp:
    """A lock that a load needs, held until the end of the block."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection

    def session(self) -> int | None:
        """Return the session of a load that waits for a lock, or None."""
        with psycopg.connect(self._database.url) as connection:
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'energy-forecast' AND wait_event_type = 'Lock'"
            ).fetchone()
        return None if row is None else int(row[0])

    def waiting(self) -> int:
        """Wait until a load waits for a lock, and return its session."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            session = self.session()
            if session is not None:
                return session
            time.sleep(0.01)
        raise AssertionError("no load waits for the lock")

    def release(self) -> None:
        """Lets the load go on."""
        self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._connection.rollback()


@contextmanager
def held_up(database: Database, lock: LiteralString) -> Iterator[HeldUp]:
    """Hold the locks of the statement `lock`."""
    with psycopg.connect(database.url) as connection:
        connection.execute(lock)
        yield HeldUp(database, connection)


def gone(database: Database, session: int) -> None:
    """Wait until a session has ended, as that of a killed program."""
    end = time.monotonic() + _PATIENCE_SECONDS
    with psycopg.connect(database.url, autocommit=True) as connection:
        while time.monotonic() < end:
            if connection.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (session,)).fetchone() is None:
                return
            time.sleep(0.005)
    raise AssertionError("the session is still there")
