"""Which cities a load touched, and from when to when: what is worth judging afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl


class Touched:
    """Counts along while rows are staged; it holds two moments a city."""

    def __init__(self) -> None:
        self._spans: dict[int, tuple[datetime, datetime]] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Takes note of staged rows: city_no, and timestamp in UTC."""
        spans = rows.group_by("city_no").agg(
            pl.col("timestamp").min().alias("first"), pl.col("timestamp").max().alias("last")
        )
        for city, first, last in spans.iter_rows():
            self.add_span(city, first, last)

    def add_span(self, city: int, first: datetime, last: datetime) -> None:
        """Takes note of stored rows of a city that the load changed."""
        before = self._spans.get(city, (first, last))
        self._spans[city] = (min(before[0], first), max(before[1], last))

    def named(self, names: Sequence[str]) -> tuple[tuple[str, datetime, datetime], ...]:
        """City, first and last START of an interval, UTC; by the cities' numbers."""
        return tuple(
            (names[city], first.astimezone(UTC), last.astimezone(UTC))
            for city, (first, last) in sorted(self._spans.items())
        )
