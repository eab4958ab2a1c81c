"""Buckets of lead times, and smoothing over the hours of the day.

Each step of a forecast has its own borders of lead times, since it shares other statistics by bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_forecast.forecasting.types import Floats, Ints


@dataclass(frozen=True)
class LeadBuckets:
    """Buckets of lead times in hours. borders: the first lead time of each bucket after the first."""

    borders: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.borders) + 1

    def bucket(self, lead: Ints) -> Ints:
        """Return the bucket of each lead time (hours), 0 to len - 1."""
        return np.asarray(np.searchsorted(np.asarray(self.borders), lead, side="right"), np.int64)


# Training: one regression per bucket. The state just before the origin fades within a day, so day one has four buckets.
TRAINING_LEADS = LeadBuckets((3, 8, 16, 24, 48))
# Calibration: one error distribution per bucket
CALIBRATION_LEADS = LeadBuckets((6, 24, 48, 96))
# Reports of scores and coverage, [first, end) in hours
REPORT_LEADS = ((0, 6), (6, 24), (24, 48), (48, 168))
# Errors by lead time, in finer steps with the same borders
LEAD_STEPS = (
    *((0, 3), (3, 6), (6, 12), (12, 18), (18, 24)),
    *((24, 36), (36, 48), (48, 72), (72, 120), (120, 168)),
)

# Weights of the hour before, the hour itself and the hour after
KERNEL = (1.0, 2.0, 1.0)
_CIRCULAR = (np.roll(np.eye(24), 1, axis=1) + 2 * np.eye(24) + np.roll(np.eye(24), -1, axis=1)) / 4


def smooth_over_day(values: Floats) -> Floats:
    """Return weighted means of each hour and its two neighbours, [..., 24]; hour 23 is next to hour 0."""
    return np.asarray(values @ _CIRCULAR, float)


def sum_over_neighbours(values: Floats) -> Floats:
    """Return weighted sums of each hour and its two neighbours, [..., 24]. Sums of integers are exact."""
    return np.asarray(np.roll(values, 1, -1) + 2 * values + np.roll(values, -1, -1), float)
