"""Temperatures that no place has had, by latitude and season: enough to tell Fahrenheit and Kelvin from Celsius."""

from __future__ import annotations

import math
from datetime import datetime

# Absolute latitude, and the hottest mean of a day there at midsummer and at midwinter, degrees Celsius. Outside the
# records: Death Valley had a day of 48, Lytton (50 north) one of 37, Verkhoyansk (68 north) one of 30
_HOTTEST = (
    (0, 42, 40),
    (20, 46, 38),
    (25, 48, 33),
    (30, 49, 28),
    (35, 49, 24),
    (38, 48, 21),
    (45, 41, 18),
    (50, 39, 16),
    (60, 34, 11),
    (70, 30, 8),
    (90, 20, 5),
)
# Days after 1 January when a northern summer is at its height
_MIDSUMMER = 205
_HALF_YEAR = 182.6


def hottest_day(latitude: float, moment: datetime) -> float:
    """Return a mean temperature of a day, degrees Celsius, that no place of this latitude (degrees north) has had."""
    day = moment.timetuple().tm_yday - _MIDSUMMER + (0 if latitude >= 0 else _HALF_YEAR)
    # From 0 at midwinter to 1 at midsummer
    season = (1 + math.cos(math.pi * day / _HALF_YEAR)) / 2
    size = abs(latitude)
    below = max(row for row in _HOTTEST if row[0] <= size)
    above = min(row for row in _HOTTEST if row[0] >= size)
    share = (size - below[0]) / (above[0] - below[0]) if above[0] > below[0] else 0.0
    summer, winter = (low + share * (high - low) for low, high in zip(below[1:], above[1:], strict=True))
    return winter + season * (summer - winter)
