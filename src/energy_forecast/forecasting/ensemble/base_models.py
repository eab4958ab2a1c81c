"""The members of the ensemble, learnt and asked together, since they share their table of features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.features.expected_load import NORMAL_NAMES, renewed, table_names, try_once
from energy_forecast.forecasting.features.matrix import Table, feature_table
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.decomposition import decompose
from energy_forecast.forecasting.models.expected_load import Normal, learn_normal
from energy_forecast.forecasting.models.gradient_boosting import (
    BoostedPoint,
    chosen_for_trees,
    importance,
    learn_boosted,
    restore_boosted,
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
from energy_forecast.forecasting.models.training_set import Lessons, make_lessons
from energy_forecast.forecasting.serialization import Arrays, fact
from energy_forecast.forecasting.types import Floats, Ints

# Networks that learn the load beside the mean of its hour, and networks that learn what the ridge leaves. Either
# kind alone is 1 to 3 % worse. The last one does not look at the weather, which says little of some loads.
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
READ_TABLE = len(NAMES) - 3


@dataclass(frozen=True)
class Members:
    """What has been learnt of one city, with weather or without.

    normal: to which the table says how the load stood; None before a whole year was seen.
    scaling: of the networks' inputs. deviations: of the targets of direct and of correcting networks.
    """

    normal: Normal | None
    boosted: BoostedPoint
    networks: tuple[Network, ...]
    scaling: Scaling
    deviations: tuple[float, float]

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.boosted.settings, "members": list(NAMES)}

    def predict(self, rows: Rows) -> tuple[Floats, Table]:
        """Load of each target as a share of the level by each member, [members, n], in the order of NAMES.

        With weather, NaN where the temperature is not known; the members without weather speak all the same.
        """
        table = self.table_of(rows)
        return np.concatenate([self.of_table(table), self.of_load(rows)]), table

    def table_of(self, rows: Rows) -> Table:
        """The features that the members read."""
        table = feature_table(rows, weather=self.boosted.weather)
        return table if self.normal is None else self.normal.beside(table, rows)

    def of_changed(self, table: Table) -> Floats:
        """As `of_table`, of a table whose weather or calendar has been changed: their normal is another."""
        return self.of_table(table if self.normal is None else renewed(table, self.normal.of(table)))

    def of_table(self, table: Table) -> Floats:
        """What the members say that read the table, [READ_TABLE, n], the first of NAMES."""
        weather, season = self.boosted.weather, self.boosted.linear.season
        linear = self.boosted.linear.predict(table)
        usual = table["load_same_hour_mean"]
        inputs = scaled_inputs(self.scaling, network_inputs(table, season=season))
        from_linear = (linear - usual) / self.deviations[1]
        shares = [linear, self.boosted.corrected(linear, table)]
        for i, network in enumerate(self.networks):
            if i < DIRECT:
                shares.append(usual + self.deviations[0] * network.predict(inputs[:, _seen(i, table.names, season)]))
            elif i < DIRECT + CORRECTING:
                seen = beside(inputs[:, _seen(i, table.names, season)], from_linear)
                shares.append(linear + self.deviations[1] * network.predict(seen))
            else:
                shares.append(usual + self.deviations[0] * network.predict(inputs[:, _seen(i, table.names, season)]))
        with np.errstate(invalid="ignore"):
            shares = [np.clip(share, 0.4 * usual, 2.5 * usual) for share in shares]
            if weather:
                known = np.isfinite(table["temperature"])
                shares = [np.where(known, share, np.nan) for share in shares]
        return np.stack(shares)

    @staticmethod
    def of_load(rows: Rows) -> Floats:
        """What the other members say, which read the load itself, [3, n]."""
        with np.errstate(invalid="ignore"):
            return np.stack(
                [m / rows.level for m in (decompose(rows), NAIVE_24.predict(rows), NAIVE_168.predict(rows))]
            )

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """All that `restore` needs, as JSON and plain arrays."""
        header, arrays = self.boosted.state()
        arrays = {f"boosted/{name}": array for name, array in arrays.items()}
        if self.normal is not None:
            arrays |= {f"normal/{name}": array for name, array in self.normal.arrays().items()}
        for i, network in enumerate(self.networks):
            arrays |= {f"network_{i}/{name}": array for name, array in network.arrays().items()}
        arrays |= {f"scaling/{name}": array for name, array in self.scaling.arrays().items()}
        return {"boosted": header, "networks": len(self.networks), "deviations": list(self.deviations)}, arrays

    @staticmethod
    def restore(state: dict[str, Any], arrays: Arrays) -> Members:
        """The members whose `state` this was."""

        def own(prefix: str) -> Arrays:
            return {name[len(prefix) + 1 :]: array for name, array in arrays.items() if name.startswith(prefix + "/")}

        boosted = restore_boosted(fact(state, "boosted", dict), own("boosted"))
        weather, season = boosted.weather, boosted.linear.season
        deviations = fact(state, "deviations", list)
        if fact(state, "networks", int) != DIRECT + CORRECTING + 1 or len(deviations) != 2:
            raise ArtifactError("The stored ensemble has other members than this version's.")
        members = Members(
            Normal.from_arrays(own("normal"), weather=weather) if season else None,
            boosted,
            tuple(Network.from_arrays(own(f"network_{i}")) for i in range(DIRECT + CORRECTING + 1)),
            Scaling.from_arrays(own("scaling")),
            (float(deviations[0]), float(deviations[1])),
        )
        try_once(members.of_table, table_names(weather=weather) + (NORMAL_NAMES if season else ()))
        if members.normal is not None:
            try_once(members.normal.of, table_names(weather=weather))
        return members


def _seen(i: int, features: tuple[str, ...], season: bool) -> Ints:
    """Which of the networks' inputs network i looks at.

    One of each kind looks at how the load stood to its normal, and one does not: that makes them differ.
    """
    if i == DIRECT + CORRECTING:
        return columns_without((*WEATHER, *NORMAL_NAMES), features, season=season)
    return columns_without(NORMAL_NAMES if i % 2 else (), features, season=season)


def scaled_inputs(scaling: Scaling, columns: Floats) -> Singles:
    """What the direct networks see of their inputs, [n, p]."""
    return np.clip(scaling(columns), -_FARTHEST, _FARTHEST).astype(np.float32)


def beside(inputs: Singles, column: Floats) -> Singles:
    """The inputs with one column more, [n, p + 1]."""
    return np.concatenate([inputs, np.clip(column, -_FARTHEST, _FARTHEST)[:, None].astype(np.float32)], axis=1)


def member_lessons(past: Past, *, weather: bool, seed: int) -> Callable[[int, Members | None], Members]:
    """Prepare what can be learnt from, once; the result learns from targets before a given hour number only.

    Its second argument is None for members that will only be tried on what follows. The last ones are given those that
    were tried last, from which their networks go on: a third of the work, and no worse (docs/decisions/models.md).
    They get their leading features too, which take a while to rank.
    """
    draw = np.random.default_rng(seed)
    lessons = make_lessons(past, draw, weather=weather)
    for_trees = chosen_for_trees(lessons, draw)

    def learn(until: int, tried: Members | None) -> Members:
        mine = lessons.until(until)
        normal = None
        if mine.season:
            normal, table = learn_normal(mine, until, weather=weather)
            mine = replace(mine, table=table)
        boosted, unseen = learn_boosted(mine, for_trees[: len(mine)], weather=weather, seed=seed)
        if tried is not None:
            boosted = replace(boosted, importance=importance(boosted, mine.table, seed))
            if tried.boosted.linear.season != mine.season:
                # What they learnt knows nothing of the year, which has become long enough meanwhile
                tried = None
        return _with_networks(normal, boosted, unseen, mine, seed, tried)

    return learn


def _with_networks(
    normal: Normal | None, boosted: BoostedPoint, unseen: Floats, lessons: Lessons, seed: int, tried: Members | None
) -> Members:
    table = lessons.table
    columns = network_inputs(table, season=lessons.season)
    scaling = Scaling.of(columns) if tried is None else tried.scaling
    inputs = scaled_inputs(scaling, columns)
    usual = table["load_same_hour_mean"]
    direct, left = lessons.share - usual, lessons.share - unseen
    limit = 6 * 1.4826 * float(np.median(np.abs(left))) + 1e-6
    left = np.clip(left, -limit, limit)
    deviations = (max(float(direct.std()), 1e-6), max(float(left.std()), 1e-6)) if tried is None else tried.deviations
    from_linear = (unseen - usual) / deviations[1]
    share = np.where(table["lead_hours"] < 24, _DAY_AHEAD_SHARE, _LATER_SHARE)
    networks = []
    for i in range(DIRECT + CORRECTING + 1):
        # Each network has rows of its own: that is what makes their errors differ
        own = np.random.default_rng([seed, i])
        chosen = np.flatnonzero(own.random(len(lessons)) < share)
        correcting = DIRECT <= i < DIRECT + CORRECTING
        seen, target = inputs[:, _seen(i, table.names, lessons.season)], direct / deviations[0]
        if correcting:
            seen, target = beside(seen, from_linear), left / deviations[1]
        networks.append(
            train_network(
                seen[chosen],
                target[chosen].astype(np.float32),
                lessons.weight[chosen].astype(np.float32),
                decay=_DECAY["correcting" if correcting else "direct"],
                seed=seed + i,
                start=None if tried is None else tried.networks[i],
            )
        )
    return Members(normal, boosted, tuple(networks), scaling, deviations)
