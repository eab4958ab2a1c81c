"""Connections: server, role, transactions, and errors of the driver translated for users."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeAlias

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from energy_forecast.database.named_queries import queries
from energy_forecast.errors import ConnectionLostError, DatabaseError, DataRefusedError, UnreachableError

Connection: TypeAlias = psycopg.Connection[Any]

OPTIONS = (
    "-c timezone=UTC -c search_path=public -c client_min_messages=warning -c datestyle=ISO,YMD "
    "-c intervalstyle=postgres -c standard_conforming_strings=on -c extra_float_digits=1 -c bytea_output=hex"
)
OLDEST_SERVER = 150000
NEWEST_SERVER = 190000

# libpq reads these only if a service is named
_SERVICE_FILES = {"PGSERVICEFILE", "PGSYSCONFDIR"}
_environment_lock = threading.RLock()


@contextmanager
def _environment(*, hide: bool, service: str | None = None) -> Iterator[None]:
    """Change the environment for libpq, which reads it while it connects, and restore it.

    Args:
        hide: hide every variable of libpq.
        service: the value of PGSERVICE.
    """
    with _environment_lock:
        names = {name for name in os.environ if hide and name.startswith("PG")} - _SERVICE_FILES
        names |= set() if service is None else {"PGSERVICE"}
        before = {name: os.environ.pop(name) for name in names if name in os.environ}
        if service is not None:
            os.environ["PGSERVICE"] = service
        try:
            yield
        finally:
            for name in names:
                os.environ.pop(name, None)
            os.environ.update(before)


# The login of daily commands on the embedded server; sql/routines/020_login.sql creates it
LOGIN = "energy_forecast_login"


class Role(StrEnum):
    """The roles that the platform uses."""

    OWNER = "energy_forecast_owner"
    INGEST = "energy_forecast_ingest"
    FORECASTER = "energy_forecast_forecaster"
    OPERATOR = "energy_forecast_operator"
    AUDITOR = "energy_forecast_auditor"


@dataclass(frozen=True)
class Database:
    """One database on one server. It holds no connection; every transaction opens its own.

    Args:
        url: a libpq URL or connection string.
        embedded: whether it is the server of a state folder. The environment then has no influence on the connection.
            Otherwise libpq takes parameters that the URL omits from the environment.
        login: the role that connects instead of the URL's user, who is a superuser on the embedded server.
    """

    url: str
    embedded: bool = False
    login: str | None = None

    @property
    def administrator(self) -> Database:
        """The same database with the URL's own user, only for `db upgrade`, backup and recovery."""
        return replace(self, login=None)

    @property
    def name(self) -> str:
        """The database's name."""
        found = self.parameters()
        return found.get("dbname") or found["user"]

    def parameters(self) -> dict[str, str]:
        """Return the connection parameters from the URL, a service file and the environment, in this order."""
        given = {name: str(value) for name, value in conninfo_to_dict(self.url).items()}
        with _environment(hide=self.embedded, service=given.get("service")):
            defaults = pq.Conninfo.get_defaults()
        found = {
            option.keyword.decode(): option.val.decode(errors="replace")
            for option in defaults
            if option.val is not None and option.val != option.compiled
        }
        return found | given | ({} if self.login is None else {"user": self.login})

    def connect(self, *, autocommit: bool = False) -> Connection:
        """Open a connection as `login`, or as the URL's user, in UTC.

        Raises:
            UnreachableError: the server cannot be reached, or rejects the login.
            DatabaseError: the server is not PostgreSQL 15 to 18.
        """
        try:
            parameters = self.parameters()
            # The user's options come first, so ours override them. PGTZ and PGDATESTYLE would override both
            parameters["options"] = f"{parameters.get('options', '')} {OPTIONS}".strip()
            parameters |= {"application_name": "energy-forecast", "client_encoding": "UTF8"}
            conninfo = make_conninfo("", **parameters)
            with _environment(hide=True):
                connection = psycopg.connect(conninfo, autocommit=autocommit, connect_timeout=15)
        except psycopg.Error as error:
            raise UnreachableError(
                f"Cannot connect to the database: {one_line(error)}.",
                hint="Check ENERGY_FORECAST_DATABASE_URL, or unset it to use the embedded server.",
            ) from error
        if not OLDEST_SERVER <= connection.info.server_version < NEWEST_SERVER:
            found = connection.info.server_version // 10000
            connection.close()
            raise DatabaseError(f"The server is PostgreSQL {found}; 15 to 18 are supported.")
        return connection

    def server_info(self) -> dict[str, str]:
        """Return the server's version and address, the database and the login, without a password."""
        connection = self.connect(autocommit=True)
        try:
            info = connection.info
            return {
                "version": f"{info.server_version // 10000}.{info.server_version % 10000}",
                "host": info.host,
                "database": info.dbname,
                "login": info.user,
            }
        finally:
            connection.close()

    @contextmanager
    def transaction(
        self, role: Role | None, *, one_snapshot: bool = False, trial: bool = False
    ) -> Iterator[Connection]:
        """Run one transaction as a role: commit at the end, roll back on an exception.

        Args:
            role: None for the login itself, which creates roles. Its search path has no schema of the platform, so it
                finds no object of the owner: an operator such as public.=(oid, regrole) would override PostgreSQL's.
            one_snapshot: use REPEATABLE READ.
            trial: roll back at the end too, to test whether the database accepts the changes.

        Raises:
            DatabaseError: as `connect`, or a statement failed. The message is one line without data of rows.
        """
        connection = self.connect()
        if one_snapshot:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            with connection.transaction(force_rollback=trial):
                if role is None:
                    connection.execute("SET LOCAL search_path = pg_catalog")
                else:
                    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
                yield connection
        except psycopg.Error as error:
            raise database_error(error) from error
        finally:
            connection.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run one read-only transaction: as the operator, who sees every city, if the login is a member of that role.

        Otherwise the login is a user, and the transaction sees the cities granted to them.

        Raises:
            DatabaseError: as `transaction`.
        """
        connection = self.connect()
        try:
            connection.read_only = True
            with connection.transaction():
                may_take = connection.execute(queries("schema")["may_take"], {"role": Role.OPERATOR}).fetchone()
                if may_take == (True,):
                    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(Role.OPERATOR)))
                yield connection
        except psycopg.Error as error:
            raise database_error(error) from error
        finally:
            connection.close()


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Run a part of a transaction that is rolled back alone on an exception.

    Raises:
        ConnectionLostError: the connection was lost.
        DatabaseError: a statement failed. The message is one line without data of rows.
    """
    try:
        with connection.transaction():
            yield
    except psycopg.Error as error:
        raise database_error(error) from error


