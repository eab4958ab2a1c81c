"""energy-forecast ingest."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
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
    failures,
    minute,
    out,
    progress,
    require_complete,
)
from energy_forecast.cli.option_names import with_option_names
from energy_forecast.cli.options import AllowPartial, Json
from energy_forecast.cli.rejected import rejected
from energy_forecast.errors import EnergyForecastError, IngestError

if TYPE_CHECKING:
    from energy_forecast.ingest import Report
    from energy_forecast.pipelines import CheckReport

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
_MOST_PRINTED = 20
_MOST_REASONS = 10


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
    options = _Options(timezone, interval_minutes, label, units or (), check)
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
    options = _Options(timezone, interval_minutes, label, units or (), check)
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
    options = _Options(timezone, None, None, units or (), check=False)
    _run("weather-forecasts", options, files, watch, once, settle, allow_partial, json)


app.command("rejected")(rejected)


@dataclass(frozen=True)
class _Options:
    """Options for reading files, and whether to check the data.

    timezone: of local times. interval: minutes.
    """

    timezone: str | None
    interval: int | None
    label: str | None
    units: Sequence[str]
    check: bool | None


def _run(
    dataset: str,
    options: _Options,
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
    _check_options(dataset, options)
    if watch is not None:
        _watch(dataset, options, watch, settle, once, allow_partial, json)
        return
    with _with_standard_input(files or []) as paths:
        report, checked = _load(dataset, options, paths)
    if json:
        emit(_document(report, checked))
    else:
        _print(report, checked)
    if report.failure is not None:
        raise IngestError(report.failure, hint=f"All of them: energy-forecast ingest rejected {report.batch}")
    problems = [one for one in (_rejected(report), _not_checked(len(checked.failed))) if one is not None]
    require_complete(" ".join(problems) or None, allow_partial=allow_partial)


def _check_options(dataset: str, options: _Options) -> None:
    """Raise wrong usage if the options are invalid for this dataset: once at the start, not for each file."""
    from energy_forecast.ingest import find_dataset, read_options

    try:
        read_options(
            find_dataset(dataset),
            timezone=options.timezone,
            interval_minutes=options.interval,
            label=options.label,
            units=options.units,
        )
    except IngestError as error:
        raise typer.BadParameter(with_option_names(str(error))) from error


def _load(dataset: str, options: _Options, paths: Sequence[Path]) -> tuple[Report, CheckReport]:
    # Imported here: it imports the frame library, which `--help` does not need
    from energy_forecast import pipelines

    database = acting_database()
    with progress() as report_progress:
        return pipelines.load_and_check(
            database,
            dataset,
            paths,
            check=options.check,
            progress=report_progress,
            timezone=options.timezone,
            interval_minutes=options.interval,
            label=options.label,
            units=options.units,
        )


def _rejected(report: Report) -> str | None:
    """Return the number of rejected rows in a sentence; None if no row was rejected."""
    if not report.rejected:
        return None
    return f"{report.rejected:,} of {counted(report.read, 'row')} {'was' if report.rejected == 1 else 'were'} rejected."


def _not_checked(cities: int) -> str | None:
    """Return the number of cities that could not be checked in a sentence; None if all were."""
    return f"{counted(cities, 'city was', 'cities were')} loaded, but not checked." if cities else None


def _document(report: Report, checked: CheckReport) -> dict[str, object]:
    return report.as_dict() | {
        "checked": checked.checked,
        "pending": checked.pending,
        "quality": checked.warned,
        "not_checked": failures(checked.failed),
    }


def _print(report: Report, checked: CheckReport, before: str = "") -> None:
    warned = checked.warned
    cells = f"; {counted(report.cells_left_empty, 'cell')} left empty" if report.cells_left_empty else ""
    out.print(
        f"{before}Read {counted(report.read, 'row')}: {report.inserted:,} inserted, {report.corrected:,} corrected, "
        f"{report.unchanged:,} unchanged, {report.rejected:,} rejected{cells}.  (batch {report.batch})"
    )
    for note in report.notes:
        echo(f"  Note: {note}")
    if checked.pending:
        echo(f"  Note: {checked.pending_note}")
    for name, why in list(checked.failed.items())[:_MOST_PRINTED]:
        echo(f"  Loaded, but not checked: {name}: {why}")
    for one in warned[:_MOST_PRINTED]:
        echo(f"  Warning: {one}")
    if len(warned) > _MOST_PRINTED:
        echo(f"  {len(warned) - _MOST_PRINTED} more warnings: energy-forecast doctor data, or ops.quality_flags.")
    shortened = report.rejected > len(report.rejected_examples)
    printed: set[str] = set()
    for row in report.rejected_examples:
        # If the counts follow, one example of each reason is enough
        if shortened and row.reason in printed:
            continue
        printed.add(row.reason)
        echo(f"  Rejected: {row.file}, line {row.line}{f', {row.column}' if row.column else ''}: {row.reason}")
    for reason in report.reasons:
        if reason.cell_only:
            echo(f"  Left empty: {counted(reason.count, 'cell')}, {reason}.")
    if shortened:
        reasons = [reason for reason in report.reasons if not reason.cell_only]
        for reason in reasons[:_MOST_REASONS]:
            echo(f"  Rejected: {counted(reason.count, 'row')}, {reason}.")
        if len(reasons) > _MOST_REASONS:
            echo(f"  {len(reasons) - _MOST_REASONS} more reasons.")
    if report.kept < report.rejected + report.cells_left_empty:
        echo(f"  Only {report.kept:,} of them are kept. ENERGY_FORECAST_REJECTED_ROWS_KEPT sets the limit.")
    if report.kept > len(report.rejected_examples):
        echo(f"  List: energy-forecast ingest rejected {report.batch}")


def _watch(
    dataset: str, options: _Options, path: Path, settle: float, once: bool, allow_partial: bool, json: bool
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
        lambda file: _load_with_options(dataset, options, file),
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
                    result = {} if one.result is None else _document(*one.result)
                    documents.append(
                        {"file": one.name, "moved_to": _text(one.moved_to), "failure": one.failure, **result}
                    )
                elif one.result is not None:
                    _print(*one.result, before=f"{minute(datetime.now(UTC))} {one.name}: ")
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


def _load_with_options(dataset: str, options: _Options, file: Path) -> tuple[Report, CheckReport]:
    """Load a file; an error names options, because the watcher writes it to a file for the user."""
    try:
        return _load(dataset, options, [file])
    except IngestError as error:
        raise IngestError(
            with_option_names(error.message), hint=error.hint and with_option_names(error.hint)
        ) from error


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
