"""energy-forecast ingest."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.access import acting_database
from energy_forecast.cli.console import (
    allow_interrupt,
    counted,
    echo,
    emit,
    minute,
    out,
    require_complete,
)
from energy_forecast.cli.loading import (
    LoadOptions,
    check_options,
    document,
    load,
    load_with_option_names,
    print_load,
    rejected_rows,
    unchecked_cities,
)
from energy_forecast.cli.option_names import with_option_names
from energy_forecast.cli.options import AllowPartial, Json
from energy_forecast.cli.rejected import rejected
from energy_forecast.errors import EnergyForecastError, IngestError

if TYPE_CHECKING:
    pass

app = typer.Typer(
    no_args_is_help=True,
    help="Load files: CSV, CSV.gz or Parquet. Rows that cannot be used are rejected with reasons (`ingest rejected`), "
    "and the others are loaded.",
)


def _divides_the_hour(minutes: int | None) -> int | None:
    if minutes is not None and 60 % minutes:
        raise typer.BadParameter(f"{minutes} minutes do not divide the hour.")
    return minutes


Files = Annotated[
    list[Path] | None,
    typer.Argument(
        help="CSV, CSV.gz or Parquet; - reads standard input. All files are one batch: stored together or not at all.",
        show_default=False,
    ),
]
Watch = Annotated[
    Path | None,
    typer.Option(
        "--watch",
        metavar="FOLDER",
        help="Instead of FILES: load each file that arrives in this folder as a batch, and move it to FOLDER/done, or "
        "to FOLDER/failed with a .txt that has the reason. Names that begin with a dot or end in .tmp or .part are "
        "ignored.",
    ),
]
Once = Annotated[bool, typer.Option("--once", help="With --watch: load the present files, and end.")]
Settle = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0,
        max=3600,
        help="With --watch: a file is complete when its size and time have not changed for this long.",
    ),
]
_SETTLE = 5.0
Zone = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="How to read timestamps without an offset: an IANA zone such as Europe/Berlin, or 'city' for each city's "
        "own. Without it they are rejected.",
    ),
]
Interval = Annotated[
    int | None,
    typer.Option(
        "--interval",
        metavar="MINUTES",
        min=1,
        max=60,
        callback=_divides_the_hour,
        help="Interval length, a divisor of 60, for rows without interval_minutes. Default: inferred from the "
        "timestamps.",
    ),
]


class LabelEnd(StrEnum):
    """The end of an interval that a timestamp names."""

    START = "start"
    END = "end"


Label = Annotated[
    LabelEnd | None,
    typer.Option(
        "--label",
        help="The end of the interval that a timestamp names. Default: start, but a file is refused if its clock "
        "changes prove that timestamps are ends.",
        show_default=False,
    ),
]
Units = Annotated[
    list[str] | None,
    typer.Option(
        "--unit",
        metavar="QUANTITY=UNIT",
        help="Unit of the numbers; may be repeated. energy=kWh, Wh, MWh, GWh, or a mean power W, kW, MW, GW; power=kW, "
        "W, MW, GW. Default: kWh and kW.",
        show_default=False,
    ),
]
TemperatureUnit = Annotated[
    list[str] | None,
    typer.Option(
        "--unit",
        metavar="QUANTITY=UNIT",
        help="Unit of the numbers; may be repeated. temperature=C, F or K; humidity=% or fraction. Default: C and %, "
        "but a file whose values look like another is refused.",
        show_default=False,
    ),
]
Check = Annotated[
    bool | None,
    typer.Option(
        "--check/--no-check",
        help="Check the loaded data: gaps, zeros, spikes, stuck meters, other units, new levels. Nothing is changed. "
        "Default: as many cities as a tenth of the time of the load allows; the others wait for `maintain checks`, as "
        "do all with --no-check.",
        show_default=False,
    ),
]


@app.command()
def consumption(
    files: Files = None,
    timezone: Zone = None,
    interval_minutes: Interval = None,
    label: Label = None,
    units: Units = None,
    check: Check = None,
    watch: Watch = None,
    once: Once = False,
    settle: Settle = _SETTLE,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Load consumption.

    Columns: city, timestamp (START of the interval, with an offset or Z), consumption_kwh (energy of the interval).
    Optional: peak_demand_kw, available_at (when the value could first be known), interval_minutes. Loading the same
    file twice changes nothing; a changed value is a correction, and the old one is kept.

    Example: energy-forecast ingest consumption january.csv february.csv.gz
    """
    options = LoadOptions(timezone, interval_minutes, label, units or (), check)
    _run("consumption", options, files, watch, once, settle, allow_partial, json)


