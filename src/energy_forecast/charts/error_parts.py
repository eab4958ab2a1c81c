"""The card that splits the error of a forecast into the part of the weather forecast and the part of the model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Fact, Field, Grid, Link
from energy_forecast.charts.clock import Clock, day_text, seconds_of
from energy_forecast.charts.stacks import stacked
from energy_forecast.charts.svg import Line, Mark, Plot, time_axis, value_axis
from energy_forecast.charts.units import EnergyUnit, energy_unit
from energy_forecast.forecasting.explain.weather_share import ErrorParts, error_parts
from energy_forecast.pipelines.weather_share import ExplainedError

_HOUR = timedelta(hours=1)
# Shares of the weather in the absolute error from which it is the cause, a large part, and a part; percent
_MOSTLY, _LARGELY, _PARTLY = 60, 40, 15


def error_sentence(error: ExplainedError, day: date, holiday: str | None = None) -> str:
    """Return whether the weather forecast caused the error of a day.

    Args:
        error: of the hours of the day.
        day: local.
        holiday: the name of the public holiday, if the day is one.
    """
    hours = error.hours
    actual, total = float(hours["actual"].sum()), float(hours["error_kwh"].sum())
    unit = energy_unit(total)
    percent = f" ({abs(100 * total / actual):.1f} %)" if actual else ""
    size = f"{unit.text(abs(total))} {unit.name}{percent} too {'high' if total >= 0 else 'low'}"
    begin = f"{day_text(day)}: the forecast was {size} over {hours.height} {'hour' if hours.height == 1 else 'hours'}."
    special = (
        "" if holiday is None else f" The day was a holiday ({holiday}): what the model makes of it is in its part."
    )
    parts = error.parts
    if parts is None:
        return f"{begin} {error.statement}{special}"
    return f"{begin} {_answer(parts)}{special}"


def _answer(parts: ErrorParts) -> str:
    share = parts.weather_percent
    if share is None:
        return "It has no error."
    if share < 0:
        return "The weather forecast is not the cause: its error even reduced that of the model."
    if share > 100:
        return "The weather forecast is the cause: its error was larger than the total, and the model offset a part."
    rest = f"{share:.0f} % of the absolute error is due to the weather forecast, {100 - share:.0f} % to the model."
    if share >= _MOSTLY:
        return f"Mostly because of the weather forecast: {rest}"
    if share >= _LARGELY:
        return f"About half because of the weather forecast: {rest}"
    return f"{'Only in part' if share >= _PARTLY else 'Hardly'} because of the weather forecast: {rest}"


def of_hours(error: ExplainedError, hours: pl.Series) -> ExplainedError:
    """Return the part of an explained error in some hours."""
    kept = error.hours.filter(pl.col("timestamp").is_in(hours.implode()))
    return ExplainedError(kept, error_parts(kept), error.statement, error.notes)


def error_card(
    error: ExplainedError,
    clock: Clock,
    *,
    title: str = "Error and its causes",
    data: str | None = None,
    links: Sequence[Link] = (),
) -> Card:
    """Return the error of each hour, split into the parts of weather forecast and model.

    Args:
        error: of at least one hour.
        clock: of the city.
        title: the heading.
        data: URL of the same data.
        links: to other views.
    """
    hours = error.hours
    unit = energy_unit(float(hours["error_kwh"].abs().max() or 0))  # type: ignore[arg-type]
    starts = seconds_of(hours["timestamp"].to_list())
    axis = time_axis(clock, hours["timestamp"][0], hours["timestamp"][-1] + _HOUR)
    total = unit.numbers(hours["error_kwh"])
    parts = error.parts
    marks: list[Mark] = []
    figures = []
    sentence = str(error.statement)
    facts: list[Fact] = []
    if parts is None:
        bars = stacked([("forecast minus load", total, "past")], starts, unit, clock)
        marks += bars
    else:
        weather, model = unit.numbers(hours["weather_kwh"]), unit.numbers(hours["model_kwh"])
        bars = stacked([("weather forecast", weather, "temperature"), ("model", model, "past")], starts, unit, clock)
        marks += [*bars, Line("forecast minus load", [x + 1800 for x in starts], total, "ink")]
        sentence, facts = parts.statement, _facts(parts)
    y = value_axis(f"Forecast minus load, {unit.name}", total, *(one.y1 for one in bars), zero=True)
    figures.append(Plot(f"Error of each hour. {sentence}", marks, axis, y).markup())
    if parts is not None:
        degrees = hours["temperature_error"].to_list()
        line = Line("temperature, forecast minus observed", [x + 1800 for x in starts], degrees, "temperature")
        y = value_axis("Temperature, forecast minus observed, °C", degrees, zero=True)
        figures.append(Plot("Error of the forecast temperature.", [line], axis, y, 110).markup())
    fields = [Field("From", clock.name, is_text=True)]
    names = ("Load", "Forecast", "Error", "By the weather forecast", "By the model")
    fields += [Field(name, unit.name) for name in names]
    fields += [Field("Weather", "% of the error"), Field("Temperature error", "°C")]
    rows = [_row(row, unit, clock) for row in hours.iter_rows(named=True)]
    return Card(
        title, sentence, figures, Grid("error of each hour", fields, rows), data, [*error.notes], facts, links=links
    )


def _facts(parts: ErrorParts) -> list[Fact]:
    unit = energy_unit(parts.absolute_error_kwh)
    warm = f"{abs(parts.temperature_error):.1f} °C too {'warm' if parts.temperature_error > 0 else 'cold'}"
    share = parts.weather_percent
    known = UNKNOWN if share is None else f"{share:.0f} %".replace("-", "\N{MINUS SIGN}")
    other = UNKNOWN if share is None else f"{100 - share:.0f} %".replace("-", "\N{MINUS SIGN}")
    return [
        Fact("Absolute error", f"{unit.text(parts.absolute_error_kwh)} {unit.name}", f"of {parts.hours} hours"),
        Fact("Due to the weather forecast", known, f"{unit.signed(parts.weather_kwh)} {unit.name}"),
        Fact("Due to the model", other, f"{unit.signed(parts.model_kwh)} {unit.name}"),
        Fact(
            "Weather forecast",
            warm,
            f"mean absolute error {parts.temperature_absolute_error:.1f} °C",
        ),
    ]


def _row(row: dict[str, float | None], unit: EnergyUnit, clock: Clock) -> tuple[str, ...]:
    def energy(name: str) -> str:
        value = row[name]
        return UNKNOWN if value is None else unit.signed(value)

    percent, degrees = row["weather_percent"], row["temperature_error"]
    return (
        clock.short(row["timestamp"]),  # type: ignore[arg-type]
        unit.text(row["actual"]),
        unit.text(row["predicted"]),
        energy("error_kwh"),
        energy("weather_kwh"),
        energy("model_kwh"),
        UNKNOWN if percent is None else f"{percent:.0f}".replace("-", "\N{MINUS SIGN}"),
        UNKNOWN if degrees is None else f"{degrees:+.1f}".replace("-", "\N{MINUS SIGN}"),
    )
