"""Keys of the HTTP API. A key is shown once; the database stores its hash."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import object_rows, one_row, queries

SCOPES = ("read", "ingest", "run")
KEY_FORM = re.compile(r"efp_[a-z0-9]{8}_[A-Za-z0-9_-]{43}")
_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class ApiKey:
    """A stored key, without its secret part.

    prefix: its first 12 characters.
    user: the role whose rights a request with it has.
    """

    prefix: str
    user: str
    scopes: list[str]
    label: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True)
class Holder:
    """The user behind a request.

    problem: why the key is not valid: revoked, expired or without a user. None if it is valid.
    """

    prefix: str
    user_name: str
    scopes: list[str]
    problem: str | None


def new_key() -> str:
    """Return a new key: a prefix for people, and 256 random bits."""
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    return f"efp_{prefix}_{secrets.token_urlsafe(32)}"


def prefix_of(key: str) -> str:
    """Return the part of a key that people may see."""
    return key[:12]


def holder_of(connection: Connection, key: str) -> Holder | None:
    """Return the user and the scopes of a key; None if no such key exists."""
    if not KEY_FORM.fullmatch(key):
        return None
    parameters = {"sha256": hashlib.sha256(key.encode()).digest()}
    return next(iter(object_rows(connection, Holder, queries("api_keys")["use"], parameters)), None)


def add_key(
    connection: Connection,
    key: str,
    *,
    user: str,
    scopes: Sequence[str],
    label: str | None,
    expires_at: datetime | None,
) -> None:
    """Store a new key."""
    parameters = {
        "prefix": prefix_of(key),
        "sha256": hashlib.sha256(key.encode()).digest(),
        "user": user,
        "scopes": list(scopes),
        "label": label,
        "expires_at": expires_at,
    }
    connection.execute(queries("api_keys")["add"], parameters)


def api_keys(connection: Connection, prefix: str | None = None) -> list[ApiKey]:
    """Return every key, or the one with a prefix."""
    return object_rows(connection, ApiKey, queries("api_keys")["keys"], {"prefix": prefix})


def revoke_key(connection: Connection, prefix: str) -> bool:
    """Revoke a key, and return whether it was not revoked before."""
    return connection.execute(queries("api_keys")["revoke"], {"prefix": prefix}).rowcount == 1


def expire_key(connection: Connection, prefix: str, expires_at: datetime) -> None:
    """Let a key expire at a time, unless it expires earlier."""
    connection.execute(queries("api_keys")["expire"], {"prefix": prefix, "expires_at": expires_at})


def roles_of_login(connection: Connection) -> str | None:
    """Return the roles of the platform that the login could take; None without one, as the API requires."""
    found = one_row(connection, queries("api_keys")["login_problem"])[0]
    return None if found is None else str(found)
