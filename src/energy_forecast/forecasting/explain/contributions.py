"""Contributions of feature groups to a forecast: Shapley values relative to a baseline day, in kWh.

A contribution is the change of the forecast if a group of features changes from its value on a baseline day to its own
value, averaged over every order in which the groups can change (Lundberg and Lee 2017). All orders are evaluated, so
the values are exact and add up to the forecast. Features of a group are strongly correlated (the loads of yesterday
and of the day before), and a change of only one of them would be an impossible day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.history import timestamps
from energy_forecast.forecasting.features.matrix import FeatureMatrix
from energy_forecast.forecasting.features.samples import Samples
from energy_forecast.forecasting.types import Floats, Ints

BASELINE = "usual at this hour"
RECENT_LOAD = "load at this hour on the last days"
WEATHER_BEFORE = "temperature of the days before"
RECENT_ERRORS = "errors of the last weeks, corrected"
# Group of a feature by the beginning of its name; the first match counts
_GROUPS = {
    "load_known_": RECENT_LOAD,
    "load_day_": RECENT_LOAD,
    "load_week_": RECENT_LOAD,
    "load_like_day": RECENT_LOAD,
    "load_same_hour_": RECENT_LOAD,
    "load_": "load of the last hours and weeks",
    "weekday": "weekday and holidays",
    "day_": "weekday and holidays",
    "week_": "weekday and holidays",
    "is_": "weekday and holidays",
    "special_day_": "weekday and holidays",
    "temperature_day_lag": "temperature on the days compared with",
    "temperature_week_lag": "temperature on the days compared with",
    "temperature_like_day_lag": "temperature on the days compared with",
    "temperature_mean_24h_": "temperature on the days compared with",
    "temperature_mean_6h": "temperature of the hour",
    "temperature_mean_": WEATHER_BEFORE,
    "temperature_max_": WEATHER_BEFORE,
    "temperature_min_": WEATHER_BEFORE,
    "temperature": "temperature of the hour",
    "humidity": "humidity, wind and rain",
    "wind": "humidity, wind and rain",
    "precipitation": "humidity, wind and rain",
    "": "daylight and season",
}
# The feature that is shown for each group
_SHOWN = {
    RECENT_LOAD: "load_same_hour_mean",
    "load of the last hours and weeks": "load_mean_24h",
    "weekday and holidays": "day_kind",
    "temperature on the days compared with": "temperature_day_lag",
    WEATHER_BEFORE: "temperature_mean_24h",
    "temperature of the hour": "temperature",
    "humidity, wind and rain": "humidity",
    "daylight and season": "sun_elevation",
}
FEATURE_LABELS = {
    "load_same_hour_mean": "mean load at this hour, kWh",
    "load_mean_24h": "last 24 hours over the last week",
    "day_kind": "kind of day, 0 (workday) to 2 (rest)",
    "temperature_day_lag": "temperature of the day before, °C",
    "temperature_mean_24h": "temperature, mean of 24 hours, °C",
    "temperature": "temperature, °C",
    "humidity": "humidity, %",
    "sun_elevation": "sine of the sun's elevation",
}
# Distances in days of the baseline days: each weekday once, over three weeks
BASELINE_DAYS = tuple(range(3, 22, 3))


@dataclass(frozen=True)
class ModelTerms:
    """The additive terms of a model's forecast of n hours, as shares of the level.

    samples: of the n hours.
    matrix: returns the features of samples.
    from_matrix: returns the term that depends on the feature matrix. Its second argument is the hour (0 to n - 1) of
        each row.
    from_load: returns the term of members that use the load itself, [n].
    correction: [n], the correction of recent errors.
    """

    samples: Samples
    matrix: Callable[[Samples], FeatureMatrix]
    from_matrix: Callable[[FeatureMatrix, Ints], Floats]
    from_load: Callable[[Samples], Floats]
    correction: Floats


def group_of(feature: str) -> str:
    """Return the group of a feature."""
    return next(group for begin, group in _GROUPS.items() if feature.startswith(begin))


def contributions_of(terms: ModelTerms) -> pl.DataFrame | None:
    """Return the contributions of feature groups to each of n hours; None if no baseline day is known.

    Returns:
        timestamp, input_group, contribution_kwh, feature, value, baseline_value: one row per hour and group. The first
        group is BASELINE, the mean forecast of days of the last three weeks at the same hour and lead time. With the
        other contributions it adds up to the forecast. feature: the one shown for the group, with its value and its
        mean on the baseline days (loads in kWh); null without such days.
    """
    samples = terms.samples
    n = len(samples)
    target = terms.matrix(samples)
    baseline_samples = [
        Samples(samples.view, samples.origins - 24 * k, samples.targets - 24 * k).with_weather_of_history()
        for k in BASELINE_DAYS
    ]
    baseline = [(one, terms.matrix(one)) for one in baseline_samples]
    baseline = [
        (one, matrix)
        for one, matrix in baseline
        if np.isfinite(one.level).all()
        and ("temperature" not in matrix.names or np.isfinite(matrix["temperature"]).all())
    ]
    if not baseline:
        return None
    groups = list(dict.fromkeys(group_of(name) for name in target.names))
    member = np.array([groups.index(group_of(name)) for name in target.names])
    hour = np.arange(n, dtype=np.int64)
    value: dict[frozenset[int], Floats] = {}
    for size in range(len(groups) + 1):
        for own in combinations(range(len(groups)), size):
            changed = np.isin(member, own)
            mixed = [np.where(changed, target.values, matrix.values) for _, matrix in baseline]
            predicted = terms.from_matrix(
                FeatureMatrix(target.names, np.concatenate(mixed)), np.tile(hour, len(baseline))
            )
            value[frozenset(own)] = predicted.reshape(len(baseline), n).mean(axis=0)
    level = samples.level
    baseline_load = np.mean([terms.from_load(one) for one, _ in baseline], axis=0)
    contribution = {group: _shapley(i, len(groups), value) for i, group in enumerate(groups)}
    contribution[RECENT_LOAD] = contribution[RECENT_LOAD] + terms.from_load(samples) - baseline_load
    shares = {BASELINE: value[frozenset()] + baseline_load, **contribution, RECENT_ERRORS: terms.correction}
    frames = []
    for name, share in shares.items():
        feature = _SHOWN.get(name)
        shown = [np.full(n, np.nan)] * 2
        if feature is not None:
            scale = level if name == RECENT_LOAD else 1.0
            shown = [target[feature] * scale, np.mean([matrix[feature] for _, matrix in baseline], axis=0) * scale]
        frames.append(
            pl.DataFrame(
                [
                    timestamps(samples.targets),
                    pl.Series("input_group", [name] * n),
                    pl.Series("contribution_kwh", share * level),
                    pl.Series("feature", [feature] * n, pl.String),
                    pl.Series("value", shown[0], nan_to_null=True),
                    pl.Series("baseline_value", shown[1], nan_to_null=True),
                ]
            )
        )
    return pl.concat(frames)


def _shapley(player: int, players: int, value: dict[frozenset[int], Floats]) -> Floats:
    others = [i for i in range(players) if i != player]
    total = np.zeros_like(value[frozenset()])
    for size in range(players):
        weight = factorial(size) * factorial(players - size - 1) / factorial(players)
        for before in combinations(others, size):
            total += weight * (value[frozenset((*before, player))] - value[frozenset(before)])
    return total
