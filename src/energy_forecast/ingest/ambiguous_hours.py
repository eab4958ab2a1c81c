"""Resolve the local times that occur twice when the clock is set back, by the order of rows in a file.

One local time alone is ambiguous. A file that passes through the hour twice is not: for one city 01:00, 02:00, 02:00,
03:00 is the night of the change, row by row. This is accepted only if it is certain: every time of the hour occurs
exactly twice, first all of them and then all of them again, in ascending order, with ascending neighbours on both
sides. A file in another order, with one of the two missing or with every row doubled is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from energy_forecast import zones as zone_rules
from energy_forecast.ingest.timestamps import NEARBY, TWICE, repeated_hours, skipped_hours

# Rows held in memory while a file is read; two for each city and change of one hour are normal
_MOST_HELD = 200_000
# Rows of other years are rejected elsewhere
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_MINUTE = timedelta(minutes=1)


class AmbiguousHours:
    """Buffer for the rows of repeated hours until the whole file has been read.

    Args:
        series: the columns whose values identify one series of times: the city, and issued_at if any.
        ends: whether the times are ends of intervals.
    """

    def __init__(self, series: tuple[str, ...], *, ends: bool = False) -> None:
        self._series = list(series)
        self._ends = ends
        self._held: list[pl.DataFrame] = []
        self._near: list[pl.DataFrame] = []
        self._near_skipped: list[pl.DataFrame] = []
        self._count = 0
        self.resolved = 0

    def hold(self, rows: pl.DataFrame, read: pl.DataFrame, zones: pl.Series) -> pl.Series:
        """Record rows whose local time is near a repeated hour.

        Args:
            rows: the rows as text, with `line`.
            read: their timestamps as parse_timestamps returns them.
            zones: the zone of each row's local time, or null.

        Returns:
            True for each row that is held: its time occurs twice, in one of the ways to write an end.
        """
        twice = (read["fault"] == TWICE).fill_null(value=False)
        if self._count > _MOST_HELD or not zones.null_count() < len(zones):
            return pl.repeat(value=False, n=rows.height, eager=True)
        noted = rows.select("line", *self._series).with_columns(read["wall"], zones.alias("zone"))
        waiting = [twice.arg_true()]
        noted = noted.with_row_index("place").filter(pl.col("zone").is_not_null() & pl.col("wall").is_not_null())
        for (zone,), part in noted.group_by("zone"):
            years = [year for year in part["wall"].dt.year().unique() if _FIRST_YEAR <= year <= _LAST_YEAR]
            for year in years:
                for start, end in repeated_hours(str(zone), year):
                    near = _near(part, start, end)
                    self._add(self._near, near)
                    if self._ends:
                        waiting.append(near.filter(pl.col("wall").is_between(start, end))["place"])
                for start, end in skipped_hours(str(zone), year):
                    self._add(self._near_skipped, _near(part, start, end))
        held = np.zeros(rows.height, bool)
        held[np.concatenate([places.to_numpy() for places in waiting])] = True
        mask = pl.Series(held)
        self._held.append(rows.filter(mask))
        return mask

    def _add(self, frames: list[pl.DataFrame], near: pl.DataFrame) -> None:
        if near.height:
            frames.append(near)
            self._count += near.height

    def release(self) -> pl.DataFrame | None:
        """Return the held rows in the file's order, with an offset if the order determines it."""
        if not sum(frame.height for frame in self._held):
            return None
        held = pl.concat(self._held).sort("line")
        offsets: dict[int, str] = {}
        for series in _series(self._near, self._series):
            if self._ends:
                offsets |= _offsets_by_order(series, ends=True) or _offsets_by_order(series, whole=True)
            else:
                offsets |= _offsets_by_order(series)
        self.resolved = len(offsets)
        lines = pl.DataFrame(
            {"line": list(offsets), "offset": list(offsets.values())}, schema={"line": pl.Int64, "offset": pl.String}
        )
        return (
            held.join(lines, on="line", how="left", maintain_order="left")
            .with_columns(pl.col("timestamp").str.strip_chars(" \t") + pl.col("offset").fill_null(""))
            .drop("offset")
        )

    def proof_of_ends(self) -> str | None:
        """Return how the clock changes prove that the times are ends of intervals, in words; None if they do not.

        An end is written as the start plus the interval. If the clock goes from 02:00 to 03:00, a file of ends has
        02:00 and lacks 03:00. If 01:00 to 02:00 occurs twice, it has 01:00 once and 02:00 twice. For a file of starts
        the opposite is true.
        """
        for series in _series(self._near_skipped, self._series):
            start, end = series["start"][0], series["end"][0]
            walls = set(series["wall"])
            inside = {wall for wall in walls if start < wall <= end}
            if start in walls and not inside and min(walls) < start and max(walls) > end:
                return (
                    f"on {start:%Y-%m-%d} {series['city'][0]} has {start:%H:%M} and lacks {end:%H:%M}, but the clock "
                    f"of {series['zone'][0]} went from {start:%H:%M} to {end:%H:%M}"
                )
        for series in _series(self._near, self._series):
            start, end = series["start"][0], series["end"][0]
            times = series["wall"].to_list()
            if times.count(start) == 1 and times.count(end) == 2 and _offsets_by_order(series, ends=True):
                return (
                    f"on {start:%Y-%m-%d} {series['city'][0]} has {start:%H:%M} once and {end:%H:%M} twice, but the "
                    f"clock of {series['zone'][0]} showed {start:%H:%M} twice and {end:%H:%M} once"
                )
        return None


def _near(rows: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    near = rows.filter(pl.col("wall").is_between(start - NEARBY, end + NEARBY, closed="left"))
    return near.with_columns(pl.lit(start).alias("start"), pl.lit(end).alias("end"))


def _series(frames: list[pl.DataFrame], columns: list[str]) -> Iterator[pl.DataFrame]:
    """Yield the rows near one clock change for each series of times, in the file's order."""
    if frames:
        for _, series in pl.concat(frames).sort("line").group_by("start", "zone", *columns, maintain_order=True):
            yield series


def _offsets_by_order(series: pl.DataFrame, *, ends: bool = False, whole: bool = False) -> dict[int, str]:
    """Return the offsets by line of one city's times around one repeated hour; empty if they are not certain.

    Args:
        series: the rows near the hour.
        ends: whether a time has the offset of the minute before it.
        whole: whether the first time after the repeated hour gets its offset too.
    """
    written: list[datetime] = series["wall"].to_list()
    walls = [wall - _MINUTE for wall in written] if ends else written
    begin, after = series["start"][0], series["end"][0]
    twice = [begin <= wall < after for wall in walls]
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
    rules = zone_rules.zone(series["zone"][0])
    lines = series["line"].to_list()
    return {
        lines[place]: _offset_text(walls[place].replace(tzinfo=rules, fold=0 if place < half else 1))
        for place in range(first, last)
    } | {
        # As an end it would belong to the repeated hour
        lines[place]: _offset_text(walls[place].replace(tzinfo=rules))
        for place in range(last, len(walls))
        if whole and walls[place] == after
    }


def _ascends(walls: list[datetime]) -> bool:
    return all(earlier < later for earlier, later in itertools.pairwise(walls))


def _offset_text(moment: datetime) -> str:
    east = moment.replace(tzinfo=UTC) - moment.astimezone(UTC)
    minutes = int(east.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
