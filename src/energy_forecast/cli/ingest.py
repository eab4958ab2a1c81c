"""energy-forecast ingest"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from energy_forecast.cli.access import acting_database
from energy_forecast.cli.console import Json, emit, out, progress, say
from energy_forecast.errors import DatabaseError

app = typer.Typer(no_args_is_help=True, help="Load files: CSV, CSV.gz or Parquet. What cannot be taken is kept aside.")

Files = Annotated[
    list[Path], typer.Argument(help="CSV, CSV.gz or Parquet; - reads standard input. One batch together.")
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="How to read timestamps without an offset: an IANA zone, or 'city' for each city's own. "
        "Without it they are refused.",
    ),
]
Interval = Annotated[
    int | None,
    typer.Option(
        "--interval",
        metavar="MINUTES",
        min=1,
        max=60,
        help="Length of the intervals, a divisor of 60. Default: told from the timestamps.",
    ),
]
Check = Annotated[
    bool | None,
    typer.Option(
        "--check/--no-check",
        help="Judge what was loaded: gaps, zeros, spikes, stuck meters, other units, new levels. Nothing is changed. "
        "Default: all of it, and of a load of more than 500,000 hours the last 90 days of each city.",
        show_default=False,
    ),
]
_MOST_SAID = 20


@app.command()
def consumption(
    files: Files, timezone: Zone = None, interval: Interval = None, check: Check = None, json: Json = False
) -> None:
    """Load consumption: city, timestamp, consumption_kwh, peak_demand_kw?, available_at?

    Example: energy-forecast ingest consumption january.csv february.csv.gz
    """
    _load("consumption", files, timezone, interval, check, json)


@app.command()
def weather(
    files: Files, timezone: Zone = None, interval: Interval = None, check: Check = None, json: Json = False
) -> None:
    """Load observed weather: city, timestamp, temperature, humidity?, wind_speed?, precipitation?, available_at?

    Example: energy-forecast ingest weather weather.parquet --timezone city
    """
    _load("weather", files, timezone, interval, check, json)


@app.command("weather-forecasts")
def weather_forecasts(files: Files, timezone: Zone = None, json: Json = False) -> None:
    """Load weather forecasts: city, issued_at, timestamp, temperature, humidity?, wind_speed?, precipitation?

    Example: energy-forecast ingest weather-forecasts gfs.csv.gz
    """
    _load("weather-forecasts", files, timezone, None, check=False, json=json)


def _load(
    kind: str, files: list[Path], timezone: str | None, interval: int | None, check: bool | None, json: bool
) -> None:
    # Here and not above: they bring the frame library, which `--help` need not wait for
    from energy_forecast import pipelines
    from energy_forecast.ingest import load_files

    database = acting_database()
    with progress() as report_progress, _arrived(files) as paths:
        report = load_files(
            database,
            kind,
            paths,
            timezone=timezone,
            interval_minutes=interval,
            progress=lambda what, done, total: report_progress(what, done, total or done),
        )
        try:
            checked = pipelines.check_load(database, report, whole=check, progress=report_progress)
        except DatabaseError as error:
            # What was loaded is loaded, and the report of it is owed
            say(f"Loaded, but not judged: {error}")
            checked = pipelines.Checked("nothing", [])
    warned = checked.warned
    if json:
        emit(report.as_dict() | {"checked": checked.what, "quality": warned})
        return
    out.print(
        f"Read {report.read:,} rows: {report.inserted:,} inserted, {report.corrected:,} corrected, "
        f"{report.unchanged:,} unchanged, {report.rejected:,} rejected.  (batch {report.batch})"
    )
    for note in report.notes:
        say(f"  Note: {note}")
    if checked.what not in ("all", "nothing"):
        say(f"  Note: of this large load the {checked.what} of each city were judged; all: energy-forecast doctor data")
    for one in warned[:_MOST_SAID]:
        say(f"  Warning: {one}")
    if len(warned) > _MOST_SAID:
        say(f"  {len(warned) - _MOST_SAID} warnings more: energy-forecast doctor data, or ops.quality_flags.")
    for row in report.rejected_examples:
        say(f"  Rejected: {row.file}, line {row.line}{f', {row.column}' if row.column else ''}: {row.reason}")
    if report.rejected > len(report.rejected_examples):
        say(f"  All {report.rejected:,} rejected rows are in the table ops.rejected_rows.")


@contextmanager
def _arrived(files: Sequence[Path]) -> Iterator[list[Path]]:
    """The files, with a copy on the disk in place of standard input.

    A batch is loaded whole or not at all, so it begins when all has arrived; whoever writes faster than the disk waits.
    """
    if Path("-") not in files:
        yield list(files)
        return
    with tempfile.TemporaryDirectory(prefix="energy-forecast-") as folder:
        copy = Path(folder) / "standard-input"
        with copy.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream, 1 << 20)
        yield [copy if file == Path("-") else file for file in files]
