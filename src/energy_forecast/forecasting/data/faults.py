"""Finding the hours that no city can have had: outages of the meter, spikes, stuck meters, wrong units.

Nothing is repaired. A faulty hour is treated as unknown: it is not learnt from, no lag shows it, no score counts it,
and it is counted. What is judged is what was known at one moment, so nothing that came later is seen. A zero, a spike
or a dip is judged by the 28 days before it and by itself; a stuck meter, a wrong unit and a lone spike also by the
hours after it, as far as they were known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_forecast.forecasting.types import Flags, Floats, Ints

REFERENCE_DAYS = 28
# Against the quartiles of the same hour in the days before, not their median: a site that rests at weekends is not
# faulty twice a week. A new level is believed once a quarter of the days before have it, after about a week.
HIGHEST_RATIO = 2.5
LOWEST_RATIO = 0.35
# A single hour against the two beside it. In nine US cities and three zones of Tetouan, half a million hours, 21 stand
# out so, all of them in the three records with the most other faults.
_LONE_RATIO = 1.5
_STUCK_HOURS = 6
_STUCK_CHANCE = 0.01
# Watt-hours or megawatt-hours for kWh: a thousand times, less what a load itself varies; three days, well before the
# week after which a new level would be believed
_UNIT_RATIO = 250.0
_UNIT_HOURS = 72
_PLAUSIBLE = {
    "temperature": (-80.0, 65.0),
    "humidity": (0.0, 105.0),
    "wind_speed": (0.0, 110.0),
    "precipitation": (0.0, 500.0),
}
# By their numbers in Faults.kinds; 0 is no fault
KINDS = ("", "not_positive", "spikes", "dips", "stuck", "unit")
_NOT_POSITIVE, _SPIKE, _DIP, _STUCK, _UNIT = range(1, 6)


@dataclass(frozen=True)
class Faults:
    """Which hours of a load are faulty, and how: `kinds[i]` is the place in KINDS."""

    kinds: NDArray[np.int8]

    @property
    def where(self) -> Flags:
        return self.kinds > 0

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.kinds))

    @property
    def by_kind(self) -> dict[str, int]:
        """How many hours of each kind; kinds without any are there too."""
        return {name: int(np.count_nonzero(self.kinds == number)) for number, name in enumerate(KINDS) if number}


def find_faults(load: Floats) -> Faults:
    """Find the faulty hours of `load` (kWh, hourly, NaN where unknown).

    not_positive: not positive though the same hour mostly was in the 28 days before, or stuck at zero.
    spikes, dips: more than 2.5 times the upper quartile of that hour in the 28 days before, or less than 0.35 of the
        lower one; or a single hour half as large again as those beside it, or two thirds of them, where that is rare.
        The first four weeks, which have no 28 days before them, are held against the first 28 known days.
    stuck: the same value for 6 hours or more, and longer than this load repeats itself by chance; but the first.
    unit: three days or more, gaps and zeros apart, at 250 times the load's median or beyond, or a 250th of it; or 6
        hours that are spikes or dips as well. Most hours are taken to be in the right unit.
    """
    kinds = np.zeros(len(load), np.int8)
    known = np.flatnonzero(np.isfinite(load))
    if len(known) == 0:
        return Faults(kinds)
    # Every hour's own past, not its calendar day's: the window must not depend on where the array begins
    start = int(known[0])
    found, body = kinds[start:], load[start:]
    far = _far_off(body)
    # Gaps and zeros end no run: an outage in the middle of a wrong unit does not make it right
    positive = np.flatnonzero(body > 0)
    found[positive[_in_runs(far[positive], _UNIT_HOURS)]] = _UNIT
    stuck = _stuck(body) & (found == 0)
    found[stuck] = np.where(body[stuck] > 0, _STUCK, _NOT_POSITIVE)
    rest = np.where(found > 0, np.nan, body)
    for kind, where in _against_the_days_before(rest):
        found[where] = kind
    lone = _lone(np.where(found > 0, np.nan, body))
    found[lone > 0], found[lone < 0] = _SPIKE, _DIP
    strange = (found == _SPIKE) | (found == _DIP)
    found[_in_runs(strange & far, _STUCK_HOURS)] = _UNIT
    return Faults(kinds)


def _against_the_days_before(body: Floats) -> list[tuple[int, Flags]]:
    """Hours that are not positive, too large and too small for the same hour of the 28 days before."""
    padded = np.concatenate([np.full(24 * REFERENCE_DAYS, np.nan), body])
    offsets = np.arange(len(body))[:, None] + 24 * np.arange(REFERENCE_DAYS)[None, :]
    past = padded[offsets]
    early = min(len(body), 24 * REFERENCE_DAYS)
    past[:early] = _first_days(body)[np.arange(early) % 24]

    seen = np.isfinite(past)
    n_seen = seen.sum(axis=1)
    n_positive = (seen & (np.nan_to_num(past, nan=0.0) > 0)).sum(axis=1)
    ordered = np.sort(np.where(np.nan_to_num(past, nan=0.0) > 0, past, np.inf), axis=1)
    row = np.arange(len(body))
    lower = ordered[row, np.minimum(n_positive // 4, REFERENCE_DAYS - 1)]
    upper = ordered[row, np.clip(n_positive - 1 - n_positive // 4, 0, REFERENCE_DAYS - 1)]
    judged = n_positive >= 4
    finite = np.isfinite(body)
    return [
        (_NOT_POSITIVE, finite & (body <= 0) & ((2 * n_positive > n_seen) | (body < 0))),
        (_SPIKE, finite & judged & (body > HIGHEST_RATIO * upper)),
        (_DIP, finite & judged & (body > 0) & (body < LOWEST_RATIO * lower)),
    ]


def _first_days(body: Floats) -> Floats:
    """The same hour's values in the first 28 days, [24, 28], NaN beyond the end."""
    days = np.full(24 * REFERENCE_DAYS, np.nan)
    days[: min(len(body), len(days))] = body[: len(days)]
    return np.ascontiguousarray(days.reshape(REFERENCE_DAYS, 24).T)


