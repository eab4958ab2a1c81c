"""The linear stage: a ridge regression for each local hour and bucket of lead times, with many weather terms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np

from energy_forecast.forecasting.features.expected_load import EXPECTED_LOAD, check_prediction, feature_names
from energy_forecast.forecasting.features.matrix import FeatureMatrix, column_stack_blocked, in_parts
from energy_forecast.forecasting.features.samples import HistoryView
from energy_forecast.forecasting.hours import TRAINING_LEADS
from energy_forecast.forecasting.models.regressor import MatrixRegressor, Regressor, Trainer
from energy_forecast.forecasting.models.ridge import Scaling, ridge_by_hour
from energy_forecast.forecasting.models.training_set import TrainingSet, build_training_set
from energy_forecast.forecasting.serialization import Shape, Stored
from energy_forecast.forecasting.types import Flags, Floats, Ints

RIDGE_PENALTY = 20.0
_KNOTS = (-5, 0, 5, 10, 14, 18, 22, 26, 30)
_FEW_KNOTS = (10, 18, 22, 26)
_FADING_HOURS = (3.0, 12.0)


def design_matrix(matrix: FeatureMatrix, *, weather: bool, season: bool) -> Floats:
    """Return the columns of the regression, [n, p], NaN where unknown.

    Args:
        matrix: from feature_matrix.
        weather: whether the matrix has weather.
        season: whether to add seasonal terms; with less than a year of history they would overfit.
    """
    columns = _load_terms(matrix) + _calendar_terms(matrix, season)
    if weather:
        # Ratios to the expected load explain the other days better than their temperatures do: ridges are 1 % better
        # without the temperatures of the lags, and a third of the work is saved
        columns += weather_terms(matrix, season, ("_lag",) if EXPECTED_LOAD in matrix.names else ())
    return column_stack_blocked(columns)


def _load_terms(matrix: FeatureMatrix) -> list[Floats]:
    columns = []
    lead = matrix["lead_hours"]
    fades = [np.exp(-lead / hours) for hours in _FADING_HOURS]
    for name in matrix.names:
        if name.startswith("load_last_"):
            change = np.clip(matrix[name], -0.7, 0.7)
            columns += [change * fade for fade in fades]
            if "24h" in name:
                columns.append(change)
        elif name.startswith("load_"):
            columns.append(matrix[name])
    return columns


def _calendar_terms(matrix: FeatureMatrix, season: bool) -> list[Floats]:
    weekday, kind = matrix["weekday"], matrix["day_kind"]
    columns = [_flag(weekday == day) for day in range(7)]
    columns += [
        matrix["is_holiday"],
        matrix["is_eve_of_holiday"],
        matrix["is_morrow_of_holiday"],
        matrix["day_lag_is_holiday"],
        matrix["week_lag_is_holiday"],
        matrix["special_day_effect"],
        matrix["day_lag_special_day_effect"],
        _flag(kind == 2),
        _flag(matrix["day_lag_weekday"] == 6),
        matrix["sun_elevation"],
    ]
    columns += [_flag(matrix[f"{lag}_lag_kind"] == k) for lag in ("day", "week") for k in (1, 2)]
    columns += [(kind == k) * (matrix["load_known_day_1"] - 1) for k in (0, 1, 2)]
    if season:
        columns += [matrix["year_sine"], matrix["year_cosine"]]
    return columns


def weather_terms(matrix: FeatureMatrix, season: bool, left_out: tuple[str, ...]) -> list[Floats]:
    """Return piecewise linear terms of the temperature, and terms of humidity, wind and rain.

    Args:
        left_out: endings of the names of temperatures without such terms.
    """
    columns = []
    for name in matrix.names:
        if name.startswith("temperature") and not name.endswith(("h_ago", *left_out)):
            lagged = matrix[name]
            columns += [lagged, *(np.maximum(lagged - knot, 0) for knot in _KNOTS)]
    for name in ("temperature_1h_ago", "temperature_3h_ago"):
        lagged = matrix[name]
        columns += [np.maximum(lagged - knot, 0) for knot in (0, 10, 18, 24)]
    work = _flag(matrix["day_kind"] == 0)
    now, day = matrix["temperature"], matrix["temperature_mean_24h"]
    for temperature in (now, day):
        columns.append(temperature * work)
        columns += [np.maximum(temperature - knot, 0) * work for knot in _FEW_KNOTS]
        if season:
            columns += [temperature * matrix["year_sine"], temperature * matrix["year_cosine"]]
    humidity, humidity_day = matrix["humidity"], matrix["humidity_mean_24h"]
    wind = matrix["wind_speed"]
    columns += [
        humidity,
        humidity_day,
        humidity * np.maximum(now - 20, 0),
        humidity * np.maximum(now - 26, 0),
        humidity_day * np.maximum(day - 18, 0),
        wind,
        wind * np.maximum(12 - now, 0),
        matrix["precipitation_6h"],
    ]
    return columns


def _flag(condition: Flags) -> Floats:
    return condition.astype(float)


@dataclass(frozen=True)
class LinearStage(Stored):
    """Fitted regressions of the load as a share of the level. coefficients: [buckets, 24, 1 + p]."""

    coefficients: Annotated[Floats, Shape(len(TRAINING_LEADS), 24, None)]
    scaling: Scaling
    weather: bool
    season: bool

    def predict(self, matrix: FeatureMatrix) -> Floats:
        """Return the load of each target as a share of the level, [n]."""
        return in_parts(self._predict, matrix)

    def _predict(self, matrix: FeatureMatrix) -> Floats:
        scaled = self.scaling(design_matrix(matrix, weather=self.weather, season=self.season))
        bucket, hour = (
            TRAINING_LEADS.bucket(matrix["lead_hours"].astype(np.int64)),
            matrix["local_hour"].astype(np.int64),
        )
        own = self.coefficients[bucket, hour]
        share = own[:, 0] + np.einsum("ij,ij->i", scaled, own[:, 1:])
        return bounded(share, matrix)


def bounded(share: Floats, matrix: FeatureMatrix) -> Floats:
    """Return the prediction, limited to half and double the recent mean of the same hour."""
    mean = matrix["load_same_hour_mean"]
    return np.clip(share, 0.5 * mean, 2.0 * mean)


def fit_linear(training_set: TrainingSet, *, weather: bool) -> tuple[LinearStage, Floats]:
    """Return the fitted stage and its out-of-block predictions, [n]: each from a fit without the sample's block."""
    matrix, season = training_set.matrix, training_set.season
    hour = matrix["local_hour"].astype(np.int64)
    bucket = TRAINING_LEADS.bucket(matrix["lead_hours"].astype(np.int64))
    # One bucket at a time: the design has four times as many columns as the matrix
    first = np.flatnonzero(bucket == 0)
    design = partial(design_matrix, weather=weather, season=season)
    scaling = Scaling.fit(in_parts(design, _part(matrix, first)))
    coefficients, out_of_block = [], np.zeros(len(training_set))
    for b in range(len(TRAINING_LEADS)):
        index = np.flatnonzero(bucket == b)
        part = _part(matrix, index)
        own, out = ridge_by_hour(
            in_parts(lambda rows: scaling(design(rows)), part),
            training_set.share[index],
            training_set.weight[index],
            hour[index],
            training_set.block[index],
            RIDGE_PENALTY,
        )
        coefficients.append(own)
        out_of_block[index] = bounded(out, part)
    return LinearStage(np.stack(coefficients), scaling, weather, season), out_of_block


