"""Conversion of time columns between UTC and local time. Every conversion of a column is here.

polars has built-in zone rules; these functions use the rules of `zones` instead. They are at least as fast: a binary
search in a table of the offsets of the zone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_forecast.zones import BEGINNING, CYCLE_SECONDS, FAR_END_YEAR, NEAR_END_YEAR, offsets

_Ints = npt.NDArray[np.int64]
_MICROS = 1_000_000
# One day before the tables end, so that local times are inside the tables too
_NEAR_END, _FAR_END = (
    int(np.datetime64(f"{year + 1}-01-01", "s").astype(np.int64) - 86_400) * _MICROS
    for year in (NEAR_END_YEAR, FAR_END_YEAR)
)
_CYCLE = CYCLE_SECONDS * _MICROS


def to_local(times: pl.Series, zone: str) -> pl.Series:
    """Return the local times of UTC times.

    Args:
        times: Datetime in UTC.
        zone: an IANA zone.

    Returns:
        Datetime("us") without zone; null where `times` is null.

    Raises:
        ZoneError: there is no such zone.
    """
    values = _values(times)
    changes, shifts, _, _ = _table(zone, far=_is_far(values))
    return _series(values + shifts[np.searchsorted(changes, _folded(values), side="right")], times, pl.Datetime("us"))


def to_utc(walls: pl.Series, zone: str) -> tuple[pl.Series, pl.Series]:
    """Return the UTC times of local times, each as a first and a second time.

    Both are equal for a local time that occurs once. For a skipped local time, the first is later than the second.

    Args:
        walls: Datetime without zone.
        zone: an IANA zone.

    Returns:
        Two columns, Datetime("us", "UTC"); null where `walls` is null.

    Raises:
        ZoneError: there is no such zone.
    """
    values = _values(walls)
    _, shifts, first_walls, second_walls = _table(zone, far=_is_far(values))
    folded = _folded(values)
    first, second = (
        _series(values - shifts[np.searchsorted(changes, folded, side="right")], walls, pl.Datetime("us", "UTC"))
        for changes in (first_walls, second_walls)
    )
    return first, second


def to_utc_first(walls: pl.Series, zone: str) -> pl.Series:
    """Return the first UTC time of each local time; null for a skipped local time."""
    first, second = to_utc(walls, zone)
    return pl.select(pl.when(first <= second).then(first)).to_series().alias(walls.name)


@lru_cache(maxsize=1024)
def _table(zone: str, *, far: bool) -> tuple[_Ints, _Ints, _Ints, _Ints]:
    """Return the changes of a zone in UTC, the offsets around them, and the changes in local time.

    At a change the clock moves from `change + offset before` to `change + offset after`. Local times between them occur
    twice or never. The larger value ends the first times, the smaller value begins the second times (PEP 495, fold).
    """
    known = offsets(zone, FAR_END_YEAR if far else NEAR_END_YEAR)
    assert known.starts[0] == BEGINNING
    changes = np.array(known.starts[1:], np.int64) * _MICROS
    shifts = np.array(known.seconds, np.int64) * _MICROS
    before, after = shifts[:-1], shifts[1:]
    return changes, shifts, changes + np.maximum(before, after), changes + np.minimum(before, after)


def _values(times: pl.Series) -> _Ints:
    values = times.dt.cast_time_unit("us").to_physical()
    return (values.fill_null(0) if values.null_count() else values).to_numpy()


def _series(values: _Ints, like: pl.Series, kind: pl.DataType) -> pl.Series:
    column = pl.Series(like.name, values).cast(kind)
    return column.set(like.is_null(), None) if like.null_count() else column


def _is_far(values: _Ints) -> bool:
    return bool(values.size) and int(values.max()) >= _NEAR_END


def _folded(values: _Ints) -> _Ints:
    """Return times inside the tables. A time after their end is moved back by whole cycles of 400 years."""
    if not values.size or int(values.max()) < _FAR_END:
        return values
    return np.where(values < _FAR_END, values, _FAR_END - _CYCLE + (values - _FAR_END) % _CYCLE)
