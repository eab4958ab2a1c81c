"""What stands in for humidity, wind and rain where only the temperature is known: what is usual of them just then.

Weather services often say the temperature alone, of cities whose stations measure more. A model that has learnt from
all of it must not be told nothing: an unknown value counts as the mean of all hours, and 60 % of humidity at 35
degrees on a July noon is weather that never was. Measured in docs/decisions/hard-data.md.
"""

from __future__ import annotations

import numpy as np

from energy_forecast.forecasting.types import Flags, Floats, Ints

_LIMITS = {"humidity": (0.0, 100.0), "wind_speed": (0.0, np.inf), "precipitation": (0.0, np.inf)}
# A week of known hours; with fewer nothing is called usual
_FEWEST = 7 * 24
# What a day counts by how far it lies from the one asked about, before and after. On the days of 2022 in Baltimore,
# Houston, Chicago and Tucson 10 to 30 days came within 4 % of each other; 134 days were up to a third worse.
_HALF_LIFE_DAYS = 20.0
# How long a spell lasts that is damper or windier than usual, and the days without one that are added
_SPELL_HALF_LIFE_DAYS = 1.0
_SPELL_PRIOR_DAYS = 0.3
# Of each hour with the two beside it
_BESIDE = (np.roll(np.eye(24), 1, axis=1) + 2 * np.eye(24) + np.roll(np.eye(24), -1, axis=1)) / 4


def fill_with_usual(weather: dict[str, Floats], start: int, cut: int) -> dict[str, Flags]:
    """Fills, in place, the other columns of the hours whose temperature is known; says which hours those are.

    By the other days at that hour of the day (UTC, which the sun keeps better than a clock that changes), the near
    ones first: a regression on the temperature, and on top of it how far the last days lay from theirs. Nothing at
    or after `cut` is learnt from. A column that is not known for a week of hours before `cut` stays as it is.

    Args:
        weather: arrays by column, for the hours from hour number `start` on, NaN where unknown.
        cut: hour number of the issue.

    Returns:
        by column, the hours [n] at which the usual stands in; columns without any are absent.
    """
    temperature = weather["temperature"]
    warm = np.isfinite(temperature)
    filled = {}
    for name, (low, high) in _LIMITS.items():
        known = np.isfinite(weather[name])
        wanted = np.flatnonzero(warm & ~known)
        given = np.flatnonzero((warm & known)[: max(0, cut - start)])
        if not len(wanted) or len(given) < _FEWEST:
            continue
        usual = _usual(temperature, weather[name], start + given, start + wanted, start)
        found = np.isfinite(usual)
        weather[name][wanted[found]] = np.clip(usual[found], low, high)
        filled[name] = np.zeros(len(temperature), bool)
        filled[name][wanted[found]] = True
    return filled


def _usual(temperature: Floats, column: Floats, given: Ints, wanted: Ints, start: int) -> Floats:
    """What is usual of the column at the hours `wanted`, out of those `given` (hour numbers)."""
    days, row = np.unique(wanted // 24, return_inverse=True)
    first, last = int(given[0]) // 24, int(given[-1]) // 24
    x, y = temperature[given - start], column[given - start]
    # Sums of each day given and hour of the day, [days, 24] each: of ones, x, y, x * x, x * y
    size = 24 * (last - first + 1)
    sums = (np.bincount(given - 24 * first, values, size) for values in (np.ones_like(x), x, y, x * x, x * y))
    of_days = [np.asarray(one, float).reshape(-1, 24) for one in sums]
    apart = np.abs(days[:, None] - np.arange(first, last + 1))
    near = _by_day(0.5 ** (apart / _HALF_LIFE_DAYS), [one @ _BESIDE for one in of_days])
    late_n, late_x, late_y = _by_day(0.5 ** (apart / _SPELL_HALF_LIFE_DAYS), of_days[:3])
    n, sum_x, sum_y, sum_xx, sum_xy = near
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = sum_x / n, sum_y / n
        # As if the temperature varied by a degree more than it did: of days all alike no slope is learnt
        slope = (sum_xy / n - mean_x * mean_y) / (sum_xx / n - mean_x**2 + 1.0)
    off = np.nansum(late_y - mean_y * late_n - slope * (late_x - mean_x * late_n), axis=1)
    spell = off / (late_n.sum(axis=1) + 24 * _SPELL_PRIOR_DAYS)
    own = (row, wanted % 24)
    return np.asarray(mean_y[own] + slope[own] * (temperature[wanted - start] - mean_x[own]) + spell[row], float)


def _by_day(weight: Floats, of_days: list[Floats]) -> list[Floats]:
    """Weighted sums over the days given, [m, 24] each, of the m days asked about: weight is [m, days].

    A product for each day of its own, and not one of all: its last bits must not hang on how many days are asked about.
    """
    return np.split(np.matmul(weight[:, None, :], np.concatenate(of_days, axis=1))[:, 0], len(of_days), axis=1)
