"""The interface of the readers: pieces of bounded size, every cell as text, every row with its line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import polars as pl

from energy_forecast.errors import IngestError

Item = TypeVar("Item")

BROKEN_SCHEMA = {"line": pl.Int64, "reason": pl.String, "text": pl.String, "column": pl.String}

# In bytes: no name, time or number is longer. A longer cell is cut to 200 characters, with a mark that invalidates it
_LONGEST_CELL, _KEPT_OF_CELL, _CUT = 500, 200, "…"


@dataclass(frozen=True)
class Piece:
    """Some rows of a file.

    Args:
        rows: column `line`, and the known columns of the file as text; null or empty if missing. Times and numbers
            of a typed file may also be Datetime("us", "UTC") and Float64.
        broken: rows that could not be split into columns, or have a cell that cannot be shown as text: `line`,
            `reason`, `text`, and the `column` at fault or null.
        done: the amount of the file read so far, in the unit of `Source.size`.
    """

    rows: pl.DataFrame
    broken: pl.DataFrame
    done: int


def shortened(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with overlong cells cut, so that they take little memory; the validation rejects them."""
    texts = [column for column in rows.iter_columns() if column.dtype == pl.String]
    long = [column.name for column in texts if (column.str.len_bytes().max() or 0) > _LONGEST_CELL]  # type: ignore[operator]
    return rows.with_columns(
        pl.when(pl.col(name).str.len_bytes() > _LONGEST_CELL)
        .then(pl.col(name).str.slice(0, _KEPT_OF_CELL) + _CUT)
        .otherwise(pl.col(name))
        for name in long
    )


class Source(Protocol):
    """A source of rows."""

    @property
    def name(self) -> str:
        """Return the file's name, for messages."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return its known columns."""

    @property
    def ignored(self) -> tuple[str, ...]:
        """Return its other columns."""

    @property
    def size(self) -> int:
        """Return its size, in bytes or rows."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return its entry for the ledger."""

    def pieces(self) -> Iterator[Piece]:
        """Yield the rows, once, in order.

        Raises:
            IngestError: the file is damaged.
        """


@dataclass(frozen=True)
class Columns:
    """The columns of a file: the index of each known one, and the names of the others."""

    places: Mapping[str, int]
    ignored: tuple[str, ...]
    count: int


def find_columns(
    file: str, header: Sequence[str], required: Sequence[str], optional: Sequence[str], *, hint: str | None = None
) -> Columns:
    """Find the columns of a dataset in a file's header; case and blanks around a name are ignored.

    Raises:
        IngestError: a required column is missing, a known one occurs twice, or the rows are forecasts although the
            dataset holds observations.
    """
    names = [name.strip().lower() for name in header]
    known = (*required, *optional)
    _require_kind(file, names, known)
    twice = sorted({name for name in names if name in known and names.count(name) > 1})
    if twice:
        raise IngestError(f"{file}: column {twice[0]} occurs twice.", hint="Remove one of them.")
    missing = [name for name in required if name not in names]
    if missing:
        found = ", ".join(name.strip()[:30] or "(no name)" for name in header[:12]) or "none"
        raise IngestError(
            f"{file}: no column {', '.join(missing)}; found: {found}.",
            hint=hint or f"Name the columns: {', '.join(required)}.",
        )
    return Columns(
        places={name: names.index(name) for name in known if name in names},
        ignored=tuple(name.strip() or "(no name)" for name in header if name.strip().lower() not in known),
        count=len(header),
    )


def _require_kind(file: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise if the columns show that the rows are forecasts and the dataset holds observations, or vice versa."""
    if "timestamp" not in known:
        return
    if "issued_at" not in known and "issued_at" in names:
        remedy = "Forecasts of the load cannot be loaded."
        if "temperature" in known:
            remedy = "Load weather forecasts with: energy-forecast ingest weather-forecasts FILE."
        raise IngestError(
            f"{file}: its column issued_at shows that its rows are forecasts, not observations.",
            hint=f"Nothing was loaded. {remedy} If the rows are observations, remove the column.",
        )
    if "predicted" in names and "consumption_kwh" in known and "consumption_kwh" not in names:
        raise IngestError(
            f"{file}: its column predicted holds predictions, and there is no column consumption_kwh.",
            hint="Nothing was loaded. Load the observed load, with the columns city, timestamp, consumption_kwh.",
        )
    if "issued_at" in known and "issued_at" not in names and {"timestamp", "temperature"} <= set(names):
        raise IngestError(
            f"{file}: no column issued_at, the time at which a weather forecast was issued.",
            hint="Nothing was loaded. Add the column. Observed weather is loaded with: energy-forecast ingest weather "
            "FILE",
        )


def names_of(paths: Sequence[Path]) -> list[str]:
    """Return the files' names for messages; those that share a name are called by path."""
    names = [path.name for path in paths]
    called = [str(path) if names.count(path.name) > 1 else path.name for path in paths]
    # A file name is bytes, which may not be valid text for the ledger
    return [os.fsencode(name).decode("utf-8", "backslashreplace") for name in called]


def one_ahead(items: Iterator[Item], stop: Callable[[], None] = lambda: None) -> Iterator[Item]:
    """Yield the items in order; the next one is prepared in a thread while the caller works on the last one.

    Args:
        stop: called on Ctrl-C and if the caller fails, to end a preparation that would not end by itself.
    """
    with ThreadPoolExecutor(1) as thread:
        try:
            coming = thread.submit(next, items, None)
            while (item := coming.result()) is not None:
                coming = thread.submit(next, items, None)
                yield item
        except (KeyboardInterrupt, GeneratorExit):
            # The end of this block waits for the thread
            stop()
            raise
