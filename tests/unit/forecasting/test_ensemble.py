"""The ensemble: aggregation, no use of later data, and short histories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting import City, FittedForecaster, ForecastInput, fit, load_model
from energy_forecast.forecasting.conformal.quantiles import error_profile
from energy_forecast.forecasting.data.history import build_history, hour_number
from energy_forecast.forecasting.ensemble import combiner
from energy_forecast.forecasting.ensemble.base_models import DEFAULT_MEMBERS, LinearMember, Member, NetworkMember
from energy_forecast.forecasting.ensemble.combiner import WINDOW_HOURS, FittedCombiner
from energy_forecast.forecasting.ensemble.error_scale import (
    coverage_adjustment,
    coverage_weights,
    expected_abs_error,
    profile_at,
    recent_scale,
    short_lead_scale,
    spread_factor,
)
from energy_forecast.forecasting.ensemble.later_days import (
    later_buckets,
    later_samples,
    later_weights,
    same_samples,
)
from energy_forecast.forecasting.ensemble.online_weights import WINDOW_DAYS, WeightState, aggregate_online
from energy_forecast.forecasting.ensemble.residual_correction import (
    COEFFICIENTS,
    fit_residual_correction,
    recent_residuals,
    residual_features,
)
from energy_forecast.forecasting.ensemble.training import Ensemble
from energy_forecast.forecasting.ensemble.unusual_days import UnusualDays
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.hours import CALIBRATION_LEADS
from energy_forecast.forecasting.models.decomposition import decompose
from energy_forecast.forecasting.models.mlp import Network, _gradients, train_network
from energy_forecast.forecasting.models.naive import NAIVE_24, NAIVE_168
from energy_forecast.forecasting.models.tao_vanilla import TaoVanilla
from energy_forecast.forecasting.models.weather_fallback import (
    FORECAST_WEATHER,
    OBSERVED_WEATHER,
    Variant,
    WeatherFallbackForecaster,
)
from energy_forecast.forecasting.serialization import from_bytes, to_bytes

from .conftest import FITTED_AT, PUNE, START, Record, assert_well_formed, make_record


def made_up(days: int = WINDOW_DAYS) -> tuple[np.ndarray, np.ndarray]:
    """Return a good member that is 0.1 too low, a noisy one, and observations, [2, days, 24] and [days, 24]."""
    draw = np.random.default_rng(3)
    actual = 1 + 0.2 * np.sin(np.arange(24) / 4) + 0.02 * draw.normal(0, 1, (days, 24))
    good = actual - 0.1 + 0.01 * draw.normal(0, 1, actual.shape)
    noisy = actual + 0.2 * draw.normal(0, 1, actual.shape)
    return np.stack([good, noisy]), actual


def test_aggregation_corrects_bias_and_prefers_better_member() -> None:
    shares, actual = made_up()
    found = aggregate_online(shares, actual)
    state = found.states[-1]
    assert state.weights(np.full((2, 24), fill_value=True), np.arange(24))[0].min() > 0.99
    assert np.abs(actual - found.combined)[-10:].mean() < 0.02
    assert state.slow[0] + 0.6 * state.fast[0] == pytest.approx(np.full(24, 0.1), abs=0.015)


def test_corrections_count_as_far_as_they_helped() -> None:
    """Errors that change every day are not corrected; errors that last are corrected in full."""
    draw = np.random.default_rng(8)
    actual = np.ones((WINDOW_DAYS, 24))
    noise = 0.02 * np.repeat(draw.normal(0, 1, (WINDOW_DAYS, 1)), 24, axis=1)
    for bias, low, high in ((0.0, 0.0, 0.5), (0.1, 0.95, 1.05)):
        share = actual - bias + noise
        state = aggregate_online(share[None], actual).states[-1]
        combined, _ = state.combine(share[None, -1], np.arange(24))
        corrected = state.slow[0] + 0.6 * state.fast[0]
        counted = float(np.mean((combined - share[-1]) / corrected))
        assert low < counted < high


def test_state_ignores_observations_of_unfinished_days() -> None:
    shares, actual = made_up()
    day = 30
    later = actual.copy()
    later[day:] *= 3
    one, other = aggregate_online(shares, actual), aggregate_online(shares, later)
    for before, after in zip(one.states[: day + 1], other.states[: day + 1], strict=True):
        assert np.array_equal(before.weight, after.weight)
        assert np.array_equal(before.slow, after.slow)
        assert np.array_equal(before.fast, after.fast)
    assert np.array_equal(one.combined[: day + 1], other.combined[: day + 1])
    assert not np.array_equal(one.states[day + 1].slow, other.states[day + 1].slow)


def test_aggregation_skips_missing_predictions_and_observations() -> None:
    shares, actual = made_up()
    shares[0, 20:] = np.nan
    actual[:10] = np.nan
    found = aggregate_online(shares, actual)
    assert np.isfinite(found.combined).all()
    assert not found.states[10].slow.any()
    state = found.states[25]
    alone = state.combine(shares[:, 25], np.arange(24))[0]
    only = WeightState(state.slow[1:], state.fast[1:], state.weight[:, 1:]).combine(shares[1:, 25], np.arange(24))[0]
    assert np.array_equal(alone, only)


def test_aggregation_without_history_is_the_mean() -> None:
    shares = np.stack([np.full((1, 24), 1.0), np.full((1, 24), 3.0)])
    assert aggregate_online(shares, np.full((1, 24), np.nan)).combined == pytest.approx(np.full((1, 24), 2.0))


def test_scale_follows_recent_errors_and_spread() -> None:
    days = np.ones((WINDOW_DAYS, 24))
    assert recent_scale(days) == pytest.approx(np.ones(WINDOW_DAYS + 1))
    assert recent_scale(np.full((WINDOW_DAYS, 24), np.nan)) == pytest.approx(np.ones(WINDOW_DAYS + 1))
    assert 2.5 < recent_scale(3 * days)[-1] < 3.0
    later = days.copy()
    later[30:] *= 9
    assert np.array_equal(recent_scale(later)[:31], recent_scale(days)[:31])
    assert spread_factor(np.array([2.0, 1.0, 0.5]), np.ones(3)).tolist() == sorted(
        spread_factor(np.array([2.0, 1.0, 0.5]), np.ones(3)).tolist(), reverse=True
    )


def test_coverage_adjustment_follows_recent_error_shape() -> None:
    """Held-out errors are normal, recent ones uniform: the 90 % interval gets narrower, the 50 % interval wider."""
    levels = np.arange(1, 20) / 20
    fitted_quantiles = np.array([NormalDist().inv_cdf(level) for level in levels])
    weight = coverage_weights(WINDOW_DAYS)
    draw = np.random.default_rng(5)

    def adjustment(errors: np.ndarray) -> np.ndarray:
        n = errors.size
        return coverage_adjustment(errors.ravel(), weight.ravel(), np.tile(fitted_quantiles, (n, 1)))

    assert adjustment(draw.normal(0, 1, weight.shape)) == pytest.approx(np.ones(19), abs=0.1)
    even = adjustment(draw.uniform(-1.25, 1.25, weight.shape))
    assert even[0] == even[-1] == pytest.approx((0.9 * 1.25 / 1.645) ** 0.57, abs=0.06)
    assert even[0] < even[5] < 1.0
    assert even[9] == 1.0
    few = np.full(weight.shape, np.nan)
    assert np.array_equal(adjustment(few), np.ones(19))
    few[-2:] = 0.01
    assert 0.82 < adjustment(few)[0] < 0.92
    assert adjustment(np.full(weight.shape, 0.01))[0] < 0.6


def test_expected_error_interpolates_untested_issue_hours() -> None:
    """Errors grow with the lead and peak at 18 o'clock; known are those of issues at 0, 8 and 16 o'clock."""
    draw = np.random.default_rng(7)
    lead = np.tile(np.arange(24), 3 * 400)
    hour = (np.repeat(np.tile([0, 8, 16], 400), 24) + lead) % 24

    def size(lead: np.ndarray, hour: np.ndarray) -> np.ndarray:
        return 0.02 * (1 - 0.7 * np.exp(-lead / 5)) * (1 + 0.4 * np.cos(2 * np.pi * (hour - 18) / 24))

    errors = size(lead, hour) * np.sqrt(np.pi / 2) * draw.normal(0, 1, len(lead))
    table, by_bucket = expected_abs_error(errors, lead, hour), error_profile(errors, lead, hour)
    ahead = np.arange(24)
    for issued_at in (6, 12, 18):
        then = (issued_at + ahead) % 24
        assert profile_at(table, ahead, then) == pytest.approx(size(ahead, then), rel=0.3)
        # The purpose of the profile: the first hour ahead differs from the fourth
        assert by_bucket[CALIBRATION_LEADS.bucket(ahead), then][0] > 1.5 * size(ahead, then)[0]


def test_expected_error_of_later_leads_is_by_bucket() -> None:
    lead, hour = np.repeat([3, 30, 60, 120], 500), np.tile(np.arange(500) % 24, 4)
    table = expected_abs_error(np.repeat([0.01, 0.02, 0.03, 0.04], 500), lead, hour)
    leads = np.array([24, 47, 48, 95, 96, 167, 3])
    assert profile_at(table, leads, np.full(7, 5)) == pytest.approx([0.02, 0.02, 0.03, 0.03, 0.04, 0.04, 0.01])
    for known in (np.full(2000, np.nan), np.where(lead == 120, 0.04, np.nan), np.zeros(2000)):
        table = expected_abs_error(known, lead, hour)
        assert np.isfinite(table).all()
        assert table.min() > 0


def test_short_lead_scale_uses_short_leads_only() -> None:
    days = np.ones((WINDOW_DAYS, 24))
    assert short_lead_scale(days) == pytest.approx(1.0)
    assert short_lead_scale(np.full((WINDOW_DAYS, 24), np.nan)) == 1.0
    others = days.copy()
    others[:, 6:] = 4.0
    others[:7] = 4.0
    assert short_lead_scale(others) == pytest.approx(1.0)
    smaller = days.copy()
    smaller[:, :6] = -0.5
    assert 0.5 < short_lead_scale(smaller) < 0.7
    wild = days.copy()
    wild[-1, 0] = 1e9
    assert short_lead_scale(wild) < 1.2


def test_short_lead_scale_widens_short_leads_only(
    fitted: Callable[[str], FittedForecaster], berlin: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted("ensemble")
    issued_at = FITTED_AT + timedelta(days=3)

    def widths() -> np.ndarray:
        made = model.predict(
            ForecastInput(*berlin.before(issued_at), berlin.weather_from(issued_at), issued_at, 48)
        ).frame
        return (made["q95"] - made["q05"]).to_numpy()

    monkeypatch.setattr(combiner, "coverage_adjustment", lambda _standard, _weight, _quantiles: np.ones(19))
    monkeypatch.setattr(combiner, "short_lead_scale", lambda _standard: 1.0)
    once = widths()
    monkeypatch.setattr(combiner, "short_lead_scale", lambda _standard: 2.0)
    assert widths() / once == pytest.approx(np.where(np.arange(48) < 6, 2.0, 1.0))


def test_residual_correction_fades_and_ignores_later_errors() -> None:
    """Errors halve every four hours, also across midnight."""
    draw = np.random.default_rng(6)
    errors = np.zeros(24 * 400)
    for hour in range(1, len(errors)):
        errors[hour] = 0.5**0.25 * errors[hour - 1] + draw.normal(0, 0.5)
    days = errors.reshape(400, 24)
    day, lead = np.repeat(np.arange(400), 24), np.tile(np.arange(24), 400)
    seen = residual_features(recent_residuals(days)[day], lead)
    assert seen.shape == (400 * 24, COEFFICIENTS)
    echo = (seen @ fit_residual_correction([seen], [days.ravel()])).reshape(400, 24)
    left = (days - echo).var(axis=0) / days.var(axis=0)
    assert left[0] < 0.45
    assert left[4] < 0.85
    assert left[23] == pytest.approx(1.0, abs=0.05)
    later = days.copy()
    later[200:] = 99.0
    assert np.array_equal(recent_residuals(later)[:201], recent_residuals(days)[:201])
    assert not recent_residuals(np.full((3, 24), np.nan)).any()


def test_decomposition_ignores_load_after_origin(berlin: Record) -> None:
    history = build_history(*berlin[1:], berlin.weather.clear(), issued_at=START + timedelta(days=240), days=None)
    origin = hour_number(START + timedelta(days=150, hours=5))
    samples = Samples(HistoryView(berlin.city, history), np.full(168, origin), np.arange(origin, origin + 168))
    before = decompose(samples)
    history.load[origin - history.start :] *= 9.0
    again = Samples(HistoryView(berlin.city, history), samples.origins, samples.targets)
    assert np.array_equal(decompose(again), before)


def test_decomposition_repeats_periodic_load() -> None:
    record = make_record(PUNE, 70, noise=0.0)
    local = pl.col("timestamp").dt.convert_time_zone(PUNE.timezone)
    kwh = 1000 + 20 * local.dt.hour() + 50 * (local.dt.weekday() >= 6)
    load = record.load.with_columns(kwh.cast(pl.Float64).alias("consumption_kwh"))
    history = build_history(
        load, record.weather.clear(), record.weather.clear(), issued_at=START + timedelta(days=70), days=None
    )
    origin = hour_number(START + timedelta(days=60))
    samples = Samples(
        HistoryView(City("flat", 0, 0, "Asia/Kolkata"), history), np.full(168, origin), origin + np.arange(168)
    )
    assert decompose(samples) == pytest.approx(samples.actual, rel=0.002)


def test_network_gradients_equal_finite_differences() -> None:
    """The loss is Huber's, with a slope of 1 beyond errors of 0.3."""
    draw = np.random.default_rng(3)
    sizes = (4, 6, 5, 1)
    values = [draw.normal(0, 0.5, shape) for shape in pairwise(sizes)] + [draw.normal(0, 0.5, n) for n in sizes[1:]]
    inputs, target, weight = draw.normal(0, 1, (9, 4)), draw.normal(0, 1, 9), draw.uniform(0.5, 1, 9)

    def loss() -> float:
        value = inputs
        for layer in range(3):
            value = value @ values[layer] + values[3 + layer]
            value = np.maximum(value, np.float32(0.01) * value) if layer < 2 else value
        size = np.abs(value[:, 0] - target)
        limit = float(np.float32(0.3))
        return float((weight * np.where(size < limit, size**2 / (2 * limit), size - limit / 2)).mean())

    gradients = [np.zeros_like(value) for value in values]
    _gradients(values[:3], values[3:], inputs, target, weight, gradients[:3], gradients[3:])  # type: ignore[arg-type]
    for value, gradient in zip(values, gradients, strict=True):
        for place in np.ndindex(value.shape):
            before, step = value[place], 1e-6
            value[place] = before + step
            above = loss()
            value[place] = before - step
            assert gradient[place] == pytest.approx((above - loss()) / (2 * step), rel=1e-5, abs=1e-8)
            value[place] = before


