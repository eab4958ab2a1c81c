"""Significance of the difference between two forecasters on the same pairs.

The losses of two forecasters at one issue time are paired, and those of adjacent issue times are correlated. The mean
difference is therefore tested by a moving-block bootstrap over the issues in their order (Kuensch 1989), and not by a
test that assumes independence. See also Diebold and Mariano (1995).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from energy_forecast.forecasting.types import Floats

RESAMPLES = 9_999
# Fixed, so that the same losses give the same result
_SEED = 20_260_101


@dataclass(frozen=True)
class PairedTest:
    """The difference of the mean losses of two forecasters, `a` minus `b`: below zero, `a` is better.

    Args:
        issues: the number of issue times that both have.
        mean_a, mean_b: mean loss.
        difference: mean_a - mean_b.
        lower, upper: bounds of the 95 % interval of the difference.
        p_value: probability that `a` is better by this much or more by chance (one-sided).
        upper_tail: probability that `b` is better by this much or more by chance.
    """

    issues: int
    mean_a: float
    mean_b: float
    difference: float
    lower: float
    upper: float
    p_value: float
    upper_tail: float


def paired_test(loss_a: ArrayLike, loss_b: ArrayLike) -> PairedTest:
    """Compare the losses of two forecasters.

    Args:
        loss_a, loss_b: [issues], the mean loss at each issue time, in the order of time, in one unit.

    Raises:
        ValueError: the shapes differ, there are fewer than two issues, or a loss is not finite.
    """
    a, b = np.asarray(loss_a, float), np.asarray(loss_b, float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(
            f"losses have shapes {a.shape} and {b.shape}; required: two vectors of the same length, at least two"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a loss is not finite")
    difference = a - b
    mean = float(difference.mean())
    means = _block_means(difference)
    # Centred: the distribution if neither were better
    chance = means - means.mean()
    lower, upper = np.quantile(chance, [0.975, 0.025])
    return PairedTest(
        issues=len(a),
        mean_a=float(a.mean()),
        mean_b=float(b.mean()),
        difference=mean,
        lower=float(mean - lower),
        upper=float(mean - upper),
        # The sample itself is one of the possible ones, so the value is never 0
        p_value=float((1 + np.sum(chance <= mean)) / (1 + RESAMPLES)),
        upper_tail=float((1 + np.sum(chance >= mean)) / (1 + RESAMPLES)),
    )


def _block_means(values: Floats) -> Floats:
    """Return the means of RESAMPLES series of circular blocks of `values`."""
    n = len(values)
    length = max(1, math.ceil(n ** (1 / 3)))
    blocks = math.ceil(n / length)
    starts = np.random.default_rng(_SEED).integers(0, n, size=(RESAMPLES, blocks))
    around = np.concatenate([values, values[:length]])
    sums = np.concatenate([[0.0], np.cumsum(around)])
    whole, rest = divmod(n, length)
    totals: Floats = (sums[starts[:, :whole] + length] - sums[starts[:, :whole]]).sum(axis=1)
    if rest:
        totals += sums[starts[:, whole] + rest] - sums[starts[:, whole]]
    return totals / n
