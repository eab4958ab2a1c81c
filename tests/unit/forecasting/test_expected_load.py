"""The normal load, and how the load has stood to it: what is learnt from it, and what cannot be seen in it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import fit, load
from energy_forecast.forecasting.data.history import build_history, hour_number
from energy_forecast.forecasting.ensemble.model import FittedEnsemble
from energy_forecast.forecasting.features.expected_load import NORMAL_NAMES, renewed, with_normal
from energy_forecast.forecasting.features.matrix import feature_table, hour_table
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.expected_load import Normal, learn_normal
from energy_forecast.forecasting.models.training_set import Lessons, make_lessons
from energy_forecast.forecasting.types import Floats

from .conftest import BERLIN, START, Record, make_record

LEARNT_AT = START + timedelta(days=430)
_RATIOS = [name for name in NORMAL_NAMES if name.endswith("_over_normal")]


@pytest.fixture(scope="module")
def record() -> Record:
    return make_record(BERLIN, 440)


def past_of(record: Record, days: int | None = None) -> Past:
    history = build_history(*record.before(LEARNT_AT), record.weather_from(LEARNT_AT), issued_at=LEARNT_AT, days=days)
    return Past(record.city, history)


@pytest.fixture(scope="module")
def learnt(record: Record) -> tuple[Normal, Lessons]:
    """The normal, and the lessons with their table beside it."""
    past = past_of(record)
    lessons = make_lessons(past, np.random.default_rng(0), weather=True)
    normal, table = learn_normal(lessons, past.history.known_until, weather=True)
    return normal, Lessons(lessons.rows, table, lessons.share, lessons.weight, lessons.block, lessons.season)


def ahead(past: Past) -> Rows:
    origin = hour_number(LEARNT_AT)
    targets = np.arange(origin, origin + 48)
    return Rows(past, np.full(48, origin), targets)


def test_the_normal_follows_weather_and_calendar_of_hours_it_has_not_learnt_from(
    record: Record, learnt: tuple[Normal, Lessons]
) -> None:
    normal, lessons = learnt
    rows = ahead(past_of(record))
    table = normal.beside(feature_table(rows, weather=True), rows)
    actual = record.load["consumption_kwh"].to_numpy()[430 * 24 : 432 * 24]
    assert np.abs(table["load_normal"] * rows.level / actual - 1).mean() < 0.04
    naive = record.load["consumption_kwh"].to_numpy()[428 * 24 : 430 * 24]
    assert np.abs(table["load_normal"] * rows.level - actual).mean() < np.abs(naive - actual).mean()
    # Of the hours it has learnt from the lessons are told what it said without them: no better than of hours to come
    share = lessons.table["load_normal"] / lessons.share
    assert np.abs(share - 1).mean() > 0.8 * np.abs(table["load_normal"] * rows.level / actual - 1).mean()


def test_a_load_above_its_normal_is_told_for_each_day_whatever_the_weather_was(record: Record) -> None:
    """The normal is the load itself but for the day before the origin, on which the load lay 10 % above it."""
    past = past_of(record)
    rows = ahead(past).take(np.arange(24))
    grid: Floats = past.history.load / 977.0
    at = rows.origins[0] - past.history.start
    grid[at - 24 : at] /= 1.1
    grid[at : at + 24] = 1.5
    table = with_normal(feature_table(rows, weather=True), rows, grid)
    week = np.nansum(past.history.load[at - 168 : at]) / np.nansum(grid[at - 168 : at]) / 977.0
    assert table["load_day_1_over_normal"] == pytest.approx(np.full(24, 1.1 / week - 1), abs=1e-5)
    assert table["load_day_2_over_normal"] == pytest.approx(np.full(24, 1 / week - 1), abs=1e-5)
    assert table["load_last_6h_over_normal"] == pytest.approx(np.full(24, 1.1 / week - 1), abs=1e-5)
    assert table["load_normal"] == pytest.approx(1.5 * 977.0 * week / rows.level, rel=1e-5)
    assert table["load_normal_followed"] == pytest.approx(
        table["load_normal"] * (1 + table["load_same_hour_over_normal"])
    )


def test_what_is_not_known_is_as_usual(record: Record) -> None:
    past = past_of(record)
    rows = ahead(past)
    table = with_normal(feature_table(rows, weather=True), rows, np.full(len(past.history.load), np.nan))
    for name in _RATIOS:
        assert not table[name].any(), name
    assert np.array_equal(table["load_normal"], table["load_same_hour_mean"])


def test_it_sees_no_load_at_or_after_its_origin_and_no_weather_after_its_target(
    record: Record, learnt: tuple[Normal, Lessons]
) -> None:
    normal, _ = learnt
    past = past_of(record)
    origin = hour_number(START + timedelta(days=300, hours=5))
    rows = Rows(past, np.full(168, origin), np.arange(origin, origin + 168))
    before = normal.beside(feature_table(rows, weather=True), rows)
    past.history.load[origin - past.history.start :] *= 9.0
    past.history.weather["temperature"][origin + 100 - past.history.start :] += 20.0
    again = Rows(Past(past.city, past.history), rows.origins, rows.targets)
    after = normal.beside(feature_table(again, weather=True), again)
    assert np.array_equal(after.values[:100], before.values[:100], equal_nan=True)
    assert (after["load_normal"][100:] != before["load_normal"][100:]).any()


def test_a_live_run_has_the_bits_of_a_backtest(record: Record, learnt: tuple[Normal, Lessons]) -> None:
    normal, _ = learnt
    whole, recent = (ahead(past_of(record, days)) for days in (None, 134))
    one, other = (normal.beside(feature_table(rows, weather=True), rows) for rows in (whole, recent))
    assert np.array_equal(one.values, other.values, equal_nan=True)


def test_another_weather_is_another_normal_and_leaves_the_past_as_it_was(
    record: Record, learnt: tuple[Normal, Lessons]
) -> None:
    normal, _ = learnt
    rows = ahead(past_of(record))
    table = normal.beside(feature_table(rows, weather=True), rows)
    same = renewed(table, normal.of(hour_table(rows.past, rows.targets, weather=True)))
    assert same.values == pytest.approx(table.values, rel=1e-12, nan_ok=True)
    doubled = renewed(table, 2 * normal.of(table))
    assert doubled["load_normal"] == pytest.approx(2 * table["load_normal"])
    for name in _RATIOS:
        assert np.array_equal(doubled[name], table[name]), name


def test_an_ensemble_of_more_than_a_year_keeps_its_normal_and_its_drivers_add_up(record: Record) -> None:
    model = fit("ensemble", record.city, *record.before(LEARNT_AT), at=LEARNT_AT)
    assert isinstance(model, FittedEnsemble)
    assert all(head.members.normal is not None for head in model.heads.values())
    asked = (*record.before(LEARNT_AT), record.weather_from(LEARNT_AT))
    made = model.forecast(*asked, issued_at=LEARNT_AT, horizon_hours=24).frame
    again = load("ensemble", model.save())
    assert again.forecast(*asked, issued_at=LEARNT_AT, horizon_hours=24).frame.equals(made)
    found = model.drivers(*asked, issued_at=LEARNT_AT, horizon_hours=24)
    assert found is not None
    total = (
        found.group_by("timestamp", maintain_order=True)
        .agg(pl.col("contribution_kwh").sum())["contribution_kwh"]
        .to_numpy()
    )
    assert total == pytest.approx(made["predicted"].to_numpy(), rel=1e-6)
