"""Choices that several views share: the purpose of the forecasts, and the model."""

from __future__ import annotations

from typing import get_args

from energy_forecast.charts.cards import Card, Link
from energy_forecast.database.connection import Connection
from energy_forecast.readings.forecasts import Purpose, forecasts
from energy_forecast.web.content import Control
from energy_forecast.web.state import State

PURPOSES: dict[Purpose, str] = {
    "live": "issued in time",
    "replay": "issued later for a past time",
    "backtest": "backtests",
}
_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def purpose_of(connection: Connection, state: State) -> Purpose:
    """Return the purpose of the URL, or the first one of which the city has a forecast."""
    given = state.query.get("purpose")
    if given is not None:
        state.text("purpose", given, _PURPOSES)
        return next(one for one in _PURPOSES if one == given)
    return next((one for one in (state.purpose, *_PURPOSES) if _last_model(connection, state, one)), state.purpose)


def model_of(connection: Connection, state: State, purpose: Purpose) -> str | None:
    """Return the model of the URL, or that of the last forecast of a purpose; None without one."""
    return state.model or _last_model(connection, state, purpose)


def _last_model(connection: Connection, state: State, purpose: Purpose) -> str | None:
    rows = forecasts(connection, state.place.name, end=state.as_of, purpose=purpose, limit=1).frame
    return None if rows.is_empty() else str(rows["model"][0])


def purpose_control(purpose: Purpose) -> Control:
    """Return the choice of the purpose."""
    return Control("purpose", "Forecasts", purpose, list(PURPOSES.items()))


def empty_card(state: State, path: str, purpose: Purpose, **kept: object) -> Card:
    """Return a card for a view without pairs, with links to the other purposes and the forecast."""
    others = [one for one in _PURPOSES if one != purpose]
    links = [Link(f"Forecasts {PURPOSES[one]}", state.url(path, purpose=one, **kept)) for one in others]
    return Card(
        "No pairs of forecast and load",
        "A forecast counts when the load of its hours has arrived. Issue forecasts: energy-forecast forecast. Add the "
        "load: energy-forecast ingest consumption FILE. Or choose a longer window, or other forecasts:",
        links=links,
    )
