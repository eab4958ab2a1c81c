"""Samples: pairs of an origin and a target hour.

An origin is the hour after the last load that may be used; a target is an hour at or after it. All models read the load
through this module, so one place ensures that no load at or after the origin is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from energy_forecast.forecasting.data.history import History
from energy_forecast.forecasting.data.weather_errors import WeatherErrors
from energy_forecast.forecasting.features.calendar import Calendar, build_calendar
from energy_forecast.forecasting.features.simulated_errors import SimulatedErrors
from energy_forecast.forecasting.features.special_days import SpecialDays
from energy_forecast.forecasting.types import City, Flags, Floats, Ints

# Loads are summed as multiples of this many kWh. Integer sums are exact, so a running mean does not depend on the start
# of the history, and a live forecast has the same bits as a backtest.
GRAIN = 1 / 1024
# kWh. Smallest level: shares of a load that is zero for weeks are zero, not 0 / 0
_LEAST_LEVEL = 1e-6


@dataclass(frozen=True)
class HistoryView:
    """A city's history with calendar and running sums, which are computed once and shared by many samples.

    weather_errors: if given, samples get the weather from their origin on with simulated errors of a weather forecast,
        and of the columns of this service only. None for observed weather.
    """

    city: City
    history: History
    special_days: SpecialDays = field(default_factory=SpecialDays.none)
    weather_errors: WeatherErrors | None = None

    def with_forecast_weather(self, errors: WeatherErrors) -> HistoryView:
        """Return the view with simulated weather forecasts."""
        self.prepare()
        view = replace(self, weather_errors=errors)
        view.__dict__.update(calendar=self.calendar, load_sums=self.load_sums)
        return view

    @cached_property
    def simulated_errors(self) -> SimulatedErrors | None:
        """Return the simulated errors of the weather forecasts."""
        return None if self.weather_errors is None else SimulatedErrors.of(self.weather_errors)

    @cached_property
    def calendar(self) -> Calendar:
        """Return the calendar of the hours of the history, with the effects of special days."""
        plain = build_calendar(self.city, self.history.start, len(self.history.load))
        return self.special_days.applied(plain, self.city)

    @cached_property
    def load_sums(self) -> tuple[Ints, Ints]:
        """Return the running sums of the load."""
        return running_sums(self.history.load)

    def prepare(self) -> None:
        """Compute the shared values now, before several threads need them."""
        _ = self.calendar, self.load_sums

    def both_known(self, weather: bool) -> Ints:
        """Return the hour numbers with known load, and with known temperature if `weather`, ascending."""
        known = np.isfinite(self.history.load)
        if weather:
            known &= np.isfinite(self.history.weather["temperature"])
        return self.history.start + np.flatnonzero(known)

    def mean_load(self, until: Ints, hours: int, at_least: float = 0.5) -> Floats:
        """Return the mean load (kWh) of the `hours` before each hour number `until`.

        It is NaN if a smaller share than `at_least` is known.
        """
        return window_mean(self.load_sums, until - self.history.start, hours, at_least)

    def load_at(self, hours: Ints, origins: Ints) -> Floats:
        """Return the load (kWh) of `hours`; NaN if unknown, and always NaN at or after the origin."""
        position = np.clip(hours - self.history.start, 0, len(self.history.load) - 1)
        outside = (hours >= origins) | (hours < self.history.start)
        return np.where(outside, np.nan, self.history.load[position])


@dataclass(frozen=True)
class Samples:
    """n pairs of `origins[i]` and `targets[i]` (hour numbers, origin <= target) of one history.

    simulated: [n], the pairs whose weather forecast is simulated; None for all. The weather of the others is that of
        the history. It has no effect on a view of observed weather.
    """

    view: HistoryView
    origins: Ints
    targets: Ints
    simulated: Flags | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, where: Flags | Ints) -> Samples:
        """Return the selected samples."""
        simulated = None if self.simulated is None else self.simulated[where]
        return Samples(self.view, self.origins[where], self.targets[where], simulated)

    def with_weather_of_history(self) -> Samples:
        """Return the samples with the weather of the history, without simulated errors."""
        return replace(self, simulated=np.zeros(len(self), bool))

    @cached_property
    def lead(self) -> Ints:
        """Return the lead times in hours."""
        return self.targets - self.origins

    @cached_property
    def position(self) -> Ints:
        """Return the index of each target in the arrays of history and calendar."""
        return self.targets - self.view.history.start

    @cached_property
    def level(self) -> Floats:
        """Return the mean load (kWh) of the week before the origin, or of four or eight weeks if that is unknown.

        It is never zero, since loads are divided by it.
        """
        level = self.view.mean_load(self.origins, 168)
        for hours, at_least in ((672, 0.2), (1344, 0.01)):
            missing = ~np.isfinite(level)
            if missing.any():
                level[missing] = self.view.mean_load(self.origins[missing], hours, at_least)
        return np.maximum(level, _LEAST_LEVEL)

    @cached_property
    def actual(self) -> Floats:
        """Return the load (kWh) of the targets, NaN where unknown. For training and scoring only."""
        return self.view.history.load[self.position]

    def days_before(self, days: Ints) -> Ints:
        """Return the hour number of the same local hour, `days` local days before each target.

        If the clocks change in between, one of the days has 23 or 25 hours.
        """
        calendar = self.view.calendar
        back = self.targets - 24 * days
        position = np.clip(back - calendar.start, 0, len(calendar.offset) - 1)
        return np.asarray(back + calendar.offset[self.position] - calendar.offset[position], np.int64)

    @cached_property
    def first_known_day(self) -> Ints:
        """Return the number of days from the last complete occurrence of the local hour to each target."""
        return np.asarray(self.lead // 24 + 1, np.int64)

    def same_hour(self, days: Ints) -> Floats:
        """Return the load (kWh) at the same local hour `days` days before; NaN if unknown or not before the origin."""
        return self.view.load_at(self.days_before(days), self.origins)


def running_sums(values: Floats) -> tuple[Ints, Ints]:
    """Return exact running sums of the known values in multiples of 1/1024, and running counts; both start at 0."""
    known = np.isfinite(values)
    whole = np.where(known, np.rint(np.where(known, values, 0.0) / GRAIN), 0.0).astype(np.int64)
    zero = np.zeros(1, np.int64)
    return np.concatenate([zero, np.cumsum(whole)]), np.concatenate([zero, np.cumsum(known)])


def window_mean(sums: tuple[Ints, Ints], until: Ints, hours: int, at_least: float) -> Floats:
    """Return the mean of the `hours` values before each index `until`; NaN if a smaller share is known."""
    total, count = sums
    end = np.clip(until, 0, len(total) - 1)
    begin = np.clip(end - hours, 0, len(total) - 1)
    n = count[end] - count[begin]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (total[end] - total[begin]) * GRAIN / n
    return np.where(n >= max(1, at_least * hours), mean, np.nan)
