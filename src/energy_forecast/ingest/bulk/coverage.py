"""Time coverage of a batch by city: ranges, gaps, months, and whether a time repeats.

A file in time order by city (ascending or descending) needs no extra work for this. For other files the times are
sorted after they have been read, some cities at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.database.wire import Array
from energy_forecast.ingest.datasets import INTERVAL

_MOMENT = pl.Datetime("us", "UTC")
_CITIES: dict[str, Any] = {
    "city_no": pl.UInt32, "rows": pl.UInt32, "first": _MOMENT, "last": _MOMENT,
    "lag": pl.Duration("us"), "stated": pl.Boolean, "early": pl.Boolean,
}  # fmt: skip
_GAPS: dict[str, Any] = {"city_no": pl.UInt32, "gap": pl.Duration("us"), "times": pl.Int64, "follows": pl.Int64}
# Times sorted at once: 8 bytes each, and another 16 for their differences
_MOST_TIMES = 15_000_000
# The upper bits hold the city's number, the lower ones minutes since 1970
_SHIFT = 40
_MINUTE = 60_000_000


@dataclass(frozen=True)
class Coverage:
    """Time coverage of the usable rows of a batch.

    Args:
        cities: city_no, rows, first and last timestamp, the shortest time from a timestamp to its available_at
            (lag; null if unknown), whether every row states its interval (stated), and whether one of those is
            available before its end (early).
        gaps: city_no, a distance between neighbouring rows (gap), how often it occurs (times), and how often at most
            it follows the same distance (follows).
        months: the UTC months of the rows.
        is_unique: whether no city has two rows of one time. False for forecasts, whose key has the issue time too.
    """

    cities: pl.DataFrame
    gaps: pl.DataFrame
    months: tuple[datetime, ...]
    is_unique: bool

    @property
    def row_count(self) -> int:
        """Return the number of rows."""
        return int(self.cities["rows"].sum())

    def ranges(self) -> dict[int, tuple[datetime, datetime]]:
        """Return the first and last START of an interval, UTC, by city number."""
        ordered = self.cities.sort("city_no").select("city_no", "first", "last")
        return {city: (first.astimezone(UTC), last.astimezone(UTC)) for city, first, last in ordered.iter_rows()}


class CoverageBuilder:
    """Collector of the coverage of a batch: add rows piece by piece, then call `finish`.

    Attributes:
        is_in_order: whether the times of each city have run in one direction so far, so that none repeats.
    """

    def __init__(self) -> None:
        self.is_in_order = True
        self._has_intervals = True
        self._cities = pl.DataFrame(schema=_CITIES)
        self._gaps = pl.DataFrame(schema=_GAPS)
        self._months: set[datetime] = set()

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows: city_no, timestamp on a whole minute, and issued_at.

        In place of issued_at: available_at and the minutes of the interval (null if not stated).
        """
        if not rows.height:
            return
        self._has_intervals = "available_at" in rows.columns
        if not self._has_intervals:
            own = pl.lit(None, pl.Int16).alias(INTERVAL), pl.lit(None, _MOMENT).alias("available_at")
            rows = rows.with_columns(*own)
        # Nearly all files are sorted within a piece, which makes this cheap
        ordered = rows.select("city_no", "timestamp", "available_at", INTERVAL).sort("city_no", "timestamp")
        lag = pl.col("available_at") - pl.col("timestamp")
        found = ordered.group_by("city_no").agg(
            pl.len().alias("rows"),
            pl.col("timestamp").first().alias("first"),
            pl.col("timestamp").last().alias("last"),
            lag.min().alias("lag"),
            pl.col(INTERVAL).is_not_null().all().alias("stated"),
            (lag < pl.duration(minutes=pl.col(INTERVAL))).any().alias("early"),
        )
        if self.is_in_order and self._has_intervals:
            self._add_gaps(ordered, found)
        self._cities = (
            pl.concat([self._cities, found])
            .group_by("city_no")
            .agg(
                pl.col("rows").sum(),
                pl.col("first").min(),
                pl.col("last").max(),
                pl.col("lag").min(),
                pl.col("stated").all(),
                pl.col("early").any(),
            )
        )
        self._months.update(ordered["timestamp"].dt.truncate("1mo").unique().to_list())

    def likely_minutes(self) -> dict[int, int]:
        """Return the commonest distance between the rows of a city so far, if it divides the hour, in minutes."""
        minutes = self._gaps.select("city_no", "times", pl.col("gap").dt.total_minutes().alias("minutes"))
        commonest = minutes.sort("times", "minutes", descending=[True, False]).unique("city_no", keep="first")
        valid = (pl.col("minutes") > 0) & (60 % pl.col("minutes") == 0)
        return dict(commonest.filter(valid).select("city_no", "minutes").iter_rows())

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
            self.is_in_order = False
            return
        between = [
            part.select("city_no", gap.alias("gap"), pl.lit(value=True).alias("follows"))
            for part, gap in (
                (after, pl.col("first_new") - pl.col("last")),
                (before, pl.col("first") - pl.col("last_new")),
            )
        ]
        self._gaps = _summed([self._gaps, _counted(pl.concat([inside, *between]))])

    def finish(self, pieces: Callable[[], Iterator[pl.DataFrame]]) -> Coverage:
        """Return the coverage of all rows.

        Args:
            pieces: returns all rows again; it is called if they were not in order.
        """
        is_unique, gaps = self._has_intervals, self._gaps
        if self._has_intervals and not self.is_in_order:
            found = [_gaps_of(group, pieces()) for group in self._groups()]
            is_unique = all(unique for unique, _ in found)
            gaps = _summed([part for _, part in found])
        return Coverage(self._cities, gaps, tuple(sorted(self._months)), is_unique)

    def _groups(self) -> Iterator[pl.DataFrame]:
        """Yield the cities in groups whose times can be sorted at once: city_no and rows."""
        cities = self._cities.select("city_no", "rows").sort("city_no")
        number = (cities["rows"].cast(pl.Int64).cum_sum() - 1) // _MOST_TIMES
        yield from cities.with_columns(number.alias("group")).partition_by("group", include_key=False)


