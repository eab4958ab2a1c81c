"""Scores from sums by hour are those of the metrics, which scikit-learn confirms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_forecast.forecasting import QUANTILE_COLUMNS, City
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.evaluation.hour_sums import hour_sums
from energy_forecast.pipelines.pairs import score_hours, score_pairs

CITY = City(name="Munich", latitude=48.1, longitude=11.6, timezone="Europe/Berlin", country_code="DE", subdivision="BY")
FIRST = datetime(2026, 3, 27, tzinfo=UTC)


def pairs_of(seed: int, hours: int, issues: int, zeros: float) -> pl.DataFrame:
    """Return random pairs over a change of the clock; some actuals are zero, some references unknown."""
    random = np.random.default_rng(seed)
    actual = random.uniform(10, 1e6, hours).round(2) * (random.random(hours) > zeros)
    reference = [None if random.random() < 0.2 else float(random.uniform(10, 1e6)) for _ in range(hours)]
    rows = [(hour, issue) for hour in range(hours) for issue in range(issues) if random.random() < 0.8]
    hour = np.array([hour for hour, _ in rows], int)
    spread = np.sort(random.normal(0, 1e4, (len(rows), len(QUANTILE_COLUMNS))), axis=1)
    predicted = actual[hour] + random.normal(0, 1e4, len(rows))
    return pl.DataFrame(
        {
            "issued_at": [FIRST - timedelta(hours=issue + 1) for _, issue in rows],
            "timestamp": [FIRST + timedelta(hours=hour) for hour, _ in rows],
            "actual": actual[hour],
            "predicted": predicted,
            **{name: predicted + spread[:, place] for place, name in enumerate(QUANTILE_COLUMNS)},
            "reference": pl.Series([reference[hour] for hour, _ in rows], dtype=pl.Float64),
        },
        schema_overrides={"issued_at": pl.Datetime("us", "UTC"), "timestamp": pl.Datetime("us", "UTC")},
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 100), st.integers(1, 30), st.sampled_from([0.0, 0.3, 1.0]))
def test_scores_equal_metrics_of_all_pairs(seed: int, hours: int, issues: int, zeros: float) -> None:
    pairs = pairs_of(seed, hours, issues, zeros)
    if pairs.is_empty():
        return
    scores = score_pairs(pairs.sample(fraction=1, shuffle=True, seed=seed), CITY)
    actual, predicted = pairs["actual"].to_numpy(), pairs["predicted"].to_numpy()
    quantiles = pairs.select(QUANTILE_COLUMNS).to_numpy()
    both = pairs.filter(pl.col("reference").is_not_null())
    errors = [metrics.mae(both["actual"], both[name]) for name in ("predicted", "reference")]
    expected = {
        "mape": metrics.mape(actual, predicted),
        "mae_kwh": metrics.mae(actual, predicted),
        "rmse_kwh": metrics.rmse(actual, predicted),
        "r2_score": metrics.r2(actual, predicted) if len(set(actual)) > 1 else np.nan,
        "pinball_kwh": metrics.pinball(actual, quantiles),
        "coverage_90": metrics.coverage(actual, quantiles[:, 0], quantiles[:, -1]),
        "width_90_kwh": float(np.mean(quantiles[:, -1] - quantiles[:, 0])),
        "skill_naive_168": metrics.skill_score(*errors),
    }
    found = {name: np.nan if scores[name] is None else scores[name] for name in expected}
    assert found == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert scores["pair_count"] == sum(row["pair_count"] for row in scores["by_hour"]) == pairs.height
    absolute = sum(row["pair_count"] * row["mae_kwh"] for row in scores["by_hour"])
    assert absolute == pytest.approx(scores["mae_kwh"] * pairs.height, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60), st.data())
def test_digits_do_not_depend_on_how_hours_were_collected(seed: int, hours: int, data: st.DataObject) -> None:
    """An incremental score must equal that of all pairs in every bit."""
    pairs = pairs_of(seed, hours, 12, 0.1)
    border = FIRST + timedelta(hours=data.draw(st.integers(1, hours - 1)))
    parts = [
        hour_sums(part)[1]
        for part in (pairs.filter(pl.col("timestamp") < border), pairs.filter(pl.col("timestamp") >= border))
    ]
    whole = hour_sums(pairs)[1]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    if len(whole):
        assert score_hours(np.concatenate(parts), CITY) == score_pairs(pairs, CITY)


@pytest.mark.parametrize("column", ["actual", "predicted", "q50", "reference"])
def test_digest_depends_on_every_value(column: str) -> None:
    pairs = pairs_of(1, 5, 3, 0.0).with_columns(pl.col("reference").fill_null(5.0))
    changed = pairs.with_columns(
        pl.when(pl.col("timestamp") == pairs["timestamp"][0]).then(pl.col(column) + 1).otherwise(column).alias(column)
    )
    digests = [score_pairs(frame, CITY)["pair_digest"] for frame in (pairs, pairs.reverse(), changed)]
    assert digests[0] == digests[1] != digests[2]
