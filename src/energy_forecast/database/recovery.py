"""Queries for recovery: archiving, restore points, replay, and consistency of the ledgers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.digests import Tables, operator_snapshot, table_digests
from energy_forecast.database.named_queries import one_row, queries
from energy_forecast.errors import BackupError, DatabaseError
from energy_forecast.progress import Progress, silent

# If a writer holds its locks for longer, the restore point tries again, so that no other session waits behind it.
# Shorter than deadlock_timeout, so that a deadlock does not end the writer
_LOCK_TIMEOUT = "300ms"
_ATTEMPTS = 120
_PAUSE = 1.0
# Letters of the name of a WAL segment
_SEGMENT_NAME = 24


@dataclass(frozen=True)
class ArchiverStatus:
    """State of WAL archiving.

    Args:
        archived: number of segments archived since the statistics began.
        last_archived_age: seconds since the last one; None if no segment was archived.
        failing: whether a segment that could not be archived is still waiting.
        waiting: the waiting files, oldest first.
    """

    on: bool
    archived: int
    last_archived: str | None
    last_archived_age: float | None
    failing: bool
    waiting: list[str]

    @property
    def segments(self) -> list[str]:
        """The waiting segments, without history files."""
        return [name for name in self.waiting if len(name) == _SEGMENT_NAME]


@dataclass(frozen=True)
class Position:
    """A position in the WAL of a cluster."""

    lsn: str
    timeline: int
    system: str


@dataclass(frozen=True)
class Replay:
    """Progress of recovery."""

    recovering: bool
    paused: bool
    lsn: str | None
    last_commit: datetime | None


def _row(connection: Connection, name: str, /, **parameters: object) -> tuple[Any, ...]:
    return one_row(connection, queries("recovery")[name], parameters or None)


def archiver(database: Database) -> ArchiverStatus:
    """Return the state of WAL archiving. The login must be a superuser or a member of pg_monitor."""
    with database.administrator.transaction(None) as connection:
        return ArchiverStatus(*_row(connection, "archiver"))


def position(database: Database) -> Position:
    """Return the present position in the WAL."""
    with database.administrator.transaction(None) as connection:
        return Position(*_row(connection, "position"))


def end_segment(database: Database, label: str) -> str:
    """Switch to a new WAL segment, so that the present one is archived; return its name.

    A restore point is written first, because an empty segment is not switched.
    """
    with database.administrator.transaction(None) as connection:
        _row(connection, "restore_point", label=label)
        return str(_row(connection, "switch_wal")[0])


def replay(database: Database) -> Replay:
    """Return the progress of recovery."""
    with database.administrator.transaction(None) as connection:
        recovering, paused, lsn, last = _row(connection, "replay")
        return Replay(recovering, bool(paused), lsn, last)


def resume(database: Database) -> None:
    """End a recovery that is paused at its target."""
    with database.administrator.transaction(None) as connection:
        connection.execute(queries("recovery")["resume"])


def write_restore_point(
    database: Database, name: str, label: str, report: Progress = silent
) -> tuple[Tables, str, int]:
    """Write a restore point into the WAL, and compute digests of every table at the same point in time.

    Writers wait a few milliseconds, while the restore point is written and a snapshot is taken. Both contain every
    earlier write and no later one.

    Returns:
        The tables, the LSN and the timeline.

    Raises:
        BackupError: a restore point with this name exists.
        DatabaseError: a writer did not release its locks, or a statement failed.
    """
    with database.transaction(Role.OPERATOR) as connection:
        if _row(connection, "has_point", name=name) == (True,):
            raise BackupError(f"The restore point {name!r} already exists.", hint="Choose another name.")
    for attempt in range(_ATTEMPTS):
        report("Waiting for writers", attempt, _ATTEMPTS)
        if (found := _point_under_locks(database, label, report)) is not None:
            return found
        time.sleep(_PAUSE)
    raise DatabaseError(
        "No restore point could be created, because a transaction has held its write locks for two minutes.",
        hint="Wait for its end, or terminate it, and try again.",
    )


def record_restore_point(database: Database, name: str, label: str, tables: Tables, lsn: str, timeline: int) -> None:
    """Record a restore point in the ledger.

    Raises:
        BackupError: another session has just used the name.
    """
    parameters = {"name": name, "label": label, "lsn": lsn, "timeline": timeline, "tables": Jsonb(tables)}
    with database.transaction(Role.OPERATOR) as connection:
        row = connection.execute(queries("recovery")["record_point"], parameters).fetchone()
    if row is None:
        raise BackupError(f"Another session just created a restore point {name!r}.", hint="Choose another name.")


def _point_under_locks(database: Database, label: str, report: Progress) -> tuple[Tables, str, int] | None:
    """Try once to create a restore point; return None if a writer did not release its locks in time."""
    with database.administrator.transaction(None) as connection:
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
        tables = connection.execute(queries("recovery")["lockable_tables"]).fetchall()
        names = sql.SQL(", ").join(sql.Identifier(schema, table) for schema, table in tables)
        try:
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(names))
        except psycopg.errors.LockNotAvailable:
            return None
        with operator_snapshot(database) as snapshot:
            lsn = str(_row(connection, "restore_point", label=label)[0])
            timeline = int(_row(connection, "position")[1])
            # Writers continue while the tables are read
            connection.rollback()
            return table_digests(snapshot, report), lsn, timeline


def incomplete_batches(database: Database) -> list[str]:
    """Return descriptions of the newest batches of which rows are missing."""
    with operator_snapshot(database) as connection:
        found = connection.execute(queries("recovery")["incomplete_batches"]).fetchall()
    return [f"batch {batch} of {kind} has {there} of its {written} rows" for batch, kind, written, there in found]


def as_of_digest(database: Database) -> tuple[Any, ...]:
    """Return city, number of intervals and digest of an as-of query; an empty tuple if there is no city."""
    # Not by `operator_snapshot`: the function runs as the owner, whom policies bind, and it turns row_security off
    with database.transaction(Role.OPERATOR) as connection:
        row = connection.execute(queries("recovery")["as_of_digest"]).fetchone()
    return () if row is None else tuple(row)


def unarchived_age(database: Database) -> float | None:
    """Return the seconds of work that a loss of the server's disk would cost now: since the last archived WAL.

    0 if nothing was written since; None if unknown because a clock was set back.
    """
    with database.administrator.transaction(None) as connection:
        age = float(_row(connection, "unarchived_age")[0])
    return age if age >= 0 else None
