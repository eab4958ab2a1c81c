"""Write to the ledger in the database if it is reachable. A check of files does not need a server."""

from __future__ import annotations

import contextlib
from datetime import datetime

from energy_forecast.database import LOGIN, Database
from energy_forecast.database.backups import record_check
from energy_forecast.database.schema import with_login
from energy_forecast.errors import EnergyForecastError
from energy_forecast.operations.backup.folder import BackupFolder
from energy_forecast.operations.backup.prune import Pruned
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.settings import Settings


def reachable_database(settings: Settings) -> Database | None:
    """Return the database without starting a server; None if the embedded server is down."""
    if settings.database_url is not None:
        return Database(settings.database_url)
    status = EmbeddedServer(settings.home, settings.port).status()
    if not status.running:
        return None
    return with_login(Database(status.url, embedded=True, login=LOGIN))


def record_verification(settings: Settings, name: str, reason: str | None, started_at: datetime) -> None:
    """Record the verification of a backup, if the ledger is reachable."""
    with contextlib.suppress(EnergyForecastError):
        if database := reachable_database(settings):
            record_check(database, kind="verify", subject=name, reason=reason, started_at=started_at)


def record_prune(settings: Settings, folder: BackupFolder, pruned: Pruned, started_at: datetime) -> None:
    """Record the removed backups, if there are any and the ledger is reachable."""
    if not pruned.removed:
        return
    with contextlib.suppress(EnergyForecastError):
        if database := reachable_database(settings):
            details = {"removed": pruned.removed, "damaged": pruned.damaged}
            record_check(
                database, kind="prune", subject=str(folder.path), reason=None, started_at=started_at, details=details
            )
