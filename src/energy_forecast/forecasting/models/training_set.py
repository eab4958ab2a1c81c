"""What the learning models learn from: every hour of history, as the target of forecasts with leads up to a week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_forecast.errors import NotEnoughDataError
from energy_forecast.forecasting.features.matrix import Table, feature_table
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.types import Floats, Ints

# Last hours of each band of lead times. What happened just before the origin fades within a day, so the first day
# has four bands.
LEAD_BANDS = (2, 7, 15, 23, 47)
BANDS = len(LEAD_BANDS) + 1
# A day of targets in each band
FEWEST = 24 * BANDS
_YEAR_HOURS = 8766
_SEASON_NEEDS_HOURS = 400 * 24
_LONGEST_LEAD = 191
_HALF_LIFE_YEARS = 3.0
_BLOCK_HOURS = 24 * 28
_BLOCKS = 5


def lead_band(lead: Ints) -> Ints:
    """Which band each lead time (hours) is in, 0 to BANDS - 1."""
    return np.searchsorted(np.asarray(LEAD_BANDS), lead)


@dataclass(frozen=True)
class Lessons:
    """n rows to learn from, oldest target first.

    share: [n] load of the target as a share of the level before the origin. weight: [n], half as much for what is
    three years older. block: [n], which of five parts of time each row is left out with: months in turn, or a fifth
    of a short history each. season: whether more than a year is there, so that terms of the year can be learnt.
    """

    rows: Rows
    table: Table
    share: Floats
    weight: Floats
    block: Ints
    season: bool

    def __len__(self) -> int:
        return len(self.share)

    def until(self, hour: int) -> Lessons:
        """Those whose target lies before hour number `hour`, weighed as from there.

        Raises:
            NotEnoughDataError: they are fewer than FEWEST.
        """
        n = int(np.searchsorted(self.rows.targets, hour))
        _check_enough(n, self.rows.past)
        targets = self.rows.targets[:n]
        first = self.rows.past.history.first
        return Lessons(
            self.rows.take(np.arange(n)),
            Table(self.table.names, self.table.values[:n]),
            self.share[:n],
            weights(targets, hour),
            blocks(targets, first),
            hour - first >= _SEASON_NEEDS_HOURS,
        )


def _check_enough(n: int, past: Past) -> None:
    if n < FEWEST:
        raise NotEnoughDataError(
            f"The load of {past.city.name} has too few hours that a model can learn from.",
            hint="Load more history, or choose a simpler model.",
        )


def weights(targets: Ints, until: int) -> Floats:
    """How much each hour counts for who learns at hour number `until`: half as much for three years more."""
    return np.asarray(0.5 ** ((until - targets) / (_HALF_LIFE_YEARS * _YEAR_HOURS)), float)


def blocks(targets: Ints, first: int) -> Ints:
    """Which of five parts of the time since hour number `first` each hour is in: months in turn, or a fifth each."""
    length = int(targets.max()) + 1 - first
    return np.asarray((targets - first) // min(_BLOCK_HOURS, -(-length // _BLOCKS)) % _BLOCKS, np.int64)


def make_lessons(past: Past, draw: np.random.Generator, *, weather: bool) -> Lessons:
    """Every known hour as a target once in each band of lead times, with a lead drawn at random inside it.

    Raises:
        NotEnoughDataError: they are fewer than FEWEST.
    """
    history = past.history
    targets = np.arange(history.first + 24, history.known_until, dtype=np.int64)
    known = np.isfinite(history.load[targets - history.start])
    if weather:
        known &= np.isfinite(history.weather["temperature"][targets - history.start])
    targets = targets[known]
    lowest = (0, *(last + 1 for last in LEAD_BANDS))
    highest = (*LEAD_BANDS, _LONGEST_LEAD)
    leads = [draw.integers(low, high + 1, len(targets)) for low, high in zip(lowest, highest, strict=True)]
    lead = np.concatenate(leads)
    target = np.tile(targets, len(leads))
    order = np.argsort(target, kind="stable")
    rows = Rows(past, (target - lead)[order], target[order])
    # A week at least of load before the origin; and no target that a change of unit put out of all proportion.
    rows = rows.take(rows.origins >= history.first + min(168, (history.known_until - history.first) // 3))
    with np.errstate(invalid="ignore"):
        share = rows.actual / rows.level
    rows = rows.take(np.isfinite(share) & (share > 0.1) & (share < 6.0))
    _check_enough(len(rows), past)
    whole = Lessons(
        rows, feature_table(rows, weather=weather), rows.actual / rows.level, np.empty(0), np.empty(0, np.int64), False
    )
    return whole.until(history.known_until)
