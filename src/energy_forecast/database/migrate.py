"""Upgrade the schema of a database: Alembic runs the numbered SQL files, then the routines are applied again.

Alembic is the runner because its version table is well known and it can print SQL for a DBA. The migrations are plain
SQL. The revisions are derived from the file names, so a migration is one file.
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

# Seconds that an upgrade waits until no session uses the tables
_PATIENCE = 60
# A second concurrent upgrade waits, then finds nothing to do
_LOCK: LiteralString = "SELECT pg_advisory_lock(hashtext('energy_forecast schema'))"

# Schema changes are audited. While entries wait for the commit to be chained, their table cannot be altered
_CHAIN_AT_ONCE: LiteralString = "SET CONSTRAINTS ALL IMMEDIATE;"


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


def _owners_sql() -> str:
    """Return the SQL that follows the migrations and changes objects of the owner."""
    return "\n".join(
        [
            f"SET LOCAL ROLE {Role.OWNER};",
            routines_sql(),
            "SELECT ensure_partitions_ahead();",
            queries("audit")["take_baselines"] + ";",
        ]
    )


def _mark_sql() -> str:
    """Return the last step: the mark that tells `schema_is_current` that everything was applied."""
    return f"COMMENT ON SCHEMA ops IS 'The platform''s own ledgers. Routines: {routines_digest()}';"


def _finish_sql() -> str:
    """Return the SQL that follows the migrations in the same transaction."""
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
    """Return a migration that runs as the owner, except the first, which creates the roles."""
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
    """Run a whole file on the driver's own connection, because SQLAlchemy would interpret `:name` and `%`."""
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
    """Lock every table at once before the first change.

    If an upgrade waited for one table while it held another, readers would wait and a load could end in a deadlock.

    Raises:
        SchemaError: a table is in use all the time.
    """
    statements = queries("schema")
    # This opens a transaction, so each attempt is a savepoint in it
    connection.execute("SELECT 1")
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


def upgrade(database: Database, *, target: str | None = None) -> Upgrade:
    """Upgrade the schema to `target` (None: the newest version), in one transaction.

    On the embedded server it needs a second transaction, of a superuser who uses no object of the owner.

    Raises:
        SchemaError: the database has a newer version than this package, or its tables are in use all the time.
        DatabaseError: a statement failed.
    """
    connection = database.administrator.connect()
    try:
        # Objects of the owner are found only by their qualified names
        connection.execute("SET search_path = pg_catalog")
        # A session lock, because SQLAlchemy rolls back once while it inspects the server
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
    """Return the version, the target version, and whether the catalog can be compared with the expected one.

    Raises:
        SchemaError: the database has a newer version than this package.
    """
    known = [version for version, _ in migration_files()]
    before = installed_version(connection)
    if before is not None and before not in known:
        raise SchemaError(
            f"The database has schema version {before}; this program knows up to {known[-1]}.",
            hint="Update energy-forecast.",
        )
    # Other routines have other catalog objects: only those of this version can be compared
    judged = target is None and before == known[-1] and _has_routines(connection)
    connection.commit()
    return before, target or known[-1], judged


def _is_right(connection: Connection, faults: Sequence[protection.Fault]) -> bool:
    """Return whether an upgrade would change nothing; then apply the grants that `faults` does not check."""
    if any(fault.repairable for fault in faults):
        return False
    # The login, and operators of the server. Nothing is written if they are correct
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
    """Return the remaining faults, and the given faults that were repaired."""
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
    """Upgrade a server that has the login of daily commands: the superuser's session uses no object of the owner.

    The owner can cause an upgrade by changing the mark of the schema, and code attached to their tables, functions and
    operators would run in it. So the session of the login, which is not a superuser, upgrades these objects as the
    owner. The mark is set last, so an upgrade that ends between the transactions is repeated.
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
    """Return the SQL that upgrades an empty database to the newest version, for a DBA to read and run."""
    output = io.StringIO()
    with _environment("head", as_sql=True) as environment:
        environment.configure(dialect_name="postgresql", output_buffer=output, transactional_ddl=True)
        with environment.begin_transaction():
            environment.run_migrations()
            environment.get_context().impl.static_output(_finish_sql())
    return output.getvalue()
