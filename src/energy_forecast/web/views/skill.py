"""Skill by lead time: model against model on the same pairs, down to the pairs of a cell."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from typing import Any

import polars as pl

from energy_forecast.charts.cards import Card, Field, Grid, Link
from energy_forecast.charts.error_calendar import signed_percent
from energy_forecast.charts.lead_times import lead_card, lead_sentence, shown_pairs
from energy_forecast.charts.units import energy_unit
from energy_forecast.database.connection import Connection
from energy_forecast.forecasting.evaluation.leads import COMMON
from energy_forecast.forecasting.hours import LEAD_STEPS
from energy_forecast.pipelines.labels import PURPOSE_LABELS, WEATHER_LABELS, condition_label
from energy_forecast.readings.errors import errors, errors_by_lead
from energy_forecast.readings.forecasts import Purpose
from energy_forecast.readings.runs import models
from energy_forecast.web.content import Content, Control, as_of_control, model_control, window_control
from energy_forecast.web.state import State
from energy_forecast.web.views.choices import based_on, empty_card, purpose_control, read_purpose
from energy_forecast.web.views.windows import window_of

_WINDOWS = (7, 14, 35, 91, 182, 365)
_MOST_ROWS = 200


def skill(connection: Connection, state: State) -> Content:
    """Return the view."""
    place, days = state.place, state.days(35)
    first, end = window_of(state, days)
    against = state.query.get("against")
    names = models(connection).frame["model"].unique().to_list()
    chosen = list(dict.fromkeys(one for one in (state.model, against) if one)) if state.model else None

    def read(purpose: Purpose) -> pl.DataFrame:
        return errors_by_lead(
            connection, place.name, models=chosen, purpose=purpose, start=first, end=end, as_of=state.as_of
        ).frame

    purpose, rows = read_purpose(state, read, lambda found: int(found["pair_count"].sum()))
    controls = [
        model_control(state, names, "all models"),
        Control(
            "against",
            "Against",
            against or "",
            [("", "none"), *((one, one) for one in sorted({*names, *([against] if against else [])}))],
        ),
        purpose_control(purpose),
        window_control(days, _WINDOWS),
        as_of_control(state),
    ]
    title = f"Skill by lead time of {place.name}"
    kept: dict[str, object] = {"model": state.model, "against": against, "window": days}
    if rows.is_empty():
        sentence = f"No {PURPOSE_LABELS[purpose]} of the last {days} days have observed load yet."
        return Content(title, sentence, [empty_card(state, "/skill", purpose, **kept)], controls)
    groups = [part for _, part in rows.group_by("weather", "assumptions", maintain_order=True)]
    groups.sort(key=lambda part: (-part["model"].n_unique(), -int(part["pair_count"].sum())))
    data = state.data(
        "/v1/cities/{city}/errors/by-lead",
        models=None if chosen is None else ",".join(chosen),
        **{"purpose": purpose, "from": first, "to": end, "as_of": state.as_of},
    )
    cards = []
    for part in groups:
        weather, conditions = str(part["weather"][0]), str(part["conditions"][0])
        url = partial(_cell_url, state, kept | {"purpose": purpose, "weather": weather, "conditions": conditions})
        is_alone = sum(one["weather"][0] == weather for one in groups) == 1
        label = WEATHER_LABELS[weather] if is_alone else condition_label(weather, json.loads(part["assumptions"][0]))
        cards.append(
            lead_card(part, title=f"Errors {label}", conditions=_conditions(part, purpose), data=data, url=url)
        )
    cell = _cell(connection, state, groups, purpose, first, end)
    notes = ["Forecasts issued in time, replays and backtests, and forecasts with different weather are never mixed."]
    sentence = f"{based_on(purpose)} {lead_sentence(groups[0])}"
    return Content(title, sentence, [*([] if cell is None else [cell]), *cards], controls, notes)


def _conditions(part: pl.DataFrame, purpose: Purpose) -> str:
    assumptions = json.loads(part["assumptions"][0])
    return f"Counted: {PURPOSE_LABELS[purpose]}, {condition_label(str(part['weather'][0]), assumptions)}."


def _cell_url(state: State, kept: dict[str, object], model: str, start: int) -> str:
    return state.url("/skill", **(kept | {"of": model, "lead": start}))


def _cell(
    connection: Connection, state: State, groups: list[pl.DataFrame], purpose: Purpose, first: datetime, end: datetime
) -> Card | None:
    """Return the pairs of the cell of the URL; None without one."""
    model, lead, weather = state.query.get("of"), state.query.get("lead"), state.query.get("weather")
    if model is None or lead is None:
        return None
    start = int(state.number("lead", 0))
    stop = dict(LEAD_STEPS).get(start)
    asked = weather, state.query.get("conditions")
    part = next((one for one in groups if (one["weather"][0], one["conditions"][0]) == asked), groups[0])
    which, shown = shown_pairs(part)
    row = shown.filter(model=model, lead_start_hours=start)
    if stop is None or row.is_empty():
        return Card("Pairs", f"There is no cell of {model} from {lead} h on with these choices.")
    others = [one for one in shown["model"].unique().sort() if one != model] if which == COMMON else []
    weather, conditions = str(part["weather"][0]), str(part["conditions"][0])
    options: dict[str, Any] = {"start": first, "end": end, "as_of": state.as_of, "purpose": purpose, "weather": weather}
    options |= {"conditions": conditions, "issue": "all", "lead_start": start, "lead_end": stop}
    pairs = errors(connection, state.place.name, model=model, **options).frame
    for number, other in enumerate(others):
        theirs = errors(connection, state.place.name, model=other, **options).frame
        columns = theirs.select(
            "issued_at", "timestamp", pl.col("predicted", "error_percent").name.suffix(f"_{number}")
        )
        pairs = pairs.join(columns, on=["issued_at", "timestamp"])
    pairs = pairs.sort(pl.col("error_kwh").abs(), descending=True)
    some = f" The {_MOST_ROWS} with the largest errors are shown." if pairs.height > _MOST_ROWS else ""
    return Card(
        f"Pairs of {model}, {start} to {stop} h ahead",
        f"{pairs.height:,} pairs of forecast and load, the largest error first.{some}",
        table=_pairs_grid(pairs.head(_MOST_ROWS), model, others, state),
        data=state.data(
            "/v1/cities/{city}/errors",
            model=model,
            **{
                "purpose": purpose,
                "weather": weather,
                "conditions": conditions,
                "issue": "all",
                "lead_from": start,
                "lead_to": stop,
            },
            **{"from": first, "to": end, "as_of": state.as_of},
        ),
        links=[Link("Back to all cells", state.url("/skill", against=state.query.get("against"), purpose=purpose))],
    )


def _pairs_grid(pairs: pl.DataFrame, model: str, others: list[str], state: State) -> Grid:
    unit = energy_unit(max(pairs["actual"].to_list(), default=0.0))
    fields = [
        Field("Hour", state.clock.name, is_text=True),
        Field("Issued", state.clock.name, is_text=True),
        Field("Lead time", "h"),
        Field("Load", f"{unit.name} in the hour"),
        Field(model, unit.name),
        Field("Error", "%"),
    ]
    for other in others:
        fields += [Field(other, unit.name), Field("Error", "%")]
    rows: list[list[str | Link]] = []
    for pair in pairs.iter_rows(named=True):
        cells: list[str | Link] = [
            Link(state.clock.text(pair["timestamp"]), state.url("/evolution", timestamp=pair["timestamp"])),
            state.clock.text(pair["issued_at"]),
            f"{pair['lead_hours']:g}",
            unit.text(pair["actual"]),
            unit.text(pair["predicted"]),
            signed_percent(pair["error_percent"]),
        ]
        for number in range(len(others)):
            cells += [unit.text(pair[f"predicted_{number}"]), signed_percent(pair[f"error_percent_{number}"])]
        rows.append(cells)
    return Grid("Pairs of forecast and load", fields, rows, is_shown=True)