def test_network_fits_nonlinear_target_deterministically() -> None:
    draw = np.random.default_rng(0)
    inputs = draw.normal(0, 1, (20_000, 3)).astype(np.float32)
    target = (np.abs(inputs[:, 0]) + inputs[:, 1] * (inputs[:, 2] > 0)).astype(np.float32)
    one, other = (
        train_network(inputs[:16_000], target[:16_000], np.ones(16_000, np.float32), decay=0.1, seed=4)
        for _ in range(2)
    )
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(one.layers, other.layers, strict=True))
    assert np.abs(one.predict(inputs[16_000:]) - target[16_000:]).mean() < 0.2
    again = from_bytes(Network, to_bytes(one))
    assert np.array_equal(again.predict(inputs), one.predict(inputs))


NAMES = [member.name for member in DEFAULT_MEMBERS]


def test_stored_predictions_cover_training_hours(fitted: Callable[[str], FittedForecaster], berlin: Record) -> None:
    """A test of members on their training hours would favour those that overfit."""
    model = fitted("ensemble")
    assert isinstance(model, WeatherFallbackForecaster)
    own = model.variants[OBSERVED_WEATHER]
    assert isinstance(own, FittedCombiner)
    until = own.tail_until
    history = build_history(*berlin[1:], berlin.weather.clear(), issued_at=START + timedelta(days=240), days=None)
    view = HistoryView(berlin.city, history)
    for origin in (until, until + 240, until - 240):
        window = own._stored_predictions(view, origin, origin - WINDOW_HOURS)
        hours = origin - WINDOW_HOURS + np.arange(WINDOW_HOURS)
        inside = (hours < until) & (hours >= until - WINDOW_HOURS)
        assert np.isfinite(window[NAMES.index("decomposition")]).tolist() == inside.tolist()
    hour = int(view.calendar.hour[until - history.start])
    fresh = own.tail[[0, 8, 16].index(min((0, 8, 16), key=lambda p: min((hour - p) % 24, (p - hour) % 24)))]
    assert np.array_equal(own._stored_predictions(view, until, until - WINDOW_HOURS), fresh.astype(float))


