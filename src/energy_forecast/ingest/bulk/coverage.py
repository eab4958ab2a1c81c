"""Time coverage of a batch by city, collected while it is read: ranges, gaps, months, and whether a time repeats.

A file in time order by city (ascending or descending) needs no extra work for this. For other files the times are kept,
up to a limit, and sorted at the end; in the database this takes a sort of whole rows and four passes over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.ingest.datasets import INTERVAL

_MOMENT = pl.Datetime("us", "UTC")
_GAPS: dict[str, Any] = {"city_no": pl.UInt32, "gap": pl.Duration("us"), "times": pl.Int64, "follows": pl.Int64}
# 8 bytes each, and another 8 while they are sorted
_MOST_TIMES = 15_000_000
# The upper bits hold the city's number, the lower ones minutes since 1970
_SHIFT = 40
_MINUTE = 60_000_000


class Coverage:
    """Ranges, gaps and months of the cities of a batch: add rows piece by piece, then call `finish`."""

    def __init__(self) -> None:
        self.in_order = True
        """Whether no city has two rows of one time, as far as known."""
        self._cities = pl.DataFrame(
            schema={
                "city_no": pl.UInt32,
                "first": _MOMENT,
                "last": _MOMENT,
                "lag": pl.Duration("us"),
                "stated": pl.Boolean,
                "early": pl.Boolean,
            }
        )
        self._gaps: list[pl.DataFrame] = []
        self._months: set[datetime] = set()
        self._times: list[np.ndarray[Any, Any]] | None = []
        self._time_count = 0

    @property
    def may_be_in_order(self) -> bool:
        """Return whether `finish` can still find that no time repeats."""
        return self.in_order or self._times is not None

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows: city_no, timestamp on a whole minute, and issued_at.

        In place of issued_at: available_at and the minutes of the interval (null if not stated).
        """
        if not self.may_be_in_order or not rows.height:
            return
        if "available_at" not in rows.columns:
            # The key of a forecast includes its issue time; the database sorts those
            self.in_order, self._times = False, None
            return
        self._keep_times(rows)
        # Nearly all files are sorted within a piece, which makes this cheap
        ordered = rows.select("city_no", "timestamp", "available_at", INTERVAL).sort("city_no", "timestamp")
        lag = pl.col("available_at") - pl.col("timestamp")
        found = ordered.group_by("city_no").agg(
            pl.col("timestamp").first().alias("first"),
            pl.col("timestamp").last().alias("last"),
            lag.min().alias("lag"),
            pl.col(INTERVAL).is_not_null().all().alias("stated"),
            (lag < pl.duration(minutes=pl.col(INTERVAL))).any().alias("early"),
        )
        if self.in_order:
            self._add_gaps(ordered, found)
        self._cities = (
            pl.concat([self._cities, found])
            .group_by("city_no")
            .agg(
                pl.col("first").min(),
                pl.col("last").max(),
                pl.col("lag").min(),
                pl.col("stated").all(),
                pl.col("early").any(),
            )
        )
        self._months.update(ordered["timestamp"].dt.truncate("1mo").unique().to_list())

    def _keep_times(self, rows: pl.DataFrame) -> None:
        self._time_count += rows.height
        if self._time_count > _MOST_TIMES:
            self._times = None
        elif self._times is not None:
            minutes = rows["timestamp"].to_physical().to_numpy() // _MINUTE
            self._times.append((rows["city_no"].to_numpy().astype(np.int64) << _SHIFT) + minutes)

    def _add_gaps(self, ordered: pl.DataFrame, found: pl.DataFrame) -> None:
        inside = ordered.select(
            "city_no",
            pl.when(pl.col("city_no") == pl.col("city_no").shift(1)).then(pl.col("timestamp").diff()).alias("gap"),
        )
        # The gap before the first one of a piece is unknown, so it may be the same
        follows = pl.col("gap").shift(1).is_null() | (pl.col("gap") == pl.col("gap").shift(1))
        inside = inside.with_columns(follows.fill_null(value=True).alias("follows")).drop_nulls()
        both = self._cities.join(found, on="city_no", suffix="_new")
        after = both.filter(pl.col("first_new") > pl.col("last"))
        before = both.filter(pl.col("last_new") < pl.col("first"))
        if after.height + before.height < both.height or (inside["gap"] == timedelta(0)).any():
            self.in_order = False
            return
        between = [
            part.select("city_no", gap.alias("gap"), pl.lit(value=True).alias("follows"))
            for part, gap in (
                (after, pl.col("first_new") - pl.col("last")),
                (before, pl.col("first") - pl.col("last_new")),
            )
        ]
        self._gaps.append(_counted(pl.concat([inside, *between])))
        if len(self._gaps) > 20:
            self._gaps = [self.gaps()]

    def finish(self) -> None:
        """Sort the times if the rows were not in order, and set `in_order` and `gaps` from them."""
        if self.in_order or self._times is None:
            return
        times = np.concatenate(self._times)
        self._times = None
        times.sort()
        steps = np.diff(times)
        if not steps.all():
            return
        cities = times >> _SHIFT
        gaps = pl.DataFrame({"city_no": cities[1:].astype(np.uint32), "gap": steps}).with_columns(
            pl.Series(cities[1:] == cities[:-1]).alias("inside")
        )
        follows = (pl.col("gap") == pl.col("gap").shift(1)) & pl.col("inside").shift(1)
        gaps = gaps.with_columns(follows.fill_null(value=False).alias("follows")).filter("inside")
        length = (pl.col("gap") * _MINUTE).cast(pl.Duration("us"))
        self._gaps = [_counted(gaps.select("city_no", length.alias("gap"), "follows"))]
        self.in_order = True

    def gaps(self) -> pl.DataFrame:
        """Return the gaps between neighbouring rows of a city.

        Columns: city_no, gap, times (how often it occurs), follows (how often it follows the same gap, at most).
        """
        if not self._gaps:
            return pl.DataFrame(schema=_GAPS)
        return pl.concat(self._gaps).group_by("city_no", "gap").agg(pl.col("times", "follows").sum())

    @property
    def cities(self) -> pl.DataFrame:
        """Return the cities of the rows.

        Columns: city_no, first and last timestamp, the shortest time from a timestamp to its available_at (if known),
        whether every row states its interval, and whether one of those is available before its end.
        """
        return self._cities

    @property
    def months(self) -> list[datetime]:
        """Return the UTC months of the rows."""
        return sorted(self._months)


