"""Page for an explained forecast: one HTML file that opens without a network."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.charts.drawing import INTERVALS
from energy_forecast.charts.figures import Figure, Section, as_table, bar, line, paragraph, write_figures
from energy_forecast.charts.units import EnergyUnit, energy_unit
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.explain.contributions import BASELINE, FEATURE_LABELS, RECENT_LOAD
from energy_forecast.forecasting.explain.report import DAY_KINDS, contribution_totals
from energy_forecast.pipelines import ForecastExplanation
from energy_forecast.pipelines.labels import ISSUED_LABELS, WEATHER_LABELS
from energy_forecast.pipelines.weather_share import ExplainedError

DRIVERS = 6
"""Number of drivers with separate colours; the sum of the others is drawn as one."""
_COLOURS = ("--forecast", "--temperature", "--past", "--gold", "--violet", "--rose", "--muted")
_AGO = ("--past", "--temperature", "--gold", "--violet", "--rose")


def write_explanation_page(path: Path, found: ForecastExplanation) -> None:
    """Write the page, all at once."""
    one, run = found.explanation, found.run
    largest = max(found.forecast["q95"].max(), found.forecast["actual"].max() or 0)  # type: ignore[type-var]
    unit = energy_unit(float(largest))  # type: ignore[arg-type]
    zone = found.city.timezone
    day = f"{one.day:%A} {one.day.day} {one.day:%B %Y}"
    sections = [_fan(found, unit)]
    if found.error is not None:
        sections.append(_error(found, found.error))
    if one.contributions is not None:
        sections.append(_drivers(found, one.contributions, day, unit))
    if one.repeated_hours is not None:
        sections.append(_repeats(found, one.repeated_hours, day, unit))
    if one.weather_effect is not None:
        sections.append(_weather(found, day, unit))
    if not one.response.is_empty():
        sections.append(_response(found, day, unit))
    if not one.similar.is_empty():
        sections.append(_similar(found, day, unit))
    issued = run["issued_at"].astimezone(found.zone)
    notes = [
        f"{run['model']} version {run['version']}, {ISSUED_LABELS[run['purpose']]}, {issued:%Y-%m-%d %H:%M}, "
        f"{WEATHER_LABELS[run['weather']]}. All times are local times of {zone}.",
        f"{day}: {one.kind_label}.",
        *(text.strip() for text in found.fallback_lines),
        *found.other_notes,
    ]
    if found.differing_hours:
        notes.append(f"Recomputed, {found.differing_hours} hours differ from the issued forecast.")
    write_figures(path, sections, title=f"Why this forecast of {found.city.name}?", notes=notes)


def _local(found: ForecastExplanation, times: pl.Series) -> list[datetime]:
    return [time.astimezone(found.zone) for time in times]


def _x(found: ForecastExplanation, times: pl.Series) -> list[str]:
    """Return local times as text for Plotly, which does not support time zones."""
    return [f"{time:%Y-%m-%d %H:%M}" for time in _local(found, times)]


def _cell(value: float | None, form: str) -> str:
    """Return a number for a table, and a dash for an unknown one."""
    return "\N{EN DASH}" if value is None else format(value, form)


def _layout(unit: EnergyUnit, **more: Any) -> dict[str, Any]:
    return {
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        "margin": {"l": 56, "r": 12, "t": 48, "b": 48},
        "yaxis": {"title": {"text": f"Consumption, {unit.name} per hour", "standoff": 8}, "zeroline": False},
    } | more


def _two_panels(unit: EnergyUnit, energy: str, temperature: str, *, zero_lines: bool, **more: Any) -> dict[str, Any]:
    """Return the layout of energies above temperatures, with the titles of their axes."""

    def axis(low: float, high: float, title: str) -> dict[str, Any]:
        return {"domain": [low, high], "zeroline": zero_lines, "title": {"text": title, "standoff": 8}}

    axes = {"xaxis": {"anchor": "y2"}, "yaxis": axis(0.42, 1, energy), "yaxis2": axis(0, 0.34, temperature)}
    return _layout(unit, **axes, **more)


def _hours_of_day(found: ForecastExplanation) -> tuple[list[int], dict[str, Any]]:
    """Return the positions of the hours of the explained day, and their axis. A repeated hour has two positions."""
    x = [f"{time:%H:%M}" for time in _local(found, found.explanation.hours["timestamp"])]
    place = list(range(len(x)))
    return place, {"tickvals": place[::3], "ticktext": x[::3], "zeroline": False}


def _fan(found: ForecastExplanation, unit: EnergyUnit) -> Section:
    frame = found.forecast
    x = _x(found, frame["timestamp"])
    traces: list[dict[str, Any]] = []
    for coverage, low, high in INTERVALS:
        edge = {"width": 0, "hoverinfo": "skip"}
        traces.append(line("", x, unit.numbers(frame[high]), "--forecast", showlegend=False, **edge))
        traces.append(
            line(
                f"{coverage} % interval",
                x,
                unit.numbers(frame[low]),
                "--forecast",
                fill="tonexty",
                fillcolor=f"--band{coverage}",
                legendrank=1000 + coverage,
                **edge,
            )
        )
    history = found.history.filter(pl.col("timestamp") >= found.run["issued_at"] - pl.duration(days=2))
    traces.append(line("forecast", x, unit.numbers(frame["predicted"]), "--forecast", legendrank=2))
    known = frame.drop_nulls("actual")
    measured = pl.concat([history["consumption_kwh"], known["actual"]])
    times = pl.concat([history["timestamp"], known["timestamp"]])
    traces.append(line("measured", _x(found, times), unit.numbers(measured), "--measured", width=1.75, legendrank=1))
    lead = "No actuals are available yet for these hours."
    if not known.is_empty():
        inside = known.filter(pl.col("actual").is_between("q05", "q95")).height
        mape = metrics.mape(known["actual"].to_numpy(), known["predicted"].to_numpy())
        lead = (
            f"{known.height} of {frame.height} hours have actuals: MAPE {mape:.2f} %; {inside} of them are in the 90 % "
            f"interval ({100 * inside / known.height:.0f} %)."
        )
    issued = _x(found, pl.Series([found.run["issued_at"]]))[0]
    mark = {"type": "line", "x0": issued, "x1": issued, "yref": "paper", "y0": 0, "y1": 1}
    layout = _layout(unit, shapes=[mark | {"line": {"color": "--issued", "width": 1.5, "dash": "dash"}}])
    figure = Figure("Forecast with its intervals, and observed load", traces, layout)
    rows = [
        (time, *(unit.text(row[name]) for name in ("actual", "predicted", "q05", "q95")))
        for time, row in zip(x, frame.iter_rows(named=True), strict=True)
    ]
    head = ["From", f"Measured, {unit.name}", "Forecast", "5 %", "95 %"]
    return Section("Forecast and observed load", [figure], paragraph(lead), as_table(head, rows, name="Forecast"))


def _error(found: ForecastExplanation, error: ExplainedError) -> Section:
    title = "Error, and the part of the weather in it"
    parts = error.parts
    if parts is None:
        return Section(title, [], paragraph(str(error.statement)))
    hours = error.hours
    x = _x(found, hours["timestamp"])
    unit = energy_unit(float(hours["error_kwh"].abs().max() or 0))  # type: ignore[arg-type]
    energy = f"%{{y:+.3~g}} {unit.name}"
    traces = [
        bar("weather forecast", x, unit.numbers(hours["weather_kwh"]), "--temperature", energy),
        bar("model", x, unit.numbers(hours["model_kwh"]), "--past", energy),
        line("forecast minus actual", x, unit.numbers(hours["error_kwh"]), "--ink", hovertemplate=energy),
        line(
            "temperature, forecast minus observed",
            x,
            [None if value is None else round(value, 2) for value in hours["temperature_error"]],
            "--temperature",
            yaxis="y2",
            hovertemplate="%{y:+.1f} °C",
        ),
    ]
    energies = f"Forecast minus actual, {unit.name}"
    layout = _two_panels(unit, energies, "Error, °C", zero_lines=True, barmode="relative", bargap=0.15)
    total = energy_unit(parts.absolute_error_kwh)
    lead = (
        f"{parts.statement} The part of the weather, {total.signed(parts.weather_kwh)} of "
        f"{total.text(parts.absolute_error_kwh)} {total.name}, is the difference to the same forecast with observed "
        f"weather. The weather forecast was "
        f"{abs(parts.temperature_error):.1f} °C too {'warm' if parts.temperature_error > 0 else 'cold'} on average "
        f"(mean absolute error {parts.temperature_absolute_error:.1f} °C)."
    )
    rows = [
        (
            time,
            unit.signed(row["error_kwh"]),
            *(
                ("\N{EN DASH}",) * 4
                if row["weather_kwh"] is None
                else (
                    unit.signed(row["weather_kwh"]),
                    unit.signed(row["model_kwh"]),
                    _cell(row["weather_percent"], ".0f"),
                    f"{row['temperature_error']:+.1f}",
                )
            ),
        )
        for time, row in zip(x, hours.iter_rows(named=True), strict=True)
    ]
    head = ["From", f"Error, {unit.name}", "Weather forecast", "Model", "Weather, %", "Temperature error, °C"]
    notes = "".join(paragraph(note) for note in error.notes)
    return Section(
        title,
        [Figure("Error of each hour, split into weather forecast and model", traces, layout)],
        paragraph(lead) + notes,
        as_table(head, rows, name="Error"),
    )


def _repeats(found: ForecastExplanation, repeats: pl.DataFrame, day: str, unit: EnergyUnit) -> Section:
    rows = [
        (
            f"{row['timestamp'].astimezone(found.zone):%H:%M}",
            unit.text(row["repeated_kwh"]),
            "hour missing: mean of the last week"
            if row["repeated_from"] is None
            else f"{row['repeated_from'].astimezone(found.zone):%a %Y-%m-%d %H:%M}",
        )
        for row in repeats.iter_rows(named=True)
    ]
    lead = paragraph(f"{found.run['model']} repeats earlier loads; no other inputs are used.")
    head = ["Hour", f"Forecast, {unit.name}", "Load of"]
    return Section(f"Repeated loads of {day}", [], lead, as_table(head, rows, name="Repeated loads", shown=True))


def _drivers(found: ForecastExplanation, drivers: pl.DataFrame, day: str, unit: EnergyUnit) -> Section:
    names = [name for name, _ in contribution_totals(drivers).iter_rows() if name != BASELINE]
    # Ordered by the effect on single hours, not by the day's sum, in which morning and evening may cancel out
    size = {
        name: float(drivers.filter(pl.col("input_group") == name)["contribution_kwh"].abs().sum()) for name in names
    }
    names.sort(key=lambda name: -size[name])
    kept = names[:DRIVERS]
    place, axis = _hours_of_day(found)
    by = {
        name: part["contribution_kwh"]
        for (name,), part in drivers.sort("timestamp", maintain_order=True).group_by("input_group", maintain_order=True)
    }
    bars = [(name, by[name]) for name in kept]
    if len(names) > len(kept):
        bars.append(("all others", pl.Series(np.sum([by[name].to_numpy() for name in names[DRIVERS:]], axis=0))))
    small = energy_unit(max(float(values.abs().max() or 0) for _, values in bars))  # type: ignore[arg-type]
    energy = f"%{{y:+.3~g}} {small.name}"
    traces = [
        bar(name, place, small.numbers(values), colour, energy)
        for (name, values), colour in zip(bars, _COLOURS, strict=False)
    ]
    net = found.explanation.hours["predicted"] - by[BASELINE]
    traces.append(line("forecast minus usual day", place, small.numbers(net), "--ink", hovertemplate=energy))
    layout = _layout(
        unit,
        barmode="relative",
        bargap=0.15,
        xaxis=axis,
        yaxis={"title": {"text": f"{small.name} relative to a usual day", "standoff": 8}, "zeroline": True},
        margin={"l": 56, "r": 12, "t": 76, "b": 40},
    )
    lead = paragraph(
        "Contribution of each group of features to the difference from the same model's forecast for a usual day at "
        "this hour (seven days of the last three weeks, one of each weekday). They add up to the forecast."
    )
    table = [
        (
            name,
            unit.signed(total) if name != BASELINE else unit.text(total),
            *_peak(found, drivers, name),
        )
        for name, total in contribution_totals(drivers).iter_rows()
    ]
    head = ["Driver", f"Day, {unit.name}", "Leading feature at the peak", "Value", "On usual days"]
    return Section(
        f"Contributions on {day}",
        [Figure("Contributions to each hour", traces, layout)],
        lead,
        as_table(head, table, name="Drivers", shown=True),
    )


def _peak(found: ForecastExplanation, drivers: pl.DataFrame, name: str) -> tuple[str, ...]:
    """Return the leading feature of a group at the peak of the day, its value and that of usual days."""
    hours = found.explanation.hours
    peak = hours["timestamp"][hours["predicted"].arg_max() or 0]
    row = drivers.filter((pl.col("input_group") == name) & (pl.col("timestamp") == peak)).row(0, named=True)
    if row["feature"] is None:
        return ("\N{EN DASH}",) * 3
    form = ",.0f" if name == RECENT_LOAD else ",.2f"
    return FEATURE_LABELS[row["feature"]], _cell(row["value"], form), _cell(row["baseline_value"], form)


def _weather(found: ForecastExplanation, day: str, unit: EnergyUnit) -> Section:
    hours = found.explanation.hours
    x = _x(found, hours["timestamp"])
    degrees = {"yaxis": "y2", "hovertemplate": "%{y:.1f} °C"}
    traces = [
        line("forecast", x, unit.numbers(hours["predicted"]), "--forecast"),
        line("with usual temperature", x, unit.numbers(hours["predicted_at_normal"]), "--forecast", dash="dot"),
        line("temperature", x, hours["temperature"].to_list(), "--temperature", **degrees),
        line("usual temperature", x, hours["normal_temperature"].to_list(), "--temperature", dash="dot", **degrees),
    ]
    effect = found.explanation.weather_effect
    assert effect is not None
    lead = paragraph(
        f"The same model, with the usual temperature of each hour and season from the issue on. The effect of the "
        f"weather over these {effect.hours} hours is {unit.signed(effect.added_kwh)} {unit.name} "
        f"({effect.percent:+.1f} %). Measurements before the issue are unchanged."
    )
    layout = _two_panels(unit, f"Consumption, {unit.name} per hour", "Temperature, °C", zero_lines=False)
    return Section(f"Effect of the weather on {day}", [Figure("Forecast with usual weather", traces, layout)], lead)


def _response(found: ForecastExplanation, day: str, unit: EnergyUnit) -> Section:
    one = found.explanation
    colours = dict(zip(DAY_KINDS.values(), ("--pastday", "--temperature", "--past"), strict=True))
    traces: list[dict[str, Any]] = []
    for kind, colour in colours.items():
        days = one.past_days.filter(pl.col("kind") == kind)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"past {kind}",
                "x": [round(t, 2) for t in days["temperature"]],
                "y": unit.numbers(days["mean_kwh"]),
                "customdata": [f"{d:%a %Y-%m-%d}" for d in days["day"]],
                "hovertemplate": f"%{{customdata}}: %{{x:.1f}} °C, %{{y:.3~g}} {unit.name}<extra></extra>",
                "marker": {"color": colour, "size": 5, "opacity": 0.55},
            }
        )
    response = one.response
    curve = f"%{{x:.1f}} °C: %{{y:.3~g}} {unit.name}<extra>model response</extra>"
    traces.append(
        line(
            "model response for this day",
            [round(t, 2) for t in response["temperature"]],
            unit.numbers(response["mean_kwh"]),
            "--forecast",
            width=3,
            hovertemplate=curve,
        )
    )
    here = response.filter(pl.col("shift") == 0)
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "forecast",
            "x": here["temperature"].to_list(),
            "y": unit.numbers(here["mean_kwh"]),
            "marker": {"color": "--card", "size": 12, "line": {"color": "--forecast", "width": 3}},
            "hovertemplate": curve,
        }
    )
    layout = _layout(
        unit,
        hovermode="closest",
        xaxis={"title": {"text": "Mean temperature of the day, °C", "standoff": 10}, "zeroline": False},
        yaxis={"title": {"text": f"Mean of the day, {unit.name} per hour", "standoff": 8}, "zeroline": False},
    )
    lead = paragraph(
        f"The line is the model's forecast for {day} with every hour from the issue on up to 10 degrees warmer or "
        "colder. The points are the days of the previous year."
    )
    return Section("Temperature response", [Figure("Consumption by temperature", traces, layout)], lead)


def _similar(found: ForecastExplanation, day: str, unit: EnergyUnit) -> Section:
    one = found.explanation
    place, axis = _hours_of_day(found)
    traces = [
        line(f"{row['day']:%a %Y-%m-%d}", place, unit.numbers(pl.Series(row["kwh"])), colour, width=1.5)
        for row, colour in zip(one.similar.iter_rows(named=True), _AGO, strict=False)
    ]
    traces.append(line("this forecast", place, unit.numbers(one.hours["predicted"]), "--forecast", width=3))
    actual = one.hours.join(found.forecast.select("timestamp", "actual"), on="timestamp", how="left")["actual"]
    if actual.is_not_null().any():
        traces.append(line("measured", place, unit.numbers(actual), "--measured", width=2))
    lead = paragraph(
        "Days of the same kind, nearest in the temperature of each hour (root mean square of the difference) and in "
        "the time of the year (0.1 degrees a day). The lines are the measured loads; the table scales them to the "
        "current mean load."
    )
    rows = [
        (
            f"{row['day']:%a %Y-%m-%d}",
            f"{row['distance']:.2f}",
            _cell(row["temperature"], ".1f"),
            unit.text(row["total_kwh"]),
            unit.text(row["scaled_kwh"]),
        )
        for row in one.similar.iter_rows(named=True)
    ]
    mean = _cell(one.hours["temperature"].mean(), ".1f")  # type: ignore[arg-type]
    rows.append(("this forecast", "", mean, unit.text(one.total_kwh), ""))
    head = ["Day", "Distance, °C", "Mean °C", f"Day, {unit.name}", "Scaled to current load"]
    layout = _layout(unit, xaxis=axis)
    return Section(
        f"Most similar past days to {day}",
        [Figure("Loads of similar days", traces, layout)],
        lead,
        as_table(head, rows, name="Similar days", shown=True),
    )
