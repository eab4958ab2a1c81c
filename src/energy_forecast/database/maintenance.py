"""Maintenance: its locks and records, retention, the refresh, VACUUM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection, Database, Role, database_error
from energy_forecast.database.named_queries import queries


@contextmanager
def step_lock(database: Database, step: str) -> Iterator[bool]:
    """Holds the lock of a step, if nobody else does; yields whether. It goes with the session, so a kill frees it."""
    connection = database.connect(autocommit=True)
    try:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(Role.OPERATOR)))
        row = connection.execute(queries("maintenance")["try_lock"], {"step": step}).fetchone()
        yield row == (True,)
    finally:
        connection.close()


def read_only(connection: Connection) -> None:
    """From here on this transaction can change nothing."""
    connection.execute(queries("maintenance")["read_only"])


def begin_run(connection: Connection, run: UUID, step: str) -> None:
    """Records that a step begins. With its lock held, earlier rows without an end are of runs that were cut short."""
    connection.execute(queries("maintenance")["close_interrupted"], {"step": step})
    connection.execute(queries("maintenance")["begin_run"], {"id": run, "step": step})


def finish_run(connection: Connection, run: UUID, outcome: str, details: dict[str, Any]) -> None:
    """Records how a step ended, once."""
    connection.execute(queries("maintenance")["finish_run"], {"id": run, "outcome": outcome, "details": Jsonb(details)})


def retention_due(connection: Connection, *, counted: bool) -> list[dict[str, Any]]:
    """What should go by the policies, a row a month; row_count and revision_count only when `counted`."""
    return _rows(connection, "retention_due", {"counted": counted})


def apply_retention(connection: Connection, due: dict[str, Any], run: UUID) -> dict[str, Any]:
    """Takes one row of `retention_due` away: outcome, row_count, byte_count, revision_count, detail."""
    parameters = {
        "table": due["table_name"],
        "partition": due["partition_name"],
        "first": due["range_start"],
        "last": due["range_end"],
        "run": run,
    }
    return _rows(connection, "apply_retention", parameters)[0]


def policies(connection: Connection) -> list[dict[str, Any]]:
    """How long each table is kept; `keep` is None for ever."""
    return _rows(connection, "policies", {})


def set_policy(connection: Connection, table: str, keep: str | None) -> dict[str, Any] | None:
    """Changes how long a table is kept (an interval as PostgreSQL writes it); None when it has no policy."""
    return next(iter(_rows(connection, "set_policy", {"table": table, "keep": keep})), None)


def ledger(connection: Connection, *, limit: int) -> list[dict[str, Any]]:
    """What retention took away, newest first."""
    return _rows(connection, "ledger", {"limit": limit})


def last_refresh(connection: Connection) -> dict[str, Any]:
    """refreshed_at, data_until, row_count and byte_count of the hourly view; refreshed_at None if it never was."""
    return _rows(connection, "last_refresh", {})[0]


def refresh_hours(connection: Connection) -> dict[str, int]:
    """Refreshes the hourly view and brings its roll-up up to date. Readers and writers do not wait.

    Returns:
        folded_hours (had changed since the last time), mended_hours (were wrong without a reason) and expired_hours
        (too old to stay) of the roll-up.
    """
    return _rows(connection, "refresh_hours", {})[0]


def pending_hours(connection: Connection) -> dict[str, int]:
    """waiting_spans and waiting_cities: what has changed and is not in the roll-up yet."""
    return _rows(connection, "pending_hours", {})[0]


def hourly_differences(connection: Connection) -> list[dict[str, Any]]:
    """Hours of which people read something else than the facts say: city, hour, and shown_ and true_ consumption (kWh),
    peak (kW) and minutes. Reads the facts of 30 days."""
    return _rows(connection, "hourly_differences", {})


def vacuum_tables(connection: Connection) -> list[dict[str, Any]]:
    """schema_name, table_name, is_parent, dead_rows and byte_count of what the platform owns; parents last."""
    return _rows(connection, "vacuum_tables", {})


@contextmanager
def vacuuming(database: Database) -> Iterator[Connection]:
    """A session as the owner that is in no transaction: VACUUM runs in none, and only for the owner.

    Raises:
        DatabaseError: the database refused.
    """
    connection = database.connect(autocommit=True)
    try:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(Role.OWNER)))
        connection.execute("SET lock_timeout = '5s'")
        yield connection
    except psycopg.Error as error:
        raise database_error(error) from error
    finally:
        connection.close()


def vacuum(connection: Connection, table: dict[str, Any]) -> str:
    """VACUUMs and analyzes a table; a parent of partitions, whose rows are theirs, is analyzed only.

    Returns:
        "done", "gone" when the table was dropped meanwhile, or "busy" when something holds it for itself.
    """
    if table["is_parent"]:
        command: LiteralString = "ANALYZE {}"
    else:
        # A partition is analyzed with its parent
        command = "VACUUM {}" if table["is_partition"] else "VACUUM (ANALYZE) {}"
    name = sql.Identifier(table["schema_name"], table["table_name"])
    try:
        connection.execute(sql.SQL(command).format(name))
    except psycopg.errors.UndefinedTable:
        return "gone"
    except psycopg.errors.LockNotAvailable:
        return "busy"
    return "done"


def _rows(connection: Connection, name: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries("maintenance")[name], parameters).fetchall()
