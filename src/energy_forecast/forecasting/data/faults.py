"""Detection of impossible loads: outages of the meter, spikes, stuck meters, wrong units.

Values are not corrected. A faulty hour is treated as unknown in training, lags and scores, and it is counted. Detection
uses only the load known at one time. A zero, a spike or a dip is found by comparison with the 28 days before; a stuck
meter, a wrong unit and a single spike also with the hours after it, as far as they are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_forecast.forecasting.types import Flags, Floats, Ints
from energy_forecast.weather_ranges import WEATHER_RANGES

REFERENCE_DAYS = 28
# Relative to the quartiles of the same hour in the days before, not to their median: a site that is closed at weekends
# is not faulty twice a week. A step change is accepted after about a week, when a quarter of the days before have it.
HIGHEST_RATIO = 2.5
LOWEST_RATIO = 0.35
# A single hour relative to its two neighbours. In nine US cities and three zones of Tetouan, half a million hours, this
# finds 21, all of them in the three records with the most other faults.
_SINGLE_RATIO = 1.5
_STUCK_HOURS = 6
_STUCK_CHANCE = 0.01
# Watt-hours or megawatt-hours in place of kWh: a factor of a thousand, less the variation of the load itself. Three
# days are well before the week after which a step change is accepted.
_UNIT_RATIO = 250.0
_UNIT_HOURS = 72
# Index of each kind in Faults.kinds; 0 is no fault
KINDS = ("", "zero", "spike", "dip", "stuck", "unit")
_NOT_POSITIVE, _SPIKE, _DIP, _STUCK, _UNIT = range(1, 6)


@dataclass(frozen=True)
class Faults:
    """The faulty hours of a load: `kinds[i]` is an index into KINDS."""

    kinds: NDArray[np.int8]

    @property
    def where(self) -> Flags:
        """Return the flags of the faulty hours."""
        return self.kinds > 0

    @property
    def count(self) -> int:
        """Return the number of faulty hours."""
        return int(np.count_nonzero(self.kinds))

    @property
    def by_kind(self) -> dict[str, int]:
        """Return the number of hours of each kind, including kinds with none."""
        return {name: int(np.count_nonzero(self.kinds == number)) for number, name in enumerate(KINDS) if number}


def find_faults(load: Floats) -> Faults:
    """Find the faulty hours of `load` (kWh, hourly, NaN where unknown).

    zero: not positive, although the same hour was mostly positive in the 28 days before, or stuck at zero.
    spike, dip: more than 2.5 times the upper quartile of that hour in the 28 days before, or less than 0.35 of the
        lower one; or a single hour of 1.5 times its neighbours, or two thirds of them, if that is rare. The first four
        weeks are compared with the first 28 known days.
    stuck: the same value for 6 hours or more, and longer than by chance for this load; all but the first hour.
    unit: three days or more, not counting gaps and zeros, at more than 250 times the median, or less than a 250th of
        it; or 6 hours that are also spikes or dips. Most hours are assumed to be in the right unit.
    """
    kinds = np.zeros(len(load), np.int8)
    known = np.flatnonzero(np.isfinite(load))
    if len(known) == 0:
        return Faults(kinds)
    # Each hour's own past, not its calendar day: the window must not depend on the start of the array
    start = int(known[0])
    found, body = kinds[start:], load[start:]
    far = _far_off(body)
    # Gaps and zeros do not end a run: a wrong unit may contain an outage
    positive = np.flatnonzero(body > 0)
    found[positive[_in_runs(far[positive], _UNIT_HOURS)]] = _UNIT
    stuck = _stuck(body) & (found == 0)
    found[stuck] = np.where(body[stuck] > 0, _STUCK, _NOT_POSITIVE)
    rest = np.where(found > 0, np.nan, body)
    for kind, where in _compared_with_days_before(rest):
        found[where] = kind
    single = _single_outliers(np.where(found > 0, np.nan, body))
    found[single > 0], found[single < 0] = _SPIKE, _DIP
    outlier = (found == _SPIKE) | (found == _DIP)
    found[_in_runs(outlier & far, _STUCK_HOURS)] = _UNIT
    return Faults(kinds)


def _compared_with_days_before(body: Floats) -> list[tuple[int, Flags]]:
    """Return the hours that are not positive, too large or too small relative to the 28 days before."""
    n_hours, early = len(body), min(len(body), 24 * REFERENCE_DAYS)
    padded = np.concatenate([np.full(24 * REFERENCE_DAYS, np.nan), body])
    past = np.stack([padded[24 * day : 24 * day + n_hours] for day in range(REFERENCE_DAYS)])
    past[:, :early] = _first_days(body)[:, np.arange(early) % 24]

    seen, positive = np.isfinite(past), past > 0
    n_seen, n_positive = seen.sum(axis=0), (seen & positive).sum(axis=0)
    finite = np.isfinite(body)
    judged = finite & (n_positive >= 4)
    known = np.where(positive, past, np.inf)
    # A quartile is between the least and the largest value, so few hours need one
    is_high = judged & (body > HIGHEST_RATIO * known.min(axis=0))
    is_low = judged & (body > 0) & (body < LOWEST_RATIO * np.where(positive, past, 0.0).max(axis=0))
    hours = np.flatnonzero(is_high | is_low)
    ordered, quarter = np.sort(known[:, hours], axis=0), n_positive[hours] // 4
    place = np.arange(len(hours))
    lower, upper = ordered[quarter, place], ordered[n_positive[hours] - 1 - quarter, place]
    is_high[hours] &= body[hours] > HIGHEST_RATIO * upper
    is_low[hours] &= body[hours] < LOWEST_RATIO * lower
    return [
        (_NOT_POSITIVE, finite & (body <= 0) & ((2 * n_positive > n_seen) | (body < 0))),
        (_SPIKE, is_high),
        (_DIP, is_low),
    ]


def _first_days(body: Floats) -> Floats:
    """Return the values of each hour in the first 28 days, [28, 24], NaN beyond the end."""
    days = np.full(24 * REFERENCE_DAYS, np.nan)
    days[: min(len(body), len(days))] = body[: len(days)]
    return days.reshape(REFERENCE_DAYS, 24)


def _single_outliers(body: Floats) -> Floats:
    """Return 1 for a single hour above its neighbours, -1 for one below, else 0; always 0 if it is frequent."""
    log = np.log(body, out=np.full(len(body), np.nan), where=body > 0)
    deviation = np.full(len(body), np.nan)
    deviation[1:-1] = log[1:-1] - (log[:-2] + log[2:]) / 2
    size = np.abs(deviation)
    known = np.isfinite(size)
    if not known.any():
        return np.zeros(len(body))
    frequent = float(np.quantile(size[known], 0.99))
    # Of adjacent outliers, the largest is the fault
    neighbours = np.nan_to_num(np.concatenate([[0.0], size, [0.0]]))
    farthest = size >= np.maximum(neighbours[:-2], neighbours[2:])
    return np.where(known & farthest & (size > max(np.log(_SINGLE_RATIO), 2 * frequent)), np.sign(deviation), 0.0)


def _stuck(body: Floats) -> Flags:
    """Return the hours that repeat the one before, in runs that are too long for chance."""
    repeats = np.zeros(len(body), bool)
    repeats[1:] = body[1:] == body[:-1]
    pairs = int(np.count_nonzero(np.isfinite(body[1:]) & np.isfinite(body[:-1])))
    n = int(repeats.sum())
    if n in (0, pairs):
        return np.zeros(len(body), bool)
    # A meter with a coarse resolution repeats values: pairs * share ** k runs of k repeats are expected
    share = n / pairs
    longest = np.log(_STUCK_CHANCE / pairs) / np.log(share)
    return _in_runs(repeats, max(_STUCK_HOURS - 1, int(np.ceil(longest))))


def _far_off(body: Floats) -> Flags:
    """Return where a value is positive and has another unit than the median."""
    positive = body > 0
    if not positive.any():
        return positive
    median = np.median(body[positive])
    return np.asarray(positive & ((body > _UNIT_RATIO * median) | (body < median / _UNIT_RATIO)), bool)


def _in_runs(where: Flags, shortest: int) -> Flags:
    """Return the flags that are in a run of at least `shortest`."""
    if not where.any():
        return where
    first, end = runs(where)
    changes = np.zeros(len(where) + 1, np.int64)
    long = end - first >= shortest
    np.add.at(changes, first[long], 1)
    np.add.at(changes, end[long], -1)
    return np.asarray(np.cumsum(changes[:-1]) > 0, bool)


def runs(where: Flags) -> tuple[Ints, Ints]:
    """Return the starts and (exclusive) ends of the runs of True."""
    if not where.any():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    edges = np.diff(np.concatenate([[0], where.astype(np.int8), [0]]))
    return np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)


def plausible_weather(name: str, values: Floats) -> Floats:
    """Return `values` with NaN in place of impossible ones."""
    low, high = WEATHER_RANGES[name]
    with np.errstate(invalid="ignore"):
        return np.where((values >= low) & (values <= high), values, np.nan)
