"""Models that are trained for weather forecasts: simulated errors in the features, variants, columns of the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import FittedForecaster, ForecastInput, estimate_weather_errors, fit, load_model
from energy_forecast.forecasting.data.history import build_history
from energy_forecast.forecasting.data.weather_errors import DEFAULT_WEATHER_ERRORS, simulate_forecast
from energy_forecast.forecasting.features.matrix import feature_matrix, target_temperature
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.features.simulated_errors import SampleErrors
from energy_forecast.forecasting.models.weather_fallback import (
    FORECAST_WEATHER,
    OBSERVED_WEATHER,
    WITHOUT_WEATHER,
    WeatherFallbackForecaster,
    fading_ratio,
)

from .conftest import BERLIN, FITTED_AT, START, Record, make_record

Fitted = Callable[[str], FittedForecaster]
HOURS = 150
COLUMNS = ("temperature", "humidity", "wind_speed", "precipitation")


def with_all_columns(record: Record) -> pl.DataFrame:
    draw = np.random.default_rng(1)
    n = record.weather.height
    return record.weather.with_columns(
        pl.Series("humidity", draw.uniform(40, 60, n)),
        pl.Series("wind_speed", draw.uniform(20, 30, n)),
        pl.Series("precipitation", draw.uniform(1, 2, n)),
    )


@pytest.mark.parametrize("columns", [("temperature",), COLUMNS], ids=["temperature", "all"])
def test_simulated_features_equal_those_of_a_weather_forecast_with_these_errors(
    berlin: Record, columns: tuple[str, ...]
) -> None:
    """The errors are put into each feature directly; a history with the same forecast must give the same matrix."""
    issued = START + timedelta(days=200)
    weather = with_all_columns(berlin)
    before = pl.col("timestamp") < issued
    known = berlin.load.filter(before), weather.filter(before)
    past = HistoryView(BERLIN, build_history(*known, weather.filter(~before), issued_at=issued, days=None))
    view = past.with_forecast_weather(DEFAULT_WEATHER_ERRORS.only(columns))
    origin = past.history.known_until
    targets = np.arange(origin, origin + HOURS)
    samples = Samples(view, np.full(HOURS, origin), targets)
    simulated = feature_matrix(samples, weather=True)
    assert view.simulated_errors is not None
    errors = SampleErrors.at_origins(view.simulated_errors, samples.origins, samples.lead)

    ahead = weather.filter(~before).head(HOURS)
    changed = {name: ahead[name].to_numpy() + errors.at(name) for name in columns if name != "precipitation"}
    if "precipitation" in columns:
        changed["precipitation"] = ahead["precipitation"].to_numpy() * errors.at("precipitation")
    forecast = ahead.with_columns(
        pl.Series(name, changed[name]) if name in columns else pl.lit(None, pl.Float64).alias(name) for name in COLUMNS
    )
    history = build_history(*known, forecast, issued_at=issued, days=None, served=columns)
    same = Samples(HistoryView(BERLIN, history), samples.origins, targets)
    expected = feature_matrix(same, weather=True)
    for number, name in enumerate(expected.names):
        assert simulated.values[:, number] == pytest.approx(expected.values[:, number], abs=2e-3, nan_ok=True), name
    assert target_temperature(samples) == pytest.approx(changed["temperature"])
    assert np.abs(simulated["temperature"] - ahead["temperature"].to_numpy()).mean() > 0.5


def test_only_flagged_samples_have_errors(berlin: Record) -> None:
    """A real weather forecast of the target hours must not get simulated errors on top."""
    issued = START + timedelta(days=200)
    history = build_history(*berlin.before(issued), berlin.weather_from(issued), issued_at=issued, days=None)
    view = HistoryView(BERLIN, history)
    origin = history.known_until
    samples = Samples(view, np.full(48, origin), np.arange(origin, origin + 48))
    observed = feature_matrix(samples, weather=True)
    forecast = view.with_forecast_weather(DEFAULT_WEATHER_ERRORS.only(["temperature"]))
    half = replace(samples, view=forecast, simulated=np.arange(48) < 24)
    mixed = feature_matrix(half, weather=True)
    assert (mixed["temperature"] != observed["temperature"]).tolist() == [True] * 24 + [False] * 24
    none = feature_matrix(replace(half, simulated=None).with_weather_of_history(), weather=True)
    assert np.array_equal(none.values, observed.values, equal_nan=True)
    assert feature_matrix(half.take(np.arange(40, 48)), weather=True) is not None


@pytest.fixture(scope="module")
def uncertain() -> Record:
    """Return a city whose load follows a temperature that changes a lot from day to day."""
    record = make_record(BERLIN, 240)
    n = record.weather.height
    steps = np.random.default_rng(5).normal(0, 1, n // 24 + 1)
    swing = np.interp(np.arange(n), 24 * np.arange(len(steps)), 5 * steps)
    kwh = record.load["consumption_kwh"].to_numpy() * (1 + 0.03 * swing[: record.load.height])
    return record._replace(
        load=record.load.with_columns(pl.Series("consumption_kwh", kwh)),
        weather=record.weather.with_columns(pl.col("temperature") + pl.Series(swing)),
    )


def test_intervals_cover_with_weather_forecasts(uncertain: Record) -> None:
    """The same model, issued for observed weather and for weather forecasts: each covers under its own conditions."""
    model = fit("linear", BERLIN, *uncertain.before(FITTED_AT), at=FITTED_AT)
    inside: dict[tuple[bool, bool], list[float]] = {}
    for day in range(36):
        at = FITTED_AT + timedelta(days=day)
        observed = uncertain.weather_from(at).head(24)
        errors = DEFAULT_WEATHER_ERRORS.only(["temperature"])
        forecast = simulate_forecast(observed, errors, latitude=52.5, longitude=13.4, issued_at=at)
        for perfect, flagged in ((True, True), (False, False), (False, True)):
            data = ForecastInput(
                *uncertain.before(at), observed if perfect else forecast, at, 24, weather_is_observed=flagged
            )
            pairs = model.predict(data).frame.join(uncertain.load, on="timestamp")
            share = pairs.select(pl.col("consumption_kwh").is_between("q05", "q95").mean()).item()
            inside.setdefault((perfect, flagged), []).append(share)
    coverage = {key: float(np.mean(values)) for key, values in inside.items()}
    assert coverage[True, True] == pytest.approx(0.9, abs=0.06)
    assert coverage[False, False] == pytest.approx(0.9, abs=0.06)
    # Without a variant of their own, weather forecasts would be trusted too much
    assert coverage[False, True] < coverage[False, False] - 0.04


def test_columns_that_the_service_did_not_give_are_ignored(berlin: Record, fitted: Fitted) -> None:
    """The variant for forecasts was calibrated without them: the same bits with and without."""
    model = fitted("linear")
    assert isinstance(model, WeatherFallbackForecaster)
    assert set(model.variants) == {FORECAST_WEATHER, OBSERVED_WEATHER, WITHOUT_WEATHER}
    at = FITTED_AT + timedelta(days=4)
    ahead = with_all_columns(berlin).filter(pl.col("timestamp") >= at).head(48)
    bare = ahead.with_columns(pl.lit(None, pl.Float64).alias(name) for name in COLUMNS[1:])
    whole, temperature = (model.predict(ForecastInput(*berlin.before(at), one, at, 48)) for one in (ahead, bare))
    assert whole.frame.equals(temperature.frame)
    assert whole.imputed_weather == {}


def test_stored_weather_forecasts_decide_columns_and_errors(berlin: Record) -> None:
    """Their errors and columns are part of the model, and are read again with it."""
    weather = with_all_columns(berlin)
    issues = [FITTED_AT - timedelta(days=30 - day) for day in range(28)]
    vintages = pl.concat(
        simulate_forecast(
            weather.filter(pl.col("timestamp") >= at).head(48),
            DEFAULT_WEATHER_ERRORS.only(["temperature", "humidity"]),
            latitude=52.5,
            longitude=13.4,
            issued_at=at,
        ).select(pl.lit(at).cast(pl.Datetime("us", "UTC")).alias("issued_at"), pl.all())
        for at in issues
    )
    known = berlin.load.filter(pl.col("timestamp") < FITTED_AT), weather.filter(pl.col("timestamp") < FITTED_AT)
    model = fit("linear", BERLIN, *known, at=FITTED_AT, weather_errors=estimate_weather_errors(vintages, known[1]))
    assert isinstance(model, WeatherFallbackForecaster)
    assert model.weather_errors.columns == ("temperature", "humidity")
    facts = model.parameters["weather_errors"]
    assert facts["temperature"] != list(DEFAULT_WEATHER_ERRORS.rmse["temperature"])
    again = load_model("linear", model.to_bytes())
    data = ForecastInput(*known, weather.filter(pl.col("timestamp") >= FITTED_AT).head(48), FITTED_AT, 48)
    assert again.predict(data).frame.equals(model.predict(data).frame)


def test_ratio_fades_after_each_end_of_weather() -> None:
    """Ten hours with weather, a gap of five, ten hours with weather, and the rest without."""
    hours = np.arange(60)
    use_weather = (hours < 10) | ((hours >= 15) & (hours < 25))
    without = np.asarray(100.0 + hours, float)
    predicted = np.where(use_weather, 1.2 * without, without)
    factor = fading_ratio(predicted, without, use_weather)
    assert factor[use_weather] == pytest.approx(1.0)
    assert factor[10:15] == pytest.approx(1 + 0.2 * np.exp(-np.arange(1, 6) / 48))
    assert factor[25:] == pytest.approx(1 + 0.2 * np.exp(-np.arange(1, 36) / 48))
    # The last three hours count for the first hours after the end
    predicted[22:25] = 1.3 * without[22:25]
    risen = fading_ratio(predicted, without, use_weather)[25:]
    assert 1.26 < risen[0] < 1.3
    assert risen[20] == pytest.approx(factor[25 + 20], abs=0.03)
    # Nothing to compare with, and a load of zero
    assert fading_ratio(without, without, np.zeros(60, bool)) == pytest.approx(1.0)
    assert fading_ratio(predicted, np.zeros(60), use_weather) == pytest.approx(1.0)