def one_line(error: psycopg.Error) -> str:
    """Return the server's message without DETAIL, which may contain data that the user must not see."""
    message = error.diag.message_primary or str(error).strip().splitlines()[0]
    return message.rstrip(".")


def _is_lost(error: psycopg.Error) -> bool:
    """Return whether the session ended, not only a statement (canceled, too large or out of locks)."""
    state = error.sqlstate
    return state is None or state.startswith(("08", "57P"))


def database_error(error: psycopg.Error) -> DatabaseError:
    """Return the error to show to a user for a failed statement."""
    text = one_line(error)
    match error:
        case psycopg.errors.DiskFull():
            return DatabaseError(f"The disk of the database is full: {text}.", hint="Make room and try again.")
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedFunction() | psycopg.errors.UndefinedColumn():
            return DatabaseError(f"The schema is missing or outdated: {text}.", hint="Run: energy-forecast db upgrade")
        case psycopg.errors.InvalidParameterValue() if "role" in text:
            return DatabaseError(f"The platform's roles are missing: {text}.", hint="Run: energy-forecast db upgrade")
        case psycopg.errors.InsufficientPrivilege() if "extension" in text:
            return DatabaseError(
                f"The login may not do this: {text}.",
                hint="Let a superuser prepare the database once; see docs/howto/own-server.md.",
            )
        case psycopg.errors.InsufficientPrivilege() if "permission denied to set role" in text:
            return DatabaseError(
                f"The login may not do this: {text}.",
                hint="Users run only `city list`, `city show` and `query`, see docs/concepts/access.md. "
                "For the roles of other logins see docs/howto/own-server.md.",
            )
        case psycopg.errors.InsufficientPrivilege() if "role" in text:
            return DatabaseError(
                f"The login may not do this: {text}.",
                hint="For the rights that a login needs to add users see docs/howto/own-server.md.",
            )
        case psycopg.errors.InsufficientPrivilege():
            return DatabaseError(f"The login may not do this: {text}.")
        case psycopg.errors.RaiseException():
            # The message of one of our migrations or functions
            return DatabaseError(f"The database refused: {text}.", hint=error.diag.message_hint)
        case psycopg.OperationalError() if _is_lost(error):
            return ConnectionLostError(
                f"The connection to the database was lost: {text}.",
                hint="The unfinished step was rolled back; run it again.",
            )
        case psycopg.errors.InternalError_() if "cache lookup failed" in text:
            # Retention can drop a partition between two reads of the catalog
            return DatabaseError(f"Another session dropped a table during this query: {text}.", hint="Run it again.")
        case psycopg.DataError() | psycopg.IntegrityError():
            return DataRefusedError(f"The database refused: {text}.")
        case _:
            return DatabaseError(f"The database refused: {text}.")
