"""Read Parquet files and frames in memory: convert typed columns to the text of a CSV file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from energy_forecast.errors import IngestError
from energy_forecast.ingest.readers.guard import decoding
from energy_forecast.ingest.readers.parquet_pages import row_groups
from energy_forecast.ingest.readers.source import BROKEN_SCHEMA, Piece, find_columns, shortened

ROWS_AT_ONCE = 200_000
# For the columns that are read, unpacked. Writers make groups of 100,000 to several million rows of 20 to 50 bytes, or
# of 128 MB; unpacking takes two to three times as much
_LARGEST_ROW_GROUP = 256 << 20
# No table of load data has more rows
_MOST_ROWS = 1 << 33
# Small row groups are read together up to this many bytes
_BYTES_AT_ONCE = 64 << 20
_MOMENTS = ("timestamp", "issued_at", "available_at")
# Physical units in a second; polars has values beyond the years of its own calendar, and panics on them
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_A_PARQUET = "a whole Parquet file"


def text_of(column: pl.Series) -> pl.Series:
    """Return a column as the text of a CSV file; times are in UTC with Z.

    Numbers become the shortest text that parses to the same number, so they round as users expect.
    """
    if column.dtype == pl.Datetime("us", "UTC"):
        moments = column.dt.replace_time_zone(None).cast(pl.String)
        return (moments.to_frame().select(pl.first() + "Z")).to_series()
    return column.cast(pl.String)


def as_text(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a piece with every cell as text."""
    return rows.with_columns(text_of(column) for column in rows.drop("line").iter_columns())


class FrameSource:
    """A frame in memory."""

    def __init__(self, frame: pl.DataFrame, name: str, required: Sequence[str], optional: Sequence[str]) -> None:
        found = find_columns(name, frame.columns, required, optional)
        _check_types(name, {column: frame.dtypes[place] for column, place in found.places.items()})
        self.name = name
        self.columns = tuple(found.places)
        self.ignored = found.ignored
        self.size = frame.height
        self.facts: Mapping[str, Any] = {"name": name, "rows": frame.height}
        self._frame = frame.select(pl.nth(place).alias(column) for column, place in found.places.items())

    def pieces(self) -> Iterator[Piece]:
        """Yield the rows in pieces; the first row is line 1."""
        for start in range(0, self.size, ROWS_AT_ONCE):
            with decoding(self.name, "a table that can be read"):
                piece = _piece(self._frame.slice(start, ROWS_AT_ONCE), start)
            yield piece


class ParquetFile:
    """A Parquet file, decoded in this process: see parquet_process.py, which uses it."""

    def __init__(
        self, path: Path, name: str, required: Sequence[str], optional: Sequence[str], rows_at_once: int
    ) -> None:
        self.name = name
        with decoding(name, _A_PARQUET):
            scan = pl.scan_parquet(path, glob=False)
            schema = scan.collect_schema()
            names = schema.names()
        found = find_columns(name, names, required, optional)
        _check_types(name, {column: schema[names[place]] for column, place in found.places.items()})
        with decoding(name, _A_PARQUET):
            self._slices = self._plan(path, [names[place] for place in found.places.values()], rows_at_once)
        self.size = sum(rows for _, rows in self._slices)
        self.count = len(self._slices)
        self.columns = tuple(found.places)
        self.ignored = found.ignored
        self._scan = scan.select(pl.col(names[place]).alias(column) for column, place in found.places.items())

    def _plan(self, path: Path, columns: Sequence[str], rows_at_once: int) -> list[tuple[int, int]]:
        """Return the slices to read, each as first row and number of rows.

        Raises:
            IngestError: a row group would fill the memory.
        """
        slices: list[tuple[int, int]] = []
        start = rows = size = 0
        try:
            for group in row_groups(path, columns):
                if group.unpacked > _LARGEST_ROW_GROUP:
                    raise IngestError(
                        f"{self.name}: a row group of {group.rows:,} rows has {group.unpacked >> 20:,} MB unpacked; at "
                        f"most {_LARGEST_ROW_GROUP >> 20} MB can be read.",
                        hint="Write smaller row groups, such as 200,000 rows.",
                    )
                if rows and (rows + group.rows > rows_at_once or size + group.unpacked > _BYTES_AT_ONCE):
                    slices.append((start, rows))
                    start, rows, size = start + rows, 0, 0
                rows, size = rows + group.rows, size + group.unpacked
                if group.rows < 0 or start + rows > _MOST_ROWS:
                    raise ValueError(f"it announces a row group of {group.rows:,} rows")
                while rows > rows_at_once:
                    slices.append((start, rows_at_once))
                    start, rows = start + rows_at_once, rows - rows_at_once
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("its footer does not describe its pages") from error
        return [*slices, (start, rows)] if rows else slices

    def piece(self, number: int) -> Piece:
        """Return piece `number` of `count`; the first row of the file is line 1."""
        start, rows = self._slices[number]
        with decoding(self.name, _A_PARQUET):
            frame = self._scan.slice(start, rows).collect()
            if frame.height != rows:
                raise ValueError(f"it has fewer rows than the {self.size:,} that it announces")
            return _piece(frame, start)


