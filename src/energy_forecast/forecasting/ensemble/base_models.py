"""Base models of the ensemble. They are trained and evaluated together, since they share the feature matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.features.expected_load import (
    EXPECTED_LOAD_FEATURES,
    check_prediction,
    feature_names,
    with_target_expected_load,
)
from energy_forecast.forecasting.features.matrix import FeatureMatrix, feature_matrix
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.models.decomposition import decompose
from energy_forecast.forecasting.models.expected_load import ExpectedLoad, fit_expected_load
from energy_forecast.forecasting.models.gradient_boosting import (
    FittedGradientBoosting,
    fit_boosted,
    importance,
    restore_boosted,
    tree_sample_mask,
)
from energy_forecast.forecasting.models.mlp import (
    WEATHER,
    Network,
    Singles,
    columns_without,
    network_inputs,
    train_network,
)
from energy_forecast.forecasting.models.naive import NAIVE_24, NAIVE_168
from energy_forecast.forecasting.models.ridge import Scaling
from energy_forecast.forecasting.models.training_set import TrainingSet, build_training_set
from energy_forecast.forecasting.serialization import Arrays, header_value
from energy_forecast.forecasting.types import Floats, Ints

# Direct networks predict the load relative to the mean of its hour, correcting networks the residual of the ridge.
# Either kind alone is 1 to 3 % worse. The last network has no weather, which explains little of some loads.
DIRECT, CORRECTING = 2, 2
_DECAY = {"direct": 0.1, "correcting": 0.5}
_DAY_AHEAD_SHARE, _LATER_SHARE = 0.5, 0.25
_FARTHEST = 4.0
NAMES = (
    "linear",
    "gradient-boosting",
    *(f"network-{i + 1}" for i in range(DIRECT)),
    *(f"correcting-network-{i + 1}" for i in range(CORRECTING)),
    "network-without-weather",
    "decomposition",
    NAIVE_24.name,
    NAIVE_168.name,
)
MATRIX_MEMBERS = len(NAMES) - 3


@dataclass(frozen=True)
class Members:
    """The fitted members for one city, with or without weather.

    expected_load: the source of some of the features; None for a history shorter than a year.
    scaling: of the networks' inputs. deviations: of the targets of direct and of correcting networks.
    """

    expected_load: ExpectedLoad | None
    boosted: FittedGradientBoosting
    networks: tuple[Network, ...]
    scaling: Scaling
    deviations: tuple[float, float]

    @property
    def settings(self) -> dict[str, Any]:
        """Return settings and sizes of the fit, as plain JSON."""
        return {**self.boosted.settings, "members": list(NAMES)}

    def predict(self, samples: Samples) -> tuple[Floats, FeatureMatrix]:
        """Return the load of each target as a share of the level by each member, [members, n], in the order of NAMES.

        With weather, the members that use the matrix give NaN if the temperature is unknown.
        """
        matrix = self.matrix_of(samples)
        return np.concatenate([self.predict_from_matrix(matrix), self.predict_from_load(samples)]), matrix

    def matrix_of(self, samples: Samples) -> FeatureMatrix:
        """Return the features of the members."""
        matrix = feature_matrix(samples, weather=self.boosted.weather)
        return matrix if self.expected_load is None else self.expected_load.add_features(matrix, samples)

    def predict_from_changed(self, matrix: FeatureMatrix) -> Floats:
        """Return `predict_from_matrix` after weather or calendar were changed, which changes the expected load too."""
        if self.expected_load is not None:
            matrix = with_target_expected_load(matrix, self.expected_load.predict(matrix))
        return self.predict_from_matrix(matrix)

    def predict_from_matrix(self, matrix: FeatureMatrix) -> Floats:
        """Return the predictions of the members that use the matrix, [MATRIX_MEMBERS, n], the first of NAMES."""
        weather, season = self.boosted.weather, self.boosted.linear.season
        linear = self.boosted.linear.predict(matrix)
        same_hour = matrix["load_same_hour_mean"]
        inputs = scaled_inputs(self.scaling, network_inputs(matrix, season=season))
        from_linear = (linear - same_hour) / self.deviations[1]
        shares = [linear, self.boosted.corrected(linear, matrix)]
        for i, network in enumerate(self.networks):
            if i < DIRECT:
                shares.append(
                    same_hour + self.deviations[0] * network.predict(inputs[:, _input_columns(i, matrix.names, season)])
                )
            elif i < DIRECT + CORRECTING:
                columns = append_column(inputs[:, _input_columns(i, matrix.names, season)], from_linear)
                shares.append(linear + self.deviations[1] * network.predict(columns))
            else:
                shares.append(
                    same_hour + self.deviations[0] * network.predict(inputs[:, _input_columns(i, matrix.names, season)])
                )
        with np.errstate(invalid="ignore"):
            shares = [np.clip(share, 0.4 * same_hour, 2.5 * same_hour) for share in shares]
            if weather:
                known = np.isfinite(matrix["temperature"])
                shares = [np.where(known, share, np.nan) for share in shares]
        return np.stack(shares)

    @staticmethod
    def predict_from_load(samples: Samples) -> Floats:
        """Return the predictions of the other members, which use the load itself, [3, n]."""
        with np.errstate(invalid="ignore"):
            return np.stack(
                [m / samples.level for m in (decompose(samples), NAIVE_24.predict(samples), NAIVE_168.predict(samples))]
            )

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Return all that `restore` needs, as JSON and plain arrays."""
        header, arrays = self.boosted.state()
        arrays = {f"boosted/{name}": array for name, array in arrays.items()}
        if self.expected_load is not None:
            arrays |= {f"expected_load/{name}": array for name, array in self.expected_load.arrays().items()}
        for i, network in enumerate(self.networks):
            arrays |= {f"network_{i}/{name}": array for name, array in network.arrays().items()}
        arrays |= {f"scaling/{name}": array for name, array in self.scaling.arrays().items()}
        return {"boosted": header, "networks": len(self.networks), "deviations": list(self.deviations)}, arrays

    @staticmethod
    def restore(state: dict[str, Any], arrays: Arrays) -> Members:
        """Return the members of a `state`. Raises ArtifactError."""

        def own(prefix: str) -> Arrays:
            return {name[len(prefix) + 1 :]: array for name, array in arrays.items() if name.startswith(prefix + "/")}

        boosted = restore_boosted(header_value(state, "boosted", dict), own("boosted"))
        weather, season = boosted.weather, boosted.linear.season
        deviations = header_value(state, "deviations", list)
        if header_value(state, "networks", int) != DIRECT + CORRECTING + 1 or len(deviations) != 2:
            raise ArtifactError("The stored ensemble has other members than this version's.")
        members = Members(
            ExpectedLoad.from_arrays(own("expected_load"), weather=weather) if season else None,
            boosted,
            tuple(Network.from_arrays(own(f"network_{i}")) for i in range(DIRECT + CORRECTING + 1)),
            Scaling.from_arrays(own("scaling")),
            (float(deviations[0]), float(deviations[1])),
        )
        check_prediction(
            members.predict_from_matrix, feature_names(weather=weather) + (EXPECTED_LOAD_FEATURES if season else ())
        )
        if members.expected_load is not None:
            check_prediction(members.expected_load.predict, feature_names(weather=weather))
        return members


