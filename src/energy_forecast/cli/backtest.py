"""energy-forecast backtest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.access import acting_database
from energy_forecast.cli.comparison import compare
from energy_forecast.cli.console import (
    by_text,
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
from energy_forecast.cli.options import (
    AllowPartial,
    Cities,
    Horizon,
    Json,
    Processes,
    WeatherChoice,
    delay,
    duration,
    local_time,
    output_option,
    time_option,
)
from energy_forecast.cli.output_files import write_frame
from energy_forecast.cli.score_cells import SCORE_COLUMNS, SCORE_LEGEND, by_city, echo_left_out, score_cells

if TYPE_CHECKING:
    from energy_forecast.database.history import Availability
    from energy_forecast.pipelines import BacktestReport

app = typer.Typer()


@app.callback(invoke_without_command=True)
def backtest(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME[,NAME...]", help="Required. The models to compare, with commas; 'all' for all."),
    ] = None,
    first: Annotated[
        datetime | None, time_option("Required. First issue time; models are fitted on data known then.", "--from")
    ] = None,
    end: Annotated[datetime | None, time_option("Required. Issue times are before this.", "--to")] = None,
    every: Annotated[
        timedelta, typer.Option(parser=duration, metavar="SPAN", help="Time between issues, such as 24h or 5d.")
    ] = "24h",  # type: ignore[assignment]
    at_local: Annotated[
        time | None,
        typer.Option(
            parser=local_time,
            metavar="HH:MM",
            help="Issue at this local time of each city's days, also on days of clock changes; --every counts days.",
        ),
    ] = None,
    horizon: Horizon = "24h",  # type: ignore[assignment]
    refit: Annotated[str, typer.Option(metavar="never|SPAN", help="Fit again every so often, such as 30d.")] = "never",
    weather: Annotated[
        WeatherChoice,
        typer.Option(
            help="Weather of the target hours. forecast: the stored weather forecasts known at each issue. none: no "
            "weather. actual: the observed weather, which looks ahead, as if weather forecasts were perfect. "
            "simulated: the observed weather plus random errors of the size of --weather-error."
        ),
    ] = WeatherChoice.FORECAST,
    weather_error: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|default|measured",
            help="With --weather simulated: size of the errors by lead time. FILE: CSV with lead_hours, temperature "
            "and optionally humidity, wind_speed, precipitation. default: usual ones of weather services, 1.7 degrees "
            "after a day. measured: those of each city's weather forecasts known at --from. If omitted: measured for "
            "a city with 14 days of them, otherwise default.",
        ),
    ] = None,
    weather_columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,NAME...]",
            help="With --weather simulated: the columns that are forecast, such as temperature. Default: those of the "
            "errors.",
        ),
    ] = None,
    load_delay: Annotated[
        timedelta | None,
        typer.Option(
            parser=delay,
            metavar="SPAN",
            help="Time from the end of an interval until its load is known, such as 30h or 0h. Default: the setting of "
            "the city (city edit), otherwise its available_at if most values have a later one than the end of their "
            "interval, otherwise the median age of the load in its live forecasts, otherwise 1h.",
        ),
    ] = None,
    city: Cities = None,
    output: Annotated[
        Path | None, output_option("Write every forecast with its actual to FILE.csv or FILE.parquet.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the same backtest after an interruption; finished cities stay.")
    ] = False,
    processes: Processes = None,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Forecast at past times from the data known then, and score the forecasts.

    The models are trained on the data known at --from. Runs and scores are stored, separate from live forecasts. The
    report states the assumptions about load and weather.

    Example: energy-forecast backtest --model naive-168,ensemble --from 2026-01-01T00Z --to 2026-02-01T00Z
    """
    if context.invoked_subcommand is not None:
        return
    if model is None or first is None or end is None:
        raise typer.BadParameter("--model, --from and --to are required.")
    refit_every = None if refit == "never" else duration(refit)
    names = [] if model == "all" else [name.strip() for name in model.split(",") if name.strip()]
    if model != "all" and not names:
        raise typer.BadParameter("--model names no model.")
    if refit_every is not None and refit_every < every:
        raise typer.BadParameter("--refit must be as long as --every, or longer.")
    if at_local is not None and every % timedelta(days=1):
        raise typer.BadParameter("With --at-local it must be a number of days, such as 1d.", param_hint="--every")
    if end <= first:
        raise typer.BadParameter("It must be later than --from.", param_hint="--to")
    columns = _weather_columns(weather, weather_error, weather_columns)
    from energy_forecast import pipelines
    from energy_forecast.pipelines.assumptions import weather_error_choice

    database = acting_database()
    with progress() as report_progress, _resume_hint():
        report = pipelines.backtest(
            database,
            models=names,
            first=first,
            end=end,
            every=every,
            at_local=at_local,
            horizon=horizon,
            refit=refit_every,
            weather=weather.value,
            weather_error=weather_error_choice(weather_error),
            weather_columns=columns,
            load_delay=load_delay,
            cities=city or (),
            processes=processes or pipelines.usable_processors(),
            resume=resume,
            allow_none=True,
            progress=report_progress,
        )
    if output is not None and report.scores:
        write_frame(report.pairs, output)
    if json:
        emit(
            {
                "from": report.first,
                "to": report.end,
                "weather": report.weather,
                "forecasts": report.pairs.height,
                "left_out_hours": report.left_out,
                "weather_hours": report.weather_hours,
                "imputed_weather_hours": report.imputed_weather,
                "available_at": report.availability,
                "assumptions": {city: one.as_dict() for city, one in report.assumptions.items()},
                "scores": [
                    {k: v for k, v in row.items() if k not in ("pair_digest", "by_hour")} for row in report.scores
                ],
                "failed": failures(report.failed),
                "output": output,
            }
        )
    else:
        _print_backtest(report, horizon)
        if output is not None and report.scores:
            out.print(f"Written: {output}")
    scored = {(row["city"], row["model"]) for row in report.scores}
    require_parts(
        len(scored - set(report.failed)),
        list(report.failed.values()),
        "fully backtested",
        in_part=len(scored & set(report.failed)),
        parts="models",
        allow_partial=allow_partial,
        hint="Choose another --from and --to.",
    )


