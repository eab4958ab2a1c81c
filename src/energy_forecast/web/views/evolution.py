"""The evolution of the forecasts for one hour over all issues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from energy_forecast.charts.cards import Card, Link
from energy_forecast.charts.evolution import evolution_card
from energy_forecast.charts.units import energy_unit
from energy_forecast.database.connection import Connection
from energy_forecast.database.history import phase_as_of
from energy_forecast.readings import forecasts
from energy_forecast.readings.facts import consumption
from energy_forecast.web.content import Content, Control, model_control
from energy_forecast.web.state import State
from energy_forecast.web.views.choices import most_common_purpose, purpose_control

_HOUR = timedelta(hours=1)


def evolution(connection: Connection, state: State) -> Content:
    """Return the view. Without an hour: the last hour that has passed."""
    place, clock = state.place, state.clock
    phase = phase_as_of(connection, place.id, state.now)
    at = _hour_of(state.moment("timestamp") or state.now - _HOUR, phase)
    found = forecasts.evolution(connection, place.name, timestamp=at).frame
    found = found.filter(pl.col("issued_at") <= state.now)
    counts = dict(found.group_by("purpose").len().iter_rows())
    purpose = most_common_purpose(state, counts)
    own = found.filter(pl.col("purpose") == purpose)
    names = own["model"].unique().sort().to_list()
    # The one with the most forecasts; more than one model would draw a zigzag
    model = state.model or next(iter(own["model"].value_counts(sort=True)["model"]), "")
    own = own.filter(pl.col("model") == model).unique("issued_at", keep="last", maintain_order=True)
    actual = _actual(connection, state, at)
    controls = [
        Control("timestamp", f"Hour ({clock.name})", f"{clock.local(at):%Y-%m-%dT%H:%M}", kind="datetime-local"),
        purpose_control(purpose, counts),
        model_control(state, names, "the one with the most forecasts"),
    ]
    steps = [("An hour before", at - _HOUR), ("An hour later", at + _HOUR), ("A day before", at - 24 * _HOUR)]
    links = [Link(text, state.url("/evolution", timestamp=one, purpose=purpose)) for text, one in steps]
    title = f"Forecasts of {place.name} for {clock.text(at)}"
    if own.is_empty():
        text = f"No {purpose} forecast of this hour was issued. Choose another hour or purpose."
        return Content(title, text, [Card("Other hours", "Forecasts of neighbouring hours.", links=links)], controls)
    card = evolution_card(
        own, clock=clock, timestamp=at, actual=actual, data=state.data("/v1/cities/{city}/evolution", timestamp=at)
    )
    cards = [card, Card("Other hours", "Forecasts of neighbouring hours.", links=links)]
    return Content(title, _sentence(own, actual, purpose), cards, controls)


def _sentence(own: pl.DataFrame, actual: float | None, purpose: str) -> str:
    """Return how the forecast changed, and whether the last one was better."""
    first, last = own.row(0, named=True), own.row(-1, named=True)
    unit = energy_unit(max(first["predicted"], last["predicted"]))
    if own.height == 1:
        text = f"The only {purpose} forecast, {first['lead_hours']:.0f} h ahead, was "
        text += f"{unit.text(first['predicted'])} {unit.name}."
    else:
        text = _change(own, purpose)
    if actual is None:
        return f"{text} The load is not known yet."
    if actual == 0:
        return f"{text} The load was 0 {unit.name}."
    errors = dict.fromkeys(_percent(one["predicted"] / actual - 1) for one in (first, last))
    error = " and ".join(errors)
    return f"{text} The load was {unit.text(actual)} {unit.name}: forecast minus load {error}."


def _percent(share: float) -> str:
    return f"{'+' if share >= 0 else chr(0x2212)}{abs(100 * share):.1f} %"


def _change(own: pl.DataFrame, purpose: str) -> str:
    """Return how the forecast changed."""
    first, last = own.row(0, named=True), own.row(-1, named=True)
    unit = energy_unit(max(first["predicted"], last["predicted"]))
    return (
        f"The first of {own.height} {purpose} forecasts, {first['lead_hours']:.0f} h ahead, was "
        f"{unit.text(first['predicted'])} {unit.name}; the last one, {last['lead_hours']:.0f} h ahead, "
        f"{unit.text(last['predicted'])} {unit.name}."
    )


def _actual(connection: Connection, state: State, at: datetime) -> float | None:
    """Return the load of the hour, if all of it is known."""
    if at + _HOUR > state.now:
        return None
    frame = consumption(
        connection, state.place.name, start=at, end=at + _HOUR, as_of=state.as_of, resolution="hour"
    ).frame.filter(pl.col("minutes_known") == pl.col("interval_minutes"))
    return None if frame.is_empty() else float(frame["consumption_kwh"][0])


def _hour_of(moment: datetime, phase: int) -> datetime:
    """Return the start of the city's hour that contains a time: its hours begin `phase` minutes past those of UTC."""
    shifted = moment.astimezone(UTC) - timedelta(minutes=phase)
    return shifted.replace(minute=0, second=0, microsecond=0) + timedelta(minutes=phase)