def _input_columns(i: int, features: tuple[str, ...], season: bool) -> Ints:
    """Return the columns of the networks' inputs that network i uses.

    One network of each kind has the features of the expected load and one has not, so that their errors differ.
    """
    if i == DIRECT + CORRECTING:
        return columns_without((*WEATHER, *EXPECTED_LOAD_FEATURES), features, season=season)
    return columns_without(EXPECTED_LOAD_FEATURES if i % 2 else (), features, season=season)


def scaled_inputs(scaling: Scaling, columns: Floats) -> Singles:
    """Return the scaled inputs of the direct networks, [n, p]."""
    return np.clip(scaling(columns), -_FARTHEST, _FARTHEST).astype(np.float32)


def append_column(inputs: Singles, column: Floats) -> Singles:
    """Return the inputs with one more column, [n, p + 1]."""
    return np.concatenate([inputs, np.clip(column, -_FARTHEST, _FARTHEST)[:, None].astype(np.float32)], axis=1)


def base_model_trainer(view: HistoryView, *, weather: bool, seed: int) -> Callable[[int, Members | None], Members]:
    """Build the training set once, and return a function that trains on its targets before an hour number.

    Its second argument is None for members that are only tested on held-out data. The final members get those that
    were tested last, and continue the training of their networks: a third of the work, and no worse
    (docs/decisions/models.md). Only final members rank their leading features, which is slow.
    """
    draw = np.random.default_rng(seed)
    training_set = build_training_set(view, draw, weather=weather)
    for_trees = tree_sample_mask(training_set, draw)

    def fit_until(until: int, tested: Members | None) -> Members:
        past = training_set.until(until)
        expected_load = None
        if past.season:
            expected_load, matrix = fit_expected_load(past, until, weather=weather)
            past = replace(past, matrix=matrix)
        boosted, out_of_block = fit_boosted(past, for_trees[: len(past)], weather=weather, seed=seed)
        if tested is not None:
            boosted = replace(boosted, importance=importance(boosted, past.matrix, seed))
            if tested.boosted.linear.season != past.season:
                # The tested networks have no seasonal inputs; the history is long enough for them now
                tested = None
        return _with_networks(expected_load, boosted, out_of_block, past, seed, tested)

    return fit_until


def _with_networks(
    expected_load: ExpectedLoad | None,
    boosted: FittedGradientBoosting,
    out_of_block: Floats,
    training_set: TrainingSet,
    seed: int,
    tested: Members | None,
) -> Members:
    matrix = training_set.matrix
    columns = network_inputs(matrix, season=training_set.season)
    scaling = Scaling.fit(columns) if tested is None else tested.scaling
    inputs = scaled_inputs(scaling, columns)
    same_hour = matrix["load_same_hour_mean"]
    direct, residual = training_set.share - same_hour, training_set.share - out_of_block
    limit = 6 * 1.4826 * float(np.median(np.abs(residual))) + 1e-6
    residual = np.clip(residual, -limit, limit)
    deviations = (
        (max(float(direct.std()), 1e-6), max(float(residual.std()), 1e-6)) if tested is None else tested.deviations
    )
    from_linear = (out_of_block - same_hour) / deviations[1]
    share = np.where(matrix["lead_hours"] < 24, _DAY_AHEAD_SHARE, _LATER_SHARE)
    networks = []
    for i in range(DIRECT + CORRECTING + 1):
        # Each network has its own subset of samples, so that their errors differ
        own = np.random.default_rng([seed, i])
        chosen = np.flatnonzero(own.random(len(training_set)) < share)
        correcting = DIRECT <= i < DIRECT + CORRECTING
        columns_used, target = inputs[:, _input_columns(i, matrix.names, training_set.season)], direct / deviations[0]
        if correcting:
            columns_used, target = append_column(columns_used, from_linear), residual / deviations[1]
        networks.append(
            train_network(
                columns_used[chosen],
                target[chosen].astype(np.float32),
                training_set.weight[chosen].astype(np.float32),
                decay=_DECAY["correcting" if correcting else "direct"],
                seed=seed + i,
                start=None if tested is None else tested.networks[i],
            )
        )
    return Members(expected_load, boosted, tuple(networks), scaling, deviations)
