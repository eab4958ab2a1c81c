"""What is stored already of the rows that a load reads: fetched in long arrays, so that the client compares in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries

# Stands for a value that is not stored; no value is as small
ABSENT = -(2**62)
# Microseconds from 1970 to 2000, where PostgreSQL counts from
_EPOCH = 946_684_800_000_000
# Of a binary array: dimensions, flags, type; then length and lower bound. Each element has its size before it
_HEADER = 20
_ELEMENT = np.dtype([("size", ">i4"), ("value", ">i8")])


@dataclass(frozen=True)
class KnownValues:
    """Stored values, n of them.

    Args:
        cities: the numbers of their cities.
        times: microseconds since 1970.
        available: microseconds since 1970 at which the values were available.
        values: by value column whole hundredths, ABSENT where there is none.
        minutes: of their intervals.
    """

    cities: np.ndarray[Any, Any]
    times: np.ndarray[Any, Any]
    available: np.ndarray[Any, Any]
    values: Sequence[np.ndarray[Any, Any]]
    minutes: np.ndarray[Any, Any]


def known_values(
    connection: Connection, spans: Sequence[tuple[int, datetime, datetime]], value_count: int
) -> KnownValues:
    """What is stored within spans of time of some cities.

    Args:
        connection: one on which a load has made its views.
        spans: number of a city as in `staged_cities`, first and last timestamp; at least one.
        value_count: how many value columns there are.
    """
    numbers, firsts, lasts = (list(column) for column in zip(*spans, strict=True))
    with connection.cursor(binary=True) as cursor:
        cursor.execute(
            queries("ingest")["known_values"],
            {
                "numbers": numbers, "firsts": firsts, "lasts": lasts,
                "first": min(firsts), "last": max(lasts), "absent": ABSENT,
            },
        )  # fmt: skip
        result = cursor.pgresult
        assert result is not None
        # The driver would make an object of every element
        rows = [
            [result.get_value(row, place) or b"" for place in range(result.nfields)] for row in range(result.ntuples)
        ]
    counts = [(len(row[1]) - _HEADER) // _ELEMENT.itemsize for row in rows]
    cities = np.repeat(np.array([int.from_bytes(row[0], "big") for row in rows], np.int64), counts)
    columns = [
        np.concatenate([np.empty(0, np.int64), *(_elements(row[place]) for row in rows)])
        for place in range(1, value_count + 4)
    ]
    return KnownValues(cities, columns[1] + _EPOCH, columns[2] + _EPOCH, columns[3:], columns[0])


def _elements(array: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(array, _ELEMENT, offset=_HEADER)["value"].astype(np.int64)
