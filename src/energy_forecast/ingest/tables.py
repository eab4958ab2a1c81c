"""Parquet files and frames in memory: typed columns, turned into the text that a CSV file would hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from energy_forecast.errors import IngestError
from energy_forecast.ingest.files import BROKEN_SCHEMA, Piece, find_columns

_ROWS_AT_ONCE = 200_000


def text_of(file: str, column: pl.Series) -> pl.Series:
    """A column as the text of a CSV file: a moment of a time zone with Z, a moment of none without.

    Numbers become the shortest text that reads back as the same number, so they round as people expect.

    Raises:
        IngestError: cells of this type cannot be a city, a moment or a number.
    """
    match column.dtype:
        case pl.String:
            return column
        case pl.Datetime() as kind if kind.time_zone is not None:
            moments = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.String)
            return (moments.to_frame().select(pl.first() + "Z")).to_series()
        case kind if kind.is_nested() or kind in (pl.Binary, pl.Object, pl.Duration, pl.Time):
            raise IngestError(
                f"{file}: column {column.name} is of type {kind}, which is neither text, number nor time.",
                hint="Write it as text, number or timestamp.",
            )
        case _:
            return column.cast(pl.String)


def as_text(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a piece with every cell as text."""
    return rows.with_columns(text_of("", column) for column in rows.drop("line").iter_columns())


class FrameSource:
    """A frame in memory."""

    def __init__(self, frame: pl.DataFrame, name: str, required: Sequence[str], optional: Sequence[str]) -> None:
        found = find_columns(name, frame.columns, required, optional)
        self.name = name
        self.columns = tuple(found.places)
        self.ignored = found.ignored
        self.size = self.row_estimate = frame.height
        self.facts: Mapping[str, Any] = {"name": name, "rows": frame.height}
        self._frame = frame.select(pl.nth(place).alias(column) for column, place in found.places.items())

    def pieces(self) -> Iterator[Piece]:
        """The rows in pieces; the first row is line 1."""
        for start in range(0, self.size, _ROWS_AT_ONCE):
            yield _piece(self.name, self._frame.slice(start, _ROWS_AT_ONCE), start)


class ParquetSource:
    """A Parquet file. Memory is bounded by its largest row group."""

    def __init__(self, path: Path, facts: Mapping[str, Any], required: Sequence[str], optional: Sequence[str]) -> None:
        self.name = str(facts["name"])
        self.facts = facts
        try:
            self._scan = pl.scan_parquet(path, glob=False)
            names = self._scan.collect_schema().names()
            self.size = self.row_estimate = int(self._scan.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise self._damaged(error) from error
        found = find_columns(self.name, names, required, optional)
        self.columns = tuple(found.places)
        self.ignored = found.ignored
        self._scan = self._scan.select(pl.col(names[place]).alias(column) for column, place in found.places.items())

    def _damaged(self, error: BaseException) -> IngestError:
        words = str(error).strip().splitlines() or ["unknown fault"]
        return IngestError(
            f"{self.name}: not a whole Parquet file ({words[0][:120]}).", hint="Write it anew; nothing was loaded."
        )

    def pieces(self) -> Iterator[Piece]:
        """The rows in pieces; the first row is line 1."""
        for start in range(0, self.size, _ROWS_AT_ONCE):
            try:
                frame = self._scan.slice(start, _ROWS_AT_ONCE).collect()
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
                raise self._damaged(error) from error
            yield _piece(self.name, frame, start)


def _piece(file: str, frame: pl.DataFrame, start: int) -> Piece:
    rows = pl.DataFrame([_cells(file, column) for column in frame.iter_columns()]).with_columns(
        pl.int_range(start + 1, start + frame.height + 1, dtype=pl.Int64).alias("line")
    )
    return Piece(rows, pl.DataFrame(schema=BROKEN_SCHEMA), start + frame.height)


def _cells(file: str, column: pl.Series) -> pl.Series:
    """A column as it is checked: moments and doubles as they are, which saves half of the work; else its text."""
    match column.dtype:
        case pl.Float64():
            return column
        case pl.Datetime() as kind if kind.time_zone is not None:
            return column.dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
        case _:
            return text_of(file, column)
