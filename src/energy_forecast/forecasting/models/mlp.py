"""A small multilayer perceptron in numpy: two hidden layers on the feature matrix.

A single network is no better than the ridge; several of them, combined with the ridge, are. See
docs/decisions/appendix-models.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.features.matrix import FeatureMatrix, in_parts, single_columns
from energy_forecast.forecasting.serialization import Shape, Stored
from energy_forecast.forecasting.types import Floats, Ints

Singles = NDArray[np.float32]
HIDDEN = (64, 32)
EPOCHS = 8
# For a network that continues from another one, at a third of the rate
FURTHER_EPOCHS = 3
BATCH = 512
# Half of it if there are enough rows: with a few thousand the networks would overfit
SMALL_BATCH, SMALL_BATCH_ROWS = 256, 25_000
_RATE, _FURTHER_RATE = 3e-3, 1e-3
_WARM_UP_STEPS = 100
_LEAK = np.float32(0.01)
# Huber loss: errors beyond this many deviations of the target count linearly
_HUBER = np.float32(0.3)
_BETA_1, _BETA_2 = 0.9, 0.999
_CATEGORIES = ("local_hour", "weekday", "day_kind", "lead_hours", "day_lag_kind", "week_lag_kind", "day_lag_weekday")
_YEAR = ("year_sine", "year_cosine")
WEATHER = ("temperature", "humidity", "wind_speed", "precipitation")


def network_inputs(matrix: FeatureMatrix, *, season: bool) -> Singles:
    """Return the matrix with one-hot categories, [n, p], NaN where unknown; without `season`, no seasonal columns."""
    return in_parts(partial(_network_inputs, season=season), matrix)


def _network_inputs(matrix: FeatureMatrix, *, season: bool) -> Singles:
    left_out = _CATEGORIES if season else _CATEGORIES + _YEAR
    columns = [matrix.values[:, i] for i, name in enumerate(matrix.names) if name not in left_out]
    turn = 2 * np.pi * matrix["local_hour"] / 24
    columns += [wave(k * turn) for k in (1, 2, 3, 4) for wave in (np.sin, np.cos)]
    columns += [matrix["weekday"] == day for day in range(7)]
    columns += [matrix[name] == k for name in ("day_kind", "day_lag_kind", "week_lag_kind") for k in (0, 1, 2)]
    columns += [matrix["day_lag_weekday"] == day for day in (0, 5, 6)]
    lead = matrix["lead_hours"]
    columns += [lead / 24, *(np.exp(-lead / hours) for hours in (3, 12, 48))]
    return single_columns([np.asarray(column, float) for column in columns])


@lru_cache(maxsize=64)
def columns_without(names_begin: tuple[str, ...], features: tuple[str, ...], *, season: bool) -> Ints:
    """Return the columns of network_inputs except those of features whose name begins with one of these, [q]."""
    left_out = _CATEGORIES if season else _CATEGORIES + _YEAR
    names = [name for name in features if name not in left_out]
    derived = network_inputs(FeatureMatrix(features, np.zeros((1, len(features)))), season=season).shape[1] - len(names)
    used = [i for i, name in enumerate(names) if not name.startswith(names_begin)]
    return np.array([*used, *range(len(names), len(names) + derived)], np.int64)


@dataclass(frozen=True)
class Layer(Stored):
    """A layer of a network. weight: [inputs, outputs]. bias: [outputs]."""

    weight: Annotated[Singles, Shape(None, None)]
    bias: Annotated[Singles, Shape(None)]

    def check(self) -> None:
        """Raise ArtifactError if the bias has another length than the outputs."""
        if self.bias.shape != self.weight.shape[1:]:
            raise ArtifactError("The stored network has no usable layers.")


@dataclass(frozen=True)
class Network(Stored):
    """A fitted network; the last layer has one output."""

    layers: tuple[Layer, ...]

    def predict(self, inputs: Singles) -> Floats:
        """Return the output for each row of `inputs` [n, p]."""
        value = inputs
        for layer in self.layers[:-1]:
            value = value @ layer.weight + layer.bias
            value = np.maximum(value, _LEAK * value)
        return np.asarray((value @ self.layers[-1].weight + self.layers[-1].bias)[:, 0], float)


def train_network(
    inputs: Singles, target: Singles, weight: Singles, *, decay: float, seed: int, start: Network | None = None
) -> Network:
    """Train by Adam with decoupled decay (Loshchilov and Hutter 2019), warm-up and a cosine schedule of the rate.

    Args:
        inputs: [n, p] on a common scale. target: [n] with deviation about 1. weight: [n].
        decay: the share of each weight that is lost in a step of rate 1.
        start: a network with the same inputs to continue from.
    """
    draw = np.random.default_rng(seed)
    if start is None:
        sizes = (inputs.shape[1], *HIDDEN, 1)
        initial = [draw.normal(0, 1, (a, b)) * np.sqrt(1.5 / a) for a, b in pairwise(sizes)]
        initial[-1] *= 0.1
        initial += [np.zeros(size) for size in sizes[1:]]
        epochs, peak = EPOCHS, _RATE
    else:
        initial = [layer.weight for layer in start.layers] + [layer.bias for layer in start.layers]
        epochs, peak = FURTHER_EPOCHS, _FURTHER_RATE
    layers = len(initial) // 2
    # One array of all weights and then all biases, since a step for each takes a third longer
    values = np.concatenate([np.asarray(part, np.float32).ravel() for part in initial])
    gradient, mean, square = np.zeros_like(values), np.zeros_like(values), np.zeros_like(values)
    weights, biases = _parts(values, initial, layers)
    of_weights, of_biases = _parts(gradient, initial, layers)
    decaying = slice(0, sum(part.size for part in weights))
    n = len(inputs)
    batch = min(SMALL_BATCH if n >= SMALL_BATCH_ROWS else BATCH, n)
    # The same decay per epoch for any number of steps
    decay *= batch / BATCH
    steps, step = epochs * (n // batch), 0
    for _ in range(epochs):
        order = draw.permutation(n)
        for begin in range(0, n - batch + 1, batch):
            chosen = order[begin : begin + batch]
            _gradients(weights, biases, inputs[chosen], target[chosen], weight[chosen], of_weights, of_biases)
            step += 1
            rate = peak * min(1.0, step / _WARM_UP_STEPS) * 0.5 * (1 + np.cos(np.pi * step / steps))
            unbias_1, unbias_2 = np.float32(1 - _BETA_1**step), np.float32(1 - _BETA_2**step)
            mean *= np.float32(_BETA_1)
            mean += np.float32(1 - _BETA_1) * gradient
            square *= np.float32(_BETA_2)
            square += np.float32(1 - _BETA_2) * gradient * gradient
            step_size = (mean / unbias_1) / (np.sqrt(square / unbias_2) + np.float32(1e-7))
            step_size[decaying] += np.float32(decay) * values[decaying]
            values -= np.float32(rate) * step_size
    return Network(tuple(Layer(w.copy(), b.copy()) for w, b in zip(weights, biases, strict=True)))


def _parts(flat: Singles, like: Sequence[Floats | Singles], layers: int) -> tuple[list[Singles], list[Singles]]:
    """Return views of a flat array with the shapes of the weights and the biases of a network."""
    ends = np.cumsum([part.size for part in like])
    views = [flat[end - part.size : end].reshape(part.shape) for end, part in zip(ends, like, strict=True)]
    return views[:layers], views[layers:]


def _gradients(
    weights: list[Singles],
    biases: list[Singles],
    inputs: Singles,
    target: Singles,
    weight: Singles,
    of_weights: list[Singles],
    of_biases: list[Singles],
) -> None:
    """Write the gradient of the loss of a batch by the weights and the biases into `of_weights` and `of_biases`."""
    values = [inputs]
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        value = values[-1] @ w + b
        values.append(np.maximum(value, _LEAK * value))
    error = (values[-1] @ weights[-1] + biases[-1])[:, 0] - target
    back = (np.clip(error / _HUBER, -1, 1) * weight / np.float32(len(target)))[:, None]
    for layer in range(len(weights) - 1, -1, -1):
        np.matmul(values[layer].T, back, out=of_weights[layer])
        back.sum(axis=0, out=of_biases[layer])
        if layer:
            back = (back @ weights[layer].T) * np.where(values[layer] > 0, np.float32(1), _LEAK)
