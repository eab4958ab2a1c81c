"""energy-forecast forecast explain."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from energy_forecast.cli.access import reading_database
from energy_forecast.cli.console import counted, echo, emit, minute, out, progress, table
from energy_forecast.cli.options import Json, plot_option, time_option
from energy_forecast.cli.output_files import write_chart
from energy_forecast.cli.score_cells import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable

    from energy_forecast.forecasting.explain.weather_share import ErrorParts
    from energy_forecast.pipelines import ForecastExplanation
    from energy_forecast.pipelines.weather_share import ExplainedError

# Number of hours whose error is shown
_WORST_HOURS = 3


def explain(
    city: Annotated[str, typer.Argument(metavar="CITY", help="A city by name.")],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A model. Default: that of the last forecast.")
    ] = None,
    at: Annotated[datetime | None, time_option("The last forecast issued by TIME. Default: now.")] = None,
    purpose: Annotated[
        Purpose | None, typer.Option(help="Purpose of the runs. Default: forecasts, in time or made later.")
    ] = None,
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="A local day of it. Default: the first whole day."
        ),
    ] = None,
    hour: Annotated[
        list[int] | None,
        typer.Option(
            min=0, max=23, metavar="H", help="A local hour to show; may be repeated. Default: the peak and the valley."
        ),
    ] = None,
    plot: Annotated[Path | None, plot_option("Draw forecast and observed load into FILE.html, for a browser.")] = None,
    json: Json = False,
) -> None:
    """Explain an issued forecast: contributions, effect of the weather, similar past days, and causes of its error.

    The contributions are those of the model that served the forecast (all weighted members of an ensemble), and add up
    to the forecast. Once load and weather of its hours are stored, the error is split into the part that the error of
    the weather forecast caused and the part of the model.

    Example: energy-forecast forecast explain Munich --hour 18 --plot why.html
    """
    from energy_forecast import pipelines

    with progress() as report_progress:
        found = pipelines.explain_forecast(
            reading_database(),
            city,
            model=model,
            at=at,
            purposes=pipelines.ISSUED_PURPOSES if purpose is None else (purpose.value,),
            day=None if day is None else day.date(),
            progress=report_progress,
        )
    if plot is not None:
        from energy_forecast.charts.explanation import explanation_page

        write_chart(plot, explanation_page(found))
    if json:
        emit(_document(found, plot))
        return
    _print(found, hour)
    if plot is not None:
        out.print(f"Written: {plot}")


def _document(found: ForecastExplanation, plot: Path | None) -> dict[str, object]:
    one = found.explanation
    return {
        "city": found.city.name,
        "timezone": found.city.timezone,
        **found.run,
        "fallback_level": found.fallback,
        "weather_left_out": found.weather_left_out,
        "late_hours": found.late_hours,
        "notes": found.notes,
        "differing_hours": found.differing_hours,
        "day": one.day,
        "kind": one.kind,
        "holiday": one.holiday,
        "hours": one.hours.join(found.forecast.select("timestamp", "actual"), on="timestamp", how="left").to_dicts(),
        "contributions": None if one.contributions is None else one.contributions.to_dicts(),
        "repeats": None if one.repeated_hours is None else one.repeated_hours.to_dicts(),
        "response": one.response.to_dicts(),
        "similar": one.similar.to_dicts(),
        "error": _error_document(found.error),
        "plot": plot,
    }


def _error_document(error: ExplainedError | None) -> dict[str, object] | None:
    if error is None:
        return None
    return {
        "parts": None if error.parts is None else error.parts.as_dict(),
        "statement": error.statement,
        "notes": error.notes,
        "hours": error.hours.to_dicts(),
    }


def _print(found: ForecastExplanation, wanted: list[int] | None) -> None:
    from energy_forecast.forecasting.explain.contributions import FEATURE_LABELS
    from energy_forecast.forecasting.explain.report import contribution_totals
    from energy_forecast.pipelines.labels import ISSUED_LABELS, WEATHER_LABELS

    one, zone = found.explanation, found.zone
    run = found.run
    out.print(f"{found.city.name}, {run['model']} {run['version']}", style="bold")
    out.print(
        f"  {ISSUED_LABELS[run['purpose']]}, {minute(run['issued_at'])}, {WEATHER_LABELS[run['weather']]}\n"
        f"  {one.day:%a %Y-%m-%d}, {one.kind_label}, on the clock of {found.city.timezone}"
    )
    for line in found.fallback_lines:
        echo(line)
    local = [time.astimezone(zone) for time in one.hours["timestamp"]]
    predicted = one.hours["predicted"]
    shown = [i for i, time in enumerate(local) if time.hour in wanted] if wanted else []
    if not shown:
        shown = sorted({predicted.arg_max() or 0, predicted.arg_min() or 0})
    titles = [f"{local[i]:%H:%M}" for i in shown]
    if one.repeated_hours is not None:
        out.print(f"{run['model']} repeats earlier loads; no other inputs are used:")
        table(
            ["hour", "forecast, MWh", "load of"],
            [
                (f"{time:%H:%M}", _mwh(row["repeated_kwh"]), _source(row["repeated_from"], zone))
                for time, row in zip(local, one.repeated_hours.iter_rows(named=True), strict=True)
                if not wanted or time.hour in wanted
            ],
        )
    elif one.contributions is None:
        echo(
            f"Contributions are not available: {run['model']} does not use the feature table, or has too little "
            "history."
        )
    else:
        by_hour = {(row["input_group"], row["timestamp"]): row for row in one.contributions.iter_rows(named=True)}
        times = [one.hours["timestamp"][i] for i in shown]
        rows = []
        for number, (name, total) in enumerate(contribution_totals(one.contributions).iter_rows()):
            cells = [by_hour[name, time] for time in times]
            rows.append(
                (name, _mwh(total, signed=number > 0), *(_mwh(c["contribution_kwh"], number > 0) for c in cells))
            )
        rows.append(("forecast", _mwh(one.total_kwh), *(_mwh(predicted[i]) for i in shown)))
        table(["contribution, MWh", f"{len(local)} h", *titles], rows)
        features = [row for row in by_hour.values() if row["timestamp"] == times[-1] and row["feature"] is not None]
        table(
            [f"leading features, {titles[-1]}", "value", "on the usual days"],
            [(FEATURE_LABELS[row["feature"]], _value(row["value"]), _value(row["baseline_value"])) for row in features],
        )
    effect = one.weather_effect
    if effect is None:
        echo("The effect of the weather is not available: no weather is known for these hours.")
    else:
        out.print(
            f"Weather: {effect.temperature:.1f} °C, usually {effect.normal_temperature:.1f} °C at these hours and "
            f"season.\nWith usual temperatures the forecast of these {effect.hours} hours is {_mwh(effect.normal_kwh)} "
            f"MWh: the weather adds {_mwh(effect.added_kwh, signed=True)} MWh ({effect.percent:+.1f} %)."
        )
    if found.error is not None:
        _print_error(found, found.error, wanted)
    table(
        ["most similar past days", "mean °C", "MWh", "MWh at the present level"],
        [
            (
                f"{row['day']:%a %Y-%m-%d}",
                None if row["temperature"] is None else f"{row['temperature']:.1f}",
                _mwh(row["total_kwh"]),
                _mwh(row["scaled_kwh"]),
            )
            for row in one.similar.iter_rows(named=True)
        ],
    )
    for note in found.other_notes:
        echo(f"  {note}")
    if found.late_hours:
        echo(
            f"  {counted(found.late_hours, 'hour')} of load arrived or changed after the issue, and are left out here."
        )
    if found.differing_hours:
        echo(
            f"Recomputed from the data recorded by then, {found.differing_hours} of {found.forecast.height} hours "
            "differ from the issued forecast: the program has changed since, or the data or the model were changed "
            "from outside."
        )


def _print_error(found: ForecastExplanation, error: ExplainedError, wanted: list[int] | None) -> None:
    """Print the parts of the error: of the whole forecast, of the day, and of its hours with the largest errors."""
    import polars as pl

    from energy_forecast.forecasting.explain.weather_share import error_parts

    parts = error.parts
    if parts is None:
        echo(str(error.statement))
        return
    of_day = error.hours.join(found.explanation.hours, on="timestamp", how="semi")
    hours = of_day.drop_nulls("weather_kwh")
    local = pl.Series([time.astimezone(found.zone).hour for time in hours["timestamp"]], dtype=pl.Int64)
    if wanted:
        shown = hours.filter(local.is_in(wanted))
    else:
        shown = hours.sort(pl.col("error_kwh").abs(), descending=True).head(_WORST_HOURS).sort("timestamp")
    columns = [(f"{parts.hours} h", parts)]
    of_this_day = error_parts(of_day)
    if of_this_day is not None:
        columns.append((f"{found.explanation.day:%a}, {of_this_day.hours} h", of_this_day))
    for time in shown["timestamp"]:
        of_hour = error_parts(shown.filter(pl.col("timestamp") == time))
        assert of_hour is not None
        columns.append((f"{time.astimezone(found.zone):%H:%M}", of_hour))
    rows: list[tuple[str, Callable[[ErrorParts], str]]] = [
        ("forecast minus actual", lambda one: _mwh(one.error_kwh, signed=True)),
        ("absolute error of the hours", lambda one: _mwh(one.absolute_error_kwh)),
        ("  caused by the weather forecast", lambda one: _mwh(one.weather_kwh, signed=True)),
        ("  caused by the model", lambda one: _mwh(one.model_kwh, signed=True)),
        ("share of the weather, %", lambda one: _percent(one.weather_percent)),
        ("temperature, forecast minus observed, °C", lambda one: f"{one.temperature_error:+.1f}"),
    ]
    table(
        ["error, MWh", *(title for title, _ in columns)],
        [(name, *(text(one) for _, one in columns)) for name, text in rows],
    )
    out.print(parts.statement)
    shares = [one.weather_percent for _, one in columns if one.weather_percent is not None]
    if any(share < 0 or share > 100 for share in shares):
        out.print("A share below 0 or above 100 %: the errors of weather forecast and model have opposite directions.")
    for note in error.notes:
        echo(f"  {note}")


def _source(time: datetime | None, zone: ZoneInfo) -> str:
    return "no such hour: mean of the last week" if time is None else f"{time.astimezone(zone):%a %Y-%m-%d %H:%M}"


def _mwh(kwh: float, signed: bool = False) -> str:
    return f"{kwh / 1000:{'+' if signed else ''},.1f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{round(value)}"


def _value(value: float | None) -> str | None:
    return None if value is None else f"{value:,.2f}"
