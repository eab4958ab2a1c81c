"""The ledger of backups, restore points and checks, and the marks of restored copies."""

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
    """Writes one attempt: verified, or failed when there is a `reason`. `size` in bytes."""
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
    """Writes one check: passed, or not when there is a `reason`."""
    parameters = {"kind": kind, "subject": subject, "passed": reason is None, "reason": reason}
    with database.transaction(Role.OPERATOR) as connection:
        connection.execute(
            queries("backup")["record_check"],
            parameters | {"details": Jsonb(dict(details or {})), "started_at": started_at},
        )


def last_check(database: Database, kind: str) -> dict[str, Any] | None:
    """The last check of a kind with its age in seconds; None when there was none."""
    with database.transaction(Role.OPERATOR) as connection:
        row = connection.execute(queries("backup")["last_check"], {"kind": kind}).fetchone()
    names = ("subject", "passed", "reason", "details", "finished_at", "age")
    return None if row is None else dict(zip(names, row, strict=True))


def failures(database: Database, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """The failed attempts since the last verified one, newest first."""
    with database.transaction(Role.OPERATOR) as connection:
        found = connection.execute(queries("backup")["failures_since_verified"], {"kinds": list(kinds)}).fetchall()
    return [{"name": name, "reason": reason, "finished_at": at} for name, reason, at in found]


def mark_copy(connection: Connection, source: str, target: str) -> None:
    """Marks the database as a copy that is not to act until activated."""
    connection.execute(queries("backup")["mark_copy"], {"source": source, "target": target})


def activate_copy(database: Database) -> list[dict[str, str]]:
    """Lets a restored copy act; what it was restored from, nothing where it was no copy."""
    with database.transaction(Role.OPERATOR) as connection:
        found = connection.execute(queries("backup")["activate_copy"]).fetchall()
    return [{"source": source, "target": target} for source, target in found]


def is_restored_copy(database: Database) -> bool:
    """Whether the database was restored from a backup and is not activated."""
    with database.reading() as connection:
        return connection.execute(queries("backup")["is_restored_copy"]).fetchone() == (True,)


def copies_not_activated(database: Database) -> list[dict[str, Any]]:
    """What this database was restored from, while it is not activated."""
    with database.transaction(Role.OPERATOR) as connection:
        found = connection.execute(queries("backup")["copies_not_activated"]).fetchall()
    return [{"source": source, "target": target, "restored_at": at} for source, target, at in found]


def run_statements(connection: Connection, name: str, parameters: Mapping[str, object]) -> None:
    """Runs the statements that a query of this subject returns."""
    for (statement,) in connection.execute(queries("backup")[name], parameters).fetchall():
        connection.execute(cast(LiteralString, statement))
