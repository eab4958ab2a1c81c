"""What recovery asks of a server: archiving, restore points, replay, and whether the ledgers agree."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection, Database, Role, database_error
from energy_forecast.database.create import as_login
from energy_forecast.database.digests import Tables, operator_snapshot, table_digests
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import BackupError, DatabaseError
from energy_forecast.progress import Progress, silent

# A writer that holds its locks for longer makes the point wait and try again, instead of everyone behind it
# Shorter than deadlock_timeout: it must not be the writer that is ended
_LOCK_TIMEOUT = "300ms"
_ATTEMPTS = 120
_PAUSE = 1.0


@dataclass(frozen=True)
class ArchiverStatus:
    """How archiving goes.

    Args:
        archived: segments since the statistics began.
        last_archived_age: in seconds; None where none was archived.
        failing: whether a segment that could not be archived still waits.
        waiting: segments that wait.
    """

    on: bool
    archived: int
    last_archived: str | None
    last_archived_age: float | None
    failing: bool
    waiting: int


@dataclass(frozen=True)
class Position:
    """A place in the WAL of one cluster."""

    lsn: str
    timeline: int
    system: str


@dataclass(frozen=True)
class Replay:
    """How far recovery has come."""

    recovering: bool
    paused: bool
    lsn: str | None
    last_commit: datetime | None


def _row(connection: Connection, name: str, /, **parameters: object) -> tuple[Any, ...]:
    row = connection.execute(queries("recovery")[name], parameters or None).fetchone()
    if row is None:
        raise AssertionError(f"{name} returns a row")
    return tuple(row)


def archiver(database: Database) -> ArchiverStatus:
    """How archiving goes; as a superuser or a member of pg_monitor."""
    with as_login(database) as connection:
        return ArchiverStatus(*_row(connection, "archiver"))


def waiting_segments(database: Database) -> list[str]:
    """The segments that wait for being archived, oldest first."""
    with as_login(database) as connection:
        return [name for (name,) in connection.execute(queries("recovery")["waiting_segments"]).fetchall()]


def position(database: Database) -> Position:
    """Where the WAL is now."""
    with as_login(database) as connection:
        return Position(*_row(connection, "position"))


def end_segment(database: Database, label: str) -> str:
    """Ends the present segment, with something in it, so that it is archived; its name."""
    with as_login(database) as connection:
        _row(connection, "restore_point", label=label)
        return str(_row(connection, "switch_wal")[0])


def bytes_between(database: Database, first: str, last: str) -> int:
    """Bytes of WAL between two places."""
    with as_login(database) as connection:
        return int(_row(connection, "lsn_difference", first=first, last=last)[0])


def replay(database: Database) -> Replay:
    """How far recovery has come."""
    with as_login(database) as connection:
        recovering, paused, lsn, last = _row(connection, "replay")
        return Replay(recovering, bool(paused), lsn, last)


def resume(database: Database) -> None:
    """Ends a recovery that waits at its target."""
    with as_login(database) as connection:
        connection.execute(queries("recovery")["resume"])


def create_restore_point(
    database: Database,
    name: str,
    label: str,
    report: Progress = silent,
    save: Callable[[Tables, str, int], None] | None = None,
) -> tuple[Tables, str, int]:
    """A restore point, with what stands in every table at that very moment.

    Writers are held while the point is written and a snapshot is taken, a few milliseconds; what they wrote before is
    in both, what they write after is in neither.

    Args:
        save: called with tables, LSN and timeline before the ledger's row is written.

    Returns:
        The tables, the LSN and the timeline.

    Raises:
        BackupError: there is a point of this name.
        DatabaseError: a writer did not let go, or the server refused.
    """
    if _has_point(database, name):
        raise BackupError(f"There is a restore point {name!r} already.", hint="Choose another name.")
    for attempt in range(_ATTEMPTS):
        report("Waiting for writers", attempt, _ATTEMPTS)
        found = _point_under_locks(database, label, report)
        if found is not None:
            break
        time.sleep(_PAUSE)
    else:
        raise DatabaseError(
            "A transaction has been writing for two minutes and does not let go, so no restore point could be made.",
            hint="Wait for it, or end it, and try again.",
        )
    tables, lsn, timeline = found
    if save is not None:
        save(tables, lsn, timeline)
    with database.transaction(Role.OPERATOR) as connection:
        row = connection.execute(
            queries("recovery")["record_point"],
            {"name": name, "label": label, "lsn": lsn, "timeline": timeline, "tables": Jsonb(tables)},
        ).fetchone()
    if row is None:
        raise BackupError(f"Another restore point {name!r} was made at the same time.", hint="Choose another name.")
    return tables, lsn, timeline


def _has_point(database: Database, name: str) -> bool:
    with database.transaction(Role.OPERATOR) as connection:
        return _row(connection, "has_point", name=name) == (True,)


def _point_under_locks(database: Database, label: str, report: Progress) -> tuple[Tables, str, int] | None:
    """One attempt; None when a writer did not let go in time."""
    connection = database.administrator.connect()
    try:
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
        tables = connection.execute(queries("recovery")["lockable_tables"]).fetchall()
        names = sql.SQL(", ").join(sql.Identifier(schema, table) for schema, table in tables)
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(names))
        with operator_snapshot(database) as snapshot:
            lsn = str(_row(connection, "restore_point", label=label)[0])
            timeline = int(_row(connection, "position")[1])
            connection.rollback()
            return table_digests(snapshot, report), lsn, timeline
    except psycopg.errors.LockNotAvailable:
        return None
    except psycopg.Error as error:
        raise database_error(error) from error
    finally:
        connection.close()


def incomplete_batches(database: Database) -> list[str]:
    """The newest loads of which rows are missing, in words."""
    with operator_snapshot(database) as connection:
        found = connection.execute(queries("recovery")["incomplete_batches"]).fetchall()
    return [f"batch {batch} of {kind} has {there} of its {written} rows" for batch, kind, written, there in found]


def as_of_digest(database: Database) -> tuple[Any, ...]:
    """City, intervals and digest of an as-of query; the empty tuple without a city."""
    # Not by `operator_snapshot`: the function runs as the owner, whom policies bind, and it turns row_security off
    with database.transaction(Role.OPERATOR) as connection:
        row = connection.execute(queries("recovery")["as_of_digest"]).fetchone()
    return () if row is None else tuple(row)


def unarchived_age(database: Database) -> float | None:
    """Seconds of work that the loss of the server's disk would cost now: since the last WAL that is archived.

    0 where nothing was written since; None when a clock that was set back leaves it unknown.
    """
    with as_login(database) as connection:
        age = float(_row(connection, "unarchived_age")[0])
    return age if age >= 0 else None
