"""Users and the cities that they may see.

A statement that needs rights over roles runs as the login, in a transaction without table access: a trigger of the
owner could otherwise use every right of the login. A statement that changes a table runs as the operator, in a separate
transaction.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from energy_forecast.database import access
from energy_forecast.database.access import RoleProperties
from energy_forecast.database.cities import cities_named
from energy_forecast.database.connection import Database, Role
from energy_forecast.database.sessions import add_link, close_sessions_of, new_session
from energy_forecast.errors import AccessError

_log = logging.getLogger(__name__)

# Names that psql and a URL accept without quotes: a name that needs quotes will be mistyped
_NAME = re.compile(r"[a-z][a-z0-9_.@-]{0,62}")
# Names with a special meaning in SQL, in pg_hba.conf, or in the administration of a server
_RESERVED = frozenset(
    (
        *("all", "default", "none", "public", "user", "current_user", "session_user", "current_role", "system_user"),
        *("replication", "sameuser", "samerole", "samegroup"),
        *("postgres", "root", "template0", "template1"),
    )
)


@dataclass(frozen=True)
class User:
    """A user: the role's name, whether it can log in to PostgreSQL itself, and the cities that it may see.

    problem: why the role has more rights than a user may have, or None.
    """

    name: str
    can_log_in: bool
    cities: list[str]
    problem: str | None = None


def add_user(database: Database, name: str, *, password: str | None = None) -> bool:
    """Create a user without access to any city. An existing role becomes a user if it has no other rights.

    Args:
        name: the name of the PostgreSQL role.
        password: for the login to PostgreSQL; without it the role can log in only if the server requires none.

    Returns:
        Whether the role is new.

    Raises:
        AccessError: the name is invalid, or the role has rights that a user must not have.
        DatabaseError: the login may not create or grant roles.
    """
    if not _NAME.fullmatch(name):
        raise AccessError(
            f"{name!r} cannot be a user name.",
            hint="Use at most 63 characters of a-z, 0-9, _ . @ - and begin with a letter.",
        )
    if name in _RESERVED or name.startswith(("pg_", "energy_forecast")):
        raise AccessError(f"{name!r} is reserved and cannot be a user name.", hint="Choose another name.")
    with database.transaction(None) as connection:
        if access.is_keyword(connection, name):
            raise AccessError(f"{name!r} is a word of SQL and cannot be a user name.", hint="Choose another name.")
        if (other := access.name_in_other_case(connection, name)) is not None:
            raise AccessError(f"There is a role {other!r}, which differs only in case.", hint="Choose another name.")
        facts = access.role_properties(connection, name)
        if facts is not None:
            if facts.is_user:
                raise AccessError(f"The user {name!r} already exists.", hint="See: energy-forecast user list")
            _require_plain(facts)
            if password is not None:
                raise AccessError(
                    f"The role {name!r} already exists.", hint="Omit `password`; the role keeps its password."
                )
    with database.transaction(Role.OPERATOR) as connection:
        # Old rows of a role that was dropped or is no longer a user must not become effective again
        access.revoke_cities(connection, name, None)
    with database.transaction(None) as connection:
        if facts is None:
            access.create_user(connection, name, password)
        access.grant_membership(connection, name)
    _log.info("user added", extra={"user": name, "new_role": facts is None})
    return facts is None


def remove_user(database: Database, name: str) -> User:
    """Revoke all access of a user, and return the user. The role stays on the server, which may use it elsewhere.

    Raises:
        AccessError: the user does not exist, or another role granted the membership.
    """
    user = _user_with_cities(database, name)
    with database.transaction(Role.OPERATOR) as connection:
        access.revoke_cities(connection, name, None)
        close_sessions_of(connection, name)
    with database.transaction(None) as connection:
        if not access.revoke_membership(connection, name):
            raise AccessError(
                f"{name!r} no longer sees any city, but is still a user, because another role granted the membership.",
                hint=f"Let a superuser run: REVOKE energy_forecast_app FROM {name}; "
                f"REVOKE {name} FROM energy_forecast_api",
            )
    _log.info("user removed", extra={"user": name, "cities": len(user.cities)})
    return user


def grant(database: Database, name: str, cities: Sequence[str]) -> tuple[int, User]:
    """Grant a user access to cities.

    Args:
        cities: names; every current city if empty.

    Returns:
        The number of newly granted cities, and the changed user.

    Raises:
        AccessError, UnknownCityError: the user or a city is unknown, or the role has rights that a user must not have.
    """
    _require_plain(_user(database, name))
    with database.transaction(Role.OPERATOR) as connection:
        granted = access.grant_cities(connection, name, [city.id for city in cities_named(connection, cities)])
    _log.info("cities granted", extra={"user": name, "cities": granted})
    return granted, _user_with_cities(database, name)


def revoke(database: Database, name: str, cities: Sequence[str]) -> tuple[int, User]:
    """Revoke the access of a user to cities, effective from their next statement.

    Args:
        cities: names; all if empty.

    Returns:
        The number of revoked cities, and the changed user.

    Raises:
        AccessError, UnknownCityError: the user or a city is unknown.
    """
    _user(database, name)
    with database.transaction(Role.OPERATOR) as connection:
        ids = [city.id for city in cities_named(connection, cities)] if cities else None
        revoked = access.revoke_cities(connection, name, ids)
    _log.info("cities revoked", extra={"user": name, "cities": revoked})
    return revoked, _user_with_cities(database, name)


def sign_in_link(database: Database, name: str) -> str:
    """Return the secret of a link that signs a user in to the pages once, within ten minutes.

    Raises:
        AccessError: the user does not exist.
    """
    user, link = _user(database, name), new_session()
    with database.transaction(Role.OPERATOR) as connection:
        add_link(connection, user.name, link)
    _log.info("sign-in link made", extra={"user": name})
    return link


def sign_out(database: Database, name: str) -> int:
    """End all sessions of the pages of a user, and their unused links.

    Returns:
        The number of sessions.

    Raises:
        AccessError: the user does not exist.
    """
    user = _user(database, name)
    with database.transaction(Role.OPERATOR) as connection:
        ended = close_sessions_of(connection, user.name)
    _log.info("user signed out", extra={"user": name, "sessions": ended})
    return ended


def list_users(database: Database) -> list[User]:
    """Return every user, by name."""
    with database.transaction(None) as connection:
        found = access.users(connection)
    with database.transaction(Role.OPERATOR) as connection:
        cities = access.cities_by_user(connection)
    return [User(one.name, one.can_log_in, cities.get(one.name, []), one.problem) for one in found]


def _require_plain(facts: RoleProperties) -> None:
    if facts.problem is not None:
        raise AccessError(
            f"The role {facts.name!r} cannot be a user: {facts.problem}.",
            hint="The role of a user has no attribute except LOGIN, no other membership, and owns nothing.",
        )


def _user(database: Database, name: str) -> RoleProperties:
    with database.transaction(None) as connection:
        facts = access.role_properties(connection, name)
    if facts is None or not facts.is_user:
        raise AccessError(f"There is no user {name!r}.", hint="See: energy-forecast user list")
    return facts


def _user_with_cities(database: Database, name: str) -> User:
    facts = _user(database, name)
    with database.transaction(Role.OPERATOR) as connection:
        cities = access.cities_by_user(connection, name)
    return User(name, facts.can_log_in, cities.get(name, []), facts.problem)
