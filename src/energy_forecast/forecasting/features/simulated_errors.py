"""Simulated errors of weather forecasts for the samples of a history.

A model that is trained on observed weather trusts a weather forecast too much, and its intervals are too narrow. So it
is trained, tested and calibrated on observed weather plus errors, as a forecast issued at the origin would have had.
Each origin has one of a fixed number of error paths, so that the errors of its hours are correlated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from energy_forecast.forecasting.data.weather_errors import WeatherErrors, independent_paths
from energy_forecast.forecasting.types import Floats, Ints

PATHS = 128
# A day more than the longest horizon, for origins before the issue
LEAD_HOURS = 192
# Not that of the simulated weather forecasts of a backtest: its errors must be unknown to the model
_SEED = 1


@dataclass(frozen=True)
class SimulatedErrors:
    """Errors by weather column, [PATHS, LEAD_HOURS]: of the temperature, humidity and wind speed to add to the weather.

    Those of the precipitation are factors. sums: running sums of the errors, [PATHS, LEAD_HOURS + 1].
    """

    paths: dict[str, Floats]
    sums: dict[str, Floats]

    @staticmethod
    def of(errors: WeatherErrors) -> SimulatedErrors:
        """Draw the errors. The same model gives the same errors."""
        return _drawn(errors.leads, tuple(errors.rmse.items()))


@lru_cache(maxsize=64)
def _drawn(leads: tuple[float, ...], rmse: tuple[tuple[str, tuple[float, ...]], ...]) -> SimulatedErrors:
    """Return the errors of a model. They are kept, since drawing them takes a tenth of a forecast."""
    paths = independent_paths(WeatherErrors(leads, dict(rmse)), count=PATHS, hours=LEAD_HOURS, seed=_SEED)
    sums = {name: np.cumsum(np.pad(own, ((0, 0), (1, 0))), axis=1) for name, own in paths.items()}
    return SimulatedErrors(paths, sums)


@dataclass(frozen=True)
class SampleErrors:
    """The errors of the forecasts of n samples. path, lead: [n], the number of the path and the lead time in hours."""

    errors: SimulatedErrors
    path: Ints
    lead: Ints

    @staticmethod
    def at_origins(errors: SimulatedErrors, origins: Ints, lead: Ints) -> SampleErrors:
        """Return the errors of forecasts issued at `origins` (hour numbers)."""
        # Multiplicative hashing (Knuth): neighbouring origins get unrelated paths
        path = (origins * 2654435761 % 2**32) * PATHS >> 32
        return SampleErrors(errors, np.asarray(path, np.int64), lead)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the weather forecast."""
        return tuple(self.errors.paths)

    def at(self, name: str, hours_before: Ints | int = 0) -> Floats:
        """Return the error so many hours before each target; none before the origin."""
        lead = self.lead - hours_before
        none = 1.0 if name == "precipitation" else 0.0
        found = self.errors.paths[name][self.path, np.clip(lead, 0, LEAD_HOURS - 1)]
        return np.where(lead >= 0, found, none)

    def mean(self, name: str, hours: int) -> Floats:
        """Return the mean error of the last hours up to each target, [n]."""
        sums = self.errors.sums[name]
        end = np.clip(self.lead + 1, 0, LEAD_HOURS)
        begin = np.clip(self.lead + 1 - hours, 0, LEAD_HOURS)
        return np.asarray((sums[self.path, end] - sums[self.path, begin]) / hours, float)

    def last(self, name: str, hours: int, part: slice) -> Floats:
        """Return the errors of the last hours up to each target of a part of the samples, [m, hours]."""
        own = SampleErrors(self.errors, self.path[part, None], self.lead[part, None])
        return own.at(name, np.arange(hours))
