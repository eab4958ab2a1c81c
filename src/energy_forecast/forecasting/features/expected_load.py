"""How the load has stood to its normal: to what the calendar and the weather alone say of an hour.

A cool yesterday says little of a hot today; that yesterday's load was 3 % above what its own weather and calendar
explain says much of it. The normal itself is learnt (models/normal.py); here its values are looked up as loads are,
never at or after the origin, and put beside the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import polars as pl

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.data.history import build_history
from energy_forecast.forecasting.features.matrix import (
    DAY_LAGS,
    WEEK_LAGS,
    Table,
    feature_table,
    last_like_day,
    side_by_side,
)
from energy_forecast.forecasting.features.samples import Past, Rows, running_sums, window_mean
from energy_forecast.forecasting.types import City, Floats

NORMAL = "load_normal"
_WEEK_NORMAL = "load_normal_of_week"
_FOLLOWED = "load_normal_followed"
_SAME_HOUR = "load_same_hour_over_normal"
_LAST_HOURS = (1, 3, 6, 24)
_MEAN_HOURS = (72, 672)
_FARTHEST = 3.0
# The last known week is among the last known days already
_WEEKS = range(1, WEEK_LAGS)
NORMAL_NAMES = (
    *(f"load_last_{hours}h_over_normal" for hours in _LAST_HOURS),
    *(f"load_mean_{hours}h_over_normal" for hours in _MEAN_HOURS),
    *(f"load_day_{i + 1}_over_normal" for i in range(DAY_LAGS)),
    *(f"load_week_{i + 1}_over_normal" for i in _WEEKS),
    "load_like_day_over_normal",
    _SAME_HOUR,
    _WEEK_NORMAL,
    NORMAL,
    _FOLLOWED,
)
# Those that are no loads
RATIOS = frozenset(NORMAL_NAMES) - {NORMAL, _FOLLOWED}
# How far before an origin normals are looked up: the fifth week before a target, for one that lies 8 days ahead
REACH_HOURS = 24 * 36


@lru_cache
def table_names(*, weather: bool) -> tuple[str, ...]:
    """The names of the features of `feature_table` in their order."""
    none = pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC")})
    history = build_history(none, none, none, issued_at=datetime(2000, 1, 1, tzinfo=UTC), days=None)
    hour = np.array([history.known_until])
    return feature_table(Rows(Past(City("", 0.0, 0.0, "UTC"), history), hour, hour), weather=weather).names


@lru_cache
def feature_set() -> str:
    """A digest of the names of all features in their order: a model that was made for others cannot be read."""
    return hashlib.sha256("\n".join(table_names(weather=True) + NORMAL_NAMES).encode()).hexdigest()[:16]


def try_once(predict: Callable[[Table], Floats], names: tuple[str, ...]) -> None:
    """Ask a stored model for one row of features, which shows whether its arrays belong together.

    Raises:
        ArtifactError: the prediction is not a finite number.
    """
    if not np.isfinite(predict(Table(names, np.ones((1, len(names)))))).all():
        raise ArtifactError("The stored model does not predict.", hint="Train the model again.")


def with_normal(table: Table, rows: Rows, normal: Floats) -> Table:
    """The table of `rows` with NORMAL_NAMES beside it.

    Args:
        normal: the normal load of each hour of the history's grid, on any scale; NaN where it is not known. Needed from
            REACH_HOURS before the first origin to the last target.

    Ratios of the load to the normal are told beside that of the week before the origin, less 1; where one is not known
    it is that of the other days. `load_normal` is the normal of the target as a share of the level, and
    `load_normal_followed` what that makes with the ratio of the last days at this hour.
    """
    start, load = rows.past.history.start, rows.past.history.load
    loads = running_sums(np.where(np.isfinite(normal), load, np.nan))
    # On a scale of thousands, since sums are kept in multiples of 1/1024
    normals = running_sums(np.where(np.isfinite(load), 1024 * normal, np.nan))
    ends, back = np.unique(rows.origins - start, return_inverse=True)

    def ratio(hours: int) -> Floats:
        return 1024 * window_mean(loads, ends, hours, 0.5) / window_mean(normals, ends, hours, 0.5)

    with np.errstate(invalid="ignore", divide="ignore"):
        week = ratio(168)
        week = np.where(np.isfinite(week) & (week > 0), week, ratio(672))
        names = [f"load_last_{hours}h_over_normal" for hours in _LAST_HOURS]
        names += [f"load_mean_{hours}h_over_normal" for hours in _MEAN_HOURS]
        late = {
            name: _filled(_bounded(ratio(hours) / week), 1.0)[back] - 1.0
            for name, hours in zip(names, _LAST_HOURS + _MEAN_HOURS, strict=True)
        }
        week = week[back]
        first = rows.first_known_day
        first_week = -(-first // 7)
        days = [first + i for i in range(DAY_LAGS)]
        days += [7 * (first_week + i) for i in _WEEKS]
        days.append(last_like_day(rows))
        stood = []
        for back_days in days:
            then = rows.days_before(back_days)
            own = normal[np.clip(then - start, 0, len(normal) - 1)]
            stood.append(_bounded(rows.past.load_at(then, rows.origins) / (own * week)))
        week_normal = rows.level / week
    same_hour = _mean_of_known(stood[:DAY_LAGS])
    names = [f"load_day_{i + 1}_over_normal" for i in range(DAY_LAGS)]
    names += [f"load_week_{i + 1}_over_normal" for i in _WEEKS]
    names.append("load_like_day_over_normal")
    columns = {
        **late,
        **{name: _filled(value, same_hour) - 1.0 for name, value in zip(names, stood, strict=True)},
        _SAME_HOUR: same_hour - 1.0,
        _WEEK_NORMAL: week_normal,
        NORMAL: normal[rows.position],
        _FOLLOWED: np.empty(len(rows)),
    }
    assert tuple(columns) == NORMAL_NAMES
    whole = Table(
        table.names + NORMAL_NAMES, np.concatenate([table.values, side_by_side(list(columns.values()))], axis=1)
    )
    return renewed(whole, normal[rows.position])


def renewed(table: Table, normal: Floats) -> Table:
    """The same table where the normals [n] of its targets are these: for a weather or calendar that was changed."""
    values = table.values.copy()
    usual = table["load_same_hour_mean"]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = normal / table[_WEEK_NORMAL]
    share = np.clip(_filled(share, usual), usual / _FARTHEST, usual * _FARTHEST)
    values[:, table.names.index(NORMAL)] = share
    values[:, table.names.index(_FOLLOWED)] = share * (1.0 + table[_SAME_HOUR])
    return Table(table.names, values)


def _bounded(ratio: Floats) -> Floats:
    return np.clip(ratio, 1 / _FARTHEST, _FARTHEST)


def _filled(values: Floats, other: Floats | float) -> Floats:
    return np.where(np.isfinite(values), values, other)


def _mean_of_known(values: list[Floats]) -> Floats:
    """Mean of what is known of each row, [n]; 1 where nothing is."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    return np.where(n > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(n, 1), 1.0)
