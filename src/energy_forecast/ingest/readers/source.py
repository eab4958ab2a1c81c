"""Files and frames, read in pieces of bounded size: every cell as text, every row with its line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from energy_forecast.errors import IngestError

BROKEN_SCHEMA = {"line": pl.Int64, "reason": pl.String, "text": pl.String, "column": pl.String}

# In bytes: no name, time or number is longer. Of a longer cell 200 characters are kept, and a sign that refuses it
_LONGEST_CELL, _KEPT_OF_CELL, _CUT = 500, 200, "…"


@dataclass(frozen=True)
class Piece:
    """Some rows of a file.

    Args:
        rows: column `line`, and the known columns that the file has, as text; null or empty where nothing is said.
            Moments and numbers of a typed file may also be Datetime("us", "UTC") and Float64.
        broken: rows that could not be split into columns, or hold a cell that no text can show: `line`, `reason`,
            `text`, and the `column` at fault or null.
        done: how much of the file has been read, in the unit of `Source.size`.
    """

    rows: pl.DataFrame
    broken: pl.DataFrame
    done: int


def shortened(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with texts that are too long for a cell cut: they take little memory, and are refused."""
    texts = [column for column in rows.iter_columns() if column.dtype == pl.String]
    long = [column.name for column in texts if (column.str.len_bytes().max() or 0) > _LONGEST_CELL]  # type: ignore[operator]
    return rows.with_columns(
        pl.when(pl.col(name).str.len_bytes() > _LONGEST_CELL)
        .then(pl.col(name).str.slice(0, _KEPT_OF_CELL) + _CUT)
        .otherwise(pl.col(name))
        for name in long
    )


class Source(Protocol):
    """Where rows come from."""

    @property
    def name(self) -> str:
        """The file's name, for people."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The known columns that it has."""

    @property
    def ignored(self) -> tuple[str, ...]:
        """The other columns that it has."""

    @property
    def size(self) -> int:
        """Bytes or rows."""

    @property
    def row_estimate(self) -> int:
        """About how many rows it has."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the ledger keeps of it."""

    def pieces(self) -> Iterator[Piece]:
        """The rows, once, in order.

        Raises:
            IngestError: the file turns out to be damaged.
        """


@dataclass(frozen=True)
class Columns:
    """The columns of a file: where each known one is, and which others there are."""

    places: Mapping[str, int]
    ignored: tuple[str, ...]
    count: int


def find_columns(
    file: str, header: Sequence[str], required: Sequence[str], optional: Sequence[str], *, hint: str | None = None
) -> Columns:
    """Looks for the columns of a kind in a file's header; capitals and blanks around a name do not matter.

    Raises:
        IngestError: a required column is missing, or a known one is there twice.
    """
    names = [name.strip().lower() for name in header]
    known = (*required, *optional)
    twice = sorted({name for name in names if name in known and names.count(name) > 1})
    if twice:
        raise IngestError(f"{file}: column {twice[0]} is there twice.", hint="Remove one of them.")
    missing = [name for name in required if name not in names]
    if missing:
        found = ", ".join(name.strip()[:30] or "(no name)" for name in header[:12]) or "none"
        raise IngestError(
            f"{file}: there is no column {', '.join(missing)}; found: {found}.",
            hint=hint or f"Name the columns in the first line: {', '.join(required)}.",
        )
    return Columns(
        places={name: names.index(name) for name in known if name in names},
        ignored=tuple(name.strip() or "(no name)" for name in header if name.strip().lower() not in known),
        count=len(header),
    )


def names_of(paths: Sequence[Path]) -> list[str]:
    """What to call the files: by name, and by path those that share one."""
    names = [path.name for path in paths]
    called = [str(path) if names.count(path.name) > 1 else path.name for path in paths]
    # A name on the disk is bytes, and need not be text that the ledger can hold
    return [os.fsencode(name).decode("utf-8", "backslashreplace") for name in called]
