"""Ridge regression by its normal equations: fast and accurate enough for a few hundred columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from energy_forecast.forecasting.serialization import Shape, Stored
from energy_forecast.forecasting.types import Floats, Ints

_PART_ROWS = 1024


def solve_ridge(design: Floats, target: Floats, weight: Floats, penalty: float) -> tuple[Floats, float, Floats]:
    """Fit least squares with standardised columns and an intercept that is not penalised.

    Args:
        design: [n, p], finite. target, weight: [n].
        penalty: the number of (weighted) rows that the pull of every coefficient to zero corresponds to.

    Returns:
        coefficients [p] for the centred columns, intercept, and the columns' means [p]: the prediction is
        (x - means) @ coefficients + intercept. A constant column gets 0.
    """
    total = weight.sum()
    means = (weight @ design) / total
    intercept = float((weight @ target) / total)
    centred = design - means
    spread = np.sqrt((weight @ centred**2) / total)
    usable = spread > 1e-9 * np.maximum(1.0, np.abs(means))
    scale = np.where(usable, spread, 1.0)
    scaled = np.where(usable, centred / scale, 0.0)
    gram = (scaled * weight[:, None]).T @ scaled
    gram[np.diag_indices_from(gram)] += penalty + 1e-6 * total
    slopes = np.linalg.solve(gram, scaled.T @ (weight * (target - intercept)))
    return np.where(usable, slopes / scale, 0.0), intercept, means


@dataclass(frozen=True)
class Scaling(Stored):
    """Scaling of columns to mean 0 and deviation 1 of the training data, clipped to the range of the training data.

    An unknown value becomes the mean. Clipping limits the extrapolation of a linear model in the first heat wave.

    deviation: 0 for a constant column, which becomes 0.
    """

    mean: Annotated[Floats, Shape(None)]
    deviation: Annotated[Floats, Shape(None)]
    low: Annotated[Floats, Shape(None)]
    high: Annotated[Floats, Shape(None)]

    @staticmethod
    def fit(design: Floats | NDArray[np.float32]) -> Scaling:
        """Return the scaling of the columns of `design`."""
        # In parts that fit into the cache, and in two passes: the mean before the deviation from it
        n, total = np.zeros(design.shape[1], np.int64), np.zeros(design.shape[1])
        low, high = np.full_like(total, np.inf), np.full_like(total, -np.inf)
        for part in _parts(design):
            known = np.isfinite(part)
            n += known.sum(axis=0)
            total += np.where(known, part, 0.0).sum(axis=0)
            low = np.minimum(low, np.where(known, part, np.inf).min(axis=0))
            high = np.maximum(high, np.where(known, part, -np.inf).max(axis=0))
        mean = total / np.maximum(n, 1)
        squares = np.zeros_like(total)
        for part in _parts(design):
            centred = part - mean
            squares += np.where(np.isfinite(centred), centred * centred, 0.0).sum(axis=0)
        deviation = np.sqrt(squares / np.maximum(n, 1))
        deviation = np.where(deviation > 1e-9, deviation, 0.0)
        ever = n > 0
        return Scaling(mean, deviation, np.where(ever, low, 0.0), np.where(ever, high, 0.0))

    def __call__(self, design: Floats | NDArray[np.float32]) -> Floats:
        """Return the scaled columns, [n, p]; unknown values become 0, the mean."""
        scaled = np.empty(design.shape)
        divisor = np.where(self.deviation == 0, np.inf, self.deviation)
        for part, out in zip(_parts(design), _parts(scaled), strict=True):
            np.clip(part, self.low, self.high, out=out)
            out -= self.mean
            out /= divisor
            out[~np.isfinite(out)] = 0.0
        return scaled


def _parts(values: Floats | NDArray[np.float32]) -> Iterator[Floats]:
    """Yield parts of the rows in double precision: views, unless `values` are in single precision."""
    for begin in range(0, len(values), _PART_ROWS):
        yield np.asarray(values[begin : begin + _PART_ROWS], float)


def ridge_by_hour(
    scaled: Floats, target: Floats, weight: Floats, hour: Ints, block: Ints, penalty: float
) -> tuple[Floats, Floats]:
    """Fit one ridge regression for each local hour, and predict each block of time from a fit without it.

    Args:
        scaled: [n, p] columns on a common scale. target, weight: [n]. hour: [n], 0 to 23.
        block: [n], the block of time of each row. Normal equations are summed by block, so leaving one out costs a
            subtraction and a solution.

    Returns:
        coefficients [24, 1 + p], the intercept first; out-of-block predictions [n].
    """
    p = scaled.shape[1]
    coefficients = np.zeros((24, 1 + p))
    out_of_block = np.zeros(len(target))
    blocks = np.unique(block)
    ridge = np.diag(np.concatenate([[1e-6], np.full(p, penalty)]))
    for h in range(24):
        rows = np.flatnonzero(hour == h)
        if not len(rows):
            continue
        if len(rows) < p:
            own, out = _dual(scaled[rows], target[rows], weight[rows], block[rows], penalty)
            coefficients[h], out_of_block[rows] = own, out
            continue
        grams, moments, parts = [], [], []
        for b in blocks:
            inside = rows[block[rows] == b]
            x = np.concatenate([np.ones((len(inside), 1)), scaled[inside]], axis=1)
            weighted = x * weight[inside, None]
            grams.append(weighted.T @ x)
            moments.append(weighted.T @ target[inside])
            parts.append((inside, x))
        gram, moment = np.sum(grams, axis=0) + ridge, np.sum(moments, axis=0)
        coefficients[h] = np.linalg.solve(gram, moment)
        if len(blocks) > 1:
            for (inside, x), own_gram, own_moment in zip(parts, grams, moments, strict=True):
                if len(inside):
                    out_of_block[inside] = x @ np.linalg.solve(gram - own_gram, moment - own_moment)
    return coefficients, out_of_block


def _dual(scaled: Floats, target: Floats, weight: Floats, block: Ints, penalty: float) -> tuple[Floats, Floats]:
    """Fit one regression with fewer rows than columns by its n x n equations: the same result for less work."""
    x = np.concatenate([np.ones((len(scaled), 1)), scaled], axis=1)
    prior = np.concatenate([[1e6], np.full(scaled.shape[1], 1 / penalty)])
    kernel = (x * prior) @ x.T
    noisy = kernel + np.diag(1 / np.maximum(weight, 1e-9))
    coefficients = prior * (x.T @ np.linalg.solve(noisy, target))
    out_of_block = np.zeros(len(target))
    for b in np.unique(block):
        inside, rest = np.flatnonzero(block == b), np.flatnonzero(block != b)
        if len(rest):
            out_of_block[inside] = kernel[np.ix_(inside, rest)] @ np.linalg.solve(
                noisy[np.ix_(rest, rest)], target[rest]
            )
    return coefficients, out_of_block