def _lone(body: Floats) -> Floats:
    """1 for a single hour above those beside it, -1 for one below, else 0; never where this load often does so."""
    log = np.log(body, out=np.full(len(body), np.nan), where=body > 0)
    off = np.full(len(body), np.nan)
    off[1:-1] = log[1:-1] - (log[:-2] + log[2:]) / 2
    size = np.abs(off)
    known = np.isfinite(size)
    if not known.any():
        return np.zeros(len(body))
    usual = float(np.quantile(size[known], 0.99))
    # Of neighbours that both stand out, the one between them is the fault
    beside = np.nan_to_num(np.concatenate([[0.0], size, [0.0]]))
    farthest = size >= np.maximum(beside[:-2], beside[2:])
    return np.where(known & farthest & (size > max(np.log(_LONE_RATIO), 2 * usual)), np.sign(off), 0.0)


def _stuck(body: Floats) -> Flags:
    """Hours that repeat the one before, in runs too long for chance."""
    repeats = np.zeros(len(body), bool)
    repeats[1:] = body[1:] == body[:-1]
    pairs = int(np.count_nonzero(np.isfinite(body[1:]) & np.isfinite(body[:-1])))
    n = int(repeats.sum())
    if n == 0 or n == pairs:
        return np.zeros(len(body), bool)
    # A coarse meter repeats itself: n runs of k repeats are expected at pairs * share ** k
    share = n / pairs
    longest = np.log(_STUCK_CHANCE / pairs) / np.log(share)
    return _in_runs(repeats, max(_STUCK_HOURS - 1, int(np.ceil(longest))))


def _far_off(body: Floats) -> Flags:
    """Where a value is not zero, and of another unit than the median."""
    positive = body > 0
    if not positive.any():
        return positive
    median = np.median(body[positive])
    return np.asarray(positive & ((body > _UNIT_RATIO * median) | (body < median / _UNIT_RATIO)), bool)


def _in_runs(where: Flags, shortest: int) -> Flags:
    """Those of `where` that stand in a run of at least that many."""
    first, end = runs(where)
    kept = np.zeros(len(where) + 1, np.int64)
    long = end - first >= shortest
    np.add.at(kept, first[long], 1)
    np.add.at(kept, end[long], -1)
    return np.asarray(np.cumsum(kept[:-1]) > 0, bool)


def runs(where: Flags) -> tuple[Ints, Ints]:
    """First places and ends (exclusive) of the runs of True."""
    edges = np.diff(np.concatenate([[0], where.astype(np.int8), [0]]))
    return np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)


def plausible_weather(name: str, values: Floats) -> Floats:
    """`values` with NaN where no place on earth has had such weather."""
    low, high = _PLAUSIBLE[name]
    with np.errstate(invalid="ignore"):
        return np.where((values >= low) & (values <= high), values, np.nan)
