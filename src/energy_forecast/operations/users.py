"""Users and the cities that they may see.

What needs a right over roles runs as the login, in a transaction that touches no table: a trigger of the owner's could
take every right that the login has. What changes a table runs as the operator, in a transaction of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from energy_forecast.database import access
from energy_forecast.database.access import RoleProperties
from energy_forecast.database.cities import cities_named
from energy_forecast.database.connection import Database, Role
from energy_forecast.errors import AccessError

# What psql and a URL take without quotes: a name that has to be quoted is a name that will be mistyped
_NAME = re.compile(r"[a-z][a-z0-9_.@-]{0,62}")
# A special meaning for SQL, for pg_hba.conf, or for the server's administration
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

    `problem` is why the role can see or do more than a user may; None if it cannot.
    """

    name: str
    can_log_in: bool
    cities: list[str]
    problem: str | None = None


def add_user(database: Database, name: str, *, password: str | None = None) -> bool:
    """Make a user of this name, who sees no city yet. An existing role becomes a user if it has no rights elsewhere.

    Args:
        name: of the PostgreSQL role.
        password: for logging in to PostgreSQL; without one the role can only log in if the server asks for none.

    Returns:
        Whether the role is new.

    Raises:
        AccessError: the name cannot be used, or the role has rights that a user must not have.
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
                raise AccessError(f"There is a user {name!r} already.", hint="See: energy-forecast user list")
            _require_plain(facts)
            if password is not None:
                raise AccessError(
                    f"There is a role {name!r} already.", hint="Omit --set-password; the role keeps its password."
                )
    with database.transaction(Role.OPERATOR) as connection:
        # Rows of a role that was dropped, or that is no user any more, must not come back to life
        access.revoke_cities(connection, name, None)
    with database.transaction(None) as connection:
        if facts is None:
            access.create_user(connection, name, password)
        access.grant_membership(connection, name)
    return facts is None


def remove_user(database: Database, name: str) -> User:
    """Take everything back from a user. The role itself stays on the server, which may use it elsewhere.

    Raises:
        AccessError: there is no such user, or another role made them one.
    """
    person = _user_with_cities(database, name)
    with database.transaction(Role.OPERATOR) as connection:
        access.revoke_cities(connection, name, None)
    with database.transaction(None) as connection:
        if not access.revoke_membership(connection, name):
            raise AccessError(
                f"{name!r} sees no city any more, but stays a user: another role granted the membership.",
                hint=f"Let a superuser run: REVOKE energy_forecast_app FROM {name}; "
                f"REVOKE {name} FROM energy_forecast_api",
            )
    return person


def grant(database: Database, name: str, cities: Sequence[str]) -> tuple[int, User]:
    """Let a user see cities.

    Args:
        cities: names; every city that there is now when empty.

    Returns:
        How many they could not see before, and the user afterwards.

    Raises:
        AccessError, UnknownCityError: there is no such user or city, or the role has rights that a user must not have.
    """
    _require_plain(_user(database, name))
    with database.transaction(Role.OPERATOR) as connection:
        granted = access.grant_cities(connection, name, [city.id for city in cities_named(connection, cities)])
    return granted, _user_with_cities(database, name)


def revoke(database: Database, name: str, cities: Sequence[str]) -> tuple[int, User]:
    """Take cities back from a user, who loses them with the next statement.

    Args:
        cities: names; every one when empty.

    Returns:
        How many they can no longer see, and the user afterwards.

    Raises:
        AccessError, UnknownCityError: there is no such user or city.
    """
    _user(database, name)
    with database.transaction(Role.OPERATOR) as connection:
        ids = [city.id for city in cities_named(connection, cities)] if cities else None
        taken = access.revoke_cities(connection, name, ids)
    return taken, _user_with_cities(database, name)


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
        raise AccessError(f"There is no user {name!r}.", hint="Add one: energy-forecast user add NAME")
    return facts


def _user_with_cities(database: Database, name: str) -> User:
    facts = _user(database, name)
    with database.transaction(Role.OPERATOR) as connection:
        cities = access.cities_by_user(connection, name)
    return User(name, facts.can_log_in, cities.get(name, []), facts.problem)
