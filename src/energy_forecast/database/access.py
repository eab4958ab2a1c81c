"""People in the database: each one a PostgreSQL role, member of energy_forecast_app, with cities granted to her."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries


@dataclass(frozen=True)
class Person:
    """A person: her role's name, whether she can log in to PostgreSQL herself, and the cities that she may see."""

    name: str
    can_log_in: bool
    cities: list[str]


@dataclass(frozen=True)
class RoleFacts:
    """What stands against a role as a person's.

    Args:
        is_platform: it is one of the platform's own roles.
        is_unbound: a superuser, or BYPASSRLS; no policy binds it.
        sees_all: a member of a role of the platform that sees every city.
        is_person: a member of energy_forecast_app already.
    """

    is_platform: bool
    is_unbound: bool
    sees_all: bool
    is_person: bool


def role_facts(connection: Connection, name: str) -> RoleFacts | None:
    """Of a role by name; None where there is none."""
    with connection.cursor(row_factory=class_row(RoleFacts)) as cursor:
        return cursor.execute(queries("access")["role_facts"], {"name": name}).fetchone()


def people(connection: Connection, name: str | None = None) -> list[Person]:
    """Every person, or the one of a name."""
    with connection.cursor(row_factory=class_row(Person)) as cursor:
        return cursor.execute(queries("access")["people"], {"name": name}).fetchall()


def create_person(connection: Connection, name: str, password: str | None) -> None:
    """Makes the role. Its password leaves this process only as a SCRAM verifier, so no log of the server shows it."""
    statement = sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name))
    if password is not None:
        verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        statement += sql.SQL(" PASSWORD {}").format(sql.Literal(verifier))
    connection.execute(statement)


def make_member(connection: Connection, name: str) -> None:
    """Makes a role a person's; and lets the API take the role, but not inherit from it."""
    connection.execute(sql.SQL("GRANT energy_forecast_app TO {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("GRANT {} TO energy_forecast_api").format(sql.Identifier(name)))


def end_membership(connection: Connection, name: str) -> None:
    """The role stays, and is a person's no more."""
    connection.execute(sql.SQL("REVOKE energy_forecast_app FROM {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("REVOKE {} FROM energy_forecast_api").format(sql.Identifier(name)))


def grant_cities(connection: Connection, name: str, cities: Sequence[UUID]) -> int:
    """Lets a person see cities; returns how many she could not see before."""
    return connection.execute(queries("access")["grant_cities"], {"name": name, "cities": list(cities)}).rowcount


def revoke_cities(connection: Connection, name: str, cities: Sequence[UUID] | None) -> int:
    """Takes cities back from a person, every one when None; returns how many."""
    if cities is None:
        return connection.execute(queries("access")["revoke_everything"], {"name": name}).rowcount
    return connection.execute(queries("access")["revoke_cities"], {"name": name, "cities": list(cities)}).rowcount
