"""Metrics for forecasts against observed load. Pairs with an unknown (non-finite) value are left out.

A function returns NaN if no pair remains. Scores have the unit of the energies, except mape (percent) and
r2, coverage, skill_score (shares).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from energy_forecast.forecasting.types import QUANTILE_LEVELS, Floats


def _pairs(actual: ArrayLike, predicted: ArrayLike) -> tuple[Floats, Floats]:
    a, p = np.asarray(actual, float), np.asarray(predicted, float)
    if a.shape != p.shape:
        raise ValueError(f"shapes differ: {a.shape} and {p.shape}")
    good = np.isfinite(a) & np.isfinite(p)
    return a[good], p[good]


def mape(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean absolute percentage error, percent. Pairs with an actual value of zero are left out."""
    a, p = _pairs(actual, predicted)
    a, p = a[a != 0], p[a != 0]
    return float(100 * np.mean(np.abs((a - p) / a))) if len(a) else float("nan")


def mae(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean absolute error."""
    a, p = _pairs(actual, predicted)
    return float(np.mean(np.abs(a - p))) if len(a) else float("nan")


def rmse(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return the root of the mean squared error."""
    a, p = _pairs(actual, predicted)
    return float(np.sqrt(np.mean((a - p) ** 2))) if len(a) else float("nan")


def r2(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return the coefficient of determination; NaN for fewer than two pairs or constant actual values."""
    a, p = _pairs(actual, predicted)
    total = float(np.sum((a - a.mean()) ** 2)) if len(a) > 1 else 0.0
    return float(1 - np.sum((a - p) ** 2) / total) if total > 0 else float("nan")


def pinball(actual: ArrayLike, quantiles: ArrayLike) -> float:
    """Return the pinball loss, the mean over pairs and levels (Koenker and Bassett 1978).

    Args:
        actual: [n].
        quantiles: [n, len(QUANTILE_LEVELS)], in that order. A row with a non-finite value is left out.
    """
    a, q = np.asarray(actual, float), np.asarray(quantiles, float)
    if q.shape != (*a.shape, len(QUANTILE_LEVELS)):
        raise ValueError(f"quantiles have shape {q.shape}, not {(*a.shape, len(QUANTILE_LEVELS))}")
    good = np.isfinite(a) & np.isfinite(q).all(axis=-1)
    if not good.any():
        return float("nan")
    return float(np.mean(pinball_losses(a[good], q[good])))


def pinball_losses(actual: Floats, quantiles: Floats) -> Floats:
    """Return the pinball loss of each pair and level of finite values, [n, len(QUANTILE_LEVELS)]."""
    error = actual[:, None] - quantiles
    quantile = np.asarray(QUANTILE_LEVELS)
    return np.asarray(np.maximum(quantile * error, (quantile - 1) * error), float)


def coverage(actual: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the share of actual values in [lower, upper], both ends included."""
    a, low, high = (np.asarray(x, float) for x in (actual, lower, upper))
    good = np.isfinite(a) & np.isfinite(low) & np.isfinite(high)
    return float(np.mean((a[good] >= low[good]) & (a[good] <= high[good]))) if good.any() else float("nan")


def skill_score(score: float, reference: float) -> float:
    """Return 1 - score / reference: 1 is perfect, 0 as good as the reference, below 0 worse."""
    return 1 - score / reference if np.isfinite(reference) and reference > 0 else float("nan")
