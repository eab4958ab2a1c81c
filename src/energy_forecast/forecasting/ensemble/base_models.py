"""Base models of an ensemble, its members.

Members that use the feature matrix are trained and evaluated together: they share the matrix, the linear stage and the
scaled inputs of the networks. Any Regressor can be a member too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from typing import Any, TypeAlias

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
from energy_forecast.forecasting.models.decomposition import Decomposition
from energy_forecast.forecasting.models.expected_load import ExpectedLoad, fit_expected_load
from energy_forecast.forecasting.models.gradient_boosting import (
    boosting_settings,
    corrected,
    fit_trees,
    tree_sample_mask,
)
from energy_forecast.forecasting.models.linear import LinearStage, fit_linear
from energy_forecast.forecasting.models.mlp import (
    WEATHER,
    Network,
    Singles,
    columns_without,
    network_inputs,
    train_network,
)
from energy_forecast.forecasting.models.naive import NAIVE_24, NAIVE_168
from energy_forecast.forecasting.models.regressor import FittedRegressor, Regressor
from energy_forecast.forecasting.models.ridge import Scaling
from energy_forecast.forecasting.models.training_set import TrainingSet, build_training_set
from energy_forecast.forecasting.models.tree_arrays import TreeArrays
from energy_forecast.forecasting.serialization import Stored
from energy_forecast.forecasting.types import Flags, Floats, Ints

_DIRECT_DECAY, _CORRECTING_DECAY = 0.1, 0.5
_DAY_AHEAD_SHARE, _LATER_SHARE = 0.5, 0.25
_FARTHEST = 4.0
_PART_ROWS = 4096


@dataclass(frozen=True)
class MemberInputs:
    """n rows of the matrix, with the values that its members share.

    linear: [n], the prediction of the linear stage as a share of the level; in training, its out-of-block prediction.
    scaled: [n, p], the scaled inputs of the networks.
    """

    matrix: FeatureMatrix
    linear: Floats
    scaled: Singles
    season: bool

    @cached_property
    def same_hour(self) -> Floats:
        """Return the mean load at the hour on the last days, as a share of the level, [n]."""
        return self.matrix["load_same_hour_mean"]


@dataclass(frozen=True)
class MemberTraining:
    """The data that members are trained on. for_trees: [n], the samples for trees."""

    training_set: TrainingSet
    inputs: MemberInputs
    for_trees: Flags
    seed: int


class FittedMember(Stored, ABC):
    """A trained member that uses the matrix; a frozen dataclass."""

    @abstractmethod
    def predict(self, inputs: MemberInputs) -> Floats:
        """Return the load as a share of the level, [n]."""


class MatrixMember(ABC):
    """A member that uses the matrix, not trained yet."""

    name: str

    @abstractmethod
    def fit(self, training: MemberTraining, tested: Any) -> FittedMember:
        """Train the member.

        Args:
            tested: this member as trained on a part of the data, from which it may continue; None for a new one.
        """


@dataclass(frozen=True)
class LinearMember(MatrixMember, FittedMember):
    """The linear stage itself."""

    name = "linear"

    def fit(self, training: MemberTraining, tested: Any) -> LinearMember:  # noqa: ARG002
        """Return this member: the linear stage is trained for all members."""
        return self

    def predict(self, inputs: MemberInputs) -> Floats:
        """Return the load as a share of the level, [n]."""
        return inputs.linear


class TreesMember(MatrixMember):
    """Gradient-boosted trees that correct the linear stage."""

    name = "gradient-boosting"

    def fit(self, training: MemberTraining, tested: Any) -> FittedTrees:  # noqa: ARG002
        """Train the trees on the out-of-block residuals of the linear stage."""
        own = training
        return FittedTrees(fit_trees(own.training_set, own.inputs.linear, own.for_trees, own.seed))


@dataclass(frozen=True)
class FittedTrees(FittedMember):
    """Trees that correct the fitted linear stage."""

    trees: TreeArrays

    def predict(self, inputs: MemberInputs) -> Floats:
        """Return the load as a share of the level, [n]."""
        return corrected(self.trees, inputs.linear, inputs.matrix)


@dataclass(frozen=True)
class NetworkMember(MatrixMember):
    """A multilayer perceptron.

    number: makes its samples and its start differ from those of the other networks, so that their errors differ.
    corrects: whether it predicts the residual of the linear stage, and not the load relative to the mean of its hour.
    without: the beginnings of the names of features that it does not use.
    """

    name: str
    number: int
    corrects: bool = False
    without: tuple[str, ...] = ()

    def fit(self, training: MemberTraining, tested: FittedNetwork | None) -> FittedNetwork:
        """Train the network, or continue the training of `tested`: a third of the work, and no worse."""
        past, inputs, seed = training.training_set, training.inputs, training.seed
        target = past.share - (inputs.linear if self.corrects else inputs.same_hour)
        if self.corrects:
            limit = 6 * 1.4826 * float(np.median(np.abs(target))) + 1e-6
            target = np.clip(target, -limit, limit)
        deviation = max(float(target.std()), 1e-6) if tested is None else tested.deviation
        fitted = FittedNetwork(self.corrects, self.without, deviation, Network(()))
        share = np.where(inputs.matrix["lead_hours"] < 24, _DAY_AHEAD_SHARE, _LATER_SHARE)
        chosen = np.flatnonzero(np.random.default_rng([seed, self.number]).random(len(past)) < share)
        network = train_network(
            fitted.columns(inputs, chosen),
            (target / deviation)[chosen].astype(np.float32),
            past.weight[chosen].astype(np.float32),
            decay=_CORRECTING_DECAY if self.corrects else _DIRECT_DECAY,
            seed=seed + self.number,
            start=None if tested is None else tested.network,
        )
        return replace(fitted, network=network)


@dataclass(frozen=True)
class FittedNetwork(FittedMember):
    """A trained network. deviation: of its targets."""

    corrects: bool
    without: tuple[str, ...]
    deviation: float
    network: Network

    def columns(self, inputs: MemberInputs, rows: Ints) -> Singles:
        """Return the inputs of the network for some rows, [n, p]; the last of a correcting one is the linear stage."""
        own = inputs.scaled[np.ix_(rows, columns_without(self.without, inputs.matrix.names, season=inputs.season))]
        if not self.corrects:
            return own
        return append_column(own, ((inputs.linear - inputs.same_hour) / self.deviation)[rows])

    def predict(self, inputs: MemberInputs) -> Floats:
        """Return the load as a share of the level, [n]."""
        base = inputs.linear if self.corrects else inputs.same_hour
        own = self.columns(inputs, np.arange(len(base)))
        return np.asarray(base + self.deviation * self.network.predict(own), float)


Member: TypeAlias = MatrixMember | Regressor
# Direct or correcting networks alone are 1 to 3 % worse. One of each kind has the features of the expected load. The
# last network has no weather, which explains little of some loads.
DEFAULT_MEMBERS: tuple[Member, ...] = (
    LinearMember(),
    TreesMember(),
    NetworkMember("network-1", 0),
    NetworkMember("network-2", 1, without=EXPECTED_LOAD_FEATURES),
    NetworkMember("correcting-network-1", 2, corrects=True),
    NetworkMember("correcting-network-2", 3, corrects=True, without=EXPECTED_LOAD_FEATURES),
    NetworkMember("network-without-weather", 4, without=(*WEATHER, *EXPECTED_LOAD_FEATURES)),
    Decomposition(),
    NAIVE_24,
    NAIVE_168,
)


@dataclass(frozen=True)
class Members(Stored):
    """The trained members for one city, with or without weather.

    names: of the members, those that use the matrix first.
    expected_load: the source of some of the features; None for a history shorter than a year.
    scaling: of the networks' inputs.
    """

    names: tuple[str, ...]
    weather: bool
    expected_load: ExpectedLoad | None
    linear: LinearStage
    scaling: Scaling
    of_matrix: tuple[FittedMember, ...]
    regressors: tuple[FittedRegressor, ...]
    sample_count: int

    @property
    def settings(self) -> dict[str, Any]:
        """Return settings and sizes of the fit, as plain JSON."""
        return {**boosting_settings(self.sample_count), "members": list(self.names)}

    def predict(self, samples: Samples) -> Floats:
        """Return the load of each target as a share of the level by each member, [members, n].

        With weather, the members that use the matrix give NaN if the temperature is unknown.
        """
        matrix = self.matrix_of(samples)
        return np.concatenate([self.predict_from_matrix(matrix), self.predict_from_load(samples)])

    def matrix_of(self, samples: Samples) -> FeatureMatrix:
        """Return the features of the members."""
        matrix = feature_matrix(samples, weather=self.weather)
        return matrix if self.expected_load is None else self.expected_load.add_features(matrix, samples)

    def predict_from_changed(self, matrix: FeatureMatrix) -> Floats:
        """Return `predict_from_matrix` after weather or calendar were changed, which changes the expected load too."""
        if self.expected_load is not None:
            matrix = with_target_expected_load(matrix, self.expected_load.predict(matrix))
        return self.predict_from_matrix(matrix)

    def predict_from_matrix(self, matrix: FeatureMatrix) -> Floats:
        """Return the predictions of the members that use the matrix, [m, n]."""
        season = self.linear.season
        scaled = scaled_inputs(self.scaling, network_inputs(matrix, season=season))
        inputs = MemberInputs(matrix, self.linear.predict(matrix), scaled, season)
        shares = np.array([member.predict(inputs) for member in self.of_matrix]).reshape(-1, len(scaled))
        with np.errstate(invalid="ignore"):
            shares = np.clip(shares, 0.4 * inputs.same_hour, 2.5 * inputs.same_hour)
            return np.where(np.isfinite(matrix["temperature"]), shares, np.nan) if self.weather else shares

    def predict_from_load(self, samples: Samples) -> Floats:
        """Return the predictions of the other members, [members - m, n]."""
        with np.errstate(invalid="ignore"):
            shares = [one.predict(samples) / samples.level for one in self.regressors]
        return np.array(shares).reshape(-1, len(samples))

    def check(self) -> None:
        """Raise ArtifactError if the parts do not fit together."""
        if len(self.names) != len(self.of_matrix) + len(self.regressors):
            raise ArtifactError("The stored ensemble has other members than this version's.")
        names = feature_names(weather=self.weather)
        if self.expected_load is not None:
            names += EXPECTED_LOAD_FEATURES
        check_prediction(self.predict_from_matrix, names)


def scaled_inputs(scaling: Scaling, columns: Singles) -> Singles:
    """Scale the inputs of the networks, [n, p], in place, and return them."""
    for begin in range(0, len(columns), _PART_ROWS):
        part = slice(begin, begin + _PART_ROWS)
        columns[part] = np.clip(scaling(columns[part]), -_FARTHEST, _FARTHEST)
    return columns


def append_column(inputs: Singles, column: Floats) -> Singles:
    """Return the inputs with one more column, [n, p + 1]."""
    return np.concatenate([inputs, np.clip(column, -_FARTHEST, _FARTHEST)[:, None].astype(np.float32)], axis=1)


def member_trainer(
    members: Sequence[Member], view: HistoryView, *, weather: bool, seed: int
) -> Callable[[int, Members | None], Members]:
    """Build the training set once, and return a function that trains on its targets before an hour number.

    Its second argument is None for members that are only tested on held-out data. The final members get those that
    were tested last, and networks continue their training (docs/decisions/appendix-models.md).
    """
    draw = np.random.default_rng(seed)
    training_set = build_training_set(view, draw, weather=weather)
    for_trees = tree_sample_mask(training_set, draw)
    of_matrix: list[MatrixMember] = [one for one in members if isinstance(one, MatrixMember)]
    others: list[Regressor] = [one for one in members if isinstance(one, Regressor)]
    trainers = [one.trainer(view, weather=weather and one.uses_weather, seed=seed) for one in others]
    names = (*(one.name for one in of_matrix), *(one.name for one in others))

    def fit_until(until: int, tested: Members | None) -> Members:
        past = training_set.until(until)
        expected_load = None
        if past.season:
            expected_load, matrix = fit_expected_load(past, until, weather=weather)
            past = replace(past, matrix=matrix)
        linear, out_of_block = fit_linear(past, weather=weather)
        # Tested networks without seasonal inputs cannot continue if the history is long enough for them now
        before = tested if tested is not None and tested.linear.season == past.season else None
        columns = network_inputs(past.matrix, season=past.season)
        scaling = Scaling.fit(columns) if before is None else before.scaling
        inputs = MemberInputs(past.matrix, out_of_block, scaled_inputs(scaling, columns), past.season)
        training = MemberTraining(past, inputs, for_trees[: len(past)], seed)
        so_far = repeat(None) if before is None else before.of_matrix
        fitted = tuple(one.fit(training, own) for one, own in zip(of_matrix, so_far, strict=False))

        regressors = tuple(train(until) for train in trainers)
        return Members(names, weather, expected_load, linear, scaling, fitted, regressors, len(past))

    return fit_until
