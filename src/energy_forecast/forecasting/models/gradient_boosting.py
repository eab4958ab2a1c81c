"""Ridge regressions and, on what they leave, gradient-boosted trees: direct forecasts for every lead time to a week."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.features.expected_load import NORMAL, NORMAL_NAMES, RATIOS, table_names, try_once
from energy_forecast.forecasting.features.matrix import Table, feature_table
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.linear import RIDGE_PENALTY, LinearStage, bounded, fit_linear
from energy_forecast.forecasting.models.protocol import Learn
from energy_forecast.forecasting.models.training_set import BANDS, Lessons, make_lessons
from energy_forecast.forecasting.models.tree_arrays import Trees
from energy_forecast.forecasting.serialization import Arrays, fact
from energy_forecast.forecasting.types import Flags, Floats

# One thread: on a machine that is busy, two wait for each other and take up to ten times as long.
_THREADS = 1
_LEADING = 8
_IMPORTANCE_ROWS = 300
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
class BoostedPoint:
    """A linear stage, and trees that correct it."""

    linear: LinearStage
    trees: Trees
    importance: tuple[str, ...]
    weather: bool
    rows: int

    @property
    def settings(self) -> dict[str, Any]:
        return {**SETTINGS, "rows": self.rows, "leading_features": list(self.importance)}

    def predict(self, rows: Rows) -> Floats:
        table = feature_table(rows, weather=self.weather)
        share = self.share(table)
        if self.weather:
            share = np.where(np.isfinite(table["temperature"]), share, np.nan)
        return np.asarray(share * rows.level, float)

    def share(self, table: Table) -> Floats:
        """The load as a share of the level, [n]."""
        return self.corrected(self.linear.predict(table), table)

    def corrected(self, share: Floats, table: Table) -> Floats:
        """What the linear stage says, `share`, corrected by the trees, [n]."""
        correction = self.trees.predict(_tree_inputs(table, share))
        return bounded(share + SETTINGS["tree_share"] * correction.astype(float), table)

    def leading(self, rows: Rows) -> dict[str, Floats]:
        return self.leading_of(feature_table(rows, weather=self.weather), rows)

    def leading_of(self, table: Table, rows: Rows) -> dict[str, Floats]:
        """As `leading`, from a table that is there already."""
        values: dict[str, Floats] = {}
        for name in self.importance:
            # A load as a share of a level says nothing to a reader; the lags are shown as they were.
            if name.startswith(("load_known_", "load_like_day", "load_same_hour_mean", NORMAL)) and name not in RATIOS:
                values[f"{name}_kwh"] = table[name] * rows.level
            else:
                values[name] = table[name]
        return values

    def state(self) -> tuple[dict[str, Any], Arrays]:
        header = {
            "importance": list(self.importance),
            "weather": self.weather,
            "season": self.linear.season,
            "rows": self.rows,
        }
        return header, {**self.trees.arrays(), **self.linear.arrays()}


class GradientBoosting:
    """See the module. Learns the load as a share of the mean of the week before the origin.

    Trees learn from a share of the rows; what they correct is what the ridge said of a block of time it had not seen,
    since they would not learn from the smaller errors that it makes on its own rows.
    """

    name = "gradient-boosting"
    needed_hours = 18 * 24
    kind = "trees"
    uses_weather = True
    learns = True
    adapts = True

    def lessons(self, past: Past, *, weather: bool, seed: int) -> Learn:
        draw = np.random.default_rng(seed)
        lessons = make_lessons(past, draw, weather=weather)
        for_trees = chosen_for_trees(lessons, draw)

        def learn(until: int) -> BoostedPoint:
            mine = lessons.until(until)
            point, _ = learn_boosted(mine, for_trees[: len(mine)], weather=weather, seed=seed)
            return replace(point, importance=importance(point, mine.table, seed))

        return learn

    def restore(self, state: dict[str, Any], arrays: Arrays) -> BoostedPoint:
        point = restore_boosted(state, arrays)
        try_once(point.share, table_names(weather=point.weather))
        return point


def restore_boosted(state: dict[str, Any], arrays: Arrays) -> BoostedPoint:
    """The point model whose state this was. Raises ArtifactError."""
    weather = fact(state, "weather", bool)
    linear = LinearStage.from_arrays(arrays, weather=weather, season=fact(state, "season", bool))
    importance = fact(state, "importance", list)
    if not set(importance) <= set(table_names(weather=weather) + NORMAL_NAMES):
        raise ArtifactError("The stored model has other features than this version's models.")
    return BoostedPoint(linear, Trees.from_arrays(arrays), tuple(importance), weather, fact(state, "rows", int))


def chosen_for_trees(lessons: Lessons, draw: np.random.Generator) -> Flags:
    """The rows that trees learn from, [n]."""
    return np.asarray(draw.random(len(lessons)) < SETTINGS["rows_per_hour"] / BANDS, bool)


def learn_boosted(lessons: Lessons, chosen: Flags, *, weather: bool, seed: int) -> tuple[BoostedPoint, Floats]:
    """The model, and what its linear stage would have said of each row without that row's block of time, [n]."""
    linear, unseen = fit_linear(lessons, weather=weather, penalty=SETTINGS["ridge_penalty"])
    table = lessons.table
    inputs = _tree_inputs(Table(table.names, table.values[chosen]), unseen[chosen])
    left = (lessons.share - unseen)[chosen]
    trees = _grow(inputs, left, lessons.weight[chosen], [*table.names, "linear_stage"], seed)
    return BoostedPoint(linear, trees, (), weather, len(lessons)), unseen


def _tree_inputs(table: Table, linear: Floats) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.concatenate([table.values, linear[:, None]], axis=1).astype(np.float32)


def _grow(
    inputs: np.ndarray[Any, np.dtype[np.float32]], left: Floats, weight: Floats, names: list[str], seed: int
) -> Trees:
    # Here and not above: it takes longer to import than a forecast takes to make
    import xgboost

    # A few wild errors of the linear stage must not steer the trees.
    limit = 6 * 1.4826 * float(np.median(np.abs(left))) + 1e-6
    data = xgboost.QuantileDMatrix(
        inputs,
        label=np.clip(left, -limit, limit),
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
    return Trees.of(xgboost.train(parameters, data, SETTINGS["rounds"]))


def importance(point: BoostedPoint, table: Table, seed: int) -> tuple[str, ...]:
    """The features that move the prediction most: by how much it changes when one is shuffled over the rows."""
    draw = np.random.default_rng(seed)
    sample = draw.permutation(len(table.values))[:_IMPORTANCE_ROWS]
    values = table.values[sample]
    before = point.share(Table(table.names, values))
    moved = {}
    for i, name in enumerate(table.names):
        shuffled = values.copy()
        shuffled[:, i] = values[draw.permutation(len(sample)), i]
        moved[name] = float(np.mean(np.abs(point.share(Table(table.names, shuffled)) - before)))
    ranked = sorted(table.names, key=lambda name: (-moved[name], name))
    return tuple(ranked[:_LEADING])
