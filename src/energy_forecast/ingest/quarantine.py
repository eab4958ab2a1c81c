"""How many rows and cells a load could not use and why, and which of them are kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import polars as pl

from energy_forecast.ingest.report import Reason

# A file of something else would have as many reasons as rows
_MOST_REASONS = 200
_OTHER = "another reason"
_VALUES = re.compile(r"'[^']*'|[0-9][0-9:.,-]*")


def without_values(reason: str) -> str:
    """Return a reason with three dots in place of numbers and quoted values."""
    return _VALUES.sub("...", reason)


class Quarantine:
    """Counts every rejected row and empty cell of a load, and keeps the first of them.

    Args:
        most: how many entries are kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.row_count = 0
        self.cell_count = 0
        self._kept = 0
        self._counts: Counter[tuple[str | None, str, bool]] = Counter()
        self._examples: dict[tuple[str | None, str, bool], str] = {}

    def add(self, counts: Iterable[tuple[str | None, str, int, str]], *, cell_only: bool = False) -> None:
        """Count rows, or cells: column, reason without its values, how many, and the reason of one with its values."""
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
        """Return the entries that are kept: the first ones, as long as there is room."""
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
