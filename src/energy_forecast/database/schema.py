"""The schema of this program, in SQL files, and the comparison of a database's version with it."""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from energy_forecast.database.connection import Connection, Database
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import UnreachableError


def folder() -> Traversable:
    """Return the folder of the SQL files."""
    return resources.files("energy_forecast.database")


def migration_files() -> list[tuple[str, str]]:
    """Return the migrations in order: (version, SQL). The version is the number before the first underscore."""
    files = sorted((f for f in (folder() / "migrations").iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [(f.name.partition("_")[0], f.read_text("utf-8")) for f in files]


def newest_version() -> str:
    """Return the newest version."""
    return migration_files()[-1][0]


def routines_sql() -> str:
    """Return functions, views, triggers, policies, then grants: the SQL that every upgrade applies completely."""
    routines = folder() / "routines"
    parts = ["SET check_function_bodies = off;"]
    for kind in ("functions", "views", "triggers", "policies"):
        parts += [f.read_text("utf-8") for f in sorted((routines / kind).iterdir(), key=lambda f: f.name)]
    parts.append((routines / "grants.sql").read_text("utf-8"))
    return "\n".join(parts)


def database_grants() -> str:
    """Return the grants on the database and the server, which neither a dump nor a copy contains."""
    return "\n".join((folder() / "routines" / name).read_text("utf-8") for name in ("database.sql", "login.sql"))


def superuser_sql() -> str:
    """Return the SQL that needs a superuser, at least for its full effect. The event triggers come last."""
    return "\n".join(
        (folder() / "routines" / name).read_text("utf-8") for name in ("bulk_insert.sql", "event_triggers.sql")
    )


def routines_digest() -> str:
    """Return the SHA-256 of the routines, which the database stores to show whether they are current."""
    return hashlib.sha256((routines_sql() + superuser_sql()).encode()).hexdigest()


def installed_version(connection: Connection) -> str | None:
    """Return the schema version of the database; None if it has no schema."""
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
    """Return the schema version; None if the database has no schema."""
    connection = with_login(database).connect(autocommit=True)
    try:
        return installed_version(connection)
    finally:
        connection.close()


def schema_is_current(database: Database) -> bool:
    """Return whether the database has the newest migration, the current routines and the login."""
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