def test_stored_forecasts_of_later_days_cover_training_hours(
    fitted: Callable[[str], FittedForecaster], berlin: Record
) -> None:
    model = fitted("ensemble")
    assert isinstance(model, WeatherFallbackForecaster)
    own = model.variants[OBSERVED_WEATHER]
    assert isinstance(own, FittedCombiner)
    until = own.tail_until
    history = build_history(*berlin[1:], berlin.weather.clear(), issued_at=START + timedelta(days=240), days=None)
    view = HistoryView(berlin.city, history)
    for origin in (until, until + 100, until + 240):
        later = later_samples(view, origin, later_buckets(167))
        stored = own._stored_later(later)[NAMES.index("decomposition")]
        assert np.isfinite(stored).tolist() == (later.targets < until).tolist()
        assert np.nanmedian(np.abs(stored - later.actual / later.level)) < 0.1


def test_sample_of_later_days_is_the_same_for_each_issue(berlin: Record) -> None:
    history = build_history(*berlin[1:], berlin.weather.clear(), issued_at=START + timedelta(days=240), days=None)
    view = HistoryView(berlin.city, history)
    end = history.known_until
    one, other = later_samples(view, end, later_buckets(167)), later_samples(view, end + 31, later_buckets(50))
    assert (one.targets < end).all()
    assert (one.lead.min(), one.lead.max(), other.lead.max()) == (24, 167, 95)
    assert len(set(one.targets % 24)) == 24
    here, there = same_samples(one, other)
    both = (one.origins >= other.origins.min()) & (one.lead < 96)
    assert np.array_equal(here, np.flatnonzero(both))
    assert np.array_equal(one.targets[here], other.targets[there])
    assert len(later_samples(view, end, later_buckets(23))) == 0
    # Four weeks of forecasts that are complete, with a half-life of 20 days
    week = later_weights(one, end)[one.lead >= 96].sum()
    assert 14 < week < 20


