"""energy-forecast forecast.

The pipelines are imported inside the functions: they import libraries that `--help` does not need.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast import zones
from energy_forecast.cli.access import acting_database, reading_database
from energy_forecast.cli.console import (
    counted,
    echo,
    echo_failures,
    emit,
    failures,
    minute,
    out,
    progress,
    require_parts,
    table,
)
from energy_forecast.cli.explanation import explain
from energy_forecast.cli.options import (
    AllowPartial,
    Cities,
    Horizon,
    Json,
    Processes,
    output_option,
    plot_option,
    time_option,
)
from energy_forecast.cli.output_files import draw_forecasts, write_forecasts

if TYPE_CHECKING:
    from energy_forecast.pipelines import CityForecast, ForecastReport

app = typer.Typer()


@app.callback(invoke_without_command=True)
def forecast(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A model. Default: the champion of the city (model promote); without a champion ensemble, or "
            "naive-168 if that is better. Other trained models serve only if they are named here.",
        ),
    ] = None,
    city: Cities = None,
    at: Annotated[
        datetime | None,
        time_option("Issue as if at TIME, such as 2026-03-01T06:00Z, from the data available then. Default: now."),
    ] = None,
    horizon: Horizon = "48h",  # type: ignore[assignment]
    output: Annotated[Path | None, output_option("Also write the forecast to FILE.csv or FILE.parquet.")] = None,
    plot: Annotated[
        Path | None, plot_option("Draw history, forecast and temperature into FILE.html, for a browser.")
    ] = None,
    processes: Processes = None,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Issue a forecast with intervals for each city, and store it.

    It uses the load, the weather and the weather forecasts known at the issue. Hours without a weather forecast are
    forecast without weather. If a city has no trained model, the default is trained first, which takes up to a minute.

    Example: energy-forecast forecast --city Munich --horizon 48h
    """
    if context.invoked_subcommand is not None:
        return
    from energy_forecast import pipelines

    database = acting_database()
    with progress() as report_progress:
        report = pipelines.forecast(
            database,
            model=model,
            cities=city or (),
            at=at,
            horizon=horizon,
            processes=processes or pipelines.usable_processors(),
            allow_none=True,
            progress=report_progress,
        )
    if output is not None and report.forecasts:
        write_forecasts(report.forecasts, output)
    if plot is not None and report.forecasts:
        shown = pipelines.scores_to_show(database, [one.city for one in report.forecasts])
        draw_forecasts(report.forecasts, shown, plot)
    if json:
        emit(
            {
                "issued_at": report.issued_at,
                "horizon_hours": report.horizon / timedelta(hours=1),
                "forecasts": [
                    {
                        "city": one.city,
                        "model": one.model,
                        "version": one.version,
                        "chosen_as": one.chosen_as,
                        "run": one.run_id,
                        "fallback_level": one.fallback.as_dict(),
                        "notes": one.notes,
                        "hours": one.frame.to_dicts(),
                    }
                    for one in report.forecasts
                ],
                "failed": failures(report.failed),
            }
        )
    else:
        _print_forecasts(report)
        for path in (output, plot):
            if path is not None and report.forecasts:
                out.print(f"Written: {path}")
    require_parts(len(report.forecasts), list(report.failed.values()), "forecast", allow_partial=allow_partial)


def _print_forecasts(report: ForecastReport) -> None:
    from energy_forecast.pipelines.fallback import WITHOUT_WEATHER

    if report.forecasts:
        hours = counted(report.horizon // timedelta(hours=1), "hour")
        out.print(f"Issued at {minute(report.issued_at)}, {hours} ahead")
        table(
            ["city", "model", "inputs", "hours", "total MWh", "peak MWh", "90 % interval", "peak at (local)"],
            [_forecast_row(one) for one in report.forecasts],
        )
    for one in report.forecasts:
        for note in one.notes:
            echo(f"  {one.city}: {note}")
        if one.fallback.level > WITHOUT_WEATHER:
            echo(
                f"  {one.city}: Fallback: served by {one.fallback.name} (level {one.fallback.level}), "
                "because the preferred model was unavailable."
            )
        for reason in one.fallback.reasons:
            if reason not in one.notes:
                echo(f"    Reason: {reason}")
    echo_failures("Not forecast", report.failed)


def _inputs(one: CityForecast) -> str:
    """Return the inputs of a forecast in words."""
    from energy_forecast.pipelines.fallback import WITHOUT_WEATHER

    if one.fallback.level > WITHOUT_WEATHER:
        return one.fallback.name
    if one.fallback.level == WITHOUT_WEATHER:
        return f"{one.fallback.weather_hours} of {one.frame.height} hours with weather"
    return "load and weather" if one.fallback.weather_hours else "load alone"


def _forecast_row(one: CityForecast) -> tuple[object, ...]:
    peak = one.frame.sort("predicted", descending=True).row(0, named=True)
    local = peak["timestamp"].astimezone(zones.zone(one.timezone))
    return (
        one.city,
        f"{one.model} {one.version} ({one.chosen_as})",
        _inputs(one),
        one.frame.height,
        f"{one.frame['predicted'].sum() / 1000:,.1f}",
        f"{peak['predicted'] / 1000:,.2f}",
        f"{peak['q05'] / 1000:,.2f} to {peak['q95'] / 1000:,.2f}",
        f"{local:%a %d %b %H:%M}",
    )


@app.command()
def show(
    city: Annotated[str, typer.Argument(help="The city's name.")],
    at: Annotated[datetime | None, time_option("The forecast in use at TIME. Default: now.", "--as-of")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The newest live forecast of this model instead.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the stored forecast of a city that is in use. Nothing is issued.

    It is the newest live forecast of the champion, or of a model that was used in its place; without a champion, the
    newest live forecast of any model.

    Example: energy-forecast forecast show Munich
    """
    from energy_forecast.readings.forecasts import live_forecast

    with reading_database().reading() as connection:
        found = live_forecast(connection, city, as_of=at, model=model)
    facts = found.facts
    if json:
        emit({**facts, "rows": found.frame.to_dicts()})
        return
    rules = zones.zone(facts["timezone"])
    table(
        ["local time", "kWh", "90 % interval"],
        [
            (
                f"{row['timestamp'].astimezone(rules):%a %d %b %H:%M}",
                f"{row['predicted']:,.2f}",
                f"{row['q05']:,.2f} to {row['q95']:,.2f}" if "q05" in row and "q95" in row else None,
            )
            for row in found.frame.iter_rows(named=True)
        ],
        title=f"{facts['city']}, {facts['model']} {facts['version']}, issued at {minute(facts['issued_at'])}",
    )
    for note in facts["notes"]:
        echo(f"  {note}")


app.command("explain")(explain)
