"""Bringing a database's schema up to date: Alembic runs the numbered SQL files, then the routines are applied anew.

Alembic is the runner since everyone knows its version table and it can print SQL for a DBA; what it runs is plain
SQL. Its revisions are made here from the files' names, so a migration is one file.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, LiteralString, cast

import psycopg
import sqlalchemy.exc
from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import Revision, RevisionMap
from psycopg.conninfo import make_conninfo
from sqlalchemy import NullPool, create_engine

from energy_forecast.database import protection
from energy_forecast.database.connection import Connection, Database, Role, database_error
from energy_forecast.database.named_queries import queries
from energy_forecast.database.schema import (
    database_grants,
    folder,
    installed_version,
    migration_files,
    newest_version,
    routines_digest,
    routines_sql,
    superuser_sql,
    with_login,
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


def _owners_sql() -> str:
    """Return what follows the migrations and touches objects of the owner."""
    return "\n".join(
        [
            f"SET LOCAL ROLE {Role.OWNER};",
            routines_sql(),
            "SELECT ensure_partitions_ahead();",
            queries("audit")["take_baselines"] + ";",
        ]
    )


def _mark_sql() -> str:
    """Return the mark by which `schema_is_current` knows that everything was applied: the last step."""
    return f"COMMENT ON SCHEMA ops IS 'The platform''s own ledgers. Routines: {routines_digest()}';"


def _finish_sql() -> str:
    """What follows the migrations, in the same transaction."""
    return "\n".join(
        [
            f"ALTER TABLE alembic_version OWNER TO {Role.OWNER};",
            _CHAIN_AT_ONCE,
            database_grants(),
            _owners_sql(),
            _mark_sql(),
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

    On the embedded server it takes a second transaction, of a superuser who touches no object of the owner.

    Raises:
        SchemaError: the database is of a newer version than this package, or its tables are in use all the time.
        DatabaseError: the server refused.
    """
    connection = database.administrator.connect()
    try:
        # Nothing of the owner's is found unless it is named with its schema
        connection.execute("SET search_path = pg_catalog")
        # Of the session, not the transaction: SQLAlchemy rolls back once while it looks at the server
        connection.execute(_LOCK)
        connection.commit()
        has_objects = connection.execute(queries("schema")["has_objects"], {"role": Role.OWNER}).fetchone() == (True,)
        connection.commit()
        if database.login is not None and has_objects and with_login(database) == database:
            return _upgrade_with_login(connection, database, target)
        connection.execute("SET search_path = public")
        return _upgrade(connection, target)
    except psycopg.Error as error:
        raise database_error(error) from error
    except sqlalchemy.exc.DBAPIError as error:
        raise database_error(cast(psycopg.Error, error.orig)) from error
    finally:
        connection.close()


def _state(connection: Connection, target: str | None) -> tuple[str | None, str, bool]:
    """Return the version, the wanted version, and whether the guards can be judged.

    Raises:
        SchemaError: the database is of a newer version than this package.
    """
    known = [version for version, _ in migration_files()]
    before = installed_version(connection)
    if before is not None and before not in known:
        raise SchemaError(
            f"The database has schema version {before}; this program knows up to {known[-1]}.",
            hint="Update energy-forecast.",
        )
    # Where the routines are others, so are the guards: only those of this version can be judged
    judged = target is None and before == known[-1] and _has_routines(connection)
    connection.commit()
    return before, target or known[-1], judged


def _is_right(connection: Connection, faults: Sequence[protection.Fault]) -> bool:
    """Return whether an upgrade would change nothing; what `faults` does not judge is then set right."""
    if any(fault.repairable for fault in faults):
        return False
    # The login, and operators of the server. Nothing is written if all is right
    connection.execute(database_grants())
    connection.commit()
    return True


def _migrate(connection: Connection, wanted: str, before: str | None, finish: Callable[[], object]) -> None:
    """Run the migrations and `finish` in one transaction. The connection is closed at the end."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)
    with engine.begin() as transaction, _environment(wanted) as environment:
        if before is not None:
            _take_tables(connection)
        environment.configure(connection=transaction)
        with environment.begin_transaction():
            environment.run_migrations()
        if wanted == newest_version():
            finish()


def _outcome(
    connection: Connection, faults: Sequence[protection.Fault]
) -> tuple[list[protection.Fault], list[protection.Fault]]:
    """Return the faults that are left, and those of the given ones that are not."""
    remaining = protection.faults(connection)
    left = {(fault.kind, fault.name, fault.message) for fault in remaining}
    return remaining, [fault for fault in faults if (fault.kind, fault.name, fault.message) not in left]


def _report(
    before: str | None, wanted: str, remaining: Sequence[protection.Fault], repaired: Sequence[protection.Fault]
) -> Upgrade:
    return Upgrade(
        before,
        wanted,
        repaired=[f"{fault.message}." for fault in repaired],
        remaining=list(protection.sentences(remaining)),
    )


def _upgrade(connection: Connection, target: str | None) -> Upgrade:
    """Upgrade in one session and one transaction."""
    before, wanted, judged = _state(connection, target)
    faults = protection.faults(connection) if judged else []
    connection.commit()
    if judged and _is_right(connection, faults):
        return Upgrade(before, wanted, changed=False, remaining=list(protection.sentences(faults)))
    remaining: list[protection.Fault] = []
    repaired: list[protection.Fault] = []

    def finish() -> None:
        nonlocal remaining, repaired
        protection.repair(connection, faults)
        connection.execute(_finish_sql())
        remaining, repaired = _outcome(connection, faults)
        protection.record_repairs(connection, repaired)

    _migrate(connection, wanted, before, finish)
    return _report(before, wanted, remaining, repaired)


def _upgrade_with_login(connection: Connection, database: Database, target: str | None) -> Upgrade:
    """Upgrade a server that has the login of daily commands: the superuser's session touches no object of the owner.

    The owner can cause an upgrade, by changing the mark of the schema, and what they hung on their tables, functions
    and operators would run in it. So the session of the login, who is no superuser, upgrades these objects as the
    owner. The mark is set last: an upgrade that ends between the transactions is repeated.
    """
    owner = replace(database, url=make_conninfo(database.url, options=f"-c role={Role.OWNER}"))
    session = owner.connect()
    try:
        before, wanted, judged = _state(session, target)
        faults = protection.faults(connection) if judged else []
        connection.commit()
        if judged and _is_right(connection, faults):
            return Upgrade(before, wanted, changed=False, remaining=list(protection.sentences(faults)))
        protection.repair(connection, faults)
        connection.commit()
        _migrate(session, wanted, before, lambda: session.execute(f"{_CHAIN_AT_ONCE}\n{_owners_sql()}"))
    finally:
        session.close()
    if wanted != newest_version():
        return Upgrade(before, wanted)
    connection.execute(f"{database_grants()}\n{superuser_sql()}")
    connection.commit()
    remaining, repaired = _outcome(connection, faults)
    connection.commit()
    with owner.transaction(Role.OWNER) as session:
        protection.record_repairs(session, repaired)
        session.execute(f"{_CHAIN_AT_ONCE}\n{_mark_sql()}")
    return _report(before, wanted, remaining, repaired)


def upgrade_sql() -> str:
    """The SQL that brings an empty database to the newest version, for a DBA to read and run."""
    output = io.StringIO()
    with _environment("head", as_sql=True) as environment:
        environment.configure(dialect_name="postgresql", output_buffer=output, transactional_ddl=True)
        with environment.begin_transaction():
            environment.run_migrations()
            environment.get_context().impl.static_output(_finish_sql())
    return output.getvalue()
