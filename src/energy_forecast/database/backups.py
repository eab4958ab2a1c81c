"""The ledger of backups, restore points and checks, and the markers of restored copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, cast

from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.digests import Tables
from energy_forecast.database.named_queries import queries


def record_backup(
    database: Database,
    *,
    kind: str,
    name: str,
    folder: str,
    started_at: datetime,
    server_version: str,
    reason: str | None = None,
    size: int | None = None,
    sha256: str | None = None,
    tables: Tables | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Record one backup attempt: verified, or failed if a `reason` is given. `size` is in bytes."""
    with database.transaction(Role.OPERATOR) as connection:
        connection.execute(
            queries("backup")["record_backup"],
            {
                "kind": kind,
                "name": name,
                "folder": folder,
                "status": "verified" if reason is None else "failed",
                "reason": reason,
                "bytes": size,
                "sha256": sha256,
                "server_version": server_version,
                "tables": None if tables is None else Jsonb(tables),
                "details": Jsonb(dict(details or {})),
                "started_at": started_at,
            },
        )


def record_check(
    database: Database,
    *,
    kind: str,
    subject: str,
    reason: str | None,
    started_at: datetime,
    details: Mapping[str, object] | None = None,
) -> None:
    """Record one check: passed, or failed if a `reason` is given."""
    parameters = {"kind": kind, "subject": subject, "passed": reason is None, "reason": reason}
    with database.transaction(Role.OPERATOR) as connection:
        connection.execute(
            queries("backup")["record_check"],
            parameters | {"details": Jsonb(dict(details or {})), "started_at": started_at},
        )


def last_check(database: Database, kind: str) -> dict[str, Any] | None:
    """Return the last check of a kind with its age in seconds, or None."""
    with database.transaction(Role.OPERATOR) as connection:
        row = connection.execute(queries("backup")["last_check"], {"kind": kind}).fetchone()
    names = ("subject", "passed", "reason", "details", "finished_at", "age")
    return None if row is None else dict(zip(names, row, strict=True))


def failures(database: Database, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Return the failed attempts since the last verified one, newest first."""
    with database.transaction(Role.OPERATOR) as connection:
        found = connection.execute(queries("backup")["failures_since_verified"], {"kinds": list(kinds)}).fetchall()
    return [{"name": name, "reason": reason, "finished_at": at} for name, reason, at in found]


def mark_copy(connection: Connection, source: str, target: str) -> None:
    """Mark the database as a restored copy, which stays passive until it is activated."""
    connection.execute(queries("backup")["mark_copy"], {"source": source, "target": target})


def activate_copy(database: Database) -> list[dict[str, str]]:
    """Activate a restored copy; return its sources (empty if the database was not a copy)."""
    with database.transaction(Role.OPERATOR) as connection:
        found = connection.execute(queries("backup")["activate_copy"]).fetchall()
    return [{"source": source, "target": target} for source, target in found]


def is_restored_copy(database: Database) -> bool:
    """Return whether the database was restored from a backup and is not activated."""
    with database.reading() as connection:
        return connection.execute(queries("backup")["is_restored_copy"]).fetchone() == (True,)


def copies_not_activated(database: Database) -> list[dict[str, Any]]:
    """Return the sources of this restored copy; empty once it is activated."""
    with database.transaction(Role.OPERATOR) as connection:
        found = connection.execute(queries("backup")["copies_not_activated"]).fetchall()
    return [{"source": source, "target": target, "restored_at": at} for source, target, at in found]


def run_statements(connection: Connection, name: str, parameters: Mapping[str, object]) -> None:
    """Run the statements that a query of backup.sql returns."""
    for (statement,) in connection.execute(queries("backup")[name], parameters).fetchall():
        connection.execute(cast(LiteralString, statement))
