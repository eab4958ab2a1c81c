"""Tao Hong's vanilla benchmark, the reference regression of load forecasting competitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from energy_forecast.errors import ArtifactError, NotEnoughDataError
from energy_forecast.forecasting.features.matrix import target_temperature
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.models.regressor import FittedRegressor, Regressor, Trainer
from energy_forecast.forecasting.models.ridge import solve_ridge
from energy_forecast.forecasting.serialization import Shape
from energy_forecast.forecasting.types import Floats, Ints

# With a shorter history a trend cannot be separated from the season
_TREND_NEEDS_HOURS = 24 * 548
_TREND_HOURS = 24 * 365.25


@dataclass(frozen=True)
class FittedTaoVanilla(FittedRegressor):
    """The fitted benchmark. coldest, warmest: the temperature range of the training data."""

    coefficients: Annotated[Floats, Shape(None)]
    means: Annotated[Floats, Shape(None)]
    intercept: float
    weather: bool
    trend_from: float | None
    coldest: float
    warmest: float
    sample_count: int

    @property
    def settings(self) -> dict[str, Any]:
        """Return settings and sizes of the fit, as plain JSON."""
        return {"rows": self.sample_count, "columns": len(self.means), "trend": self.trend_from is not None}

    def predict(self, samples: Samples) -> Floats:
        """Return the load of each target, kWh; NaN if the model cannot predict."""
        temperature = None
        if self.weather:
            # A cubic extrapolates badly outside the training range
            temperature = np.clip(target_temperature(samples), self.coldest, self.warmest)
        trend = None if self.trend_from is None else _years(samples.targets, self.trend_from)
        kwh = (_design(samples, temperature, trend) - self.means) @ self.coefficients + self.intercept
        return np.where(np.isnan(kwh), np.nan, np.maximum(kwh, 0.0))

    def check(self) -> None:
        """Raise ArtifactError if the arrays have another number of columns."""
        columns = 12 + 168 + (self.trend_from is not None) + (3 * (1 + 12 + 24) if self.weather else 0)
        if self.coefficients.shape != (columns,) or self.means.shape != (columns,):
            raise ArtifactError("The stored regression has other columns than this version's.")


class TaoVanilla(Regressor):
    """trend + month + weekday x hour + (T, T^2, T^3) x (1, month, hour), by least squares with a slight ridge.

    T. Hong, Short Term Electric Load Forecasting, NC State University 2010 (Tao's vanilla benchmark of GEFCom2012).
    Without weather only the calendar terms remain. The trend requires one and a half years of history.
    """

    name = "vanilla"
    needed_hours = 14 * 24
    kind = "regression"
    adapts = False

    def trainer(self, view: HistoryView, *, weather: bool, seed: int) -> Trainer:  # noqa: ARG002
        """Build the training set, and return a function that fits to its targets before an hour number."""
        history = view.history
        targets = np.arange(history.first, history.known_until, dtype=np.int64)
        samples = Samples(view, targets, targets)
        temperature = history.weather["temperature"][samples.position] if weather else None
        usable = np.isfinite(samples.actual) & (np.isfinite(temperature) if temperature is not None else True)
        samples = samples.take(usable)
        temperature = temperature[usable] if temperature is not None else None
        load, start = samples.actual, history.first

        def fit_until(until: int) -> FittedTaoVanilla:
            past = samples.take(samples.targets < until)
            n = len(past)
            if not n:
                raise NotEnoughDataError(
                    f"The load of {view.city.name} has no hour to train on.", hint="Ingest more history."
                )
            trend_from = float(start) if until - start >= _TREND_NEEDS_HOURS else None
            trend = None if trend_from is None else _years(past.targets, trend_from)
            known = temperature[:n] if temperature is not None else None
            design = _design(past, known, trend)
            coefficients, intercept, means = solve_ridge(design, load[:n], np.ones(n), 1.0)
            return FittedTaoVanilla(
                coefficients,
                means,
                intercept,
                weather,
                trend_from,
                float(known.min()) if known is not None else 0.0,
                float(known.max()) if known is not None else 0.0,
                n,
            )

        return fit_until


def _design(samples: Samples, temperature: Floats | None, trend: Floats | None) -> Floats:
    calendar, at = samples.view.calendar, samples.position
    month = _one_hot(calendar.month[at] - 1, 12)
    hour = _one_hot(calendar.hour[at], 24)
    blocks = [month, _one_hot(calendar.weekday[at] * 24 + calendar.hour[at], 168)]
    if trend is not None:
        blocks.append(trend[:, None])
    if temperature is not None:
        t = temperature / 10
        powers = np.stack([t, t**2, t**3], axis=1)
        blocks.append(powers)
        blocks.extend(power[:, None] * part for power in powers.T for part in (month, hour))
    return np.concatenate(blocks, axis=1)


def _one_hot(values: Ints, n: int) -> Floats:
    return np.asarray(values[:, None] == np.arange(n)[None, :], float)


def _years(hours: Ints, since: float) -> Floats:
    return np.asarray((hours - since) / _TREND_HOURS, float)
