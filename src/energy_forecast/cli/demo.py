"""energy-forecast demo."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.console import echo, emit, minute, out, progress, table
from energy_forecast.cli.options import Json
from energy_forecast.cli.output_files import write_frame
from energy_forecast.cli.score_cells import SCORE_COLUMNS, SCORE_LEGEND, by_city, score_cells
from energy_forecast.errors import EnergyForecastError
from energy_forecast.extras import needs_extra
from energy_forecast.platform.opening import open_database
from energy_forecast.postgres import EmbeddedServer
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
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the pages in the foreground, until Ctrl-C, instead of behind.")
    ] = False,
    speed: Annotated[
        float,
        typer.Option(
            min=1,
            max=36_000,
            metavar="N",
            help="With --serve: replay the last days N times faster; 3600 is an hour a second.",
        ),
    ] = 1,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the pages; 0 takes a free one. Default: 8000, if it is free."),
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the pages and the server of the demo. Data stays.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Stop the demo and delete everything that it made.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --remove: do not ask.")] = False,
    prepared: Annotated[bool, typer.Option("--prepared", hidden=True)] = False,
    json: Json = False,
) -> None:
    """Create forecasts with intervals and scores from real sample data, and show them as pages that go on.

    The demo has a database server and a state folder of its own, so it never mixes with your data.

    Example: energy-forecast demo
    """
    if export is not None:
        _export(export, as_recorded, json)
        return
    with needs_extra("server"):
        from energy_forecast.cli import demo_pages
    home = demo_pages.demo_folder(settings().home)
    if stop or remove:
        _end(home, remove=remove, yes=yes, json=json)
        return
    from energy_forecast.pipelines.demo import demo as run

    if speed != 1 and not serve:
        raise typer.BadParameter("--speed needs --serve.")
    if speed != 1 and as_recorded:
        raise typer.BadParameter("--speed excludes --as-recorded: the real dates of the records are long past.")
    if serve:
        demo_pages.check_not_served(home)
    began = time.monotonic()
    database = open_database(None, home, announce=echo)
    report = None
    if not prepared:
        with progress() as report_progress:
            report = run(database, as_recorded=as_recorded, progress=report_progress, announce=echo)
        demo_pages.add_reader(database, [city.name for city in report.cities])
    chosen = demo_pages.free_port() if port is None else port
    if serve:
        demo_pages.serve_pages(database, home, port=chosen, speed=speed)
        return
    assert report is not None
    pages = demo_pages.start_pages(home, chosen)
    url = demo_pages.sign_in_url(database, pages)
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
                "home": home,
                "url": url,
            }
        )
        return
    _print(report, as_recorded, time.monotonic() - began)
    _print_next(home, url)


def _end(home: Path, *, remove: bool, yes: bool, json: bool) -> None:
    """Stop the demo, and delete it if wanted."""
    from energy_forecast.cli import demo_pages

    if not home.exists():
        if json:
            emit({"stopped": False, "removed": False})
        else:
            out.print("There is no demo.")
        return
    if remove:
        if not yes and not typer.confirm(f"Delete the demo with its server and all of {home}?", err=True):
            raise typer.Exit(1)
        demo_pages.remove_demo(home)
    else:
        demo_pages.stop_pages(home)
        EmbeddedServer(home).stop()
    if json:
        emit({"stopped": True, "removed": remove})
    else:
        out.print(
            f"Removed the demo: {home}." if remove else "The demo is stopped. Start it again: energy-forecast demo"
        )


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


def _print(report: DemoReport, as_recorded: bool, seconds: float) -> None:
    out.print(f"\nBacktest: {report.backtest_days} days, 48 hours ahead from each local midnight", style="bold")
    for name, rows in by_city(report.scores).items():
        table(
            ["model", "weather", *SCORE_COLUMNS],
            [(row["model"], row["weather"], *score_cells(row)) for row in rows],
            title=name,
        )
    out.print(
        "weather: what the model knew of the target hours: none, a forecast (made, not real), or the actual one. "
        f"{SCORE_LEGEND}"
    )
    for city in report.cities:
        if (text := _coverage_text(report, city.name)) is not None:
            out.print(text)
    out.print()
    for city in report.cities:
        first, last = city.forecast["timestamp"][0], city.forecast["timestamp"][-1]
        out.print(f"Forecast of {city.name} by {city.model}: {minute(first)} to {minute(last)}")
        for note in city.notes:
            out.print(f"  {note}")
    out.print()
    for note in _notes(report, as_recorded):
        out.print(note)
    if report.done:
        out.print(f"Done in {seconds:.0f} s.")
    else:
        out.print(f"Everything existed already; checked in {seconds:.1f} s.")


def _coverage_text(report: DemoReport, city: str) -> str | None:
    """Return why the intervals without weather cover less; None if they do not."""
    covered = {
        row["weather"]: row["coverage_90"]
        for row in report.scores
        if row["city"] == city and row["model"] == "ensemble" and row["coverage_90"] is not None
    }
    if {"none", "forecast"} - set(covered) or covered["none"] >= covered["forecast"]:
        return None
    return (
        f"{city}: without weather the 90 % intervals of ensemble covered {100 * covered['none']:.0f} %, with weather "
        f"forecasts {100 * covered['forecast']:.0f} %: a model without weather cannot know that the days ahead are "
        "warmer or colder than those on which its intervals were calibrated."
    )


def _print_next(home: Path, url: str) -> None:
    out.print("\nNext, with your own data (in the project's folder, commands are .venv/bin/energy-forecast):")
    for command, why in NEXT:
        out.print(f"  {command:75} {why}")
    out.print("The demo has a server of its own. To use commands on it:")
    out.print(f"  export ENERGY_FORECAST_HOME={home}", soft_wrap=True)
    out.print("To stop it: energy-forecast demo --stop. To delete it: energy-forecast demo --remove")
    out.print("\nThe pages go on in the background. Open this in a browser; it signs you in once, within ten minutes:")
    out.print(f"  {url}", soft_wrap=True)


def _notes(report: DemoReport, as_recorded: bool) -> list[str]:
    from energy_forecast.pipelines.demo_weather import MADE

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
        if city.weather is not None:
            recorded += f" {MADE}"
        if city.used_up:
            recorded += " This replay is over; to start it again: energy-forecast demo --remove, and then demo."
        notes.append(recorded)
    return notes
