"""Upgrade the schema of a database: run the numbered SQL files that it lacks, then apply the routines again.

`ops.schema_migrations` records the files. See docs/decisions/migrations.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import LiteralString

import psycopg
from psycopg import sql

from energy_forecast.database import protection
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.named_queries import queries
from energy_forecast.database.schema import (
    Migration,
    database_grants,
    has_mark,
    migrations,
    newest_version,
    routines_sql,
    schema_mark,
    superuser_sql,
    with_login,
)
from energy_forecast.errors import DatabaseError, SchemaError
from energy_forecast.event_log import log_run

# Seconds that an upgrade waits until no session uses the tables
_PATIENCE = 60
# Attempts to change roles that the upgrade of another database changes too
_ATTEMPTS = 10

# Schema changes are audited. While entries wait for the commit to be chained, their table cannot be altered
_CHAIN_AT_ONCE: LiteralString = "SET CONSTRAINTS ALL IMMEDIATE;"
_AS_OWNER = f"SET LOCAL ROLE {Role.OWNER};"


@dataclass(frozen=True)
class Upgrade:
    """The result of an upgrade.

    Args:
        before: the previous version; None for an empty database.
        after: the present version.
        changed: whether the upgrade applied anything.
        repaired: differences from the expected catalog that it repaired, as sentences.
        remaining: differences that it could not repair, as sentences with their remedies.
    """

    before: str | None
    after: str
    changed: bool = True
    repaired: list[str] = field(default_factory=list)
    remaining: list[str] = field(default_factory=list)


def migration_sql(migration: Migration) -> str:
    """Return the SQL that applies a migration and records it. All run as the owner except the first."""
    record = sql.SQL("INSERT INTO ops.schema_migrations (version, sha256) VALUES ({}, {});").format(
        sql.Literal(migration.version), sql.Literal(migration.sha256)
    )
    before = [] if migration == migrations()[0] else [_CHAIN_AT_ONCE, _AS_OWNER]
    return "\n".join([*before, migration.text, _AS_OWNER, record.as_string(), "RESET ROLE;"])


def _owners_sql() -> str:
    """Return the SQL that follows the migrations and changes objects of the owner."""
    return "\n".join(
        [
            _CHAIN_AT_ONCE,
            _AS_OWNER,
            routines_sql(),
            "SELECT ensure_partitions_ahead();",
            queries("audit")["take_baselines"] + ";",
        ]
    )


def _mark_sql() -> str:
    """Return the last step: the mark that tells `schema_is_current` that everything was applied."""
    return sql.SQL("COMMENT ON SCHEMA ops IS {};").format(sql.Literal(schema_mark())).as_string()


def _finish_sql() -> str:
    """Return the SQL that follows the migrations in the same transaction."""
    return "\n".join([database_grants(), _owners_sql(), _mark_sql(), "RESET ROLE;", superuser_sql()])


def upgrade_sql() -> str:
    """Return the SQL that upgrades an empty database to the newest version, for a DBA to read and run."""
    return "\n".join(["BEGIN;", *map(migration_sql, migrations()), _finish_sql(), "COMMIT;", ""])


def _pending(connection: Connection) -> tuple[str | None, list[Migration]]:
    """Return the version of the database (None: empty), and the migrations that it lacks.

    Raises:
        SchemaError: the database was made by a newer version, an unreleased one, or with other files.
    """
    statements = queries("schema")
    if connection.execute(statements["made_by_alembic"]).fetchone() == (True,):
        raise SchemaError(
            "An unreleased version of this program made the database. Its schema cannot be upgraded.",
            hint="Export its data with that version, and load them into a new database: see docs/howto/old-database.md",
        )
    files = migrations()
    if connection.execute(statements["has_ledger"]).fetchone() == (False,):
        return None, files
    applied = connection.execute(statements["applied"]).fetchall()
    before: str = applied[-1][0]
    if before > files[-1].version:
        raise SchemaError(
            f"The database has schema version {before}; this program knows up to {files[-1].version}.",
            hint="Update energy-forecast.",
        )
    for (version, sha256), file in zip(applied, files, strict=False):
        if (version, sha256) != (file.version, file.sha256):
            raise SchemaError(
                f"Migration {version} of the database differs from migration {file.version} of this program.",
                hint="Use the version of energy-forecast that made the database, or load its data into a new database: "
                "see docs/howto/old-database.md",
            )
    return before, files[len(applied) :]


def _take_tables(connection: Connection) -> None:
    """Lock every table at once before the first change.

    If an upgrade waited for one table while it held another, readers would wait and a load could end in a deadlock.

    Raises:
        SchemaError: a table is in use all the time.
    """
    statements = queries("schema")
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            with connection.transaction():
                connection.execute(statements["lock_tables"])
        except psycopg.errors.LockNotAvailable as error:
            if time.monotonic() > until:
                raise SchemaError(
                    f"The tables were in use for {_PATIENCE} seconds, so nothing was changed.",
                    hint="Stop long loads and queries, and run it again.",
                ) from error
            time.sleep(0.2)
        else:
            return


def _migrate(connection: Connection, before: str | None, pending: Sequence[Migration]) -> None:
    """Run migrations in the open transaction."""
    if before is not None:
        _take_tables(connection)
    for migration in pending:
        connection.execute(migration_sql(migration))


@log_run("upgrade", lambda done: {"before": done.before, "after": done.after, "repaired": len(done.repaired)})
def upgrade(database: Database) -> Upgrade:
    """Upgrade the schema to the newest version, in one transaction.

    On the embedded server it needs a second transaction, of a superuser who uses no object of the owner.

    Raises:
        SchemaError: the database was made by another version, or its tables are in use all the time.
        DatabaseError: a statement failed.
    """
    attempt = 1
    while True:
        try:
            return _upgrade_alone(database)
        except DatabaseError as error:
            # Another database of the server is upgraded at the same time; the roles belong to both
            if "tuple concurrently" not in error.message or attempt == _ATTEMPTS:
                raise
        time.sleep(random.uniform(0.1, 1.0) * attempt)
        attempt += 1


def _upgrade_alone(database: Database) -> Upgrade:
    """Upgrade after any other upgrade of this database has ended."""
    named = queries("schema")
    while True:
        # Objects of the owner are found only by their qualified names
        with database.administrator.transaction(None) as connection:
            if connection.execute(named["try_lock"]).fetchone() == (False,):
                # The next transaction begins after the other upgrade, and finds nothing to do
                connection.execute(named["wait_for_lock"])
                continue
            has_objects = connection.execute(named["has_objects"], {"role": Role.OWNER}).fetchone() == (True,)
            if database.login is not None and has_objects and with_login(database) == database:
                connection.execute(queries("maintenance")["stay_open"])
                return _upgrade_with_login(database)
            connection.execute("SET LOCAL search_path = public")
            return _upgrade(connection)


def _is_right(connection: Connection, faults: Sequence[protection.Fault]) -> bool:
    """Return whether an upgrade would change nothing; then apply the grants that `faults` does not check."""
    if any(fault.repairable for fault in faults):
        return False
    # The login, and operators of the server. Nothing is written if they are correct
    connection.execute(database_grants())
    return True


def _outcome(
    connection: Connection, faults: Sequence[protection.Fault]
) -> tuple[list[protection.Fault], list[protection.Fault]]:
    """Return the remaining faults, and the given faults that were repaired."""
    remaining = protection.faults(connection)
    left = {(fault.kind, fault.name, fault.message) for fault in remaining}
    return remaining, [fault for fault in faults if (fault.kind, fault.name, fault.message) not in left]


def _report(
    before: str | None, remaining: Sequence[protection.Fault], repaired: Sequence[protection.Fault] = ()
) -> Upgrade:
    sentences = list(protection.sentences(remaining))
    return Upgrade(before, newest_version(), repaired=[f"{fault.message}." for fault in repaired], remaining=sentences)


def _upgrade(connection: Connection) -> Upgrade:
    """Upgrade in the open transaction."""
    before, pending = _pending(connection)
    # Other routines have other catalog objects: only those of this version can be compared
    is_current = not pending and has_mark(connection)
    faults = protection.faults(connection) if is_current else []
    if is_current and _is_right(connection, faults):
        return replace(_report(before, faults), changed=False)
    _migrate(connection, before, pending)
    protection.repair(connection, faults)
    connection.execute(_finish_sql())
    remaining, repaired = _outcome(connection, faults)
    protection.record_repairs(connection, repaired)
    return _report(before, remaining, repaired)


def _upgrade_with_login(database: Database) -> Upgrade:
    """Upgrade a server that has the login of daily commands: the superuser's session uses no object of the owner.

    The owner can cause an upgrade by changing the mark of the schema, and code attached to their tables, functions and
    operators would run in it. So the session of the login, which is not a superuser, upgrades these objects as the
    owner. The mark is set last, so an upgrade that ends between the transactions is repeated.
    """
    administrator = database.administrator
    with database.transaction(Role.OWNER) as session:
        before, pending = _pending(session)
        is_current = not pending and has_mark(session)
    with administrator.transaction(None) as connection:
        faults = protection.faults(connection) if is_current else []
        if is_current and _is_right(connection, faults):
            return replace(_report(before, faults), changed=False)
        protection.repair(connection, faults)
    with database.transaction(Role.OWNER) as session:
        _migrate(session, before, pending)
        session.execute(_owners_sql())
    with administrator.transaction(None) as connection:
        connection.execute(f"{database_grants()}\n{superuser_sql()}")
        remaining, repaired = _outcome(connection, faults)
    with database.transaction(Role.OWNER) as session:
        protection.record_repairs(session, repaired)
        session.execute(f"{_CHAIN_AT_ONCE}\n{_mark_sql()}")
    return _report(before, remaining, repaired)
