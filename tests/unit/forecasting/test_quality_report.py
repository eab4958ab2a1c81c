"""Findings: runs of hours, step changes, and shifted weather timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting.data.quality_report import faulty_rows, find_in_load, find_in_weather, step_changes
from energy_forecast.forecasting.data.weather_clock import WeatherClock, weather_clock

START = datetime(2021, 1, 1, tzinfo=UTC)
HALF = timedelta(minutes=30)


def frame(values: np.ndarray, column: str = "consumption_kwh", start: datetime = START) -> pl.DataFrame:
    times = pl.datetime_range(
        start, start + timedelta(hours=len(values) - 1), "1h", time_unit="us", time_zone="UTC", eager=True
    )
    return pl.DataFrame([times.alias("timestamp"), pl.Series(column, values)])


def load_of(days: int) -> np.ndarray:
    hour = np.arange(24 * days)
    return (100 + 40 * np.sin(hour / 24 * 2 * np.pi)) * np.random.default_rng(0).lognormal(0, 0.02, 24 * days)


def test_finding_is_a_run_of_hours() -> None:
    """Findings of a city whose hours begin at half past, UTC, do so too."""
    values = load_of(60)
    values[1000:1003] = 0.0
    record = frame(values, start=START + HALF)
    kept = record.filter((pl.col("timestamp") < START + timedelta(hours=500)) | (pl.int_range(pl.len()) >= 504))
    gap, zero = find_in_load(kept)
    assert (gap.kind, gap.first, gap.hours, gap.left_out) == ("gap", START + timedelta(hours=500) + HALF, 4, False)
    assert (zero.kind, zero.first, zero.last) == (
        "zero",
        START + timedelta(hours=1000) + HALF,
        START + timedelta(hours=1002) + HALF,
    )
    assert (zero.hours, zero.left_out) == (3, True)
    where = kept.filter(pl.Series(faulty_rows(kept)))["timestamp"]
    assert (where.len(), where[0], where[-1]) == (3, zero.first, zero.last)


def test_overlaps_are_not_gaps() -> None:
    record = frame(load_of(60), start=START + HALF)
    out = [500, 501, 700]
    left_out = pl.int_range(pl.len()).is_in([*out, 600])
    overlaps = record.filter(pl.int_range(pl.len()).is_in(out))["timestamp"]
    found = find_in_load(record.filter(~left_out), overlaps)
    assert [(one.kind, one.first, one.hours, one.left_out) for one in found] == [
        ("overlap", START + timedelta(hours=500) + HALF, 2, True),
        ("gap", START + timedelta(hours=600) + HALF, 1, False),
        ("overlap", START + timedelta(hours=700) + HALF, 1, True),
    ]


def test_overlaps_are_found_in_empty_load() -> None:
    overlaps = frame(np.ones(2))["timestamp"]
    (found,) = find_in_load(frame(np.empty(0)).clear(), overlaps)
    assert (found.kind, found.first, found.hours) == ("overlap", START, 2)


def test_empty_record_has_no_findings() -> None:
    none = frame(np.empty(0)).clear()
    assert find_in_load(none) == []
    assert find_in_weather(none.rename({"consumption_kwh": "temperature"})) == []
    assert faulty_rows(none).tolist() == []


@pytest.mark.parametrize("factor", [1.4, 0.7])
def test_finds_lasting_step_change(factor: float) -> None:
    values = load_of(80)
    values[40 * 24 :] *= factor
    ((place, found),) = step_changes(values)
    assert abs(place - 40 * 24) <= 24
    assert found == pytest.approx(factor, rel=0.05)


def test_season_and_cold_week_are_no_step_changes() -> None:
    days = 200
    season = load_of(days) * (1 + 0.5 * np.sin(np.arange(24 * days) / (24 * 365) * 2 * np.pi))
    season[100 * 24 : 107 * 24] *= 1.6
    season.reshape(days, 24)[np.arange(days) % 7 >= 5] *= 0.5
    assert step_changes(season) == []


def test_impossible_and_missing_temperatures_are_gaps() -> None:
    values = np.full(100, 12.0)
    values[10:13] = np.nan
    values[50] = 999.0
    assert [(one.first, one.hours) for one in find_in_weather(frame(values, "temperature"))] == [
        (START + timedelta(hours=10), 3),
        (START + timedelta(hours=50), 1),
    ]


def test_weather_clock_measures_shift() -> None:
    """Days are warmest at 15 h; from the third year on the timestamps are 0.75 h late."""
    hour = np.arange(24 * 365 * 3)
    draw = np.random.default_rng(0)
    shift = np.where(hour >= 24 * 365 * 2, 0.75, 0.0)
    noise = draw.normal(0, 1, len(hour))
    steady, moved = (
        frame(12 + 6 * np.cos((hour - 15 - by) / 24 * 2 * np.pi) + noise, "temperature") for by in (0.0, shift)
    )
    load = frame(load_of(365 * 3))
    assert not weather_clock(load, steady).has_drifted
    clock = weather_clock(load, moved)
    assert clock.has_drifted
    assert clock.timestamp_drift == pytest.approx(0.75, abs=0.1)
    assert "0.7 h later in 2023 than in 2021" in str(clock)
    assert "so the weather timestamps may have shifted, which is uncertain. Check whether" in str(clock)
    sure = WeatherClock({2020: 0.0, 2021: 0.0, 2022: 1.0, 2023: 1.0}, {})
    assert "1.0 h later in 2022 and 2023 than in 2020 and 2021" in str(sure)
    assert "have probably shifted. Check whether" in str(sure)
    assert weather_clock(load, steady.clear()).weather == {}
