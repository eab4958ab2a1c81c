"""What a model is: the protocol of every model, and the smaller one of those that say a number and no interval.

`Model` is all that the platform asks for. A package brings its own by an entry point of the group
`energy_forecast.models` whose object is a Model, or a class without arguments that makes one.

A regression or a set of trees need not know of frames, missing weather or intervals: what has the members of
`Method` becomes a Model by `fitting.Calibrated`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import polars as pl

from energy_forecast.forecasting.features.matrix import Table
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.serialization import Arrays
from energy_forecast.forecasting.types import City, FittedModel, Floats

Say = Callable[[str], None]


@runtime_checkable
class Model(Protocol):
    """A way of forecasting. `kind` is a word for people: baseline, regression, trees, ensemble."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def fit(
        self,
        city: City,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        *,
        at: datetime,
        seed: int = 0,
        progress: Say | None = None,
    ) -> FittedModel:
        """Learn from what was known of `city` at the moment `at`; the same arguments give the same bytes.

        Args:
            load, weather: frames as described in contract.py; rows of hours that had not ended by `at` are dropped.
            progress: called with a few words when a part is done.

        Raises:
            NotEnoughDataError: the load is too short for this model.
        """
        ...

    def load(self, data: bytes) -> FittedModel:
        """The fitted model whose `save` gave `data`, which must hold no code. Raises ArtifactError."""
        ...


class PointModel(Protocol):
    """What has been learnt."""

    @property
    def settings(self) -> dict[str, Any]:
        """How it was fitted, as plain JSON."""
        ...

    def predict(self, rows: Rows) -> Floats:
        """Load of each target, kWh; NaN where this model has nothing to say."""
        ...

    def leading(self, rows: Rows) -> dict[str, Floats]:
        """Values of the features that matter most, the most important first, named for people."""
        ...

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """All that `restore` needs, as JSON and plain arrays."""
        ...


@runtime_checkable
class TablePoint(Protocol):
    """A PointModel that reads nothing but the table of features, so that what drove it can be told."""

    @property
    def weather(self) -> bool:
        """Whether its table has the features of the weather."""
        ...

    def share(self, table: Table) -> Floats:
        """The load as a share of the level, [n]."""
        ...


Learn = Callable[[int], PointModel]


class Method(Protocol):
    """A way of learning to say one number for an hour.

    needed_hours: how many known hours of load it wants at least. uses_weather: whether a head with weather is worth
    fitting. learns: False when there is nothing to fit, so that all of history is held-out time. adapts: whether to
    mix in naive-168 as far as that made held-out time better, and to correct the prediction by the bias of late. A
    baseline stays what it is; only its interval follows.
    """

    name: str
    kind: str
    needed_hours: int
    uses_weather: bool
    learns: bool
    adapts: bool

    def lessons(self, past: Past, *, weather: bool, seed: int) -> Learn:
        """Prepare what can be learnt from, once; the result learns from targets before a given hour number only."""
        ...

    def restore(self, state: dict[str, Any], arrays: Arrays) -> PointModel:
        """The point model whose `state` this was."""
        ...
