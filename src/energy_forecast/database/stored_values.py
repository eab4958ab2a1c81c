"""Read the stored values of the rows of a batch as arrays, so that the client can compare in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries
from energy_forecast.database.wire import decode

# Marks a missing value; it is smaller than any stored value
ABSENT = -(2**62)


@dataclass(frozen=True)
class StoredValues:
    """n stored values.

    Args:
        cities: the numbers of their cities.
        times: microseconds since 1970.
        available: microseconds since 1970 at which the values became available.
        values: for each value column, integer hundredths, ABSENT for null.
        minutes: lengths of their intervals.
    """

    cities: np.ndarray[Any, Any]
    times: np.ndarray[Any, Any]
    available: np.ndarray[Any, Any]
    values: Sequence[np.ndarray[Any, Any]]
    minutes: np.ndarray[Any, Any]


def stored_values(
    connection: Connection, spans: Sequence[tuple[int, datetime, datetime]], value_count: int
) -> StoredValues:
    """Return the stored values within time spans of some cities.

    Args:
        connection: a connection on which a batch has created its views.
        spans: number of a city as in `staged_cities`, first and last timestamp; at least one.
        value_count: number of value columns.
    """
    numbers, firsts, lasts = (list(column) for column in zip(*spans, strict=True))
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(
            queries("staging")["stored_values"],
            {
                "numbers": numbers, "firsts": firsts, "lasts": lasts,
                "first": min(firsts), "last": max(lasts), "absent": ABSENT,
            },
        ).fetchall()  # fmt: skip
    kinds = ("int2", "timestamptz", "timestamptz", *("int8",) * value_count)
    decoded = [[decode(part, kind) for part, kind in zip(row[1:], kinds, strict=False)] for row in rows]
    cities = np.repeat(np.array([row[0] for row in rows], np.int64), [len(columns[0]) for columns in decoded])
    none = [np.empty(0, np.int64)] * len(kinds)
    minutes, times, available, *values = (np.concatenate(parts) for parts in zip(none, *decoded, strict=True))
    return StoredValues(cities, times, available, values, minutes)
