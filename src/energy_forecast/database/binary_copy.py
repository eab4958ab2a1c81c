"""Encode rows in PostgreSQL's binary COPY format, column by column, so that numbers never become text."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

# Microseconds from 1970 to 2000, the epoch of PostgreSQL's timestamps
POSTGRES_EPOCH = 946_684_800_000_000
_FLOAT8 = 701
_NULL = -1


def moments(microseconds: Array) -> Array:
    """Encode timestamps [n], microseconds since 1970, as a timestamptz column."""
    return (microseconds - POSTGRES_EPOCH).astype(">i8")


def doubles(values: Array) -> Array:
    """Encode numbers [n] as a double precision column."""
    return values.astype(">f8")


def double_arrays(values: Array) -> Array:
    """Encode numbers [n, p] as a double precision[] column."""
    rows, count = values.shape
    kind = np.dtype([("size", ">i4"), ("value", ">f8")])
    made = np.empty(rows, [("head", ">i4", 5), ("elements", kind, count)])
    # Number of dimensions, has nulls, element type, length, lower bound
    made["head"] = (1, 0, _FLOAT8, count, 1)
    made["elements"]["size"] = 8
    made["elements"]["value"] = values
    return made


def rows(constants: Sequence[UUID | int], columns: Sequence[Array], last: Sequence[bytes] | None) -> bytes:
    """Return n encoded rows: constants, then columns of fixed size, then one column of variable size.

    Args:
        constants: values common to all rows: UUIDs, or timestamps as microseconds since 1970.
        columns: columns [n], encoded by the functions above.
        last: n values in the binary form of their type; None if all are null.
    """
    fixed: Mapping[str, Array] = {
        **{f"constant {place}": _constant(value) for place, value in enumerate(constants)},
        **{f"column {place}": column for place, column in enumerate(columns)},
    }
    fields: list[tuple[Any, ...]] = [("count", ">i2")]
    for name, column in fixed.items():
        fields += [(f"size of {name}", ">i4"), (name, column.dtype)]
    fields.append(("size of last", ">i4"))
    record = np.empty(len(columns[0]), fields)
    record["count"] = len(fixed) + 1
    for name, column in fixed.items():
        record[f"size of {name}"] = column.dtype.itemsize
        record[name] = column
    if last is None:
        record["size of last"] = _NULL
        return record.tobytes()
    record["size of last"] = [len(value) for value in last]
    laid, size = record.tobytes(), record.dtype.itemsize
    return b"".join(
        part for place, value in enumerate(last) for part in (laid[place * size : (place + 1) * size], value)
    )


def _constant(value: UUID | int) -> Array:
    if isinstance(value, UUID):
        return np.frombuffer(value.bytes, "V16")
    return np.frombuffer(struct.pack(">q", value - POSTGRES_EPOCH), ">i8")
