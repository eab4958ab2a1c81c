"""Calibration: whether the intervals cover as often as they state."""

from __future__ import annotations

from energy_forecast.charts.certificate import coverage_card, reliability_card, sharpness_card, verdict_sentence
from energy_forecast.database.connection import Connection
from energy_forecast.errors import NotEnoughDataError
from energy_forecast.pipelines.labels import PURPOSE_LABELS, condition_label
from energy_forecast.readings.errors import reliability
from energy_forecast.readings.forecasts import Purpose
from energy_forecast.readings.runs import models
from energy_forecast.readings.scores import certificate
from energy_forecast.tables import Table
from energy_forecast.web.content import Content, model_control, window_control
from energy_forecast.web.state import State
from energy_forecast.web.views.choices import based_on, empty_card, models_of, purpose_control, read_purpose
from energy_forecast.web.views.windows import window_of

_WINDOWS = (28, 91, 182, 365, 730)


def calibration(connection: Connection, state: State) -> Content:
    """Return the view."""
    place, days = state.place, state.days(365)
    first, end = window_of(state, days)

    def read(purpose: Purpose) -> Table | None:
        for model in models_of(connection, state, purpose):
            try:
                return certificate(connection, place.name, model=model, purpose=purpose, start=first, end=end)
            except NotEnoughDataError:
                continue
        return None

    purpose, verdicts = read_purpose(
        state, read, lambda found: 0 if found is None else int(found.frame.filter(part="city")["hours"][0])
    )
    controls = [
        model_control(state, models(connection).frame["model"].to_list(), "the one that serves"),
        purpose_control(purpose),
        window_control(days, _WINDOWS),
    ]
    title = f"Calibration of {place.name}"
    if verdicts is None:
        sentence = f"No {PURPOSE_LABELS[purpose]} of the last {days} days have observed load yet."
        return Content(title, sentence, [empty_card(state, "/calibration", purpose, window=days)], controls)
    model = verdicts.facts["model"]
    observed = reliability(connection, place.name, model=model, purpose=purpose, start=first, end=end)
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
    return Content(title, f"{based_on(purpose)} {verdict_sentence(rows, model)}", cards, controls, notes)
