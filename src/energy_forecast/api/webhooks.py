"""Send the events of webhooks while the server runs."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import AbstractContextManager

from energy_forecast.database import Database
from energy_forecast.database.backups import is_restored_copy
from energy_forecast.database.connection import Connection, Role
from energy_forecast.database.webhooks import Due, due_webhooks, sender_lock
from energy_forecast.errors import EnergyForecastError
from energy_forecast.fault_log import program_fault
from energy_forecast.operations.webhooks import deliver

_log = logging.getLogger(__name__)
# Seconds between two looks for new forecasts
_LOOK_EVERY = 5.0
_AT_ONCE = 4
_STATEMENT_SECONDS = 30


class Sender:
    """The thread that sends events, of at most four webhooks at a time.

    A lock in the database lets one server send at a time. A restored copy sends nothing.

    Args:
        access: pooled; its login may take the roles of users and no other.
        platform: the same database with the login of the commands.
    """

    def __init__(self, access: Database, platform: Database) -> None:
        self._access = access
        self._platform = platform
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin to send events."""
        self._thread.start()

    def stop(self) -> None:
        """Send no other event. One that is on its way may be sent again by the next server."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY):
            try:
                if not is_restored_copy(self._platform):
                    self._send_due()
            except EnergyForecastError as error:
                _log.warning("webhooks not sent", extra={"error": str(error)})
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                program_fault("Send the events of webhooks", error)

    def _send_due(self) -> None:
        with sender_lock(self._platform) as is_free:
            if not is_free:
                return
            with self._platform.transaction(Role.OPERATOR, read_only=True) as connection:
                due = due_webhooks(connection)
            waiting: queue.SimpleQueue[Due] = queue.SimpleQueue()
            for one in due:
                waiting.put(one)
            workers = [
                threading.Thread(target=self._work, args=(waiting,), name="webhook", daemon=True)
                for _ in range(min(_AT_ONCE, len(due)))
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

    def _work(self, waiting: queue.SimpleQueue[Due]) -> None:
        while not self._stopped.is_set():
            try:
                due = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                deliver(self._platform, self._as_user, due, ends=self._stopped.is_set)
            except EnergyForecastError as error:
                _log.warning("webhook not sent", extra={"webhook": str(due.id), "error": str(error)})
            except Exception as error:  # noqa: BLE001 - the others continue
                program_fault(f"Send the events of the webhook {due.id}", error)

    def _as_user(self, user: str) -> AbstractContextManager[Connection]:
        return self._access.request(lambda _: user, name="energy-forecast webhook", seconds=_STATEMENT_SECONDS)