def test_coverage_of_later_days_follows_their_recent_errors(
    fitted: Callable[[str], FittedForecaster], berlin: Record
) -> None:
    """Intervals of days two to seven that were fitted three times too wide become narrower, those of day one do not."""
    model = fitted("ensemble")
    assert isinstance(model, WeatherFallbackForecaster)
    own = model.variants[FORECAST_WEATHER]
    assert isinstance(own, FittedCombiner)
    issued_at = FITTED_AT + timedelta(days=20)
    data = ForecastInput(*berlin.before(issued_at), berlin.weather_from(issued_at), issued_at, 168)

    def widths(factor: float) -> np.ndarray:
        quantiles = own.quantiles.copy()
        quantiles[later_buckets(167)] *= factor
        changed = replace(own, quantiles=quantiles)
        frame = replace(model, variants={**model.variants, FORECAST_WEATHER: changed}).predict(data).frame
        return (frame["q95"] - frame["q05"]).to_numpy()

    ratio = widths(3.0) / widths(1.0)
    assert ratio[:24] == pytest.approx(np.ones(24))
    assert 1.2 < ratio[24:].min() <= ratio[24:].max() < 2.2


def test_unusual_days_widen_by_their_held_out_errors() -> None:
    """A year with twice the errors on holidays, and as many on other days, on hot ones too."""
    record = make_record(PUNE, 420)
    history = build_history(*record[1:], record.weather.clear(), issued_at=START + timedelta(days=420), days=None)
    view = HistoryView(PUNE, history)
    hours = history.first + np.arange(24, 24 * 419)
    holiday = view.calendar.holiday[hours - history.start] == 1
    morrow = view.calendar.morrow[hours - history.start] == 1
    assert 5 < holiday.sum() / 24 < 40
    draw = np.random.default_rng(9)
    errors = draw.normal(0, 1, len(hours))

    found = UnusualDays.fit(view, hours, np.where(holiday, 2, 1) * errors, weather=True)
    low, middle, high = found.usual_temperature
    assert low < middle < high
    factor = found.factor(view, hours)
    usual = ~holiday & ~morrow
    assert 1.5 < factor[holiday].mean() < 2.0
    assert factor[morrow & ~holiday].mean() < 1.15
    assert factor[usual].mean() == pytest.approx(1.0, abs=0.03)
    none = UnusualDays.fit(view, hours, errors, weather=False)
    assert none.factor(view, hours)[holiday].mean() < 1.35
    assert (none.factor(view, hours)[usual] == 1.0).all()
    # Without any errors the prior is used
    assert not UnusualDays.fit(view, hours, np.full(len(hours), np.nan), weather=True).increase.any()


