"""The chart of all forecasts for one interval, by lead time."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid
from energy_forecast.charts.clock import Clock, age_text
from energy_forecast.charts.svg import Axis, Band, Line, Mark, Plot, Points, Rule, round_ticks, value_axis
from energy_forecast.charts.units import energy_unit


def evolution_card(frame: pl.DataFrame, *, clock: Clock, timestamp: datetime, actual: float | None, data: str) -> Card:
    """Return the chart.

    Args:
        frame: forecasts of one model and purpose for the interval, in the order of their issue: issued_at, lead_hours,
            predicted, and quantiles (kWh); at least one.
        clock: of the city.
        timestamp: the start of the interval.
        actual: the load in it, kWh; None if it is not known.
        data: URL of the same data.
    """
    values = [*frame["predicted"], *([] if actual is None else [actual])]
    unit = energy_unit(max(values))
    x = [-lead for lead in frame["lead_hours"]]
    marks: list[Mark] = []
    edges = []
    for cover, low, high in ((90, "q05", "q95"), (50, "q25", "q75")):
        if {low, high} <= set(frame.columns):
            edges += [unit.numbers(frame[low]), unit.numbers(frame[high])]
            marks.append(Band(f"{cover} % interval", x, edges[-2], edges[-1], f"band{cover}"))
    predicted = unit.numbers(frame["predicted"])
    hints = [
        f"issued {clock.short(row['issued_at'])}: {unit.text(row['predicted'])} {unit.name}"
        for row in frame.iter_rows(named=True)
    ]
    marks += [Line("forecast", x, predicted, "forecast"), Points("issue", x, predicted, "forecast", hints, radius=3)]
    if actual is not None:
        marks.append(Rule(actual / unit.kwh, f"load {unit.text(actual)}", is_vertical=False, colour="measured"))
    longest = max(1.0, *frame["lead_hours"])
    ticks = [-lead for lead in round_ticks(0, longest, 8)]
    axis = Axis(-longest * 1.02, 0, "Lead time, hours before the interval", ticks, [f"{-tick:g}" for tick in ticks])
    heights = value_axis(f"Forecast, {unit.name}", predicted, *edges, [] if actual is None else [actual / unit.kwh])
    last = frame.row(-1, named=True)
    count = "One forecast" if frame.height == 1 else f"{frame.height} forecasts"
    text = f"{count} for the interval from {clock.text(timestamp)}: {unit.text(frame['predicted'][0])} "
    text += f"{unit.name}" if frame.height == 1 else f"at first, {unit.text(last['predicted'])} {unit.name} at last"
    text += "." if actual is None else f"; the load was {unit.text(actual)} {unit.name}."
    fields = [Field("Issued", clock.name, is_text=True), Field("Lead time", is_text=True), Field("Forecast", unit.name)]
    bounds = [name for name in ("q05", "q25", "q75", "q95") if name in frame.columns]
    fields += [Field(f"{int(name[1:])} % quantile", unit.name) for name in bounds]
    fields += [Field("Error", f"{unit.name}, forecast minus load"), Field("Model", is_text=True)]
    rows = [
        [
            clock.short(row["issued_at"]),
            age_text(timestamp - row["issued_at"]),
            unit.text(row["predicted"]),
            *(unit.text(row[name]) for name in bounds),
            UNKNOWN if actual is None else unit.signed(row["predicted"] - actual),
            f"{row['model']} {row['version']}",
        ]
        for row in frame.iter_rows(named=True)
    ]
    return Card(
        title="Forecasts by lead time",
        sentence=text,
        figures=[Plot(text, marks, axis, heights, 280).markup()],
        table=Grid("forecasts of this interval", fields, rows[::-1]),
        data=data,
    )
