"""Batches that users loaded over HTTP: who loaded them, and the report for a repeated request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import ConflictError


@dataclass(frozen=True)
class Author:
    """The user who loads a batch over HTTP.

    Args:
        cities: ids of the cities granted to them; rows of others count as rows of unknown cities.
        key_prefix: the visible part of their key.
        request: id of the request.
        idempotency_key: theirs for this request, or None.
        sha256: of the dataset, the options and the body.
    """

    user: str
    cities: frozenset[UUID]
    key_prefix: str
    request: str
    idempotency_key: str | None
    sha256: bytes


def earlier_report(connection: Connection, key: str, sha256: bytes) -> dict[str, Any] | None:
    """Return the report of the load of the transaction's user with an idempotency key, or None.

    Raises:
        ConflictError: it was another request.
    """
    row = connection.execute(queries("http_loads")["earlier"], {"key": key}).fetchone()
    if row is None:
        return None
    if bytes(row[0]) != sha256:
        raise ConflictError(
            "Another request was sent with this idempotency key.", hint="Use a new key for each request."
        )
    return dict(row[1])


def record_load(connection: Connection, batch: UUID, author: Author, report: dict[str, Any]) -> None:
    """Record who loaded a batch, in its transaction."""
    parameters = {
        "batch": batch,
        "user": author.user,
        "key_prefix": author.key_prefix,
        "request": author.request,
        "key": author.idempotency_key,
        "sha256": author.sha256,
        "report": Jsonb(report),
    }
    connection.execute(queries("http_loads")["record"], parameters)
