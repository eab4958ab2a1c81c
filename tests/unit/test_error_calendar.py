"""The error calendar: each hour of a local day has one cell, on days of any length in any zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from html import unescape

import numpy as np
import polars as pl
import pytest

from energy_forecast.charts.cards import Link
from energy_forecast.charts.error_calendar import (
    ErrorCalendar,
    calendar_card,
    colour_of,
    colour_step,
    days_card,
    weekday_card,
)
from energy_forecast.forecasting.evaluation.breakdown import errors_by_weekday
from energy_forecast.forecasting.types import QUANTILE_COLUMNS, City
from energy_forecast.local_times import to_local
from energy_forecast.zones import instant_at

ZONES = {
    "Europe/Berlin": ("DE", "BE"),
    "Australia/Lord_Howe": ("AU", "NSW"),
    "America/Havana": ("CU", None),
    "Africa/Cairo": ("EG", None),
    "Asia/Kolkata": ("IN", "MH"),
}


def calendar(zone: str, first: date, days: int, minute: int = 0) -> ErrorCalendar:
    """Return a calendar with an error in every hour; the hours begin some minutes past the full UTC hour."""
    country, part = ZONES[zone]
    begin, end = (instant_at(zone, datetime.combine(first + timedelta(days=n), datetime.min.time())) for n in (0, days))
    start = begin.replace(minute=0) + timedelta(minutes=minute)
    start += timedelta(hours=start < begin)
    times = [start + timedelta(hours=n) for n in range((end - start) // timedelta(hours=1))]
    draw = np.random.default_rng(1)
    actual = draw.uniform(50, 150, len(times))
    error = draw.normal(0, 5, len(times))
    errors = pl.DataFrame(
        {
            "timestamp": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
            **{
                "actual": actual,
                "predicted": actual + error,
                "error_kwh": error,
                "error_percent": 100 * error / actual,
            },
        }
    )
    return ErrorCalendar(City("X", 50.0, 10.0, zone, country, part), errors, begin, end)


def cells(markup: str) -> list[str]:
    """Return the texts at the pointer of the cells."""
    return [unescape(found) for found in re.findall(r'class="cell[^"]*">\s*<title>(.*?)</title>', markup)]


@pytest.mark.parametrize(
    ("zone", "day", "count", "minute", "again", "skipped"),
    [
        ("Europe/Berlin", date(2026, 10, 25), 25, 0, [2], []),
        ("Europe/Berlin", date(2026, 3, 29), 23, 0, [], [2]),
        ("Europe/Berlin", date(2026, 5, 2), 24, 0, [], []),
        # The clocks change by half an hour: the local hour 1 begins at 01:00 and again at 01:30
        ("Australia/Lord_Howe", date(2026, 4, 5), 25, 0, [1], []),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23, 0, [], [2]),
        # Hours that begin at full local hours in summer begin at half past in winter
        ("Australia/Lord_Howe", date(2026, 4, 5), 24, 30, [], []),
        # Midnight occurs twice, or is skipped
        ("America/Havana", date(2025, 11, 2), 25, 0, [0], []),
        ("Africa/Cairo", date(2026, 4, 24), 23, 0, [], [0]),
        ("Asia/Kolkata", date(2026, 5, 2), 24, 30, [], []),
    ],
)
def test_day_has_a_cell_for_each_of_its_hours(
    zone: str, day: date, count: int, minute: int, again: list[int], skipped: list[int]
) -> None:
    found = calendar(zone, day - timedelta(days=1), 3, minute)
    hours = found.hours.filter(day=day)
    assert hours.height == count
    assert hours.filter(pl.col("again") > 0)["hour"].to_list() == again
    assert sorted(set(range(24)) - set(hours["hour"])) == skipped
    assert hours["error_percent"].null_count() == 0
    # No two hours share a cell
    assert found.hours.select("day", "hour", "again").is_duplicated().sum() == 0
    assert len(found.slots) == 24 + len(again)
    assert hours["day"].equals(to_local(hours["timestamp"], zone).dt.date())
    card = calendar_card(found, "signed", title="Errors", sentence="Errors of X.")
    assert len(cells(card.figures[0])) == found.hours.height
    assert any("clocks go back" in note for note in card.notes) == bool(again)
    assert any("clocks go forward" in note for note in card.notes) == bool(skipped)


def test_repeated_hour_is_told_apart() -> None:
    """Both hours from 02:00 on have a cell, with the abbreviation of their own offset."""
    found = calendar("Europe/Berlin", date(2026, 10, 24), 3)
    card = calendar_card(found, "signed", title="Errors", sentence="Errors of X.")
    shown = [text for text in cells(card.figures[0]) if text.startswith("Sun 25 Oct, 02:00")]
    assert [text[:30] for text in sorted(shown)] == ["Sun 25 Oct, 02:00 CEST to 02:0", "Sun 25 Oct, 02:00 CET to 03:00"]
    assert card.table is not None
    assert [field.title for field in card.table.fields][3:6] == ["02", "02 again", "03"]
    # On other days it does not exist
    empty = {row[0]: row[4] for row in card.table.rows}
    assert empty["Sat 24 Oct"] == empty["Mon 26 Oct, holiday" if "Mon 26 Oct, holiday" in empty else "Mon 26 Oct"] == ""
    assert empty["Sun 25 Oct"] != ""


def test_missing_error_is_told_apart_from_a_missing_hour() -> None:
    whole = calendar("Europe/Berlin", date(2026, 3, 28), 3)
    lacking = whole.errors.filter(pl.col("timestamp") != datetime(2026, 3, 29, 10, tzinfo=UTC))
    card = calendar_card(
        ErrorCalendar(whole.city, lacking, whole.first, whole.end), "absolute", title="Errors", sentence="Errors of X."
    )
    assert card.table is not None
    (day,) = (row for row in card.table.rows if row[0] == "Sun 29 Mar")
    assert (day[1 + 2], day[1 + 12]) == ("", "\N{EN DASH}")
    assert [text for text in cells(card.figures[0]) if "no forecast or no load" in text] == [
        "Sun 29 Mar, 12:00 CEST to 13:00: no forecast or no load"
    ]


def test_hour_that_is_not_over_has_no_cell() -> None:
    found = calendar("Europe/Berlin", date(2026, 5, 2), 1)
    part = ErrorCalendar(found.city, found.errors, found.first, found.first + timedelta(hours=3, minutes=20))
    assert part.hours["hour"].to_list() == [0, 1, 2]
    nothing = ErrorCalendar(found.city, found.errors.clear(), found.first, found.first)
    assert (nothing.days, nothing.holidays, nothing.hours.height) == ([], {}, 0)


def test_colours_grow_with_the_error_and_show_its_sign() -> None:
    step = colour_step([1, 2, 3, 4, 5, 6])
    assert step == 1.0
    assert [colour_of(value, step, "signed") for value in (0.4, -0.4, 1.2, -1.2, 60, -60)] == [
        *("heat0", "heat0", "warm1", "heat1", "warm6", "heat6")
    ]
    assert colour_of(1.2, step, "absolute") == colour_of(-1.2, step, "absolute") == "heat1"
    assert colour_step([]) == colour_step([0.0]) == 0.25
    assert colour_step([1e9]) == 100


def test_legend_names_each_colour_with_its_unit() -> None:
    found = calendar("Europe/Berlin", date(2026, 5, 1), 7)
    signed = calendar_card(found, "signed", title="Errors", sentence="Errors of X.").figures[0]
    legend = [unescape(text.strip()) for text in re.findall(r"</svg> ([^<]*)</li>", signed)]
    assert any(text.endswith("% too high") for text in legend)
    assert any(text.endswith("% too low") for text in legend)
    assert all("%" in text for text in legend)
    # Without colours the sign is in the cell
    texts = re.findall(r'class="cell-text[^>]*>([^<]*)</text>', signed)
    assert len(texts) == found.hours.height
    assert any(text.startswith("+") for text in texts)
    assert any(text.startswith("\N{MINUS SIGN}") for text in texts)


def test_holidays_are_marked_and_apart_from_their_weekday() -> None:
    found = calendar("Europe/Berlin", date(2026, 4, 27), 14)
    card = calendar_card(found, "signed", title="Errors", sentence="Errors of X.")
    assert "Fri 1 May, holiday" in card.figures[0]
    assert any("Labor Day" in note for note in card.notes)
    weekdays = found.by_weekday()
    assert weekdays.filter(weekday="holiday")["count"].to_list() == [1] * 24
    assert weekdays.filter(weekday="Friday")["count"].to_list() == [1] * 24


def test_weekday_summary_is_that_of_score_errors() -> None:
    found = calendar("Europe/Berlin", date(2026, 10, 12), 28)
    pairs = found.errors.with_columns(
        pl.col("timestamp").alias("issued_at"), *(pl.col("predicted").alias(name) for name in QUANTILE_COLUMNS)
    )
    expected = errors_by_weekday(pairs, found.city).sort("weekday", "local_hour")
    rows = found.by_weekday().sort("weekday", "hour")
    assert rows["absolute"].to_list() == pytest.approx(expected["mape"].to_list())
    assert rows["count"].to_list() == expected["pair_count"].to_list()
    card = weekday_card(found, "absolute")
    assert card.table is not None
    assert len(card.table.rows) == 24
    assert len(cells(card.figures[0])) == rows.height


def test_days_link_to_their_forecast_and_worst_hour() -> None:
    found = calendar("Europe/Berlin", date(2026, 10, 24), 3)
    card = days_card(found, day_url=lambda day: f"/day/{day}", hour_url=lambda hour: f"/hour/{hour.isoformat()}")
    assert card.table is not None
    sizes = [float(str(row[2])) for row in card.table.rows]
    assert sizes == sorted(sizes, reverse=True)
    for row in card.table.rows:
        day, hour = row[0], row[4]
        assert isinstance(day, Link)
        assert isinstance(hour, Link)
        one = found.hours.filter(day=date.fromisoformat(day.url[5:]))
        largest = one.sort(pl.col("error_percent").abs())["timestamp"][-1]
        assert hour.url == f"/hour/{largest.isoformat()}"
        assert row[6] == str(one.height)
