"""The command line: all commands, and the one place that maps errors to exit statuses."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated

import typer

from energy_forecast.cli import (
    backtest,
    backup,
    city,
    db,
    demo,
    doctor,
    export,
    forecasting,
    ingest,
    maintain,
    model,
    partition,
    query,
    recovery,
    retention,
    score,
    user,
)
from energy_forecast.cli.console import visible
from energy_forecast.cli.option_names import with_option_names
from energy_forecast.errors import ConnectionLostError, EnergyForecastError, PartialResultError
from energy_forecast.fault_log import log_faults_to, program_fault
from energy_forecast.settings import settings

app = typer.Typer(
    name="energy-forecast",
    help="Forecast the energy consumption of cities; store and score the forecasts in PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("energy-forecast"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Forecast the energy consumption of cities; store and score the forecasts in PostgreSQL."""


app.command("demo")(demo.demo)
app.add_typer(db.app, name="db")
app.add_typer(city.app, name="city")
app.add_typer(ingest.app, name="ingest")
app.add_typer(export.app, name="export")
app.command("train")(forecasting.train)
app.add_typer(forecasting.app, name="forecast")
app.add_typer(backtest.app, name="backtest")
app.add_typer(score.app, name="score")
app.add_typer(model.app, name="model")
app.add_typer(query.app, name="query")
app.command("maintain")(maintain.maintain)
app.add_typer(partition.app, name="partition")
app.add_typer(retention.app, name="retention")
app.add_typer(user.app, name="user")
app.add_typer(doctor.app, name="doctor")
app.add_typer(backup.app, name="backup")
app.add_typer(recovery.app, name="recovery")


def run() -> None:
    """Run the command line."""
    # Invalid UTF-8 arrives as lone surrogates, which no later part can print or store
    if any("\udc80" <= character <= "\udcff" for argument in sys.argv for character in argument):
        _fail("An argument is not valid UTF-8, or the locale is not. Set LC_ALL=C.UTF-8.")
    with suppress(EnergyForecastError):
        # If the settings are invalid, the command itself reports it
        log_faults_to(settings().home / "faults.log")
    try:
        app()
    except PartialResultError as error:
        _fail(with_option_names(f"{error}"), label="Partial", status=3)
    except EnergyForecastError as error:
        _fail(with_option_names(f"{error}{_full_disk(error)}"))
    except SystemExit as stopped:
        if stopped.code == 130:
            raise KeyboardInterrupt from None
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - no traceback reaches a user, nor that of a panic
        _fail(program_fault(" ".join(["energy-forecast", *sys.argv[1:3]]), error))


def _full_disk(error: EnergyForecastError) -> str:
    """Return a sentence if the disk is full: a server with a full disk ends without a reason."""
    if not isinstance(error, ConnectionLostError) or settings().database_url is not None:
        return ""
    free = shutil.disk_usage(settings().home).free
    return f" The disk of {settings().home} is full: {free >> 20} MB are free." if free < 64 << 20 else ""


def _fail(message: str, *, label: str = "Error", status: int = 1) -> None:
    print(f"{label}: {visible(' '.join(line.strip() for line in message.splitlines()))}", file=sys.stderr)
    raise SystemExit(status)
