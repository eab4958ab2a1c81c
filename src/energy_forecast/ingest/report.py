"""Reports of a batch, in counts that add up, and the quarantine, which counts its rejected rows by reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import polars as pl

# A file with other data would have as many reasons as rows
_MOST_REASONS = 200
_OTHER = "another reason"
_VALUES = re.compile(r"'[^']*'|[0-9][0-9:.,-]*")


@dataclass(frozen=True)
class Rejected:
    """A rejected row.

    Args:
        file: the file's name.
        line: the line of a CSV file, the header being line 1; the row of a Parquet file, the first being row 1.
        column: the column at fault; None if it is the row as a whole.
        reason: why, in words.
    """

    file: str
    line: int
    column: str | None
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where}: {self.column}: {self.reason}" if self.column else f"{where}: {self.reason}"


@dataclass(frozen=True)
class Reason:
    """A reason, and how often a batch rejected rows or left cells empty for it.

    Args:
        column: the column at fault; None if it is the row as a whole.
        reason: why, in words, with three dots in place of values.
        count: number of rows, or of cells.
        cell_only: whether only cells were left empty, and their rows used.
        example: the reason of the first of them, with its values.
    """

    column: str | None
    reason: str
    count: int
    cell_only: bool = False
    example: str = ""

    def __str__(self) -> str:
        words = self.example or self.reason
        words = f"{self.column}: {words}" if self.column else words
        return words if self.count == 1 else f"for example {words}"

    def as_counted(self) -> dict[str, Any]:
        """Return the entry of the ledger: without the example, which is in the quarantine."""
        return {name: value for name, value in asdict(self).items() if name != "example"}


def without_values(reason: str) -> str:
    """Return a reason with three dots in place of numbers and quoted values."""
    return _VALUES.sub("...", reason)


class Quarantine:
    """Counter of the rejected rows and empty cells of a batch; the first of them are kept.

    Args:
        most: number of entries to keep.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.row_count = 0
        self.cell_count = 0
        self._kept = 0
        self._counts: Counter[tuple[str | None, str, bool]] = Counter()
        self._examples: dict[tuple[str | None, str, bool], str] = {}

    def add(self, counts: Iterable[tuple[str | None, str, int, str]], *, cell_only: bool = False) -> None:
        """Count rows, or cells, by column and reason.

        Args:
            counts: column, reason without its values, number, and one reason with its values.
            cell_only: whether only cells are left empty, and their rows used.
        """
        for column, reason, count, example in counts:
            key = (column, reason, cell_only)
            if key not in self._counts and len(self._counts) >= _MOST_REASONS:
                key = (None, _OTHER, cell_only)
            self._counts[key] += count
            self._examples.setdefault(key, example)
            if cell_only:
                self.cell_count += count
            else:
                self.row_count += count

    def keep(self, entries: pl.DataFrame) -> pl.DataFrame:
        """Return the entries to keep: the first ones, up to the limit."""
        kept = entries.head(self.most - self._kept)
        self._kept += kept.height
        return kept

    def reasons(self) -> tuple[Reason, ...]:
        """Return the counts by column and reason, the largest first."""
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1]))
        return tuple(
            Reason(column, reason, count, cell_only, example=self._examples[(column, reason, cell_only)])
            for (column, reason, cell_only), count in ordered
        )


@dataclass(frozen=True, repr=False)
class Report:
    """The result of a batch. `read = inserted + corrected + unchanged + rejected`, counts of rows.

    Args:
        batch: the batch's id in ops.ingest_batches.
        kind: the dataset of the rows.
        files: names of the files.
        read: rows found in the files; empty lines do not count.
        inserted: rows whose city and time were not stored.
        corrected: rows that replaced a stored value; the old one is kept.
        unchanged: rows that changed no current value.
        rejected: rows that could not be used. ops.rejected_rows keeps the first of them.
        notes: remarks on the batch, in sentences.
        rejected_examples: the first rejected rows.
        cells_left_empty: optional cells with an implausible value. Their rows were used without them; the cells are in
            ops.rejected_rows too.
        kept: entries in ops.rejected_rows, rows and cells.
        reasons: the rejected rows and the empty cells by reason, the most frequent first.
        touched: city, first and last timestamp of the usable rows, UTC.
    """

    batch: str
    kind: str
    files: tuple[str, ...]
    read: int
    inserted: int
    corrected: int
    unchanged: int
    rejected: int
    notes: tuple[str, ...] = ()
    rejected_examples: tuple[Rejected, ...] = field(default=())
    cells_left_empty: int = 0
    kept: int = 0
    reasons: tuple[Reason, ...] = ()
    touched: tuple[tuple[str, datetime, datetime], ...] = ()

    @property
    def failure(self) -> str | None:
        """Return why no row could be used, in a sentence; None if some could, or there were no rows."""
        return _failure(self.read, self.rejected, self.rejected_examples)

    def __repr__(self) -> str:
        """Return the counts, and the notes and reasons one a line."""
        counts = ", ".join(
            f"{getattr(self, name):,} {name}" for name in ("read", "inserted", "corrected", "unchanged", "rejected")
        )
        return "\n".join([f"<Report of {self.kind}: {counts}>", *self.notes, *map(str, self.reasons)])

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dict for JSON."""
        spans = [{"city": city, "first": _iso(first), "last": _iso(last)} for city, first, last in self.touched]
        return asdict(self) | {"touched": spans}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Report:
        """Return the report that `as_dict` wrote; other members are left out."""
        given = {one.name: found[one.name] for one in fields(cls) if one.name in found}
        given |= {name: tuple(found.get(name, ())) for name in ("files", "notes")}
        given["rejected_examples"] = tuple(Rejected(**one) for one in found.get("rejected_examples", ()))
        given["reasons"] = tuple(Reason(**one) for one in found.get("reasons", ()))
        given["touched"] = tuple(
            (one["city"], datetime.fromisoformat(one["first"]), datetime.fromisoformat(one["last"]))
            for one in found.get("touched", ())
        )
        return cls(**given)


@dataclass(frozen=True)
class CityReport:
    """The result of an import of cities. `read = inserted + updated + unchanged + rejected`, counts of cities.

    Args:
        batch: the import's id in ops.ingest_batches.
        read: rows found in the file.
        inserted: new cities.
        updated: stored cities that were corrected.
        unchanged: cities that are stored with the same values.
        rejected: rows that could not be used; kept in ops.rejected_rows.
        notes: remarks on the import, in sentences.
        rejected_examples: the rejected rows, up to 10.
    """

    batch: str
    read: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    notes: tuple[str, ...] = ()
    rejected_examples: tuple[Rejected, ...] = field(default=())

    @property
    def failure(self) -> str | None:
        """Return why no city could be used, in a sentence; None if one could, or there were no rows."""
        return _failure(self.read, self.rejected, self.rejected_examples)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dict for JSON."""
        return asdict(self)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the rejected rows in words, up to 10."""
        return tuple(str(example) for example in self.rejected_examples)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _failure(read: int, rejected: int, examples: tuple[Rejected, ...]) -> str | None:
    if not read or rejected < read:
        return None
    which = "The only row was" if read == 1 else f"All {read:,} rows were"
    return f"{which} rejected, and nothing was loaded. The first: {examples[0]}."
