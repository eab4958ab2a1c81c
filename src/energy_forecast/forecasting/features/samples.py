"""Pairs of an origin and a target: what every model is asked about.

An origin is the hour after the last load that may be used, a target is an hour at or after it. All looking up of
load goes through here, so that there is one place where nothing at or after the origin can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from energy_forecast.forecasting.data.history import History
from energy_forecast.forecasting.features.calendar import Calendar, build_calendar
from energy_forecast.forecasting.types import City, Flags, Floats, Ints

# Loads are summed as whole multiples of this many kWh: integer sums are exact, so a running mean does not depend on
# where the history begins, and a live forecast has the bits of a backtest.
_GRAIN = 1 / 1024
# kWh. A load that is zero for weeks is a share of this: its shares are zero too, and not 0 / 0
_LEAST_LEVEL = 1e-6


@dataclass(frozen=True)
class Past:
    """A city's history with its calendar and running means, made once and asked by many rows."""

    city: City
    history: History

    @cached_property
    def calendar(self) -> Calendar:
        return build_calendar(self.city, self.history.start, len(self.history.load))

    @cached_property
    def load_sums(self) -> tuple[Ints, Ints]:
        return running_sums(self.history.load)

    def prepare(self) -> None:
        """Make what is made once now, before several threads ask for it."""
        _ = self.calendar, self.load_sums

    def both_known(self, weather: bool) -> Ints:
        """The hours (hour numbers) whose load is known, and with `weather` their temperature too, ascending."""
        known = np.isfinite(self.history.load)
        if weather:
            known &= np.isfinite(self.history.weather["temperature"])
        return self.history.start + np.flatnonzero(known)

    def mean_load(self, until: Ints, hours: int, at_least: float = 0.5) -> Floats:
        """Mean load (kWh) of the `hours` before each hour number `until`; NaN where less than that share is known."""
        return window_mean(self.load_sums, until - self.history.start, hours, at_least)

    def load_at(self, hours: Ints, origins: Ints) -> Floats:
        """Load (kWh) of `hours`, NaN where unknown, and NaN at or after the origin whatever is known."""
        position = np.clip(hours - self.history.start, 0, len(self.history.load) - 1)
        outside = (hours >= origins) | (hours < self.history.start)
        return np.where(outside, np.nan, self.history.load[position])


@dataclass(frozen=True)
class Rows:
    """`origins[i]` and `targets[i]` (hour numbers, origin <= target) of n forecasts to make, out of one past."""

    past: Past
    origins: Ints
    targets: Ints

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, where: Flags | Ints) -> Rows:
        return Rows(self.past, self.origins[where], self.targets[where])

    @property
    def lead(self) -> Ints:
        return self.targets - self.origins

    @property
    def position(self) -> Ints:
        """Where the targets are in the arrays of history and calendar."""
        return self.targets - self.past.history.start

    @cached_property
    def level(self) -> Floats:
        """Mean load (kWh) of the week before the origin; of four weeks, or of what there is, when that is not known.

        Never zero, since loads are divided by it.
        """
        level = self.past.mean_load(self.origins, 168)
        for hours, at_least in ((672, 0.2), (1344, 0.01)):
            missing = ~np.isfinite(level)
            if missing.any():
                level[missing] = self.past.mean_load(self.origins[missing], hours, at_least)
        return np.maximum(level, _LEAST_LEVEL)

    @cached_property
    def actual(self) -> Floats:
        """Load (kWh) of the targets, NaN where unknown. For learning and scoring only."""
        return self.past.history.load[self.position]

    def days_before(self, days: Ints) -> Ints:
        """The hour number of the same local time of day, `days` local days before each target.

        When the clocks change in between, the hour is 23 or 25 hours back, so that the local hour stays.
        """
        calendar = self.past.calendar
        back = self.targets - 24 * days
        position = np.clip(back - calendar.start, 0, len(calendar.offset) - 1)
        return np.asarray(back + calendar.offset[self.position] - calendar.offset[position], np.int64)

    @cached_property
    def first_known_day(self) -> Ints:
        """How many days before each target its local hour was last over before the origin."""
        return np.asarray(self.lead // 24 + 1, np.int64)

    def same_hour(self, days: Ints) -> Floats:
        """Load (kWh) at the same local hour `days` days before; NaN when unknown or not before the origin."""
        return self.past.load_at(self.days_before(days), self.origins)


def running_sums(values: Floats) -> tuple[Ints, Ints]:
    """Exact running sums of the known values, in multiples of 1/1024, and their running count; both one longer."""
    known = np.isfinite(values)
    whole = np.where(known, np.rint(np.where(known, values, 0.0) / _GRAIN), 0.0).astype(np.int64)
    zero = np.zeros(1, np.int64)
    return np.concatenate([zero, np.cumsum(whole)]), np.concatenate([zero, np.cumsum(known)])


def window_mean(sums: tuple[Ints, Ints], until: Ints, hours: int, at_least: float) -> Floats:
    """Mean of the `hours` values before each position `until`; NaN where less than that share of them is known."""
    total, count = sums
    end = np.clip(until, 0, len(total) - 1)
    begin = np.clip(end - hours, 0, len(total) - 1)
    n = count[end] - count[begin]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (total[end] - total[begin]) * _GRAIN / n
    return np.where(n >= max(1, at_least * hours), mean, np.nan)
