"""Rows of months without a partition: copied directly into new tables, which become partitions at the end.

There are no stored rows to compare them with. Only the length of an interval is unknown until all rows are read; it is
guessed from a city's first rows, and the guess is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import numpy as np
import polars as pl

from energy_forecast.database.partition_load import ExistingMonths, NeedsJudging
from energy_forecast.database.wire import Field, encode_copy, field_of, random_ids
from energy_forecast.ingest.bulk.coverage import Coverage
from energy_forecast.ingest.datasets import INTERVAL, Dataset

_HOUR = 60
# To fetch a stored row costs a third of staging a row and finding its stored one
_MOST_STORED = 3


class PartitionSplitter:
    """Splitter of rows into those of new months and the others.

    Args:
        dataset: the dataset of the rows.
        cities: the ids of the cities by their number.
        there: which months exist, and which are old enough.
        interval_minutes: length of the interval if the user gave it.
    """

    def __init__(
        self, dataset: Dataset, cities: Sequence[UUID], there: ExistingMonths, interval_minutes: int | None
    ) -> None:
        self._values = [column.name for column in dataset.values]
        self._ids = np.frombuffer(b"".join(city.bytes for city in cities), "V16")
        self._there = there
        self._given = interval_minutes
        self._minutes = np.zeros(len(cities), np.int64)
        self.guessed: dict[int, int] = {}
        """Minutes of the interval assumed for rows of new months, by city number."""
        self.months: set[datetime] = set()
        """The months of the staged rows."""
        self.first: datetime | None = None
        """The first and the last timestamp of the staged rows."""
        self.last: datetime | None = None

    def split(self, rows: pl.DataFrame, coverage: Coverage) -> tuple[pl.DataFrame, list[tuple[datetime, bytes]]]:
        """Return the rows of months that exist or are too recent, and the other rows by month in COPY format.

        Args:
            rows: checked rows in the columns of `staged`.
            coverage: the coverage of all rows so far, these included.

        Raises:
            NeedsJudging: a time may occur twice.
        """
        if not coverage.may_be_in_order:
            raise NeedsJudging
        rows = rows.with_columns(pl.col("timestamp").dt.truncate("1mo").alias("month"))
        is_new = pl.col("month").is_in([month for month in rows["month"].unique() if self._there.is_new(month)])
        rest = rows.filter(~is_new)
        new = rows.filter(is_new) if rest.height else rows
        if not new.height:
            return rest.drop("month"), []
        self._guess(new.filter(pl.col(INTERVAL).is_null())["city_no"].unique().to_list(), coverage)
        # Each piece is sorted by the key, so that reads by key find neighbouring rows together
        parts = new.sort("month", "city_no", "timestamp").partition_by("month", maintain_order=True)
        return rest.drop("month"), [(part["month"][0], self._encoded(part)) for part in parts]

    def near(self, rows: pl.DataFrame, coverage: Coverage) -> list[tuple[int, datetime, datetime]]:
        """Return city, first and last timestamp of rows if the stored rows between can be about as many; else nothing.

        A piece of a file in random order spans all stored rows.
        """
        if not rows.height:
            return []
        found = rows.group_by("city_no").agg(pl.min("timestamp").alias("first"), pl.max("timestamp").alias("last"))
        gaps = coverage.gaps().with_columns(pl.col("gap").dt.total_minutes().alias("minutes"))
        minutes = self._given or (_likeliest(gaps) if gaps.height else _HOUR)
        stored = int((found["last"] - found["first"]).dt.total_minutes().sum()) // minutes
        return found.rows() if stored <= _MOST_STORED * rows.height else []

    def record_staged(self, rows: pl.DataFrame) -> None:
        """Record the months and the time range of staged rows."""
        if rows.height:
            self.months.update(rows["timestamp"].dt.truncate("1mo").unique())
            first, last = rows.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).row(0)
            self.first = min(first, self.first or first)
            self.last = max(last, self.last or last)

    def _guess(self, cities: Sequence[int], coverage: Coverage) -> None:
        unknown = [city for city in cities if city not in self.guessed]
        if not unknown:
            return
        found = dict.fromkeys(unknown, self._given or _HOUR)
        if self._given is None:
            gaps = coverage.gaps().with_columns((pl.col("gap").dt.total_minutes()).alias("minutes"))
            # A city with one row so far is assumed to be like the others
            if gaps.height:
                found = dict.fromkeys(unknown, _likeliest(gaps))
            of_cities = gaps.filter(pl.col("city_no").is_in(unknown)).partition_by("city_no", as_dict=True)
            found |= {city: _likeliest(of_city) for (city,), of_city in of_cities.items()}
        self.guessed |= found
        for city, minutes in found.items():
            self._minutes[city] = minutes

    def _encoded(self, rows: pl.DataFrame) -> bytes:
        cities = rows["city_no"].to_numpy()
        minutes = rows[INTERVAL].cast(pl.Int64).fill_null(pl.Series(self._minutes[cities])).to_numpy()
        ends = rows["timestamp"].to_physical().to_numpy() + minutes * 60_000_000
        claimed = rows["available_at"].to_physical()
        fields = [
            Field("uuid", random_ids(rows.height)),
            Field("uuid", self._ids[cities]),
            field_of(rows["timestamp"], "timestamptz"),
            *(field_of(rows[name], "numeric") for name in self._values),
            Field("timestamptz", claimed.fill_null(pl.Series(ends)).to_numpy()),
            Field("int2", minutes),
        ]
        return encode_copy(fields, rows.height)


def _likeliest(gaps: pl.DataFrame) -> int:
    """Return the likely interval in minutes: the most frequent gap, or for rows in random order the common divisor."""
    by_count = gaps.group_by("minutes").agg(pl.col("times").sum()).sort("times", "minutes", descending=[True, False])
    commonest = int(by_count["minutes"][0])
    if by_count["times"][0] * 2 < by_count["times"].sum():
        commonest = int(np.gcd.reduce(by_count["minutes"].to_numpy()))
    return commonest if 1 <= commonest <= _HOUR and _HOUR % commonest == 0 else _HOUR
