"""Errors by weekday and local hour: a heat map with its table for each city."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid, Link
from energy_forecast.charts.pages import offline_page
from energy_forecast.charts.svg import Axis, Cells, Plot, wide
from energy_forecast.charts.units import energy_unit
from energy_forecast.forecasting.evaluation.breakdown import WEEKDAYS
from energy_forecast.pipelines import ErrorReport
from energy_forecast.pipelines.labels import PURPOSE_LABELS, condition_label

HEAT = tuple(f"heat{step}" for step in range(7))
"""Colours from no error to the largest. The text of a cell can be read on each."""
# A cell with fewer hours is not reported as the one with the largest error
_FEW = 5
_HOURS = range(24)


def errors_page(found: ErrorReport) -> str:
    """Return a page with a card for each city, which opens without a network."""
    cards = []
    for (city,), rows in found.rows.group_by("city", maintain_order=True):
        used = found.conditions.get(str(city))
        conditions = [f"Backtests {condition_label(used['weather'], used['assumptions'])}."] if used else []
        cards.append(weekday_card(str(city), rows, mape=found.mape.get(str(city)), notes=conditions))
    notes = [
        f"Mean absolute percentage error (MAPE) of {PURPOSE_LABELS[found.purpose]} by weekday and local hour. Public "
        "holidays are separate from their weekday.",
        *left_out(found.lacking),
    ]
    return offline_page(f"Errors of {found.model} by weekday and hour", cards, notes=notes)


def left_out(cities: Sequence[str]) -> list[str]:
    """Return a note on the cities without a pair; empty without any."""
    return [f"Left out, because no forecast has an actual: {', '.join(cities)}."] if cities else []


def weekday_card(
    city: str,
    rows: pl.DataFrame,
    *,
    mape: float | None = None,
    title: str | None = None,
    data: str | None = None,
    notes: Sequence[str] = (),
    links: Sequence[Link] = (),
) -> Card:
    """Return the heat map of the errors by weekday and local hour, with its table.

    Args:
        city: its name.
        rows: as `errors_by_weekday` returns them; at least one.
        mape: percent over all hours; None if unknown.
        title: the heading; None: the name of the city.
        data: URL of the same data.
        notes: below the chart.
        links: to other views.
    """
    cells = {(str(row["weekday"]), int(row["local_hour"])): row for row in rows.iter_rows(named=True)}
    days = [day for day in WEEKDAYS if any(key[0] == day for key in cells)]
    sentence = _sentence(city, cells, mape)
    return Card(
        title=city if title is None else title,
        sentence=sentence,
        figures=[wide(_heat_map(cells, days, sentence))],
        table=Grid(
            f"MAPE of {city} by hour and weekday",
            [Field("Hour", is_text=True), *(Field(day, "%") for day in days)],
            [[f"{hour:02}:00", *(_percent(cells.get((day, hour)), 2) for day in days)] for hour in _HOURS],
        ),
        data=data,
        notes=notes,
        links=links,
    )


def _heat_map(cells: dict[tuple[str, int], dict[str, Any]], days: Sequence[str], sentence: str) -> Plot:
    shown = [(days.index(day), hour, row) for (day, hour), row in cells.items()]
    colours = heat_colours([row["mape"] for _, _, row in shown])
    return Plot(
        sentence,
        [
            Cells(
                "MAPE, %",
                x0=[hour for _, hour, _ in shown],
                x1=[hour + 1 for _, hour, _ in shown],
                y0=[day for day, _, _ in shown],
                y1=[day + 1 for day, _, _ in shown],
                colours=colours,
                texts=[_percent(row, 1) for _, _, row in shown],
                labels=[_label(row) for _, _, row in shown],
            )
        ],
        x=Axis(0, 24, "Local hour", [hour + 0.5 for hour in _HOURS], [str(hour) for hour in _HOURS]),
        y=Axis(0, len(days), "MAPE, %", [place + 0.5 for place in range(len(days))], days),
        height=30 * len(days),
        is_downward=True,
        left=100,
    )


def heat_colours(values: Sequence[float | None]) -> list[str]:
    """Return the colour of each cell of a heat map; an unknown value has that of the grid.

    The largest 2 % have the last colour, because one extreme hour would make all others pale.
    """
    known = sorted(value for value in values if value is not None)
    top = known[int(0.98 * (len(known) - 1))] if known else 0.0
    steps = len(HEAT)
    return [
        "grid" if value is None else HEAT[min(steps - 1, int(steps * value / top)) if top > 0 else 0]
        for value in values
    ]


def _sentence(city: str, cells: dict[tuple[str, int], dict[str, Any]], mape: float | None) -> str:
    hours = sum(row["pair_count"] for row in cells.values())
    total = (
        f"MAPE {mape:,.2f} % over {hours:,} hours" if mape is not None and math.isfinite(mape) else f"{hours:,} hours"
    )
    known = [row for row in cells.values() if row["mape"] is not None]
    if not known:
        return f"{city}: {total}; the MAPE is undefined, because every actual is zero."
    worst = max(known, key=lambda row: (row["pair_count"] >= _FEW, row["mape"]))
    enough = f" of a cell with at least {_FEW} hours" if worst["pair_count"] >= _FEW else ""
    return (
        f"{city}: {total}. Largest error{enough}: {worst['weekday']} at {worst['local_hour']:02}:00, "
        f"{worst['mape']:,.2f} %."
    )


def _percent(row: dict[str, Any] | None, digits: int) -> str:
    return UNKNOWN if row is None or row["mape"] is None else f"{row['mape']:,.{digits}f}"


def _label(row: dict[str, Any]) -> str:
    """Return the text at the pointer."""
    unit = energy_unit(max(abs(row["mae_kwh"]), abs(row["bias_kwh"])))
    level = "high" if row["bias_kwh"] > 0 else "low"
    return (
        f"{row['weekday']}, {row['local_hour']:02}:00: MAPE {_percent(row, 2)} %, MAE {unit.text(row['mae_kwh'])} "
        f"{unit.name}, forecast too {level} by {unit.text(abs(row['bias_kwh']))} {unit.name}, 90 % interval covers "
        f"{100 * row['coverage_90']:.0f} %, {row['pair_count']:,} hours"
    )
