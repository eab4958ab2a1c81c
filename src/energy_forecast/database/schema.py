"""The schema as this program has it, in files, and whether a database has the same."""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from energy_forecast.database.connection import Connection, Database
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import UnreachableError


def folder() -> Traversable:
    """Where the SQL files are."""
    return resources.files("energy_forecast.database")


def migration_files() -> list[tuple[str, str]]:
    """The migrations in order: (version, SQL). The version is the number before the first underscore."""
    files = sorted((f for f in (folder() / "migrations").iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [(f.name.partition("_")[0], f.read_text("utf-8")) for f in files]


def newest_version() -> str:
    """The newest version."""
    return migration_files()[-1][0]


def routines_sql() -> str:
    """Functions, views, triggers, policies, then grants: everything that is replaced whole after each upgrade."""
    routines = folder() / "routines"
    parts = ["SET check_function_bodies = off;"]
    for kind in ("functions", "views", "triggers", "policies"):
        parts += [f.read_text("utf-8") for f in sorted((routines / kind).iterdir(), key=lambda f: f.name)]
    parts.append((routines / "grants.sql").read_text("utf-8"))
    return "\n".join(parts)


def database_grants() -> str:
    """What belongs to the database and the server, and not to the schema: neither a dump nor a copy has it."""
    return "\n".join((folder() / "routines" / name).read_text("utf-8") for name in ("database.sql", "login.sql"))


def superuser_sql() -> str:
    """What the login makes, since only a superuser can make it, or make it whole. The event triggers come last."""
    return "\n".join(
        (folder() / "routines" / name).read_text("utf-8") for name in ("bulk_insert.sql", "event_triggers.sql")
    )


def routines_digest() -> str:
    """SHA-256 of the routines, kept in the database beside the version to tell whether they are current."""
    return hashlib.sha256((routines_sql() + superuser_sql()).encode()).hexdigest()


def installed_version(connection: Connection) -> str | None:
    """The version of the schema that stands in the database; None where there is none."""
    statements = queries("schema")
    if connection.execute(statements["has_version"]).fetchone() == (False,):
        return None
    row = connection.execute(statements["version"]).fetchone()
    return None if row is None else str(row[0])


def with_login(database: Database) -> Database:
    """Return the database, or the same one for its administrator if the server does not have the login yet."""
    if database.login is None:
        return database
    connection = database.administrator.connect(autocommit=True)
    try:
        found = connection.execute(queries("schema")["has_role"], {"role": database.login}).fetchone()
        return database if found == (True,) else database.administrator
    finally:
        connection.close()


def schema_version(database: Database) -> str | None:
    """The version of the schema; None where there is none."""
    connection = with_login(database).connect(autocommit=True)
    try:
        return installed_version(connection)
    finally:
        connection.close()


def schema_is_current(database: Database) -> bool:
    """Whether the newest migration and the present routines stand in the database, and its login is there."""
    try:
        connection = database.connect(autocommit=True)
    except UnreachableError:
        if with_login(database) == database:
            raise
        return False
    try:
        if installed_version(connection) != newest_version():
            return False
        row = connection.execute(queries("schema")["routines_are"], {"digest": routines_digest()}).fetchone()
        return row == (True,)
    finally:
        connection.close()
