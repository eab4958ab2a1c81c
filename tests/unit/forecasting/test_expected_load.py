"""The expected load and its features: accuracy, and no use of later data."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import ForecastInput, fit, load_model
from energy_forecast.forecasting.data.history import build_history, hour_number
from energy_forecast.forecasting.ensemble.combiner import FittedCombiner
from energy_forecast.forecasting.features.expected_load import (
    EXPECTED_LOAD_FEATURES,
    with_expected_load,
    with_target_expected_load,
)
from energy_forecast.forecasting.features.matrix import feature_matrix, hour_matrix
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.models.expected_load import ExpectedLoad, fit_expected_load
from energy_forecast.forecasting.models.linear import fit_linear
from energy_forecast.forecasting.models.mlp import network_inputs
from energy_forecast.forecasting.models.training_set import TrainingSet, build_training_set
from energy_forecast.forecasting.models.weather_fallback import WeatherFallbackForecaster
from energy_forecast.forecasting.types import Floats

from .conftest import BERLIN, START, Record, make_record

TRAINED_AT = START + timedelta(days=430)
_RATIOS = [name for name in EXPECTED_LOAD_FEATURES if name.endswith("_over_normal")]


@pytest.fixture(scope="module")
def record() -> Record:
    return make_record(BERLIN, 440)


def view_of(record: Record, days: int | None = None) -> HistoryView:
    history = build_history(
        *record.before(TRAINED_AT), record.weather_from(TRAINED_AT), issued_at=TRAINED_AT, days=days
    )
    return HistoryView(record.city, history)


@pytest.fixture(scope="module")
def trained(record: Record) -> tuple[ExpectedLoad, TrainingSet]:
    """Return the fitted expected load, and the training set with its features."""
    view = view_of(record)
    training_set = build_training_set(view, np.random.default_rng(0), weather=True)
    normal, table = fit_expected_load(training_set, view.history.known_until, weather=True)
    return normal, TrainingSet(
        training_set.samples, table, training_set.share, training_set.weight, training_set.block, training_set.season
    )


def ahead(view: HistoryView) -> Samples:
    origin = hour_number(TRAINED_AT)
    targets = np.arange(origin, origin + 48)
    return Samples(view, np.full(48, origin), targets)


def test_samples_are_computed_in_parts(trained: tuple[ExpectedLoad, TrainingSet]) -> None:
    """The terms of all samples at once would take several times the memory of their features."""
    normal, training_set = trained
    matrix = training_set.matrix

    def peak(function: Callable[[], object]) -> float:
        tracemalloc.start()
        function()
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used / matrix.values.nbytes

    assert peak(lambda: normal.predict(matrix)) < 0.5
    assert peak(lambda: network_inputs(matrix, season=True)) < 2.0
    assert peak(lambda: fit_linear(training_set, weather=True)) < 1.6


def test_expected_load_predicts_future_hours(record: Record, trained: tuple[ExpectedLoad, TrainingSet]) -> None:
    normal, training_set = trained
    samples = ahead(view_of(record))
    table = normal.add_features(feature_matrix(samples, weather=True), samples)
    actual = record.load["consumption_kwh"].to_numpy()[430 * 24 : 432 * 24]
    assert np.abs(table["load_normal"] * samples.level / actual - 1).mean() < 0.04
    naive = record.load["consumption_kwh"].to_numpy()[428 * 24 : 430 * 24]
    assert np.abs(table["load_normal"] * samples.level - actual).mean() < np.abs(naive - actual).mean()
    # The training matrix has out-of-block predictions: no better than those of future hours
    share = training_set.matrix["load_normal"] / training_set.share
    assert np.abs(share - 1).mean() > 0.8 * np.abs(table["load_normal"] * samples.level / actual - 1).mean()


def test_ratio_features_show_each_days_excess_load(record: Record) -> None:
    """The expected load equals the load, except on the day before the origin, where the load is 10 % higher."""
    view = view_of(record)
    samples = ahead(view).take(np.arange(24))
    grid: Floats = view.history.load / 977.0
    at = samples.origins[0] - view.history.start
    grid[at - 24 : at] /= 1.1
    grid[at : at + 24] = 1.5
    table = with_expected_load(feature_matrix(samples, weather=True), samples, grid)
    week = np.nansum(view.history.load[at - 168 : at]) / np.nansum(grid[at - 168 : at]) / 977.0
    assert table["load_day_1_over_normal"] == pytest.approx(np.full(24, 1.1 / week - 1), abs=1e-5)
    assert table["load_day_2_over_normal"] == pytest.approx(np.full(24, 1 / week - 1), abs=1e-5)
    assert table["load_last_6h_over_normal"] == pytest.approx(np.full(24, 1.1 / week - 1), abs=1e-5)
    assert table["load_normal"] == pytest.approx(1.5 * 977.0 * week / samples.level, rel=1e-5)
    assert table["load_normal_followed"] == pytest.approx(
        table["load_normal"] * (1 + table["load_same_hour_over_normal"])
    )


def test_unknown_expected_load_gives_neutral_features(record: Record) -> None:
    view = view_of(record)
    samples = ahead(view)
    table = with_expected_load(feature_matrix(samples, weather=True), samples, np.full(len(view.history.load), np.nan))
    for name in _RATIOS:
        assert not table[name].any(), name
    assert np.array_equal(table["load_normal"], table["load_same_hour_mean"])


def test_features_ignore_later_load_and_weather(record: Record, trained: tuple[ExpectedLoad, TrainingSet]) -> None:
    normal, _ = trained
    view = view_of(record)
    origin = hour_number(START + timedelta(days=300, hours=5))
    samples = Samples(view, np.full(168, origin), np.arange(origin, origin + 168))
    before = normal.add_features(feature_matrix(samples, weather=True), samples)
    view.history.load[origin - view.history.start :] *= 9.0
    view.history.weather["temperature"][origin + 100 - view.history.start :] += 20.0
    again = Samples(HistoryView(view.city, view.history), samples.origins, samples.targets)
    after = normal.add_features(feature_matrix(again, weather=True), again)
    assert np.array_equal(after.values[:100], before.values[:100], equal_nan=True)
    assert (after["load_normal"][100:] != before["load_normal"][100:]).any()


def test_live_features_equal_backtest_features(record: Record, trained: tuple[ExpectedLoad, TrainingSet]) -> None:
    normal, _ = trained
    whole, recent = (ahead(view_of(record, days)) for days in (None, 134))
    one, other = (normal.add_features(feature_matrix(samples, weather=True), samples) for samples in (whole, recent))
    assert np.array_equal(one.values, other.values, equal_nan=True)


def test_changed_weather_changes_target_features_only(
    record: Record, trained: tuple[ExpectedLoad, TrainingSet]
) -> None:
    normal, _ = trained
    samples = ahead(view_of(record))
    table = normal.add_features(feature_matrix(samples, weather=True), samples)
    same = with_target_expected_load(table, normal.predict(hour_matrix(samples.view, samples.targets, weather=True)))
    assert same.values == pytest.approx(table.values, rel=1e-12, nan_ok=True)
    doubled = with_target_expected_load(table, 2 * normal.predict(table))
    assert doubled["load_normal"] == pytest.approx(2 * table["load_normal"])
    for name in _RATIOS:
        assert np.array_equal(doubled[name], table[name]), name


def test_long_history_ensemble_stores_expected_load(record: Record) -> None:
    model = fit("ensemble", record.city, *record.before(TRAINED_AT), at=TRAINED_AT)
    assert isinstance(model, WeatherFallbackForecaster)
    for one in model.variants.values():
        assert isinstance(one, FittedCombiner)
        assert one.members.expected_load is not None
    known = (*record.before(TRAINED_AT), record.weather_from(TRAINED_AT))
    made = model.predict(ForecastInput(*known, TRAINED_AT, 24)).frame
    again = load_model("ensemble", model.to_bytes())
    assert again.predict(ForecastInput(*known, TRAINED_AT, 24)).frame.equals(made)
    found = model.contributions(ForecastInput(*known, TRAINED_AT, 24))
    assert found is not None
    total = (
        found.group_by("timestamp", maintain_order=True)
        .agg(pl.col("contribution_kwh").sum())["contribution_kwh"]
        .to_numpy()
    )
    assert total == pytest.approx(made["predicted"].to_numpy(), rel=1e-6)
