"""Errors by lead time: models are compared on common pairs, and conditions are never mixed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.evaluation.leads import errors_by_lead
from energy_forecast.forecasting.types import QUANTILE_COLUMNS, QUANTILE_LEVELS

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def pairs(
    model: str,
    issues: int = 5,
    *,
    weather: str = "forecast",
    purpose: str = "live",
    assumptions: str = "{}",
    seed: int = 1,
) -> pl.DataFrame:
    """Return random pairs of forecasts of 48 hours, issued every day."""
    draw = np.random.default_rng(seed)
    n = 48 * issues
    issued = [BEGIN + timedelta(days=i // 48) for i in range(n)]
    actual = draw.uniform(50, 150, n)
    predicted = actual + draw.normal(0, 10, n)
    values = {
        name: predicted + 20 * (level - 0.5) for name, level in zip(QUANTILE_COLUMNS, QUANTILE_LEVELS, strict=True)
    }
    return pl.DataFrame(
        {
            **{"model": model, "purpose": purpose, "weather": weather, "assumptions": assumptions, "issued_at": issued},
            "timestamp": [moment + timedelta(hours=i % 48) for i, moment in enumerate(issued)],
            **{"actual": actual, "predicted": predicted, "reference": actual + draw.normal(0, 20, n), **values},
        }
    )


def test_scores_are_those_of_the_metrics() -> None:
    found = pairs("linear")
    by_lead = errors_by_lead(found)
    assert by_lead["lead_start_hours"].to_list() == [0, 3, 6, 12, 18, 24, 36]
    assert by_lead["pair_count"].sum() == found.height
    row = by_lead.filter(lead_start_hours=24).row(0, named=True)
    lead = (pl.col("timestamp") - pl.col("issued_at")).dt.total_hours()
    part = found.filter(lead >= 24, lead < 36)
    actual, predicted = part["actual"].to_numpy(), part["predicted"].to_numpy()
    quantiles = part.select(QUANTILE_COLUMNS).to_numpy()
    expected = {
        "pair_count": 60,
        "mape": metrics.mape(actual, predicted),
        "mae_kwh": metrics.mae(actual, predicted),
        "rmse_kwh": metrics.rmse(actual, predicted),
        "bias_kwh": float((predicted - actual).mean()),
        "pinball_kwh": metrics.pinball(actual, quantiles),
        "coverage_90": metrics.coverage(actual, quantiles[:, 0], quantiles[:, -1]),
        "width_90_kwh": pytest.approx(18.0),
        "skill_naive_168": metrics.skill_score(
            metrics.mae(actual, predicted), metrics.mae(actual, part["reference"].to_numpy())
        ),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_common_pairs_are_those_of_all_models() -> None:
    """A model with easier hours would seem better on its own pairs."""
    one, other = pairs("linear"), pairs("mlp", 3, seed=2)
    found = errors_by_lead(pl.concat([one, other]))
    assert found.filter(pairs="own", model="linear")["pair_count"].sum() == one.height
    common = found.filter(pairs="common")
    assert common.filter(model="linear")["pair_count"].sum() == common.filter(model="mlp")["pair_count"].sum() == 3 * 48
    alone = errors_by_lead(one.filter(pl.col("issued_at") < BEGIN + timedelta(days=3)))
    assert common.filter(model="linear")["mae_kwh"].to_list() == pytest.approx(alone["mae_kwh"].to_list())


def test_one_model_has_no_common_pairs() -> None:
    assert set(errors_by_lead(pairs("linear"))["pairs"]) == {"own"}


@pytest.mark.parametrize("other", [{"weather": "none"}, {"purpose": "replay"}, {"assumptions": '{"load_delay": 1}'}])
def test_models_with_other_conditions_are_not_compared(other: dict[str, str]) -> None:
    found = errors_by_lead(pl.concat([pairs("linear"), pairs("mlp", **other)]))  # type: ignore[arg-type]
    assert set(found["pairs"]) == {"own"}
    assert found.height == 14


def test_unknown_reference_gives_no_skill() -> None:
    found = errors_by_lead(pairs("linear").with_columns(pl.lit(None, pl.Float64).alias("reference")))
    assert found["skill_naive_168"].is_null().all()
    zero = errors_by_lead(pairs("linear").with_columns(pl.lit(0.0).alias("actual")))
    assert zero["mape"].is_null().all()
