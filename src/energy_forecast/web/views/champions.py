"""Champions: the version that serves each city and since when, the tests behind it, and the other models."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid, Link
from energy_forecast.charts.clock import Clock, age_text, seconds_of
from energy_forecast.charts.svg import Axis, Bars, Line, Mark, Plot, Points, time_axis, value_axis
from energy_forecast.charts.units import energy_unit
from energy_forecast.database.connection import Connection
from energy_forecast.readings.scores import promotions, scores
from energy_forecast.web.content import Content, as_of_control
from energy_forecast.web.state import State

_LANE_COLOURS = ("pastday", "gold", "past", "violet", "rose", "temperature", "muted")
_LINE_COLOURS = ("forecast", "past", "temperature", "gold", "violet", "rose", "muted")
# Cities of the time axis; the table has all
_MOST_LANES = 25
_NO_CHAMPION = (
    "No city has a champion yet: `forecast` chooses the model. Compare models by a backtest and promote one: "
    "energy-forecast backtest, energy-forecast model promote."
)


def champions(connection: Connection, state: State) -> Content:
    """Return the view."""
    if state.city is None:
        return Content("Champions", "There is no city that you may see, so there are no champions to show.", [])
    found = promotions(connection).frame
    rows = (found.filter(pl.col("promoted_at") <= state.now) if state.is_past else found).to_dicts()
    for row in rows:
        row["is_present"] = row["replaced_at"] is None or (state.is_past and row["replaced_at"] > state.now)
    present = [row for row in rows if row["is_present"]]
    cards = []
    if rows:
        cards = [_overview(present, state), _history(rows, state)]
    cards += _of_city(connection, [row for row in rows if row["city"] == state.place.name], state)
    title = f"Champion of {state.place.name}"
    return Content(title, _sentence(present, rows, state), cards, [as_of_control(state)])


def _sentence(present: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], state: State) -> str:
    if not present:
        return _NO_CHAMPION
    name = state.place.name
    own = next((row for row in present if row["city"] == name), None)
    if own is None:
        text = f"{name} has no champion, so `forecast` chooses its model."
    else:
        tests = "; ".join(_test(one) for one in _tests(own)) or "no tests"
        how = "by force or by a rollback" if own["is_forced"] else f"because of its tests ({tests})"
        since = state.clock.text(own["promoted_at"])
        text = f"{own['model']} {own['version']} serves {name} since {since}. It was promoted {how}."
    last = max(rows, key=lambda row: row["promoted_at"])
    count = "1 city has a champion" if len(present) == 1 else f"{len(present):,} cities have a champion"
    if last["city"] == name:
        return f"{text} {count}."
    change = f"{last['city']} got {last['model']} {last['version']}, {state.clock.text(last['promoted_at'])}"
    return f"{text} {count}; the last change: {change}."


def _overview(present: Sequence[Mapping[str, Any]], state: State) -> Card:
    fields = [
        Field("City", is_text=True),
        Field("Champion", is_text=True),
        Field("Since", state.clock.name, is_text=True),
        Field("For", is_text=True),
        Field("Promoted by", is_text=True),
        Field("How", is_text=True),
        Field("Tests", "difference of the MAE, p-value", is_text=True),
        Field("Reason", is_text=True),
    ]
    cells = [
        (
            Link(row["city"], state.url("/champions", city=row["city"])),
            f"{row['model']} {row['version']}",
            state.clock.short(row["promoted_at"]),
            age_text(state.now - row["promoted_at"]),
            row["promoted_by"] or "not shown",
            "by force or rollback" if row["is_forced"] else "by its tests",
            "; ".join(_test(one) for one in _tests(row)) or "no tests",
            row["reason"] or "not shown",
        )
        for row in sorted(present, key=lambda row: row["city"])
    ]
    forced = sum(row["is_forced"] for row in present)
    sentence = f"{len(present):,} champions serve; {forced:,} of them were promoted without sufficient tests."
    notes = []
    if any(row["reason"] is None for row in present):
        notes.append("Who promoted a version, and the reason, are shown to the operator only.")
    data = state.data("/v1/champions/history")
    return Card(
        "Champions now", sentence, table=Grid("champions", fields, cells, is_shown=True), data=data, notes=notes
    )


def _history(rows: Sequence[Mapping[str, Any]], state: State) -> Card:
    """Return who served when, a lane for each city."""
    cities = sorted({row["city"] for row in rows})
    chosen = [state.place.name] if state.place.name in cities else []
    lanes = [*chosen, *(city for city in cities if city not in chosen)][:_MOST_LANES]
    drawn = [row for row in rows if row["city"] in lanes]
    models = sorted({row["model"] for row in drawn})
    first = min(row["promoted_at"] for row in drawn)
    # A replay has an earlier time than its promotions
    last = max(state.now, *(row["promoted_at"] + timedelta(hours=1) for row in drawn))
    least = (last - first).total_seconds() / 300
    marks: list[Mark] = []
    for place, model in enumerate(models):
        own = [row for row in drawn if row["model"] == model]
        starts = seconds_of([row["promoted_at"] for row in own])
        ends = seconds_of([row["replaced_at"] or last for row in own])
        marks.append(
            Bars(
                model,
                starts,
                [max(end, start + least) for start, end in zip(starts, ends, strict=True)],
                [lanes.index(row["city"]) + 0.15 for row in own],
                [lanes.index(row["city"]) + 0.85 for row in own],
                _LANE_COLOURS[place % len(_LANE_COLOURS)],
                [_range(row, state.clock) for row in own],
            )
        )
    names = [name if len(name) <= 18 else f"{name[:17]}\N{HORIZONTAL ELLIPSIS}" for name in lanes]
    y = Axis(0, len(lanes), "City", [place + 0.5 for place in range(len(lanes))], names)
    changes = f"{len(rows):,} promotions of {len(cities):,} {'city' if len(cities) == 1 else 'cities'}"
    sentence = f"{changes} since {state.clock.text(first)}."
    x = time_axis(state.clock, first, last)
    height = max(60, 28 * len(lanes))
    plot = Plot(sentence, marks, x, y, height=height, is_downward=True, has_legend=True, left=140)
    fields = [
        Field("City", is_text=True),
        Field("Version", is_text=True),
        Field("From", state.clock.name, is_text=True),
        Field("To", state.clock.name, is_text=True),
        Field("How", is_text=True),
        Field("Promoted by", is_text=True),
        Field("Reason", is_text=True),
    ]
    cells = [
        (
            row["city"],
            f"{row['model']} {row['version']}",
            state.clock.short(row["promoted_at"]),
            "now" if row["is_present"] else state.clock.short(row["replaced_at"]),
            "by force or rollback" if row["is_forced"] else "by its tests",
            row["promoted_by"] or "not shown",
            row["reason"] or "not shown",
        )
        for row in rows
    ]
    notes = [] if len(cities) <= _MOST_LANES else [f"The chart shows {_MOST_LANES} cities, the table all."]
    data = state.data("/v1/champions/history")
    return Card(
        "Champions over time", sentence, [plot.markup()], Grid("champions over time", fields, cells), data, notes
    )


def _of_city(connection: Connection, rows: Sequence[Mapping[str, Any]], state: State) -> list[Card]:
    """Return the tests of the champion of the chosen city, the other models, and how to take it back."""
    present = next((row for row in rows if row["is_present"]), None)
    cards = []
    if present is not None:
        cards.append(_evidence(present))
    others = _beside(connection, None if present is None else present["model"], state)
    if others is not None:
        cards.append(others)
    if present is not None:
        cards.append(_rollback(rows, present))
    return cards


def _evidence(row: Mapping[str, Any]) -> Card:
    title = f"Tests behind {row['model']} {row['version']} in {row['city']}"
    tests = _tests(row)
    if not tests:
        reason = f" Reason: {row['reason']}" if row["reason"] else ""
        return Card(title, f"It was promoted without a test, by force or by a rollback.{reason}")
    measured = [one for one in tests if "mae_kwh" in one]
    unit = energy_unit(max((one["mae_kwh"]["mean_b"] for one in measured), default=0.0))
    fields = [
        Field("Against", is_text=True),
        Field("Result", is_text=True),
        Field("MAE", f"{unit.name} in an hour"),
        Field("MAE of the rival", unit.name),
        Field("Difference", "%"),
        Field("p-value"),
        Field("Issues"),
        Field("Weather", is_text=True),
    ]
    cells = []
    for one in tests:
        mae = one.get("mae_kwh")
        result = "better" if one["is_better"] else "not proven"
        if mae is None:
            cells.append((one["rival"], f"{result}: {one['verdict']}", *[UNKNOWN] * 6))
            continue
        cells.append(
            (
                one["rival"],
                result,
                unit.text(mae["mean_a"]),
                unit.text(mae["mean_b"]),
                _percent(mae["mean_a"], mae["mean_b"]),
                f"{mae['p_value']:.4f}",
                f"{mae['issues']:,}",
                one["weather"],
            )
        )
    better = sum(bool(one["is_better"]) for one in tests)
    sentence = f"It was significantly better than {better} of {len(tests)} rivals: "
    sentence += "; ".join(_test(one) for one in tests) + "."
    notes = ["Paired test of the errors at the same times of issue (p-value one-sided, moving-block bootstrap)."]
    return Card(title, sentence, table=Grid("tests", fields, cells, is_shown=True), notes=notes)


def _beside(connection: Connection, champion: str | None, state: State) -> Card | None:
    """Return the scores of all models of the newest period in which the champion has scores."""
    name = state.place.name
    frame = scores(connection, cities=[name]).frame
    if state.is_past:
        frame = frame.filter(pl.col("recorded_at") <= state.now)
    with_champion = frame if champion is None else frame.filter(pl.col("model") == champion)
    if with_champion.is_empty():
        return None
    rank = pl.col("purpose").replace_strict({"live": 0, "replay": 1, "backtest": 2}, return_dtype=pl.Int32)
    newest = with_champion.sort(rank, -pl.col("period_end").dt.epoch()).row(0, named=True)
    kept = frame.filter(
        pl.col("purpose") == newest["purpose"],
        pl.col("weather") == newest["weather"],
        pl.col("period_start") < newest["period_end"],
        pl.col("period_end") > newest["period_start"],
    ).sort("lead_start_hours", "lead_end_hours", "mae_kwh")
    unit = energy_unit(float(kept["mae_kwh"].max()))  # type: ignore[arg-type]
    leads = kept.select("lead_start_hours", "lead_end_hours").unique(maintain_order=True).rows()
    marks: list[Mark] = []
    models = kept["model"].unique().sort().to_list()
    for model, colour in zip(models, _LINE_COLOURS, strict=False):
        own = {row["lead_start_hours"]: row for row in kept.filter(pl.col("model") == model).iter_rows(named=True)}
        values = [own[start]["mae_kwh"] / unit.kwh if start in own else None for start, _ in leads]
        x = [place + 0.5 for place in range(len(leads))]
        marks += [Line(model, x, values, colour), Points("", x, values, colour)]
    ticks = [place + 0.5 for place in range(len(leads))]
    axis = Axis(0, len(leads), "Lead time, h", ticks, [f"{start} to {end}" for start, end in leads])
    worst = [mark.y for mark in marks if isinstance(mark, Line)]
    y = value_axis(f"MAE, {unit.name} in an hour", *worst, zero=True)
    best = kept.group_by("model").agg((pl.col("mae_kwh") * pl.col("pair_count")).sum() / pl.col("pair_count").sum())
    first = best.sort("mae_kwh", "model").row(0)
    span = f"{state.clock.short(newest['period_start'])} to {state.clock.short(newest['period_end'])}"
    place_of = "the champion" if first[0] == champion else "not the champion"
    sentence = (
        f"{first[0]} ({place_of}) has the smallest error in {name} of {len(models):,} with scores: MAE "
        f"{unit.text(first[1])} {unit.name} in an hour, {span}, purpose {newest['purpose']}."
    )
    fields = [
        Field("Model", is_text=True),
        Field("Version"),
        Field("Role", is_text=True),
        Field("Lead time", "h"),
        Field("MAE", f"{unit.name} in an hour"),
        Field("MAPE", "%"),
        Field("In the 90 % interval", "%"),
        Field("Skill", "against last week"),
        Field("Pairs"),
    ]
    cells = [
        (
            row["model"],
            row["version"],
            "champion" if row["model"] == champion else "challenger",
            f"{row['lead_start_hours']} to {row['lead_end_hours']}",
            unit.text(row["mae_kwh"]),
            _number(row["mape"], 2),
            _number(None if row["coverage_90"] is None else 100 * row["coverage_90"], 1),
            _number(row["skill_naive_168"], 3),
            f"{row['pair_count']:,}",
        )
        for row in kept.iter_rows(named=True)
    ]
    return Card(
        f"Models of the same period in {name}",
        sentence,
        [Plot(sentence, marks, axis, y).markup()],
        Grid("models of the same period", fields, cells),
        state.data("/v1/scores", city=name, purpose=newest["purpose"]),
        links=[Link("Skill by lead time", state.url("/skill"))],
    )


def _rollback(rows: Sequence[Mapping[str, Any]], present: Mapping[str, Any]) -> Card:
    title = f"Take back the champion of {present['city']}"
    if len(rows) < 2:
        return Card(title, f"There is no champion before {present['model']} {present['version']} to return to.")
    command = f"energy-forecast model rollback --city {shlex.quote(present['city'])}"
    return Card(
        title,
        f"An operator makes the champion before it serve again: {command}",
        notes=["The history gets one more row and loses none. A second rollback goes one further back."],
    )


def _tests(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return json.loads(row["evidence"]) if row["evidence"] else []


def _test(one: Mapping[str, Any]) -> str:
    mae = one.get("mae_kwh")
    if mae is None:
        return f"{one['rival']}: not tested"
    return f"{one['rival']}: {_percent(mae['mean_a'], mae['mean_b'])} % (p {mae['p_value']:.4f})"


def _percent(own: float, other: float) -> str:
    return _number(100 * (own / other - 1) if other else None, 1, signed=True)


def _number(value: float | None, digits: int, *, signed: bool = False) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:{'+' if signed else ''},.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _range(row: Mapping[str, Any], clock: Clock) -> str:
    end: datetime | None = row["replaced_at"]
    until = "now" if row["is_present"] or end is None else clock.text(end)
    return f"{row['city']}: {row['model']} {row['version']}, {clock.text(row['promoted_at'])} to {until}"