def test_hot_days_ahead_widen_intervals(fitted: Callable[[str], FittedForecaster], berlin: Record) -> None:
    model = fitted("ensemble")
    assert isinstance(model, WeatherFallbackForecaster)
    own = model.variants[FORECAST_WEATHER]
    assert isinstance(own, FittedCombiner)
    issued_at = FITTED_AT + timedelta(days=3)
    weather = berlin.weather_from(issued_at).with_columns(pl.col("temperature") + 12)
    data = ForecastInput(*berlin.before(issued_at), weather, issued_at, 72)

    def widths(hot: float) -> np.ndarray:
        unusual = replace(own.unusual_days, increase=np.array([0.0, 0.0, hot, 0.0]))
        changed = replace(own, unusual_days=unusual)
        frame = replace(model, variants={**model.variants, FORECAST_WEATHER: changed}).predict(data).frame
        return (frame["q95"] - frame["q05"]).to_numpy()

    ratio = widths(0.5) / widths(0.0)
    assert ratio[-24:].min() > 1.2
    assert ratio[-24:].mean() > ratio[0] + 0.2


@pytest.mark.parametrize("weeks", [3, 6, 12])
def test_short_history_is_no_worse_than_best_naive(weeks: int) -> None:
    record = make_record(PUNE, 7 * weeks + 21, seed=11, noise=0.03)
    at = START + timedelta(weeks=weeks)
    mape = {}
    for name in ("naive-24", "naive-168", "ensemble"):
        model = fit(name, PUNE, *record.before(at), at=at)
        frames = []
        for day in range(0, 20, 2):
            issued = at + timedelta(days=day)
            made = model.predict(ForecastInput(*record.before(issued), record.weather_from(issued), issued, 24))
            assert_well_formed(made.frame, issued, 24)
            frames.append(made.frame)
        result = pl.concat(frames).join(record.load, on="timestamp")
        mape[name] = metrics.mape(result["consumption_kwh"], result["predicted"])
    assert mape["ensemble"] <= 1.02 * min(mape["naive-24"], mape["naive-168"])
    # The last model of the loop is the ensemble: few days are reported
    assert any("Intervals are based on the errors of" in note for note in made.notes) == (weeks < 12)


