"""Webhooks: addresses that receive an event for each new live forecast, and how far each has received them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.named_queries import object_rows, one_row, queries
from energy_forecast.errors import one_line

_LONGEST_REASON = 500


@dataclass(frozen=True)
class Webhook:
    """A webhook and its deliveries.

    user: with whose rights the forecasts are read.
    secret: key of the signatures.
    allow_private: whether the address may be in a private network or on this machine.
    failing_since: time of the first failed attempt since the last success.
    """

    id: UUID
    user: str
    url: str
    secret: bytes = field(repr=False)
    allow_private: bool
    created_at: datetime
    created_by: str
    delivered_at: datetime | None
    failures: int
    failing_since: datetime | None
    next_attempt_at: datetime | None
    disabled_at: datetime | None
    reason: str | None


@dataclass(frozen=True)
class Due:
    """A webhook whose next attempt is due.

    position: all live runs up to it are delivered.
    delivered_city: the last delivered city of the first run after the position.
    is_user: whether the user was not removed.
    """

    id: UUID
    user: str
    url: str
    secret: bytes = field(repr=False)
    allow_private: bool
    position: int
    delivered_city: UUID | None
    is_user: bool


@dataclass(frozen=True)
class LiveRun:
    """A live run at a position. Without an id it is only the newest position."""

    sequence: int
    run_id: UUID | None


@dataclass(frozen=True)
class NewForecast:
    """A live forecast of a city, without its values."""

    city_id: UUID
    city: str
    run_id: UUID
    issued_at: datetime
    recorded_at: datetime
    model: str
    version: str


@contextmanager
def sender_lock(database: Database) -> Iterator[bool]:
    """Try to become the one program that sends events, and yield whether it did; as `runner_lock`."""
    with database.transaction(Role.OPERATOR) as connection:
        is_free = connection.execute(queries("webhooks")["try_lock"]).fetchone() == (True,)
        connection.execute(queries("maintenance")["stay_open"])
        yield is_free


def add_webhook(connection: Connection, *, user: str, url: str, secret: bytes, allow_private: bool) -> UUID:
    """Add a webhook that receives the runs after the present ones, and return its id."""
    given = {"user": user, "url": url, "secret": secret, "allow_private": allow_private}
    number = UUID(str(one_row(connection, queries("webhooks")["add"], given)[0]))
    connection.execute(queries("webhooks")["begin"], {"id": number})
    return number


def webhooks(connection: Connection, number: UUID | None = None) -> list[Webhook]:
    """Return all webhooks, or the one with an id."""
    return object_rows(connection, Webhook, queries("webhooks")["webhooks"], {"id": number})


def remove_webhook(connection: Connection, number: UUID) -> None:
    """Remove a webhook."""
    connection.execute(queries("webhooks")["remove"], {"id": number})


def due_webhooks(connection: Connection) -> list[Due]:
    """Return the webhooks that are not disabled, and whose next attempt is due."""
    return object_rows(connection, Due, queries("webhooks")["due"])


def live_runs_after(connection: Connection, position: int) -> list[LiveRun]:
    """Return live runs after a position, in the order of their commits."""
    return object_rows(connection, LiveRun, queries("webhooks")["runs_after"], {"position": position})


def forecasts_of_run(connection: Connection, run: UUID, after: UUID | None) -> list[NewForecast]:
    """Return the forecasts of a run that the reader may see, by id of the city.

    Args:
        after: leave out the cities up to this one.
    """
    return object_rows(connection, NewForecast, queries("webhooks")["forecasts_of_run"], {"run": run, "after": after})


def record_delivery(connection: Connection, number: UUID, city: UUID) -> None:
    """Record that the event of a city was accepted."""
    connection.execute(queries("webhooks")["delivered"], {"id": number, "city": city})


def record_position(connection: Connection, number: UUID, position: int) -> None:
    """Record that all runs up to a position are delivered."""
    connection.execute(queries("webhooks")["passed"], {"id": number, "position": position})


def record_failure(connection: Connection, number: UUID, reason: str) -> bool:
    """Record a failed attempt, and return whether the webhook is now disabled."""
    given = {"id": number, "reason": one_line(reason)[:_LONGEST_REASON]}
    return connection.execute(queries("webhooks")["failed"], given).fetchone() == (True,)


def disable(connection: Connection, number: UUID, reason: str) -> None:
    """Disable a webhook for a reason that no later attempt can remove."""
    connection.execute(queries("webhooks")["disable"], {"id": number, "reason": one_line(reason)[:_LONGEST_REASON]})
