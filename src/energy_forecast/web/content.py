"""The content of a view, and the choices that it offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from energy_forecast.charts.cards import Card
from energy_forecast.database.connection import Connection
from energy_forecast.web.state import State


@dataclass(frozen=True)
class Control:
    """A choice of a view, which becomes a parameter of its URL.

    Args:
        name: of the parameter.
        title: its label.
        value: the present one, as text.
        choices: values and their texts; None for a field of an input.
        kind: of the input: text, number, date, datetime-local, range or hidden.
        hint: an example.
    """

    name: str
    title: str
    value: str = ""
    choices: Sequence[tuple[str, str]] | None = None
    kind: str = "text"
    hint: str = ""


@dataclass(frozen=True)
class Content:
    """The content of a view.

    Args:
        title: the heading.
        sentence: answers the question for which the view is opened.
        cards: charts and tables.
        controls: choices beyond the city.
        notes: remarks at the end.
        refresh: seconds after which the page reads again; None if it does not.
    """

    title: str
    sentence: str
    cards: Sequence[Card]
    controls: Sequence[Control] = ()
    notes: Sequence[str] = ()
    refresh: int | None = None


@dataclass(frozen=True)
class View:
    """A view.

    Args:
        path: of its URL.
        title: in the navigation.
        build: reads with the rights of the user, and returns the content.
        of_city: whether it shows one city.
    """

    path: str
    title: str
    build: Callable[[Connection, State], Content]
    of_city: bool = True


def as_of_control(state: State) -> Control:
    """Return the choice of the time at which values had to be known."""
    shown = f"{state.clock.local(state.now):%Y-%m-%dT%H:%M}" if state.is_past else ""
    return Control("as_of", f"As of ({state.clock.name})", shown, kind="datetime-local")


def window_control(value: int, days: Sequence[int]) -> Control:
    """Return the choice of the window in days."""
    choices = sorted({*days, value})
    texts = [(str(one), "1 day" if one == 1 else f"{one} days") for one in choices]
    return Control("window", "Window", str(value), texts)


def model_control(state: State, models: Sequence[str], default: str = "the one that serves") -> Control:
    """Return the choice of the model."""
    names = sorted({*models, *([state.model] if state.model else [])})
    return Control("model", "Model", state.model or "", [("", default), *((name, name) for name in names)])
