"""Page for an explained forecast: one HTML file that opens without a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.explain.contributions import BASELINE, FEATURE_LABELS, RECENT_LOAD
from energy_forecast.forecasting.explain.report import DAY_KINDS, contribution_totals
from energy_forecast.pipelines import ForecastExplanation
from energy_forecast.pipelines.labels import ISSUED_LABELS, WEATHER_LABELS
from energy_forecast.pipelines.weather_share import ExplainedError
from energy_forecast.web.drawing import INTERVALS
from energy_forecast.web.figures import Figure, Section, as_table, label, paragraph, write_figures
from energy_forecast.web.units import EnergyUnit, energy_unit

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
        *(line.strip() for line in found.fallback_lines),
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


def _in(unit: EnergyUnit, values: pl.Series) -> list[float | None]:
    return [None if v is None or not math.isfinite(v) else float(f"{v / unit.kwh:.6g}") for v in values]


def _line(name: str, x: Sequence[Any], y: Sequence[Any], colour: str, **style: Any) -> dict[str, Any]:
    line = {"color": colour, "width": style.pop("width", 2), "dash": style.pop("dash", "solid")}
    return {"type": "scatter", "mode": "lines", "name": label(name), "x": x, "y": y, "line": line} | style


def _layout(unit: EnergyUnit, **more: Any) -> dict[str, Any]:
    return {
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        "margin": {"l": 56, "r": 12, "t": 48, "b": 48},
        "yaxis": {"title": {"text": f"Consumption, {unit.name} per hour", "standoff": 8}, "zeroline": False},
    } | more


def _fan(found: ForecastExplanation, unit: EnergyUnit) -> Section:
    frame = found.forecast
    x = _x(found, frame["timestamp"])
    traces: list[dict[str, Any]] = []
    for coverage, low, high in INTERVALS:
        edge = {"width": 0, "hoverinfo": "skip"}
        traces.append(_line("", x, _in(unit, frame[high]), "--forecast", showlegend=False, **edge))
        traces.append(
            _line(
                f"{coverage} % interval",
                x,
                _in(unit, frame[low]),
                "--forecast",
                fill="tonexty",
                fillcolor=f"--band{coverage}",
                legendrank=1000 + coverage,
                **edge,
            )
        )
    history = found.history.filter(pl.col("timestamp") >= found.run["issued_at"] - pl.duration(days=2))
    traces.append(_line("forecast", x, _in(unit, frame["predicted"]), "--forecast", legendrank=2))
    known = frame.drop_nulls("actual")
    measured = pl.concat([history["consumption_kwh"], known["actual"]])
    times = pl.concat([history["timestamp"], known["timestamp"]])
    traces.append(_line("measured", _x(found, times), _in(unit, measured), "--measured", width=1.75, legendrank=1))
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
        (
            time,
            *(
                "\N{EN DASH}" if row[name] is None else unit.text(row[name])
                for name in ("actual", "predicted", "q05", "q95")
            ),
        )
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
    bars = [
        {
            "type": "bar",
            "name": name,
            "x": x,
            "y": _in(unit, hours[column]),
            "marker": {"color": colour},
            "hovertemplate": energy,
        }
        for name, column, colour in (
            ("weather forecast", "weather_kwh", "--temperature"),
            ("model", "model_kwh", "--past"),
        )
    ]
    traces = [
        *bars,
        _line("forecast minus actual", x, _in(unit, hours["error_kwh"]), "--ink", hovertemplate=energy),
        _line(
            "temperature, forecast minus observed",
            x,
            [None if value is None else round(value, 2) for value in hours["temperature_error"]],
            "--temperature",
            yaxis="y2",
            hovertemplate="%{y:+.1f} °C",
        ),
    ]
    layout = _layout(
        unit,
        barmode="relative",
        bargap=0.15,
        xaxis={"anchor": "y2"},
        yaxis={
            "domain": [0.42, 1],
            "zeroline": True,
            "title": {"text": f"Forecast minus actual, {unit.name}", "standoff": 8},
        },
        yaxis2={"domain": [0, 0.34], "zeroline": True, "title": {"text": "Error, °C", "standoff": 8}},
    )
    total = energy_unit(parts.absolute_error_kwh)
    lead = (
        f"{parts.statement} The part of the weather, {_signed(total, parts.weather_kwh)} of "
        f"{total.text(parts.absolute_error_kwh)} {total.name}, is the difference to the same forecast with observed "
        f"weather. The weather forecast was "
        f"{abs(parts.temperature_error):.1f} °C too {'warm' if parts.temperature_error > 0 else 'cold'} on average "
        f"(mean absolute error {parts.temperature_absolute_error:.1f} °C)."
    )
    rows = [
        (
            time,
            _signed(unit, row["error_kwh"]),
            *(
                ("\N{EN DASH}",) * 4
                if row["weather_kwh"] is None
                else (
                    _signed(unit, row["weather_kwh"]),
                    _signed(unit, row["model_kwh"]),
                    "\N{EN DASH}" if row["weather_percent"] is None else f"{row['weather_percent']:.0f}",
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
    x = [f"{time:%H:%M}" for time in _local(found, found.explanation.hours["timestamp"])]
    # A repeated hour has two bars
    place = list(range(len(x)))
    by = {
        name: part["contribution_kwh"]
        for (name,), part in drivers.sort("timestamp", maintain_order=True).group_by("input_group", maintain_order=True)
    }
    bars = [(name, by[name]) for name in kept]
    if len(names) > len(kept):
        bars.append(("all others", pl.Series(np.sum([by[name].to_numpy() for name in names[DRIVERS:]], axis=0))))
    small = energy_unit(max(float(values.abs().max() or 0) for _, values in bars))  # type: ignore[arg-type]
    traces = [
        {
            "type": "bar",
            "name": label(name),
            "x": place,
            "y": _in(small, values),
            "marker": {"color": colour},
            "hovertemplate": f"%{{y:+.3~g}} {small.name}",
        }
        for (name, values), colour in zip(bars, _COLOURS, strict=False)
    ]
    net = found.explanation.hours["predicted"] - by[BASELINE]
    traces.append(
        _line("forecast minus usual day", place, _in(small, net), "--ink", hovertemplate=f"%{{y:+.3~g}} {small.name}")
    )
    layout = _layout(
        unit,
        barmode="relative",
        bargap=0.15,
        xaxis={"tickvals": place[::3], "ticktext": x[::3], "zeroline": False},
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
            _signed(unit, total) if name != BASELINE else unit.text(total),
            *(("\N{EN DASH}", "\N{EN DASH}", "\N{EN DASH}") if (row := _peak(found, drivers, name)) is None else row),
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


def _peak(found: ForecastExplanation, drivers: pl.DataFrame, name: str) -> tuple[str, ...] | None:
    hours = found.explanation.hours
    peak = hours["timestamp"][hours["predicted"].arg_max() or 0]
    row = drivers.filter((pl.col("input_group") == name) & (pl.col("timestamp") == peak)).row(0, named=True)
    if row["feature"] is None:
        return None
    digits = 0 if name == RECENT_LOAD else 2
    values = ("\N{EN DASH}" if row[x] is None else f"{row[x]:,.{digits}f}" for x in ("value", "baseline_value"))
    return FEATURE_LABELS[row["feature"]], *values


def _signed(unit: EnergyUnit, kwh: float) -> str:
    sign = "+" if kwh >= 0 else "\N{MINUS SIGN}"
    return sign + unit.text(abs(kwh))


def _weather(found: ForecastExplanation, day: str, unit: EnergyUnit) -> Section:
    hours = found.explanation.hours
    x = _x(found, hours["timestamp"])
    degrees = {"yaxis": "y2", "hovertemplate": "%{y:.1f} °C"}
    traces = [
        _line("forecast", x, _in(unit, hours["predicted"]), "--forecast"),
        _line("with usual temperature", x, _in(unit, hours["predicted_at_normal"]), "--forecast", dash="dot"),
        _line("temperature", x, hours["temperature"].to_list(), "--temperature", **degrees),
        _line("usual temperature", x, hours["normal_temperature"].to_list(), "--temperature", dash="dot", **degrees),
    ]
    effect = found.explanation.weather_effect
    assert effect is not None
    lead = paragraph(
        f"The same model, with the usual temperature of each hour and season from the issue on. The effect of the "
        f"weather over these {effect.hours} hours is {_signed(unit, effect.added_kwh)} {unit.name} "
        f"({effect.percent:+.1f} %). Measurements before the issue are unchanged."
    )
    layout = _layout(
        unit,
        xaxis={"anchor": "y2"},
        yaxis={
            "domain": [0.42, 1],
            "zeroline": False,
            "title": {"text": f"Consumption, {unit.name} per hour", "standoff": 8},
        },
        yaxis2={"domain": [0, 0.34], "zeroline": False, "title": {"text": "Temperature, °C", "standoff": 8}},
    )
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
                "y": _in(unit, days["mean_kwh"]),
                "customdata": [f"{d:%a %Y-%m-%d}" for d in days["day"]],
                "hovertemplate": f"%{{customdata}}: %{{x:.1f}} °C, %{{y:.3~g}} {unit.name}<extra></extra>",
                "marker": {"color": colour, "size": 5, "opacity": 0.55},
            }
        )
    response = one.response
    curve = f"%{{x:.1f}} °C: %{{y:.3~g}} {unit.name}<extra>model response</extra>"
    traces.append(
        _line(
            "model response for this day",
            [round(t, 2) for t in response["temperature"]],
            _in(unit, response["mean_kwh"]),
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
            "y": _in(unit, here["mean_kwh"]),
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
    x = [f"{time:%H:%M}" for time in _local(found, one.hours["timestamp"])]
    place = list(range(len(x)))
    traces = [
        _line(f"{row['day']:%a %Y-%m-%d}", place, _in(unit, pl.Series(row["kwh"])), colour, width=1.5)
        for row, colour in zip(one.similar.iter_rows(named=True), _AGO, strict=False)
    ]
    traces.append(_line("this forecast", place, _in(unit, one.hours["predicted"]), "--forecast", width=3))
    actual = one.hours.join(found.forecast.select("timestamp", "actual"), on="timestamp", how="left")["actual"]
    if actual.is_not_null().any():
        traces.append(_line("measured", place, _in(unit, actual), "--measured", width=2))
    lead = paragraph(
        "Days of the same kind, nearest in the temperature of each hour (root mean square of the difference) and in "
        "the time of the year (0.1 degrees a day). The lines are the measured loads; the table scales them to the "
        "current mean load."
    )
    rows = [
        (
            f"{row['day']:%a %Y-%m-%d}",
            f"{row['distance']:.2f}",
            "\N{EN DASH}" if row["temperature"] is None else f"{row['temperature']:.1f}",
            unit.text(row["total_kwh"]),
            unit.text(row["scaled_kwh"]),
        )
        for row in one.similar.iter_rows(named=True)
    ]
    rows.append(("this forecast", "", _mean(one.hours["temperature"]), unit.text(one.total_kwh), ""))
    head = ["Day", "Distance, °C", "Mean °C", f"Day, {unit.name}", "Scaled to current load"]
    layout = _layout(unit, xaxis={"tickvals": place[::3], "ticktext": x[::3], "zeroline": False})
    return Section(
        f"Most similar past days to {day}",
        [Figure("Loads of similar days", traces, layout)],
        lead,
        as_table(head, rows, name="Similar days", shown=True),
    )


def _mean(values: pl.Series) -> str:
    known = values.drop_nulls().to_numpy()
    return f"{known.mean():.1f}" if len(known) else "\N{EN DASH}"
