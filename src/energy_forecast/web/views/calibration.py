"""Calibration: whether the intervals cover as often as they state."""

from __future__ import annotations

from energy_forecast.charts.certificate import coverage_card, reliability_card, sharpness_card, verdict_sentence
from energy_forecast.database.connection import Connection
from energy_forecast.errors import NotEnoughDataError
from energy_forecast.pipelines.labels import PURPOSE_LABELS, condition_label
from energy_forecast.readings.errors import reliability
from energy_forecast.readings.runs import models
from energy_forecast.readings.scores import certificate
from energy_forecast.web.content import Content, model_control, window_control
from energy_forecast.web.state import State
from energy_forecast.web.views.choices import empty_card, model_of, purpose_control, purpose_of
from energy_forecast.web.views.windows import window_of

_WINDOWS = (28, 91, 182, 365, 730)


def calibration(connection: Connection, state: State) -> Content:
    """Return the view."""
    place, purpose, days = state.place, purpose_of(connection, state), state.days(365)
    model = model_of(connection, state, purpose)
    first, end = window_of(state, days)
    controls = [
        model_control(state, models(connection).frame["model"].to_list(), "the one of the last forecast"),
        purpose_control(purpose),
        window_control(days, _WINDOWS),
    ]
    title = f"Calibration of {place.name}"
    empty = empty_card(state, "/calibration", purpose, window=days)
    if model is None:
        return Content(title, f"{place.name} has no {PURPOSE_LABELS[purpose]} yet.", [empty], controls)
    options = {"model": model, "purpose": purpose, "start": first, "end": end}
    try:
        verdicts = certificate(connection, place.name, **options)  # type: ignore[arg-type]
    except NotEnoughDataError:
        sentence = f"No {PURPOSE_LABELS[purpose]} by {model} of the last {days} days have observed load yet."
        return Content(title, sentence, [empty], controls)
    observed = reliability(connection, place.name, **options)  # type: ignore[arg-type]
    facts = verdicts.facts
    weather = facts["weather"]
    conditions = f", {condition_label(weather, facts['assumptions'])}" if weather and "assumptions" in facts else ""

    def data(name: str) -> str:
        asked = {"model": model, "purpose": purpose, "from": first, "to": end}
        return state.data("/v1/cities/{city}/" + name, **asked)

    rows = verdicts.frame
    cards = [
        coverage_card(place.name, rows, data("certificate")),
        reliability_card(place.name, observed.frame, data("reliability")),
        sharpness_card(rows, data("certificate")),
    ]
    notes = [f"Counted: {PURPOSE_LABELS[purpose]} by {model}, issued in the last {days} days{conditions}."]
    return Content(title, verdict_sentence(rows, model), cards, controls, notes)
