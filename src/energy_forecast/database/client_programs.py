"""The environment in which PostgreSQL's client programs connect as this package does."""

from __future__ import annotations

import os

from psycopg import pq

from energy_forecast.database.connection import Database, has_pooler
from energy_forecast.errors import DatabaseError

# The password file and certificates have their default places in the home folder
_KEPT = ("HOME",)


def require_direct_connection(database: Database) -> None:
    """Raise if the connection goes through a pooler: pg_dump sets its role and settings for the whole session.

    Raises:
        DatabaseError: it does, or the server cannot be reached.
    """
    with database.transaction(None) as connection:
        if has_pooler(connection):
            raise DatabaseError(
                "The connection goes through a pooler, and pg_dump would leave its role in a session of others.",
                hint="Set ENERGY_FORECAST_DATABASE_URL to the server itself for this command.",
            )


def client_environment(database: Database) -> dict[str, str]:
    """Return the environment for pg_dump and similar programs: the connection parameters as PG variables.

    On the command line, every user of the machine could read a password. A service is resolved here, because
    libpq prefers it to environment variables.
    """
    kept = {} if database.embedded else {name: os.environ[name] for name in _KEPT if name in os.environ}
    found = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"} | kept
    parameters = database.parameters()
    for option in pq.Conninfo.parse(b""):
        value = parameters.get(option.keyword.decode())
        if value and option.envvar and option.keyword not in (b"service", b"client_encoding"):
            found[option.envvar.decode()] = value
    return found
