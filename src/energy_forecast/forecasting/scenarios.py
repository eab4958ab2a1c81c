"""Scenarios of a forecast: sample paths over its intervals, from which totals and peaks are computed.

The quantiles of a forecast are those of single intervals. The highest load of a day depends also on how the errors of
its intervals are related. Scenarios have the quantiles of the forecast and a Gaussian copula, whose correlation decays
with the distance of two intervals as exp(-distance / decay). The decay is estimated from the ranks of past loads within
the quantiles of their own forecasts (Pinson et al. 2009, Wind Energy 12, 51-62).
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np

from energy_forecast.forecasting.types import Floats

_DRAWS = 4000
_SEED = 7
# Ranks are limited to this distance from 0 and 1, so that one load far outside the quantiles does not decide alone
_EDGE = 0.005
# Hours; beyond the longest the correlation within a day is the same for all purposes
_LONGEST_DECAY = 500.0
_LAGS = 12


def ranks(quantiles: Floats, levels: Floats, actual: Floats) -> Floats:
    """Return the rank of each load within the quantiles of its forecast, between 0 and 1.

    Args:
        quantiles: [n, levels], ascending, kWh.
        levels: [levels], ascending, in (0, 1).
        actual: [n], kWh; NaN if unknown.

    Returns:
        [n]: the level at which the quantile function equals the load; NaN if unknown.
    """
    found = np.full(len(actual), np.nan)
    for place, value in enumerate(actual):
        if np.isnan(value):
            continue
        own = quantiles[place]
        if value > own[-1]:
            scale = max(own[-1] - own[-2], 1e-9) / np.log((1 - levels[-2]) / (1 - levels[-1]))
            found[place] = 1 - (1 - levels[-1]) * np.exp(-(value - own[-1]) / scale)
        elif value < own[0]:
            scale = max(own[1] - own[0], 1e-9) / np.log(levels[1] / levels[0])
            found[place] = levels[0] * np.exp(-(own[0] - value) / scale)
        else:
            found[place] = np.interp(value, own, levels)
    return found


def decay_hours(paths: Floats) -> float | None:
    """Return the hours in which the correlation of errors falls by a factor e, estimated from past ranks.

    Args:
        paths: [forecasts, intervals] of one hour, as of `ranks`; NaN if unknown.

    Returns:
        The decay by least squares over the correlations at the first twelve lags; None if there are not enough ranks.
    """
    scores = _normal_scores(np.clip(paths, _EDGE, 1 - _EDGE))
    lags, correlations = [], []
    for lag in range(1, min(_LAGS, paths.shape[1] - 1) + 1):
        first, second = scores[:, :-lag].ravel(), scores[:, lag:].ravel()
        known = ~(np.isnan(first) | np.isnan(second))
        if known.sum() < 100:
            continue
        first, second = first[known], second[known]
        spread = float(np.sqrt((first**2).mean() * (second**2).mean()))
        lags.append(lag)
        # The mean is not removed: a bias of a whole day is a relation between its hours
        correlations.append(float((first * second).mean()) / spread if spread > 0 else 0.0)
    if not lags:
        return None
    candidates = np.geomspace(0.05, _LONGEST_DECAY, 200)
    expected = np.exp(-np.array(lags) / candidates[:, None])
    return float(candidates[((expected - np.array(correlations)) ** 2).sum(axis=1).argmin()])


def scenarios(quantiles: Floats, levels: Floats, decay: float, *, draws: int = _DRAWS) -> Floats:
    """Return sample paths of a forecast. The same arguments give the same paths.

    Args:
        quantiles: [intervals of one hour, levels], ascending, kWh.
        levels: [levels], ascending, in (0, 1); at least two.
        decay: of `decay_hours`.
        draws: number of paths.

    Returns:
        [draws, intervals], kWh, never below zero unless a quantile is. Beyond the outermost levels the distribution has
        exponential tails that continue the outermost two quantiles.
    """
    count = len(quantiles)
    noise = np.random.default_rng(_SEED).standard_normal((draws, count))
    keep = np.exp(-1.0 / decay)
    path = np.empty_like(noise)
    path[:, 0] = noise[:, 0]
    for hour in range(1, count):
        path[:, hour] = keep * path[:, hour - 1] + np.sqrt(1 - keep**2) * noise[:, hour]
    shares = _normal_distribution(path)
    return np.column_stack([_quantile(shares[:, hour], quantiles[hour], levels) for hour in range(count)])


def bounds_of_peak(quantiles: Floats, levels: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities between which that of a peak above each threshold is, for any relation of errors.

    Args:
        quantiles, levels: as in `scenarios`.
        thresholds: [n], kWh.

    Returns:
        Two arrays [n]: the highest probability of a single interval, and the sum over all intervals, at most 1.
    """
    above = np.array([[1 - ranks(own[None, :], levels, np.array([t]))[0] for t in thresholds] for own in quantiles])
    return above.max(axis=0), np.minimum(above.sum(axis=0), 1.0)


def _quantile(shares: Floats, own: Floats, levels: Floats) -> Floats:
    """Return the quantile function of one interval at shares in (0, 1)."""
    found = np.interp(shares, levels, own)
    high, low = shares > levels[-1], shares < levels[0]
    above = (own[-1] - own[-2]) / np.log((1 - levels[-2]) / (1 - levels[-1]))
    below = (own[1] - own[0]) / np.log(levels[1] / levels[0])
    found[high] = own[-1] + above * np.log((1 - levels[-1]) / (1 - shares[high]))
    found[low] = own[0] - below * np.log(levels[0] / shares[low])
    return np.maximum(found, min(0.0, float(own[0])))


def _normal_scores(shares: Floats) -> Floats:
    """Return the quantile of the standard normal distribution at each share."""
    inverse = np.vectorize(NormalDist().inv_cdf, otypes=[float])
    found = np.full(shares.shape, np.nan)
    known = ~np.isnan(shares)
    if known.any():
        found[known] = inverse(shares[known])
    return found


@cache
def _normal_table() -> tuple[Floats, Floats]:
    """Return values in steps of 0.001, and the distribution function of the standard normal distribution."""
    grid = np.arange(-6.0, 6.001, 0.001)
    return grid, np.vectorize(NormalDist().cdf, otypes=[float])(grid)


def _normal_distribution(values: Floats) -> Floats:
    """Return the distribution function of the standard normal distribution."""
    return np.clip(np.interp(values, *_normal_table()), 1e-9, 1 - 1e-9)
