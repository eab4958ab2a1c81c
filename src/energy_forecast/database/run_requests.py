"""Requests of users for runs: a queue of which one program at a time takes the oldest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.named_queries import dict_rows, object_rows, one_row, queries
from energy_forecast.errors import ConflictError, TooManyRequestsError

_INTERRUPTED = "The server ended during this run. A part of it may be stored. Request the run again."


@dataclass(frozen=True)
class RunRequest:
    """A started request.

    Args:
        requested_by: the user.
        cities: names of the requested cities that the user may still see.
    """

    id: UUID
    kind: str
    parameters: dict[str, Any]
    requested_by: str
    cities: list[str]


def request_run(
    connection: Connection, *, kind: str, cities: Sequence[UUID], parameters: dict[str, Any], key: str | None
) -> UUID:
    """Add a request of the transaction's role, and return its id; for a known key that of the first request.

    Raises:
        ConflictError: another request has this key.
        TooManyRequestsError: too many requests of the role wait.
    """
    given = {"kind": kind, "cities": sorted(cities), "parameters": Jsonb(parameters), "key": key}
    try:
        return UUID(str(one_row(connection, queries("run_requests")["request"], given)[0]))
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(
            "Another request was sent with this idempotency key.", hint="Use a new key for each request."
        ) from error
    except psycopg.errors.ConfigurationLimitExceeded as error:
        raise TooManyRequestsError(
            "20 of your requested runs are not finished.", hint="Wait until one of them has finished."
        ) from error


@contextmanager
def runner_lock(database: Database) -> Iterator[bool]:
    """Try to become the one program that runs requests, and yield whether it did.

    A transaction that stays open holds the lock, so a kill releases it. It has no snapshot, so VACUUM does not wait
    for it.
    """
    with database.transaction(Role.FORECASTER) as connection:
        is_free = connection.execute(queries("run_requests")["try_lock"]).fetchone() == (True,)
        connection.execute(queries("maintenance")["stay_open"])
        yield is_free


def start_next(connection: Connection) -> RunRequest | None:
    """Start the oldest waiting request; None without one. Only with the lock: interrupted ones are marked as failed."""
    connection.execute(queries("run_requests")["close_interrupted"], {"why": _INTERRUPTED})
    return next(iter(object_rows(connection, RunRequest, queries("run_requests")["start_next"])), None)


def finish(connection: Connection, request: UUID, status: str, result: dict[str, Any]) -> None:
    """Record the result of a request.

    Args:
        status: succeeded, partial or failed.
    """
    connection.execute(queries("run_requests")["finish"], {"id": request, "status": status, "result": Jsonb(result)})


def own_requests(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Return the last requests that the reader may see, the newest first."""
    return dict_rows(connection, queries("run_requests")["own_requests"], {"limit": limit})


def run_request(connection: Connection, request: UUID) -> dict[str, Any] | None:
    """Return a request that the reader may see, or None."""
    return next(iter(dict_rows(connection, queries("run_requests")["run_request"], {"id": request})), None)
