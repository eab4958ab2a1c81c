"""Resampling of shorter records to hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from energy_forecast.forecasting import hourly

FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def test_sums_energy_and_drops_partial_hours() -> None:
    times = [FIRST + timedelta(minutes=15 * i) for i in range(12) if i != 5]
    frame = pl.DataFrame({"timestamp": times, "consumption_kwh": [1.0] * 11})
    assert hourly(frame).rows() == [(FIRST, 4.0), (FIRST + timedelta(hours=2), 4.0)]


def test_averages_known_weather() -> None:
    times = [FIRST + timedelta(minutes=30 * i) for i in range(4)]
    frame = pl.DataFrame({"timestamp": times, "temperature": [1.0, 3.0, None, 5.0]})
    assert hourly(frame)["temperature"].to_list() == [2.0, 5.0]


def test_keeps_hourly_records() -> None:
    times = [FIRST + timedelta(hours=i) for i in (0, 1, 2, 5)]
    frame = pl.DataFrame({"timestamp": times, "consumption_kwh": [1.0, 2.0, 3.0, 4.0]})
    assert hourly(frame).equals(frame)
