"""Level and season of the last weeks, without weather: what stands when all else has too little to learn from.

A multiplicative decomposition with decaying weights. The season of an hour is what its share of its week was in the
weeks before; the level is how the last days stand to their seasons; and each local hour is corrected by how it stood
to its day of late. On Tetouan, ten months of data with Ramadan inside, it beats the regressions.
"""

from __future__ import annotations

import numpy as np

from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.types import Floats, Ints

WEEKS = 6
DAYS = 7
_WEEK_HALF_LIFE = 1.5
_LEVEL_HALF_LIFE_DAYS = 0.7
_HOUR_HALF_LIFE_DAYS = 3.0
_HOUR_SHARE = 0.95
_HOUR_PRIOR = 0.5
# A week's hour of another kind of day says little of this one, but more than nothing.
_OTHER_KIND = 0.03


def decompose(rows: Rows) -> Floats:
    """Load of each target, kWh; the level of the week before where there is nothing to go by."""
    past = rows.past
    origins, back = np.unique(rows.origins, return_inverse=True)
    first_week = -(-rows.first_known_day // 7)
    season = _season(past, rows.targets, first_week)

    begin = int(origins.min()) - 24 * 2 * DAYS
    hours = np.arange(begin, int(origins.max()), dtype=np.int64)
    seasons = _season(past, hours, np.ones(len(hours), np.int64))
    load = past.history.load[hours - past.history.start]
    both = np.isfinite(load) & np.isfinite(seasons)
    loads, seasonal = _day_sums(np.where(both, load, 0.0)), _day_sums(np.where(both, seasons, 0.0))

    top, bottom = np.zeros(len(origins)), np.zeros(len(origins))
    for day in range(DAYS):
        end = origins - 24 * day - begin - 24
        weight = 0.5 ** (day / _LEVEL_HALF_LIFE_DAYS)
        top += weight * loads[end]
        bottom += weight * seasonal[end]
    level = _ratio(top, bottom)[back]

    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for day in range(DAYS):
        then = rows.days_before(rows.first_known_day + day)
        at = np.clip(then - begin, 0, len(hours) - 1)
        end = rows.origins - 24 * ((rows.origins - 1 - then) // 24) - begin - 24
        end = np.clip(end, 0, len(loads) - 1)
        usual = seasons[at] * _ratio(loads[end], seasonal[end])
        stood = _ratio(load[at], usual)
        known = np.isfinite(stood) & (stood > 0) & (then < rows.origins)
        weight = np.where(known, 0.5 ** (day / _HOUR_HALF_LIFE_DAYS), 0.0)
        total += weight * np.log(np.where(known, stood, 1.0))
        count += weight
    predicted = season * level * np.exp(_HOUR_SHARE * total / (count + _HOUR_PRIOR))
    return np.where(np.isfinite(predicted), predicted, rows.level)


def _season(past: Past, hours: Ints, first_week: Ints) -> Floats:
    """The usual share of its week's mean load of each hour, out of whole weeks before, from `first_week` on."""
    calendar, history = past.calendar, past.history
    last = len(history.load) - 1
    at = hours - history.start
    total, count = np.zeros(len(hours)), np.zeros(len(hours))
    for week in range(WEEKS):
        then = np.clip(at - 168 * (first_week + week), 0, last)
        then = np.clip(then + calendar.offset[at] - calendar.offset[then], 0, last)
        share = _ratio(history.load[then], past.mean_load(then + history.start, 168))
        known = np.isfinite(share)
        weight = 0.5 ** (week / _WEEK_HALF_LIFE) * np.where(calendar.kind[then] == calendar.kind[at], 1.0, _OTHER_KIND)
        total += np.where(known, weight * np.where(known, share, 0.0), 0.0)
        count += np.where(known, weight, 0.0)
    return _ratio(total, count)


def _day_sums(values: Floats) -> Floats:
    """Sums of 24 values, by where each begins. Not by running sums: those depend on where the array begins."""
    total = values[: len(values) - 23].copy()
    for hour in range(1, 24):
        total += values[hour : len(values) - 23 + hour]
    return total


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
