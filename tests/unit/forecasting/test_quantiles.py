"""Conformal quantiles: ranks by hand, and coverage of new errors."""

from __future__ import annotations

import numpy as np
import pytest

from energy_forecast.forecasting.conformal.quantiles import (
    BUCKETS,
    Calibration,
    calibrate,
    conformal_quantiles,
    error_profile,
    fit_quantiles,
    long_lead_factor,
    recent_bias_and_scale,
    spread_for_few,
)
from energy_forecast.forecasting.hours import CALIBRATION_LEADS
from energy_forecast.forecasting.types import QUANTILE_LEVELS


def test_quantiles_have_conformal_ranks() -> None:
    """With 99 errors, level a is the 100a-th smallest: the 95th for 0.95, the 5th for 0.05."""
    quantiles = dict(zip(QUANTILE_LEVELS, conformal_quantiles(np.arange(1.0, 100.0)), strict=True))
    assert (quantiles[0.05], quantiles[0.5], quantiles[0.95]) == (5.0, 50.0, 95.0)


def test_few_errors_give_their_extremes() -> None:
    quantiles = conformal_quantiles(np.array([-2.0, 0.0, 3.0]))
    assert (quantiles[0], quantiles[-1]) == (-2.0, 3.0)


def test_each_lead_time_has_one_bucket() -> None:
    assert CALIBRATION_LEADS.bucket(np.array([0, 5, 6, 23, 24, 47, 48, 95, 96, 191])).tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
    ]
    assert len(CALIBRATION_LEADS) == BUCKETS


def test_coverage_is_nominal_in_each_bucket() -> None:
    draw = np.random.default_rng(5)
    n = 240_000
    lead, hour = draw.integers(0, 168, n), draw.integers(0, 24, n)
    size = 0.01 * (1 + lead / 50) * (1 + (hour > 12))
    errors = size * draw.normal(0, 1, n)
    half = n // 2
    profile = error_profile(errors[:half], lead[:half], hour[:half])
    known = (errors[:half], np.arange(half), lead[:half], hour[:half])
    calibration = calibrate(*known, np.zeros(half), np.ones(half), profile)
    spread = calibration.error_quantiles(lead[half:], hour[half:], 0.0, 1.0)
    inside = (errors[half:] >= spread[:, 0]) & (errors[half:] <= spread[:, -1])
    for bucket in range(BUCKETS):
        # About 4,000 errors in the smallest bucket: three standard deviations are 0.02.
        assert inside[CALIBRATION_LEADS.bucket(lead[half:]) == bucket].mean() == pytest.approx(0.9, abs=0.02)
    assert inside[hour[half:] > 13].mean() == pytest.approx(0.9, abs=0.02)


def test_empty_bucket_takes_neighbours_width() -> None:
    errors, hour = np.full(480, 0.1), np.tile(np.arange(24), 20)
    profile = error_profile(errors, np.zeros(480, np.int64), hour)
    assert profile == pytest.approx(np.full((BUCKETS, 24), 0.1))


def test_recent_errors_give_bias_and_scale() -> None:
    age = np.arange(24 * 28, 0, -1)
    both = np.tile([1.0, -1.0], 24 * 14)
    assert recent_bias_and_scale(np.full(24 * 28, np.nan), age) == (0.0, 1.0)
    assert recent_bias_and_scale(both, age) == pytest.approx((0.0, 1.0), abs=0.02)
    bias, scale = recent_bias_and_scale(3 * both, age)
    assert bias == pytest.approx(0.0, abs=0.05)
    assert 2.0 < scale < 3.0
    bias, scale = recent_bias_and_scale(3 + 0.1 * both, age)
    assert 2.0 < bias < 3.0
    assert scale < 1.0


@pytest.mark.parametrize(("n", "t"), [(4, 2.3534), (10, 1.8331), (30, 1.6991)], ids=["3 df", "9 df", "29 df"])
def test_few_days_widen_like_student_t(n: int, t: float) -> None:
    """t at 0.95 from a table, times sqrt(1 + 1 / n) for the unknown mean."""
    normal = 1.6449 * np.linspace(-1, 1, 19)
    wide = spread_for_few(normal, n)
    assert wide[-1] == pytest.approx(t * np.sqrt(1 + 1 / n), abs=0.02)
    assert wide[0] == pytest.approx(-wide[-1])
    assert (np.diff(wide) > 0).all()


def test_intervals_from_few_days_cover() -> None:
    """The 24 errors of a day are equal, so 10 days are 10 errors, not 240."""
    draw = np.random.default_rng(6)
    inside, width = {}, {}
    for days in (10, 1000):
        hour = np.tile(np.arange(24), days)
        covered = []
        for _ in range(200 if days == 10 else 2):
            errors = 0.03 * np.repeat(draw.normal(0, 1, days + 50), 24)
            own, n = errors[: 24 * days], 24 * days
            profile = error_profile(own, hour, hour)
            calibration = calibrate(own, np.arange(n), hour, hour, np.zeros(n), np.ones(n), profile)
            spread = calibration.error_quantiles(np.full(50, 12), np.full(50, 12), 0.0, 1.0)
            new = errors[24 * days :: 24]
            covered.append(np.mean((new >= spread[:, 0]) & (new <= spread[:, -1])))
            width[days] = spread[0, -1] - spread[0, 0]
        inside[days] = np.mean(covered)
    assert 0.88 < inside[10] < 0.97
    assert width[1000] == pytest.approx(2 * 1.645 * 0.03, rel=0.1)


def test_untested_long_leads_are_wider() -> None:
    """After 8 weeks without load the factor is the cube root of 8; up to a week it is 1."""
    lead = np.array([0, 24, 168, 8 * 168])
    assert long_lead_factor(lead).tolist() == pytest.approx([1.0, 1.0, 1.0, 2.0])
    calibration = Calibration(np.full((5, 24), 0.1), np.tile(np.linspace(-2, 2, 19), (5, 1)), 1000)
    width = np.ptp(calibration.error_quantiles(lead, np.zeros(4, np.int64), 0.0, 1.0), axis=1)
    assert width.tolist() == pytest.approx([0.4, 0.4, 0.4, 0.8])


def test_errors_of_many_days_may_count_as_fewer() -> None:
    """At most 20 independent days widen the 90 % interval by Student's t with 19 degrees of freedom."""
    errors = np.random.default_rng(3).normal(0, 1, 24 * 600)
    targets, lead = np.arange(len(errors)), np.zeros(len(errors), np.int64)
    usual, limited = (fit_quantiles(errors, targets, lead, most_days=most) for most in (np.inf, 20.0))
    assert limited[0, -1] / usual[0, -1] == pytest.approx(1.729 / 1.645 * np.sqrt(1 + 1 / 20), abs=0.01)
    few = errors[: 24 * 30], targets[: 24 * 30], lead[: 24 * 30]
    assert np.array_equal(fit_quantiles(*few, most_days=20.0), fit_quantiles(*few))
