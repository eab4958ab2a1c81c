"""The replay: a slider over all forecasts of a window, each against the observed load."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from energy_forecast.charts.replay import replay_card
from energy_forecast.database.connection import Connection
from energy_forecast.database.history import phase_as_of
from energy_forecast.readings.facts import consumption
from energy_forecast.readings.forecasts import forecasts, vintages
from energy_forecast.web.content import Content, as_of_control, model_control, window_control
from energy_forecast.web.state import State
from energy_forecast.web.views.choices import most_common_purpose, purpose_control

_WINDOWS = (1, 2, 3, 7, 14, 28)
_CONTEXT = timedelta(hours=24)


def replay(connection: Connection, state: State) -> Content:
    """Return the view."""
    place, days = state.place, state.days(3)
    first, end = state.now - timedelta(days=days), state.now + timedelta(seconds=1)
    listed = forecasts(connection, place.name, start=first, end=end, limit=500).frame
    counts = dict(listed.group_by("purpose").len().iter_rows())
    purpose = most_common_purpose(state, counts)
    own = listed.filter(pl.col("purpose") == purpose)
    model = state.model or next(iter(own["model"].value_counts(sort=True)["model"]), None)
    controls = [
        purpose_control(purpose, counts),
        model_control(state, own["model"].unique().to_list(), "the one with the most forecasts"),
        window_control(days, _WINDOWS),
        as_of_control(state),
    ]
    title = f"Replay of {place.name}"
    given = {"purpose": purpose, "model": model}
    found = vintages(connection, place.name, start=first, end=end, purpose=purpose, model=model).frame
    # The chart has the hours of the load as it is known now; a forecast of other intervals has none of them
    is_hour = pl.col("interval_end") - pl.col("timestamp") == timedelta(hours=1)
    found = found.filter(is_hour, pl.col("timestamp").dt.minute() == phase_as_of(connection, place.id, state.now))
    if found.is_empty() or not {"q05", "q95"} <= set(found.columns):
        text = f"No {purpose} forecast was issued in the last {days} days. Choose a longer window or another purpose."
        return Content(title, text, [], controls)
    earliest: datetime = found["timestamp"].min()  # type: ignore[assignment]
    since = earliest - _CONTEXT
    observed = consumption(connection, place.name, start=since, end=end, as_of=state.as_of, resolution="hour").frame
    observed = observed.filter(pl.col("minutes_known") == pl.col("interval_minutes"))
    issues = found.unique("run_id", keep="first", maintain_order=True)["issued_at"]
    card = replay_card(
        found,
        observed.select("timestamp", "consumption_kwh"),
        clock=state.clock,
        urls=[state.url("/forecast", as_of=issued) for issued in issues],
        now=state.now,
        data=state.data("/v1/cities/{city}/vintages", **{"from": first, "to": end}, **given),
    )
    count = "1 forecast" if issues.len() == 1 else f"{issues.len()} forecasts"
    sentence = (
        f"{count} by {model} with purpose {purpose} in the last {days} days. Move the slider, or press Play, to see "
        "each forecast against the observed load."
    )
    return Content(title, sentence, [card], controls)
