"""Create, rename and drop whole databases: a restore fills a temporary one and renames it after all checks passed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from energy_forecast.database.connection import Connection, Database, database_error
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import DatabaseError

_OLDEST_BUILTIN = 17


def sibling_database(database: Database, name: str) -> Database:
    """Return another database on the same server."""
    return replace(database, url=make_conninfo(database.url, dbname=name))


def address_without_password(database: Database, name: str) -> str:
    """Return the connection string of another database on the same server, to be printed."""
    parts = conninfo_to_dict(database.url) | {"password": None, "dbname": name}
    return make_conninfo("", **parts)


@contextlib.contextmanager
def _session(database: Database) -> Iterator[Connection]:
    """Open a session of the administrator for statements that cannot run in a transaction. They leave no state."""
    connection = database.administrator.connect()
    try:
        yield connection
    except psycopg.Error as error:
        raise database_error(error) from error
    finally:
        connection.close()


def _outside(database: Database) -> Database:
    """Return a database that no restore replaces: `postgres`, or the URL's own if that is closed."""
    outside = sibling_database(database, "postgres")
    try:
        outside.administrator.connect().close()
    except DatabaseError:
        return database
    return outside


def exists(connection: Connection, name: str) -> bool:
    """Return whether a database with this name exists."""
    return connection.execute(queries("backup")["database_exists"], {"database": name}).fetchone() == (True,)


def is_free(database: Database, name: str) -> bool:
    """Return whether a restore may use this name: the database does not exist or is empty."""
    with _session(_outside(database)) as connection:
        if not exists(connection, name):
            return True
    with _session(sibling_database(database, name)) as connection:
        return connection.execute(queries("backup")["is_empty"]).fetchone() == (True,)


@contextlib.contextmanager
def temporary_database(database: Database, locale: Mapping[str, str | None]) -> Iterator[Database]:
    """Create a database for a restore; drop it at the end unless `rename_restored` was called.

    Databases of killed restores are dropped first; a running restore holds the lock of its database's name.

    Raises:
        DatabaseError: the login may not create databases, or a statement failed.
    """
    name = f"energy_forecast_restoring_{uuid4().hex[:12]}"
    with _locked_name(database, name) as connection:
        _create(connection, name, locale)
        try:
            yield sibling_database(database, name)
        finally:
            _drop(connection, name)


def _drop(connection: Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def _locked_name(database: Database, name: str) -> Iterator[Connection]:
    """Drop the databases of killed restores and drills, and lock a new name; yield a session that creates databases.

    An open transaction holds the locks, so they end with this process even if it is killed.
    """
    outside = _outside(database)
    named = queries("backup")
    with outside.administrator.transaction(None) as locks, _session(outside) as connection:
        for (left,) in connection.execute(named["killed"]).fetchall():
            if locks.execute(named["try_lock"], {"name": left}).fetchone() == (True,):
                _drop(connection, left)
        locks.execute(named["try_lock"], {"name": name})
        locks.execute(queries("maintenance")["stay_open"])
        yield connection


@contextlib.contextmanager
def drill_database_name(database: Database) -> Iterator[str]:
    """Yield a database name for a drill; drop that database at the end, and those of killed drills first.

    Raises:
        DatabaseError: a statement failed.
    """
    name = f"energy_forecast_drill_{uuid4().hex[:12]}"
    with _locked_name(database, name) as connection:
        try:
            yield name
        finally:
            _drop(connection, name)


def _create(connection: Connection, name: str, locale: Mapping[str, str | None]) -> None:
    collate, ctype = locale["collate"], locale["ctype"]
    provider: sql.Composable = sql.SQL("")
    if locale["provider"] == "b":
        if connection.info.server_version // 10000 >= _OLDEST_BUILTIN:
            provider = sql.SQL(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {}").format(sql.Literal(locale["locale"]))
        else:
            # The same sort order, by the C library
            provider = sql.SQL(" LOCALE_PROVIDER libc")
            collate, ctype = "C", "C.UTF-8"
    elif locale["provider"] == "i":
        provider = sql.SQL(" LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(locale["locale"]))
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}{}").format(
            sql.Identifier(name),
            sql.Literal(locale["encoding"]),
            sql.Literal(collate),
            sql.Literal(ctype),
            provider,
        )
    )


def rename_restored(made: Database, name: str) -> Database:
    """Rename a restored database; drop an empty database with that name.

    Raises:
        DatabaseError: a database with this name exists and is not empty.
    """
    with _session(_outside(made)) as connection:
        if exists(connection, name):
            if not is_free(made, name):
                raise DatabaseError(f"The database {name!r} exists and is not empty.")
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(made.name), sql.Identifier(name))
        )
    return sibling_database(made, name)


def analyze(database: Database) -> None:
    """Collect the planner's statistics, which dumps before PostgreSQL 18 do not contain."""
    with _session(database) as connection:
        connection.execute("ANALYZE")
