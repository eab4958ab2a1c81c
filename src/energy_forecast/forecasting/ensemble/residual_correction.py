"""Correct the forecast for the autocorrelation of recent residuals.

The base models know the last load, but not their own error on it: half of the error in the last known hour is left in
the first hour ahead, a fifth six hours later (Chicago, 2022). A small ridge regression, fitted to held-out data,
predicts it by lead time. Residuals are in units of the expected absolute error, so that one set of coefficients serves
hours with small and with large errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from energy_forecast.forecasting.types import Floats, Ints

# Means of the residuals of so many last hours, each with these decay times
_LAST_HOURS = (1, 3, 6, 24)
_FADING_HOURS = (3.0, 12.0)
_FARTHEST = 4.0
_PENALTY = 500.0
COEFFICIENTS = len(_LAST_HOURS) * len(_FADING_HOURS)


def recent_residuals(standardized: Floats) -> Floats:
    """Return mean residuals of the last hours before each day's origin and before the end, [J + 1, 4]; 0 if unknown.

    Args:
        standardized: [J, 24] errors of consecutive days divided by their expected size, NaN where unknown.
    """
    known = np.nan_to_num(np.clip(standardized, -_FARTHEST, _FARTHEST), nan=0.0)
    known = np.concatenate([np.zeros((1, 24)), known])
    return np.stack([known[:, 24 - hours :].mean(axis=1) for hours in _LAST_HOURS], axis=1)


def residual_features(residuals: Floats, lead: Ints) -> Floats:
    """Return the inputs of the regression, [n, COEFFICIENTS].

    Args:
        residuals: [n, 4] recent residuals at the origin of each hour.
        lead: [n] hours.
    """
    fades = np.stack([np.exp(-lead / hours) for hours in _FADING_HOURS], axis=1)
    return np.asarray((residuals[:, :, None] * fades[:, None, :]).reshape(len(lead), COEFFICIENTS), float)


def fit_residual_correction(inputs: Sequence[Floats], standardized: Sequence[Floats]) -> Floats:
    """Return the coefficients [COEFFICIENTS] that predict the errors `standardized` [n each, NaN where unknown]."""
    square, product = _PENALTY * np.eye(COEFFICIENTS), np.zeros(COEFFICIENTS)
    for x, error in zip(inputs, standardized, strict=True):
        known = np.isfinite(error)
        square += x[known].T @ x[known]
        product += x[known].T @ np.clip(error[known], -_FARTHEST, _FARTHEST)
    return np.asarray(np.linalg.solve(square, product), float)
