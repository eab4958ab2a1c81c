"""Data: late sources, arrivals and their delay, gaps and doubtful values, corrections, and rejected rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid, Link
from energy_forecast.charts.clock import age_text, seconds_of
from energy_forecast.charts.svg import Axis, Bars, Mark, Plot, Points, time_axis, value_axis
from energy_forecast.charts.units import energy_unit
from energy_forecast.charts.words import counted
from energy_forecast.database.connection import Connection
from energy_forecast.readings.arrivals import arrivals, rejections, sources
from energy_forecast.readings.facts import consumption, revisions, weather
from energy_forecast.readings.loads import batches, quality
from energy_forecast.readings.spans import day_span
from energy_forecast.web.content import Content, window_control
from energy_forecast.web.state import State

_WINDOWS = (1, 3, 7, 14, 30, 90)
# Cities whose sources are shown on the page of one of them
_MOST_CITIES = 50
_MOST_ROWS = 200
_MOST_POINTS = 2000
# Longer charts of arrivals have a bar for each day
_BY_HOUR = timedelta(days=21)
_LONGEST_EXAMPLE = 160
_COLOURS = {"consumption": "forecast", "weather": "temperature", "weather-forecasts": "past"}
# Upper ends of the ranges of a delay, hours
_DELAYS = ((0.25, "15 min"), (1, "1 h"), (3, "3 h"), (6, "6 h"), (12, "12 h"), (24, "1 d"), (48, "2 d"), (168, "7 d"))


def data(connection: Connection, state: State) -> Content:
    """Return the view."""
    name, days = state.place.name, state.days(7)
    end = state.now
    start = end - timedelta(days=days)
    known = [city.name for city in state.cities] if len(state.cities) <= _MOST_CITIES else [name]
    of_sources = sources(connection, cities=known, as_of=end if state.is_past else None).frame
    doubtful = quality(connection, name, start=start, end=end).frame.to_dicts()
    changes = _changes(revisions(connection, name, start=start, end=end).frame, state)
    refused = rejections(connection, name, days=days, as_of=end if state.is_past else None).frame.to_dicts()
    cards = [
        _sources(of_sources.to_dicts(), state),
        *_arrivals(connection, state, start, end),
        _delays(connection, state, start, end),
        _doubtful(doubtful, state, start, end),
        _corrections(changes, state, start, end),
        _rejected(refused, state, days),
        *_batches(connection, state),
    ]
    sentence = _sentence(of_sources, doubtful, changes, refused, state, days)
    return Content(f"Data of {name}", sentence, cards, [window_control(days, _WINDOWS)], refresh=60)


def _sentence(
    found: pl.DataFrame,
    doubtful: Sequence[Mapping[str, Any]],
    changes: Sequence[Mapping[str, Any]],
    refused: Sequence[Mapping[str, Any]],
    state: State,
    days: int,
) -> str:
    own = found.filter(pl.col("city") == state.place.name)
    load = own.filter(pl.col("series") == "consumption")
    if load.is_empty():
        return (
            f"No load of {state.place.name} is stored. Load a file: energy-forecast ingest consumption FILE; or watch "
            "a folder: energy-forecast ingest consumption --watch FOLDER."
        )
    until = load["end"][0]
    late = own.filter(pl.col("is_late"))["series"].to_list()
    text = f"Load is known until {state.clock.text(until)}, {age_text(max(state.now - until, timedelta()))} ago."
    text += f" Late: {', '.join(late)}." if late else " No source is late."
    hours = sum(row["hours"] for row in doubtful if row["fault"] != "level")
    rows = sum(row["count"] for row in refused)
    return (
        f"{text} In the last {counted(days, 'day')}: {counted(hours, 'missing or doubtful hour')}, "
        f"{counted(len(changes), 'corrected value')}, {counted(rows, 'rejected row')}."
    )


def _sources(rows: Sequence[Mapping[str, Any]], state: State) -> Card:
    fields = [
        Field("City", is_text=True),
        Field("Series", is_text=True),
        Field("Last recorded", state.clock.name, is_text=True),
        Field("Age"),
        Field("Values until", state.clock.name, is_text=True),
        Field("Usual gap"),
        Field("Expected by", state.clock.name, is_text=True),
        Field("State", is_text=True),
    ]
    ordered = sorted(rows, key=lambda row: (not row["is_late"], row["city"] != state.place.name, row["city"]))
    cells = [
        (
            Link(row["city"], state.url("/data", city=row["city"])),
            row["series"],
            state.clock.short(row["recorded_at"]),
            age_text(max(state.now - row["recorded_at"], timedelta())),
            state.clock.short(row["end"]),
            UNKNOWN if row["usual_gap_hours"] is None else age_text(timedelta(hours=row["usual_gap_hours"])),
            UNKNOWN if row["expected_by"] is None else state.clock.short(row["expected_by"]),
            "no rhythm yet" if row["is_late"] is None else "late" if row["is_late"] else "in time",
        )
        for row in ordered
    ]
    late = [row for row in ordered if row["is_late"]]
    sentence = "No source is late."
    if late:
        first = late[0]
        sentence = f"{len(late):,} of {len(rows):,} sources are late, first {first['series']} of {first['city']}."
    notes = [
        "The usual gap is the time between two recordings that 90 of 100 do not exceed, over the last 14 days with "
        "values. A source is late after one and a half usual gaps."
    ]
    table = Grid("sources", fields, cells, is_shown=True)
    return Card("Sources", sentence, table=table, data=state.data("/v1/sources"), notes=notes)


def _arrivals(connection: Connection, state: State, start: datetime, end: datetime) -> list[Card]:
    rows = arrivals(connection, state.place.name, start=start, end=end).frame.to_dicts()
    if not rows:
        return []
    times = [row["recorded_hour"] for row in rows]
    # Values of the window may be recorded after it, and a replay has an earlier time than its recordings
    first, last = min(times), max(times) + timedelta(hours=1)
    if first <= end:
        first, last = min(first, start), max(last, end)
    marks: list[Mark] = []
    tops: dict[datetime, float] = {}
    for series, colour in _COLOURS.items():
        own = [row for row in rows if row["series"] == series]
        if not own:
            continue
        sums: dict[tuple[datetime, datetime], int] = {}
        for row in own:
            span = _bar(row["recorded_hour"], state, by_day=last - first > _BY_HOUR)
            sums[span] = sums.get(span, 0) + row["row_count"]
        low = [tops.get(begin, 0.0) for begin, _ in sums]
        high = [base + count for base, count in zip(low, sums.values(), strict=True)]
        tops |= {begin: top for (begin, _), top in zip(sums, high, strict=True)}
        x0, x1 = seconds_of([begin for begin, _ in sums]), seconds_of([ending for _, ending in sums])
        labels = [f"from {state.clock.short(begin)}: {count:,} rows of {series}" for (begin, _), count in sums.items()]
        marks.append(Bars(series, x0, x1, low, high, colour, labels))
    total = sum(row["row_count"] for row in rows)
    most = max(rows, key=lambda row: row["row_count"])
    sentence = (
        f"{counted(total, 'row')} in {counted(len(set(times)), 'hour')}, most of them, {most['row_count']:,} of "
        f"{most['series']}, in the hour from {state.clock.text(most['recorded_hour'])}."
    )
    plot = Plot(
        sentence, marks, time_axis(state.clock, first, last), value_axis("Rows", list(tops.values()), zero=True)
    )
    fields = [
        Field("Recorded in the hour from", state.clock.name, is_text=True),
        Field("Series", is_text=True),
        Field("Rows"),
        Field("Intervals from", state.clock.name, is_text=True),
        Field("To", state.clock.name, is_text=True),
        Field("Median delay"),
        Field("Longest delay"),
    ]
    cells = [
        (
            state.clock.short(row["recorded_hour"]),
            row["series"],
            f"{row['row_count']:,}",
            state.clock.short(row["first"]),
            state.clock.short(row["end"]),
            _hours(row["median_delay_hours"]),
            _hours(row["longest_delay_hours"]),
        )
        for row in rows[: -_MOST_ROWS - 1 : -1]
    ]
    link = state.data("/v1/cities/{city}/arrivals", **{"from": start, "to": end})
    notes = ["The delay is from the end of an interval to its recording in this database. Corrections do not count."]
    return [Card("Arrivals by hour", sentence, [plot.markup()], Grid("arrivals", fields, cells), link, notes)]


def _bar(hour: datetime, state: State, *, by_day: bool) -> tuple[datetime, datetime]:
    """Return the begin and end of the bar of an hour: the hour itself, or its local day of 23, 24 or 25 hours."""
    if not by_day:
        return hour, hour + timedelta(hours=1)
    return day_span(state.clock.local(hour).date(), state.place.timezone)


def _delays(connection: Connection, state: State, start: datetime, end: datetime) -> Card:
    """Return how long after their end the values of the window were available."""
    name = state.place.name
    counts: dict[str, list[int]] = {}
    medians: dict[str, float] = {}
    for series, read in (("consumption", consumption), ("weather", weather)):
        frame = read(connection, name, start=start, end=end, as_of=state.as_of).frame
        hours = (frame["available_at"] - frame["interval_end"]).dt.total_seconds() / 3600
        if hours.is_empty():
            continue
        medians[series] = float(hours.median())  # type: ignore[arg-type]
        ends = [limit for limit, _ in _DELAYS]
        counts[series] = [
            hours.filter((hours <= high) & (hours > low)).len()
            for low, high in zip([-1.0, *ends], [*ends, float("inf")], strict=True)
        ]
    labels = [f"to {text}" for _, text in _DELAYS] + ["more"]
    marks: list[Mark] = []
    width = 0.8 / max(len(counts), 1)
    for place, (series, numbers) in enumerate(counts.items()):
        x = [at + 0.1 + place * width for at in range(len(numbers))]
        hints = [f"{series}, {label}: {number:,} values" for label, number in zip(labels, numbers, strict=True)]
        values = [float(number) for number in numbers]
        marks.append(Bars(series, x, [at + width for at in x], [0.0] * len(x), values, _COLOURS[series], hints))
    title = "Delay from the end of an interval to its availability"
    if not counts:
        return Card(title, "No value of the window is stored.")
    found = [f"{_hours(hours)} for {series}" for series, hours in medians.items()]
    sentence = f"The median delay is {' and '.join(found)}."
    axis = Axis(0, len(labels), "Delay", [place + 0.5 for place in range(len(labels))], labels)
    y = value_axis("Values", *([float(one) for one in numbers] for numbers in counts.values()), zero=True)
    plot = Plot(sentence, marks, axis, y, height=160, has_legend=True)
    fields = [Field("Delay", is_text=True), *(Field(series, "values") for series in counts)]
    cells = [(label, *(f"{numbers[place]:,}" for numbers in counts.values())) for place, label in enumerate(labels)]
    link = state.data("/v1/cities/{city}/consumption", **{"from": start, "to": end, "as_of": state.as_of})
    notes = [
        "The availability is that of the source. A file without it counts as available at the end of each interval."
    ]
    return Card(title, sentence, [plot.markup()], Grid("delays", fields, cells), link, notes)


def _doubtful(rows: Sequence[Mapping[str, Any]], state: State, start: datetime, end: datetime) -> Card:
    title = "Gaps and doubtful values"
    link = state.data("/v1/cities/{city}/quality", **{"from": start, "to": end})
    notes = ["Found by the checks after each load: energy-forecast doctor data. The values are not changed."]
    count, rows = len(rows), sorted(rows, key=lambda row: -row["hours"])[:_MOST_POINTS]
    if count > len(rows):
        notes.append(f"The {_MOST_POINTS:,} longest are shown.")
    if not rows:
        return Card(title, "No gap and no doubtful value was found in the window.", data=link, notes=notes)
    lanes = sorted({(row["series"], row["fault"]) for row in rows})
    first, last = start, max(end, *(row["end"] for row in rows))
    # A short run is as wide as it must be to be seen
    least = (last - first).total_seconds() / 150
    starts = seconds_of([max(row["first"], first) for row in rows])
    ends = seconds_of([row["end"] for row in rows])
    places = [lanes.index((row["series"], row["fault"])) for row in rows]
    marks: list[Mark] = []
    for name, kind, colour in (("left out", True, "bad"), ("used", False, "warning")):
        own = [place for place, row in enumerate(rows) if row["left_out"] == kind]
        if own:
            marks.append(
                Bars(
                    name,
                    [starts[place] for place in own],
                    [max(ends[place], starts[place] + least) for place in own],
                    [places[place] + 0.2 for place in own],
                    [places[place] + 0.8 for place in own],
                    colour,
                    [f"{rows[place]['series']} {rows[place]['fault']}: {rows[place]['hours']:,} h" for place in own],
                )
            )
    names = [f"{series} {fault}" for series, fault in lanes]
    y = Axis(0, len(lanes), "Fault", [place + 0.5 for place in range(len(lanes))], names)
    left_out = sum(row["hours"] for row in rows if row["left_out"])
    worst = max(rows, key=lambda row: row["hours"])
    sentence = (
        f"{counted(count, 'run')} of faulty hours; training and scores leave {counted(left_out, 'hour')} out. The "
        f"longest: "
        f"{worst['series']} {worst['fault']}, {worst['hours']:,} h from {state.clock.text(worst['first'])}."
    )
    axis = time_axis(state.clock, first, last)
    height = max(60, 30 * len(lanes))
    plot = Plot(sentence, marks, axis, y, height=height, is_downward=True, has_legend=True, left=140)
    fields = [
        Field("Series", is_text=True),
        Field("Fault", is_text=True),
        Field("From", state.clock.name, is_text=True),
        Field("To", state.clock.name, is_text=True),
        Field("Hours"),
        Field("Factor", "to the expected value"),
        Field("Use", is_text=True),
    ]
    cells = [
        (
            row["series"],
            row["fault"],
            state.clock.short(row["first"]),
            state.clock.short(row["end"]),
            f"{row['hours']:,}",
            UNKNOWN if row["factor"] is None else f"{row['factor']:,.2f}",
            "left out" if row["left_out"] else "used",
        )
        for row in rows
    ]
    return Card(title, sentence, [plot.markup()], Grid("faults", fields, cells), link, notes)


def _changes(versions: pl.DataFrame, state: State) -> list[dict[str, Any]]:
    """Return the corrections: consecutive versions of an interval, the old value and the new one."""
    found = versions.sort("timestamp", "recorded_at").with_columns(
        old=pl.col("consumption_kwh").shift(1).over("timestamp"),
    )
    kept = found.filter(pl.col("old").is_not_null()).with_columns(difference=pl.col("consumption_kwh") - pl.col("old"))
    return (kept.filter(pl.col("recorded_at") <= state.now) if state.is_past else kept).to_dicts()


def _corrections(rows: Sequence[Mapping[str, Any]], state: State, start: datetime, end: datetime) -> Card:
    title = "Corrections of the load"
    link = state.data("/v1/cities/{city}/consumption/revisions", **{"from": start, "to": end})
    if not rows:
        return Card(title, "No value of the window was corrected.", data=link)
    unit = energy_unit(max(max(abs(row["consumption_kwh"]), abs(row["old"])) for row in rows))
    small = energy_unit(max(abs(row["difference"]) for row in rows))
    ordered = sorted(rows, key=lambda row: -abs(row["difference"]))
    largest = ordered[0]
    at = state.clock.text(largest["timestamp"])
    sentence = (
        f"{counted(len(rows), 'correction')}. The largest: {at}, from {unit.text(largest['old'])} to "
        f"{unit.text(largest['consumption_kwh'])} {unit.name} ({_percent(largest)})."
    )
    drawn = ordered[:_MOST_POINTS]
    x = seconds_of([row["timestamp"] for row in drawn])
    values = [row["difference"] / small.kwh for row in drawn]
    labels = [f"{state.clock.short(row['timestamp'])}: {small.signed(row['difference'])} {small.name}" for row in drawn]
    y = value_axis(f"New minus old, {small.name}", values, zero=True)
    marks: list[Mark] = [Points("correction", x, values, "violet", labels)]
    plot = Plot(sentence, marks, time_axis(state.clock, start, end), y, height=140)
    fields = [
        Field("Interval", state.clock.name, is_text=True),
        Field("Old", unit.name),
        Field("New", unit.name),
        Field("Difference", small.name),
        Field("Difference", "%"),
        Field("Recorded", state.clock.name, is_text=True),
    ]
    cells = [
        (
            state.clock.short(row["timestamp"]),
            unit.text(row["old"]),
            unit.text(row["consumption_kwh"]),
            small.signed(row["difference"]),
            _percent(row),
            state.clock.short(row["recorded_at"]),
        )
        for row in ordered[:_MOST_ROWS]
    ]
    notes = [] if len(rows) <= _MOST_ROWS else [f"The table has the {_MOST_ROWS} largest."]
    return Card(title, sentence, [plot.markup()], Grid("corrections", fields, cells), link, notes)


def _rejected(rows: Sequence[Mapping[str, Any]], state: State, days: int) -> Card:
    title = "Rejected rows"
    link = state.data("/v1/cities/{city}/rejections", days=days, as_of=state.now if state.is_past else None)
    notes = ["Rows that name an unknown city belong to no city; the table of loads counts them."]
    if not rows:
        return Card(title, f"No row of {state.place.name} was rejected in the window.", data=link, notes=notes)
    first = rows[0]
    column = f"{first['column']}: " if first["column"] else ""
    total = sum(row["count"] for row in rows)
    sentence = (
        f"{counted(total, 'rejected row')} or cells. The most frequent reason: {column}{first['reason']} "
        f"({first['count']:,} in {first['file']})."
    )
    fields = [
        Field("Reason", is_text=True),
        Field("Column", is_text=True),
        Field("Kind", is_text=True),
        Field("Number"),
        Field("File", is_text=True),
        Field("Line", "of the newest"),
        Field("Last recorded", state.clock.name, is_text=True),
        Field("Newest row", is_text=True),
    ]
    cells = [
        (
            row["reason"],
            row["column"] or "whole row",
            "cell left empty" if row["cell_only"] else "row",
            f"{row['count']:,}",
            row["file"],
            f"{row['line']:,}",
            state.clock.short(row["recorded_at"]),
            _short(row["row_data"]),
        )
        for row in rows
    ]
    return Card(title, sentence, table=Grid("rejected rows", fields, cells, is_shown=True), data=link, notes=notes)


def _batches(connection: Connection, state: State) -> list[Card]:
    rows = batches(connection, limit=50).frame.to_dicts()
    if state.is_past:
        rows = [row for row in rows if row["finished_at"] <= state.now]
    if not rows:
        return []
    rejected = sum(row["rejected"] for row in rows)
    last = rows[0]
    sentence = (
        f"The last {counted(len(rows), 'load')} rejected {counted(rejected, 'row')}. The newest, {last['dataset']}, "
        f"read {last['read']:,} rows and ended {state.clock.text(last['finished_at'])}."
    )
    fields = [
        Field("Ended", state.clock.name, is_text=True),
        Field("Data", is_text=True),
        *(Field(name) for name in ("Read", "Inserted", "Corrected", "Unchanged", "Rejected", "Cells left empty")),
        Field("Id", is_text=True),
    ]
    names = ("read", "inserted", "corrected", "unchanged", "rejected", "cells_left_empty")
    cells = [
        (
            state.clock.short(row["finished_at"]),
            row["dataset"],
            *(f"{row[name]:,}" for name in names),
            row["batch_id"],
        )
        for row in rows
    ]
    notes = ["Loads over HTTP of the user; all loads for the operator. They may have rows of several cities."]
    return [Card("Loads", sentence, table=Grid("loads", fields, cells), data=state.data("/v1/batches"), notes=notes)]


def _hours(hours: float | None) -> str:
    return UNKNOWN if hours is None else age_text(timedelta(hours=hours))


def _percent(row: Mapping[str, Any]) -> str:
    if not row["old"]:
        return UNKNOWN
    return f"{100 * row['difference'] / row['old']:+,.1f} %".replace("-", "\N{MINUS SIGN}")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_EXAMPLE else f"{text[: _LONGEST_EXAMPLE - 1]}\N{HORIZONTAL ELLIPSIS}"
