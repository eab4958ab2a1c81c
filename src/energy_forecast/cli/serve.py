"""energy-forecast serve."""

from __future__ import annotations

from typing import Annotated

import typer

from energy_forecast.cli.access import api_databases
from energy_forecast.cli.console import echo, out
from energy_forecast.errors import EnergyForecastError
from energy_forecast.extras import needs_extra
from energy_forecast.settings import settings


def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    *,
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy", help="Listen on other addresses than those of this machine: a proxy adds TLS there."
        ),
    ] = False,
    requests_per_minute: Annotated[
        int, typer.Option(min=1, max=1_000_000, metavar="N", help="Most requests of a key in a minute.")
    ] = 1200,
) -> None:
    """Serve the pages and the HTTP API until Ctrl-C or SIGTERM.

    Users sign in with a link (user link), a key (key create) or their password of PostgreSQL. Clients of the API need a
    key. The server has no TLS, so by default it listens on this machine only. For other machines, run a proxy with TLS
    in front of it.

    Example: energy-forecast serve --port 8000
    """
    with needs_extra("server"):
        from energy_forecast.api import server
    from energy_forecast.api.app import create_app

    if not behind_proxy and not server.is_loopback(host):
        raise EnergyForecastError(
            f"{host} is not an address of this machine only, and the server has no TLS.",
            hint="Run a proxy with TLS in front of it, and add --behind-proxy.",
        )
    platform, database = api_databases()
    server.check_login(database)
    with server.listen(host, port) as listener:
        app = create_app(
            database, platform, settings().home, requests_a_minute=requests_per_minute, behind_proxy=behind_proxy
        )
        address, used = listener.getsockname()[:2]
        name = f"[{address}]" if ":" in address else address
        out.print(f"Serving on http://{name}:{used}")
        echo("Open it in a browser. To sign in with a link: energy-forecast user link NAME")
        echo(f"Description of the API: http://{name}:{used}/docs. Stop with Ctrl-C.")
        out.file.flush()
        server.serve(app, listener)
