"""All cities of the reader at this moment, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid, Link
from energy_forecast.charts.clock import Clock, age_text
from energy_forecast.charts.units import EnergyUnit, energy_unit
from energy_forecast.database.connection import Connection
from energy_forecast.readings.overview import overview
from energy_forecast.web.content import Content, as_of_control
from energy_forecast.web.state import State

# Beyond these ages a dispatcher should know
_OLD_LOAD, _OLD_FORECAST = timedelta(hours=6), timedelta(hours=26)
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
    Field("Load is", "old"),
    Field("Forecast is", "old"),
    Field("Model", is_text=True),
)


def now(connection: Connection, state: State) -> Content:
    """Return the view."""
    rows = overview(connection, as_of=state.as_of).frame.to_dicts()
    for row in rows:
        row["attention"] = _attention(row, state.now)
    rows.sort(key=lambda row: (-len(row["attention"]), -abs(row["error_percent"] or 0), row["city"]))
    table = Grid("All cities", _FIELDS, [_cells(row, state) for row in rows], is_shown=True)
    card = Card(
        title="Cities, worst first",
        sentence="Load and forecast of the last complete hour, and the highest forecast of the next 24 hours. "
        "The forecast is the one that was in use when the hour began.",
        table=table,
        data=state.data("/v1/overview", as_of=state.as_of),
    )
    return Content("Now", _sentence(rows), [card] if rows else [], [as_of_control(state)], refresh=60)


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
        found.append(f"fallback level {row['fallback_level']}")
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
        UNKNOWN if row["model"] is None else f"{row['model']} {row['version']}",
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