def test_serves_and_reports_better_naive_model() -> None:
    """A load with a new random day each week, repeated every day: naive-24 is the best model."""
    record = make_record(PUNE, 100, seed=2)
    draw = np.random.default_rng(1)
    weeks = np.exp(np.cumsum(draw.normal(0, 0.25, (15, 24)), axis=0))
    kwh = 1000 * np.repeat(weeks, 7, axis=0).ravel()[: record.load.height]
    record = record._replace(load=record.load.with_columns(pl.Series("consumption_kwh", kwh)))
    at = START + timedelta(days=80)
    model = fit("ensemble", PUNE, *record.before(at), at=at)
    naive = fit("naive-24", PUNE, *record.before(at), at=at)
    given = (*record.before(at), record.weather_from(at))
    made = model.predict(ForecastInput(*given, at, 24))
    assert any("naive-24 is served" in note for note in made.notes)
    expected = naive.predict(ForecastInput(*given, at, 24)).frame["predicted"].to_numpy()
    assert made.frame["predicted"].to_numpy() == pytest.approx(expected)
    assert at < FITTED_AT


def test_recent_errors_move_only_quantiles_of_served_naive() -> None:
    """A load with a linear trend: the day before is too low by the same amount, and the quantiles correct it."""
    record = make_record(PUNE, 100, seed=2)
    draw = np.random.default_rng(1)
    weeks = np.repeat(np.cumsum(draw.normal(0, 250, (15, 24)), axis=0) + 9000, 7, axis=0)
    growing = (weeks + 60 * np.arange(105)[:, None] + draw.normal(0, 5, (105, 24))).ravel()[: record.load.height]
    record = record._replace(load=record.load.with_columns(pl.Series("consumption_kwh", growing)))
    at = START + timedelta(days=80)
    model = fit("ensemble", PUNE, *record.before(at), at=at)
    assert isinstance(model, WeatherFallbackForecaster)
    variants: dict[str, Variant] = {}
    for kind, one in model.variants.items():
        assert isinstance(one, FittedCombiner)
        variants[kind] = replace(one, only=NAMES.index("naive-24"))
    given = (*record.before(at), record.weather_from(at))
    made = replace(model, variants=variants).predict(ForecastInput(*given, at, 24)).frame
    naive = fit("naive-24", PUNE, *record.before(at), at=at).predict(ForecastInput(*given, at, 24)).frame
    assert made["predicted"].to_numpy() == pytest.approx(naive["predicted"].to_numpy())
    moved = (made["q50"] - made["predicted"]).to_numpy()
    assert 30 < moved.mean() < 90


