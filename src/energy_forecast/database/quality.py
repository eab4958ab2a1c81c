"""Quality flags: faults that the checks found in a city's series. The queue of the checks, and the values to check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import one_row, queries

if TYPE_CHECKING:
    from energy_forecast.database.wire import Array

# A city, and the first and last timestamp of a range
CityRange = tuple[UUID, datetime, datetime]


@dataclass(frozen=True)
class WaitingCity:
    """A city with pending checks.

    hours: length of the ranges to check.
    """

    id: UUID
    name: str
    hours: float


@dataclass(frozen=True)
class PendingCheck:
    """A range of a city that a batch changed. first, last: START of the first and the last changed interval, UTC."""

    city: UUID
    batch: UUID
    first: datetime
    last: datetime


@dataclass(frozen=True)
class KnownValues:
    """The values of a city in a range, in time order.

    times: microseconds since 1970.
    values: hundredths of kWh, or degrees Celsius (NaN if unknown).
    minutes: interval lengths; none for weather.
    """

    times: Array
    values: Array
    minutes: Array


@dataclass(frozen=True)
class FlagSpan:
    """A range of a city whose flags are replaced.

    levels_from: as `first` for level changes, which are detected late.
    """

    city: UUID
    first: datetime
    last: datetime
    levels_from: datetime


@dataclass(frozen=True)
class Flag:
    """A fault in a series of a city: see the columns of ops.quality_flags."""

    city: UUID
    kind: str
    first: datetime
    last: datetime
    hours: int
    factor: float | None
    left_out: bool
    batch: UUID


def queue_checks(
    connection: Connection,
    series: str,
    batch: UUID,
    *,
    ranges: Sequence[CityRange],
    revised: Sequence[CityRange],
    copied: bool,
) -> None:
    """Queue the checks of a batch in its transaction, while its temporary tables exist.

    Args:
        ranges: all rows of the batch.
        revised: stored values whose interval was revised.
        copied: whether rows were copied into new months, so that they were not compared with stored rows.
    """
    cities, firsts, lasts = _columns(ranges, 3)
    revised_cities, revised_firsts, revised_lasts = _columns(revised, 3)
    connection.execute(
        queries("merge")["queue_checks"],
        {
            "series": series,
            "batch": batch,
            "cities": cities,
            "firsts": firsts,
            "lasts": lasts,
            "revised_cities": revised_cities,
            "revised_firsts": revised_firsts,
            "revised_lasts": revised_lasts,
            "copied": copied,
        },
    )


def waiting_cities(connection: Connection, series: str, names: Sequence[str] | None) -> list[WaitingCity]:
    """Return the cities with pending checks, the longest waiting first; only those with the names, if given."""
    parameters = {"series": series, "names": None if names is None else list(names)}
    return [WaitingCity(*row) for row in connection.execute(queries("quality")["waiting_cities"], parameters)]


def count_waiting(connection: Connection) -> tuple[int, datetime | None]:
    """Return the number of cities with pending checks, and the time since which the first one waits."""
    count, since = one_row(connection, queries("quality")["count_waiting"])
    return count, since


def take_checks(connection: Connection, series: str, cities: Sequence[UUID]) -> list[PendingCheck]:
    """Return the pending checks of cities by city, time and age. No other session checks these cities meanwhile.

    Cities that another session is checking are left out.
    """
    rows = connection.execute(queries("quality")["take_checks"], {"series": series, "cities": list(cities)})
    return [PendingCheck(*row) for row in rows]


def finish_checks(connection: Connection, series: str, checks: Sequence[PendingCheck]) -> None:
    """Delete checks from the queue."""
    parameters = {"cities": [one.city for one in checks], "batches": [one.batch for one in checks]}
    connection.execute(queries("quality")["finish_checks"], {"series": series, **parameters})


def known_values(
    connection: Connection, series: str, ranges: Sequence[CityRange], *, as_of: datetime
) -> list[KnownValues]:
    """Return the values known at a time of the intervals that start in each range; its last timestamp is excluded."""
    from energy_forecast.database.wire import decode

    cities, firsts, ends = _columns(ranges, 3)
    parameters = {"cities": cities, "firsts": firsts, "ends": ends, "as_of": as_of}
    kinds = ("timestamptz", "int8", "int2") if series == "consumption" else ("timestamptz", "float8")
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries("quality")[f"{series}_ranges"], parameters).fetchall()
    found = []
    for row in rows:
        times, values, *rest = (decode(part, kind) for part, kind in zip(row, kinds, strict=True))
        found.append(KnownValues(times, values, rest[0] if rest else times[:0]))
    return found


def phases_as_of(connection: Connection, cities: Sequence[UUID], as_of: datetime) -> list[int]:
    """Return the minute past the UTC hour at which the hours of each city begin."""
    rows = connection.execute(queries("quality")["phases"], {"cities": list(cities), "as_of": as_of})
    return [phase for (phase,) in rows]


def last_before(
    connection: Connection, series: str, before_times: Sequence[tuple[UUID, datetime]]
) -> list[datetime | None]:
    """Return the last timestamp of each city before its time with a value of the series, or None."""
    cities, times = _columns(before_times, 2)
    rows = connection.execute(queries("quality")[f"{series}_before"], {"cities": cities, "before_times": times})
    return [moment for (moment,) in rows]


def replace_flags(connection: Connection, series: str, spans: Sequence[FlagSpan], flags: Sequence[Flag]) -> None:
    """Replace the flags of a series in the spans of cities."""
    named = queries("quality")
    new: dict[str, Any] = {f"{name}s": [getattr(flag, name) for flag in flags] for name in ("kind", "first", "last")}
    new |= {"cities": [flag.city for flag in flags], "series": series}
    connection.execute(
        named["remove_flags"],
        {
            "span_cities": [span.city for span in spans],
            "span_firsts": [span.first for span in spans],
            "span_lasts": [span.last for span in spans],
            "levels_froms": [span.levels_from for span in spans],
            **new,
        },
    )
    if flags:
        connection.execute(
            named["add_flags"],
            new
            | {
                "hours": [flag.hours for flag in flags],
                "factors": [flag.factor for flag in flags],
                "left_outs": [flag.left_out for flag in flags],
                "batches": [flag.batch for flag in flags],
            },
        )


def _columns(rows: Sequence[tuple[object, ...]], count: int) -> list[list[object]]:
    """Return rows as one list for each column."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]
