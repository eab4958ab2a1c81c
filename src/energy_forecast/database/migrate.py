"""Bringing a database's schema up to date: Alembic runs the numbered SQL files, then the routines are applied anew.

Alembic is the runner since everyone knows its version table and it can print SQL for a DBA; what it runs is plain
SQL. Its revisions are made here from the files' names, so a migration is one file.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, LiteralString, cast

import psycopg
import sqlalchemy.exc
from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import Revision, RevisionMap
from sqlalchemy import NullPool, create_engine

from energy_forecast.database import protection
from energy_forecast.database.connection import Connection, Database, Role, refusal
from energy_forecast.database.named_queries import queries
from energy_forecast.database.schema import (
    database_grants,
    folder,
    installed_version,
    migration_files,
    routines_digest,
    routines_sql,
    superuser_sql,
)
from energy_forecast.errors import SchemaError

# Seconds that an upgrade waits for a moment when nobody uses a table
_PATIENCE = 60
# Two upgrades at once: the second waits, then finds nothing to do
_LOCK: LiteralString = "SELECT pg_advisory_lock(hashtext('energy_forecast schema'))"

# Changes of the schema are audited; while entries wait for the commit to be chained, their table cannot be altered
_CHAIN_AT_ONCE: LiteralString = "SET CONSTRAINTS ALL IMMEDIATE;"


@dataclass(frozen=True)
class Upgrade:
    """The result of an upgrade.

    Args:
        before: the version before; None for an empty database.
        after: the version now.
        changed: whether anything was applied.
        repaired: differences from the expected protection that it ended, as sentences.
        remaining: differences that it could not end, as sentences with their remedies.
    """

    before: str | None
    after: str
    changed: bool = True
    repaired: list[str] = field(default_factory=list)
    remaining: list[str] = field(default_factory=list)


def _finish_sql() -> str:
    """What follows the migrations, in the same transaction."""
    return "\n".join(
        [
            f"ALTER TABLE alembic_version OWNER TO {Role.OWNER};",
            _CHAIN_AT_ONCE,
            database_grants(),
            f"SET LOCAL ROLE {Role.OWNER};",
            routines_sql(),
            "SELECT ensure_partitions_ahead();",
            queries("audit")["take_baselines"] + ";",
            f"COMMENT ON SCHEMA ops IS 'The platform''s own ledgers. Routines: {routines_digest()}';",
            "RESET ROLE;",
            superuser_sql(),
        ]
    )


def _as_owner(version: str, text: str) -> str:
    """The first migration makes the roles; whatever comes later belongs to the owner."""
    if version == migration_files()[0][0]:
        return text
    return f"{_CHAIN_AT_ONCE}\nSET LOCAL ROLE {Role.OWNER};\n{text}\nRESET ROLE;"


def _script_directory() -> ScriptDirectory:
    directory = ScriptDirectory(str(folder()))

    def revisions() -> Iterator[Revision]:
        previous: str | None = None
        for version, text in migration_files():
            module = ModuleType(f"migration_{version}")
            module.__dict__.update(
                revision=version,
                down_revision=previous,
                upgrade=lambda v=version, t=text: _execute(_as_owner(v, t)),
            )
            yield Script(module, version, f"{version}.sql")
            previous = version

    directory.revision_map = RevisionMap(revisions)
    return directory


def _execute(text: str) -> None:
    """Runs a whole file: on the driver's own connection, since SQLAlchemy would read `:name` and `%` in it."""
    context = op.get_context()
    if context.as_sql:
        context.impl.static_output(text)
        return
    if context.connection is None:
        raise AssertionError("online without a connection")
    driver = cast(Connection, context.connection.connection.driver_connection)
    driver.execute(text)