def _counted(gaps: pl.DataFrame) -> pl.DataFrame:
    return gaps.group_by("city_no", "gap").agg(
        pl.len().cast(pl.Int64).alias("times"), pl.col("follows").sum().cast(pl.Int64)
    )


class TimeRanges:
    """First and last timestamp of each city with usable rows."""

    def __init__(self) -> None:
        self._spans: dict[int, tuple[datetime, datetime]] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Add usable rows: city_no, and timestamp in UTC."""
        spans = rows.group_by("city_no").agg(
            pl.col("timestamp").min().alias("first"), pl.col("timestamp").max().alias("last")
        )
        for city, first, last in spans.iter_rows():
            self.add_span(city, first, last)

    def add_span(self, city: int, first: datetime, last: datetime) -> None:
        """Add the range of stored rows of a city that the batch changed."""
        before = self._spans.get(city, (first, last))
        self._spans[city] = (min(before[0], first), max(before[1], last))

    def named(self, names: Sequence[str]) -> tuple[tuple[str, datetime, datetime], ...]:
        """Return city, first and last START of an interval, UTC, ordered by the cities' numbers."""
        return tuple(
            (names[city], first.astimezone(UTC), last.astimezone(UTC))
            for city, (first, last) in sorted(self._spans.items())
        )