def time_keys(cities: Array, times: Array) -> Array:
    """Return n whole numbers that sort like city and time.

    Args:
        cities: n numbers of cities.
        times: n times on whole minutes, microseconds since 1970.
    """
    keys: Array = (cities << _SHIFT) + times // _MINUTE
    return keys


def _gaps_of(cities: pl.DataFrame, pieces: Iterator[pl.DataFrame]) -> tuple[bool, pl.DataFrame]:
    """Return whether no time of these cities repeats, and the gaps between their times."""
    times = np.empty(int(cities["rows"].sum()), np.int64)
    place = 0
    for piece in pieces:
        rows = piece.select("city_no", "timestamp").join(cities, on="city_no", how="semi")
        numbers = rows["city_no"].to_numpy().astype(np.int64)
        times[place : place + rows.height] = time_keys(numbers, rows["timestamp"].to_physical().to_numpy())
        place += rows.height
    times.sort()
    steps = np.diff(times)
    is_unique = bool(steps.all())
    if not is_unique:
        times = times[np.concatenate([[True], steps > 0])]
        steps = np.diff(times)
    number = times >> _SHIFT
    gaps = pl.DataFrame({"city_no": number[1:].astype(np.uint32), "gap": steps}).with_columns(
        pl.Series(number[1:] == number[:-1]).alias("inside")
    )
    follows = (pl.col("gap") == pl.col("gap").shift(1)) & pl.col("inside").shift(1)
    gaps = gaps.with_columns(follows.fill_null(value=False).alias("follows")).filter("inside")
    length = (pl.col("gap") * _MINUTE).cast(pl.Duration("us"))
    return is_unique, _counted(gaps.select("city_no", length.alias("gap"), "follows"))


def _counted(gaps: pl.DataFrame) -> pl.DataFrame:
    return gaps.group_by("city_no", "gap").agg(
        pl.len().cast(pl.Int64).alias("times"), pl.col("follows").sum().cast(pl.Int64)
    )


def _summed(gaps: list[pl.DataFrame]) -> pl.DataFrame:
    counts = pl.concat([pl.DataFrame(schema=_GAPS), *gaps])
    return counts.group_by("city_no", "gap").agg(pl.col("times", "follows").sum())
