"""energy-forecast db."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from energy_forecast.cli.access import embedded_server, required_embedded_server, server_database
from energy_forecast.cli.console import echo, emit, minute, out
from energy_forecast.cli.options import Json
from energy_forecast.database import Database, schema_version
from energy_forecast.database.standby import Lag, standby_lag
from energy_forecast.errors import DatabaseError
from energy_forecast.operations.backup.ledger import reachable_database
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.settings import settings

_MOST_FAULTS = 20

app = typer.Typer(no_args_is_help=True, help="The database: the embedded server and the schema.")


def _clear_drill(server: EmbeddedServer) -> None:
    """Remove the remains of a killed drill, with its server that still runs."""
    if (server.home / "drill").exists() or (server.home / "drill.new").exists():
        from energy_forecast.operations.recovery.drill import clear_killed_drill

        if clear_killed_drill(server):
            echo("Removed the remains of a killed drill.")


def _stop_pages(server: EmbeddedServer) -> bool:
    """Stop the pages of the demo, which need this server; return whether they were served."""
    if not (server.home / "pages.json").exists():
        return False
    from energy_forecast.cli.demo_pages import stop_pages

    return stop_pages(server.home)


@app.command()
def up(json: Json = False) -> None:
    """Start the embedded PostgreSQL; it runs until `db down`.

    Other commands start it too if they need it.

    Example: energy-forecast db up
    """
    server = required_embedded_server("db up")
    before = server.status()
    if before.starting:
        echo("PostgreSQL is starting, or recovering from a crash; waiting until it accepts connections")
    status = server.start()
    _clear_drill(server)
    if json:
        emit(asdict(status) | {"started": not before.running and not before.starting})
    else:
        out.print(f"PostgreSQL {status.version} {'was already' if before.running else 'is'} up (pid {status.pid}).")
        out.print("To stop it: energy-forecast db down")


@app.command()
def down(json: Json = False) -> None:
    """Stop the embedded PostgreSQL, and the pages of the demo if they use it. Data stays.

    Example: energy-forecast db down
    """
    server = required_embedded_server("db down")
    pages = _stop_pages(server)
    stopped = server.stop()
    _clear_drill(server)
    if json:
        emit({"stopped": stopped, "stopped_pages": pages})
    else:
        if pages:
            out.print("The pages of the demo are stopped.")
        out.print("PostgreSQL is down." if stopped else "PostgreSQL was not up.")


def _standby(url: str) -> Lag | dict[str, str]:
    """Return how far the standby is behind, or the error."""
    try:
        return standby_lag(Database(url, standby=True), reachable_database(settings()))
    except DatabaseError as error:
        return {"error": str(error)}


@app.command()
def status(json: Json = False) -> None:
    """Show whether the server runs, its state folder and its schema version. Starts nothing.

    Example: energy-forecast db status --json
    """
    if settings().database_url is not None:
        database = server_database()
        facts: dict[str, object] = {
            "embedded": False,
            "running": True,
            "schema": schema_version(database),
            **database.server_info(),
        }
    else:
        found = embedded_server().status()
        facts = {"embedded": True, **asdict(found)}
        facts["schema"] = schema_version(server_database()) if found.running else None
    if settings().read_url is not None:
        facts["standby"] = _standby(settings().read_url or "")
    if json:
        emit(facts)
        return
    state = "up" if facts["running"] else "starting, or recovering from a crash" if facts.get("starting") else "down"
    out.print(state, style="green" if facts["running"] else "yellow")
    for name, value in facts.items():
        if name not in ("running", "starting", "embedded", "url") and value is not None:
            shown = minute(value) if isinstance(value, datetime) else value
            if isinstance(value, dict):
                shown = value["error"]
            out.print(f"  {name.replace('_', ' '):14} {shown}")


@app.command()
def url(json: Json = False) -> None:
    """Print one libpq URL of the embedded server's owner, for psql and other tools. Starts the server.

    Example: psql "$(energy-forecast db url)"
    """
    database = server_database()
    if json:
        emit({"url": database.url})
    else:
        print(database.url)


@app.command()
def upgrade(
    sql: Annotated[
        bool,
        typer.Option("--sql", help="Print the SQL for an empty database instead, for a DBA, without a connection."),
    ] = False,
    json: Json = False,
) -> None:
    """Bring the schema up to date: new migrations, then functions, triggers and grants. Safe to repeat.

    Differences from the expected protection are repaired, reported and audited; see `doctor audit`.

    Example: energy-forecast db upgrade --sql > schema.sql
    """
    from energy_forecast.database import migrate

    if sql:
        text = migrate.upgrade_sql()
        if json:
            emit({"sql": text})
        else:
            print(text)
        return
    done = migrate.upgrade(server_database())
    if json:
        emit(done)
    elif not done.changed:
        out.print(f"The schema is at version {done.after}, as before; no change was necessary.")
    elif done.before == done.after:
        out.print(
            f"The schema is at version {done.after}, as before; functions, triggers and grants were applied again."
        )
    else:
        out.print(f"The schema is now at version {done.after} (before: {done.before or 'empty'}).")
    if not json:
        for heading, faults in (("Repaired", done.repaired), ("Not repaired", done.remaining)):
            for fault in faults[:_MOST_FAULTS]:
                echo(f"  {heading}: {fault}")
            if len(faults) > _MOST_FAULTS:
                echo(f"  {heading}: {len(faults) - _MOST_FAULTS:,} more. --json lists all.")
