"""The way in which the rows of a batch reach their table, and the transfer of the rows on it.

Rows of months without a partition are copied straight into new tables, which become partitions at the end. There are no
stored rows to compare them with, and copying them takes half the time of staging and inserting. All other rows are
staged; in a large batch without those that equal the stored ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import polars as pl

from energy_forecast.database.connection import Connection
from energy_forecast.database.judging import Intervals
from energy_forecast.database.staging import LoadTarget, Staged, begin_months, copy_month, copy_rejected, copy_rows
from energy_forecast.database.stored_values import ABSENT, StoredValues, stored_values
from energy_forecast.database.wire import Array, Field, encode_copy, field_of, random_ids
from energy_forecast.ingest.bulk.coverage import Coverage, time_keys
from energy_forecast.ingest.datasets import INTERVAL
from energy_forecast.ingest.readers.source import one_ahead
from energy_forecast.ingest.reading import Spool

if TYPE_CHECKING:
    from energy_forecast.ingest.bulk.early import EarlyRows

# With fewer rows, new months cost more than they save
PARTITION_LOAD_ROWS = 100_000
# To fetch a stored row costs a third of staging a row and finding its stored one
_MOST_STORED = 3
# If at most one row in 10 was staged, looking up each key is cheaper than reading all stored rows
_FEW = 10


class MustStageError(Exception):
    """Rows were copied into new months early, but all rows of the batch must be staged."""


@dataclass(frozen=True)
class LoadStrategy:
    """How the rows of a batch reach their table. It is chosen once, when all rows are known.

    Args:
        months: the tables in ops of months whose rows are copied there, by month. Other rows are staged.
        skips_unchanged: whether rows that equal the stored ones are not staged.
        sent: numbers of the pieces whose rows of these months were copied early.
        finished: numbers of those pieces that have no other rows.
        inserted: number of rows copied early.
    """

    months: Mapping[datetime, str] = field(default_factory=dict)
    skips_unchanged: bool = False
    sent: Collection[int] = ()
    finished: Collection[int] = ()
    inserted: int = 0


@dataclass(frozen=True)
class Sent:
    """The rows that were sent to the server.

    Args:
        staged: the staged rows.
        inserted: number of rows copied into new months, early or now.
    """

    staged: Staged
    inserted: int


def choose_strategy(
    connection: Connection,
    target: LoadTarget,
    coverage: Coverage,
    intervals: Intervals,
    early: EarlyRows | None = None,
) -> LoadStrategy:
    """Choose the strategy of a batch, and create the tables of its new months.

    If rows may have to be rejected or combined, all of them are staged, to be judged together.

    Args:
        early: the rows that this transaction has copied already.

    Raises:
        MustStageError: they must be staged.
    """
    is_plain = coverage.is_unique and not intervals.rejects_rows
    is_large = target.corrects and is_plain and coverage.row_count >= PARTITION_LOAD_ROWS
    if early is None:
        months = begin_months(connection, target, coverage.months) if is_large else None
        return LoadStrategy(months or {}, skips_unchanged=is_large)
    if not is_large or any(intervals.minutes[city] != minutes for city, minutes in early.minutes.items()):
        raise MustStageError
    begun = begin_months(connection, target, [m for m in coverage.months if m not in early.months], len(early.months))
    if begun is None:
        raise MustStageError
    return LoadStrategy(
        early.months | begun,
        skips_unchanged=True,
        sent=early.sent,
        finished=early.finished,
        inserted=early.row_count,
    )


def send_rows(
    connection: Connection,
    target: LoadTarget,
    spool: Spool,
    strategy: LoadStrategy,
    intervals: Intervals,
    cities: Sequence[UUID],
    progress: Callable[[int], None],
) -> Sent:
    """Send all rows of a batch, and its rejected rows.

    Args:
        cities: the ids of the cities by number.
        progress: called with the number of rows sent.
    """
    copy_rejected(connection, spool.rejected())
    names = list(target.values)
    months: set[datetime] = set()
    bounds: list[datetime] = []
    staged, inserted, total = 0, strategy.inserted, strategy.inserted
    for piece in one_ahead(_pieces(target, spool, strategy, intervals, cities)):
        for table, data in piece.months:
            inserted += copy_month(connection, target, table, data)
        rows = piece.rows
        if strategy.skips_unchanged and (near := _near(rows)):
            known = stored_values(connection, near, len(names))
            rows = rows.filter(_is_changed(rows, names, known, intervals.given))
        if rows.height:
            months.update(rows["month"].unique())
            bounds += rows.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).row(0)
            copy_rows(connection, target, _staged_rows(piece.file_no, rows.drop("month", "minutes"), names))
        staged += rows.height
        total += piece.row_count
        progress(total)
    is_fraction = strategy.skips_unchanged and staged * _FEW <= total
    return Sent(
        Staged(staged, sorted(months), min(bounds, default=None), max(bounds, default=None), is_fraction), inserted
    )


@dataclass(frozen=True)
class _Piece:
    """Rows of a file, ready to be sent: those to stage, those of new months as COPY by table, and the number of all."""

    file_no: int
    rows: pl.DataFrame
    months: list[tuple[str, bytes]]
    row_count: int


def _pieces(
    target: LoadTarget, spool: Spool, strategy: LoadStrategy, intervals: Intervals, cities: Sequence[UUID]
) -> Iterator[_Piece]:
    ids = np.frombuffer(b"".join(city.bytes for city in cities), "V16")
    for number, file_no, piece in spool.pieces(strategy.finished):
        rows = with_month(piece, intervals.minutes if target.corrects else None)
        months: list[tuple[str, bytes]] = []
        if number in strategy.sent:
            rows = rows.filter(~pl.col("month").is_in(list(strategy.months)))
            row_count = rows.height
        else:
            row_count = rows.height
            rows, months = month_rows(target, rows, strategy.months, ids)
        yield _Piece(file_no, rows, months, row_count)


def with_month(rows: pl.DataFrame, minutes: Mapping[int, int] | None) -> pl.DataFrame:
    """Return rows with their UTC month and the `minutes` of their interval.

    Args:
        minutes: by number of the city, for rows that do not state theirs; None for rows without intervals.
    """
    rows = rows.with_columns(pl.col("timestamp").dt.truncate("1mo").alias("month"))
    if minutes is None:
        return rows.with_columns(pl.lit(None, pl.Int16).alias("minutes"))
    lengths = pl.DataFrame(
        {"city_no": list(minutes), "minutes": list(minutes.values())},
        schema={"city_no": pl.UInt32, "minutes": pl.Int16},
    )
    rows = rows.join(lengths, on="city_no", how="left", maintain_order="left")
    return rows.with_columns(pl.coalesce(INTERVAL, "minutes").alias("minutes"))


def month_rows(
    target: LoadTarget, rows: pl.DataFrame, months: Mapping[datetime, str], cities: Array
) -> tuple[pl.DataFrame, list[tuple[str, bytes]]]:
    """Return the rows of other months, and the COPY data of those of new months, each with its table in ops.

    Args:
        rows: checked rows, as returned by `with_month`.
        months: the tables of the new months.
        cities: ids by city number, 16 bytes each.
    """
    is_new = rows["month"].is_in(list(months))
    if not is_new.any():
        return rows, []
    # Each piece is sorted by the key, so that reads by key find neighbouring rows together
    parts = rows.filter(is_new).sort("month", "city_no", "timestamp").partition_by("month", maintain_order=True)
    return rows.filter(~is_new), [
        (months[part["month"][0]], _month_rows(part, list(target.values), cities)) for part in parts
    ]


def _near(rows: pl.DataFrame) -> list[tuple[int, datetime, datetime]]:
    """Return city, first and last timestamp of rows if the stored rows between can be about as many; else nothing.

    A piece of a file in random order spans all stored rows.
    """
    if not rows.height:
        return []
    found = rows.group_by("city_no").agg(
        pl.min("timestamp").alias("first"), pl.max("timestamp").alias("last"), pl.min("minutes")
    )
    stored = ((pl.col("last") - pl.col("first")).dt.total_minutes() // pl.col("minutes")).sum()
    few = found.select(stored).item() <= _MOST_STORED * rows.height
    return found.drop("minutes").rows() if few else []


def _is_changed(rows: pl.DataFrame, names: Sequence[str], known: StoredValues, minutes: int | None) -> pl.Series:
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
    stored = time_keys(known.cities, known.times)
    order = np.argsort(stored, kind="stable")
    stored = stored[order]
    wanted = time_keys(rows["city_no"].to_numpy().astype(np.int64), rows["timestamp"].to_physical().to_numpy())
    place = np.minimum(np.searchsorted(stored, wanted), max(len(stored) - 1, 0))
    if not len(stored):
        return pl.repeat(True, rows.height, eager=True)
    same = stored[place] == wanted
    place = order[place]
    for name, values in zip(names, known.values, strict=True):
        new = rows[name].fill_null(ABSENT).to_numpy()
        same &= (new == ABSENT) | (new == values[place])
    claimed = rows["available_at"].to_physical()
    same &= (claimed.is_null() | (claimed >= pl.Series(known.available[place]))).to_numpy()
    length = rows[INTERVAL].cast(pl.Int64).fill_null(minutes or ABSENT).to_numpy()
    same &= (length == ABSENT) | (length == known.minutes[place])
    return pl.Series(~same)


def _staged_rows(file_no: int, rows: pl.DataFrame, values: Sequence[str]) -> bytes:
    """Encode rows as one COPY into `staged`: file_no, line, city_no, id, then the columns of `rows` from the third on.

    Ids are generated here: a random UUID costs the server 4 microseconds, half the time of an insert.

    Args:
        file_no: the file's number.
        rows: n rows: `line`, `city_no`, two times, minutes of the interval for datasets that have one, and value
            columns in hundredths.
        values: names of the value columns.
    """
    fields = [
        Field("int4", file_no),
        field_of(rows["line"], "int8"),
        field_of(rows["city_no"], "int4"),
        Field("uuid", random_ids(rows.height)),
        *(field_of(rows[name], _kind_of(name, values)) for name in rows.columns[2:]),
    ]
    return encode_copy(fields, rows.height)


def _month_rows(rows: pl.DataFrame, values: Sequence[str], cities: Array) -> bytes:
    """Encode rows as one COPY into the table of a month: id, city, timestamp, values, available_at, minutes.

    Args:
        rows: n rows as for `_staged_rows`, with `minutes`, the length of each interval.
        values: names of the value columns.
        cities: ids by city number, 16 bytes each.
    """
    minutes = rows["minutes"].to_numpy()
    ends = pl.Series(rows["timestamp"].to_physical().to_numpy() + minutes.astype(np.int64) * 60_000_000)
    fields = [
        Field("uuid", random_ids(rows.height)),
        Field("uuid", cities[rows["city_no"].to_numpy()]),
        field_of(rows["timestamp"], "timestamptz"),
        *(field_of(rows[name], "numeric") for name in values),
        # Without available_at a value counts as available when its interval has ended
        Field("timestamptz", rows["available_at"].to_physical().fill_null(ends).to_numpy()),
        Field("int2", minutes),
    ]
    return encode_copy(fields, rows.height)


def _kind_of(name: str, values: Sequence[str]) -> str:
    if name in values:
        return "numeric"
    return "int2" if name == INTERVAL else "timestamptz"
