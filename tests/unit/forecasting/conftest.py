"""Synthetic cities: load depends on local hour, weekday and temperature, with a little noise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import City, FittedForecaster, fit, model_names

START = datetime(2021, 1, 4, tzinfo=UTC)
BERLIN = City("Berlin", 52.52, 13.4, "Europe/Berlin", "DE", "BE")
PUNE = City("Pune", 18.52, 73.86, "Asia/Kolkata", "IN", "MH")


class Record(NamedTuple):
    """A city with its complete record, hourly from START."""

    city: City
    load: pl.DataFrame
    weather: pl.DataFrame

    def before(self, moment: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        early = pl.col("timestamp") < moment
        return self.load.filter(early), self.weather.filter(early)

    def weather_from(self, moment: datetime) -> pl.DataFrame:
        return self.weather.filter(pl.col("timestamp") >= moment)


def make_record(city: City, days: int, seed: int = 1, noise: float = 0.02) -> Record:
    draw = np.random.default_rng(seed)
    n = 24 * days
    times = pl.datetime_range(
        START, START + timedelta(hours=n - 1), "1h", time_unit="us", time_zone="UTC", eager=True
    ).alias("timestamp")
    local = times.dt.convert_time_zone(city.timezone)
    hour, weekday = local.dt.hour().to_numpy(), local.dt.weekday().to_numpy()
    yearday = local.dt.ordinal_day().to_numpy()
    spell = np.convolve(draw.normal(0, 1, n + 71), np.ones(72) / 8, "valid")
    temperature = 12 - 10 * np.cos(2 * np.pi * yearday / 365) - 4 * np.cos(2 * np.pi * hour / 24) + spell
    shape = 1 + 0.3 * np.sin(2 * np.pi * (hour - 8) / 24) - 0.15 * (weekday >= 6)
    heat = 0.02 * np.maximum(temperature - 18, 0) + 0.012 * np.maximum(14 - temperature, 0)
    kwh = 1000 * (shape + heat) * (1 + noise * draw.normal(0, 1, n))
    load = pl.DataFrame([times, pl.Series("consumption_kwh", kwh)])
    weather = pl.DataFrame(
        [
            times,
            pl.Series("temperature", temperature),
            pl.Series("humidity", 60 + 10 * draw.normal(0, 1, n)),
            pl.Series("wind_speed", np.abs(draw.normal(4, 2, n))),
            pl.Series("precipitation", [None] * n, dtype=pl.Float64),
        ]
    )
    return Record(city, load, weather)


@pytest.fixture(scope="session")
def berlin() -> Record:
    return make_record(BERLIN, 240)


@pytest.fixture(scope="session")
def fitted(berlin: Record) -> Callable[[str], FittedForecaster]:
    """Return models of Berlin, fitted once to the first 200 days."""
    models: dict[str, FittedForecaster] = {}

    def get(name: str) -> FittedForecaster:
        if name not in models:
            models[name] = fit(name, berlin.city, *berlin.before(FITTED_AT), at=FITTED_AT)
        return models[name]

    return get


FITTED_AT = START + timedelta(days=200)
MODELS = model_names()


def assert_well_formed(frame: pl.DataFrame, first: datetime, hours: int) -> None:
    """Check the rules of every forecast."""
    assert frame.columns == ["timestamp", "predicted", *(f"q{level:02d}" for level in range(5, 100, 5))]
    assert frame["timestamp"].to_list() == [first + timedelta(hours=i) for i in range(hours)]
    values = frame.drop("timestamp").to_numpy()
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    for lower, upper in pairwise(frame.columns[2:]):
        assert (frame[lower] <= frame[upper]).all()
