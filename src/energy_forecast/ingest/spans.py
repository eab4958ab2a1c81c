"""What a load is made of, city by city, found while it is read: spans, gaps, months, and whether a time can repeat.

A file that runs through each city's times in one direction tells all this for nothing; in the database it takes a
sort of all rows and four passes over them. Of any other file the database finds it out.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

_MOMENT = pl.Datetime("us", "UTC")
_GAPS: dict[str, Any] = {"city_no": pl.UInt32, "gap": pl.Duration("us"), "times": pl.Int64, "follows": pl.Int64}


class Spans:
    """The cities of a load. Takes rows piece by piece; needs memory for the cities, not for the rows."""

    def __init__(self) -> None:
        self.in_order = True
        """Whether no city has two rows of one time, as far as the order of its rows shows."""
        self._cities = pl.DataFrame(
            schema={"city_no": pl.UInt32, "first": _MOMENT, "last": _MOMENT, "lag": pl.Duration("us")}
        )
        self._gaps: list[pl.DataFrame] = []
        self._months: set[datetime] = set()

    def add(self, rows: pl.DataFrame) -> None:
        """Takes note of rows: city_no, timestamp, and available_at or issued_at."""
        if not self.in_order or not rows.height:
            return
        if "available_at" not in rows.columns:
            # A forecast's key holds its issue too; the database sorts those
            self.in_order = False
            return
        # Nearly all files come sorted within a piece, which makes this cheap
        ordered = rows.select("city_no", "timestamp", "available_at").sort("city_no", "timestamp")
        found = ordered.group_by("city_no").agg(
            pl.col("timestamp").first().alias("first"),
            pl.col("timestamp").last().alias("last"),
            (pl.col("available_at") - pl.col("timestamp")).min().alias("lag"),
        )
        inside = ordered.select(
            "city_no",
            pl.when(pl.col("city_no") == pl.col("city_no").shift(1)).then(pl.col("timestamp").diff()).alias("gap"),
        )
        # Which gap comes before the first one of a piece is not known, so it may be the same
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
        gaps = (
            pl.concat([inside, *between])
            .group_by("city_no", "gap")
            .agg(pl.len().cast(pl.Int64).alias("times"), pl.col("follows").sum().cast(pl.Int64))
        )
        self._gaps.append(gaps)
        if len(self._gaps) > 20:
            self._gaps = [self.gaps()]
        self._cities = (
            pl.concat([self._cities, found])
            .group_by("city_no")
            .agg(pl.col("first").min(), pl.col("last").max(), pl.col("lag").min())
        )
        self._months.update(ordered["timestamp"].dt.truncate("1mo").unique().to_list())

    def gaps(self) -> pl.DataFrame:
        """How often neighbouring rows of a city lie how far apart, and how often twice running: city_no, gap, times,
        follows. The last counts too many rather than too few."""
        if not self._gaps:
            return pl.DataFrame(schema=_GAPS)
        return pl.concat(self._gaps).group_by("city_no", "gap").agg(pl.col("times", "follows").sum())

    @property
    def cities(self) -> pl.DataFrame:
        """city_no, first and last timestamp, and the least time from a timestamp to its available_at, if known."""
        return self._cities

    @property
    def months(self) -> list[datetime]:
        """The UTC months that the rows lie in."""
        return sorted(self._months)
