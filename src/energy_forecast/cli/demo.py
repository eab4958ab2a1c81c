"""energy-forecast demo."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.access import acting_database
from energy_forecast.cli.console import echo, emit, minute, out, progress, table
from energy_forecast.cli.options import Json
from energy_forecast.cli.output_files import score_frame, write_frame
from energy_forecast.cli.score_cells import SCORE_COLUMNS, SCORE_LEGEND, by_city, score_cells
from energy_forecast.errors import EnergyForecastError
from energy_forecast.settings import settings

if TYPE_CHECKING:
    from energy_forecast.pipelines.demo import DemoReport

NEXT = (
    ("energy-forecast city add NAME --latitude .. --longitude .. --timezone ..", "your own city"),
    ("energy-forecast ingest consumption FILE.csv", "its load; then: ingest weather FILE.csv"),
    ("energy-forecast forecast --city NAME", "its first forecast"),
)


def demo(
    as_recorded: Annotated[
        bool,
        typer.Option("--as-recorded", help="Keep the real dates of the records instead of replaying them up to now."),
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Only write the records as files for the tutorial: cities.csv, consumption.csv and weather.csv. "
            "Nothing is loaded.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Create forecasts with intervals, scores and a page with charts from real sample data.

    Example: energy-forecast demo
    """
    if export is not None:
        _export(export, as_recorded, json)
        return
    from energy_forecast.charts.pictures import CityPicture, write_forecast_page
    from energy_forecast.pipelines.demo import demo as run

    began = time.monotonic()
    database = acting_database()
    with progress() as report_progress:
        report = run(database, as_recorded=as_recorded, progress=report_progress, announce=echo)
    path = settings().home / ("demo-as-recorded.html" if as_recorded else "demo.html")
    write_forecast_page(
        path,
        [
            CityPicture(
                name=city.name,
                timezone=city.timezone,
                history=city.history,
                forecast=city.forecast,
                issued_at=city.issued_at,
                model=city.model,
                weather=city.weather,
                past=city.past_forecast,
            )
            for city in report.cities
        ],
        score_frame(report.scores),
        title="Energy forecast: the sample",
        notes=_notes(report, as_recorded),
    )
    if json:
        emit(
            {
                "cities": [
                    {
                        "city": city.name,
                        "issued_at": city.issued_at,
                        "model": city.model,
                        "notes": city.notes,
                        "forecast": city.forecast.to_dicts(),
                    }
                    for city in report.cities
                ],
                "scores": report.scores,
                "done": report.done,
                "picture": path,
            }
        )
        return
    _print(report, path, as_recorded, time.monotonic() - began)


def _export(folder: Path, as_recorded: bool, json: bool) -> None:
    """Write the sample as files that `city import` and `ingest` read. The names differ from those of the demo."""
    import polars as pl

    from energy_forecast.sources.sample import load_sample

    sample = load_sample(now=None if as_recorded else datetime.now(UTC))
    names = [f"{part.name}_sample" for part in sample]
    columns = ("latitude", "longitude", "timezone", "country_code", "subdivision")
    frames = {
        "cities": pl.DataFrame(
            [{"name": n} | {c: vars(s)[c] for c in columns} for n, s in zip(names, sample, strict=True)]
        ),
        **{
            kind: pl.concat(
                vars(part)[kind].select(pl.lit(name).alias("city"), pl.all())
                for name, part in zip(names, sample, strict=True)
                if vars(part)[kind] is not None
            )
            for kind in ("consumption", "weather")
        },
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnergyForecastError(f"Cannot create {folder}: {error.strerror or error}.") from error
    files = {kind: folder / f"{kind}.csv" for kind in frames}
    for kind, frame in frames.items():
        write_frame(frame, files[kind])
    if json:
        emit({"files": list(files.values()), "sources": [part.source for part in sample]})
        return
    for name, part in zip(names, sample, strict=True):
        moved = f" Moved by {part.weeks} whole weeks so that it seems to end now." if part.weeks else ""
        out.print(f"{name}: {part.source}.{moved}", markup=False)
    out.print(f"Written: {', '.join(map(str, files.values()))}", markup=False)


def _print(report: DemoReport, path: Path, as_recorded: bool, seconds: float) -> None:
    out.print()
    for note in _notes(report, as_recorded):
        out.print(note)
    out.print(f"\nBacktest: {report.backtest_days} days, 48 hours ahead from each local midnight", style="bold")
    for name, rows in by_city(report.scores).items():
        table(
            ["model", "weather", *SCORE_COLUMNS],
            [(row["model"], row["weather"], *score_cells(row)) for row in rows],
            title=name,
        )
    out.print(
        f"weather: of the target hours; forecasts have 'none' here, 'actual' is a perfect forecast. {SCORE_LEGEND}"
    )
    out.print()
    for city in report.cities:
        first, last = city.forecast["timestamp"][0], city.forecast["timestamp"][-1]
        out.print(f"Forecast of {city.name} by {city.model}: {minute(first)} to {minute(last)}")
        for note in city.notes:
            out.print(f"  {note}")
    out.print(f"\nCharts, for a browser: {path.as_uri()}")
    if report.done:
        out.print(f"Done in {seconds:.0f} s. To stop PostgreSQL: energy-forecast db down")
    else:
        out.print(f"Everything existed already; checked in {seconds:.1f} s.")
    out.print("\nNext, with your own data (in the project's folder, commands are .venv/bin/energy-forecast):")
    for command, why in NEXT:
        out.print(f"  {command:75} {why}")


def _notes(report: DemoReport, as_recorded: bool) -> list[str]:
    notes = []
    for city in report.cities:
        recorded = f"{city.name}: {city.source}."
        if as_recorded:
            recorded += " Shown with its real dates."
        else:
            recorded += (
                f" REPLAYED: recorded {minute(city.recorded_from)} to {minute(city.recorded_to)}, moved by "
                f"{city.weeks} whole weeks so that it seems to end now; weekdays stay, holidays and season do not."
            )
        if city.used_up:
            recorded += " This replay is over; to start it again, use another ENERGY_FORECAST_HOME."
        notes.append(recorded)
    return notes
