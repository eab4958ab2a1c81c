"""Unusual loads and weather: a valid forecast or NotEnoughDataError, never another error or a warning."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from energy_forecast.errors import NotEnoughDataError
from energy_forecast.forecasting import ForecastInput, fit, load_model

from .conftest import BERLIN, START, assert_well_formed, make_record

Floats = NDArray[np.float64]
DAYS = 43
AT = START + timedelta(days=DAYS)
HOURS = np.arange(24 * DAYS)
QUICK = ("naive-24", "naive-168", "vanilla", "linear")


def where(hours: Any) -> Callable[[Floats], Floats]:
    """Keep the values of these hours."""
    return lambda values: np.where(hours, values, np.nan)


def zero(hours: Any) -> Callable[[Floats], Floats]:
    """Set the values of these hours to zero."""
    return lambda values: np.where(hours, 0.0, values)


WEATHER = {
    "begins late": where(HOURS >= 24 * 24),
    "begins an hour before the end": where(HOURS >= 24 * DAYS - 1),
    "ends early": where(HOURS < 24 * 20),
    "in the middle": where((HOURS >= 24 * 12) & (HOURS < 24 * 31)),
    "at both ends": where((HOURS < 24 * 9) | (HOURS >= 24 * 33)),
    "one hour": where(HOURS == 500),
    "by day": where((HOURS % 24 > 6) & (HOURS % 24 < 19)),
    "every fifth hour": where(HOURS % 5 == 0),
    "never": where(HOURS < 0),
    "constant": lambda values: np.full_like(values, 15.0),
    "impossible": lambda values: values + 500,
}
LOADS = {
    "zero": zero(HOURS >= 0),
    "constant": lambda values: np.full_like(values, 77.0),
    "one value": zero(HOURS != 400),
    "a value at the end": zero(HOURS != 24 * DAYS - 1),
    "zero at first": zero(HOURS < 24 * 30),
    "zero at last": zero(HOURS >= 24 * 12),
    "zero by night": zero(HOURS % 24 < 7),
    "zero in turn": zero(HOURS % 2 == 0),
    "a week on, a week off": zero(HOURS // 168 % 2 == 1),
    "tiny": lambda values: 1e-9 * values,
    "huge": lambda values: 1e7 * values,
    "growing": lambda values: values * np.exp(HOURS / 100),
    "a step": lambda values: np.where(HOURS >= 24 * 38, 1000 * values, values),
    "wild": lambda values: np.random.default_rng(0).lognormal(3, 2, len(values)),
    "negative": lambda values: -values,
    "half of it": where(np.random.default_rng(0).random(len(HOURS)) < 0.5),
    "noon alone": where(HOURS % 24 == 12),
    "a hole": where((HOURS < 24 * 10) | (HOURS >= 24 * 34)),
    "one hour": where(HOURS == 24 * DAYS - 1),
    "six days": where(HOURS >= 24 * (DAYS - 6)),
    "seven days": where(HOURS >= 24 * (DAYS - 7)),
    "fourteen days": where(HOURS >= 24 * (DAYS - 14)),
    "eighteen days": where(HOURS >= 24 * (DAYS - 18)),
    "nothing": where(HOURS < 0),
}
RECORD = make_record(BERLIN, DAYS + 3)


def changed(frame: pl.DataFrame, column: str, change: Callable[[Floats], Floats]) -> pl.DataFrame:
    """Return the frame before AT with other values, without the unknown rows."""
    before = frame.filter(pl.col("timestamp") < AT)
    values = pl.Series(column, change(before[column].to_numpy()), nan_to_null=True)
    return before.with_columns(values).drop_nulls(column)


def forecast_odd(model: str, consumption: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame | None:
    """Forecast with weather ahead and without; None if there is too little data."""
    try:
        fitted = load_model(model, fit(model, BERLIN, consumption, weather, at=AT).to_bytes())
        made = [
            fitted.predict(ForecastInput(consumption, weather, ahead, AT, 60))
            for ahead in (RECORD.weather_from(AT), weather.clear())
        ]
    except NotEnoughDataError:
        return None
    for one in made:
        assert_well_formed(one.frame, AT, 60)
    return made[0].frame


@pytest.mark.parametrize("model", QUICK)
@pytest.mark.parametrize("shape", WEATHER)
def test_forecasts_with_any_weather(model: str, shape: str) -> None:
    """There is enough load for every model, so missing weather must not prevent a forecast."""
    weather = changed(RECORD.weather, "temperature", WEATHER[shape])
    made = forecast_odd(model, RECORD.before(AT)[0], weather)
    assert made is not None
    actual = RECORD.load.filter(pl.col("timestamp") >= AT)["consumption_kwh"].head(60)
    assert float((made["predicted"] / actual - 1).abs().mean()) < 0.3  # type: ignore[arg-type]


@pytest.mark.parametrize("model", QUICK)
@pytest.mark.parametrize("shape", LOADS)
def test_any_load_is_forecast_or_rejected(model: str, shape: str) -> None:
    forecast_odd(model, changed(RECORD.load, "consumption_kwh", LOADS[shape]), RECORD.before(AT)[1])


@pytest.mark.parametrize("model", ["gradient-boosting", "ensemble"])
@pytest.mark.parametrize(("weather", "shape"), [("begins late", None), ("ends early", None), ("never", "zero")])
def test_larger_models_accept_worst_cases(model: str, weather: str, shape: str | None) -> None:
    consumption = RECORD.before(AT)[0] if shape is None else changed(RECORD.load, "consumption_kwh", LOADS[shape])
    made = forecast_odd(model, consumption, changed(RECORD.weather, "temperature", WEATHER[weather]))
    assert (made is None) == (shape == "zero")


def test_forecasts_zeros_as_zero() -> None:
    made = forecast_odd("naive-24", changed(RECORD.load, "consumption_kwh", LOADS["zero"]), RECORD.before(AT)[1])
    assert made is not None
    assert float(made.drop("timestamp").to_numpy().max()) == 0.0


def test_unused_weather_gives_note() -> None:
    weather = changed(RECORD.weather, "temperature", WEATHER["one hour"])
    consumption = RECORD.before(AT)[0]
    fitted = fit("linear", BERLIN, consumption, weather, at=AT)
    made = fitted.predict(ForecastInput(consumption, weather, RECORD.weather_from(AT), AT, 24))
    assert any("Weather is not used" in note for note in made.notes)
