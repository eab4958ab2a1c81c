"""Significance of skill differences."""

from __future__ import annotations

import numpy as np
import pytest

from energy_forecast.forecasting.evaluation.significance import paired_test


def test_finds_clear_difference() -> None:
    rng = np.random.default_rng(1)
    bad = rng.gamma(4, 25, 60)
    good = 0.7 * bad + rng.normal(0, 3, 60)
    found = paired_test(good, bad)
    assert found.difference == pytest.approx(good.mean() - bad.mean())
    assert found.p_value < 0.001
    assert found.upper_tail > 0.99
    assert found.lower < found.difference < found.upper < 0
    assert paired_test(bad, good).upper_tail < 0.001


def test_false_positive_rate_is_nominal() -> None:
    """If neither forecaster is better and issues are correlated, about a twentieth of tests finds a difference."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        noise = rng.normal(0, 1, 90)
        for place in range(1, 90):
            noise[place] += 0.3 * noise[place - 1]
        hits += paired_test(100 + noise, np.full(90, 100.0)).p_value < 0.05
    assert 0.02 < hits / 300 < 0.12


def test_equal_losses_are_not_significant() -> None:
    found = paired_test(np.arange(30.0), np.arange(30.0))
    assert (found.difference, found.lower, found.upper) == (0, 0, 0)
    assert found.p_value == found.upper_tail == 1


def test_result_is_deterministic() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.gamma(4, 25, 40), rng.gamma(4, 25, 40)
    assert paired_test(a, b) == paired_test(a, b)


@pytest.mark.parametrize(
    ("a", "b"), [([1.0], [2.0]), ([1.0, 2.0], [1.0]), ([1.0, np.nan], [1.0, 2.0]), ([[1.0, 2.0]], [[1.0, 2.0]])]
)
def test_rejects_losses_that_do_not_match(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match=r"losses|finite"):
        paired_test(a, b)