@app.command()
def weather(
    files: Files = None,
    timezone: Zone = None,
    interval_minutes: Interval = None,
    label: Label = None,
    units: TemperatureUnit = None,
    check: Check = None,
    watch: Watch = None,
    once: Once = False,
    settle: Settle = _SETTLE,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Load observed weather.

    Columns: city, timestamp (START of the interval, with an offset or Z), temperature (degrees Celsius). Optional:
    humidity (%), wind_speed (m/s), precipitation (mm), available_at, interval_minutes. A file with issued_at holds
    forecasts and is refused; see weather-forecasts.

    Example: energy-forecast ingest weather weather.parquet --timezone city
    """
    options = LoadOptions(timezone, interval_minutes, label, units or (), check)
    _run("weather", options, files, watch, once, settle, allow_partial, json)


@app.command("weather-forecasts")
def weather_forecasts(
    files: Files = None,
    timezone: Zone = None,
    units: TemperatureUnit = None,
    watch: Watch = None,
    once: Once = False,
    settle: Settle = _SETTLE,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Load weather forecasts.

    Columns: city, issued_at (when the service issued it), timestamp (START of the hour), temperature (degrees Celsius).
    Optional: humidity (%), wind_speed (m/s), precipitation (mm). Times have an offset or Z. All issues are kept, and an
    issued forecast is never changed.

    Example: energy-forecast ingest weather-forecasts gfs.csv.gz
    """
    options = LoadOptions(timezone, None, None, units or (), check=False)
    _run("weather-forecasts", options, files, watch, once, settle, allow_partial, json)


app.command("rejected")(rejected)


def _run(
    dataset: str,
    options: LoadOptions,
    files: list[Path] | None,
    watch: Path | None,
    once: bool,
    settle: float,
    allow_partial: bool,
    json: bool,
) -> None:
    if watch is None and not files:
        raise typer.BadParameter("Give FILES, or a folder with --watch.", param_hint="FILES")
    if watch is not None and files:
        raise typer.BadParameter("Give FILES or a folder with --watch, not both.", param_hint="FILES")
    if once and watch is None:
        raise typer.BadParameter("It requires a folder: --watch FOLDER.", param_hint="--once")
    if watch is not None and json and not once:
        raise typer.BadParameter("An endless watch cannot print one document; add --once.", param_hint="--json")
    check_options(dataset, options)
    if watch is not None:
        _watch(dataset, options, watch, settle, once, allow_partial, json)
        return
    with _with_standard_input(files or []) as paths:
        report, checked = load(dataset, options, paths)
    if json:
        emit(document(report, checked))
    else:
        print_load(report, checked)
    if report.failure is not None:
        raise IngestError(report.failure, hint=f"All of them: energy-forecast ingest rejected {report.batch}")
    problems = [one for one in (rejected_rows(report), unchecked_cities(len(checked.failed))) if one is not None]
    require_complete(" ".join(problems) or None, allow_partial=allow_partial)


def _watch(
    dataset: str, options: LoadOptions, path: Path, settle: float, once: bool, allow_partial: bool, json: bool
) -> None:
    from energy_forecast.ingest import WatchedFolder, watch

    # A service is stopped by SIGTERM. The current file is then stored whole or not at all
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = WatchedFolder(path, settle)
    acting_database()
    if not once:
        echo(f"Watching {path}. Press Ctrl-C to stop.")
    documents: list[dict[str, object]] = []
    loaded = failed = rejected = not_checked = 0
    problem: EnergyForecastError | None = None
    outcomes = watch(
        folder,
        lambda file: load_with_option_names(dataset, options, file),
        failure_of=lambda result: None if result[0].failure is None else with_option_names(result[0].failure),
        once=once,
        report=echo,
    )
    try:
        with closing(outcomes):
            for one in outcomes:
                if one.failure is None:
                    loaded += 1
                    rejected += 0 if one.result is None else one.result[0].rejected
                    not_checked += 0 if one.result is None else len(one.result[1].failed)
                if one.failure is not None and one.moved_to is not None:
                    failed += 1
                if json:
                    result = {} if one.result is None else document(*one.result)
                    documents.append(
                        {"file": one.name, "moved_to": _text(one.moved_to), "failure": one.failure, **result}
                    )
                elif one.result is not None:
                    print_load(*one.result, before=f"{minute(datetime.now(UTC))} {one.name}: ")
                if one.moved_to is None:
                    echo(
                        f"  {one.name} was changed or removed during the load; if it still exists, it is loaded again."
                    )
                elif one.failure is not None:
                    echo(f"{minute(datetime.now(UTC))} {one.failure} The file is in {path / 'failed'} now.")
    except KeyboardInterrupt:
        if once:
            raise
        out.print(f"Stopped. {counted(loaded, 'file')} loaded, {failed:,} could not be used.")
        return
    except EnergyForecastError as error:
        problem = error
    left = [] if problem else [_text(name) for name in folder.arrived()]
    if json:
        counts = {"loaded": loaded, "failed": failed, "left": left}
        emit({"folder": path, **counts, "files": documents, "error": None if problem is None else str(problem)})
    if problem is not None:
        raise problem
    if not json:
        for name in left:
            echo(f"  {name} is still being written, or arrived during the run; left for the next run.")
        out.print(f"{counted(loaded, 'file')} loaded, {failed:,} could not be used.")
    where = f"See the .txt file next to each one in {path / 'failed'}."
    if failed and not loaded:
        raise IngestError(f"{counted(failed, 'file')} could not be used.", hint=where)
    problems = [
        *([f"{failed:,} of {counted(loaded + failed, 'file')} could not be used. {where}"] if failed else []),
        *([f"{counted(rejected, 'row')} of loaded files were rejected."] if rejected else []),
        *([f"The checks of {counted(not_checked, 'city', 'cities')} failed."] if not_checked else []),
    ]
    require_complete(" ".join(problems) or None, allow_partial=allow_partial)


def _text(path: Path | str | None) -> str | None:
    """Return a file name as text; it is bytes, which may not be valid UTF-8."""
    return None if path is None else os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def _with_standard_input(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield the files, with a copy on the disk in place of standard input.

    A batch is loaded whole or not at all, so it begins after all input has arrived.
    """
    if Path("-") not in files:
        yield list(files)
        return
    allow_interrupt()
    with tempfile.TemporaryDirectory(prefix="energy-forecast-") as folder:
        copy = Path(folder) / "standard-input"
        with copy.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream, 1 << 20)
        yield [copy if file == Path("-") else file for file in files]
