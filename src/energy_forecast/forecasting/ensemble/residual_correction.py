"""What the errors of the last hours still say of the hours ahead.

The members are told the last load, but not how wrong they were about it: half of the error in the last known hour
is left in the first hour ahead, a fifth six hours later (Chicago, 2022). A small ridge regression, learnt on held-out
time, says how much, by lead time. Everything is in units of the usual error, so that one set of coefficients serves
the quiet hours and the loud ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from energy_forecast.forecasting.types import Floats, Ints

# Means of the errors of so many last hours, each fading with these times
_LAST_HOURS = (1, 3, 6, 24)
_FADING_HOURS = (3.0, 12.0)
_FARTHEST = 4.0
_PENALTY = 500.0
COEFFICIENTS = len(_LAST_HOURS) * len(_FADING_HOURS)


def last_errors(standard: Floats) -> Floats:
    """Means of the errors of the last hours before each day's origin and before the end, [J + 1, 4]; 0 where unknown.

    Args:
        standard: [J, 24] errors of days in a row divided by their usual size, NaN where unknown.
    """
    known = np.nan_to_num(np.clip(standard, -_FARTHEST, _FARTHEST), nan=0.0)
    known = np.concatenate([np.zeros((1, 24)), known])
    return np.stack([known[:, 24 - hours :].mean(axis=1) for hours in _LAST_HOURS], axis=1)


def echo_inputs(last: Floats, lead: Ints) -> Floats:
    """What the regression sees, [n, COEFFICIENTS], of `last` [n, 4] at each hour's origin and its lead time [n]."""
    fades = np.stack([np.exp(-lead / hours) for hours in _FADING_HOURS], axis=1)
    return np.asarray((last[:, :, None] * fades[:, None, :]).reshape(len(lead), COEFFICIENTS), float)


def learn_echo(inputs: Sequence[Floats], standard: Sequence[Floats]) -> Floats:
    """The coefficients [COEFFICIENTS] that say most of errors `standard` [n each, NaN where unknown] out of inputs."""
    square, product = _PENALTY * np.eye(COEFFICIENTS), np.zeros(COEFFICIENTS)
    for seen, came in zip(inputs, standard, strict=True):
        known = np.isfinite(came)
        square += seen[known].T @ seen[known]
        product += seen[known].T @ np.clip(came[known], -_FARTHEST, _FARTHEST)
    return np.asarray(np.linalg.solve(square, product), float)
