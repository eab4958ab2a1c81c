"""Errors by local day and hour, on days of any length, and by weekday and hour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Literal, TypeAlias

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid, Link
from energy_forecast.charts.clock import Clock, day_text
from energy_forecast.charts.svg import Axis, Cells, Plot, wide
from energy_forecast.forecasting.evaluation.breakdown import WEEKDAYS
from energy_forecast.forecasting.features.calendar import day_kinds, holiday_name
from energy_forecast.forecasting.types import City
from energy_forecast.local_times import to_local

Measure: TypeAlias = Literal["signed", "absolute"]
Slot: TypeAlias = tuple[int, int]
# Widths of the classes of colours, %
_STEPS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_CLASSES = 6
_ROW = 22


@dataclass(frozen=True)
class ErrorCalendar:
    """Hours of a span of local days with their errors.

    Args:
        city: with its zone and holidays.
        errors: timestamp, error_percent, error_kwh and other columns of `errors`, one row for each hour.
        first, end: the span, UTC; `first` is the begin of a local day.
    """

    city: City
    errors: pl.DataFrame
    first: datetime
    end: datetime

    @cached_property
    def hours(self) -> pl.DataFrame:
        """All hours that end in the span: timestamp, day, hour (local), again, and the columns of `errors`.

        `again` is 0, and 1 for an hour whose local hour occurs a second time on the day. A skipped hour has no row.
        """
        minute = self.errors["timestamp"][0].minute if self.errors.height else _minute(self.first)
        start = self.first.astimezone(UTC).replace(second=0, microsecond=0)
        start += timedelta(minutes=(minute - start.minute) % 60)
        count = max(0, (self.end - start) // timedelta(hours=1))
        times = pl.Series("timestamp", [start + timedelta(hours=n) for n in range(count)], pl.Datetime("us", "UTC"))
        local = to_local(times, self.city.timezone)
        hours = pl.DataFrame({"timestamp": times, "day": local.dt.date(), "hour": local.dt.hour().cast(pl.Int64)})
        return hours.with_columns((pl.int_range(pl.len()).over("day", "hour")).alias("again")).join(
            self.errors, on="timestamp", how="left", maintain_order="left"
        )

    @cached_property
    def slots(self) -> list[Slot]:
        """The columns of the calendar: local hour, and 1 for its second time."""
        found = {(hour, again) for hour, again in self.hours.select("hour", "again").unique().rows()}
        return sorted({*((hour, 0) for hour in range(24)), *found})

    @cached_property
    def days(self) -> list[date]:
        """The local days, from the first to the last."""
        return self.hours["day"].unique(maintain_order=True).to_list()

    @cached_property
    def holidays(self) -> dict[date, str]:
        """The public holidays among the days."""
        if not self.days:
            return {}
        _, is_holiday = day_kinds(self.city, self.days[0], self.days[-1])
        first = self.days[0]
        return {
            day: holiday_name(self.city, day) or "public holiday" for day in self.days if is_holiday[(day - first).days]
        }

    def by_weekday(self) -> pl.DataFrame:
        """Return the mean errors by weekday, or holiday, and local hour: weekday, hour, signed, absolute, count."""
        names = {day: "holiday" if day in self.holidays else WEEKDAYS[day.weekday()] for day in self.days}
        known = self.hours.filter(pl.col("error_percent").is_not_null())
        return (
            known.with_columns(pl.col("day").replace_strict(names, return_dtype=pl.String).alias("weekday"))
            .group_by("weekday", "hour")
            .agg(
                pl.col("error_percent").mean().alias("signed"),
                pl.col("error_percent").abs().mean().alias("absolute"),
                pl.len().alias("count"),
            )
            .sort("weekday", "hour")
        )


def slot_name(slot: Slot) -> str:
    """Return the head of a column: the hour, and a sign that it is its second time."""
    hour, again = slot
    return f"{hour:02}\nagain" if again else f"{hour:02}"


def colour_step(values: Sequence[float]) -> float:
    """Return the width of a class of colours (%) with which 95 % of the errors are inside the classes."""
    sizes = sorted(abs(value) for value in values)
    top = sizes[int(0.95 * (len(sizes) - 1))] if sizes else 0.0
    return next((step for step in _STEPS if step * (_CLASSES + 0.999) >= top), _STEPS[-1])


def colour_of(value: float, step: float, measure: Measure) -> str:
    """Return the colour of an error: blue if the forecast is too low, orange if it is too high; darker if larger."""
    number = min(_CLASSES, int(abs(value) / step))
    return f"warm{number}" if number and value > 0 and measure == "signed" else f"heat{number}"


def _class_name(colour: str, step: float, measure: Measure) -> str:
    number = int(colour[-1])
    low, high = f"{number * step:g}", f"{(number + 1) * step:g}"
    size = f"over {low} %" if number == _CLASSES else f"{low} to {high} %"
    if measure == "absolute" or number == 0:
        return f"{size} error" if number == 0 and measure == "signed" else size
    return f"{size} too {'high' if colour.startswith('warm') else 'low'}"


def _minute(moment: datetime) -> int:
    return moment.astimezone(UTC).minute


def signed_percent(value: float | None, digits: int = 1) -> str:
    """Return a difference with its sign; a dash for an unknown one."""
    if value is None:
        return UNKNOWN
    text = f"{abs(value):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return ("+" if value > 0 else "\N{MINUS SIGN}") + text


def _cell_text(value: float, measure: Measure, digits: int = 0) -> str:
    return signed_percent(value, digits) if measure == "signed" else f"{abs(value):,.{digits}f}"


@dataclass(frozen=True)
class _Heat:
    """Cells of a heat map, before they are sorted into classes of colours."""

    rows: list[int]
    columns: list[int]
    values: list[float | None]
    labels: list[str]
    urls: list[str]

    def marks(self, measure: Measure) -> list[Cells]:
        """Return one mark for each class, so that the legend names it."""
        step = colour_step([value for value in self.values if value is not None])
        classes: dict[str, list[int]] = {}
        for place, value in enumerate(self.values):
            colour = "grid" if value is None else colour_of(value, step, measure)
            classes.setdefault(colour, []).append(place)
        order = (
            [f"heat{n}" for n in range(_CLASSES, -1, -1)]
            if measure == "signed"
            else [f"heat{n}" for n in range(_CLASSES + 1)]
        )
        order += [f"warm{n}" for n in range(1, _CLASSES + 1)] + ["grid"]
        return [
            Cells(
                "no forecast or no load" if colour == "grid" else _class_name(colour, step, measure),
                [self.columns[at] for at in classes[colour]],
                [self.columns[at] + 1 for at in classes[colour]],
                [self.rows[at] for at in classes[colour]],
                [self.rows[at] + 1 for at in classes[colour]],
                [colour] * len(classes[colour]),
                ["" if (v := self.values[at]) is None else _cell_text(v, measure) for at in classes[colour]],
                [self.labels[at] for at in classes[colour]],
                [self.urls[at] for at in classes[colour]] if self.urls else (),
            )
            for colour in order
            if colour in classes
        ]


def calendar_card(
    calendar: ErrorCalendar,
    measure: Measure,
    *,
    title: str,
    sentence: str,
    data: str | None = None,
    notes: Sequence[str] = (),
    day_url: Callable[[date], str] | None = None,
) -> Card:
    """Return the heat map of local days and hours.

    Args:
        day_url: returns the URL of a local day; None in a file.
    """
    clock = Clock(calendar.city.timezone)
    place = {slot: number for number, slot in enumerate(calendar.slots)}
    row = {day: number for number, day in enumerate(calendar.days)}
    hours = calendar.hours.to_dicts()
    heat = _Heat(
        [row[one["day"]] for one in hours],
        [place[one["hour"], one["again"]] for one in hours],
        [one["error_percent"] for one in hours],
        [_hour_label(one, clock) for one in hours],
        [] if day_url is None else [day_url(one["day"]) for one in hours],
    )
    names = [_day_name(day, calendar) for day in calendar.days]
    plot = Plot(
        sentence,
        heat.marks(measure),
        Axis(
            0, len(place), f"Local hour, {clock.name}", [n + 0.5 for n in place.values()], [slot_name(s) for s in place]
        ),
        Axis(0, len(names), "Day", [n + 0.65 for n in range(len(names))], names),
        height=_ROW * max(len(names), 1),
        is_downward=True,
        has_legend=True,
        left=140,
    )
    holidays = [f"{day_text(day)}: {name}" for day, name in calendar.holidays.items()]
    marked = [f"Public holidays are marked: {', '.join(holidays)}."] if holidays else []
    return Card(
        title,
        sentence,
        [wide(plot)],
        _hour_grid(calendar, measure, day_url),
        data,
        [*notes, *marked, *_unusual(calendar)],
    )


def _unusual(calendar: ErrorCalendar) -> list[str]:
    """Return the days on which the clocks change."""
    again = calendar.hours.filter(pl.col("again") > 0)["day"].unique().sort()
    notes = [f"On {day_text(day)} the clocks go back: the repeated hour has a cell of its own." for day in again]
    counts = calendar.hours.group_by("day").agg(pl.len(), pl.col("hour").n_unique().alias("hours")).sort("day")
    # The first and the last day may be parts of days
    whole = counts.filter(pl.col("day") != calendar.days[-1]) if calendar.days else counts
    return notes + [
        f"On {day_text(day)} the clocks go forward: the skipped hour has no cell."
        for day in whole.filter(pl.col("hours") < 24)["day"]
    ]


def _day_name(day: date, calendar: ErrorCalendar) -> str:
    return f"{day_text(day)}, holiday" if day in calendar.holidays else day_text(day)


def _hour_label(one: dict[str, object], clock: Clock) -> str:
    begin = one["timestamp"]
    assert isinstance(begin, datetime)
    end = clock.hour(begin + timedelta(hours=1))
    span = f"{clock.day(begin)}, {clock.hour(begin)} {clock.abbreviation(begin)} to {end}"
    error = one["error_percent"]
    if not isinstance(error, float):
        return f"{span}: no forecast or no load"
    if error == 0:
        return f"{span}: no error"
    return f"{span}: forecast {abs(error):.1f} % too {'high' if error > 0 else 'low'}"


def _hour_grid(calendar: ErrorCalendar, measure: Measure, day_url: Callable[[date], str] | None) -> Grid:
    fields = [Field("Day", is_text=True), *(Field(slot_name(slot).replace("\n", " "), "%") for slot in calendar.slots)]
    cells = {
        (one["day"], one["hour"], one["again"]): one["error_percent"]
        for one in calendar.hours.select("day", "hour", "again", "error_percent").iter_rows(named=True)
    }
    rows: list[list[str | Link]] = []
    for day in calendar.days:
        name = _day_name(day, calendar)
        row: list[str | Link] = [name if day_url is None else Link(name, day_url(day))]
        for hour, again in calendar.slots:
            # A skipped hour has an empty cell, an unknown error a dash
            value = cells.get((day, hour, again))
            is_there = (day, hour, again) in cells
            row.append("" if not is_there else UNKNOWN if value is None else _cell_text(value, measure, 1))
        rows.append(row)
    return Grid("Error in percent of the load by day and local hour", fields, rows)


def days_card(calendar: ErrorCalendar, *, day_url: Callable[[date], str], hour_url: Callable[[datetime], str]) -> Card:
    """Return the days, the worst first, with the hour of the largest error."""
    known = calendar.hours.filter(pl.col("error_percent").is_not_null())
    by_size = known.sort(pl.col("error_percent").abs(), descending=True)
    worst = by_size.unique("day", keep="first", maintain_order=True).select("day", "timestamp", "error_percent")
    days = (
        known.group_by("day")
        .agg(
            pl.col("error_percent").abs().mean().alias("mape"),
            (100 * pl.col("error_kwh").sum() / pl.col("actual").sum()).alias("bias"),
            pl.len().alias("hours"),
        )
        .join(worst, on="day")
        .sort("mape", "day", descending=True)
    )
    clock = Clock(calendar.city.timezone)
    fields = [
        Field("Day", is_text=True),
        Field("Holiday", is_text=True),
        Field("MAPE", "%"),
        Field("Energy of the day", "error, %"),
        Field("Worst hour", "local", is_text=True),
        Field("Error then", "%"),
        Field("Hours"),
    ]
    rows: list[list[str | Link]] = [
        [
            Link(day_text(one["day"]), day_url(one["day"])),
            calendar.holidays.get(one["day"], ""),
            f"{one['mape']:.1f}",
            signed_percent(one["bias"]),
            Link(f"{clock.hour(one['timestamp'])} {clock.abbreviation(one['timestamp'])}", hour_url(one["timestamp"])),
            signed_percent(one["error_percent"]),
            f"{one['hours']:,}",
        ]
        for one in days.iter_rows(named=True)
    ]
    first = days.row(0, named=True)
    sentence = (
        f"{day_text(first['day'])} has the largest mean error, {first['mape']:.1f} %. The day opens its forecast, "
        "the worst hour all forecasts of this hour."
    )
    return Card("Days, worst first", sentence, table=Grid("Errors by day", fields, rows, is_shown=True))


def weekday_card(calendar: ErrorCalendar, measure: Measure, data: str | None = None) -> Card:
    """Return the mean error by weekday and local hour; public holidays are apart."""
    rows = calendar.by_weekday()
    cells = {(one["weekday"], one["hour"]): one for one in rows.iter_rows(named=True)}
    names = [name for name in WEEKDAYS if any(at[0] == name for at in cells)]
    places = [(number, name, hour) for number, name in enumerate(names) for hour in range(24) if (name, hour) in cells]
    heat = _Heat(
        [number for number, _, _ in places],
        [hour for _, _, hour in places],
        [cells[name, hour][measure] for _, name, hour in places],
        [_weekday_label(cells[name, hour], measure) for _, name, hour in places],
        [],
    )
    worst = max(cells.values(), key=lambda one: abs(one[measure]))
    size = signed_percent(worst[measure]) if measure == "signed" else f"{worst[measure]:.1f}"
    sentence = f"Largest mean error: {worst['weekday']} at {worst['hour']:02}:00, {size} % in {worst['count']} hours."
    plot = Plot(
        sentence,
        heat.marks(measure),
        Axis(
            0,
            24,
            f"Local hour, {calendar.city.timezone.replace('_', ' ')}",
            [h + 0.5 for h in range(24)],
            [f"{h:02}" for h in range(24)],
        ),
        Axis(0, len(names), "Weekday", [n + 0.65 for n in range(len(names))], names),
        height=_ROW * len(names),
        is_downward=True,
        has_legend=True,
        left=100,
    )
    table = [
        (
            f"{hour:02}:00",
            *(
                _cell_text(cells[name, hour][measure], measure, 2) if (name, hour) in cells else UNKNOWN
                for name in names
            ),
        )
        for hour in range(24)
    ]
    fields = [Field("Local hour", is_text=True), *(Field(name, "%") for name in names)]
    return Card(
        "Mean error by weekday and hour",
        sentence,
        [wide(plot)],
        Grid("Mean error by weekday and hour", fields, table),
        data,
    )


def _weekday_label(one: dict[str, object], measure: Measure) -> str:
    value = one[measure]
    assert isinstance(value, float)
    size = signed_percent(value, 2) if measure == "signed" else f"{value:.2f}"
    return f"{one['weekday']}, {one['hour']:02}:00: {size} %, {one['count']} hours"
