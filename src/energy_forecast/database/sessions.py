"""Sessions of the pages. The id of a session is in a cookie; the database stores its hash."""

from __future__ import annotations

import hashlib
import re
import secrets
from contextlib import closing, suppress

import psycopg
from psycopg.conninfo import make_conninfo

from energy_forecast.database.api_keys import KEY_FORM
from energy_forecast.database.connection import Connection, Database, database_error
from energy_forecast.database.named_queries import one_row, queries
from energy_forecast.errors import UnreachableError

_LONGEST_NAME = 63
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


def new_session() -> str:
    """Return the id of a new session: 256 random bits."""
    return secrets.token_urlsafe(32)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def user_of_session(connection: Connection, session: str) -> str | None:
    """Return the user of a session; None if it does not exist or has ended."""
    if not _FORM.fullmatch(session):
        return None
    row = connection.execute(queries("sessions")["use"], {"sha256": _hash(session)}).fetchone()
    return None if row is None else str(row[0])


def open_with_key(connection: Connection, key: str, session: str) -> tuple[str, str | None] | None:
    """Open a session for the user of a key.

    Returns:
        The user, and why the key is not valid or None; None for an unknown key.
    """
    if not KEY_FORM.fullmatch(key):
        return None
    parameters = {"key_sha256": _hash(key), "sha256": _hash(session)}
    row = connection.execute(queries("sessions")["open_with_key"], parameters).fetchone()
    return None if row is None else (str(row[0]), None if row[1] is None else str(row[1]))


def open_with_password(database: Database, user: str, password: str, session: str) -> bool:
    """Open a session for a user whose password PostgreSQL verifies: the session is opened by their own login.

    Args:
        database: the login of the URL is replaced.

    Returns:
        Whether the server asked for the password, the password is right, and the login is a user.

    Raises:
        UnreachableError: the database cannot be reached.
        DatabaseError: the database refused the session.
    """
    # Without a password libpq would look for one of this machine. The server cuts longer names
    if not password or not user or "\0" in user + password or len(user.encode()) > _LONGEST_NAME:
        return False
    own = Database(make_conninfo(database.url, user=user, password=password), embedded=database.embedded)
    is_open = False
    with suppress(UnreachableError), closing(own.connect()) as connection:
        is_open = connection.pgconn.used_password and _open_as(connection, user, session)
    if not is_open:
        # Raises if the server is away. Also after a right password of another login, so that both take as long
        database.connect().close()
    return is_open


def _open_as(connection: Connection, user: str, session: str) -> bool:
    parameters = {"sha256": _hash(session), "user": user}
    try:
        return connection.execute(queries("sessions")["open_as_login"], parameters).fetchone() is not None
    except psycopg.errors.InsufficientPrivilege:
        # A login that is no user
        return False
    except psycopg.Error as error:
        raise database_error(error) from error


def add_link(connection: Connection, user: str, link: str) -> None:
    """Store a link that opens one session of a user within ten minutes, as an operator."""
    connection.execute(queries("sessions")["add_link"], {"sha256": _hash(link), "user": user})


def redeem_link(connection: Connection, link: str, session: str) -> str | None:
    """Open a session with a link.

    Returns:
        The user; None if the link does not exist, was used or has expired.
    """
    if not _FORM.fullmatch(link):
        return None
    parameters = {"link_sha256": _hash(link), "sha256": _hash(session)}
    user = one_row(connection, queries("sessions")["redeem_link"], parameters)[0]
    return None if user is None else str(user)


def close_session(connection: Connection, session: str) -> None:
    """End a session."""
    connection.execute(queries("sessions")["close"], {"sha256": _hash(session)})


def close_sessions_of(connection: Connection, user: str) -> int:
    """End all sessions and links of a user, and return the number of sessions that had not expired."""
    return int(one_row(connection, queries("sessions")["close_all"], {"user": user})[0])
