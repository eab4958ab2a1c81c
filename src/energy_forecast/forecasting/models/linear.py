"""The linear stage: a ridge regression for each local hour and band of lead times, on a design rich in the weather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_forecast.forecasting.features.expected_load import NORMAL, table_names, try_once
from energy_forecast.forecasting.features.matrix import Table, feature_table, side_by_side
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.protocol import Learn
from energy_forecast.forecasting.models.ridge import Scaling, ridge_by_hour
from energy_forecast.forecasting.models.training_set import BANDS, Lessons, lead_band, make_lessons
from energy_forecast.forecasting.serialization import Arrays, fact, stored_array
from energy_forecast.forecasting.types import Flags, Floats, Ints

RIDGE_PENALTY = 20.0
_KNOTS = (-5, 0, 5, 10, 14, 18, 22, 26, 30)
_FEW_KNOTS = (10, 18, 22, 26)
_FADING_HOURS = (3.0, 12.0)


def design_matrix(table: Table, *, weather: bool, season: bool) -> Floats:
    """The columns of the regression, [n, p], NaN where unknown.

    Args:
        table: from feature_table.
        weather: whether the table has weather.
        season: with the terms of the year; without a whole year seen they would only mislead.
    """
    columns = _load_terms(table) + _calendar_terms(table, season)
    if weather:
        # How the load stood to its normal says more of the other days than their temperatures do: ridges are 1 %
        # better without these, and a third of the work is saved.
        columns += weather_terms(table, season, ("_lag",) if NORMAL in table.names else ())
    return side_by_side(columns)


def _load_terms(table: Table) -> list[Floats]:
    columns = []
    lead = table["lead_hours"]
    fades = [np.exp(-lead / hours) for hours in _FADING_HOURS]
    for name in table.names:
        if name.startswith("load_last_"):
            change = np.clip(table[name], -0.7, 0.7)
            columns += [change * fade for fade in fades]
            if "24h" in name:
                columns.append(change)
        elif name.startswith("load_"):
            columns.append(table[name])
    return columns


def _calendar_terms(table: Table, season: bool) -> list[Floats]:
    weekday, kind = table["weekday"], table["day_kind"]
    columns = [_flag(weekday == day) for day in range(7)]
    columns += [
        table["is_holiday"],
        table["is_eve_of_holiday"],
        table["is_morrow_of_holiday"],
        table["day_lag_is_holiday"],
        table["week_lag_is_holiday"],
        _flag(kind == 2),
        _flag(table["day_lag_weekday"] == 6),
        table["sun_elevation"],
    ]
    columns += [_flag(table[f"{lag}_lag_kind"] == k) for lag in ("day", "week") for k in (1, 2)]
    columns += [(kind == k) * (table["load_known_day_1"] - 1) for k in (0, 1, 2)]
    if season:
        columns += [table["year_sine"], table["year_cosine"]]
    return columns


def weather_terms(table: Table, season: bool, left_out: tuple[str, ...]) -> list[Floats]:
    """Columns that bend with the temperature, and those of humidity, wind and rain.

    Args:
        left_out: endings of the names of temperatures that are not to bend.
    """
    columns = []
    for name in table.names:
        if name.startswith("temperature") and not name.endswith(("h_ago", *left_out)):
            columns.append(table[name])
            columns += [np.maximum(table[name] - knot, 0) for knot in _KNOTS]
    for name in ("temperature_1h_ago", "temperature_3h_ago"):
        columns += [np.maximum(table[name] - knot, 0) for knot in (0, 10, 18, 24)]
    work = _flag(table["day_kind"] == 0)
    now, day = table["temperature"], table["temperature_mean_24h"]
    for temperature in (now, day):
        columns.append(temperature * work)
        columns += [np.maximum(temperature - knot, 0) * work for knot in _FEW_KNOTS]
        if season:
            columns += [temperature * table["year_sine"], temperature * table["year_cosine"]]
    humidity, humidity_day = table["humidity"], table["humidity_mean_24h"]
    wind = table["wind_speed"]
    columns += [
        humidity,
        humidity_day,
        humidity * np.maximum(now - 20, 0),
        humidity * np.maximum(now - 26, 0),
        humidity_day * np.maximum(day - 18, 0),
        wind,
        wind * np.maximum(12 - now, 0),
        table["precipitation_6h"],
    ]
    return columns


def _flag(condition: Flags) -> Floats:
    return condition.astype(float)


@dataclass(frozen=True)
class LinearStage:
    """coefficients: [BANDS, 24, 1 + p]. Predicts load as a share of the level."""

    coefficients: Floats
    scaling: Scaling
    weather: bool
    season: bool

    def predict(self, table: Table) -> Floats:
        scaled = self.scaling(design_matrix(table, weather=self.weather, season=self.season))
        band, hour = lead_band(table["lead_hours"].astype(np.int64)), table["local_hour"].astype(np.int64)
        own = self.coefficients[band, hour]
        share = own[:, 0] + np.einsum("ij,ij->i", scaled, own[:, 1:])
        return bounded(share, table)

    def arrays(self) -> Arrays:
        return {"coefficients": self.coefficients, **self.scaling.arrays()}

    @staticmethod
    def from_arrays(arrays: Arrays, *, weather: bool, season: bool) -> LinearStage:
        scaling = Scaling.from_arrays(arrays)
        coefficients = stored_array(arrays, "coefficients", "<f8", BANDS, 24, 1 + len(scaling.mean))
        return LinearStage(coefficients, scaling, weather, season)


def bounded(share: Floats, table: Table) -> Floats:
    """Keep a prediction within half and double of what the same hour has been of late."""
    usual = table["load_same_hour_mean"]
    return np.clip(share, 0.5 * usual, 2.0 * usual)


def fit_linear(lessons: Lessons, *, weather: bool, penalty: float) -> tuple[LinearStage, Floats]:
    """Fit the stage, and say what it would have predicted for each row without that row's block of time, [n]."""
    table, season = lessons.table, lessons.season
    hour = table["local_hour"].astype(np.int64)
    band = lead_band(table["lead_hours"].astype(np.int64))
    # One band at a time: the design has four times as many columns as the table.
    first = np.flatnonzero(band == 0)
    scaling = Scaling.of(design_matrix(_part(table, first), weather=weather, season=season))
    coefficients, unseen = [], np.zeros(len(lessons))
    for b in range(BANDS):
        rows = np.flatnonzero(band == b)
        part = _part(table, rows)
        scaled = scaling(design_matrix(part, weather=weather, season=season))
        own, out = ridge_by_hour(
            scaled, lessons.share[rows], lessons.weight[rows], hour[rows], lessons.block[rows], penalty
        )
        coefficients.append(own)
        unseen[rows] = bounded(out, part)
    return LinearStage(np.stack(coefficients), scaling, weather, season), unseen


