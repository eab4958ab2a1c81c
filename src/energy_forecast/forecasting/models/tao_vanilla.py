"""Tao Hong's vanilla benchmark, the regression that load forecasting competitions measure themselves against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_forecast.errors import NotEnoughDataError
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.protocol import Learn
from energy_forecast.forecasting.models.ridge import solve_ridge
from energy_forecast.forecasting.serialization import Arrays, fact, stored_array
from energy_forecast.forecasting.types import Floats, Ints

# With less than this a trend cannot be told from a season, and would carry one into the other.
_TREND_NEEDS_HOURS = 24 * 548
_TREND_HOURS = 24 * 365.25


@dataclass(frozen=True)
class VanillaPoint:
    coefficients: Floats
    means: Floats
    intercept: float
    weather: bool
    trend_from: float | None
    coldest: float
    warmest: float
    rows: int

    @property
    def settings(self) -> dict[str, Any]:
        return {"rows": self.rows, "columns": len(self.means), "trend": self.trend_from is not None}

    def predict(self, rows: Rows) -> Floats:
        temperature = None
        if self.weather:
            # A cubic runs away outside what it has seen.
            temperature = np.clip(rows.past.history.weather["temperature"][rows.position], self.coldest, self.warmest)
        trend = None if self.trend_from is None else _years(rows.targets, self.trend_from)
        kwh = (_design(rows, temperature, trend) - self.means) @ self.coefficients + self.intercept
        return np.where(np.isnan(kwh), np.nan, np.maximum(kwh, 0.0))

    def leading(self, rows: Rows) -> dict[str, Floats]:
        calendar, at = rows.past.calendar, rows.position
        values: dict[str, Floats] = {}
        if self.weather:
            values["temperature_c"] = rows.past.history.weather["temperature"][at]
        values["local_hour"] = calendar.hour[at].astype(float)
        values["weekday"] = calendar.weekday[at].astype(float)
        values["month"] = calendar.month[at].astype(float)
        return values

    def state(self) -> tuple[dict[str, Any], Arrays]:
        state = {
            "intercept": self.intercept,
            "weather": self.weather,
            "trend_from": self.trend_from,
            "coldest": self.coldest,
            "warmest": self.warmest,
            "rows": self.rows,
        }
        return state, {"coefficients": self.coefficients, "means": self.means}


class Vanilla:
    """trend + month + weekday x hour + (T, T^2, T^3) x (1, month, hour), by least squares with a slight ridge.

    T. Hong, Short Term Electric Load Forecasting, NC State University 2010 (Tao's vanilla benchmark of GEFCom2012).
    Without weather only the calendar's part is left. The trend is left out below one and a half years of history.
    """

    name = "vanilla"
    needed_hours = 14 * 24
    kind = "regression"
    uses_weather = True
    learns = True
    adapts = False

    def lessons(self, past: Past, *, weather: bool, seed: int) -> Learn:  # noqa: ARG002
        history = past.history
        targets = np.arange(history.first, history.known_until, dtype=np.int64)
        rows = Rows(past, targets, targets)
        temperature = history.weather["temperature"][rows.position] if weather else None
        usable = np.isfinite(rows.actual) & (np.isfinite(temperature) if temperature is not None else True)
        rows = rows.take(usable)
        temperature = temperature[usable] if temperature is not None else None
        load, start = rows.actual, history.first

        def learn(until: int) -> VanillaPoint:
            mine = rows.take(rows.targets < until)
            n = len(mine)
            if not n:
                raise NotEnoughDataError(f"The load of {past.city.name} has no hour that a model can learn from.")
            trend_from = float(start) if until - start >= _TREND_NEEDS_HOURS else None
            trend = None if trend_from is None else _years(mine.targets, trend_from)
            seen = temperature[:n] if temperature is not None else None
            design = _design(mine, seen, trend)
            coefficients, intercept, means = solve_ridge(design, load[:n], np.ones(n), 1.0)
            return VanillaPoint(
                coefficients,
                means,
                intercept,
                weather,
                trend_from,
                float(seen.min()) if seen is not None else 0.0,
                float(seen.max()) if seen is not None else 0.0,
                n,
            )

        return learn

    def restore(self, state: dict[str, Any], arrays: Arrays) -> VanillaPoint:
        weather, trend_from = fact(state, "weather", bool), state.get("trend_from")
        if trend_from is not None:
            trend_from = fact(state, "trend_from", float)
        columns = 12 + 168 + (trend_from is not None) + (3 * (1 + 12 + 24) if weather else 0)
        return VanillaPoint(
            stored_array(arrays, "coefficients", "<f8", columns),
            stored_array(arrays, "means", "<f8", columns),
            fact(state, "intercept", float),
            weather,
            trend_from,
            fact(state, "coldest", float),
            fact(state, "warmest", float),
            fact(state, "rows", int),
        )


def _design(rows: Rows, temperature: Floats | None, trend: Floats | None) -> Floats:
    calendar, at = rows.past.calendar, rows.position
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
