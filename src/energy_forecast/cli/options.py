"""Options that several commands share, and the parsers of their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from datetime import time as clock_time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from energy_forecast.errors import EnergyForecastError
from energy_forecast.time_arguments import read_delay, read_horizon, read_local_time, read_moment, read_span

Value = TypeVar("Value")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]
Cities = Annotated[
    list[str] | None,
    typer.Option(
        "--city",
        metavar="CITY",
        help="A city by name, in any case; may be repeated, or several with commas. Default: all.",
    ),
]
Processes = Annotated[
    int | None, typer.Option(min=1, help="Number of cities to process in parallel. Default: one for each processor.")
]
AllowPartial = Annotated[
    bool,
    typer.Option("--allow-partial", help="Exit with 0 instead of 3 if some cities or rows could not be processed."),
]


class WeatherChoice(StrEnum):
    """The weather of the target hours in a backtest."""

    ACTUAL = "actual"
    SIMULATED = "simulated"
    FORECAST = "forecast"
    NONE = "none"


def moment(text: str) -> datetime:
    """Parse a TIME: ISO 8601 with an offset."""
    return _wrong_usage(read_moment, text)


def local_time(text: str) -> clock_time:
    """Parse a local time of day such as 00:00."""
    return _wrong_usage(read_local_time, text)


def duration(text: str) -> timedelta:
    """Parse a span of time such as 90min, 48h or 30d."""
    return _wrong_usage(read_span, text)


def delay(text: str) -> timedelta:
    """Parse a delay such as 0h, 90min or 30h."""
    return _wrong_usage(read_delay, text)


def longest_lead_time(text: str) -> timedelta:
    """Parse a longest lead time: whole hours, up to a week."""
    return _wrong_usage(read_horizon, text)


def _wrong_usage(read: Callable[[str], Value], text: str) -> Value:
    try:
        return read(text)
    except EnergyForecastError as error:
        raise typer.BadParameter(str(error)) from error


def time_option(text: str, name: str | None = None) -> Any:
    """Return an option for a TIME, named after its parameter by default."""
    return typer.Option(*([name] if name else []), parser=moment, metavar="TIME", help=text)


def plot_option(text: str) -> Any:
    """Return an option for a page with a picture."""
    return typer.Option("--plot", metavar="FILE", callback=_checked("--plot", (".html",)), help=text)


def output_option(text: str) -> Any:
    """Return an option for a file of rows."""
    check = _checked("--output", (".csv", ".parquet"))
    return typer.Option("--output", metavar="FILE", callback=check, help=text)


def _checked(option: str, suffixes: Sequence[str]) -> Callable[[Path | None], Path | None]:
    """Return a callback that refuses a file that cannot be written, before the work begins.

    Raises:
        BadParameter: its name has another suffix.
        EnergyForecastError: its folder does not exist, or it is a folder itself.
    """

    def check(path: Path | None) -> Path | None:
        if path is None:
            return None
        if path.suffix not in suffixes:
            raise typer.BadParameter(f"It must end in {' or '.join(suffixes)}, not {path.name!r}.")
        if not path.absolute().parent.is_dir():
            raise EnergyForecastError(
                f"Folder {path.absolute().parent} not found.", hint=f"Create it, or choose another {option}."
            )
        if path.is_dir():
            raise EnergyForecastError(f"{path} is a folder.", hint=f"Choose another {option}.")
        return path

    return check


From = Annotated[datetime | None, time_option("First issue time.", "--from")]
To = Annotated[datetime | None, time_option("Issue times are before this.", "--to")]
Horizon = Annotated[
    timedelta, typer.Option(parser=longest_lead_time, metavar="SPAN", help="Longest lead time, up to 168h.")
]
