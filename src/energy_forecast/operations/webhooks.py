"""Add, list, remove and test webhooks, and deliver the events of new live forecasts."""

from __future__ import annotations

import base64
import json
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4, uuid5

from energy_forecast.database import webhooks
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.webhooks import Due, NewForecast, Webhook
from energy_forecast.errors import AccessError, EnergyForecastError, NotFoundError, describe
from energy_forecast.operations import users
from energy_forecast.operations.webhook_posts import checked_address, post, resolved

_log = logging.getLogger(__name__)
ISSUED = "energy-forecast.forecast.issued"
TEST = "energy-forecast.webhook.test"
# Seconds after which a webhook with more events lets others continue
_TURN = 20.0
# A transaction with the rights of a user
ReadAs = Callable[[str], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class Attempt:
    """The answer to a test event."""

    status: int
    seconds: float


def add_webhook(database: Database, url: str, *, user: str, allow_private: bool = False) -> tuple[str, Webhook]:
    """Add a webhook for the live forecasts that are issued from now, and return its secret and description.

    Args:
        url: the address, with https.
        user: the user whose cities it concerns.
        allow_private: allow addresses that are not public, and http to this machine.

    Raises:
        AccessError: there is no such user.
        EnergyForecastError: the address is invalid or not public.
        UnreachableError: its name cannot be resolved.
    """
    resolved(checked_address(url, allow_private=allow_private), allow_private=allow_private)
    if user not in {one.name for one in users.list_users(database)}:
        raise AccessError(f"There is no user {user!r}.", hint=f"Add them first: energy-forecast user add {user}")
    secret = secrets.token_bytes(32)
    with database.transaction(Role.OPERATOR) as connection:
        number = webhooks.add_webhook(connection, user=user, url=url, secret=secret, allow_private=allow_private)
        stored = _stored(connection, number)
    _log.info("webhook added", extra={"webhook": str(number), "user": user})
    return f"whsec_{base64.b64encode(secret).decode()}", stored


def list_webhooks(database: Database) -> list[Webhook]:
    """Return all webhooks by user."""
    with database.transaction(Role.OPERATOR, read_only=True) as connection:
        return webhooks.webhooks(connection)


def remove_webhook(database: Database, number: UUID) -> Webhook:
    """Remove a webhook, and return its description.

    Raises:
        NotFoundError: there is no such webhook.
    """
    with database.transaction(Role.OPERATOR) as connection:
        stored = _stored(connection, number)
        webhooks.remove_webhook(connection, number)
    _log.info("webhook removed", extra={"webhook": str(number), "user": stored.user})
    return stored


def send_test(database: Database, number: UUID) -> Attempt:
    """Send a test event, which changes nothing in the deliveries.

    Raises:
        NotFoundError: there is no such webhook.
        EnergyForecastError: no answer came, or its status is not 2xx.
    """
    with database.transaction(Role.OPERATOR, read_only=True) as connection:
        stored = _stored(connection, number)
    body = _event(str(uuid4()), TEST, datetime.now(UTC), {"user": stored.user})
    began = time.monotonic()
    status = _send(stored, body)
    return Attempt(status, round(time.monotonic() - began, 3))


def deliver(database: Database, read_as: ReadAs, due: Due, *, ends: Callable[[], bool]) -> int:
    """Send the events of a webhook until all are delivered, one fails, or 20 seconds are over.

    The position is stored after each accepted event. A failure is recorded with its reason.

    Args:
        read_as: gives a transaction with the rights of a user.
        ends: whether to send no other event.

    Returns:
        The number of accepted events.

    Raises:
        DatabaseError: the database cannot be reached. The last event may be sent again.
    """
    sent, stop_at = 0, time.monotonic() + _TURN
    if not due.is_user:
        with database.transaction(Role.OPERATOR) as connection:
            webhooks.disable(connection, due.id, f"The user {due.user} was removed.")
        return sent
    with database.transaction(Role.OPERATOR, read_only=True) as connection:
        runs = webhooks.live_runs_after(connection, due.position)
    after = due.delivered_city
    for run in runs:
        for forecast in [] if run.run_id is None else _readable(read_as, due.user, run.run_id, after):
            if ends() or time.monotonic() > stop_at:
                return sent
            try:
                _send(due, _issued(forecast))
            except EnergyForecastError as error:
                with database.transaction(Role.OPERATOR) as connection:
                    is_disabled = webhooks.record_failure(connection, due.id, describe(error))
                _log.warning(
                    "webhook failed",
                    extra={"webhook": str(due.id), "error": describe(error), "disabled": is_disabled},
                )
                return sent
            with database.transaction(Role.OPERATOR) as connection:
                webhooks.record_delivery(connection, due.id, forecast.city_id)
            sent += 1
        after = None
        if run.sequence > due.position:
            with database.transaction(Role.OPERATOR) as connection:
                webhooks.record_position(connection, due.id, run.sequence)
    return sent


def _readable(read_as: ReadAs, user: str, run: UUID, after: UUID | None) -> list[NewForecast]:
    with read_as(user) as connection:
        return webhooks.forecasts_of_run(connection, run, after)


def _send(webhook: Webhook | Due, body: bytes) -> int:
    """Send an event, and return the status.

    Raises:
        EnergyForecastError: it was not accepted.
    """
    number = str(json.loads(body)["id"])
    status = post(webhook.url, secret=webhook.secret, allow_private=webhook.allow_private, event=number, body=body)
    if not 200 <= status < 300:
        raise EnergyForecastError(f"The answer has the status {status}.", hint="Answer with 204.")
    return status


def _issued(forecast: NewForecast) -> bytes:
    """Return the event of a forecast. Its id depends on the run and the city only."""
    data = {
        "city": forecast.city,
        "run_id": str(forecast.run_id),
        "issued_at": _text(forecast.issued_at),
        "model": forecast.model,
        "version": forecast.version,
        "path": f"/v1/cities/{quote(forecast.city, safe='')}/forecasts/{forecast.run_id}",
    }
    number = str(uuid5(forecast.run_id, str(forecast.city_id)))
    return _event(number, ISSUED, forecast.recorded_at, data, subject=forecast.city)


def _event(number: str, kind: str, at: datetime, data: dict[str, Any], **optional: str) -> bytes:
    event = {"specversion": "1.0", "id": number, "source": "energy-forecast", "type": kind, "time": _text(at)}
    return json.dumps(
        {**event, **optional, "datacontenttype": "application/json", "data": data}, ensure_ascii=False
    ).encode()


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _stored(connection: Connection, number: UUID) -> Webhook:
    found = webhooks.webhooks(connection, number)
    if not found:
        raise NotFoundError(f"There is no webhook {number}.", hint="See: energy-forecast webhook list")
    return found[0]