@contextmanager
def _environment(target: str, *, as_sql: bool = False) -> Iterator[EnvironmentContext]:
    config = Config()
    scripts = _script_directory()

    def steps(current: Any, _: Any) -> Any:
        return scripts._upgrade_revs(target, current)

    with EnvironmentContext(config, scripts, fn=steps, as_sql=as_sql, destination_rev=target) as environment:
        yield environment


def _has_routines(connection: Connection) -> bool:
    row = connection.execute(queries("schema")["routines_are"], {"digest": routines_digest()}).fetchone()
    return row == (True,)


def _take_tables(connection: Connection) -> None:
    """Locks every table before the first change, all at one moment.

    An upgrade that waited for one while it held another would make readers wait, and could end a load by a deadlock.

    Raises:
        SchemaError: some table is in use all the time.
    """
    statements = queries("schema")
    # So that a transaction is open, and each attempt a savepoint in it
    connection.execute("SELECT 1")
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            with connection.transaction():
                connection.execute(statements["lock_tables"])
            return
        except psycopg.errors.LockNotAvailable as error:
            if time.monotonic() > until:
                raise SchemaError(
                    f"The tables were in use for {_PATIENCE} seconds, so nothing was changed.",
                    hint="Stop what loads or reads for long, and run it again.",
                ) from error
            time.sleep(0.2)


def upgrade(database: Database, *, target: str | None = None) -> Upgrade:
    """Brings the schema to `target` (the newest version when None), in one transaction: all of it or nothing.

    Raises:
        SchemaError: the database is of a newer version than this package, or its tables are in use all the time.
        DatabaseError: the server refused.
    """
    known = [version for version, _ in migration_files()]
    wanted = target or known[-1]
    connection = database.administrator.connect()
    try:
        # Of the session, not the transaction: SQLAlchemy rolls back once while it looks at the server
        connection.execute(_LOCK)
        connection.commit()
        before = installed_version(connection)
        if before is not None and before not in known:
            raise SchemaError(
                f"The database has schema version {before}; this program knows up to {known[-1]}.",
                hint="Update energy-forecast.",
            )
        # Where the routines are others, so are the guards: only those of this version can be judged
        judged = target is None and before == known[-1] and _has_routines(connection)
        faults = protection.faults(connection) if judged else []
        connection.commit()
        if judged and not any(fault.repairable for fault in faults):
            # The login, and operators of the server: `faults` does not judge them. Nothing is written if all is right
            connection.execute(database_grants())
            connection.commit()
            return Upgrade(before, wanted, changed=False, remaining=list(protection.words(faults)))
        remaining: list[protection.Fault] = []
        repaired: list[protection.Fault] = []
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)
        with engine.begin() as transaction, _environment(wanted) as environment:
            if before is not None:
                _take_tables(connection)
            environment.configure(connection=transaction)
            with environment.begin_transaction():
                environment.run_migrations()
            if wanted == known[-1]:
                protection.repair(connection, faults)
                connection.execute(_finish_sql())
                remaining = protection.faults(connection)
                left = {(fault.kind, fault.name, fault.message) for fault in remaining}
                repaired = [fault for fault in faults if (fault.kind, fault.name, fault.message) not in left]
                protection.record_repairs(connection, repaired)
    except psycopg.Error as error:
        raise refusal(error) from error
    except sqlalchemy.exc.DBAPIError as error:
        raise refusal(cast(psycopg.Error, error.orig)) from error
    finally:
        connection.close()
    return Upgrade(
        before,
        wanted,
        repaired=[f"{fault.message}." for fault in repaired],
        remaining=list(protection.words(remaining)),
    )


def upgrade_sql() -> str:
    """The SQL that brings an empty database to the newest version, for a DBA to read and run."""
    output = io.StringIO()
    with _environment("head", as_sql=True) as environment:
        environment.configure(dialect_name="postgresql", output_buffer=output, transactional_ddl=True)
        with environment.begin_transaction():
            environment.run_migrations()
            environment.get_context().impl.static_output(_finish_sql())
    return output.getvalue()
