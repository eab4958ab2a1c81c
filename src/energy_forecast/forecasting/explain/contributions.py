"""What drove a forecast: how far each group of features moved it away from a usual day, in kWh.

The contributions are Shapley values (Lundberg and Lee 2017) of groups of features: what changing a group from its
value on a usual day to its own changes, averaged over every order in which the groups may be changed. All groups are
counted out, so the values are exact and add up to the forecast. The features within a group say nearly the same
(yesterday's load and that of the day before), and a change of one without the others would be a day that never was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.history import timestamps
from energy_forecast.forecasting.features.matrix import Table
from energy_forecast.forecasting.features.samples import Rows
from energy_forecast.forecasting.types import Floats, Ints

USUAL = "usual at this hour"
RECENT_LOAD = "load at this hour on the last days"
RECENT_ERRORS = "errors of the last weeks, corrected"
# By the beginning of a feature's name, the first that fits
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
    "temperature_day_lag": "temperature on the days compared with",
    "temperature_week_lag": "temperature on the days compared with",
    "temperature_like_day_lag": "temperature on the days compared with",
    "temperature_mean_24h_": "temperature on the days compared with",
    "temperature_mean_6h": "temperature of the hour",
    "temperature_mean_": "temperature of the days before",
    "temperature_max_": "temperature of the days before",
    "temperature_min_": "temperature of the days before",
    "temperature": "temperature of the hour",
    "humidity": "humidity, wind and rain",
    "wind": "humidity, wind and rain",
    "precipitation": "humidity, wind and rain",
    "": "daylight and season",
}
# The feature that stands for each group
_SHOWN = {
    RECENT_LOAD: "load_same_hour_mean",
    "load of the last hours and weeks": "load_mean_24h",
    "weekday and holidays": "day_kind",
    "temperature on the days compared with": "temperature_day_lag",
    "temperature of the days before": "temperature_mean_24h",
    "temperature of the hour": "temperature",
    "humidity, wind and rain": "humidity",
    "daylight and season": "sun_elevation",
}
FEATURE_WORDS = {
    "load_same_hour_mean": "mean load at this hour, kWh",
    "load_mean_24h": "last 24 hours over the last week",
    "day_kind": "kind of day, 0 (workday) to 2 (rest)",
    "temperature_day_lag": "temperature of the day before, °C",
    "temperature_mean_24h": "temperature, mean of 24 hours, °C",
    "temperature": "temperature, °C",
    "humidity": "humidity, %",
    "sun_elevation": "sine of the sun's elevation",
}
# A usual day is one of these before: each weekday once, over three weeks
USUAL_DAYS = tuple(range(3, 22, 3))


@dataclass(frozen=True)
class Parts:
    """How a model makes a forecast of n hours, in shares of the level.

    of_table: the part that is read off the table of features; asked with rows and, for each, which of the n hours it
        stands for. of_load: [n] the part of members that read the load itself. correction: [n] what is added for the
        errors of late. rows: of the n hours. table: the features of rows.
    """

    rows: Rows
    table: Callable[[Rows], Table]
    of_table: Callable[[Table, Ints], Floats]
    of_load: Callable[[Rows], Floats]
    correction: Floats


def group_of(feature: str) -> str:
    """The group of features that one belongs to."""
    return next(group for begin, group in _GROUPS.items() if feature.startswith(begin))


def drivers_of(parts: Parts) -> pl.DataFrame | None:
    """What drove each of n hours; None where no usual day before is known to compare them with.

    Returns:
        timestamp, driver, contribution_kwh, feature, value, usual_value: a row an hour and driver. The first driver is
        USUAL, the forecast of a usual day of the last three weeks at the same hour and lead time; with what the others
        add it makes the forecast. feature: one that stands for the driver, its value and that of the usual days (loads
        in kWh); null where there is none.
    """
    rows = parts.rows
    n = len(rows)
    target = parts.table(rows)
    usual_rows = [Rows(rows.past, rows.origins - 24 * k, rows.targets - 24 * k) for k in USUAL_DAYS]
    usual = [(one, parts.table(one)) for one in usual_rows]
    usual = [
        (one, table)
        for one, table in usual
        if np.isfinite(one.level).all()
        and ("temperature" not in table.names or np.isfinite(table["temperature"]).all())
    ]
    if not usual:
        return None
    groups = list(dict.fromkeys(group_of(name) for name in target.names))
    member = np.array([groups.index(group_of(name)) for name in target.names])
    hour = np.arange(n, dtype=np.int64)
    value: dict[frozenset[int], Floats] = {}
    for size in range(len(groups) + 1):
        for own in combinations(range(len(groups)), size):
            changed = np.isin(member, own)
            mixed = [np.where(changed, target.values, table.values) for _, table in usual]
            said = parts.of_table(Table(target.names, np.concatenate(mixed)), np.tile(hour, len(usual)))
            value[frozenset(own)] = said.reshape(len(usual), n).mean(axis=0)
    level = rows.level
    load_then = np.mean([parts.of_load(one) for one, _ in usual], axis=0)
    added = {group: _shapley(i, len(groups), value) for i, group in enumerate(groups)}
    added[RECENT_LOAD] = added[RECENT_LOAD] + parts.of_load(rows) - load_then
    shares = {USUAL: value[frozenset()] + load_then, **added, RECENT_ERRORS: parts.correction}
    frames = []
    for name, share in shares.items():
        feature = _SHOWN.get(name)
        shown = [np.full(n, np.nan)] * 2
        if feature is not None:
            scale = level if name == RECENT_LOAD else 1.0
            shown = [target[feature] * scale, np.mean([table[feature] for _, table in usual], axis=0) * scale]
        frames.append(
            pl.DataFrame(
                [
                    timestamps(rows.targets),
                    pl.Series("driver", [name] * n),
                    pl.Series("contribution_kwh", share * level),
                    pl.Series("feature", [feature] * n, pl.String),
                    pl.Series("value", shown[0], nan_to_null=True),
                    pl.Series("usual_value", shown[1], nan_to_null=True),
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
