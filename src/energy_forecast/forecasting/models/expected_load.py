"""The expected load of an hour from calendar and weather only, without earlier loads (weather normalisation).

It is a ridge regression for each local hour, too simple as a forecast. The ratio of recent loads to it is a feature of
the other models (features/expected_load.py). It requires a whole year: the weather of the coming months differs from
that of the months in the history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from energy_forecast.forecasting.features.expected_load import (
    REACH_HOURS,
    check_prediction,
    feature_names,
    with_expected_load,
    with_target_expected_load,
)
from energy_forecast.forecasting.features.matrix import FeatureMatrix, column_stack_blocked, hour_matrix, in_parts
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.models.linear import weather_terms
from energy_forecast.forecasting.models.ridge import Scaling, ridge_by_hour
from energy_forecast.forecasting.models.training_set import TrainingSet, sample_weights, time_blocks
from energy_forecast.forecasting.serialization import Shape, Stored
from energy_forecast.forecasting.types import Floats, Ints

_PENALTY = 20.0
# Temperature features that are left out for speed: it is computed for every hour of the last eleven weeks
_LEFT_OUT = ("_lag", "_max_24h", "_min_24h")
# Bounds as shares of the mean load: beyond them a ratio has no meaning
_LEAST, _MOST = 0.05, 5.0


@dataclass(frozen=True)
class ExpectedLoad(Stored):
    """Fitted regressions of the load as a share of the mean training load. coefficients: [24, 1 + p]."""

    coefficients: Annotated[Floats, Shape(24, None)]
    scaling: Scaling
    weather: bool

    def predict(self, matrix: FeatureMatrix) -> Floats:
        """Return the expected load of each row, [n]; NaN if the weather is unknown."""
        return in_parts(self._predict, matrix)

    def _predict(self, matrix: FeatureMatrix) -> Floats:
        scaled = self.scaling(_design(matrix, weather=self.weather))
        own = self.coefficients[matrix["local_hour"].astype(np.int64)]
        share = np.clip(own[:, 0] + np.einsum("ij,ij->i", scaled, own[:, 1:]), _LEAST, _MOST)
        return np.where(np.isfinite(matrix["temperature"]), share, np.nan) if self.weather else share

    def on_grid(self, view: HistoryView, begin: int, end: int) -> Floats:
        """Return the expected load of the hours [begin, end) on the grid of the history, NaN outside them."""
        history = view.history
        hours = np.arange(max(begin, history.first), end, dtype=np.int64)
        grid = np.full(len(history.load), np.nan)
        grid[hours - history.start] = self.predict(hour_matrix(view, hours, weather=self.weather))
        return grid

    def add_features(self, matrix: FeatureMatrix, samples: Samples) -> FeatureMatrix:
        """Return the matrix of `samples` with the features of the expected load."""
        begin, end = int(samples.origins.min()) - REACH_HOURS, int(samples.targets.max()) + 1
        matrix = with_expected_load(matrix, samples, self.on_grid(samples.view, begin, end))
        # That of the target follows the weather forecast
        return with_target_expected_load(matrix, self.predict(matrix)) if samples.view.weather_errors else matrix

    def check(self) -> None:
        """Raise ArtifactError if the arrays do not fit together."""
        check_prediction(self.predict, feature_names(weather=self.weather))


def fit_expected_load(training_set: TrainingSet, until: int, *, weather: bool) -> tuple[ExpectedLoad, FeatureMatrix]:
    """Return the expected load fitted to all hours before `until`, and the training matrix with its features.

    The features of a training hour come from a fit without its block of time, as for a future hour.
    """
    view = training_set.samples.view
    history = view.history
    hours = np.arange(history.first, until, dtype=np.int64)
    matrix = hour_matrix(view, hours, weather=weather)
    load = history.load[hours - history.start]
    known = np.isfinite(load)
    if weather:
        known &= np.isfinite(matrix["temperature"])
    design = _design(matrix, weather=weather)
    scaling = Scaling.fit(design[known])
    coefficients, out_of_block = ridge_by_hour(
        scaling(design[known]),
        load[known] / load[known].mean(),
        sample_weights(hours[known], until),
        matrix["local_hour"][known].astype(np.int64),
        time_blocks(hours[known], history.first),
        _PENALTY,
    )
    expected_load = ExpectedLoad(coefficients, scaling, weather)
    grid = np.full(len(history.load), np.nan)
    at: Ints = np.flatnonzero(known) + history.first - history.start
    grid[at] = np.clip(out_of_block, _LEAST, _MOST)
    samples = training_set.samples
    found = with_expected_load(training_set.matrix, samples, grid)
    if weather and view.weather_errors is not None:
        # What the errors of the weather forecast change is added to the out-of-block value
        observed = expected_load.predict(matrix)[samples.targets - history.first]
        share = grid[samples.position] + expected_load.predict(found) - observed
        found = with_target_expected_load(found, np.clip(share, _LEAST, _MOST))
    return expected_load, found


def _design(matrix: FeatureMatrix, *, weather: bool) -> Floats:
    """Return the columns of the regression, [n, p], NaN where unknown."""
    kind = matrix["day_kind"]
    columns = [(matrix["weekday"] == day).astype(float) for day in range(7)]
    columns += [matrix[name] for name in ("is_holiday", "is_eve_of_holiday", "is_morrow_of_holiday", "sun_elevation")]
    columns.append(matrix["special_day_effect"])
    columns.append((kind == 2).astype(float))
    sine, cosine = matrix["year_sine"], matrix["year_cosine"]
    work = (kind == 0).astype(float)
    columns += [sine, cosine, sine * work, cosine * work, 2 * sine * cosine, cosine * cosine - sine * sine]
    if weather:
        columns += weather_terms(matrix, True, _LEFT_OUT)
    return column_stack_blocked(columns)
