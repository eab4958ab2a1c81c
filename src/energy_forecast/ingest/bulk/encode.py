"""Encode checked rows in PostgreSQL's binary COPY format, column by column, so that the server need not parse them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.database.binary_copy import HEADER, POSTGRES_EPOCH, TRAILER
from energy_forecast.ingest.datasets import INTERVAL

# A double of 12 digits, times a hundred, is off by less than this; nearer to a half, the text decides
_UNSURE = 1e-3
_NULL = -1


def hundredths(
    text: pl.Series, number: pl.Series, exactly: Callable[[int, Fraction], Fraction] | None = None
) -> pl.Series:
    """Convert numbers to whole hundredths, rounded half away from zero as NUMERIC(12,2) rounds the text.

    Args:
        text: the numbers as written, n rows; null or empty if missing.
        number: the same as doubles in the stored unit, null if missing; magnitudes below 1e10.
        exactly: converts a number as written to the stored unit, by its row; None if it is written in that unit.

    Returns:
        n whole numbers, null if missing.
    """
    scaled = np.nan_to_num(np.abs(number.to_numpy()) * 100)
    whole = np.floor(scaled + 0.5)
    unsure = np.abs(scaled + 0.5 - np.rint(scaled + 0.5)) < _UNSURE
    cents = np.where(np.signbit(number.to_numpy()), -whole, whole).astype(np.int64)
    places = np.flatnonzero(unsure)
    if len(places):
        written = text.gather(places).cast(pl.String)
        if exactly is None:
            cents[places] = [
                int((Decimal(number) * 100).to_integral_value(ROUND_HALF_UP)) if number else 0 for number in written
            ]
        else:
            cents[places] = [
                _rounded(exactly(int(place), Fraction(Decimal(number))) * 100) if number else 0
                for place, number in zip(places, written, strict=True)
            ]
    return pl.Series(number.name, cents).to_frame().select(pl.when(number.is_not_null()).then(pl.first())).to_series()


def _rounded(number: Fraction) -> int:
    """Round half away from zero."""
    size = math.floor(abs(number) + Fraction(1, 2))
    return size if number >= 0 else -size


@dataclass(frozen=True)
class Field:
    """A column of a COPY.

    Args:
        kind: uuid, hundredths (of a NUMERIC), moment, or a whole number with its size in bytes: i2, i4, i8.
        values: n values: 16 bytes each, whole numbers, or microseconds since 1970; or one for all rows.
        missing: True for each missing value; None if no value is missing.
    """

    kind: str
    values: np.ndarray[Any, Any] | int
    missing: np.ndarray[Any, Any] | None = None


def field_of(column: pl.Series, kind: str) -> Field:
    """Return a column of a frame as a field; nulls are missing."""
    missing = column.is_null().to_numpy() if column.null_count() else None
    whole = column if missing is None else column.to_physical().fill_null(0)
    return Field(kind, whole.to_physical().to_numpy(), missing)


def staged_rows(file_no: int, rows: pl.DataFrame, values: Sequence[str]) -> bytes:
    """Encode rows as one COPY into `staged`: file_no, line, city_no, id, then the columns of `rows` from the third on.

    Ids are generated here: a random UUID costs the server 4 microseconds, half the time of an insert.

    Args:
        file_no: the file's number.
        rows: n rows: `line`, `city_no`, two times, minutes of the interval for datasets that have one, and value
            columns in hundredths.
        values: names of the value columns.
    """
    fields = [
        Field("i4", file_no),
        field_of(rows["line"], "i8"),
        field_of(rows["city_no"], "i4"),
        Field("uuid", random_ids(rows.height)),
        *(field_of(rows[name], _kind_of(name, values)) for name in rows.columns[2:]),
    ]
    return binary_copy(fields, rows.height)


def _kind_of(name: str, values: Sequence[str]) -> str:
    if name in values:
        return "hundredths"
    return "i2" if name == INTERVAL else "moment"


def binary_copy(fields: Sequence[Field], height: int) -> bytes:
    """Encode `height` rows as one binary COPY."""
    pattern = np.zeros(height, np.int64)
    for bit, field in enumerate(fields):
        if field.missing is not None:
            pattern |= field.missing.astype(np.int64) << bit
    blocks = [HEADER]
    # A null has no bytes, so rows with the same missing fields have the same length, and are encoded together
    patterns = np.unique(pattern)
    for missing in patterns:
        chosen = slice(None) if len(patterns) == 1 else np.flatnonzero(pattern == missing)
        there = [
            (field.kind, field.values if isinstance(field.values, int) else field.values[chosen])
            if not missing >> bit & 1 else None
            for bit, field in enumerate(fields)
        ]  # fmt: skip
        blocks.append(_records(there, height if len(patterns) == 1 else len(pattern[chosen])))
    return b"".join([*blocks, TRAILER])


# Bytes of a value and their layout, by kind. NUMERIC: number of digits to base 10,000, weight of the first, sign,
# decimals, then the digits
_LAYOUT: dict[str, tuple[int, tuple[Any, ...]]] = {
    "i2": (2, (">i2",)),
    "i4": (4, (">i4",)),
    "i8": (8, (">i8",)),
    "moment": (8, (">i8",)),
    "uuid": (16, ("V16",)),
    "hundredths": (16, (">i2", (8,))),
}


def _records(fields: Sequence[tuple[str, np.ndarray[Any, Any] | int] | None], height: int) -> bytes:
    layout: list[tuple[Any, ...]] = [("count", ">i2")]
    for place, field in enumerate(fields):
        layout.append((f"size {place}", ">i4"))
        if field is not None:
            layout.append((f"value {place}", *_LAYOUT[field[0]][1]))
    record = np.empty(height, np.dtype(layout))
    record["count"] = len(fields)
    for place, field in enumerate(fields):
        if field is None:
            record[f"size {place}"] = _NULL
            continue
        kind, values = field
        record[f"size {place}"] = _LAYOUT[kind][0]
        if kind == "hundredths":
            size = np.abs(values)
            units, rest = size // 100, size % 100
            numeric = record[f"value {place}"]
            numeric[:, 0], numeric[:, 1], numeric[:, 3] = 4, 2, 2
            numeric[:, 2] = np.where(np.less(values, 0), 0x4000, 0)
            numeric[:, 4], numeric[:, 5] = units // 100_000_000, units // 10_000 % 10_000
            numeric[:, 6], numeric[:, 7] = units % 10_000, rest * 100
        else:
            record[f"value {place}"] = values - POSTGRES_EPOCH if kind == "moment" else values
    return record.tobytes()


def random_ids(count: int) -> np.ndarray[Any, Any]:
    """Generate UUIDs of version 4, 16 bytes each."""
    ids = np.frombuffer(os.urandom(16 * count), np.uint8).reshape(count, 16).copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x40
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids.view("V16").reshape(count)
