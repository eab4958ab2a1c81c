"""The normal load of an hour: what the calendar and the weather alone say of it, learnt without any load before.

A ridge regression for each local hour. As a forecast it is far too simple; what it is for is to say how the load has
stood to it of late (features/normal.py), which the other models learn from. It wants a whole year: the weather of the
months to come is not that of the months that were seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_forecast.forecasting.features.expected_load import REACH_HOURS, with_normal
from energy_forecast.forecasting.features.matrix import Table, hour_table, side_by_side
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.linear import weather_terms
from energy_forecast.forecasting.models.ridge import Scaling, ridge_by_hour
from energy_forecast.forecasting.models.training_set import Lessons, blocks, weights
from energy_forecast.forecasting.serialization import Arrays, stored_array
from energy_forecast.forecasting.types import Floats, Ints

_PENALTY = 20.0
# Temperatures that are left to the other models: a normal is asked for every hour of the last eleven weeks
_LEFT_OUT = ("_lag", "_max_24h", "_min_24h")
# Of the mean load: below it a ratio would say nothing
_LEAST, _MOST = 0.05, 5.0


@dataclass(frozen=True)
class Normal:
    """coefficients: [24, 1 + p]. Says the load as a share of the mean of all that was learnt from."""

    coefficients: Floats
    scaling: Scaling
    weather: bool

    def of(self, table: Table) -> Floats:
        """The normal of each row of a table with the calendar and the weather of the hour, [n]; NaN without weather."""
        scaled = self.scaling(_design(table, weather=self.weather))
        own = self.coefficients[table["local_hour"].astype(np.int64)]
        return self._bounded(own[:, 0] + np.einsum("ij,ij->i", scaled, own[:, 1:]), table)

    def _bounded(self, share: Floats, table: Table) -> Floats:
        share = np.clip(share, _LEAST, _MOST)
        return np.where(np.isfinite(table["temperature"]), share, np.nan) if self.weather else share

    def over(self, past: Past, begin: int, end: int) -> Floats:
        """The normals of the hours [begin, end) on the grid of the history, NaN outside them."""
        history = past.history
        hours = np.arange(max(begin, history.first), end, dtype=np.int64)
        grid = np.full(len(history.load), np.nan)
        grid[hours - history.start] = self.of(hour_table(past, hours, weather=self.weather))
        return grid

    def beside(self, table: Table, rows: Rows) -> Table:
        """The table of `rows`, with how the load has stood to its normal."""
        begin, end = int(rows.origins.min()) - REACH_HOURS, int(rows.targets.max()) + 1
        return with_normal(table, rows, self.over(rows.past, begin, end))

    def arrays(self) -> Arrays:
        return {"coefficients": self.coefficients, **self.scaling.arrays()}

    @staticmethod
    def from_arrays(arrays: Arrays, *, weather: bool) -> Normal:
        scaling = Scaling.from_arrays(arrays)
        return Normal(stored_array(arrays, "coefficients", "<f8", 24, 1 + len(scaling.mean)), scaling, weather)


def learn_normal(lessons: Lessons, until: int, *, weather: bool) -> tuple[Normal, Table]:
    """The normal as learnt from all hours before hour number `until`, and the lessons' table with it beside.

    What the lessons see of an hour's normal was said without that hour's block of time, as for an hour to come.
    """
    past = lessons.rows.past
    history = past.history
    hours = np.arange(history.first, until, dtype=np.int64)
    table = hour_table(past, hours, weather=weather)
    load = history.load[hours - history.start]
    known = np.isfinite(load)
    if weather:
        known &= np.isfinite(table["temperature"])
    design = _design(table, weather=weather)
    scaling = Scaling.of(design[known])
    coefficients, unseen = ridge_by_hour(
        scaling(design[known]),
        load[known] / load[known].mean(),
        weights(hours[known], until),
        table["local_hour"][known].astype(np.int64),
        blocks(hours[known], history.first),
        _PENALTY,
    )
    normal = Normal(coefficients, scaling, weather)
    grid = np.full(len(history.load), np.nan)
    at: Ints = np.flatnonzero(known) + history.first - history.start
    grid[at] = np.clip(unseen, _LEAST, _MOST)
    return normal, with_normal(lessons.table, lessons.rows, grid)


def _design(table: Table, *, weather: bool) -> Floats:
    """The columns of the regression, [n, p], NaN where unknown."""
    kind = table["day_kind"]
    columns = [(table["weekday"] == day).astype(float) for day in range(7)]
    columns += [table[name] for name in ("is_holiday", "is_eve_of_holiday", "is_morrow_of_holiday", "sun_elevation")]
    columns.append((kind == 2).astype(float))
    sine, cosine = table["year_sine"], table["year_cosine"]
    work = (kind == 0).astype(float)
    columns += [sine, cosine, sine * work, cosine * work, 2 * sine * cosine, cosine * cosine - sine * sine]
    if weather:
        columns += weather_terms(table, True, _LEFT_OUT)
    return side_by_side(columns)
