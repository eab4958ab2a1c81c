"""Users in the database: PostgreSQL roles that are members of energy_forecast_app, and the cities granted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import object_rows, one_row, queries


@dataclass(frozen=True)
class RoleProperties:
    """The properties of a role that decide whether it can be a user.

    Args:
        is_user: whether it is a member of energy_forecast_app.
        attributes: attributes that give rights, such as SUPERUSER.
        groups: the other roles that it is a member of, directly or through another role.
        owns: whether it owns a database or an object of any database.
    """

    name: str
    can_log_in: bool
    is_user: bool
    attributes: list[str]
    groups: list[str]
    owns: bool

    @property
    def problem(self) -> str | None:
        """Return why the role cannot be a user; None if it can."""
        if self.attributes:
            return f"it has the attribute {', '.join(self.attributes)}"
        if self.groups:
            return f"it is a member of {', '.join(self.groups)}"
        return "it owns databases or objects" if self.owns else None


def role_properties(connection: Connection, name: str) -> RoleProperties | None:
    """Return the properties of a role by name; None if the role does not exist."""
    return next(iter(_roles(connection, name)), None)


def users(connection: Connection) -> list[RoleProperties]:
    """Return the properties of every user, sorted by name."""
    return _roles(connection, None)


def _roles(connection: Connection, name: str | None) -> list[RoleProperties]:
    return object_rows(connection, RoleProperties, queries("access")["role_properties"], {"name": name})


def is_keyword(connection: Connection, name: str) -> bool:
    """Return whether SQL accepts the name only in quotes."""
    return connection.execute(queries("access")["is_keyword"], {"name": name}).fetchone() == (True,)


def name_in_other_case(connection: Connection, name: str) -> str | None:
    """Return a role whose name differs from `name` only in case, or None."""
    row = connection.execute(queries("access")["name_in_other_case"], {"name": name}).fetchone()
    return None if row is None else str(row[0])


def open_functions(connection: Connection) -> list[str]:
    """Return the functions that every login may call, although they can block the platform or write without limit."""
    return [name for (name,) in connection.execute(queries("access")["open_functions"])]


def leakproof_operators(connection: Connection) -> int:
    """Return the number of operators that are applied before a policy although EXPLAIN can show their values."""
    return int(one_row(connection, queries("access")["leakproof_operators"])[0])


def cities_by_user(connection: Connection, name: str | None = None) -> dict[str, list[str]]:
    """Return the names of the cities granted to one user, or to all users, by user."""
    return dict(connection.execute(queries("access")["cities_by_user"], {"name": name}).fetchall())


def create_user(connection: Connection, name: str, password: str | None) -> None:
    """Create a role. Only a SCRAM verifier of its password leaves this process, so no server log shows the password."""
    statement = sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name))
    if password is not None:
        verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        statement += sql.SQL(" PASSWORD {}").format(sql.Literal(verifier))
    connection.execute(statement)


def grant_membership(connection: Connection, name: str) -> None:
    """Make a role a user. The API may SET ROLE to it, but does not inherit from it."""
    connection.execute(sql.SQL("GRANT energy_forecast_app TO {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("GRANT {} TO energy_forecast_api").format(sql.Identifier(name)))


def revoke_membership(connection: Connection, name: str) -> bool:
    """Revoke the grants of `grant_membership`; return whether the role is no longer a user.

    Since PostgreSQL 16, REVOKE only warns if another role granted the membership.
    """
    connection.execute(sql.SQL("REVOKE energy_forecast_app FROM {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("REVOKE {} FROM energy_forecast_api").format(sql.Identifier(name)))
    return connection.execute(queries("access")["has_no_membership"], {"name": name}).fetchone() == (True,)


def grant_cities(connection: Connection, name: str, cities: Sequence[UUID]) -> int:
    """Grant cities to a user; return how many are new."""
    return connection.execute(queries("access")["grant_cities"], {"name": name, "cities": list(cities)}).rowcount


def revoke_cities(connection: Connection, name: str, cities: Sequence[UUID] | None) -> int:
    """Revoke cities from a user (all if None); return how many."""
    if cities is None:
        return connection.execute(queries("access")["revoke_everything"], {"name": name}).rowcount
    return connection.execute(queries("access")["revoke_cities"], {"name": name, "cities": list(cities)}).rowcount
