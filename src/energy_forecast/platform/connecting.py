"""Connect to a database or to a server of the HTTP API."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import overload

from energy_forecast.database import Database
from energy_forecast.errors import EnergyForecastError, UnreachableError
from energy_forecast.platform.arguments import checked
from energy_forecast.platform.client import Client, same_server
from energy_forecast.platform.opening import open_database, zone_warning
from energy_forecast.platform.platform import Platform
from energy_forecast.settings import Settings, settings

_log = logging.getLogger(__name__)


@overload
def connect(url: str, *, key: str) -> Client: ...


@overload
def connect(url: str | None = None, *, home: str | Path | None = None, key: None = None) -> Platform: ...


@checked
def connect(url: str | None = None, *, home: str | Path | None = None, key: str | None = None) -> Platform | Client:
    """Connect to a database and return the platform, or to a server of the HTTP API and return a client.

    Without arguments this is the server of ENERGY_FORECAST_URL if it is set. Otherwise it is the database of the
    command line: that of ENERGY_FORECAST_DATABASE_URL, or else the embedded PostgreSQL of the state folder. The
    embedded one is created and started if needed. It runs until `energy-forecast db down`, so several programs can use
    it.

    Args:
        url: the address of a server of the HTTP API, such as https://energy.example.org; or a libpq URL of a PostgreSQL
            server, version 15 to 18, such as postgresql://anna@db.example.org/energy.
        home: another state folder for the embedded server.
        key: the key for the HTTP API. None for ENERGY_FORECAST_KEY, which is sent to no other server than that of
            ENERGY_FORECAST_URL if this is set.

    Raises:
        ServerError: the embedded server cannot be started.
        DatabaseError: the server cannot be reached, or its schema belongs to another version.
        KeyRefusedError: there is no key for the HTTP API.
        EnergyForecastError: arguments exclude each other, or the HTTP API has no TLS.

    Examples:
        >>> import energy_forecast as ef
        >>> db = ef.connect()
        >>> remote = ef.connect("https://energy.example.org", key="efp_...")
    """
    if home is not None and (url is not None or key is not None):
        other = "url" if url is not None else "key"
        raise EnergyForecastError(f"`{other}` and `home` exclude each other.", hint="Leave one of them out.")
    given = settings()
    address = given.url if url is None and home is None else url
    if address is not None and address.partition(":")[0].lower() in {"http", "https"}:
        return Client(address, _key(address, given) if key is None else key)
    if key is not None:
        raise EnergyForecastError(
            "`key` is for the HTTP API, and `url` is not an address of it.",
            hint="Give `url` such as https://energy.example.org, or leave `key` out.",
        )
    if url is None and address is not None:
        raise EnergyForecastError(
            "ENERGY_FORECAST_URL is not an address such as https://energy.example.org.",
            hint="A database belongs in ENERGY_FORECAST_DATABASE_URL.",
        )
    return _platform(url, home, given)


def _key(address: str, given: Settings) -> str | None:
    """Return the key of the settings, unless it belongs to another server."""
    return given.key if given.url is None or same_server(address, given.url) else None


def _platform(url: str | None, home: str | Path | None, given: Settings) -> Platform:
    if home is None and url is None:
        url = given.database_url
    # A standby of the settings belongs to the database of the settings
    read_url = given.read_url if home is None and url == given.database_url else None
    folder = given.home if home is None else Path(home).expanduser().absolute()
    try:
        database = open_database(url, folder, announce=_log.info)
    except UnreachableError as error:
        if home is None and url != given.database_url:
            error.hint = "Check `url`, or leave it out to use the embedded server."
        raise
    if (warning := zone_warning(database)) is not None:
        _log.warning(warning)
    return Platform(database, None if read_url is None else Database(read_url, standby=True))
