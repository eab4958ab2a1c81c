"""Connections: server, role, transactions, and errors of the driver translated for users."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, LiteralString, Self, TypeAlias

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from energy_forecast.database.named_queries import one_row, queries
from energy_forecast.errors import (
    ConnectionLostError,
    ConnectionsInUseError,
    DatabaseError,
    DataRefusedError,
    NotPermittedError,
    TimedOutError,
    UnreachableError,
)

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

Connection: TypeAlias = psycopg.Connection[Any]

# They end with the transaction: a pooler may run each one in another session, and gives the session to others next
_SETTINGS: LiteralString = (
    "SET LOCAL search_path = public; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; "
    "SET LOCAL intervalstyle = 'postgres'; SET LOCAL standard_conforming_strings = on; "
    "SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL client_min_messages = 'warning'"
)
OLDEST_SERVER = 150000
NEWEST_SERVER = 190000

# Sessions of a pool, and seconds to wait for one
_MOST_SESSIONS = 10
_POOL_TIMEOUT = 10.0
# Seconds until a failed connection is given up; the next transaction tries again
_POOL_RECONNECTS = 4.0

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


class _Session(psycopg.Connection[Any]):
    """A connection that libpq opens without the variables of the environment."""

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        with _environment(hide=True):
            return super().connect(conninfo, **options)


# A prepared statement would stay in a session that a pooler gives to others
_SESSION_OPTIONS: dict[str, Any] = {"autocommit": True, "prepare_threshold": None, "connect_timeout": 15}

# The login of daily commands on the embedded server; sql/routines/020_login.sql creates it
LOGIN = "energy_forecast_login"
# The login of the HTTP API, which takes the role of the user of each request
API_LOGIN = "energy_forecast_api"


class Role(StrEnum):
    """The roles that the platform uses."""

    OWNER = "energy_forecast_owner"
    INGEST = "energy_forecast_ingest"
    FORECASTER = "energy_forecast_forecaster"
    OPERATOR = "energy_forecast_operator"
    AUDITOR = "energy_forecast_auditor"


@dataclass(frozen=True)
class Database:
    """One database on one server. Every transaction opens its own connection, unless the database is `pooled`.

    Args:
        url: a libpq URL or connection string.
        embedded: whether it is the server of a state folder. The environment then has no influence on the connection.
            Otherwise libpq takes parameters that the URL omits from the environment.
        login: the role that connects instead of the URL's user, who is a superuser on the embedded server.
        standby: whether it is the hot standby of ENERGY_FORECAST_READ_URL.
    """

    url: str
    embedded: bool = False
    login: str | None = None
    standby: bool = False
    # With its process: a fork must not use the sessions of its parent. Not copied by `replace`, nor to other processes
    _pool: tuple[ConnectionPool[_Session], int] | None = field(default=None, init=False, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make this database, without its pool, in another process."""
        return Database, (self.url, self.embedded, self.login, self.standby)

    def pooled(self, *, timeout: float = _POOL_TIMEOUT) -> Database:
        """Return the same database with a pool: at most 10 sessions, which transactions of all threads share.

        `close` ends them. A session that the server closed is replaced.

        Args:
            timeout: seconds to wait for a session, also if the server cannot be reached.
        """
        # Imported here: most commands do not need it
        from psycopg_pool import ConnectionPool

        made = replace(self)
        pool = ConnectionPool(
            self._conninfo(),
            connection_class=_Session,
            kwargs=_SESSION_OPTIONS,
            check=ConnectionPool.check_connection,
            min_size=0,
            max_size=_MOST_SESSIONS,
            timeout=timeout,
            # Otherwise attempts after an outage would come less and less often
            reconnect_timeout=_POOL_RECONNECTS,
            num_workers=1,
            open=True,
        )
        object.__setattr__(made, "_pool", (pool, os.getpid()))
        return made

    def close(self) -> None:
        """Close the sessions of the pool, if there is one."""
        if self._pool is not None and self._pool[1] == os.getpid():
            self._pool[0].close()

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

    def connect(self, *, options: str = "") -> Connection:
        """Open a session as `login`, or as the URL's user. It begins no transaction by itself.

        Args:
            options: startup options after those of the user, such as -c role=NAME. PgBouncer refuses all of them.

        Raises:
            UnreachableError: the server cannot be reached, or rejects the login.
            DatabaseError: the server is not PostgreSQL 15 to 18.
        """
        hint = "Check ENERGY_FORECAST_DATABASE_URL, or unset it to use the embedded server."
        if self.standby:
            hint = "Check ENERGY_FORECAST_READ_URL, or unset it to read from the primary."
        try:
            connection = _Session.connect(self._conninfo(options), **_SESSION_OPTIONS)
        except psycopg.Error as error:
            if "unsupported startup parameter" in str(error):
                hint = "The pooler passes on no options: remove `options` from the URL, and unset PGOPTIONS."
            server = "standby" if self.standby else "database"
            raise UnreachableError(f"Cannot connect to the {server}: {one_line(error)}.", hint=hint) from error
        if not OLDEST_SERVER <= connection.info.server_version < NEWEST_SERVER:
            found = connection.info.server_version // 10000
            connection.close()
            raise DatabaseError(f"The server is PostgreSQL {found}; 15 to 18 are supported.")
        return connection

    def _conninfo(self, options: str = "") -> str:
        parameters = self.parameters()
        if options := f"{parameters.pop('options', '')} {options}".strip():
            parameters["options"] = options
        # A pooler passes these two on. PGTZ and PGDATESTYLE are hidden
        parameters |= {"application_name": "energy-forecast", "client_encoding": "UTF8"}
        return make_conninfo("", **parameters)

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """Open a session and close it, or take one from the pool and give it back."""
        if self._pool is None or self._pool[1] != os.getpid():
            connection: Connection = self.connect()
            try:
                yield connection
            finally:
                connection.close()
            return
        from psycopg_pool import PoolTimeout

        pool = self._pool[0]
        try:
            pooled = pool.getconn()
        except PoolTimeout as error:
            # Shows the reason if the server cannot be reached
            self.connect().close()
            raise ConnectionsInUseError(
                f"All {_MOST_SESSIONS} connections of this program are in use.", hint="Try again later."
            ) from error
        try:
            yield pooled
        finally:
            pool.putconn(pooled)

    def server_info(self) -> dict[str, str]:
        """Return the server's version and address, the database and the login, without a password."""
        connection = self.connect()
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
        self, role: Role | None, *, one_snapshot: bool = False, read_only: bool = False, trial: bool = False
    ) -> Iterator[Connection]:
        """Run one transaction as a role: commit at the end, roll back on an exception. Nothing of it is left behind.

        The role and the platform's settings (UTC, search path, formats) are those of the transaction, not of the
        session. They are set in the message that begins it.

        Args:
            role: None for the login itself, which creates roles. Its search path has no schema of the platform, so it
                finds no object of the owner: an operator such as public.=(oid, regrole) would override PostgreSQL's.
            one_snapshot: use REPEATABLE READ.
            read_only: let the server reject writes.
            trial: roll back at the end too, to test whether the database accepts the changes.

        Raises:
            DatabaseError: as `connect`, or a statement failed. The message is one line without data of rows.
        """
        begin = sql.SQL("BEGIN{}{}; {}; {}").format(
            sql.SQL(" ISOLATION LEVEL REPEATABLE READ" if one_snapshot else ""),
            sql.SQL(" READ ONLY" if read_only else ""),
            sql.SQL(_SETTINGS),
            sql.SQL("SET LOCAL search_path = pg_catalog")
            if role is None
            else sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)),
        )
        with self._transaction(begin, trial=trial) as connection:
            yield connection

    @contextmanager
    def reading(self, role: Role = Role.OPERATOR, *, one_snapshot: bool = False) -> Iterator[Connection]:
        """Run one read-only transaction as a role of the platform, which sees every city, if the login may take it.

        Otherwise the login is a user, and the transaction sees the cities granted to them.

        Args:
            role: one that may read what is asked.
            one_snapshot: use REPEATABLE READ.

        Raises:
            NotPermittedError: the login is no user either.
            DatabaseError: as `transaction`.
        """
        level = sql.SQL(" ISOLATION LEVEL REPEATABLE READ" if one_snapshot else "")
        begin = sql.SQL("BEGIN{} READ ONLY; {}").format(level, sql.SQL(_SETTINGS))
        with self._transaction(begin) as connection:
            login, is_user = one_row(connection, queries("schema")["take_role"], {"role": role})
            if is_user is False:
                raise NotPermittedError(
                    f"The login {login!r} has no rights in this database.",
                    hint=f"Let an operator add it: energy-forecast user add {login}",
                )
            yield connection

    @contextmanager
    def request(
        self, find_user: Callable[[Connection], str], *, name: str, seconds: int, read_only: bool = True
    ) -> Iterator[Connection]:
        """Run one transaction of a request as its user, whom a query in the same session finds.

        Args:
            find_user: returns the role to take. It runs before the transaction, with the rights of the login.
            name: the application name of the transaction, which the server logs.
            seconds: longest time of a statement.
            read_only: let the server reject writes.

        Raises:
            NotPermittedError: the login may not take the role, as that of a removed user.
            TimedOutError: a statement took longer.
            DatabaseError: as `transaction`.
        """

        def begin(connection: Connection) -> sql.Composed:
            return sql.SQL(
                "BEGIN{}; {}; SET LOCAL statement_timeout = {}; SET LOCAL application_name = {}; SET LOCAL ROLE {}"
            ).format(
                sql.SQL(" READ ONLY" if read_only else ""),
                sql.SQL(_SETTINGS),
                sql.Literal(f"{seconds}s"),
                sql.Literal(name),
                sql.Identifier(find_user(connection)),
            )

        with self._transaction(begin) as connection:
            yield connection

    @contextmanager
    def _transaction(
        self, begin: sql.Composed | Callable[[Connection], sql.Composed], *, trial: bool = False
    ) -> Iterator[Connection]:
        try:
            with self._session() as connection:
                try:
                    connection.execute(begin(connection) if callable(begin) else begin)
                    yield connection
                except BaseException:
                    # The first error is the one to report
                    with suppress(psycopg.Error):
                        connection.rollback()
                    raise
                if trial:
                    connection.rollback()
                else:
                    connection.commit()
        except psycopg.Error as error:
            raise database_error(error) from error


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


def has_pooler(connection: Connection) -> bool:
    """Return whether the connection goes through a pooler, which gives its clients process numbers of its own."""
    return connection.execute(queries("schema")["backend_pid"]).fetchone() != (connection.info.backend_pid,)


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
        case psycopg.errors.QueryCanceled() if "timeout" in text:
            return TimedOutError(f"The database canceled a statement: {text}.")
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
                hint="It is no command for users; see docs/concepts/access.md for those that are. "
                "For the roles of other logins see docs/howto/own-server.md.",
            )
        case psycopg.errors.InsufficientPrivilege() if "role" in text:
            return DatabaseError(
                f"The login may not do this: {text}.",
                hint="For the rights that a login needs to add users see docs/howto/own-server.md.",
            )
        case psycopg.errors.InsufficientPrivilege():
            return DatabaseError(f"The login may not do this: {text}.")
        case psycopg.errors.SerializationFailure() if "conflict with recovery" in text:
            return DatabaseError(
                f"The standby canceled the query: {text}.",
                hint="Run it again. To avoid it, set hot_standby_feedback = on on the standby.",
            )
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
