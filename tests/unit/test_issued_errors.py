"""Selection of one forecast for each hour, on days of any length."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from energy_forecast.pipelines.issued_errors import day_starts, one_issue


def issues(first: datetime, hours: int, every: int) -> pl.DataFrame:
    """Return forecasts of 72 hours, issued every few hours."""
    rows = [
        (first + timedelta(hours=at), first + timedelta(hours=at + lead))
        for at in range(0, hours, every)
        for lead in range(72)
    ]
    times = pl.Datetime("us", "UTC")
    return pl.DataFrame(rows, schema={"issued_at": times, "timestamp": times}, orient="row")


@pytest.mark.parametrize(
    ("zone", "hour", "begin"),
    [
        ("Europe/Berlin", "2026-03-29T10:00", "2026-03-28T23:00"),
        ("Europe/Berlin", "2026-10-25T22:00", "2026-10-24T22:00"),
        ("Asia/Kolkata", "2026-05-01T12:00", "2026-04-30T18:30"),
        ("Australia/Lord_Howe", "2026-04-04T20:00", "2026-04-04T13:00"),
        # Midnight is skipped
        ("Africa/Cairo", "2026-04-24T10:00", "2026-04-23T22:00"),
        # Midnight occurs twice: the day begins at the first
        ("America/Havana", "2025-11-02T20:00", "2025-11-02T04:00"),
    ],
)
def test_local_day_begins_at_midnight(zone: str, hour: str, begin: str) -> None:
    hours = pl.Series([datetime.fromisoformat(hour).replace(tzinfo=UTC)] * 2, dtype=pl.Datetime("us", "UTC"))
    assert day_starts(hours, zone)[0] == datetime.fromisoformat(begin).replace(tzinfo=UTC)


def test_day_ahead_forecast_is_the_last_one_before_the_day() -> None:
    """On the day of 25 hours, all hours have the forecast that was issued at 18:00 UTC of the day before."""
    found = issues(datetime(2026, 10, 20, tzinfo=UTC), 240, 6)
    chosen = one_issue(found, "day-ahead", "Europe/Berlin")
    assert chosen["timestamp"].is_unique().all()
    begin = datetime(2026, 10, 24, 22, tzinfo=UTC)
    day = chosen.filter(pl.col("timestamp") >= begin, pl.col("timestamp") < begin + timedelta(hours=25))
    assert day.height == 25
    assert set(day["issued_at"]) == {datetime(2026, 10, 24, 18, tzinfo=UTC)}


def test_issue_at_midnight_belongs_to_the_day() -> None:
    found = issues(datetime(2026, 5, 1, tzinfo=UTC), 48, 24)
    assert set(
        one_issue(found, "day-ahead", "UTC").filter(pl.col("timestamp") < datetime(2026, 5, 3, tzinfo=UTC))["issued_at"]
    ) == {datetime(2026, 5, 1, tzinfo=UTC)}


def test_newest_forecast_and_all() -> None:
    found = issues(datetime(2026, 5, 1, tzinfo=UTC), 48, 24)
    newest = one_issue(found, "newest", "UTC")
    assert newest["timestamp"].is_unique().all()
    assert newest["timestamp"].n_unique() == found["timestamp"].n_unique()
    assert newest.filter(timestamp=datetime(2026, 5, 2, 3, tzinfo=UTC))["issued_at"][0] == datetime(
        2026, 5, 2, tzinfo=UTC
    )
    assert one_issue(found, "all", "UTC").height == found.height
