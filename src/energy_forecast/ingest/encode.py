"""Checked rows in PostgreSQL's binary COPY format, made column by column: the server need not parse them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import polars as pl

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
# Microseconds from 1970 to 2000, where PostgreSQL counts from
_EPOCH = 946_684_800_000_000
# A double of 12 digits, times a hundred, is off by less than this; nearer to a half the text has to decide
_UNSURE = 1e-3
_NULL = -1


def hundredths(text: pl.Series, number: pl.Series) -> pl.Series:
    """Numbers as whole hundredths, rounded half away from zero as NUMERIC(12,2) rounds the text.

    Args:
        text: the numbers as written, n rows; null or empty where there is none.
        number: the same as doubles, null where there is none; magnitudes below 1e10.

    Returns:
        n whole numbers, null where there is none.
    """
    scaled = np.nan_to_num(np.abs(number.to_numpy()) * 100)
    whole = np.floor(scaled + 0.5)
    unsure = np.abs(scaled + 0.5 - np.rint(scaled + 0.5)) < _UNSURE
    cents = np.where(np.signbit(number.to_numpy()), -whole, whole).astype(np.int64)
    places = np.flatnonzero(unsure)
    if len(places):
        cents[places] = [
            int((Decimal(written) * 100).to_integral_value(ROUND_HALF_UP)) if written else 0
            for written in text.gather(places).cast(pl.String)
        ]
    return pl.Series(number.name, cents).to_frame().select(pl.when(number.is_not_null()).then(pl.first())).to_series()


def encode(file_no: int, rows: pl.DataFrame, values: Sequence[str]) -> bytes:
    """Rows as one binary COPY: file_no, line, city_no, id, then the columns of `rows` from the third on.

    Ids are made here: a random UUID costs the server 4 microseconds, and half of an insert's time.

    Args:
        file_no: the file's number.
        rows: n rows: `line`, `city_no`, two moments, and value columns in hundredths.
        values: names of the value columns.
    """
    columns = [(name, rows[name]) for name in rows.columns[2:]]
    fixed: dict[str, np.ndarray[Any, Any]] = {
        "line": rows["line"].to_numpy(),
        "city_no": rows["city_no"].to_numpy(),
        "id": random_ids(rows.height),
    }
    pattern = np.zeros(rows.height, np.int64)
    for bit, (_, column) in enumerate(columns):
        if column.null_count():
            pattern |= column.is_null().to_numpy().astype(np.int64) << bit
    blocks = [_HEADER]
    # A null has no bytes, so rows with the same ones missing have the same length, and are laid out together
    for missing in np.unique(pattern):
        chosen = np.flatnonzero(pattern == missing)
        absent = {name for bit, (name, _) in enumerate(columns) if missing >> bit & 1}
        there = {
            name: None if name in absent else column.gather(chosen).to_physical().to_numpy() for name, column in columns
        }
        blocks.append(_records(file_no, {name: array[chosen] for name, array in fixed.items()}, there, values))
    return b"".join([*blocks, _TRAILER])


def _records(
    file_no: int,
    fixed: dict[str, np.ndarray[Any, Any]],
    columns: Mapping[str, np.ndarray[Any, Any] | None],
    values: Sequence[str],
) -> bytes:
    fields: list[tuple[Any, ...]] = [("count", ">i2")]
    fields += [("file_no:n", ">i4"), ("file_no", ">i4"), ("line:n", ">i4"), ("line", ">i8")]
    fields += [("city_no:n", ">i4"), ("city_no", ">i4"), ("id:n", ">i4"), ("id", "V16")]
    for name, array in columns.items():
        fields.append((f"{name}:n", ">i4"))
        if array is not None:
            # NUMERIC: number of digits to base 10,000, weight of the first, sign, decimals, then the digits
            fields.append((name, ">i2", (8,)) if name in values else (name, ">i8"))
    record = np.empty(len(fixed["line"]), np.dtype(fields))
    record["count"] = 4 + len(columns)
    record["file_no:n"], record["file_no"] = 4, file_no
    record["line:n"], record["line"] = 8, fixed["line"]
    record["city_no:n"], record["city_no"] = 4, fixed["city_no"]
    record["id:n"], record["id"] = 16, fixed["id"]
    for name, array in columns.items():
        if array is None:
            record[f"{name}:n"] = _NULL
        elif name in values:
            record[f"{name}:n"] = 16
            size = np.abs(array)
            units, rest = size // 100, size % 100
            numeric = record[name]
            numeric[:, 0], numeric[:, 1], numeric[:, 3] = 4, 2, 2
            numeric[:, 2] = np.where(array < 0, 0x4000, 0)
            numeric[:, 4], numeric[:, 5] = units // 100_000_000, units // 10_000 % 10_000
            numeric[:, 6], numeric[:, 7] = units % 10_000, rest * 100
        else:
            record[f"{name}:n"] = 8
            record[name] = array - _EPOCH
    return record.tobytes()


def random_ids(count: int) -> np.ndarray[Any, Any]:
    """UUIDs of version 4 in bulk, 16 bytes each."""
    ids = np.frombuffer(os.urandom(16 * count), np.uint8).reshape(count, 16).copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x40
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids.view("V16").reshape(count)