def _part(matrix: FeatureMatrix, index: Ints) -> FeatureMatrix:
    return FeatureMatrix(matrix.names, matrix.values[index])


@dataclass(frozen=True)
class FittedLinear(MatrixRegressor):
    """The fitted linear stage alone."""

    weather: bool
    stage: LinearStage
    sample_count: int

    @property
    def settings(self) -> dict[str, Any]:
        """Return settings and sizes of the fit, as plain JSON."""
        return {
            "ridge_penalty": RIDGE_PENALTY,
            "rows": self.sample_count,
            "columns": int(self.stage.coefficients.shape[2]) - 1,
        }

    def share(self, matrix: FeatureMatrix) -> Floats:
        """Return the load as a share of the level, [n]."""
        return self.stage.predict(matrix)

    def check(self) -> None:
        """Raise ArtifactError if the stage does not predict."""
        check_prediction(self.share, feature_names(weather=self.weather))


class Linear(Regressor):
    """Ridge regressions for each local hour and bucket of lead times, with interactions of weather and calendar."""

    name = "linear"
    needed_hours = 18 * 24
    kind = "regression"

    def trainer(self, view: HistoryView, *, weather: bool, seed: int) -> Trainer:
        """Build the training set, and return a function that fits to its targets before an hour number."""
        training_set = build_training_set(view, np.random.default_rng(seed), weather=weather)

        def fit_until(until: int) -> FittedLinear:
            past = training_set.until(until)
            return FittedLinear(weather, fit_linear(past, weather=weather)[0], len(past))

        return fit_until
