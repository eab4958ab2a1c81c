"""Serve the application until a signal ends it."""

from __future__ import annotations

import ipaddress
import logging
import socket

import uvicorn
from fastapi import FastAPI

from energy_forecast.api.connections import ImpatientProtocol, allow_many_connections
from energy_forecast.database import Database
from energy_forecast.database.api_keys import roles_of_login
from energy_forecast.errors import AccessError, EnergyForecastError

_log = logging.getLogger(__name__)
# Seconds to finish running requests after a signal
_GRACE = 5


def check_login(database: Database) -> None:
    """Raise if the login of the API could take a role of the platform.

    Raises:
        AccessError: it could.
        DatabaseError: the database cannot be reached, or refuses the login.
    """
    with database.transaction(None, read_only=True) as connection:
        roles = roles_of_login(connection)
    if roles is not None:
        raise AccessError(
            f"The login of the API may act as {roles}.",
            hint="Set ENERGY_FORECAST_API_URL to a URL with the login energy_forecast_api; "
            "see docs/howto/own-server.md.",
        )


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        EnergyForecastError: the address or port cannot be used.
    """
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except (OSError, UnicodeError) as error:
        raise EnergyForecastError(
            f"Cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}.",
            hint="Choose another `port` or `host`.",
        ) from error
    # Connections inherit it. asyncio sets it only for sockets with the protocol number of TCP, which this one lacks:
    # the end of each answer would wait 40 ms for the client to acknowledge its beginning
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; running requests have five seconds to finish.

    Args:
        app: of `create_app`.
        listener: of `listen`.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE,
        server_header=False,
        http=ImpatientProtocol,
    )
    allow_many_connections()
    _log.info("serving", extra={"address": listener.getsockname()[0], "port": listener.getsockname()[1]})
    uvicorn.Server(config).run(sockets=[listener])
