"""Choices that several views share: the purpose of the forecasts, and the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, get_args

from energy_forecast.charts.cards import Card, Link
from energy_forecast.database.connection import Connection
from energy_forecast.pipelines.fallback import DEFAULT_MODEL
from energy_forecast.pipelines.labels import PURPOSE_LABELS
from energy_forecast.readings.forecasts import Purpose, forecasts
from energy_forecast.readings.scores import champions
from energy_forecast.web.content import Control
from energy_forecast.web.state import State

PURPOSES: dict[Purpose, str] = {
    "live": "issued in time",
    "replay": "issued later for a past time",
    "backtest": "backtests",
}
_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
# Live forecasts of some hours show less than the backtests before them
_FEWEST = 24
# One or two forecasts have no replay and no evolution
_FEWEST_ISSUES = 3
Read = TypeVar("Read")


def read_purpose(state: State, read: Callable[[Purpose], Read], count: Callable[[Read], int]) -> tuple[Purpose, Read]:
    """Return the purpose of the URL and what is read of it, or those of the first purpose with at least a day of pairs.

    If no purpose has as many, it is the one with the most.

    Args:
        read: reads the pairs of a purpose.
        count: returns their number.
    """
    given = state.query.get("purpose")
    if given is not None:
        state.text("purpose", given, _PURPOSES)
        chosen = next(one for one in _PURPOSES if one == given)
        return chosen, read(chosen)
    best: tuple[Purpose, Read] | None = None
    for purpose in dict.fromkeys((state.purpose, *_PURPOSES)):
        found = read(purpose)
        if count(found) >= _FEWEST:
            return purpose, found
        if best is None or count(found) > count(best[1]):
            best = purpose, found
    assert best is not None
    return best


def most_common_purpose(state: State, counts: Mapping[str, int]) -> Purpose:
    """Return the purpose of the URL; without one that of the page, or the one with the most if it has too few.

    Args:
        counts: number of forecasts by purpose.
    """
    is_few = counts.get(state.purpose, 0) < _FEWEST_ISSUES and bool(counts)
    usual = max(_PURPOSES, key=lambda one: counts.get(one, 0)) if is_few else state.purpose
    given = state.text("purpose", usual, _PURPOSES)
    return next(one for one in _PURPOSES if one == given)


def models_of(connection: Connection, state: State, purpose: Purpose) -> list[str]:
    """Return the model of the URL; or the champion, without one ensemble, and the model of the last forecast."""
    if state.model is not None:
        return [state.model]
    serving = champions(connection, cities=[state.place.name], as_of=state.as_of).frame["model"].to_list()
    last = forecasts(connection, state.place.name, end=state.as_of, purpose=purpose, limit=1).frame["model"].to_list()
    return list(dict.fromkeys([*(serving or [DEFAULT_MODEL]), *last]))


def based_on(purpose: Purpose) -> str:
    """Return the first words of a page: which forecasts it counts."""
    return f"Based on {PURPOSE_LABELS[purpose]}."


def purpose_control(purpose: Purpose, counts: Mapping[str, int] | None = None) -> Control:
    """Return the choice of the purpose, with the number of forecasts of each if it is given."""
    texts = {one: name if counts is None else f"{name} ({counts.get(one, 0):,})" for one, name in PURPOSES.items()}
    return Control("purpose", "Forecasts", purpose, list(texts.items()))


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
