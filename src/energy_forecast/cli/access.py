"""Open the database of a command: the server of the settings, or the embedded one, started when needed."""

from __future__ import annotations

from energy_forecast.cli.console import echo, named
from energy_forecast.database import LOGIN, Database, schema_is_current
from energy_forecast.database.backups import is_restored_copy
from energy_forecast.database.zones import check_zones
from energy_forecast.errors import BackupError, SchemaError
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.settings import settings


def embedded_server() -> EmbeddedServer:
    """Return the embedded server of the state folder."""
    return EmbeddedServer(settings().home, settings().port)


def server_database() -> Database:
    """Return the database without a check of its schema; the embedded server is started."""
    url = settings().database_url
    if url is not None:
        return Database(url)
    server = embedded_server()
    status = server.status()
    if not status.running:
        echo("Waiting for the embedded PostgreSQL" if status.starting else "Starting the embedded PostgreSQL")
    return Database(server.start().url, embedded=True, login=LOGIN)


def open_database() -> Database:
    """Return the database with a current schema. Only the embedded one is upgraded; another server is up to its DBA.

    Raises:
        SchemaError: the schema of another server is not current.
    """
    database = server_database()
    if not schema_is_current(database):
        if settings().database_url is not None:
            raise SchemaError(
                "The schema of the database is missing or belongs to another version of this program.",
                hint="Run: energy-forecast db upgrade",
            )
        # Imported here: Alembic takes half a second to import, and is seldom needed
        from energy_forecast.database.migrate import upgrade

        upgrade(database)
    _compare_zones(database)
    return database


def _compare_zones(database: Database) -> None:
    """Warn if the server and this program have different time zone rules for a city in recent years."""
    found = check_zones(database, years_back=2)
    if found:
        zones = sorted({difference.zone for difference in found})
        echo(
            f"Warning: the server and this program have different rules for {named(zones)}. "
            "Run: energy-forecast doctor zones"
        )


def acting_database() -> Database:
    """Return the database for a command that changes it.

    Raises:
        BackupError: it is a restored copy, which is read-only until it is activated.
        SchemaError: as `open_database`.
    """
    database = open_database()
    if is_restored_copy(database):
        raise BackupError(
            "This database is a restored copy, which can only be read.",
            hint="To replace the original with it, stop the original first, then run: energy-forecast recovery "
            "activate",
        )
    return database
