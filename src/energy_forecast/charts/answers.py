"""Pages for the results of common queries: one HTML file each, which opens without a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from energy_forecast.charts.figures import Figure, Section, as_table, label, write_figures
from energy_forecast.charts.units import EnergyUnit, energy_unit

AnswerKind = Literal["hours", "days", "temperatures"]
Row = Mapping[str, Any]

TICKS = 12
"""The number of ticks that fit, approximately."""


@dataclass(frozen=True)
class _Kind:
    """The layout of rows in chart and table: values, positions, and which rows are incomplete."""

    title: str
    note: str
    first: str
    energy: str
    x_title: str
    per: str
    label: Callable[[Row], str]
    tick: Callable[[Row], str]
    span: Callable[[int, Row], tuple[float, float]]
    whole: Callable[[Row], bool]
    known: Callable[[Row], str]
    on_scale: bool = False
    """Whether positions are numbers of a scale, which has its own round numbers."""


_KINDS: dict[AnswerKind, _Kind] = {
    "hours": _Kind(
        "Recent consumption",
        "kWh of each hour, in local time of {zone}. Incomplete hours are pale.",
        "Hour",
        "total_consumption",
        "Local time, {zone}",
        "hour",
        lambda row: str(row["local_hour"]),
        lambda row: str(row["local_hour"])[5:16],
        lambda place, _: (place, 1),
        lambda row: row["minutes_known"] == 60,
        lambda row: f"{row['minutes_known']} of 60 min",
    ),
    "days": _Kind(
        "Recent consumption",
        "kWh of each day of {zone}: 23, 24 or 25 hours. Incomplete days are pale.",
        "Day",
        "total_consumption",
        "Local day, {zone}",
        "day",
        lambda row: f"{row['local_date']:%a %Y-%m-%d}",
        lambda row: f"{row['local_date']:%m-%d}",
        lambda place, _: (place, 1),
        lambda row: bool(row["is_complete"]),
        lambda row: f"{row['hours_known'].normalize():f} of {row['hours'].normalize():f} h",
    ),
    "temperatures": _Kind(
        "Consumption by temperature",
        "Mean consumption of the hours of each temperature bin; only complete hours with weather. Means of fewer than "
        "10 hours are pale.",
        "Temperature",
        "avg_consumption",
        "Temperature, °C",
        "hour",
        lambda row: f"{row['temperature'].normalize():f} to {row['temperature_end'].normalize():f} °C",
        lambda row: f"{row['temperature'].normalize():f}",
        lambda _, row: (float(row["temperature"]), float(row["temperature_end"] - row["temperature"])),
        lambda row: row["sample_count"] >= 10,
        lambda row: f"{row['sample_count']:,} hours",
        on_scale=True,
    ),
}


def write_answer_page(path: Path, kind: AnswerKind, rows: Sequence[Row], *, city: str, timezone: str) -> None:
    """Write the page, all at once.

    Args:
        rows: as `database.reports` returns them; if there are none, the page reports it.
        city, timezone: shown unchanged; they may have any characters.
    """
    how = _KINDS[kind]
    energies = [float(row[how.energy]) for row in rows if row[how.energy] is not None]
    unit = energy_unit(max(energies, default=math.nan))
    note = how.note.format(zone=timezone) if rows else "No data is available for the requested span."
    title = f"{how.title} of {city}"
    write_figures(
        path,
        [Section("", [_bars(how, rows, unit, timezone, title)] if rows else [], tail=_table(how, rows, unit, title))],
        title=title,
        notes=[note],
    )


def _bars(how: _Kind, rows: Sequence[Row], unit: EnergyUnit, timezone: str, title: str) -> Figure:
    """Return the bars. Time zones are resolved here: x is a position, and its label is local time."""
    spans = [how.span(place, row) for place, row in enumerate(rows)]
    every = max(1, math.ceil(len(rows) / TICKS))
    ticks = {
        "tickvals": [start for start, _ in spans[::every]],
        "ticktext": [how.tick(row) for row in rows[::every]],
    }
    if how.on_scale and every > 1:
        # With every second or third bin, the labels would be odd numbers
        ticks = {}
    bars = {
        "type": "bar",
        "x": [start for start, _ in spans],
        "width": [width for _, width in spans],
        "offset": 0,
        "y": [None if row[how.energy] is None else float(row[how.energy]) / unit.kwh for row in rows],
        "customdata": [
            label(f"{how.label(row)}: {_energy(row[how.energy], unit)} {unit.name}, {how.known(row)}") for row in rows
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        # Incomplete hours and days are pale
        "marker": {"color": ["--forecast" if how.whole(row) else "--band80" for row in rows]},
    }
    layout = {
        "showlegend": False,
        "bargap": 0,
        "hovermode": "x",
        "xaxis": {
            "zeroline": False,
            "title": {"text": label(how.x_title.format(zone=timezone)), "standoff": 10},
            **ticks,
            "range": [spans[0][0], sum(spans[-1])],
        },
        "yaxis": {
            "fixedrange": True,
            "rangemode": "tozero",
            "title": {"text": f"Consumption, {unit.name} per {how.per}", "standoff": 8},
        },
    }
    return Figure(f"{title}. The table below has the values.", [bars], layout)


def _table(how: _Kind, rows: Sequence[Row], unit: EnergyUnit, title: str) -> str:
    return as_table(
        [how.first, f"Consumption, {unit.name} per {how.per}", "Based on"],
        [(how.label(row), _energy(row[how.energy], unit), how.known(row)) for row in rows],
        name=title,
        shown=True,
    )


def _energy(value: Any, unit: EnergyUnit) -> str:
    return "\N{EN DASH}" if value is None else unit.text(float(value))
