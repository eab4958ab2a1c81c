"""The database that a command works on: the server of the settings, or the embedded one, started when needed."""

from __future__ import annotations

from energy_forecast.cli.console import echo, named
from energy_forecast.database import LOGIN, Database, schema_is_current
from energy_forecast.database.backups import is_restored_copy
from energy_forecast.database.zones import check_zones
from energy_forecast.errors import BackupError, SchemaError
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.settings import settings


def embedded_server() -> EmbeddedServer:
    """The embedded server of the state folder."""
    return EmbeddedServer(settings().home, settings().port)


def server_database() -> Database:
    """The database, whatever its schema; the embedded server is started."""
    url = settings().database_url
    if url is not None:
        return Database(url)
    server = embedded_server()
    status = server.status()
    if not status.running:
        echo("Waiting for the embedded PostgreSQL" if status.starting else "Starting the embedded PostgreSQL")
    return Database(server.start().url, embedded=True, login=LOGIN)


def open_database() -> Database:
    """The database with a current schema. The embedded one is brought up to date; another server is its DBA's.

    Raises:
        SchemaError: the schema of a server that is not ours is not current.
    """
    database = server_database()
    if not schema_is_current(database):
        if settings().database_url is not None:
            raise SchemaError(
                "The schema of the database is missing or not that of this program.",
                hint="Run: energy-forecast db upgrade",
            )
        # Here and not above: Alembic takes half a second to import, and is seldom needed
        from energy_forecast.database.migrate import upgrade

        upgrade(database)
    _compare_zones(database)
    return database


def _compare_zones(database: Database) -> None:
    """Warn if the server reads the local times of a city by other rules than this program, these years."""
    found = check_zones(database, years_back=2)
    if found:
        zones = sorted({difference.zone for difference in found})
        echo(
            f"Warning: the server and this program have different rules of {named(zones)}. "
            "Run: energy-forecast doctor zones"
        )


def acting_database() -> Database:
    """The database for a command that adds to it or changes it.

    Raises:
        BackupError: it is a restored copy, which does nothing beside its original until it is activated.
        SchemaError: as `open_database`.
    """
    database = open_database()
    if is_restored_copy(database):
        raise BackupError(
            "This database is a restored copy, which can be read and does nothing else.",
            hint="If it is to take its original's place, stop that first, then run: energy-forecast recovery activate",
        )
    return database
