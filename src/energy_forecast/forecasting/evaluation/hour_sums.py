"""Sums over the pairs of forecast and actual by target hour. Every score is computed from them.

The sums of an hour depend only on its pairs, and the scores of a period only on the sums of its hours. So a period is
scored from stored sums of its old hours and new sums of its changed hours, with the same digits as from all pairs.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_forecast.forecasting.evaluation.metrics import pinball_losses
from energy_forecast.forecasting.types import QUANTILE_COLUMNS, Floats

# One row of sums; energies are kWh in the hour, and sums of them.
#   timestamp: microseconds since 1970. actual, reference (NaN: unknown): those of the hour.
#   count: pairs. inside: pairs with the actual inside the interval between the outer quantiles.
#   absolute, squared, error: of forecast minus actual. pinball: mean over the levels. width: of that interval.
#   digest: SHA-256 of the pairs in the order of issue.
HOUR_SUMS = np.dtype(
    [
        ("timestamp", "<i8"),
        ("actual", "<f8"),
        ("reference", "<f8"),
        ("count", "<u4"),
        ("inside", "<u4"),
        *((name, "<f8") for name in ("absolute", "squared", "error", "pinball", "width")),
        ("digest", "V32"),
    ]
)
HourSums = NDArray[Any]


def hour_sums(pairs: pl.DataFrame, *groups: str) -> tuple[pl.DataFrame, HourSums]:
    """Return the sums of the pairs by `groups` and target hour, in this order.

    Args:
        pairs: issued_at, timestamp (UTC), actual, predicted, q05 .. q95, kWh, all known; reference (null if unknown);
            and the columns of `groups`.

    Returns:
        The groups of each row, and the rows of HOUR_SUMS.
    """
    ordered = pairs.sort(*groups, "timestamp", "issued_at", maintain_order=True)
    row = ordered.select(pl.struct(*groups, "timestamp").rle_id()).to_series().to_numpy().astype(np.int64)
    begins = np.flatnonzero(np.diff(row, prepend=-1))
    sums = np.zeros(len(begins), HOUR_SUMS)
    if not len(begins):
        return ordered.select(groups), sums
    times = np.ascontiguousarray(ordered.select(pl.col("issued_at", "timestamp").to_physical()).to_numpy())
    values = np.ascontiguousarray(
        ordered.select(pl.col("actual", "predicted", *QUANTILE_COLUMNS, "reference").fill_null(np.nan)).to_numpy()
    )
    actual, predicted, quantiles = values[:, 0], values[:, 1], values[:, 2:-1]
    error = predicted - actual

    def add(weights: Floats) -> Floats:
        # Added in the order of the rows: another order gives other last digits
        return np.asarray(np.bincount(row, weights, len(begins)), float)

    sums["timestamp"], sums["actual"], sums["reference"] = times[begins, 1], actual[begins], values[begins, -1]
    sums["count"] = np.bincount(row, minlength=len(begins))
    sums["inside"] = add(((actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1])).astype(float))
    sums["absolute"], sums["squared"], sums["error"] = add(np.abs(error)), add(error * error), add(error)
    # Level by level, because the order of numpy's sum over an axis depends on the number of rows
    losses = pinball_losses(actual, quantiles)
    sums["pinball"] = add(sum(losses.T, start=np.zeros(len(error))) / losses.shape[1])
    sums["width"] = add(quantiles[:, -1] - quantiles[:, 0])
    ends = [*begins[1:], len(row)]
    digests = b"".join(
        hashlib.sha256(times[begin:end].tobytes() + values[begin:end].tobytes()).digest()
        for begin, end in zip(begins, ends, strict=True)
    )
    sums["digest"] = np.frombuffer(digests, "V32")
    return ordered[begins].select(groups), sums
