"""Scenarios: they have the quantiles of the forecast, and the relation of errors that past forecasts had."""

from __future__ import annotations

import numpy as np
import pytest

from energy_forecast.forecasting.scenarios import bounds_of_peak, decay_hours, ranks, scenarios

LEVELS = np.arange(0.05, 0.951, 0.05)
# An exponential distribution of each hour, whose tail continues as the function assumes
QUANTILES = np.array([1000 * (1 + hour / 100) - 100 * np.log(1 - LEVELS) for hour in range(24)])


def test_scenarios_have_the_quantiles_of_the_forecast() -> None:
    paths = scenarios(QUANTILES, LEVELS, 6.0, draws=40_000)
    for level in (0.05, 0.5, 0.95):
        place = int(np.argmin(abs(LEVELS - level)))
        np.testing.assert_allclose(np.quantile(paths, level, axis=0), QUANTILES[:, place], rtol=0.01)


@pytest.mark.parametrize("threshold", [1300.0, 1500.0, 1700.0])
def test_probability_of_a_peak_equals_the_product_for_independent_hours(threshold: float) -> None:
    paths = scenarios(QUANTILES, LEVELS, 0.05, draws=40_000)
    below = [ranks(own[None, :], LEVELS, np.array([threshold]))[0] for own in QUANTILES]
    assert (paths.max(axis=1) > threshold).mean() == pytest.approx(1 - np.prod(below), abs=0.02)


def test_probability_of_a_peak_is_that_of_the_highest_hour_for_one_common_error() -> None:
    paths = scenarios(QUANTILES, LEVELS, 1e6, draws=40_000)
    low, high = bounds_of_peak(QUANTILES, LEVELS, np.array([1400.0]))
    assert (paths.max(axis=1) > 1400).mean() == pytest.approx(low[0], abs=0.01)
    assert low[0] < high[0] <= 1


@pytest.mark.parametrize("decay", [1.0, 6.0, 40.0])
def test_decay_of_the_errors_is_found_again(decay: float) -> None:
    paths = scenarios(QUANTILES, LEVELS, decay, draws=400)
    own = np.array([ranks(QUANTILES, LEVELS, path) for path in paths])
    assert decay_hours(own) == pytest.approx(decay, rel=0.25)


def test_too_few_ranks_have_no_decay() -> None:
    assert decay_hours(np.full((3, 24), np.nan)) is None
    assert decay_hours(np.full((4, 24), 0.5)) is None


def test_ranks_continue_beyond_the_quantiles() -> None:
    own = QUANTILES[:1]
    far = ranks(own, LEVELS, np.array([own[0, -1] + 1e3]))[0]
    near = ranks(own, LEVELS, np.array([own[0, -1] + 1]))[0]
    assert 0.95 < near < far < 1
    assert np.isnan(ranks(own, LEVELS, np.array([np.nan]))[0])
    # ln(20) is the exact quantile at 0.99 of an exponential tail
    exact = 1000 - 100 * np.log(1 - 0.99)
    assert ranks(own, LEVELS, np.array([exact]))[0] == pytest.approx(0.99, abs=1e-6)
