"""Find rows that equal the stored ones, such as most rows of a file that is loaded again. They are not staged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.database.stored_values import ABSENT, StoredValues
from energy_forecast.ingest.datasets import INTERVAL

# The upper bits hold the city's number, the lower ones minutes since 1970
_SHIFT = 40
_MINUTE = 60_000_000


def is_changed(rows: pl.DataFrame, names: Sequence[str], known: StoredValues, minutes: int | None) -> pl.Series:
    """Return whether each row is new, differs from the stored one, or was available earlier. Empty fields never differ.

    Args:
        rows: n checked rows: city_no, timestamp on a whole minute, available_at and minutes of the interval (both null
            if not stated), and value columns in hundredths.
        names: the value columns.
        known: the stored values of these cities and times.
        minutes: length of the interval if the user gave it; a row stored with another length counts as changed.

    Returns:
        n booleans.
    """
    stored = _keys(known.cities, known.times)
    order = np.argsort(stored, kind="stable")
    stored = stored[order]
    wanted = _keys(rows["city_no"].to_numpy().astype(np.int64), rows["timestamp"].to_physical().to_numpy())
    place = np.minimum(np.searchsorted(stored, wanted), max(len(stored) - 1, 0))
    if not len(stored):
        return pl.repeat(True, rows.height, eager=True)
    same = stored[place] == wanted
    place = order[place]
    for name, values in zip(names, known.values, strict=True):
        said = rows[name].fill_null(ABSENT).to_numpy()
        same &= (said == ABSENT) | (said == values[place])
    claimed = rows["available_at"].to_physical()
    same &= (claimed.is_null() | (claimed >= pl.Series(known.available[place]))).to_numpy()
    length = rows[INTERVAL].cast(pl.Int64).fill_null(minutes or ABSENT).to_numpy()
    same &= (length == ABSENT) | (length == known.minutes[place])
    return pl.Series(~same)


def _keys(cities: np.ndarray[Any, Any], times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    keys: np.ndarray[Any, Any] = (cities << _SHIFT) + times // _MINUTE
    return keys
