"""Find rights of logins and users that are too wide; for `doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from energy_forecast.database import access
from energy_forecast.database.connection import Database


@dataclass(frozen=True)
class AccessFinding:
    """A right that is too wide, with its remedy. `kind` is login, user, functions or operators."""

    kind: str
    message: str


def access_findings(database: Database) -> list[AccessFinding]:
    """Return every right that is too wide. Nothing is changed.

    Raises:
        DatabaseError: the server is unreachable or refused a statement.
    """
    with database.transaction(None) as connection:
        login = access.role_properties(connection, connection.info.user)
        users = access.users(connection)
        functions, operators = access.open_functions(connection), access.leakproof_operators(connection)
    found = []
    if login is not None and (strong := {"SUPERUSER", "BYPASSRLS", "REPLICATION"} & set(login.attributes)):
        found.append(
            AccessFinding(
                "login",
                f"The login {login.name} has the attribute {', '.join(sorted(strong))}, which daily commands do "
                "not need. Use another login for them: see docs/howto/own-server.md",
            )
        )
    found += [
        AccessFinding(
            "user",
            f"The user {user.name} has more rights than a user may have: {user.problem}. Revoke them, or run: "
            f"energy-forecast user remove {user.name}",
        )
        for user in users
        if user.problem is not None
    ]
    if functions:
        found.append(
            AccessFinding(
                "functions",
                f"Everybody may call {', '.join(functions)}, which can block the platform or write without limit. "
                "Let a superuser run: energy-forecast db upgrade",
            )
        )
    if operators:
        found.append(
            AccessFinding(
                "operators",
                f"{operators} operators are leakproof, so EXPLAIN reveals whether another city has a value. "
                "Let a superuser run: energy-forecast db upgrade",
            )
        )
    return found