def _check_types(file: str, types: Mapping[str, pl.DataType]) -> None:
    """Refuse a file with a column whose type cannot hold its times, names or numbers.

    Raises:
        IngestError: a column has another type.
    """
    for name, kind in types.items():
        is_text = kind in (pl.String, pl.Categorical, pl.Enum, pl.Null)
        if name in _MOMENTS:
            if not (is_text or isinstance(kind, pl.Datetime)):
                raise IngestError(
                    f"{file}: column {name} is of type {kind}, which is neither text nor a timestamp.",
                    hint="Write it as a timestamp with a time zone, or as text such as 2026-03-01T14:00:00Z.",
                )
        elif not (is_text or kind.is_numeric()):
            raise IngestError(
                f"{file}: column {name} is of type {kind}, which is neither text nor number.",
                hint="Write it as text or number.",
            )


def _piece(frame: pl.DataFrame, start: int) -> Piece:
    """Return rows in the form for validation; those with a time outside the calendar are broken."""
    lines = pl.int_range(start + 1, start + frame.height + 1, dtype=pl.Int64, eager=True).alias("line")
    columns: list[pl.Series] = []
    broken: list[pl.DataFrame] = []
    for column in frame.iter_columns():
        if isinstance(column.dtype, pl.Datetime):
            cells, outside = _moments(column)
            if outside.any():
                broken.append(_out_of_calendar(column, lines, outside))
        elif column.dtype == pl.Float64 and column.name != "city":
            # Doubles stay doubles, which saves half of the work
            cells = column
        else:
            cells = _texts(column)
        columns.append(cells)
    rows = shortened(pl.DataFrame([*columns, lines]))
    if not broken:
        return Piece(rows, pl.DataFrame(schema=BROKEN_SCHEMA), start + frame.height)
    # The first fault of each row
    faults = pl.concat(broken).unique("line", keep="first", maintain_order=True).sort("line")
    return Piece(rows.join(faults, on="line", how="anti", maintain_order="left"), faults, start + frame.height)


def _texts(column: pl.Series) -> pl.Series:
    if column.dtype in (pl.Categorical, pl.Enum):
        # A row only refers to its category, which may be of any length
        categories = column.unique().drop_nulls()
        texts = shortened(categories.cast(pl.String).to_frame()).to_series()
        return column.replace_strict(categories, texts, return_dtype=pl.String)
    return column.cast(pl.String)


def _moments(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return times as Datetime("us", "UTC"), or as text if they have no zone; and which are outside the calendar.

    A column with a zone holds instants, regardless of the zone's name.
    """
    kind = column.dtype
    assert isinstance(kind, pl.Datetime)
    unit = _PER_SECOND[kind.time_unit]
    count = column.to_physical()
    # 64 bits of nanoseconds are all inside the calendar
    first, last = max(_FIRST_SECOND * unit, -(2**63)), min(_LAST_SECOND * unit, 2**63 - 1)
    inside = count.is_between(first, last).fill_null(value=True)
    frame = count.alias("count").to_frame()
    moments: pl.Expr = pl.when(inside).then(pl.col("count"))
    match kind.time_unit:
        case "ms":
            moments *= 1000
        case "ns":
            # One nanosecond after a whole minute is no longer the whole minute
            moments = moments // 1000 + (moments % 1000 != 0).cast(pl.Int64)
    zone = None if kind.time_zone is None else "UTC"
    cells = frame.select(moments.cast(pl.Datetime("us", zone)).alias(column.name)).to_series()
    return (cells if zone else cells.cast(pl.String)), ~inside


def _out_of_calendar(column: pl.Series, lines: pl.Series, outside: pl.Series) -> pl.DataFrame:
    kind = column.dtype
    assert isinstance(kind, pl.Datetime)
    count = column.to_physical().filter(outside).cast(pl.String)
    return pl.DataFrame({"line": lines.filter(outside), "text": count}).select(
        "line",
        pl.format(f"{{}} {kind.time_unit} since 1970 is not between the years 1 and 9999", "text").alias("reason"),
        "text",
        pl.lit(column.name).alias("column"),
    )
