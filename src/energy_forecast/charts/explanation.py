"""Cards that explain a forecast: contributions of its inputs, effect of the weather, and the most similar past days."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid
from energy_forecast.charts.clock import Clock, seconds_of
from energy_forecast.charts.error_parts import error_card
from energy_forecast.charts.forecast import INTERVALS
from energy_forecast.charts.pages import offline_page
from energy_forecast.charts.stacks import stacked
from energy_forecast.charts.svg import Axis, Band, Line, Mark, Plot, Points, Rule, time_axis, value_axis
from energy_forecast.charts.units import EnergyUnit, energy_unit
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.explain.contributions import BASELINE, FEATURE_LABELS, RECENT_LOAD
from energy_forecast.forecasting.explain.report import DAY_KINDS, contribution_totals
from energy_forecast.pipelines import ForecastExplanation
from energy_forecast.pipelines.labels import ISSUED_LABELS, WEATHER_LABELS
from energy_forecast.pipelines.weather_share import ExplainedError

DRIVERS = 6
"""Number of groups of inputs with separate colours; the sum of the others is drawn as one."""
_COLOURS = ("forecast", "temperature", "past", "gold", "violet", "rose", "muted")
_AGO = ("past", "temperature", "gold", "violet", "rose")
_HOUR = timedelta(hours=1)
# Groups of inputs that the sentence names
_NAMED = 2


def explanation_page(found: ForecastExplanation) -> str:
    """Return a page with the cards, which opens without a network."""
    title = f"Why this forecast of {found.city.name}?"
    return offline_page(title, explanation_cards(found), notes=explanation_notes(found))


def explanation_cards(
    found: ForecastExplanation,
    *,
    data: str | None = None,
    error: ExplainedError | None = None,
    has_error: bool = True,
) -> list[Card]:
    """Return all cards of an explanation.

    Args:
        data: URL of the same data.
        error: of the hours whose error is shown; None for all hours of the forecast.
        has_error: whether to show the error.
    """
    shown = error or found.error if has_error else None
    one = found.explanation
    largest = max(found.forecast["q95"].max(), found.forecast["actual"].max() or 0)  # type: ignore[type-var]
    unit = energy_unit(float(largest))  # type: ignore[arg-type]
    cards = []
    if shown is not None and not shown.hours.is_empty():
        cards.append(error_card(shown, Clock(found.city.timezone), data=data))
    if one.contributions is not None:
        cards.append(_contributions(found, one.contributions, unit, data))
    if one.repeated_hours is not None:
        cards.append(_repeats(found, one.repeated_hours, unit))
    cards.append(_fan(found, unit))
    if one.weather_effect is not None:
        cards.append(_weather(found, unit))
    if not one.response.is_empty():
        cards.append(_response(found, unit))
    if not one.similar.is_empty():
        cards.append(_similar(found, unit))
    return cards


def explanation_notes(found: ForecastExplanation) -> list[str]:
    """Return which forecast is explained, and what differs from its issue."""
    run, one = found.run, found.explanation
    issued = Clock(found.city.timezone).text(run["issued_at"])
    notes = [
        f"{run['model']} version {run['version']}, {ISSUED_LABELS[run['purpose']]}, {issued}, "
        f"{WEATHER_LABELS[run['weather']]}. All times are local times of {found.city.timezone}.",
        f"{_day(found)}: {one.kind_label}.",
        *(text.strip() for text in found.fallback_lines),
        *found.other_notes,
    ]
    if found.differing_hours:
        notes.append(f"Recomputed, {found.differing_hours} hours differ from the issued forecast.")
    if found.late_hours:
        notes.append(f"{found.late_hours:,} hours of load arrived or changed after the issue, and are left out.")
    return notes


def forecast_sentence(found: ForecastExplanation) -> str:
    """Return why the forecast of the day is as it is."""
    one = found.explanation
    total = energy_unit(one.total_kwh)
    begin = f"The forecast of {_day(found)} is {total.text(one.total_kwh)} {total.name}"
    if one.contributions is None:
        model = found.run["model"]
        why = "repeats earlier loads" if one.repeated_hours is not None else "does not show the effect of its inputs"
        return f"{begin}. {model} {why}."
    sums = dict(contribution_totals(one.contributions).iter_rows())
    usual = sums.pop(BASELINE)
    added = one.total_kwh - usual
    effects = sorted(sums.items(), key=lambda item: -abs(item[1]))[:_NAMED]
    small = energy_unit(max(abs(kwh) for _, kwh in effects))
    named = " and ".join(f"{name} ({small.signed(kwh)} {small.name})" for name, kwh in effects)
    percent = f"{abs(100 * added / usual):.1f} % " if usual else ""
    return f"{begin}, {percent}{'above' if added >= 0 else 'below'} a usual day. Largest effects: {named}."


def hours_axis(clock: Clock, hours: pl.Series) -> Axis:
    """Return the axis of the hours of a day."""
    return time_axis(clock, hours[0], hours[-1] + _HOUR)


def _day(found: ForecastExplanation) -> str:
    day = found.explanation.day
    return f"{day:%a} {day.day} {day:%b %Y}"


def _cell(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else format(value, form).replace("-", "\N{MINUS SIGN}")


def _fan(found: ForecastExplanation, unit: EnergyUnit) -> Card:
    frame, clock = found.forecast, Clock(found.city.timezone)
    x = seconds_of(frame["timestamp"].to_list())
    marks: list[Mark] = [
        Band(f"{cover} % interval", x, unit.numbers(frame[low]), unit.numbers(frame[high]), f"band{cover}")
        for cover, low, high in INTERVALS
    ]
    history = found.history.filter(pl.col("timestamp") >= found.run["issued_at"] - pl.duration(days=2))
    known = frame.drop_nulls("actual")
    times = [*history["timestamp"], *known["timestamp"]]
    measured = unit.numbers([*history["consumption_kwh"], *known["actual"]])
    marks.append(Line("forecast", x, unit.numbers(frame["predicted"]), "forecast"))
    marks.append(Line("observed", seconds_of(times), measured, "measured", width=1.75))
    marks.append(Rule(found.run["issued_at"].timestamp(), f"issued {clock.hour(found.run['issued_at'])}"))
    sentence = "No load of these hours is known yet."
    if not known.is_empty():
        inside = known.filter(pl.col("actual").is_between("q05", "q95")).height
        mape = metrics.mape(known["actual"].to_numpy(), known["predicted"].to_numpy())
        sentence = (
            f"The load of {known.height} of {frame.height} hours is known: MAPE {mape:.2f} %; {inside} of them are in "
            f"the 90 % interval ({100 * inside / known.height:.0f} %)."
        )
    ends = [*times, *frame["timestamp"]]
    y = value_axis(f"Load, {unit.name} per hour", measured, *(unit.numbers(frame[name]) for name in ("q05", "q95")))
    plot = Plot(f"Forecast and load. {sentence}", marks, time_axis(clock, min(ends), max(ends) + _HOUR), y)
    rows = [
        (clock.short(row["timestamp"]), *(unit.text(row[name]) for name in ("actual", "predicted", "q05", "q95")))
        for row in frame.iter_rows(named=True)
    ]
    per = f"{unit.name} per hour"
    fields = [Field("From", clock.name, is_text=True), Field("Load", per), Field("Forecast", per)]
    fields += [Field("5 % quantile", per), Field("95 % quantile", per)]
    return Card("Forecast and load", sentence, [plot.markup()], Grid("forecast and load", fields, rows))


def _repeats(found: ForecastExplanation, repeats: pl.DataFrame, unit: EnergyUnit) -> Card:
    clock = Clock(found.city.timezone)
    rows = [
        (
            clock.short(row["timestamp"]),
            unit.text(row["repeated_kwh"]),
            "hour missing: mean of the last week" if row["repeated_from"] is None else clock.text(row["repeated_from"]),
        )
        for row in repeats.iter_rows(named=True)
    ]
    fields = [Field("Hour", clock.name, is_text=True), Field("Forecast", unit.name), Field("Load of", is_text=True)]
    sentence = f"{found.run['model']} repeats earlier loads; no other inputs are used."
    return Card(f"Repeated loads, {_day(found)}", sentence, table=Grid("repeated loads", fields, rows, is_shown=True))


def _contributions(found: ForecastExplanation, drivers: pl.DataFrame, unit: EnergyUnit, data: str | None) -> Card:
    clock, hours = Clock(found.city.timezone), found.explanation.hours
    totals = contribution_totals(drivers)
    by = {
        name: part["contribution_kwh"]
        for (name,), part in drivers.sort("timestamp", maintain_order=True).group_by("input_group", maintain_order=True)
    }
    # Ordered by the effect on single hours, not by the day's sum, in which morning and evening may cancel out
    names = sorted((name for name in by if name != BASELINE), key=lambda name: -float(by[name].abs().sum()))
    shown = [(name, by[name]) for name in names[:DRIVERS]]
    if len(names) > DRIVERS:
        shown.append(("all others", pl.Series(np.sum([by[name].to_numpy() for name in names[DRIVERS:]], axis=0))))
    small = energy_unit(max(float(values.abs().max() or 0) for _, values in shown))  # type: ignore[arg-type]
    starts = seconds_of(hours["timestamp"].to_list())
    parts = [(name, small.numbers(values), colour) for (name, values), colour in zip(shown, _COLOURS, strict=False)]
    bars = stacked(parts, starts, small, clock)
    net = small.numbers(hours["predicted"] - by[BASELINE])
    marks: list[Mark] = [*bars, Line("forecast minus usual day", [x + 1800 for x in starts], net, "ink")]
    y = value_axis(f"{small.name} relative to a usual day", net, *(one.y1 for one in bars), zero=True)
    sentence = forecast_sentence(found)
    plot = Plot(f"Contributions to each hour. {sentence}", marks, hours_axis(clock, hours["timestamp"]), y, height=300)
    rows = [
        (name, unit.text(total) if name == BASELINE else unit.signed(total), *_peak(found, drivers, name))
        for name, total in totals.iter_rows()
    ]
    fields = [
        Field("Inputs", is_text=True),
        Field("Effect on the day", unit.name),
        Field("Leading input at the peak", is_text=True),
        Field("Value"),
        Field("On usual days"),
    ]
    return Card(
        f"Contributions of the inputs, {_day(found)}",
        sentence,
        [plot.markup()],
        Grid("contributions", fields, rows, is_shown=True),
        data,
        notes=[
            "A contribution is the difference from the same model's forecast of a usual day at this hour (seven days "
            "of the last three weeks, one of each weekday). The contributions add up to the forecast."
        ],
    )


def _peak(found: ForecastExplanation, drivers: pl.DataFrame, name: str) -> tuple[str, ...]:
    """Return the leading feature of a group at the peak of the day, its value and that of usual days."""
    hours = found.explanation.hours
    peak = hours["timestamp"][hours["predicted"].arg_max() or 0]
    row = drivers.filter((pl.col("input_group") == name) & (pl.col("timestamp") == peak)).row(0, named=True)
    if row["feature"] is None:
        return (UNKNOWN,) * 3
    form = ",.0f" if name == RECENT_LOAD else ",.2f"
    return FEATURE_LABELS[row["feature"]], _cell(row["value"], form), _cell(row["baseline_value"], form)


def _weather(found: ForecastExplanation, unit: EnergyUnit) -> Card:
    clock, hours = Clock(found.city.timezone), found.explanation.hours
    effect = found.explanation.weather_effect
    assert effect is not None
    x = seconds_of(hours["timestamp"].to_list())
    axis = hours_axis(clock, hours["timestamp"])
    predicted, normal = unit.numbers(hours["predicted"]), unit.numbers(hours["predicted_at_normal"])
    warm, usual = hours["temperature"].to_list(), hours["normal_temperature"].to_list()
    sentence = (
        f"The weather changes the forecast of {effect.hours} hours by {unit.signed(effect.added_kwh)} {unit.name} "
        f"({effect.percent:+.1f} %): {effect.temperature:.1f} °C, usually {effect.normal_temperature:.1f} °C.".replace(
            "-", "\N{MINUS SIGN}"
        )
    )
    energies: list[Mark] = [
        Line("forecast", x, predicted, "forecast"),
        Line("with usual temperature", x, normal, "forecast", dashed=True),
    ]
    degrees: list[Mark] = [
        Line("temperature", x, warm, "temperature"),
        Line("usual temperature", x, usual, "temperature", dashed=True),
    ]
    figures = [
        Plot(sentence, energies, axis, value_axis(f"Load, {unit.name} per hour", predicted, normal)).markup(),
        Plot(f"Temperature. {sentence}", degrees, axis, value_axis("Temperature, °C", warm, usual), 140).markup(),
    ]
    rows = [
        (clock.short(at), *(unit.text(row) for row in energy), *(_cell(row, ".1f") for row in warmth))
        for at, energy, warmth in zip(
            hours["timestamp"],
            hours.select("predicted", "predicted_at_normal").iter_rows(),
            hours.select("temperature", "normal_temperature").iter_rows(),
            strict=True,
        )
    ]
    fields = [Field("From", clock.name, is_text=True), Field("Forecast", unit.name)]
    fields += [Field("With usual temperature", unit.name), Field("Temperature", "°C"), Field("Usual", "°C")]
    return Card(
        f"Effect of the weather, {_day(found)}",
        sentence,
        figures,
        Grid("effect of the weather", fields, rows),
        notes=[
            "Forecast by the same model with the usual temperature of each hour and season from the issue on. "
            "Measurements before the issue are unchanged."
        ],
    )


def _response(found: ForecastExplanation, unit: EnergyUnit) -> Card:
    one = found.explanation
    marks: list[Mark] = []
    for kind, colour in zip(DAY_KINDS.values(), ("pastday", "temperature", "past"), strict=True):
        days = one.past_days.filter(pl.col("kind") == kind)
        means = unit.numbers(days["mean_kwh"])
        labels = [f"{day:%a %Y-%m-%d}: {t:.1f} °C" for day, t in days.select("day", "temperature").iter_rows()]
        marks.append(Points(f"past {kind}", days["temperature"].to_list(), means, colour, labels, radius=2.5))
    response = one.response
    means = unit.numbers(response["mean_kwh"])
    marks.append(
        Line("forecast of the model for this day", response["temperature"].to_list(), means, "forecast", width=3)
    )
    here = response.filter(pl.col("shift") == 0)
    marks.append(
        Points("this forecast", here["temperature"].to_list(), unit.numbers(here["mean_kwh"]), "ink", radius=6)
    )
    colder, warmer = response.sort("shift").row(0, named=True), response.sort("shift").row(-1, named=True)
    sentence = (
        f"With {abs(colder['shift']):.0f} °C less the mean load of {_day(found)} would be "
        f"{unit.text(colder['mean_kwh'])} {unit.name} per hour, with {warmer['shift']:.0f} °C more "
        f"{unit.text(warmer['mean_kwh'])} {unit.name}; the forecast is {unit.text(here['mean_kwh'][0])} {unit.name}."
    )
    temperatures = [*one.past_days["temperature"], *response["temperature"]]
    x = value_axis("Mean temperature of the day, °C", temperatures)
    y = value_axis(f"Mean of the day, {unit.name} per hour", unit.numbers(one.past_days["mean_kwh"]), means)
    rows = [
        (_cell(row["shift"], "+.0f"), _cell(row["temperature"], ".1f"), unit.text(row["mean_kwh"]))
        for row in response.iter_rows(named=True)
    ]
    fields = [Field("Warmer by", "°C"), Field("Temperature", "°C"), Field("Mean load", f"{unit.name} per hour")]
    return Card(
        "Response to the temperature",
        sentence,
        [Plot(sentence, marks, x, y, height=300).markup()],
        Grid("response to the temperature", fields, rows),
        notes=[
            "The line changes the temperature of every hour from the issue on. The points are days of the last year."
        ],
    )


def _similar(found: ForecastExplanation, unit: EnergyUnit) -> Card:
    one, clock = found.explanation, Clock(found.city.timezone)
    x = seconds_of(one.hours["timestamp"].to_list())
    marks: list[Mark] = [
        Line(f"{row['day']:%a %Y-%m-%d}", x, unit.numbers(row["kwh"]), colour, width=1.5)
        for row, colour in zip(one.similar.iter_rows(named=True), _AGO, strict=False)
    ]
    marks.append(Line("this forecast", x, unit.numbers(one.hours["predicted"]), "forecast", width=3))
    actual = one.hours.join(found.forecast.select("timestamp", "actual"), on="timestamp", how="left")["actual"]
    if actual.is_not_null().any():
        marks.append(Line("observed", x, unit.numbers(actual), "measured"))
    nearest = one.similar.row(0, named=True)
    sentence = (
        f"The most similar past day is {nearest['day']:%a %Y-%m-%d} with {unit.text(nearest['total_kwh'])} "
        f"{unit.name}; scaled to the present load that is {unit.text(nearest['scaled_kwh'])} {unit.name}, and the "
        f"forecast is {unit.text(one.total_kwh)} {unit.name}."
    )
    y = value_axis(f"Load, {unit.name} per hour", *(mark.y for mark in marks if isinstance(mark, Line)))
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
    fields = [Field("Day", is_text=True), Field("Distance", "°C"), Field("Temperature", "mean, °C")]
    fields += [Field("Load", f"{unit.name} of the day"), Field("Scaled to the present load", unit.name)]
    return Card(
        f"Most similar past days to {_day(found)}",
        sentence,
        [Plot(sentence, marks, hours_axis(clock, one.hours["timestamp"]), y).markup()],
        Grid("similar days", fields, rows, is_shown=True),
        notes=[
            "Days of the same kind, nearest in the temperature of each hour (root mean square of the difference) and "
            "in the time of the year (0.1 degrees a day). The lines are observed loads."
        ],
    )
