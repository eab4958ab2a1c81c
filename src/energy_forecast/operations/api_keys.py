"""Create, list, revoke and rotate the keys of the HTTP API."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from energy_forecast.database import api_keys
from energy_forecast.database.api_keys import SCOPES, ApiKey
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.errors import AccessError
from energy_forecast.operations import users

_log = logging.getLogger(__name__)
# The time in which an application can be given the new key
DEFAULT_OVERLAP = timedelta(days=1)


def create_key(
    database: Database,
    user: str,
    *,
    scopes: Sequence[str],
    label: str | None = None,
    expires: timedelta | None = None,
) -> tuple[str, ApiKey]:
    """Create a key for a user, and return the whole key and its description. It cannot be shown again.

    Args:
        user: the name of an existing user.
        scopes: some of read, ingest and run.
        label: a text that says where the key is used.
        expires: the time until it expires. None: never.

    Raises:
        AccessError: there is no such user, or a scope is unknown.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise AccessError(
            f"{(unknown or ['no scope'])[0]!r} is not a scope.", hint=f"Choose from: {', '.join(SCOPES)}."
        )
    if user not in {one.name for one in users.list_users(database)}:
        raise AccessError(f"There is no user {user!r}.", hint=f"Add them first: energy-forecast user add {user}")
    key = api_keys.new_key()
    with database.transaction(Role.OPERATOR) as connection:
        expires_at = None if expires is None else database_now(connection) + expires
        kept = [scope for scope in SCOPES if scope in scopes]
        api_keys.add_key(connection, key, user=user, scopes=kept, label=label, expires_at=expires_at)
        stored = _stored(connection, api_keys.prefix_of(key))
    _log.info("key created", extra={"key": stored.prefix, "user": user})
    return key, stored


def list_keys(database: Database) -> list[ApiKey]:
    """Return all keys without their secret part, by user."""
    with database.transaction(Role.OPERATOR, read_only=True) as connection:
        return api_keys.api_keys(connection)


def revoke_key(database: Database, key: str) -> ApiKey:
    """Revoke a key by its prefix or as a whole, effective from the next request.

    Raises:
        AccessError: there is no such key, or it is revoked already.
    """
    with database.transaction(Role.OPERATOR) as connection:
        stored = _stored(connection, api_keys.prefix_of(key))
        if not api_keys.revoke_key(connection, stored.prefix):
            raise AccessError(f"The key {stored.prefix} was revoked at {stored.revoked_at:%Y-%m-%d %H:%M}Z.")
        stored = _stored(connection, stored.prefix)
    _log.info("key revoked", extra={"key": stored.prefix, "user": stored.user})
    return stored


def rotate_key(database: Database, key: str, *, overlap: timedelta = DEFAULT_OVERLAP) -> tuple[str, ApiKey, ApiKey]:
    """Create a key with the user, scopes, label and lifetime of another, which then expires.

    Args:
        key: the old key, by its prefix or as a whole.
        overlap: the time in which both keys are valid.

    Returns:
        The whole new key, its description, and that of the old key.

    Raises:
        AccessError: there is no such key, or it is not valid.
    """
    with database.transaction(Role.OPERATOR) as connection:
        old = _stored(connection, api_keys.prefix_of(key))
        now = database_now(connection)
        if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
            raise AccessError(f"The key {old.prefix} is revoked or expired.", hint="Create a new one.")
        new = api_keys.new_key()
        expires_at = None if old.expires_at is None else now + (old.expires_at - old.created_at)
        api_keys.add_key(connection, new, user=old.user, scopes=old.scopes, label=old.label, expires_at=expires_at)
        api_keys.expire_key(connection, old.prefix, now + overlap)
        stored, old = _stored(connection, api_keys.prefix_of(new)), _stored(connection, old.prefix)
    _log.info("key rotated", extra={"key": stored.prefix, "old_key": old.prefix, "user": stored.user})
    return new, stored, old


def _stored(connection: Connection, prefix: str) -> ApiKey:
    found = api_keys.api_keys(connection, prefix)
    if not found:
        raise AccessError(f"There is no key {prefix!r}.", hint="See: energy-forecast key list")
    return found[0]
