"""Ridge regressions, and gradient-boosted trees on their residuals: direct forecasts for lead times up to a week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_forecast.extras import needs_extra
from energy_forecast.forecasting.features.expected_load import (
    check_prediction,
    feature_names,
)
from energy_forecast.forecasting.features.matrix import FeatureMatrix
from energy_forecast.forecasting.features.samples import HistoryView
from energy_forecast.forecasting.hours import TRAINING_LEADS
from energy_forecast.forecasting.models.linear import RIDGE_PENALTY, LinearStage, bounded, fit_linear
from energy_forecast.forecasting.models.regressor import MatrixRegressor, Regressor, Trainer
from energy_forecast.forecasting.models.training_set import TrainingSet, build_training_set
from energy_forecast.forecasting.models.tree_arrays import TreeArrays
from energy_forecast.forecasting.types import Flags, Floats

# One thread: on a busy machine two wait for each other and take up to ten times as long
_THREADS = 1
SETTINGS: dict[str, Any] = {
    "ridge_penalty": RIDGE_PENALTY,
    "rounds": 150,
    "max_depth": 6,
    "learning_rate": 0.05,
    "min_child_weight": 8,
    "subsample": 0.6,
    "colsample_bytree": 0.5,
    "reg_lambda": 5.0,
    "max_bin": 64,
    "tree_share": 0.7,
    "rows_per_hour": 1.4,
}


@dataclass(frozen=True)
class FittedGradientBoosting(MatrixRegressor):
    """A fitted linear stage, and trees that correct it."""

    weather: bool
    linear: LinearStage
    trees: TreeArrays
    sample_count: int

    @property
    def settings(self) -> dict[str, Any]:
        """Return settings and sizes of the fit, as plain JSON."""
        return boosting_settings(self.sample_count)

    def share(self, matrix: FeatureMatrix) -> Floats:
        """Return the load as a share of the level, [n]."""
        return corrected(self.trees, self.linear.predict(matrix), matrix)

    def check(self) -> None:
        """Raise ArtifactError if the parts do not fit together."""
        check_prediction(self.share, feature_names(weather=self.weather))


class GradientBoosting(Regressor):
    """Ridge regressions and trees that predict the load as a share of the mean of the week before the origin.

    Trees are trained on a subset of the samples. Their targets are out-of-block residuals of the ridge, since its
    residuals on its own training data are too small.
    """

    name = "gradient-boosting"
    needed_hours = 18 * 24
    kind = "trees"

    def trainer(self, view: HistoryView, *, weather: bool, seed: int) -> Trainer:
        """Build the training set, and return a function that fits to its targets before an hour number."""
        draw = np.random.default_rng(seed)
        training_set = build_training_set(view, draw, weather=weather)
        for_trees = tree_sample_mask(training_set, draw)

        def fit_until(until: int) -> FittedGradientBoosting:
            past = training_set.until(until)
            linear, out_of_block = fit_linear(past, weather=weather)
            trees = fit_trees(past, out_of_block, for_trees[: len(past)], seed)
            return FittedGradientBoosting(weather, linear, trees, len(past))

        return fit_until


def corrected(trees: TreeArrays, share: Floats, matrix: FeatureMatrix) -> Floats:
    """Return `share`, the prediction of the linear stage, corrected by the trees, [n]."""
    correction = trees.predict(_tree_inputs(matrix, share))
    return bounded(share + SETTINGS["tree_share"] * correction.astype(float), matrix)


def boosting_settings(sample_count: int) -> dict[str, Any]:
    """Return settings and sizes of a fit, as plain JSON."""
    return {**SETTINGS, "rows": sample_count}


def tree_sample_mask(training_set: TrainingSet, draw: np.random.Generator) -> Flags:
    """Return which samples the trees are trained on, [n]."""
    return np.asarray(draw.random(len(training_set)) < SETTINGS["rows_per_hour"] / len(TRAINING_LEADS), bool)


def fit_trees(training_set: TrainingSet, out_of_block: Floats, chosen: Flags, seed: int) -> TreeArrays:
    """Return trees fitted to the residuals of the linear stage on the chosen samples.

    Args:
        out_of_block: [n], the out-of-block predictions of the linear stage.
    """
    matrix = training_set.matrix
    inputs = _tree_inputs(FeatureMatrix(matrix.names, matrix.values[chosen]), out_of_block[chosen])
    residual = (training_set.share - out_of_block)[chosen]
    return _grow(inputs, residual, training_set.weight[chosen], [*matrix.names, "linear_stage"], seed)


def _tree_inputs(matrix: FeatureMatrix, linear: Floats) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.concatenate([matrix.values, linear[:, None]], axis=1).astype(np.float32)


def _grow(
    inputs: np.ndarray[Any, np.dtype[np.float32]], residual: Floats, weight: Floats, names: list[str], seed: int
) -> TreeArrays:
    # Imported here, since the import takes longer than a forecast, which does not need it
    with needs_extra("training"):
        import xgboost

    # Clipped, so that a few extreme errors of the linear stage do not dominate
    limit = 6 * 1.4826 * float(np.median(np.abs(residual))) + 1e-6
    data = xgboost.QuantileDMatrix(
        inputs,
        label=np.clip(residual, -limit, limit),
        weight=weight,
        feature_names=names,
        max_bin=SETTINGS["max_bin"],
        nthread=_THREADS,
    )
    parameters = {
        "objective": "reg:squarederror",
        "base_score": 0.0,
        "tree_method": "hist",
        "max_depth": SETTINGS["max_depth"],
        "eta": SETTINGS["learning_rate"],
        "min_child_weight": SETTINGS["min_child_weight"],
        "subsample": SETTINGS["subsample"],
        "colsample_bytree": SETTINGS["colsample_bytree"],
        "reg_lambda": SETTINGS["reg_lambda"],
        "max_bin": SETTINGS["max_bin"],
        "nthread": _THREADS,
        "seed": seed,
    }
    return TreeArrays.from_booster(xgboost.train(parameters, data, SETTINGS["rounds"]))
