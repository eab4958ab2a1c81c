"""Upper bounds of temperature by latitude and season, to distinguish Fahrenheit and Kelvin from Celsius."""

from __future__ import annotations

import math
from datetime import datetime

# Absolute latitude, and the highest daily mean at midsummer and at midwinter, degrees Celsius. They are above the
# records: a day of 48 in Death Valley, of 37 in Lytton (50 north), of 30 in Verkhoyansk (68 north)
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
# Day of the year at the peak of the northern summer
_MIDSUMMER = 205
_HALF_YEAR = 182.6


def hottest_day(latitude: float, moment: datetime) -> float:
    """Return a daily mean temperature, degrees Celsius, that no place at this latitude (degrees north) has reached."""
    day = moment.timetuple().tm_yday - _MIDSUMMER + (0 if latitude >= 0 else _HALF_YEAR)
    # From 0 at midwinter to 1 at midsummer
    season = (1 + math.cos(math.pi * day / _HALF_YEAR)) / 2
    size = abs(latitude)
    below = max(row for row in _HOTTEST if row[0] <= size)
    above = min(row for row in _HOTTEST if row[0] >= size)
    share = (size - below[0]) / (above[0] - below[0]) if above[0] > below[0] else 0.0
    summer, winter = (low + share * (high - low) for low, high in zip(below[1:], above[1:], strict=True))
    return winter + season * (summer - winter)
