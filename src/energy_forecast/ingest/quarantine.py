"""Counts of rejected rows and empty cells by reason, and the choice of those that are kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import polars as pl

from energy_forecast.ingest.report import Reason

# A file with other data would have as many reasons as rows
_MOST_REASONS = 200
_OTHER = "another reason"
_VALUES = re.compile(r"'[^']*'|[0-9][0-9:.,-]*")


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
