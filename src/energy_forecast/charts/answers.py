"""Results of common queries: recent consumption by hour or day, and consumption by temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid
from energy_forecast.charts.clock import Clock
from energy_forecast.charts.pages import offline_page
from energy_forecast.charts.svg import Axis, Bars, Line, Mark, Plot, time_axis, value_axis
from energy_forecast.charts.units import EnergyUnit, energy_unit

AnswerKind = Literal["hours", "days", "temperatures"]
Row = Mapping[str, Any]

_TICKS = 8
# More bars are narrower than a pixel of a phone
_MOST_BARS = 1000


@dataclass(frozen=True)
class _Kind:
    """The meaning of rows: label, value, span on the x axis, and which rows are incomplete."""

    title: str
    note: str
    pale: str
    first: str
    energy: str
    per: str
    label: Callable[[Row], str]
    span: Callable[[int, Row], tuple[float, float]]
    axis: Callable[[Sequence[Row], Sequence[tuple[float, float]], Clock], Axis]
    is_whole: Callable[[Row], bool]
    basis: Callable[[Row], str]


def _hours_axis(rows: Sequence[Row], _: Sequence[tuple[float, float]], clock: Clock) -> Axis:
    return time_axis(clock, rows[0]["hour"], rows[-1]["hour"] + timedelta(hours=1), _TICKS)


def _days_axis(rows: Sequence[Row], spans: Sequence[tuple[float, float]], clock: Clock) -> Axis:
    every = max(1, math.ceil(len(rows) / _TICKS))
    ticks = [start + 0.5 for start, _ in spans[::every]]
    labels = [f"{row['local_date'].day} {row['local_date']:%b}" for row in rows[::every]]
    return Axis(0, len(rows), f"Local day, {clock.name}", ticks, labels)


def _temperatures_axis(_: Sequence[Row], spans: Sequence[tuple[float, float]], __: Clock) -> Axis:
    # With every second or third bin, the labels would be odd numbers
    ticks = [start for start, _ in spans] if len(spans) <= _TICKS else None
    return Axis(spans[0][0], spans[-1][1], "Temperature, °C", ticks)


_KINDS: dict[AnswerKind, _Kind] = {
    "hours": _Kind(
        "Recent consumption",
        "Load of each hour, in local time of {zone}.",
        "Incomplete hours are pale.",
        "Hour",
        "total_consumption",
        "hour",
        lambda row: str(row["local_hour"]),
        lambda _, row: (row["hour"].timestamp(), row["hour"].timestamp() + 3600),
        _hours_axis,
        lambda row: bool(row["minutes_known"] == 60),
        lambda row: f"{row['minutes_known']} of 60 min",
    ),
    "days": _Kind(
        "Recent consumption",
        "Load of each day of {zone}: 23, 24 or 25 hours.",
        "Incomplete days are pale.",
        "Day",
        "total_consumption",
        "day",
        lambda row: f"{row['local_date']:%a %Y-%m-%d}",
        lambda place, _: (place, place + 1),
        _days_axis,
        lambda row: bool(row["is_complete"]),
        lambda row: f"{row['hours_known'].normalize():f} of {row['hours'].normalize():f} h",
    ),
    "temperatures": _Kind(
        "Consumption by temperature",
        "Mean consumption of the hours of each temperature bin; only complete hours with weather.",
        "Means of fewer than 10 hours are pale.",
        "Temperature",
        "avg_consumption",
        "hour",
        lambda row: f"{row['temperature'].normalize():f} to {row['temperature_end'].normalize():f} °C",
        lambda _, row: (float(row["temperature"]), float(row["temperature_end"])),
        _temperatures_axis,
        lambda row: bool(row["sample_count"] >= 10),
        lambda row: f"{row['sample_count']:,} hours",
    ),
}


def answer_page(kind: AnswerKind, rows: Sequence[Row], *, city: str, timezone: str) -> str:
    """Return a page that opens without a network.

    Args:
        kind: of the query.
        rows: as `database.reports` returns them; if there are none, the page reports it.
        city: shown unchanged; it may have any characters.
        timezone: IANA zone of the city.
    """
    how = _KINDS[kind]
    return offline_page(f"{how.title} of {city}", [_card(how, rows, city, Clock(timezone))])


def _card(how: _Kind, rows: Sequence[Row], city: str, clock: Clock) -> Card:
    if not rows:
        return Card(how.title, f"No data of {city} is available for the requested span.")
    known = [row for row in rows if row[how.energy] is not None]
    energies = [float(row[how.energy]) for row in known]
    unit = energy_unit(max(energies, default=math.nan))
    sentence = f"{city}: no value is known in this span."
    if known:
        highest = max(known, key=lambda row: row[how.energy])
        sentence = (
            f"{city}: highest value {_energy(highest[how.energy], unit)} {unit.name} per {how.per}, "
            f"{how.label(highest)}; lowest {_energy(min(energies), unit)} {unit.name}."
        )
    title = f"Consumption, {unit.name} per {how.per}"
    rows_of_table = [(how.label(row), _energy(row[how.energy], unit), how.basis(row)) for row in rows]
    fields = [Field(how.first, is_text=True), Field("Consumption", f"{unit.name} per {how.per}"), Field("Based on")]
    return Card(
        how.title,
        sentence,
        [_plot(how, rows, unit, clock, sentence, title).markup()],
        Grid(f"{how.title} of {city}", fields, rows_of_table, is_shown=True),
        notes=[f"{how.note.format(zone=clock.name)} {how.pale if len(rows) <= _MOST_BARS else ''}".strip()],
    )


def _plot(how: _Kind, rows: Sequence[Row], unit: EnergyUnit, clock: Clock, sentence: str, title: str) -> Plot:
    spans = [how.span(place, row) for place, row in enumerate(rows)]
    values = unit.numbers(None if row[how.energy] is None else float(row[how.energy]) for row in rows)
    mark: Mark
    if len(rows) > _MOST_BARS:
        mark = Line("consumption", [start for start, _ in spans], values, "forecast", width=1.5)
    else:
        mark = Bars(
            "consumption",
            [start for start, _ in spans],
            [end for _, end in spans],
            [0.0] * len(rows),
            values,
            ["forecast" if how.is_whole(row) else "band80" for row in rows],
            [f"{how.label(row)}: {_energy(row[how.energy], unit)} {unit.name}, {how.basis(row)}" for row in rows],
        )
    return Plot(sentence, [mark], how.axis(rows, spans, clock), value_axis(title, values, zero=True))


def _energy(value: Any, unit: EnergyUnit) -> str:
    return UNKNOWN if value is None else unit.text(float(value)).replace("-", "\N{MINUS SIGN}")
