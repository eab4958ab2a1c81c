"""The schema of this program, in SQL files, and the comparison of a database's version with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from energy_forecast.database.connection import Connection, Database
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import UnreachableError


@dataclass(frozen=True)
class Migration:
    """A numbered SQL file. The version is the number before the first underscore."""

    version: str
    text: str

    @property
    def sha256(self) -> str:
        """The SHA-256 of the text, in hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def folder() -> Traversable:
    """Return the folder of the SQL files."""
    return resources.files("energy_forecast.database") / "sql"


def migrations() -> list[Migration]:
    """Return the migrations in order."""
    files = sorted((f for f in (folder() / "migrations").iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f.name.partition("_")[0], f.read_text("utf-8")) for f in files]


def newest_version() -> str:
    """Return the newest version."""
    return migrations()[-1].version


def _routines(first: str, last: str) -> str:
    """Return the routines whose number is from `first` to `last`, in the order of their names."""
    files = [f for f in (folder() / "routines").iterdir() if first <= f.name[:3] <= last]
    parts = []
    for entry in sorted(files, key=lambda f: f.name):
        inside = sorted(entry.iterdir(), key=lambda f: f.name) if entry.is_dir() else [entry]
        parts += [f.read_text("utf-8") for f in inside]
    return "\n".join(parts)


def database_grants() -> str:
    """Return the grants on the database and the server, which neither a dump nor a copy contains."""
    return _routines("000", "099")


def routines_sql() -> str:
    """Return functions, views, triggers, policies, then grants: the SQL that every upgrade applies as the owner."""
    return "SET LOCAL check_function_bodies = off;\n" + _routines("100", "899")


def superuser_sql() -> str:
    """Return the SQL that needs a superuser, at least for its full effect. The event triggers come last."""
    return _routines("900", "999")


def routines_digest() -> str:
    """Return the SHA-256 of the routines, which the database stores to show whether they are current."""
    return hashlib.sha256((routines_sql() + superuser_sql()).encode()).hexdigest()


def schema_mark() -> str:
    """Return the comment of schema `ops`, which every upgrade sets last and every login can read."""
    return f"Ledgers of the platform. Version {newest_version()}, routines {routines_digest()}"


def with_login(database: Database) -> Database:
    """Return the database, or the same one for its administrator if the server does not have the login yet."""
    if database.login is None:
        return database
    with database.administrator.transaction(None) as connection:
        found = connection.execute(queries("schema")["has_role"], {"role": database.login}).fetchone()
    return database if found == (True,) else database.administrator


def schema_version(database: Database) -> str | None:
    """Return the schema version; None if the database has no schema or an unfinished upgrade."""
    with with_login(database).transaction(None) as connection:
        row = connection.execute(queries("schema")["version"]).fetchone()
    return None if row is None else row[0]


def has_mark(connection: Connection) -> bool:
    """Return whether an upgrade by this program has applied all migrations and routines."""
    return connection.execute(queries("schema")["has_mark"], {"mark": schema_mark()}).fetchone() == (True,)


def schema_is_current(database: Database) -> bool:
    """Return whether the database has the newest migration, the current routines and the login."""
    try:
        with database.transaction(None) as connection:
            return has_mark(connection)
    except UnreachableError:
        if with_login(database) == database:
            raise
        return False