def _part(table: Table, rows: Ints) -> Table:
    return Table(table.names, table.values[rows])


@dataclass(frozen=True)
class LinearPoint:
    """The linear stage alone."""

    stage: LinearStage
    rows: int

    @property
    def settings(self) -> dict[str, Any]:
        return {"ridge_penalty": RIDGE_PENALTY, "rows": self.rows, "columns": int(self.stage.coefficients.shape[2]) - 1}

    @property
    def weather(self) -> bool:
        return self.stage.weather

    def share(self, table: Table) -> Floats:
        """The load as a share of the level, [n]."""
        return self.stage.predict(table)

    def predict(self, rows: Rows) -> Floats:
        table = feature_table(rows, weather=self.stage.weather)
        share = self.share(table)
        if self.stage.weather:
            share = np.where(np.isfinite(table["temperature"]), share, np.nan)
        return np.asarray(share * rows.level, float)

    def leading(self, rows: Rows) -> dict[str, Floats]:
        table = feature_table(rows, weather=self.stage.weather)
        values = {f"{name}_kwh": table[name] * rows.level for name in ("load_known_day_1", "load_known_week_1")}
        if self.stage.weather:
            values |= {name: table[name] for name in ("temperature", "temperature_mean_24h")}
        return {**values, "local_hour": table["local_hour"], "day_kind": table["day_kind"]}

    def state(self) -> tuple[dict[str, Any], Arrays]:
        header = {"weather": self.stage.weather, "season": self.stage.season, "rows": self.rows}
        return header, self.stage.arrays()


class Linear:
    """A ridge regression for each local hour and band of lead times, rich in interactions of weather and calendar."""

    name = "linear"
    needed_hours = 18 * 24
    kind = "regression"
    uses_weather = True
    learns = True
    adapts = True

    def lessons(self, past: Past, *, weather: bool, seed: int) -> Learn:
        lessons = make_lessons(past, np.random.default_rng(seed), weather=weather)

        def learn(until: int) -> LinearPoint:
            mine = lessons.until(until)
            return LinearPoint(fit_linear(mine, weather=weather, penalty=RIDGE_PENALTY)[0], len(mine))

        return learn

    def restore(self, state: dict[str, Any], arrays: Arrays) -> LinearPoint:
        weather = fact(state, "weather", bool)
        stage = LinearStage.from_arrays(arrays, weather=weather, season=fact(state, "season", bool))
        point = LinearPoint(stage, fact(state, "rows", int))
        try_once(point.share, table_names(weather=weather))
        return point
