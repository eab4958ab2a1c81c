"""People and the cities that they may see."""

from __future__ import annotations

import re
from collections.abc import Sequence

from energy_forecast.database import access
from energy_forecast.database.access import Person
from energy_forecast.database.cities import cities_named
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.errors import AccessError

# What psql and a URL take without quotes: a name that has to be quoted is a name that will be mistyped
_NAME = re.compile(r"[a-z_][a-z0-9_.@-]{0,62}")


def add_person(database: Database, name: str, *, password: str | None = None) -> bool:
    """Makes a person of this name, who sees no city yet. A login that is there already is made a person.

    Args:
        name: of the PostgreSQL role.
        password: for logging in to PostgreSQL; without one the role can only log in where the server asks for none.

    Returns:
        Whether the role is new.

    Raises:
        AccessError: the name cannot be used, or its role cannot be bound to cities.
        DatabaseError: the login may not make roles.
    """
    if not _NAME.fullmatch(name) or name.startswith(("pg_", "energy_forecast_")):
        raise AccessError(
            f"{name!r} cannot be a person's name.",
            hint="Use up to 63 of a-z, 0-9, _ . @ - and begin with a letter; pg_ and energy_forecast_ are reserved.",
        )
    with database.transaction(None) as connection:
        facts = access.role_facts(connection, name)
        if facts is None:
            access.create_person(connection, name, password)
        elif facts.is_person:
            raise AccessError(f"There is a person {name!r} already.", hint="See: energy-forecast user list")
        elif facts.is_unbound or facts.sees_all:
            raise AccessError(f"The role {name!r} sees every city whatever it is granted.", hint="Choose another name.")
        elif password is not None:
            raise AccessError(
                f"There is a role {name!r} already.", hint="Leave its password as it is: drop the option."
            )
        access.make_member(connection, name)
    return facts is None


def remove_person(database: Database, name: str) -> Person:
    """Takes everything back from a person. The role itself stays on the server, which may use it elsewhere.

    Raises:
        AccessError: there is no such person.
    """
    with database.transaction(None) as connection:
        person = _person(connection, name)
        access.revoke_cities(connection, name, None)
        access.end_membership(connection, name)
    return person


def grant(database: Database, name: str, cities: Sequence[str]) -> tuple[int, Person]:
    """Lets a person see cities.

    Args:
        cities: names; every city that there is now when empty.

    Returns:
        How many she could not see before, and the person as she is then.

    Raises:
        AccessError, UnknownCityError: there is no such person or city.
    """
    with database.transaction(Role.OPERATOR) as connection:
        _person(connection, name)
        wanted = [city.id for city in cities_named(connection, cities)]
        granted = access.grant_cities(connection, name, wanted)
        return granted, _person(connection, name)


def revoke(database: Database, name: str, cities: Sequence[str]) -> tuple[int, Person]:
    """Takes cities back from a person; what she was looking at is gone with her next statement.

    Args:
        cities: names; every one when empty.

    Returns:
        How many she can no longer see, and the person as she is then.

    Raises:
        AccessError, UnknownCityError: there is no such person or city.
    """
    with database.transaction(Role.OPERATOR) as connection:
        _person(connection, name)
        ids = [city.id for city in cities_named(connection, cities)] if cities else None
        taken = access.revoke_cities(connection, name, ids)
        return taken, _person(connection, name)


def all_people(database: Database) -> list[Person]:
    """Every person, by name."""
    with database.transaction(Role.OPERATOR) as connection:
        return access.people(connection)


def _person(connection: Connection, name: str) -> Person:
    found = access.people(connection, name)
    if not found:
        raise AccessError(f"There is no person {name!r}.", hint="Add one: energy-forecast user add NAME")
    return found[0]
