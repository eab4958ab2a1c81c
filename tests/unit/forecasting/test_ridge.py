"""The ridge by hour: both forms give the same result."""

from __future__ import annotations

import numpy as np
import pytest

from energy_forecast.forecasting.models.ridge import ridge_by_hour


@pytest.mark.parametrize("columns", [5, 60], ids=["more rows than columns", "fewer rows than columns"])
def test_ridge_solves_normal_equations(columns: int) -> None:
    draw = np.random.default_rng(0)
    rows, penalty = 40, 20.0
    scaled = draw.normal(0, 1, (rows, columns))
    target = 1 + scaled[:, 0] + 0.1 * draw.normal(0, 1, rows)
    weight, block = draw.uniform(0.5, 1, rows), np.arange(rows) % 5
    hour = np.full(rows, 7)
    coefficients, out_of_block = ridge_by_hour(scaled, target, weight, hour, block, penalty)

    x = np.concatenate([np.ones((rows, 1)), scaled], axis=1)
    ridge = np.diag([1e-6, *[penalty] * columns])

    def solved(taught: np.ndarray) -> np.ndarray:
        weighted = x[taught] * weight[taught, None]
        return np.linalg.solve(weighted.T @ x[taught] + ridge, weighted.T @ target[taught])

    assert coefficients[7] == pytest.approx(solved(np.arange(rows)), abs=1e-8)
    assert not coefficients[8].any()
    for b in range(5):
        out = block == b
        assert out_of_block[out] == pytest.approx(x[out] @ solved(np.flatnonzero(~out)), abs=1e-8)
