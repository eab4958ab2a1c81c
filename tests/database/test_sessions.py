"""Sessions of the pages in the database: who may open, use and end them, also at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Database
from energy_forecast.database.sessions import (
    close_session,
    new_session,
    open_with_password,
    redeem_link,
    user_of_session,
)
from energy_forecast.operations import users
from sessions import pooler

API = "energy_forecast_api"


@pytest.fixture
def anna(database: Database) -> Iterator[str]:
    """Yield a user."""
    name = f"anna_{uuid4().hex[:12]}"
    users.add_user(database, name)
    yield name
    with psycopg.connect(database.url) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def login(database: Database, user: str = API) -> psycopg.Connection[tuple[object, ...]]:
    """Return a connection of a login."""
    return psycopg.connect(make_conninfo(database.url, user=user), autocommit=True)


def opened(database: Database, user: str) -> str:
    """Return a session that a user has opened by their own login."""
    session = new_session()
    with login(database, user) as own:
        own.execute("SELECT ops.open_session(sha256(%s::bytea))", [session.encode()])
    return session


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM ops.use_session(sha256('x'))",
        "SELECT * FROM ops.open_session_with_key(sha256('x'), sha256('y'))",
        "SELECT ops.redeem_link(sha256('x'), sha256('y'))",
        "SELECT ops.close_session(sha256('x'))",
        "SELECT * FROM ops.sessions",
        "SELECT * FROM ops.session_uses",
        "INSERT INTO ops.sessions (sha256, user_name) VALUES (sha256('x'), 'postgres')",
        "DELETE FROM ops.sessions",
    ],
)
def test_user_cannot_use_or_end_sessions_in_psql(database: Database, anna: str, statement: str) -> None:
    with login(database, anna) as own, pytest.raises(errors.InsufficientPrivilege):
        own.execute(statement)


@pytest.mark.parametrize("user", ["energy_forecast_login", API, None])
def test_login_that_is_no_user_opens_no_session(database: Database, user: str | None) -> None:
    """The last one is a superuser, to whom every privilege is granted."""
    with psycopg.connect(database.url) as own:
        if user is not None and own.execute("SELECT FROM pg_roles WHERE rolname = %s", [user]).fetchone() is None:
            pytest.skip(f"only the embedded server has the login {user}")
    connection = psycopg.connect(database.url, autocommit=True) if user is None else login(database, user)
    with connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT ops.open_session(sha256('x'))")


def test_session_of_a_pooler_with_another_login_is_refused(database: Database, anna: str) -> None:
    """A pooler may log in to the server as one user for all its clients."""
    bert = f"bert_{uuid4().hex[:12]}"
    users.add_user(database, bert)
    try:
        with pooler(database, sessions=2, users=(anna, bert)) as bouncer:
            # Neither is verified: the pooler trusts its clients
            assert not open_with_password(bouncer, anna, "any", new_session())
        with login(database, bert) as own:
            found = own.execute("SELECT ops.open_session(sha256('x')) WHERE session_user = %s", [anna]).fetchall()
        assert found == []
        with psycopg.connect(database.url) as connection:
            assert connection.execute("SELECT count(*) FROM ops.sessions").fetchone() == (0,)
    finally:
        with psycopg.connect(database.url) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(bert)))


def test_link_opens_one_session_for_many_at_the_same_time(database: Database, anna: str) -> None:
    link, together = users.sign_in_link(database, anna), threading.Barrier(8)

    def redeem(_: int) -> str | None:
        with login(database) as connection:
            together.wait(20)
            return redeem_link(connection, link, new_session())

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(redeem, range(8)))
    assert (found.count(anna), found.count(None)) == (1, 7)
    with psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT user_name, is_link FROM ops.sessions").fetchall() == [(anna, False)]


def test_request_during_sign_out_is_no_error(database: Database, anna: str) -> None:
    """A page that reads again by itself sends requests at any time. The use is recorded after the row is gone."""
    session = opened(database, anna)
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "UPDATE ops.sessions SET opened_at = now() - interval '2 minutes', expires_at = now() + '1 h'"
        )
    with login(database) as first, login(database) as second, psycopg.connect(database.url) as watching:
        first.execute("BEGIN")
        close_session(first, session)
        found: list[str | None] = []
        request = threading.Thread(target=lambda: found.append(user_of_session(second, session)))
        request.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        while watching.execute(waits, [second.info.backend_pid]).fetchone() != (1,) and request.is_alive():
            watching.rollback()
        first.execute("COMMIT")
        request.join(20)
        assert found == [anna]
        assert user_of_session(second, session) is None


def test_sign_out_of_a_user_ends_all_their_sessions_and_links(database: Database, anna: str) -> None:
    """For a lost computer, or after a new password."""
    bert = f"bert_{uuid4().hex[:12]}"
    users.add_user(database, bert)
    try:
        sessions, other = [opened(database, anna) for _ in range(2)], opened(database, bert)
        link = users.sign_in_link(database, anna)
        assert users.sign_out(database, anna) == 2
        with login(database) as connection:
            assert [user_of_session(connection, one) for one in sessions] == [None, None]
            assert redeem_link(connection, link, new_session()) is None
            assert user_of_session(connection, other) == bert
    finally:
        with psycopg.connect(database.url) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(bert)))


def test_changes_of_sessions_are_audited_and_their_use_is_not(database: Database, anna: str) -> None:
    """The log shows who signed in and when a session ended, without an entry for each request."""
    session = opened(database, anna)
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "UPDATE ops.sessions SET opened_at = now() - interval '2 minutes', expires_at = now() + '1 h'"
        )
        connection.commit()
        entries = "SELECT count(*) FROM audit_log"
        before = connection.execute(entries).fetchone()
        with login(database) as api:
            assert user_of_session(api, session) == anna
        connection.commit()
        assert connection.execute(entries).fetchone() == before
        assert connection.execute("SELECT count(*) FROM ops.session_uses").fetchone() == (1,)
        with login(database) as api:
            close_session(api, session)
        connection.commit()
        assert connection.execute(entries).fetchone() != before
