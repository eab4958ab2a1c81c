"""Peaks: how sure the highest load of the coming days is, and whether it exceeds a threshold."""

from __future__ import annotations

import polars as pl

from energy_forecast.charts.peaks import peak_card, peak_sentence
from energy_forecast.charts.units import energy_unit
from energy_forecast.database.connection import Connection
from energy_forecast.errors import EnergyForecastError
from energy_forecast.readings.peak_risk import peak_tables
from energy_forecast.readings.runs import models
from energy_forecast.web.content import Content, Control, as_of_control, model_control
from energy_forecast.web.state import State

_FEWEST_HOURS = 4


def peaks(connection: Connection, state: State) -> Content:
    """Return the view. Tomorrow is first: today's peak may have passed."""
    place, clock = state.place, state.clock
    given = state.query.get("threshold")
    wanted = _threshold(given)
    risk, hours = peak_tables(
        connection, place.name, as_of=state.as_of, model=state.model, purpose=state.purpose, thresholds=wanted
    )
    # The end of a horizon may have an hour of a day, whose peak is elsewhere
    counts = hours.frame.group_by("day").len().filter(pl.col("len") >= _FEWEST_HOURS)["day"].to_list()
    today = clock.local(state.now).date()
    days = sorted((day for day in risk.frame["day"].unique() if day in counts), key=lambda day: (day <= today, day))
    data = {
        "as_of": state.as_of,
        "model": state.model,
        "purpose": state.other_purpose,
        "thresholds": wanted and f"{wanted[0]:.0f}",
    }
    parts = [(risk.frame.filter(day=day), hours.frame.filter(day=day)) for day in days]
    cards = [
        peak_card(own, own_hours, clock, state.data("/v1/cities/{city}/peaks/risk", **data)) for own, own_hours in parts
    ]
    controls = [
        Control("threshold", "Threshold, kWh per hour", given or "", hint="5,000,000"),
        model_control(state, models(connection).frame["model"].to_list()),
        as_of_control(state),
    ]
    notes = [
        f"From the forecast that was issued {clock.text(risk.facts['issued_at'])}. Relation of the errors of hours: "
        f"{risk.facts['relation']}. Today counts with the hours that the forecast covers.",
    ]
    sentence = peak_sentence(*parts[0], clock) if parts else "The forecast in use has no whole day ahead."
    if wanted and parts:
        row = parts[0][0].row(0, named=True)
        unit = energy_unit(row["threshold_kwh"])
        if row["probability"] is not None:
            sentence += (
                f" It exceeds {unit.text(row['threshold_kwh'])} {unit.name} with {100 * row['probability']:.0f} % "
                "probability."
            )
    return Content(f"Peaks of {place.name}", sentence, cards, controls, notes, refresh=300)


def _threshold(text: str | None) -> list[float] | None:
    """Return the threshold of the URL.

    Raises:
        EnergyForecastError: it is no positive number.
    """
    if text is None:
        return None
    try:
        found = float(text.replace(",", "").replace(" ", ""))
    except ValueError:
        found = 0.0
    if not 0 < found < 1e12:
        raise EnergyForecastError(f"`threshold` is {text!r}.", hint="Give kWh per hour, such as 5,000,000.")
    return [found]
