"""Imputation of humidity, wind and rain, without values after the issue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import FittedForecaster, ForecastInput, fit
from energy_forecast.forecasting.data.history import build_history, hour_number
from energy_forecast.forecasting.data.weather_imputation import impute_weather
from energy_forecast.forecasting.types import Floats

from .conftest import FITTED_AT, START, Record

Fitted = Callable[[str], FittedForecaster]
DAYS = 60
CUT = 24 * DAYS
OTHERS = ("humidity", "wind_speed", "precipitation")


def weather_of(days: int = DAYS + 2, ahead: float = 0.0) -> dict[str, Floats]:
    """Humidity falls by 2 % a degree and is 10 % higher before noon; the wind follows the hour; it never rains."""
    hour = np.arange(24 * days) % 24
    spell = np.random.default_rng(3).normal(0, 4, days).repeat(24)
    temperature = 15 - 5 * np.cos(2 * np.pi * hour / 24) + spell
    temperature[CUT:] += ahead
    humidity = 90 - 2 * temperature + 10 * (hour < 12)
    return {"temperature": temperature, "humidity": humidity, "wind_speed": 2.0 + hour / 10, "precipitation": 0 * hour}


def without(weather: dict[str, Floats], *names: str, since: int = CUT) -> dict[str, Floats]:
    kept = {name: values.astype(float) for name, values in weather.items()}
    for name in names:
        kept[name][since:] = np.nan
    return kept


def test_imputation_follows_hour_and_temperature() -> None:
    """The humidity of a hot day is that of hot days at this hour, not the mean of all hours or of the day."""
    true = weather_of(ahead=6.0)
    found = without(true, *OTHERS)
    flags = impute_weather(found, 0, CUT)
    # Within 2 %: the slope is shrunk, and hours are smoothed with their neighbours
    assert found["humidity"][CUT:] == pytest.approx(true["humidity"][CUT:], abs=4.0)
    mean = true["humidity"][:CUT].mean()
    assert np.abs(found["humidity"] - true["humidity"])[CUT:].mean() < np.abs(mean - true["humidity"])[CUT:].mean() / 5
    assert found["wind_speed"][CUT:] == pytest.approx(true["wind_speed"][CUT:], abs=0.7)
    assert (found["precipitation"][CUT:] == 0).all()
    assert {name: int(where.sum()) for name, where in flags.items()} == dict.fromkeys(OTHERS, 48)
    assert not any(where[:CUT].any() for where in flags.values())


def test_imputation_continues_damp_spell() -> None:
    usual, damp = without(weather_of(), "humidity"), without(weather_of(), "humidity")
    damp["humidity"][CUT - 48 : CUT] += 10
    for weather in (usual, damp):
        impute_weather(weather, 0, CUT)
    more = damp["humidity"][CUT:] - usual["humidity"][CUT:]
    assert 4 < more[:24].mean() < 10
    assert more[24:].mean() < more[:24].mean()


def test_imputed_values_are_possible() -> None:
    cold, hot = without(weather_of(ahead=-40), *OTHERS), without(weather_of(ahead=60), *OTHERS)
    for weather in (cold, hot):
        impute_weather(weather, 0, CUT)
        assert all((weather[name][CUT:] >= 0).all() for name in OTHERS)
    assert cold["humidity"][CUT:].max() == 100
    assert hot["humidity"][CUT:].min() == 0


def test_imputation_does_not_depend_on_horizon() -> None:
    """A forecast of two days has the same bits as one of a week."""
    short, long = without(weather_of(DAYS + 2), *OTHERS), without(weather_of(DAYS + 2), *OTHERS)
    short["temperature"][CUT + 20 :] = np.nan
    for weather in (short, long):
        impute_weather(weather, 0, CUT)
    for name in OTHERS:
        assert np.array_equal(short[name][: CUT + 20], long[name][: CUT + 20])


def test_imputes_gap_in_history() -> None:
    true = weather_of()
    found = without(true)
    found["humidity"][480:600] = np.nan
    flags = impute_weather(found, 0, CUT)
    assert found["humidity"][480:600] == pytest.approx(true["humidity"][480:600], abs=4.0)
    assert np.flatnonzero(flags["humidity"]).tolist() == list(range(480, 600))


def test_imputation_ignores_values_after_issue() -> None:
    """Extreme humidity forecasts of some hours must not change the others."""
    quiet, wild = without(weather_of(), *OTHERS), without(weather_of(), *OTHERS)
    wild["humidity"][CUT : CUT + 12] = 3.0
    wild["wind_speed"][CUT + 12 :] = 60.0
    for weather in (quiet, wild):
        impute_weather(weather, 0, CUT)
    assert np.array_equal(quiet["humidity"][CUT + 12 :], wild["humidity"][CUT + 12 :])
    assert np.array_equal(quiet["wind_speed"][: CUT + 12], wild["wind_speed"][: CUT + 12])
    assert (wild["humidity"][CUT : CUT + 12] == 3.0).all(), "what is known is kept"


@pytest.mark.parametrize("known", [0, 24 * 6], ids=["never measured", "less than a week"])
def test_missing_column_is_not_imputed(known: int) -> None:
    weather = without(weather_of(), "humidity", since=known)
    assert impute_weather(weather, 0, CUT) == {}
    assert np.isnan(weather["humidity"][known:]).all()


def test_needs_temperature_to_impute() -> None:
    weather = without(weather_of(), *OTHERS, "temperature")
    assert impute_weather(weather, 0, CUT) == {}


def test_complete_weather_is_unchanged() -> None:
    weather = weather_of()
    before = {name: values.copy() for name, values in weather.items()}
    assert impute_weather(weather, 0, CUT) == {}
    assert all(np.array_equal(before[name], weather[name]) for name in weather)


def test_history_flags_imputed_values(berlin: Record) -> None:
    """Training, forecasts and backtests build the history with the same function."""
    ahead = berlin.weather_from(FITTED_AT).select("timestamp", "temperature")
    history = build_history(*berlin.before(FITTED_AT), ahead, issued_at=FITTED_AT, days=100)
    at = np.arange(24) + hour_number(FITTED_AT) - history.start
    assert np.isfinite(history.weather["humidity"][at]).all()
    assert np.isnan(history.weather["precipitation"][at]).all(), "Berlin never measured any"
    assert set(history.imputed) == {"humidity", "wind_speed"}
    complete = build_history(*berlin.before(FITTED_AT), berlin.weather_from(FITTED_AT), issued_at=FITTED_AT, days=100)
    assert complete.imputed == {}


@pytest.mark.parametrize("name", ["ensemble", "linear"])
def test_forecast_reports_imputed_columns(berlin: Record, fitted: Fitted, name: str) -> None:
    at = FITTED_AT + timedelta(days=5)
    model, whole = fitted(name), berlin.weather_from(at)
    known = berlin.before(at)
    bare = whole.select("timestamp", "temperature").head(30)
    complete = model.predict(ForecastInput(*known, whole, at, 48, weather_is_observed=True))
    partly = model.predict(ForecastInput(*known, bare, at, 48, weather_is_observed=True))
    assert complete.imputed_weather == {}
    assert complete.weather_ends is None
    assert not any("stands in" in note for note in complete.notes)
    assert partly.imputed_weather == {"humidity": 30, "wind_speed": 30}
    assert partly.weather_ends == at + timedelta(hours=30)
    message = "imputed from the hour and the temperature: humidity for 30, wind speed for 30."
    assert any(message in note for note in partly.notes)
    # Berlin's load depends on neither
    apart = partly.frame["predicted"].head(30) / complete.frame["predicted"].head(30) - 1
    assert apart.abs().max() < 0.02  # type: ignore[operator]


def test_imputed_humidity_keeps_forecast_skill(berlin: Record) -> None:
    """Without imputation, 40 % humidity on hot noons was replaced by the mean of 60 %."""
    n = berlin.weather.height
    warm = berlin.weather["temperature"].to_numpy()
    humidity = np.clip(95 - 2.5 * warm + np.random.default_rng(5).normal(0, 2, n), 0, 100)
    kwh = berlin.load["consumption_kwh"].to_numpy() * (1 + 0.004 * (humidity - 60))
    load = berlin.load.with_columns(pl.Series("consumption_kwh", kwh))
    weather = berlin.weather.with_columns(pl.Series("humidity", humidity))
    before, at = pl.col("timestamp") < FITTED_AT, FITTED_AT
    model = fit("linear", berlin.city, load.filter(before), weather.filter(before), at=at)
    ahead = weather.filter(~before).select("timestamp", "temperature")
    made = model.predict(ForecastInput(load.filter(before), weather.filter(before), ahead, at, 168)).frame
    actual = load.filter(~before).head(168)["consumption_kwh"]
    assert (made["predicted"] / actual - 1).abs().mean() < 0.03  # type: ignore[operator]
    assert ((actual >= made["q05"]) & (actual <= made["q95"])).mean() > 0.8  # type: ignore[operator]


def test_temperature_only_city_is_unchanged(berlin: Record) -> None:
    """Nothing is imputed for a city that only measures temperature."""
    bare = berlin.weather.select("timestamp", "temperature")
    early = pl.col("timestamp") < START + timedelta(days=150)
    history = build_history(berlin.load, bare.filter(early), bare, issued_at=START + timedelta(days=150), days=None)
    assert history.imputed == {}
    assert all(np.isnan(history.weather[name]).all() for name in OTHERS)
