"""Imputation of humidity, wind and rain for hours of which only the temperature is known.

Weather services often forecast only the temperature, for cities whose stations measure more. A model would treat the
unknown values as the mean of all hours, and 60 % humidity at 35 degrees on a July noon is impossible. The gain is
measured in docs/decisions/hard-data.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from energy_forecast.forecasting.hours import smooth_over_day
from energy_forecast.forecasting.types import Flags, Floats, Ints

_LIMITS = {"humidity": (0.0, 100.0), "wind_speed": (0.0, np.inf), "precipitation": (0.0, np.inf)}
# A week of known hours; with fewer a column is not imputed
_FEWEST = 7 * 24
# Half-life of a day's weight by its distance from the imputed one, before and after. On the days of 2022 in Baltimore,
# Houston, Chicago and Tucson 10 to 30 days were within 4 % of each other; 134 days were up to a third worse.
_HALF_LIFE_DAYS = 20.0
# Half-life of a damp or windy spell, and the number of average days that are added
_SPELL_HALF_LIFE_DAYS = 1.0
_SPELL_PRIOR_DAYS = 0.3


def impute_weather(
    weather: dict[str, Floats], start: int, cut: int, ahead: Sequence[str] = tuple(_LIMITS)
) -> dict[str, Flags]:
    """Impute, in place, the other columns of the hours whose temperature is known.

    The estimate comes from other days at the same hour of the day (UTC, which follows the sun better than local time),
    with more weight for near days: a regression on the temperature, plus the mean residual of the last days. Only
    values before `cut` are used. A column that is known for less than a week of hours before `cut` is not imputed.

    Args:
        weather: arrays by column, for the hours from hour number `start` on, NaN where unknown.
        cut: hour number of the issue.
        ahead: the columns that are imputed from the issue on too.

    Returns:
        by column, flags of the imputed hours [n]; columns without any are absent.
    """
    temperature = weather["temperature"]
    has_temperature = np.isfinite(temperature)
    filled = {}
    for name, (low, high) in _LIMITS.items():
        known = np.isfinite(weather[name])
        missing = np.flatnonzero(has_temperature & ~known)
        if name not in ahead:
            missing = missing[missing < cut - start]
        given = np.flatnonzero((has_temperature & known)[: max(0, cut - start)])
        if not len(missing) or len(given) < _FEWEST:
            continue
        estimate = _estimate(temperature, weather[name], start + given, start + missing, start)
        found = np.isfinite(estimate)
        weather[name][missing[found]] = np.clip(estimate[found], low, high)
        filled[name] = np.zeros(len(temperature), bool)
        filled[name][missing[found]] = True
    return filled


def _estimate(temperature: Floats, column: Floats, given: Ints, missing: Ints, start: int) -> Floats:
    """Return estimates of the column at the hours `missing`, from those `given` (hour numbers)."""
    days, row = np.unique(missing // 24, return_inverse=True)
    first, last = int(given[0]) // 24, int(given[-1]) // 24
    x, y = temperature[given - start], column[given - start]
    # Sums by day given and hour of the day, [days, 24] each: of 1, x, y, x * x, x * y
    size = 24 * (last - first + 1)
    sums = (np.bincount(given - 24 * first, values, size) for values in (np.ones_like(x), x, y, x * x, x * y))
    of_days = [np.asarray(one, float).reshape(-1, 24) for one in sums]
    distance = np.abs(days[:, None] - np.arange(first, last + 1))
    near = _by_day(0.5 ** (distance / _HALF_LIFE_DAYS), [smooth_over_day(one) for one in of_days])
    recent_n, recent_x, recent_y = _by_day(0.5 ** (distance / _SPELL_HALF_LIFE_DAYS), of_days[:3])
    n, sum_x, sum_y, sum_xx, sum_xy = near
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = sum_x / n, sum_y / n
        # One square degree is added to the variance, so that the slope is zero if all days are alike
        slope = (sum_xy / n - mean_x * mean_y) / (sum_xx / n - mean_x**2 + 1.0)
    residual = np.nansum(recent_y - mean_y * recent_n - slope * (recent_x - mean_x * recent_n), axis=1)
    spell = residual / (recent_n.sum(axis=1) + 24 * _SPELL_PRIOR_DAYS)
    own = (row, missing % 24)
    return np.asarray(mean_y[own] + slope[own] * (temperature[missing - start] - mean_x[own]) + spell[row], float)


def _by_day(weight: Floats, of_days: list[Floats]) -> list[Floats]:
    """Return weighted sums over the given days, [m, 24] each, for m days. weight: [m, days].

    There is one matrix product per day, since the last bits of a common one would depend on the number of days.
    """
    return np.split(np.matmul(weight[:, None, :], np.concatenate(of_days, axis=1))[:, 0], len(of_days), axis=1)
