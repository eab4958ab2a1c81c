"""Runs: the last ones with duration, fallback and failures, requested ones, and when the next issue is expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Fact, Field, Grid, Link
from energy_forecast.charts.clock import age_text
from energy_forecast.charts.svg import Axis, Bars, Mark, Plot, value_axis
from energy_forecast.charts.words import counted
from energy_forecast.database.connection import Connection
from energy_forecast.pipelines.labels import WEATHER_LABELS
from energy_forecast.readings.run_requests import own_requests
from energy_forecast.readings.runs import run_outcomes
from energy_forecast.web.content import Content, Control
from energy_forecast.web.rhythm import Rhythm, rhythm
from energy_forecast.web.state import State

_PURPOSES = ("", "live", "replay", "backtest")
_COUNTS = ("20", "50", "100", "500")
# Cities whose runs are shown without a choice
_MOST_CITIES = 100
# Labels of the chart of runs that fit
_TICKS = 6
_OPEN = ("waiting", "running")


def runs(connection: Connection, state: State) -> Content:
    """Return the view. Without a city in its URL, it shows the runs of all cities of the reader."""
    purpose = state.text("purpose", "", _PURPOSES)
    count = int(state.text("runs", "50", _COUNTS))
    chosen = state.query.get("city")
    cities = [chosen] if chosen is not None else [city.name for city in state.cities[:_MOST_CITIES]]
    controls = [
        Control("city", "City", chosen or "", [("", "all"), *((one.name, one.name) for one in state.cities)]),
        Control("purpose", "Purpose", purpose, [(one, one or "any") for one in _PURPOSES]),
        Control("runs", "Newest runs", str(count), [(one, one) for one in _COUNTS]),
    ]
    if not cities:
        return Content("Runs", "There is no city that you may see, so there are no runs to show.", [], controls)
    found = run_outcomes(connection, cities=cities, purpose=purpose or None, limit=count)  # type: ignore[arg-type]
    rows = (
        found.frame.filter(pl.col("recorded_at") <= state.now).to_dicts() if state.is_past else found.frame.to_dicts()
    )
    requests = own_requests(connection, limit=50).frame.to_dicts()
    issues = _issues(rows, state)
    cards = []
    if issues:
        cards.append(_expected(issues, state))
    if requests:
        cards.append(_requested(requests, state))
    data = state.data("/v1/run-outcomes", city=chosen, purpose=purpose or None, limit=count)
    if rows:
        cards.append(_newest(rows, state, data))
        cards.append(_trouble(rows, state, data))
    notes = [] if chosen or len(state.cities) <= _MOST_CITIES else [f"The first {_MOST_CITIES} cities by name."]
    return Content("Runs", _sentence(rows, issues, requests, state), cards, controls, notes, refresh=30)


def _issues(rows: Sequence[Mapping[str, Any]], state: State) -> dict[str, Rhythm]:
    """Return the rhythm of the live issues of each city; of replays where the clock of the page replays."""
    by_city: dict[str, list[datetime]] = {}
    for row in rows:
        if row["purpose"] == state.purpose and not row["has_failed"]:
            by_city.setdefault(row["city"], []).append(row["issued_at"])
    return {city: rhythm(times, state.now) for city, times in sorted(by_city.items())}


def _sentence(
    rows: Sequence[Mapping[str, Any]],
    issues: Mapping[str, Rhythm],
    requests: Sequence[Mapping[str, Any]],
    state: State,
) -> str:
    if not rows:
        return "No run yet. Issue a forecast: energy-forecast forecast."
    last = rows[0]
    own = [row for row in rows if row["run_id"] == last["run_id"]]
    failed = sum(row["has_failed"] for row in own)
    result = f"{failed:,} of {len(own):,} cities failed" if failed else "no city failed"
    text = (
        f"Last run: {last['model']} {last['version']} ({last['purpose']}), issued "
        f"{state.clock.text(last['issued_at'])}, {WEATHER_LABELS[last['weather']]}, took {_seconds(last)}, {result}."
    )
    late = [city for city, one in issues.items() if one.is_late]
    known = [one for one in issues.values() if one.expected is not None]
    if late:
        text += f" {len(late):,} of {len(issues):,} cities are late: {', '.join(late[:3])}{' ...' if late[3:] else ''}."
    elif known:
        following = min(one.expected for one in known if one.expected is not None)
        text += f" No city is late; the next issue is expected at {state.clock.text(following)}."
    open_ones = sum(one["status"] in _OPEN for one in requests)
    return f"{text} {open_ones:,} requested {'run is' if open_ones == 1 else 'runs are'} open." if open_ones else text


def _expected(issues: Mapping[str, Rhythm], state: State) -> Card:
    fields = [
        Field("City", is_text=True),
        Field("Last issue", state.clock.name, is_text=True),
        Field("Age"),
        Field("Usually every"),
        Field("Next expected", state.clock.name, is_text=True),
        Field("State", is_text=True),
    ]
    ordered = sorted(issues.items(), key=lambda item: (not item[1].is_late, item[0]))
    cells = [
        (
            Link(city, state.url("/forecast", city=city)),
            state.clock.short(one.last),
            age_text(state.now - one.last),
            UNKNOWN if one.every is None else age_text(one.every),
            UNKNOWN if one.expected is None else state.clock.short(one.expected),
            "too few issues" if one.is_late is None else "late" if one.is_late else "in time",
        )
        for city, one in ordered
    ]
    late = sum(bool(one.is_late) for one in issues.values())
    sentence = f"{late:,} of {len(issues):,} cities are late." if late else "The next issue of no city is late."
    return Card(
        "Next issues",
        sentence,
        table=Grid("next issues", fields, cells, is_shown=True),
        notes=[
            "Derived from the median time between the last ten issues, not from a schedule. Late: half of that time "
            "after the expected issue."
        ],
    )


def _requested(requests: Sequence[Mapping[str, Any]], state: State) -> Card:
    fields = [
        Field("Requested", state.clock.name, is_text=True),
        Field("Kind", is_text=True),
        Field("Status", is_text=True),
        Field("Waited"),
        Field("Ran"),
        Field("Id", is_text=True),
    ]
    ordered = sorted(requests, key=lambda one: one["status"] not in _OPEN)
    now = state.now
    cells = []
    for one in ordered:
        begin, end = one["started_at"], one["finished_at"]
        cells.append(
            (
                state.clock.short(one["requested_at"]),
                one["kind"],
                one["status"],
                _span((begin or max(now, one["requested_at"])) - one["requested_at"]),
                UNKNOWN if begin is None else _span((end or max(now, begin)) - begin),
                one["request"],
            )
        )
    by_status = {status: sum(one["status"] == status for one in requests) for status in (*_OPEN, "failed")}
    sentence = ", ".join(f"{count:,} {status}" for status, count in by_status.items())
    return Card(
        "Requested runs",
        f"Of the last {len(requests):,} requested runs: {sentence}.",
        table=Grid("requested runs", fields, cells, is_shown=True),
        data=state.data("/v1/run-requests"),
        notes=["One requested run is worked on at a time; the others wait in their order."],
    )


def _newest(rows: Sequence[Mapping[str, Any]], state: State, data: str) -> Card:
    runs_of: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        runs_of.setdefault(row["run_id"], []).append(row)
    fields = [
        Field("Issued", state.clock.name, is_text=True),
        Field("Model", is_text=True),
        Field("Purpose", is_text=True),
        Field("Weather", is_text=True),
        Field("Cities"),
        Field("Failed"),
        Field("Highest fallback level"),
        Field("Duration"),
        Field("Notes", is_text=True),
    ]
    cells = []
    for own in runs_of.values():
        one = own[0]
        levels = [row["fallback_level"] for row in own if row["fallback_level"] is not None]
        notes = list(dict.fromkeys(note for row in own for note in row["notes"]))
        cells.append(
            (
                state.clock.short(one["issued_at"]),
                f"{one['model']} {one['version']}",
                one["purpose"],
                one["weather"],
                f"{len(own):,}",
                f"{sum(row['has_failed'] for row in own):,}",
                str(max(levels)) if levels else UNKNOWN,
                _seconds(one),
                f"{notes[0]}{f' (and {len(notes) - 1:,} more)' if notes[1:] else ''}" if notes else "none",
            )
        )
    firsts = [own[0] for own in runs_of.values()]
    seconds = [(one["finished_at"] - one["started_at"]).total_seconds() for one in firsts]
    bad = [any(row["has_failed"] for row in own) for own in runs_of.values()]
    # In their order: many runs may follow within a minute, and a chart over time would draw them on each other
    newest_last = list(zip(firsts, seconds, bad, strict=True))[::-1]
    labels = [f"{state.clock.short(one['recorded_at'])} {one['model']}: {_seconds(one)}" for one in firsts][::-1]
    marks: list[Mark] = []
    for name, kind, colour in (("all cities forecast", False, "forecast"), ("some cities failed", True, "bad")):
        at = [place for place, (_, _, has_failed) in enumerate(newest_last) if has_failed == kind]
        if at:
            heights = [newest_last[place][1] for place in at]
            x0, x1 = [place + 0.1 for place in at], [place + 0.9 for place in at]
            marks.append(Bars(name, x0, x1, [0.0] * len(at), heights, colour, [labels[place] for place in at]))
    slowest = firsts[seconds.index(max(seconds))]
    sentence = (
        f"{counted(len(firsts), 'run')}, {sum(bad):,} of them with failed cities. The slowest took "
        f"{_seconds(slowest)}, recorded {state.clock.text(slowest['recorded_at'])}."
    )
    every = -(-len(firsts) // _TICKS)
    ticks = [place + 0.5 for place in range(0, len(firsts), every)]
    texts = [
        state.clock.short(newest_last[place][0]["recorded_at"]).replace(", ", "\n")
        for place in range(0, len(firsts), every)
    ]
    axis = Axis(0, len(firsts), f"Recorded, oldest to newest, {state.clock.name}", ticks, texts)
    y = value_axis("Duration, s", seconds, zero=True)
    plot = Plot(sentence, marks, axis, y, height=140, has_legend=True)
    return Card("Newest runs", sentence, [plot.markup()], Grid("newest runs", fields, cells, is_shown=True), data)


def _trouble(rows: Sequence[Mapping[str, Any]], state: State, data: str) -> Card:
    """Return the failed cities, and those that a fallback level served."""
    found = [row for row in rows if row["has_failed"] or row["fallback_level"]]
    failed = [row for row in found if row["has_failed"]]
    sentence = "No city failed, and none was served by a fallback level."
    facts = []
    if found:
        served = len(found) - len(failed)
        sentence = f"{counted(len(failed), 'failed forecast')}, {counted(served, 'forecast')} by a fallback level."
        worst = max({row["city"] for row in found}, key=lambda city: sum(row["city"] == city for row in found))
        facts = [Fact("Most often", worst, counted(sum(row["city"] == worst for row in found), "run"), "warning")]
    fields = [
        Field("City", is_text=True),
        Field("Issued", state.clock.name, is_text=True),
        Field("Model", is_text=True),
        Field("Result", is_text=True),
        Field("Reason", is_text=True),
    ]
    cells = [
        (
            Link(row["city"], state.url("/data", city=row["city"])),
            state.clock.short(row["issued_at"]),
            f"{row['model']} {row['version']}",
            "failed" if row["has_failed"] else f"fallback level {row['fallback_level']}",
            "; ".join(row["notes"]) or "none stored",
        )
        for row in found
    ]
    table = Grid("failures and fallback", fields, cells, is_shown=True) if cells else None
    return Card("Failures and fallback by city", sentence, table=table, data=data, facts=facts)


def _seconds(row: Mapping[str, Any]) -> str:
    return _span(row["finished_at"] - row["started_at"])


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else age_text(span)
