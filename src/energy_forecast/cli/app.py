"""The command line: all commands, and the exit status of each error."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from energy_forecast.cli.console import visible
from energy_forecast.cli.option_names import with_option_names
from energy_forecast.errors import ConnectionLostError, EnergyForecastError, PartialResultError
from energy_forecast.event_log import print_events
from energy_forecast.fault_log import log_faults_to, program_fault
from energy_forecast.settings import settings

# The modules of this package with a command or a group of commands, in the order of the help
COMMANDS = (
    "demo",
    "db",
    "city",
    "ingest",
    "export",
    "train",
    "forecast",
    "backtest",
    "score",
    "model",
    "query",
    "maintain",
    "partition",
    "retention",
    "user",
    "key",
    "webhook",
    "serve",
    "doctor",
    "backup",
    "recovery",
)


class _Commands(Mapping[str, Any]):
    """The commands by name. A module is imported when its command is looked up."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        module = import_module(f"energy_forecast.cli.{name}")
        parent = typer.Typer(rich_markup_mode="rich")
        if hasattr(module, "app"):
            parent.add_typer(module.app, name=name)
        else:
            parent.command(name)(getattr(module, name))
        return typer.main.get_group(parent).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Program(TyperGroup):
    """The program. Importing all modules takes more time than most commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()  # type: ignore[assignment]


app = typer.Typer(
    name="energy-forecast",
    cls=_Program,
    help="Forecast the energy consumption of cities; store and score the forecasts in PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        # Imported here: it takes a third of the time of this command
        from importlib.metadata import version

        print(version("energy-forecast"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Forecast the energy consumption of cities; store and score the forecasts in PostgreSQL."""


def run() -> None:
    """Run the command line."""
    # Invalid UTF-8 arrives as lone surrogates, which no later part can print or store
    if any("\udc80" <= character <= "\udcff" for argument in sys.argv for character in argument):
        _fail("An argument is not valid UTF-8, or the locale is not. Set LC_ALL=C.UTF-8.")
    with suppress(EnergyForecastError):
        # If the settings are invalid, the command itself reports it
        log_faults_to(settings().home / "faults.log")
        if (level := settings().log_level) is not None:
            print_events(level, settings().log_format)
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
