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


def test_sums_known_precipitation() -> None:
    """Models expect mm in the hour, as the history of the database has it."""
    times = [FIRST + timedelta(minutes=20 * i) for i in range(9)]
    rain = [0.5, 1.0, 1.5, None, 2.0, 2.0, None, None, None]
    frame = pl.DataFrame({"timestamp": times, "precipitation": rain, "temperature": [3.0] * 9})
    assert hourly(frame).to_dict(as_series=False) == {
        "timestamp": [FIRST + timedelta(hours=hour) for hour in range(3)],
        "precipitation": [3.0, 4.0, None],
        "temperature": [3.0] * 3,
    }


def test_keeps_hourly_records() -> None:
    times = [FIRST + timedelta(hours=i) for i in (0, 1, 2, 5)]
    frame = pl.DataFrame({"timestamp": times, "consumption_kwh": [1.0, 2.0, 3.0, 4.0]})
    assert hourly(frame).equals(frame)
