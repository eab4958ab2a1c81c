"""Maintenance: locks and records of its steps, retention, refresh of the hourly view, VACUUM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection, Database, Role, database_error
from energy_forecast.database.named_queries import dict_rows, queries


@contextmanager
def step_lock(database: Database, step: str) -> Iterator[bool]:
    """Try to take the lock of a step and yield whether it was free.

    A transaction that stays open holds it, so a kill releases it. It has no snapshot, so VACUUM does not wait for it.
    """
    named = queries("maintenance")
    with database.transaction(Role.OPERATOR) as connection:
        is_free = connection.execute(named["try_lock"], {"step": step}).fetchone() == (True,)
        connection.execute(named["stay_open"])
        yield is_free


def read_only(connection: Connection) -> None:
    """Make the rest of this transaction read-only."""
    connection.execute(queries("maintenance")["read_only"])


def begin_run(connection: Connection, run: UUID, step: str) -> None:
    """Record the start of a step. With its lock held, earlier unfinished rows belong to interrupted runs."""
    connection.execute(queries("maintenance")["close_interrupted"], {"step": step})
    connection.execute(queries("maintenance")["begin_run"], {"id": run, "step": step})


def finish_run(connection: Connection, run: UUID, outcome: str, details: dict[str, Any]) -> None:
    """Record the outcome of a step, once."""
    connection.execute(queries("maintenance")["finish_run"], {"id": run, "outcome": outcome, "details": Jsonb(details)})


def retention_due(connection: Connection, *, counted: bool) -> list[dict[str, Any]]:
    """Return the months that the policies remove or thin, one row each; row_count and revision_count only if `counted`.

    kept_lead_hours is None for a month that is removed.
    """
    return _rows(connection, "retention_due", {"counted": counted})


def apply_retention(connection: Connection, due: dict[str, Any], run: UUID) -> dict[str, Any]:
    """Remove or thin one row of `retention_due`; return outcome, row_count, byte_count, revision_count and detail."""
    parameters = {
        "table": due["table_name"],
        "partition": due["partition_name"],
        "first": due["range_start"],
        "last": due["range_end"],
        "run": run,
    }
    return _rows(connection, "apply_retention", parameters)[0]


def policies(connection: Connection) -> list[dict[str, Any]]:
    """Return the retention policy of each table; `keep` and `thin_after` are None for never."""
    return _rows(connection, "policies", {})


def set_policy(
    connection: Connection, table: str, keep: str | None, keep_scored: bool | None = None
) -> dict[str, Any] | None:
    """Change the retention of a table and return the policy; None if the table has none.

    Args:
        keep: a PostgreSQL interval; None for unlimited.
        keep_scored: whether months of vintages to which scores refer stay; None changes nothing.
    """
    parameters = {"table": table, "keep": keep, "keep_scored": keep_scored}
    return next(iter(_rows(connection, "set_policy", parameters)), None)


def set_thinning(
    connection: Connection, table: str, thin_after: str | None, kept_lead_hours: int | None
) -> dict[str, Any] | None:
    """Change the thinning of a table (a PostgreSQL interval, hours) and return it; None if it cannot be thinned."""
    parameters = {"table": table, "thin_after": thin_after, "kept_lead_hours": kept_lead_hours}
    return next(iter(_rows(connection, "set_thinning", parameters)), None)


def ledger(connection: Connection, *, limit: int) -> list[dict[str, Any]]:
    """Return the removals by retention, newest first."""
    return _rows(connection, "ledger", {"limit": limit})


def last_refresh(connection: Connection) -> dict[str, Any]:
    """Return refreshed_at (None: never), data_until, row_count and byte_count of the hourly view."""
    return _rows(connection, "last_refresh", {})[0]


def refresh_hours(connection: Connection) -> dict[str, int]:
    """Refresh the hourly view and its roll-up. Readers and writers do not wait.

    Returns:
        changed_hours (changed since the last refresh), repaired_hours (wrong without a recorded change) and
        expired_hours (older than the retention) of the roll-up.
    """
    return _rows(connection, "refresh_hours", {})[0]


def pending_hours(connection: Connection) -> dict[str, int]:
    """Return waiting_spans and waiting_cities: the number of changes that are not in the roll-up yet."""
    return _rows(connection, "pending_hours", {})[0]


def hourly_differences(connection: Connection) -> list[dict[str, Any]]:
    """Return the hours of which users see other values than the facts. Reads the facts of 30 days.

    Columns: city, hour, and shown_ and true_ consumption (kWh), peak (kW) and minutes.
    """
    return _rows(connection, "hourly_differences", {})


def vacuum_tables(connection: Connection) -> list[dict[str, Any]]:
    """Return schema_name, table_name, is_parent, dead_rows and byte_count of the platform's tables; parents last."""
    return _rows(connection, "vacuum_tables", {})


@contextmanager
def vacuuming(database: Database) -> Iterator[Connection]:
    """Open a session as the owner: VACUUM needs the owner and no transaction.

    The role is a startup option and not a SET ROLE, which would stay in a session of a pooler.

    Raises:
        DatabaseError: a statement failed.
    """
    connection = database.connect(options=f"-c role={Role.OWNER} -c lock_timeout=5s")
    try:
        yield connection
    except psycopg.Error as error:
        raise database_error(error) from error
    finally:
        connection.close()


def vacuum(connection: Connection, table: dict[str, Any]) -> str:
    """VACUUM and analyze a table; only analyze the parent of partitions, which has no rows of its own.

    Returns:
        "done", "gone" if the table was dropped meanwhile, or "busy" if another session holds a lock on it.
    """
    # A partition is analyzed with its parent
    whole: LiteralString = "VACUUM {}" if table["is_partition"] else "VACUUM (ANALYZE) {}"
    return _processed(connection, "ANALYZE {}" if table["is_parent"] else whole, table) or "done"


def analyze(database: Database, table: dict[str, Any]) -> str:
    """Analyze a table in a transaction, as far as a pooler allows. A partition is analyzed with its parent.

    Returns:
        "analyzed", or "gone" or "busy" as `vacuum`.
    """
    if table["is_partition"]:
        return "analyzed"
    with database.transaction(Role.OWNER) as connection:
        connection.execute("SET LOCAL lock_timeout = '5s'")
        return _processed(connection, "ANALYZE {}", table) or "analyzed"


def _processed(connection: Connection, command: LiteralString, table: dict[str, Any]) -> str | None:
    name = sql.Identifier(table["schema_name"], table["table_name"])
    try:
        connection.execute(sql.SQL(command).format(name))
    except psycopg.errors.UndefinedTable:
        return "gone"
    except psycopg.errors.LockNotAvailable:
        return "busy"
    return None


def _rows(connection: Connection, name: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return dict_rows(connection, queries("maintenance")[name], parameters)
