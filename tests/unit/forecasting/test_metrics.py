"""Metrics compared with scikit-learn and with manual arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from energy_forecast.forecasting import QUANTILE_LEVELS
from energy_forecast.forecasting.evaluation import metrics

DRAW = np.random.default_rng(3)
ACTUAL = DRAW.uniform(50, 150, 200)
PREDICTED = ACTUAL + DRAW.normal(0, 10, 200)
QUANTILES = PREDICTED[:, None] + np.linspace(-15, 15, 19)[None, :]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.mae, sklearn_metrics.mean_absolute_error),
        (metrics.rmse, sklearn_metrics.root_mean_squared_error),
        (metrics.r2, sklearn_metrics.r2_score),
        (metrics.mape, lambda a, p: 100 * sklearn_metrics.mean_absolute_percentage_error(a, p)),
    ],
    ids=["mae", "rmse", "r2", "mape"],
)
def test_score_equals_scikit_learn(ours, theirs) -> None:  # type: ignore[no-untyped-def]
    assert ours(ACTUAL, PREDICTED) == pytest.approx(theirs(ACTUAL, PREDICTED), rel=1e-12)


def test_pinball_equals_scikit_learn() -> None:
    theirs = [
        sklearn_metrics.mean_pinball_loss(ACTUAL, QUANTILES[:, i], alpha=level)
        for i, level in enumerate(QUANTILE_LEVELS)
    ]
    assert metrics.pinball(ACTUAL, QUANTILES) == pytest.approx(np.mean(theirs), rel=1e-12)


def test_mape_skips_zero_actuals() -> None:
    """A division by zero must neither fail nor count as a perfect hour."""
    actual, predicted = [0.0, 100.0, 200.0], [5.0, 110.0, 180.0]
    assert metrics.mape(actual, predicted) == pytest.approx(10.0)  # (10 % + 10 %) / 2
    assert math.isnan(metrics.mape([0.0], [1.0]))


def test_scores_skip_unknown_values() -> None:
    actual, predicted = [1.0, np.nan, 3.0, 5.0], [2.0, 2.0, np.inf, 5.0]
    assert metrics.mae(actual, predicted) == 0.5
    assert metrics.rmse(actual, predicted) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("score", [metrics.mae, metrics.rmse, metrics.r2, metrics.mape], ids=lambda f: f.__name__)
def test_empty_pairs_give_nan(score) -> None:  # type: ignore[no-untyped-def]
    assert math.isnan(score([], []))
    assert math.isnan(score([np.nan], [1.0]))


def test_r2_of_constant_actual_is_nan() -> None:
    assert math.isnan(metrics.r2([5.0, 5.0], [5.0, 5.0]))


def test_coverage_includes_both_ends() -> None:
    assert metrics.coverage([1, 2, 3, 4], [1, 0, 4, 0], [1, 3, 5, 4]) == 0.75


def test_skill_score_of_known_cases() -> None:
    assert metrics.skill_score(0.0, 4.0) == 1.0
    assert metrics.skill_score(4.0, 4.0) == 0.0
    assert metrics.skill_score(6.0, 4.0) == -0.5
    assert math.isnan(metrics.skill_score(1.0, 0.0))


def test_rejects_different_shapes() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        metrics.mae([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="shape"):
        metrics.pinball([1.0], [[1.0, 2.0]])
