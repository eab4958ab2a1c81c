"""Judge the rows of a batch against each other and against the clock: interval lengths, repeats, rejected rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import one_row, queries
from energy_forecast.database.staging import LoadTarget, Staged

# City's number, first and last timestamp, minimum of available_at minus timestamp, whether every row states its
# interval, and whether one of those is available before its end
CitySpan = tuple[int, datetime, datetime, timedelta | None, bool, bool]
# City's number, a distance between neighbouring rows, how often it occurs, and how often at most it follows itself
Gap = tuple[int, timedelta, int, int]


@dataclass(frozen=True)
class Spacing:
    """A distance between rows of a city (minutes) that is not a valid interval: the commonest, or else the least."""

    city: str
    minutes: int
    is_even: bool


@dataclass(frozen=True)
class StoredMean:
    """Mean of the stored values of a city near the first values of a batch.

    Args:
        row_count: number of values.
        mean: mean of log10(kWh per minute), or of degrees Celsius.
    """

    row_count: int
    mean: float


@dataclass(frozen=True)
class Intervals:
    """The interval lengths of the cities of a batch, found before any row is staged.

    Args:
        minutes: the length by city number, for cities with rows that do not state theirs.
        assumed: names of the cities whose length is assumed, because no data show it.
        kept: name, stored length and distance (minutes) of the cities that keep their stored length, although their
            rows are evenly further apart.
        wide: cities whose rows are at a distance that is not a valid interval.
        is_mixed: whether a city has stretches of rows at the distance of another interval.
        is_overlapping: whether rows are closer together than their interval.
        is_early: whether rows may not be available yet.
        given: the length that the user gave.
    """

    minutes: Mapping[int, int]
    assumed: tuple[str, ...] = ()
    kept: tuple[tuple[str, int, int], ...] = ()
    wide: tuple[Spacing, ...] = ()
    is_mixed: bool = False
    is_overlapping: bool = False
    is_early: bool = False
    given: int | None = None

    @property
    def rejects_rows(self) -> bool:
        """Return whether rows may have to be rejected, for which all of them must be staged."""
        return self.is_mixed or self.is_overlapping or self.is_early


@dataclass(frozen=True)
class Judged:
    """The staged rows after the judgement. Counts of rows.

    Args:
        staged: the rows to merge.
        repeated: rows that repeat another row of the batch.
        older: rows superseded by another row of the batch; they become history.
    """

    staged: Staged
    repeated: int = 0
    older: int = 0


def find_intervals(
    connection: Connection,
    target: LoadTarget,
    spans: Sequence[CitySpan],
    gaps: Sequence[Gap],
    *,
    now: datetime,
    minutes: int | None,
) -> Intervals:
    """Find the interval length of each city of a batch.

    Args:
        now: the database's clock at the start of the batch; later values cannot be available.
        minutes: the interval length, if the user gave it.
    """
    named = queries("judging")
    if not target.corrects:
        return Intervals({})
    columns = ("numbers", "firsts", "lasts", "lags", "stated", "early")
    connection.execute(named["add_spans"], _columns(columns, spans))
    connection.execute(named["add_gaps"], _columns(("numbers", "gaps", "times", "follows"), gaps))
    connection.execute(named["analyze_spans"])
    assumed: tuple[str, ...] = ()
    kept: tuple[tuple[str, int, int], ...] = ()
    wide: tuple[Spacing, ...] = ()
    if minutes is not None:
        connection.execute(named["set_interval"], {"interval_minutes": minutes})
    else:
        connection.execute(named["add_provisional_gaps"], {"kind": target.kind})
        connection.execute(named["find_intervals"], {"kind": target.kind})
        assumed = tuple(name for (name,) in connection.execute(named["assumed_cities"]))
        if target.adds_up:
            kept = tuple(connection.execute(named["kept_intervals"]).fetchall())
        wide = tuple(Spacing(*row) for row in connection.execute(named["wide_cities"], {"adds_up": target.adds_up}))
    is_mixed, is_overlapping, is_early = one_row(connection, named["rows_to_reject"], {"now": now})
    found = dict(connection.execute(named["found_intervals"]).fetchall())
    return Intervals(found, assumed, kept, wide, is_mixed, is_overlapping, is_early, minutes)


def stored_means(
    connection: Connection, target: LoadTarget, cities: Sequence[tuple[int, datetime]]
) -> dict[int, StoredMean]:
    """Return the mean of the stored values near a time, by number of the city."""
    if not cities:
        return {}
    name = "consumption_means" if target.adds_up else "weather_means"
    rows = connection.execute(queries("judging")[name], _columns(("numbers", "firsts"), cities))
    return {city: StoredMean(count, mean) for city, count, mean in rows}


def judge(
    connection: Connection,
    target: LoadTarget,
    staged: Staged,
    intervals: Intervals,
    *,
    is_unique: bool,
    now: datetime,
) -> Judged:
    """Reject staged rows that are too early or contradict each other, and combine those that repeat each other.

    Args:
        is_unique: whether no key occurs twice.
        now: as in `find_intervals`.
    """
    named = queries("judging")
    if not is_unique:
        connection.execute(named["index_staged"])
    connection.execute(named["analyze_staged"])
    names = list(target.values)
    rejected = 0
    if intervals.is_mixed:
        rejected += connection.execute(named["reject_mixed"], {"values": names}).rowcount
    if intervals.is_overlapping:
        parameters = {"values": names, "adds_up": target.adds_up}
        rejected += connection.execute(named["reject_overlapping"], parameters).rowcount
    if intervals.is_early:
        rejected += connection.execute(named["reject_early"], {"now": now, "values": names}).rowcount
    judged = Judged(staged) if is_unique else _judge_repeated(connection, target, staged)
    if rejected or not is_unique:
        months, first, last = one_row(connection, named["months"])
        judged = replace(judged, staged=replace(staged, months=months or (), first=first, last=last))
    return judged


def _judge_repeated(connection: Connection, target: LoadTarget, staged: Staged) -> Judged:
    named = queries("judging")
    taken = connection.execute(named["take_repeated"]).rowcount
    if not taken:
        return Judged(staged)
    connection.execute(named["index_repeated"])
    connection.execute(named["judge_repeated"])
    parameters = {"values": list(target.values), "key": target.key}
    rejected = connection.execute(named["reject_conflicts"], parameters).rowcount
    same = connection.execute(named["restore_same"]).rowcount
    newest, older = one_row(connection, named["restore_histories"])
    return Judged(staged, taken - rejected - same - newest - older, older)


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Return rows as one list for each column."""
    columns = zip(*rows, strict=True) if rows else [[]] * len(names)
    return {name: list(column) for name, column in zip(names, columns, strict=True)}
