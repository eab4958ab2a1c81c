"""Open the database of a command: the server of the settings, or the embedded one, started when needed."""

from __future__ import annotations

from energy_forecast.cli.console import echo
from energy_forecast.database import API_LOGIN, Database
from energy_forecast.errors import EnergyForecastError
from energy_forecast.platform import opening
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.settings import settings


def embedded_server() -> EmbeddedServer:
    """Return the embedded server of the state folder."""
    return EmbeddedServer(settings().home, settings().port)


def required_embedded_server(command: str, hint: str = "Unset it to use the embedded one.") -> EmbeddedServer:
    """Return the embedded server for a command that works with no other.

    Raises:
        EnergyForecastError: the settings name another server.
    """
    if settings().database_url is not None:
        raise EnergyForecastError(
            f"`{command}` requires the embedded server, but ENERGY_FORECAST_DATABASE_URL names another.", hint=hint
        )
    return embedded_server()


def server_database() -> Database:
    """Return the database without a check of its schema; the embedded server is started."""
    return opening.server_database(settings().database_url, settings().home, announce=echo)


def open_database() -> Database:
    """Return the database with a current schema; see opening.open_database."""
    database = opening.open_database(settings().database_url, settings().home, announce=echo)
    if (warning := opening.zone_warning(database)) is not None:
        echo(f"Warning: {warning}")
    return database


def reading_database() -> Database:
    """Return the database for a command that only reads: the standby if the settings name one; see `open_database`."""
    url = settings().read_url
    if url is None:
        return open_database()
    database, lag = opening.open_standby(url)
    for warning in (lag.warning, opening.zone_warning(database)):
        if warning is not None:
            echo(f"Warning: {warning}")
    return database


def acting_database() -> Database:
    """Return the database for a command that changes it.

    Raises:
        BackupError: it is a restored copy, which is read-only until it is activated.
        SchemaError: as `open_database`.
    """
    database = open_database()
    opening.refuse_restored_copy(database)
    return database


def api_databases() -> tuple[Database, Database]:
    """Return the database with the login of the commands, and with that of the HTTP API.

    The login of the API may take the roles of users only. Its database is that of ENERGY_FORECAST_API_URL, otherwise
    that of the commands with the login energy_forecast_api.
    """
    database = open_database()
    if (url := settings().api_url) is not None:
        return database, Database(url)
    return database, Database(database.url, embedded=database.embedded, login=API_LOGIN)
