"""Time zone rules. Their only source is the package `tzdata`, whose version is pinned.

The operating system, the frame library, PostgreSQL and browsers have their own rules, which may be older or newer.
They are not used for conversions: see docs/decisions/time-zones.md.
"""

from __future__ import annotations

import bisect
import importlib.resources
import io
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources.abc import Traversable
from zoneinfo import ZoneInfo

from energy_forecast.errors import ZoneError

# Rules without an end repeat after 400 years, which are a whole number of weeks
CYCLE_YEARS = 400
CYCLE_SECONDS = 146_097 * 86_400
# The tables of offsets end here. Rules without an end begin before 2038 in every zone
NEAR_END_YEAR, FAR_END_YEAR = 2100, 2100 + CYCLE_YEARS
# Earlier than any time with a year
BEGINNING = -(1 << 62)
_YEAR_1, _YEAR_9999 = -62_135_510_400, 253_402_214_400
# Header of a compiled file: magic, version, and the numbers of UT/local and standard/wall indicators, leap seconds,
# times, types and characters (RFC 8536, section 3.1)
_HEADER = struct.Struct(">4s c 15x 6l")


def _files() -> Traversable:
    return importlib.resources.files("tzdata")


@cache
def rules_version() -> str:
    """Return the version of the rules, such as `2026c`."""
    from tzdata import IANA_VERSION

    return str(IANA_VERSION)


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones, such as `Europe/Berlin`."""
    return frozenset((_files() / "zones").read_text("utf-8").split())


def zone_file(name: str) -> bytes:
    """Return the compiled rules of a zone (TZif, RFC 8536).

    Raises:
        ZoneError: there is no such zone.
    """
    if name not in zone_names():
        raise ZoneError(
            f"Time zone {name!r} is not in the rules of this program (tzdata {rules_version()}).",
            hint="Give an IANA zone such as Europe/Berlin, or update the package: pip install --upgrade tzdata",
        )
    return _files().joinpath("zoneinfo", *name.split("/")).read_bytes()


@cache
def zone(name: str) -> ZoneInfo:
    """Return a zone with the rules of `tzdata` instead of those of the operating system.

    Raises:
        ZoneError: there is no such zone.
    """
    return ZoneInfo.from_file(io.BytesIO(zone_file(name)), key=name)


@dataclass(frozen=True)
class Offsets:
    """The offsets of a zone, one span after the other.

    starts: the start of each span, seconds since 1970-01-01 UTC; the first is BEGINNING.
    seconds: local time minus UTC in the span.
    """

    starts: tuple[int, ...]
    seconds: tuple[int, ...]


@lru_cache(maxsize=2048)
def offsets(name: str, end_year: int = NEAR_END_YEAR) -> Offsets:
    """Return the offsets of a zone up to the end of a year.

    Raises:
        ZoneError: there is no such zone.
    """
    rules = zone(name)
    written = [moment for moment in _written_changes(zone_file(name)) if _YEAR_1 <= moment <= _YEAR_9999]
    first = written[0] - 1 if written else 0
    starts, seconds = [BEGINNING], [_offset(rules, first)]
    for moment in itertools.chain(written, _later_changes(rules, max(written, default=0), end_year)):
        offset = _offset(rules, moment)
        if offset != seconds[-1]:
            starts.append(moment)
            seconds.append(offset)
    return Offsets(tuple(starts), tuple(seconds))


def zone_file_for_server(name: str) -> bytes:
    """Return the compiled rules of a zone in a form that PostgreSQL reads correctly.

    PostgreSQL drops a last change that changes nothing, and with it the start of the rule without an end: Vilnius would
    have summer time in 2000 to 2002. For such a zone, every change up to NEAR_END_YEAR is written.

    Raises:
        ZoneError: there is no such zone.
    """
    data = zone_file(name)
    kinds = _written_kinds(data)
    return data if len(kinds) < 2 or kinds[-1] != kinds[-2] else _written_out(name, data)


def _written_out(name: str, data: bytes) -> bytes:
    rules = zone(name)
    moments = sorted({*offsets(name).starts[1:], *_written_changes(data)} - {BEGINNING})
    moments = [moment for moment in moments if _YEAR_1 <= moment <= _YEAR_9999]
    spans = [_span(rules, moment) for moment in [moments[0] - 1 if moments else 0, *moments]]
    types = list(dict.fromkeys(spans))
    names = b"".join(name.encode() + b"\0" for name in dict.fromkeys(name for *_, name in types))
    body = struct.pack(f">{len(moments)}q", *moments) + bytes(types.index(span) for span in spans[1:])
    for seconds, summer, abbreviation in types:
        body += struct.pack(">lBB", seconds, summer, names.index(abbreviation.encode() + b"\0"))
    # The first block, whose times have 32 bits, is empty, as in `zone_file`
    first = _HEADER.pack(b"TZif", b"2", 0, 0, 0, 0, 1, 1) + bytes(7)
    footer = data[data.rindex(b"\n", 0, -1) :]
    return first + _HEADER.pack(b"TZif", b"2", 0, 0, 0, len(moments), len(types), len(names)) + body + names + footer


def _span(rules: ZoneInfo, moment: int) -> tuple[int, bool, str]:
    """Return the offset, whether it is summer time, and the abbreviation."""
    local = datetime.fromtimestamp(moment, rules)
    return _offset(rules, moment), bool(local.dst()), local.tzname() or "-00"


def _offset(rules: ZoneInfo, moment: int) -> int:
    offset = datetime.fromtimestamp(moment, rules).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())


def _written_changes(data: bytes) -> tuple[int, ...]:
    """Return the changes that a TZif file lists, in seconds since 1970."""
    start, times, code = _written(data)
    return struct.unpack_from(f">{times}{code}", data, start)


def _written_kinds(data: bytes) -> bytes:
    """Return the number of the type of local time after each change that a TZif file lists."""
    start, times, code = _written(data)
    size = struct.calcsize(f">{times}{code}")
    return data[start + size : start + size + times]


def _written(data: bytes) -> tuple[int, int, str]:
    """Return the position and the length of the list of changes, and the code of its integers.

    The list is in the second block, whose times have 64 bits. A file of the first version has one block.
    """
    _, version, utc, standard, leap, times, types, characters = _HEADER.unpack_from(data)
    if version < b"2":
        return _HEADER.size, times, "l"
    second = _HEADER.size + times * 5 + types * 6 + characters + leap * 8 + standard + utc
    return second + _HEADER.size, _HEADER.unpack_from(data, second)[5], "q"


def _later_changes(rules: ZoneInfo, after: int, end_year: int) -> Iterator[int]:
    """Yield the changes by the rule without an end, which follow the listed changes. They are months apart."""
    end = round(datetime(end_year + 1, 1, 1, tzinfo=UTC).timestamp())
    low, before = after, _offset(rules, after)
    for high in range(after + 14 * 86_400, end, 14 * 86_400):
        now = _offset(rules, high)
        if now != before:
            left, right = low, high
            while right - left > 1:
                middle = (left + right) // 2
                left, right = (middle, right) if _offset(rules, middle) == before else (left, middle)
            yield right
        low, before = high, now


def instant_at(name: str, wall: datetime) -> datetime:
    """Return the UTC time of the local time `wall`, which has no offset.

    For a local time that occurs twice it is the first time, for a skipped local time the time of the change.
    """
    rules = zone(name)
    first, second = (wall.replace(tzinfo=rules, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first
    # For a time in the gap, the offset before the change gives a time after the change, and vice versa
    changes = offsets(name, max(NEAR_END_YEAR, wall.year)).starts
    after = changes[bisect.bisect_right(changes, second.timestamp())]
    return datetime.fromtimestamp(after, UTC)


def daily_instants(name: str, first: datetime, end: datetime, at: time) -> list[datetime]:
    """Return the UTC times from `first` to before `end` with the local time `at`, one for each local day.

    Args:
        name: the zone.
        first, end: times with an offset.
        at: the local time. If it occurs twice on a day, the first time counts; if it is skipped, the time of the
            change. A day that the zone skipped entirely has none.
    """
    rules = zone(name)
    day = first.astimezone(rules).date() - timedelta(days=1)
    last = end.astimezone(rules).date() + timedelta(days=1)
    found: list[datetime] = []
    while day <= last:
        moment = instant_at(name, datetime.combine(day, at))
        # The time after a skipped day belongs to the next day
        if first <= moment < end and moment not in found[-1:]:
            found.append(moment)
        day += timedelta(days=1)
    return found
