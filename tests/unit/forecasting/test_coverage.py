"""Coverage tests: passed and failed both require evidence; all else is not enough data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting.evaluation.coverage import (
    FAILED,
    NOT_ENOUGH_DATA,
    PASSED,
    _t_quantile,
    coverage_certificate,
)
from energy_forecast.forecasting.types import QUANTILE_COLUMNS, QUANTILE_LEVELS

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def pairs(days: int, width: float, horizon: int = 48) -> pl.DataFrame:
    """Return uniform quantiles of a uniform actual; intervals are `width` times the correct width."""
    draw = np.random.default_rng(1)
    n = days * horizon
    issued = [BEGIN + timedelta(days=i // horizon) for i in range(n)]
    values = {
        column: np.full(n, 0.5 + width * (a - 0.5)) for column, a in zip(QUANTILE_COLUMNS, QUANTILE_LEVELS, strict=True)
    }
    return pl.DataFrame(
        {
            "city": ["Pune"] * n,
            "issued_at": issued,
            "timestamp": [moment + timedelta(hours=i % horizon) for i, moment in enumerate(issued)],
            "actual": draw.random(n),
            **values,
        }
    )


def dependent(days: int, width: float, seed: int) -> pl.DataFrame:
    """Return autocorrelated errors, as of real load, and normal quantiles times `width`."""
    draw = np.random.default_rng(seed)

    def persistent(n: int, factor: float) -> np.ndarray:
        found = draw.standard_normal(n)
        for i in range(1, n):
            found[i] = factor * found[i - 1] + np.sqrt(1 - factor**2) * found[i]
        return found

    actual = np.sqrt(0.4) * np.repeat(persistent(days, 0.6), 24) + np.sqrt(0.6) * persistent(24 * days, 0.8)
    times = [BEGIN + timedelta(hours=i) for i in range(24 * days)]
    values = {
        column: np.full(24 * days, NormalDist().inv_cdf(level) * width)
        for column, level in zip(QUANTILE_COLUMNS, QUANTILE_LEVELS, strict=True)
    }
    issued = [BEGIN + timedelta(days=i // 24) for i in range(24 * days)]
    return pl.DataFrame({"city": "Pune", "issued_at": issued, "timestamp": times, "actual": actual, **values})


def verdict(found: pl.DataFrame, nominal: float = 0.9) -> str:
    return str(found.filter(part="city", nominal=nominal)["verdict"].item())


def test_calibrated_intervals_pass_in_every_group() -> None:
    found = coverage_certificate(pairs(366, 1.0))
    assert set(found["verdict"]) == {PASSED}
    assert found.filter(part="city", nominal=0.9)["coverage"].item() == pytest.approx(0.9, abs=0.02)
    lead = found.filter(city=found["city"][0], part="lead", nominal=0.9)
    assert lead["group"].to_list() == ["0-6 h", "6-24 h", "24-48 h"]
    assert set(found.filter(part="season")["group"]) == {"winter", "spring", "summer", "autumn"}


def test_narrow_intervals_fail_unless_days_are_few() -> None:
    narrow = coverage_certificate(pairs(366, 0.93))
    assert narrow.filter(part="city", nominal=0.9)["coverage"].item() == pytest.approx(0.837, abs=0.01)
    assert verdict(narrow) == FAILED
    for days in (12, 26):
        few = coverage_certificate(pairs(days, 0.93))
        assert set(few["verdict"]) == {NOT_ENOUGH_DATA}
        assert few["lower"].null_count() == few.height


@pytest.mark.parametrize("width", [0.5, 0.78, 1.0, 1.5])
def test_one_month_never_passes(width: float) -> None:
    """Coverage of 79.7 at 90 % and of 39.7 at 50 % over thirty days is weak evidence, and must not pass."""
    found = coverage_certificate(pairs(30, width, horizon=24))
    assert PASSED not in {verdict(found, nominal) for nominal in (0.9, 0.8, 0.5)}


def test_month_without_miss_does_not_pass() -> None:
    """With all values inside the observed spread is zero, but a month is still too short."""
    found = coverage_certificate(pairs(30, 3.0, horizon=24))
    assert found.filter(part="city")["coverage"].to_list() == [1.0] * 3
    assert set(found.filter(part="city")["verdict"]) <= {FAILED, NOT_ENOUGH_DATA}
    assert (found.filter(part="city")["upper"] - found.filter(part="city")["coverage"] > 0.04).all()


def test_autocorrelated_errors_give_correct_verdicts() -> None:
    """Both error rates are measured at length in docs/decisions/certificate.md."""
    honest = [coverage_certificate(dependent(182, 1.0, seed)) for seed in range(20)]
    assert sum(FAILED in set(found["verdict"]) for found in honest) <= 2
    assert sum(verdict(found) == PASSED for found in honest) >= 12
    # A width that covers 85 % in place of 90: exactly the margin
    narrow = NormalDist().inv_cdf(0.925) / NormalDist().inv_cdf(0.95)
    assert sum(verdict(coverage_certificate(dependent(182, narrow, seed))) == PASSED for seed in range(20)) <= 2


def test_verdict_follows_from_its_row() -> None:
    found = coverage_certificate(dependent(365, 0.95, 3))
    for row in found.iter_rows(named=True):
        within = abs(row["coverage"] - row["nominal"]) <= row["tolerance"]
        inside = row["nominal"] - row["margin"] <= row["lower"] <= row["upper"] <= row["nominal"] + row["margin"]
        assert (row["verdict"] == PASSED) == (within and inside)
        assert row["verdict"] != FAILED or not within


@pytest.mark.parametrize("freedom", [3, 5, 12, 51])
@pytest.mark.parametrize("level", [0.95, 0.975, 0.9995])
def test_student_quantiles_equal_scipy(level: float, freedom: int) -> None:
    special = pytest.importorskip("scipy.special")
    assert _t_quantile(level, freedom) == pytest.approx(
        special.stdtrit(freedom, level), rel=0.05 if freedom < 5 else 0.01
    )


def test_unknown_actuals_and_southern_seasons() -> None:
    frame = pairs(31, 1.0).with_columns(
        pl.when(pl.int_range(pl.len()) < 48).then(None).otherwise("actual").alias("actual")
    )
    found = coverage_certificate(frame, southern=True)
    assert found.filter(part="city")["hours"].to_list() == [30 * 48] * 3
    assert found.filter(part="season")["group"].unique().to_list() == ["summer"]
