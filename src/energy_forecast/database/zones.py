"""Compare the time zone rules of the database server with those of this program."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database
from energy_forecast.database.named_queries import queries
from energy_forecast.zones import offsets, zone_names

# Clock changes are at least 30 days apart, so these samples find a rule that only the server has
_SAMPLE_DAYS = 14
_DAY = 86_400
# Rules further ahead change too often for a warning
_YEARS_AHEAD = 2


@dataclass(frozen=True)
class ZoneDifference:
    """A time span in which the server's offset of a zone differs from this program's.

    first: a time at which they differ; they agree until at most two weeks earlier.
    until: the next time at which they are known to agree; None if there is none within the next two years.
    since: the last time before `first` at which they are known to agree.
    server, program: local minus UTC time at `first`, seconds; None if that side does not know the zone.
    """

    zone: str
    first: datetime
    until: datetime | None
    since: datetime
    server: int | None
    program: int | None

    def __str__(self) -> str:
        if self.server is None or self.program is None:
            return f"{self.zone} is not known to {'the server' if self.server is None else 'this program'}"
        end = "" if self.until is None else f" to {self.until:%Y-%m-%d}"
        return (
            f"{self.zone} from {self.first:%Y-%m-%d}{end}: UTC{_offset(self.server)} by the server, "
            f"UTC{_offset(self.program)} by this program"
        )


def check_zones(database: Database, *, years_back: int | None = None) -> list[ZoneDifference]:
    """Compare the rules of the zones of all cities between the server and this program.

    Args:
        years_back: first year to compare, relative to now; None: 1970.

    Returns:
        The differences by zone and time; empty if SQL and this program agree on every local time.

    Raises:
        DatabaseError: a statement failed.
    """
    with database.reading() as connection:
        stored = [zone for (zone,) in connection.execute(queries("zones")["stored_zones"])]
        now = database_now(connection)
        first_year = 1970 if years_back is None else max(now.year - years_back, 1970)
        return zone_differences(connection, stored, now, first_year=first_year)


def server_zones(connection: Connection) -> set[str]:
    """Return the names of the time zones that the server knows."""
    return {name for (name,) in connection.execute(queries("zones")["zones"])}


def zone_differences(
    connection: Connection, zones: Sequence[str], now: datetime, *, first_year: int = 1970
) -> list[ZoneDifference]:
    """Compare the rules of zones from a year to two years ahead of `now`, in one query.

    Every change known to this program is compared to the second, and in addition one time every 14 days.
    """
    known = [zone for zone in zones if zone in zone_names()]
    begin, end = (
        round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (first_year, now.year + _YEARS_AHEAD + 1)
    )
    found = [ZoneDifference(zone, _moment(begin), None, _moment(begin), 0, None) for zone in zones if zone not in known]
    if not known:
        return found
    try:
        return found + _compared(connection, known, begin, end)
    except psycopg.errors.InvalidParameterValue:
        pass
    # Slow, because the server reads all of its files: only if it does not know a zone
    by_server = {zone for (zone,) in connection.execute(queries("zones")["known_zones"], {"zones": known})}
    found += [
        ZoneDifference(zone, _moment(begin), None, _moment(begin), None, 0) for zone in known if zone not in by_server
    ]
    return found + _compared(connection, [zone for zone in known if zone in by_server], begin, end)


def _compared(connection: Connection, zones: list[str], begin: int, end: int) -> list[ZoneDifference]:
    samples = [_samples(zone, begin, end) for zone in zones]
    parameters = {
        "zones": zones,
        "numbers": [number for number, (moments, _) in enumerate(samples) for _ in moments],
        "moments": [moment for moments, _ in samples for moment in moments],
        "seconds": [offset for _, known in samples for offset in known],
    }
    with connection.transaction():
        rows = connection.execute(queries("zones")["offsets_that_differ"], parameters).fetchall()
    differing: dict[int, dict[int, int]] = {}
    for number, moment, seconds in rows:
        differing.setdefault(number, {})[moment] = seconds
    return [
        difference
        for number, by_server in differing.items()
        for difference in _spans(zones[number], *samples[number], by_server)
    ]


def _samples(zone: str, begin: int, end: int) -> tuple[list[int], list[int]]:
    """Return the times to compare, ascending, and this program's offset at each."""
    # Not to the year 2100: that takes three times as long, and every command compares the zones of all cities
    known = offsets(zone, datetime.fromtimestamp(end, UTC).year)
    changes = [start for start in known.starts if begin < start < end]
    moments = sorted({*range(begin, end, _SAMPLE_DAYS * _DAY), *changes, *(change - 1 for change in changes)})
    return moments, [known.seconds[bisect.bisect_right(known.starts, moment) - 1] for moment in moments]


def _spans(zone: str, moments: list[int], program: list[int], by_server: dict[int, int]) -> Iterator[ZoneDifference]:
    place = 0
    while place < len(moments):
        if moments[place] not in by_server:
            place += 1
            continue
        first = place
        while place < len(moments) and moments[place] in by_server:
            place += 1
        yield ZoneDifference(
            zone,
            _moment(moments[first]),
            _moment(moments[place]) if place < len(moments) else None,
            _moment(moments[max(first - 1, 0)]),
            by_server[moments[first]],
            program[first],
        )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _offset(seconds: int) -> str:
    return f"{'-' if seconds < 0 else '+'}{abs(seconds) // 3600:02d}:{abs(seconds) // 60 % 60:02d}"
