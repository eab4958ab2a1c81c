"""All cities of the reader at this moment, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid, Link, Tile
from energy_forecast.charts.clock import Clock, age_text, seconds_of
from energy_forecast.charts.svg import Band, Line, Mark, Plot, Rule, time_axis, value_axis
from energy_forecast.charts.units import EnergyUnit, energy_unit
from energy_forecast.database.connection import Connection
from energy_forecast.pipelines.fallback import FALLBACK_LEVELS
from energy_forecast.readings.facts import consumption
from energy_forecast.readings.forecasts import live_forecast
from energy_forecast.readings.overview import overview
from energy_forecast.tables import UTC_TIME
from energy_forecast.web.content import Content, as_of_control
from energy_forecast.web.state import State

# Beyond these ages a dispatcher should know
_OLD_LOAD, _OLD_FORECAST = timedelta(hours=6), timedelta(hours=26)
_AROUND = timedelta(hours=24)
_MOST_TILES = 12
_FIELDS = (
    Field("City", is_text=True),
    Field("Attention", is_text=True),
    Field("Hour", "local", is_text=True),
    Field("Load", "in the hour"),
    Field("Forecast", "in the hour"),
    Field("Error", "% of the load"),
    Field("Next peak", "of 24 hours"),
    Field("90 % interval", "of the load then"),
    Field("Peak at", "local", is_text=True),
    Field("Age", "of the load"),
    Field("Age", "of the forecast"),
)


def now(connection: Connection, state: State) -> Content:
    """Return the view."""
    rows = overview(connection, as_of=state.as_of, purpose=state.purpose).frame.to_dicts()
    for row in rows:
        row["attention"] = _attention(row, state.now)
    rows.sort(key=lambda row: (-len(row["attention"]), -abs(row["error_percent"] or 0), row["city"]))
    tiles = [_tile(connection, state, row) for row in rows[:_MOST_TILES]]
    table = Grid("All cities", _FIELDS, [_cells(row, state) for row in rows], is_shown=True)
    card = Card(
        title="Cities, worst first",
        sentence="Load and forecast of the last complete hour, and the highest forecast of the next 24 hours. "
        "The forecast is the one that was in use when the hour began.",
        table=table,
        data=state.data("/v1/overview", as_of=state.as_of),
    )
    more = f" of the {_MOST_TILES} first of {len(rows):,} cities" if len(rows) > _MOST_TILES else ""
    charts = Card(
        title="The last day and the next",
        sentence=f"Observed load (line), forecast (dashed) and its 90 % interval (band){more}. Vertical: now.",
        tiles=tiles,
    )
    cards = [charts, card] if rows else []
    return Content("Now", _sentence(rows), cards, [as_of_control(state)], refresh=60)


def _tile(connection: Connection, state: State, row: Mapping[str, Any]) -> Tile:
    """Return the chart of a city."""
    clock, name = Clock(row["timezone"]), row["city"]
    first, end = state.now - _AROUND, state.now + _AROUND
    seen = consumption(connection, name, start=first, end=state.now, as_of=state.as_of, resolution="hour").frame
    seen = seen.filter(pl.col("minutes_known") == pl.col("interval_minutes"))
    ahead = pl.DataFrame(schema={"timestamp": UTC_TIME, "predicted": pl.Float64})
    if row["issued_at"] is not None:
        found = live_forecast(connection, name, as_of=state.as_of, purpose=state.purpose, levels=[0.05, 0.95]).frame
        ahead = found.filter(pl.col("interval_end") > first, pl.col("timestamp") < end)
    values = [*seen["consumption_kwh"], *(ahead["q95"] if "q95" in ahead.columns else ahead["predicted"])]
    unit = energy_unit(max(values, default=0.0))
    marks: list[Mark] = []
    x = seconds_of(ahead["timestamp"].to_list())
    axis_values = [unit.numbers(seen["consumption_kwh"]), unit.numbers(ahead["predicted"])]
    if {"q05", "q95"} <= set(ahead.columns):
        low, high = unit.numbers(ahead["q05"]), unit.numbers(ahead["q95"])
        marks.append(Band("90 % interval", x, low, high, "band80"))
        axis_values += [low, high]
    marks.append(Line("forecast", x, unit.numbers(ahead["predicted"]), "forecast", dashed=True))
    marks.append(Line("observed", *_with_gaps(seen, unit), "measured"))
    marks.append(Rule(state.now.timestamp()))
    plot = Plot(
        f"Load of {name} from {clock.short(first)} to {clock.short(end)} in {unit.name} per hour.",
        marks,
        replace(time_axis(clock, first, end, 4), title=""),
        value_axis(f"{unit.name} per hour", *axis_values),
        height=120,
        has_legend=False,
    )
    return Tile(Link(name, state.url("/forecast", city=name)), plot.markup(), "; ".join(row["attention"]))


def _with_gaps(seen: pl.DataFrame, unit: EnergyUnit) -> tuple[list[float], list[float | None]]:
    """Return the line of the load, which missing hours cut."""
    if seen.is_empty():
        return [], []
    hours = pl.datetime_range(seen["timestamp"][0], seen["timestamp"][-1], "1h", time_unit="us", eager=True)
    frame = pl.DataFrame({"timestamp": hours}).join(seen, on="timestamp", how="left", maintain_order="left")
    return seconds_of(frame["timestamp"].to_list()), unit.numbers(frame["consumption_kwh"])


def _attention(row: Mapping[str, Any], at: datetime) -> list[str]:
    """Return what needs attention, in words."""
    found = []
    if row["known_until"] is None:
        found.append("no load for 3 days")
    elif at - row["known_until"] > _OLD_LOAD:
        found.append(f"no load for {age_text(at - row['known_until'])}")
    if row["issued_at"] is None:
        found.append("no forecast")
    elif at - row["issued_at"] > _OLD_FORECAST:
        found.append("old forecast")
    elif row["peak_at"] is None:
        found.append("the forecast has ended")
    if row["fallback_level"]:
        found.append(f"served by fallback: {FALLBACK_LEVELS[row['fallback_level']]}")
    if _is_outside(row):
        found.append("load outside the 90 % interval")
    return found


def _is_outside(row: Mapping[str, Any]) -> bool:
    values = row["predicted_low"], row["actual"], row["predicted_high"]
    return None not in values and not values[0] <= values[1] <= values[2]


def _cells(row: Mapping[str, Any], state: State) -> list[str | Link]:
    clock = Clock(row["timezone"])
    sizes = [row[name] for name in ("actual", "predicted", "peak_kwh") if row[name] is not None]
    unit = energy_unit(max(sizes, default=0.0))
    error = row["error_percent"]
    sign = "+" if error is not None and error >= 0 else "\N{MINUS SIGN}"
    interval = UNKNOWN
    if row["peak_low"] is not None and row["peak_high"] is not None:
        interval = f"{unit.text(row['peak_low'])} to {_energy(row['peak_high'], unit)}"
    return [
        Link(row["city"], state.url("/forecast", city=row["city"])),
        "; ".join(row["attention"]) or "none",
        _time(row["timestamp"], clock),
        _energy(row["actual"], unit),
        _energy(row["predicted"], unit),
        UNKNOWN if error is None else f"{sign}{abs(error):.1f}",
        _energy(row["peak_kwh"], unit),
        interval,
        _time(row["peak_at"], clock),
        _age(row["known_until"], state.now),
        _age(row["issued_at"], state.now),
    ]


def _energy(kwh: float | None, unit: EnergyUnit) -> str:
    return UNKNOWN if kwh is None else f"{unit.text(kwh)} {unit.name}"


def _time(moment: datetime | None, clock: Clock) -> str:
    return UNKNOWN if moment is None else f"{clock.short(moment)} {clock.abbreviation(moment)}"


def _age(since: datetime | None, at: datetime) -> str:
    return UNKNOWN if since is None else age_text(at - since)


def _sentence(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return (
            "There is no city that you may see. An operator adds one and grants it: energy-forecast city add, "
            "energy-forecast user grant."
        )
    worrying = [row for row in rows if row["attention"]]
    count = "1 city" if len(rows) == 1 else f"{len(rows):,} cities"
    text = f"{count}: none needs attention."
    if worrying:
        first = worrying[0]
        need = "needs" if len(worrying) == 1 else "need"
        text = f"{count}, {len(worrying):,} {need} attention. {first['city']}: {'; '.join(first['attention'])}."
    errors = [row for row in rows if row["error_percent"] is not None]
    if not errors:
        return text
    worst = max(errors, key=lambda row: abs(row["error_percent"]))
    size = f"{abs(worst['error_percent']):.1f} % too {'high' if worst['error_percent'] >= 0 else 'low'}"
    at = Clock(worst["timezone"]).text(worst["timestamp"])
    return f"{text} Largest error of the last hour: the forecast of {worst['city']} was {size}, {at}."
