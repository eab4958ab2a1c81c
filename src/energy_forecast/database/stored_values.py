"""Read the stored values of the rows of a batch as arrays, so that the client can compare in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from energy_forecast.database.binary_copy import POSTGRES_EPOCH
from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries

# Marks a missing value; it is smaller than any stored value
ABSENT = -(2**62)
# Header of a binary array: dimensions, flags, type, length, lower bound. Each element is preceded by its size
_HEADER = 20
_ELEMENT = np.dtype([("size", ">i4"), ("value", ">i8")])


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
        cursor.execute(
            queries("staging")["stored_values"],
            {
                "numbers": numbers, "firsts": firsts, "lasts": lasts,
                "first": min(firsts), "last": max(lasts), "absent": ABSENT,
            },
        )  # fmt: skip
        result = cursor.pgresult
        assert result is not None
        # The driver would create an object for every element
        rows = [
            [result.get_value(row, place) or b"" for place in range(result.nfields)] for row in range(result.ntuples)
        ]
    counts = [(len(row[1]) - _HEADER) // _ELEMENT.itemsize for row in rows]
    cities = np.repeat(np.array([int.from_bytes(row[0], "big") for row in rows], np.int64), counts)
    columns = [
        np.concatenate([np.empty(0, np.int64), *(_elements(row[place]) for row in rows)])
        for place in range(1, value_count + 4)
    ]
    return StoredValues(cities, columns[1] + POSTGRES_EPOCH, columns[2] + POSTGRES_EPOCH, columns[3:], columns[0])


def _elements(array: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(array, _ELEMENT, offset=_HEADER)["value"].astype(np.int64)