def _weather_columns(weather: WeatherChoice, error: str | None, columns: str | None) -> tuple[str, ...]:
    """Return the columns of the simulated weather forecasts, after a check of their options."""
    from energy_forecast.weather_ranges import WEATHER_RANGES

    if weather is not WeatherChoice.SIMULATED:
        for name, value in (("--weather-error", error), ("--weather-columns", columns)):
            if value is not None:
                raise typer.BadParameter("It requires --weather simulated.", param_hint=name)
    if columns is None:
        return ()
    names = tuple(name.strip() for name in columns.split(","))
    unknown = [name for name in names if name not in WEATHER_RANGES]
    if unknown:
        allowed = ", ".join(WEATHER_RANGES)
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {allowed}.", param_hint="--weather-columns")
    if "temperature" not in names:
        raise typer.BadParameter("It must include temperature.", param_hint="--weather-columns")
    return names


def _print_backtest(report: BacktestReport, horizon: timedelta) -> None:
    if report.scores:
        out.print(
            f"Issued {minute(report.first)} to {minute(report.end)}, "
            f"{counted(horizon // timedelta(hours=1), 'hour')} ahead, weather of the target hours: {report.weather}"
        )
        for line in [*_load_delay_lines(report), *_weather_error_lines(report), *_weather_hour_lines(report)]:
            out.print(f"  {line}")
        for name, rows in by_city(report.scores).items():
            table(["model", *SCORE_COLUMNS], [(row["model"], *score_cells(row)) for row in rows], title=name)
        out.print(SCORE_LEGEND)
    echo_left_out(report.left_out)
    echo_failures("Backtest not complete", report.failed)


def _weather_error_lines(report: BacktestReport) -> list[str]:
    """Return a line for each kind of simulated weather forecasts, with its cities and the size of its errors."""
    kinds = {}
    for city, one in report.assumptions.items():
        if one.weather is not None:
            errors = one.weather.errors
            sizes = ", ".join(f"{errors.at('temperature', lead):.1f} after {lead} h" for lead in (24, 48))
            columns = ", ".join(errors.columns).replace("_", " ")
            kind = f"Errors of the simulated weather forecasts: {one.weather.source}, temperature {sizes} (RMSE, C). "
            kinds[city] = f"{kind}Columns: {columns}."
    return by_text(kinds)


def _weather_hour_lines(report: BacktestReport) -> list[str]:
    """Return a line for each city with hours that were forecast without weather, or with imputed values."""
    lines = []
    reason = (
        "no weather forecast was known for them at the issue"
        if report.weather == "forecast"
        else "no observed weather is stored for them"
    )
    for city, hours in report.weather_hours.items():
        if not hours.with_weather:
            lines.append(f"{city}: all new hours were forecast without weather, because {reason}, or no model uses it.")
        elif hours.with_weather < hours.forecast:
            share = 100 * (1 - hours.with_weather / hours.forecast)
            lines.append(
                f"{city}: {hours.forecast - hours.with_weather:,} of {hours.forecast:,} new hours "
                f"({share:.1f} %) were forecast without weather, because {reason}."
            )
    for city, imputed in report.imputed_weather.items():
        lacking = ", ".join(f"{column.replace('_', ' ')} for {n:,}" for column, n in imputed.items())
        lines.append(f"{city}: missing weather was replaced by usual values for these hours: {lacking}.")
    return lines


def _load_delay_lines(report: BacktestReport) -> list[str]:
    """Return a line for each delay of load, with its cities."""
    from energy_forecast.pipelines.labels import DELAY_SOURCES

    reasons = DELAY_SOURCES | {
        "assumed": "assumed, because the data has no later available_at; set it: energy-forecast city edit --help"
    }
    texts = {}
    for city, one in report.assumptions.items():
        if one.load_delay_source != "stated":
            span = "at" if not one.load_delay else f"{one.load_delay / timedelta(hours=1):g} h after"
            source = f" ({reasons[one.load_delay_source]})" if one.load_delay_source in reasons else ""
            texts[city] = f"Load is known {span} the end of its interval{source}, and not before its available_at."
    stated = {city: one for city, one in report.availability.items() if city not in texts}
    return by_text(texts | dict.fromkeys(stated, _stated(stated)) if stated else texts)


# A longer median delay is not the delay of a meter
_LATE_HOURS = 168


def _stated(found: dict[str, Availability]) -> str:
    """Return a sentence on the load of cities whose data has an available_at."""
    values = sum(one.values for one in found.values())
    at_end = sum(one.at_interval_end for one in found.values())
    medians = [one.median_minutes / 60 for one in found.values() if one.median_minutes is not None]
    low, high = (f"{hours:,.1f}" for hours in (min(medians), max(medians)))
    delay = low if low == high else f"{low} to {high}"
    text = f"Load is known by its available_at, in the median {delay} h after the end of its interval."
    if max(medians) > _LATE_HOURS:
        text += " A corrected value counts from its correction, unless it is loaded again with its available_at."
    if at_end:
        text += f" {at_end:,} of {values:,} values are assumed to be known at that end: no later available_at."
    return text


@contextmanager
def _resume_hint() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        echo("Finished cities are kept. The same command with --resume continues with the rest.")
        raise


app.command("compare")(compare)
