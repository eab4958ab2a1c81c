"""The certificate: honest intervals pass, too narrow ones do not, and few days are not failed by chance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting.certificate import coverage_certificate
from energy_forecast.forecasting.contract import QUANTILE_COLUMNS, QUANTILE_LEVELS

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def pairs(days: int, width: float, horizon: int = 48) -> pl.DataFrame:
    """Uniform quantiles of a uniform actual: an interval `width` times as wide as it should be."""
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


def test_honest_intervals_pass_in_every_part() -> None:
    found = coverage_certificate(pairs(366, 1.0))
    assert found["passed"].all()
    assert found.filter(part="city", nominal=0.9)["coverage"].item() == pytest.approx(0.9, abs=0.02)
    lead = found.filter(city=found["city"][0], part="lead", nominal=0.9)
    assert lead["group"].to_list() == ["0-6 h", "6-24 h", "24-48 h"]
    assert set(found.filter(part="season")["group"]) == {"winter", "spring", "summer", "autumn"}


def test_narrow_intervals_fail_and_a_few_days_of_them_are_not_proof() -> None:
    narrow = coverage_certificate(pairs(366, 0.93)).filter(part="city", nominal=0.9)
    assert narrow["coverage"].item() == pytest.approx(0.837, abs=0.01)
    assert not narrow["passed"].item()
    few = coverage_certificate(pairs(12, 0.93)).filter(part="city", nominal=0.9)
    # 1.96 * sqrt(0.9 * 0.1 / 12) = 0.17
    assert few["tolerance"].item() == pytest.approx(0.1697, abs=1e-3)
    assert few["passed"].item()


def test_unknown_actuals_are_left_out_and_the_south_has_its_winter_in_july() -> None:
    frame = pairs(31, 1.0).with_columns(
        pl.when(pl.int_range(pl.len()) < 48).then(None).otherwise("actual").alias("actual")
    )
    found = coverage_certificate(frame, southern=True)
    assert found.filter(part="city")["hours"].to_list() == [30 * 48] * 3
    assert found.filter(part="season")["group"].unique().to_list() == ["summer"]
