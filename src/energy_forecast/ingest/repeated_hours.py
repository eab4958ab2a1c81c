"""The hour that a clock set back shows twice, told apart by the order of a file.

One local time alone says nothing about which of the two it is. A file that runs through the hour twice does: for one
city 01:00, 02:00, 02:00, 03:00 is the night of the change, row by row. This is accepted only when it is unmistakable:
every time of the hour exactly twice, first all of them and then all of them again, in ascending order, with ascending
neighbours on both sides. A file in another order, with one of the two missing or with every row doubled is refused.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import polars as pl

from energy_forecast import zones
from energy_forecast.ingest.times import NEARBY, TWICE, repeated_hours

# Rows held back in memory while a file is read; two an hour-long change and city are normal
_MOST_HELD = 200_000
# Rows of other years are refused anyway
_FIRST_YEAR, _LAST_YEAR = 1970, 2200


class RepeatedHours:
    """Holds the rows of repeated hours back until a file has been read.

    Args:
        series: the columns that, with the same values, make one series of times: the city, and issued_at if any.
    """

    def __init__(self, series: tuple[str, ...]) -> None:
        self._series = list(series)
        self._held: list[pl.DataFrame] = []
        self._near: list[pl.DataFrame] = []
        self._count = 0
        self.resolved = 0

    def hold(self, rows: pl.DataFrame, read: pl.DataFrame, zones: pl.Series) -> pl.Series:
        """Takes note of rows whose local time is near a repeated hour.

        Args:
            rows: the rows as text, with `line`.
            read: what read_times made of their timestamps.
            zones: the zone of each row's local time, or null.

        Returns:
            True for each row that is held back: its time happens twice.
        """
        twice = (read["fault"] == TWICE).fill_null(False)
        if self._count > _MOST_HELD or not zones.null_count() < len(zones):
            return pl.repeat(False, rows.height, eager=True)
        noted = rows.select("line", *self._series).with_columns(read["wall"], zones.alias("zone"), twice.alias("twice"))
        for (zone,), part in noted.filter(pl.col("zone").is_not_null() & pl.col("wall").is_not_null()).group_by("zone"):
            near = [
                part.filter(pl.col("wall").is_between(start - NEARBY, end + NEARBY, closed="left")).with_columns(
                    pl.lit(start).alias("hour")
                )
                for year in part["wall"].dt.year().unique().to_list()
                if _FIRST_YEAR <= year <= _LAST_YEAR
                for start, end in repeated_hours(str(zone), year)
            ]
            self._near += [frame for frame in near if frame.height]
            self._count += sum(frame.height for frame in near)
        self._held.append(rows.filter(twice))
        return twice

    def release(self) -> pl.DataFrame | None:
        """The rows held back, in the file's order: with an offset where the order tells it, else as they were."""
        if not sum(frame.height for frame in self._held):
            return None
        held = pl.concat(self._held).sort("line")
        offsets: dict[int, str] = {}
        if self._near:
            for _, series in pl.concat(self._near).sort("line").group_by("hour", "zone", *self._series):
                offsets |= _told_apart(series)
        self.resolved = len(offsets)
        lines = pl.DataFrame(
            {"line": list(offsets), "offset": list(offsets.values())}, schema={"line": pl.Int64, "offset": pl.String}
        )
        return (
            held.join(lines, on="line", how="left", maintain_order="left")
            .with_columns(pl.col("timestamp").str.strip_chars(" \t") + pl.col("offset").fill_null(""))
            .drop("offset")
        )


def _told_apart(series: pl.DataFrame) -> dict[int, str]:
    """Offsets by line for one city's times around one repeated hour, or nothing when they are not unmistakable."""
    walls: list[datetime] = series["wall"].to_list()
    twice: list[bool] = series["twice"].to_list()
    if True not in twice:
        return {}
    first = twice.index(True)
    count = sum(twice)
    half = first + count // 2
    last = first + count
    before, again = walls[:half], walls[half:]
    if count % 2 or not all(twice[first:last]) or first == 0 or last == len(walls):
        return {}
    if walls[first:half] != walls[half:last] or not (_ascends(before) and _ascends(again)):
        return {}
    rules = zones.zone(series["zone"][0])
    lines = series["line"].to_list()
    return {
        lines[place]: _offset_text(walls[place].replace(tzinfo=rules, fold=0 if place < half else 1))
        for place in range(first, last)
    }


def _ascends(walls: list[datetime]) -> bool:
    return all(earlier < later for earlier, later in itertools.pairwise(walls))


def _offset_text(moment: datetime) -> str:
    east = moment.replace(tzinfo=UTC) - moment.astimezone(UTC)
    minutes = int(east.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