@pytest.mark.parametrize(
    "members",
    [
        (NAIVE_168, TaoVanilla()),
        (LinearMember(), NetworkMember("network", 0), NetworkMember("correcting", 1, corrects=True), NAIVE_24),
        (LinearMember(),),
    ],
    ids=["regressors", "both kinds", "one"],
)
def test_ensemble_of_other_members(members: tuple[Member, ...]) -> None:
    """A composition is fitted, stored, read and explained like the default one."""
    record = make_record(PUNE, 60)
    at = START + timedelta(days=50)
    own = Ensemble(members, name="own")
    model = fit(own, PUNE, *record.before(at), at=at)
    for kind in ("forecast_weather", "observed_weather", "without_weather"):
        assert model.parameters[kind]["members"] == [member.name for member in members]
    again = load_model(own, model.to_bytes())
    assert again.to_bytes() == model.to_bytes()
    data = ForecastInput(*record.before(at), record.weather_from(at).head(30), at, 48)
    made = again.predict(data)
    assert_well_formed(made.frame, at, 48)
    assert made.weather_hours == 30
    actual = made.frame.join(record.load, on="timestamp")
    assert metrics.mape(actual["consumption_kwh"], actual["predicted"]) < 8
    explained = model.contributions(data)
    assert explained is not None
    total = explained.group_by("timestamp").agg(pl.col("contribution_kwh").sum()).sort("timestamp")
    assert total["contribution_kwh"].to_numpy() == pytest.approx(made.frame["predicted"].to_numpy(), rel=1e-6)
    with pytest.raises(ArtifactError, match="This is a own model, not ensemble"):
        load_model("ensemble", model.to_bytes())
