"""Open a database: the server of a URL, or the embedded server, which is started when needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from energy_forecast.database import LOGIN, Database, schema_is_current
from energy_forecast.database.backups import is_restored_copy
from energy_forecast.database.schema import has_mark
from energy_forecast.database.standby import MOST_LAG, Lag, Replay, lag, replayed
from energy_forecast.database.zones import check_zones
from energy_forecast.errors import BackupError, SchemaError
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.settings import settings

_MOST_ZONES = 5


def server_database(url: str | None, home: Path, *, announce: Callable[[str], None]) -> Database:
    """Return the database without a check of its schema.

    Args:
        url: the libpq URL of a server; None starts the embedded server.
        home: the state folder of the embedded server.
        announce: receives one sentence if the server must be started first.

    Raises:
        ServerError: the embedded server cannot be started.
    """
    if url is not None:
        return Database(url)
    server = EmbeddedServer(home, settings().port)
    status = server.status()
    if not status.running:
        announce("Waiting for the embedded PostgreSQL" if status.starting else "Starting the embedded PostgreSQL")
    return Database(server.start().url, embedded=True, login=LOGIN)


def open_database(url: str | None, home: Path, *, announce: Callable[[str], None]) -> Database:
    """Return the database with a current schema. Only the embedded one is upgraded; another server is up to its DBA.

    Args:
        url, home, announce: as in `server_database`.

    Raises:
        SchemaError: the schema of another server is not current.
        DatabaseError: the server cannot be reached.
    """
    database = server_database(url, home, announce=announce)
    if not schema_is_current(database):
        if not database.embedded:
            raise SchemaError(
                "The schema of the database is missing or belongs to another version of this program.",
                hint="Run: energy-forecast db upgrade",
            )
        # Imported here: it is seldom needed
        from energy_forecast.database.migrate import upgrade

        upgrade(database)
    return database


def open_standby(url: str) -> tuple[Database, Lag]:
    """Return the standby that reading commands use, and how far it is behind. The primary is asked only if it matters.

    Args:
        url: its libpq URL.

    Raises:
        SchemaError: it has not replayed the schema of this program.
        DatabaseError: it cannot be reached, or is not a standby.
    """
    database = Database(url, standby=True)
    with database.transaction(None) as connection:
        replay = replayed(connection)
        if not has_mark(connection):
            raise SchemaError(
                "The schema of the standby is missing or belongs to another version of this program.",
                hint="Run on the primary: energy-forecast db upgrade. Then wait until the standby has replayed it.",
            )
    return database, reading_lag(database, replay)


def reading_lag(standby: Database, replay: Replay | None = None) -> Lag:
    """Return how far a standby is behind. The primary is asked only if its last commit is old.

    Raises:
        DatabaseError: it cannot be reached, or is not a standby.
    """
    if replay is None:
        with standby.transaction(None) as connection:
            replay = replayed(connection)
    if replay.age is not None and replay.age <= MOST_LAG.total_seconds():
        return lag(standby, replay, None)
    # Imported here: it is seldom needed
    from energy_forecast.operations.backup.ledger import reachable_database

    return lag(standby, replay, reachable_database(settings()))


def zone_warning(database: Database) -> str | None:
    """Return a warning if the time zone rules of the server and of this program differ for a city in recent years."""
    zones = sorted({difference.zone for difference in check_zones(database, years_back=2)})
    if not zones:
        return None
    more = f" and {len(zones) - _MOST_ZONES} more" if len(zones) > _MOST_ZONES else ""
    return (
        f"The server and this program have different rules for {', '.join(zones[:_MOST_ZONES])}{more}. "
        "Run: energy-forecast doctor zones"
    )


def refuse_restored_copy(database: Database) -> None:
    """Raise if the database may only be read.

    Raises:
        BackupError: it is a restored copy, which is read-only until it is activated.
    """
    if is_restored_copy(database):
        raise BackupError(
            "This database is a restored copy, which can only be read.",
            hint="To replace the original with it, stop the original first, then run: energy-forecast recovery "
            "activate",
        )
