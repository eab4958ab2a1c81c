"""The two naive models: the same hour of the last known day, and of the last known week."""

from __future__ import annotations

from typing import Any

import numpy as np

from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.protocol import Learn
from energy_forecast.forecasting.serialization import Arrays
from energy_forecast.forecasting.types import Floats, Ints


class Naive:
    """The load at the same local hour, a whole number of periods before, as few as are known at the origin.

    Where that hour is unknown or faulty, up to three periods more are tried; after that the level of the last week
    stands in.
    """

    kind = "baseline"
    uses_weather = False
    learns = False
    adapts = False

    def __init__(self, period_days: int, needed_hours: int) -> None:
        self.name = f"naive-{24 * period_days}"
        self.needed_hours = needed_hours
        self.period_days = period_days

    @property
    def settings(self) -> dict[str, Any]:
        return {"period_hours": 24 * self.period_days}

    def lessons(self, past: Past, *, weather: bool, seed: int) -> Learn:  # noqa: ARG002
        return lambda _until: self

    def predict(self, rows: Rows) -> Floats:
        return self.repeated(rows)[0]

    def repeated(self, rows: Rows) -> tuple[Floats, Ints]:
        """The load that is repeated (kWh), and of how many local days before; 0 days where the level stands in."""
        period = self.period_days
        days = -(-rows.first_known_day // period) * period
        load = rows.same_hour(days)
        for _ in range(3):
            unknown = ~np.isfinite(load)
            if not unknown.any():
                break
            days = np.where(unknown, days + period, days)
            load[unknown] = rows.same_hour(days)[unknown]
        known = np.isfinite(load)
        return np.where(known, load, rows.level), np.where(known, days, 0)

    def leading(self, rows: Rows) -> dict[str, Floats]:
        unit = "days" if self.period_days == 1 else "weeks"
        load, days = self.repeated(rows)
        return {
            "load_it_repeats_kwh": load,
            f"{unit}_back": np.where(days > 0, days / self.period_days, np.nan),
        }

    def state(self) -> tuple[dict[str, Any], Arrays]:
        return {}, {}

    def restore(self, state: dict[str, Any], arrays: Arrays) -> Naive:  # noqa: ARG002
        return self


NAIVE_24 = Naive(1, 7 * 24)
NAIVE_168 = Naive(7, 14 * 24)
