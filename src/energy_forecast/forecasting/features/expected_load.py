"""Features of the load relative to its expected load, which depends on calendar and weather only.

Yesterday's load at another temperature is a weak predictor of today's. Its ratio to the load that yesterday's weather
and calendar explain is a strong one. models/expected_load.py fits the expected load. This module adds the ratios before
the origin to the feature matrix.
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
    FeatureMatrix,
    feature_matrix,
    last_like_day,
    single_columns,
)
from energy_forecast.forecasting.features.samples import HistoryView, Samples, running_sums, window_mean
from energy_forecast.forecasting.types import City, Floats

EXPECTED_LOAD = "load_normal"
_EXPECTED_WEEK = "load_normal_of_week"
_EXPECTED_TIMES_RATIO = "load_normal_followed"
_SAME_HOUR_RATIO = "load_same_hour_over_normal"
_LAST_HOURS = (1, 3, 6, 24)
_MEAN_HOURS = (72, 672)
_FARTHEST = 3.0
# The last known week is one of the last known days already
_WEEKS = range(1, WEEK_LAGS)
EXPECTED_LOAD_FEATURES = (
    *(f"load_last_{hours}h_over_normal" for hours in _LAST_HOURS),
    *(f"load_mean_{hours}h_over_normal" for hours in _MEAN_HOURS),
    *(f"load_day_{i + 1}_over_normal" for i in range(DAY_LAGS)),
    *(f"load_week_{i + 1}_over_normal" for i in _WEEKS),
    "load_like_day_over_normal",
    _SAME_HOUR_RATIO,
    _EXPECTED_WEEK,
    EXPECTED_LOAD,
    _EXPECTED_TIMES_RATIO,
)
# The oldest lookup before an origin: the fifth week before a target that is 8 days ahead
REACH_HOURS = 24 * 36


@lru_cache
def feature_names(*, weather: bool) -> tuple[str, ...]:
    """Return the names of the columns of `feature_matrix` in their order."""
    none = pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC")})
    history = build_history(none, none, none, issued_at=datetime(2000, 1, 1, tzinfo=UTC), days=None)
    hour = np.array([history.known_until])
    return feature_matrix(Samples(HistoryView(City("", 0.0, 0.0, "UTC"), history), hour, hour), weather=weather).names


@lru_cache
def feature_digest() -> str:
    """Return a digest of all feature names in their order. A model with another digest cannot be read."""
    return hashlib.sha256("\n".join(feature_names(weather=True) + EXPECTED_LOAD_FEATURES).encode()).hexdigest()[:16]


def check_prediction(predict: Callable[[FeatureMatrix], Floats], names: tuple[str, ...]) -> None:
    """Predict one row of features with a stored model, to check that its arrays fit together.

    Raises:
        ArtifactError: the prediction is not a finite number.
    """
    if not np.isfinite(predict(FeatureMatrix(names, np.ones((1, len(names)))))).all():
        raise ArtifactError("The stored model does not predict.")


def with_expected_load(matrix: FeatureMatrix, samples: Samples, expected_load: Floats) -> FeatureMatrix:
    """Return the matrix of `samples` with the columns EXPECTED_LOAD_FEATURES added.

    Ratios of the load to the expected load are relative to the ratio of the week before the origin, less 1. An unknown
    ratio is replaced by the mean ratio of the other days. `load_normal` is the expected load of the target as a share
    of the level, and `load_normal_followed` its product with the ratio of the last days at this hour.

    Args:
        expected_load: the value of each hour of the history's grid, on any scale; NaN where unknown. Required from
            REACH_HOURS before the first origin to the last target.
    """
    start, load = samples.view.history.start, samples.view.history.load
    loads = running_sums(np.where(np.isfinite(expected_load), load, np.nan))
    # Times 1024, since sums are rounded to multiples of 1/1024
    expected_loads = running_sums(np.where(np.isfinite(load), 1024 * expected_load, np.nan))
    ends, back = np.unique(samples.origins - start, return_inverse=True)

    def ratio(hours: int) -> Floats:
        return 1024 * window_mean(loads, ends, hours, 0.5) / window_mean(expected_loads, ends, hours, 0.5)

    with np.errstate(invalid="ignore", divide="ignore"):
        week = ratio(168)
        week = np.where(np.isfinite(week) & (week > 0), week, ratio(672))
        names = [f"load_last_{hours}h_over_normal" for hours in _LAST_HOURS]
        names += [f"load_mean_{hours}h_over_normal" for hours in _MEAN_HOURS]
        recent = {
            name: _filled(_bounded(ratio(hours) / week), 1.0)[back] - 1.0
            for name, hours in zip(names, _LAST_HOURS + _MEAN_HOURS, strict=True)
        }
        week = week[back]
        first = samples.first_known_day
        first_week = -(-first // 7)
        days = [first + i for i in range(DAY_LAGS)]
        days += [7 * (first_week + i) for i in _WEEKS]
        days.append(last_like_day(samples))
        ratios = []
        for lag in days:
            then = samples.days_before(lag)
            own = expected_load[np.clip(then - start, 0, len(expected_load) - 1)]
            ratios.append(_bounded(samples.view.load_at(then, samples.origins) / (own * week)))
        expected_week = samples.level / week
    same_hour = _mean_of_known(ratios[:DAY_LAGS])
    names = [f"load_day_{i + 1}_over_normal" for i in range(DAY_LAGS)]
    names += [f"load_week_{i + 1}_over_normal" for i in _WEEKS]
    names.append("load_like_day_over_normal")
    columns = {
        **recent,
        **{name: _filled(value, same_hour) - 1.0 for name, value in zip(names, ratios, strict=True)},
        _SAME_HOUR_RATIO: same_hour - 1.0,
        _EXPECTED_WEEK: expected_week,
        EXPECTED_LOAD: expected_load[samples.position],
        _EXPECTED_TIMES_RATIO: np.empty(len(samples)),
    }
    assert tuple(columns) == EXPECTED_LOAD_FEATURES
    whole = FeatureMatrix(
        matrix.names + EXPECTED_LOAD_FEATURES,
        np.concatenate([matrix.values, single_columns(list(columns.values()))], axis=1),
    )
    return with_target_expected_load(whole, expected_load[samples.position])


def with_target_expected_load(matrix: FeatureMatrix, expected_load: Floats) -> FeatureMatrix:
    """Return the matrix with another expected load [n] of its targets, for a changed weather or calendar."""
    values = matrix.values.copy()
    same_hour = matrix["load_same_hour_mean"]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = expected_load / matrix[_EXPECTED_WEEK]
    share = np.clip(_filled(share, same_hour), same_hour / _FARTHEST, same_hour * _FARTHEST)
    values[:, matrix.names.index(EXPECTED_LOAD)] = share
    values[:, matrix.names.index(_EXPECTED_TIMES_RATIO)] = share * (1.0 + matrix[_SAME_HOUR_RATIO])
    return FeatureMatrix(matrix.names, values)


def _bounded(ratio: Floats) -> Floats:
    return np.clip(ratio, 1 / _FARTHEST, _FARTHEST)


def _filled(values: Floats, other: Floats | float) -> Floats:
    return np.where(np.isfinite(values), values, other)


def _mean_of_known(values: list[Floats]) -> Floats:
    """Return the mean of the known values of each sample, [n]; 1 if none is known."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    return np.where(n > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(n, 1), 1.0)
