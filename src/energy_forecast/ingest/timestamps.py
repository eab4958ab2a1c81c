"""A strict parser for timestamps: ISO 8601, with an offset unless the options give a zone for local times.

PostgreSQL's own parser is too lenient for data: it accepts 'now', 'infinity' and '10:00 IST' (as Israel's time). This
one accepts all unambiguous spellings of ISO 8601: 24:00, the basic format, lower-case letters, a decimal comma, hours
without minutes, and UTC or GMT instead of Z.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import polars as pl

from energy_forecast.local_times import to_utc
from energy_forecast.zones import NEAR_END_YEAR, offsets

_SHAPE = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?"
    r"(Z|[+-][0-9]{2}(?::?[0-5][0-9])?)?$"
)
# The commonest one, which polars parses by itself; an hour of 24 is left to the others
_UTC_SHAPE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]Z$"
# Other spellings in ISO 8601, RFC 3339 and common programs; U+2212 is the minus sign that ISO 8601 prints
_OTHER_SHAPE = (
    r"^([0-9]{4})(?:-([0-9]{2})-([0-9]{2})|([0-9]{2})([0-9]{2}))"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"|[Tt]([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:[.,]([0-9]{1,9}))?)?)?)"
    r" ?(Z|z|UTC|utc|GMT|gmt|[+\-\x{2212}][0-9]{2}(?::?[0-5][0-9])?)?$"
)
_EASTERNMOST, _WESTERNMOST = 14 * 60, -12 * 60
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)

# Distance around a repeated hour in which to look for its neighbours
NEARBY = timedelta(hours=3)
_MINUTE = timedelta(minutes=1)

EMPTY, NO_TIME, NO_DATE, NO_OFFSET, BAD_OFFSET, SKIPPED, TWICE, TOO_OLD, LEAP, TOO_LATE, DISPUTED = range(1, 12)

REASONS = {
    EMPTY: "is empty",
    NO_TIME: "{value} is not an ISO 8601 time such as 2026-03-01T14:00:00Z",
    NO_DATE: "{value} is not in the calendar",
    NO_OFFSET: "{value} has no offset; write one, or set `timezone` to its zone or to city",
    BAD_OFFSET: "{value} has an offset that no place on earth has",
    SKIPPED: "{value} never happened in {zone}: the clock skipped it; write the offset",
    TWICE: "{value} happened twice in {zone}; write the offset",
    TOO_OLD: "{value} is before 1970",
    LEAP: "{value} is a leap second, which no interval begins with; use the second before or after it",
    TOO_LATE: "{value} is after the year 9999",
    DISPUTED: "{value} is another time by the database server's rules for {zone}",
}


# Spans (UTC, both ends included) by zone in which the database server has another offset; the end may be open
Disputed = Mapping[str, Sequence[tuple[datetime, datetime | None]]]


def parse_timestamps(
    text: pl.Series, zones: pl.Series, disputed: Disputed = MappingProxyType({}), *, ends: bool = False
) -> pl.DataFrame:
    """Parse timestamps.

    Args:
        text: the timestamps as written, n rows; or Datetime("us", "UTC").
        zones: n rows; the IANA zone of a timestamp without an offset, or null to reject it.
        disputed: spans whose local times are a fault.
        ends: whether a local time names the end of an interval. Most files then write the start plus the interval, so
            it has the offset of the interval: the hour before a clock change ends at 02:00, not 03:00.

    Returns:
        n rows: `instant` (UTC, microseconds; null if there is a fault), `wall` (a local time as written; null if it
        has an offset), `fault` (a key of REASONS, or null).
    """
    if text.dtype != pl.String:
        return _read_typed(text)
    if text.str.contains(_UTC_SHAPE).all():
        moments = text.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC", strict=False)
        if not moments.null_count():
            return _read_typed(moments)
    text = text.str.strip_chars(" \t")
    frame = _parts(text)
    odd = (frame["wall"].is_null() & (text != "")).fill_null(value=False)
    frame = frame.with_columns(pl.lit(value=False).alias("leap"))
    if odd.any():
        frame = _with_other_shapes(frame, text, odd)
    frame = frame.with_columns(text.alias("text"), zones.alias("zone"), _minutes_east(frame["offset"]).alias("east"))
    local = pl.col("offset").is_null() & pl.col("wall").is_not_null()
    frame = frame.with_columns(
        pl.when(~local)
        .then((pl.col("wall") - pl.duration(minutes=pl.col("east"))).dt.replace_time_zone("UTC"))
        .alias("instant"),
        pl.lit(None, pl.Int8).alias("local_fault"),
    )
    if frame.select((local & pl.col("zone").is_not_null()).any()).item():
        frame = _read_local(frame, local, disputed, ends=ends)
    fault = (
        pl.when(pl.col("text").is_null() | (pl.col("text") == "")).then(EMPTY)
        .when(pl.col("leap")).then(LEAP)
        .when(pl.col("date").is_null()).then(NO_TIME)
        .when(pl.col("wall").is_null()).then(NO_DATE)
        .when(pl.col("local_fault").is_not_null()).then(pl.col("local_fault"))
        .when(pl.col("offset").is_null() & pl.col("zone").is_null()).then(NO_OFFSET)
        .when(pl.col("instant").is_null()).then(BAD_OFFSET)
        .when(pl.col("instant") < _EARLIEST).then(TOO_OLD)
        .when(pl.col("instant") > _LATEST).then(TOO_LATE)
        .cast(pl.Int8)
    )  # fmt: skip
    wall = pl.when(local & (pl.col("wall") <= _LATEST.replace(tzinfo=None))).then(pl.col("wall")).alias("wall")
    return frame.select(_storable("instant"), wall, fault.alias("fault"))


def _parts(text: pl.Series) -> pl.DataFrame:
    """Split timestamps of the usual shape: `date`, `wall`, `offset`; nulls if the text has another shape."""
    parts = text.str.extract_groups(_SHAPE).struct
    date, minute, second, fraction, offset = (parts[place] for place in range(5))
    frame = pl.DataFrame({"date": date, "offset": offset}).with_columns(
        (date + "T" + minute + ":" + second.fill_null("00"))
        .str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us")
        .alias("wall"),
    )
    if fraction.null_count() < len(fraction):
        micros = fraction.str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
        # One nanosecond more is no longer the whole minute
        micros += fraction.str.slice(6).str.contains("[1-9]").fill_null(value=False).cast(pl.Int64)
        frame = frame.with_columns(pl.col("wall") + micros.cast(pl.Duration("us")))
    return frame


def _with_other_shapes(frame: pl.DataFrame, text: pl.Series, odd: pl.Series) -> pl.DataFrame:
    """Rewrite texts of other shapes in the usual one and parse them; `leap` marks leap seconds."""
    groups = text.filter(odd).str.extract_groups(_OTHER_SHAPE).struct
    year, *rest = (groups[place] for place in range(14))
    month, day = (rest[place].fill_null(rest[place + 2]) for place in (0, 1))
    hour, minute, second, fraction = (rest[place].fill_null(rest[place + 4]) for place in range(4, 8))
    minute, second, fraction = minute.fill_null("00"), second.fill_null("00"), fraction.fill_null("0")
    suffix = rest[-1]
    zulu = suffix.is_in(["z", "utc", "UTC", "gmt", "GMT"])
    suffix = suffix.set(zulu, "Z").str.replace("\u2212", "-", literal=True).fill_null("")
    midnight = (hour == "24") & (minute == "00") & (second == "00") & ~fraction.str.contains("[1-9]")
    hour = hour.set(midnight, "00")
    respelled = year + "-" + month + "-" + day + "T" + hour + ":" + minute + ":" + second + "." + fraction + suffix
    days = pl.when(midnight.fill_null(value=False)).then(pl.duration(days=1)).otherwise(pl.duration(days=0))
    again = _parts(respelled).with_columns(
        pl.col("wall") + days, ((second == "60") & year.is_not_null()).fill_null(value=False).alias("leap")
    )
    places = odd.arg_true()
    return frame.with_columns(frame[name].scatter(places, again[name]) for name in again.columns)


def _read_typed(moments: pl.Series) -> pl.DataFrame:
    moment = pl.col("instant")
    fault = (
        pl.when(moment.is_null()).then(EMPTY)
        .when(moment < _EARLIEST).then(TOO_OLD)
        .when(moment > _LATEST).then(TOO_LATE)
        .cast(pl.Int8)
    )  # fmt: skip
    frame = moments.alias("instant").to_frame()
    no_wall = pl.lit(None, pl.Datetime("us")).alias("wall")
    return frame.select(_storable("instant"), no_wall, fault.alias("fault"))


def _storable(name: str) -> pl.Expr:
    """Return the times that Python and PostgreSQL can hold, and null for others; polars has a larger range."""
    return pl.when(pl.col(name).is_between(_EARLIEST, _LATEST)).then(pl.col(name)).alias(name)


def _minutes_east(offset: pl.Series) -> pl.Series:
    """Return minutes east of Greenwich; null if no place on earth has the offset. Each distinct one is parsed once."""
    known: dict[str, int] = {"Z": 0}
    for text in offset.unique().drop_nulls().to_list():
        if text != "Z":
            minutes = int(text[1:3]) * 60 + int(text[-2:] if len(text) > 3 else 0)
            minutes = -minutes if text[0] == "-" else minutes
            if _WESTERNMOST <= minutes <= _EASTERNMOST:
                known[text] = minutes
    return offset.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.Int64)


def _read_local(frame: pl.DataFrame, local: pl.Expr, disputed: Disputed, *, ends: bool) -> pl.DataFrame:
    """Convert the timestamps without an offset, zone by zone."""
    frame = frame.with_row_index("place")
    read = []
    for (zone,), rows in frame.filter(local & pl.col("zone").is_not_null()).group_by("zone"):
        first, second = _end_to_utc(rows["wall"], str(zone)) if ends else to_utc(rows["wall"], str(zone))
        read.append(
            rows.select(
                "place",
                pl.when(first == second).then(first).alias("read"),
                pl.when(_within(first, disputed.get(str(zone), ())))
                .then(DISPUTED)
                .when(first > second)
                .then(SKIPPED)
                .when(first < second)
                .then(TWICE)
                .cast(pl.Int8)
                .alias("why"),
            )
        )
    return (
        frame.join(pl.concat(read), on="place", how="left", maintain_order="left")
        .with_columns(pl.coalesce("instant", "read").alias("instant"), pl.col("why").alias("local_fault"))
        .drop("read", "why", "place")
    )


def _end_to_utc(walls: pl.Series, zone: str) -> tuple[pl.Series, pl.Series]:
    """Return the first and the second instant of local times that are ends of intervals, as `to_utc` does.

    The clock does not change within an interval, so its last minute determines the offset. If no interval of that
    clock has such an end, it is the time that the clock itself showed.
    """
    first, second = to_utc(walls, zone)
    inside_first, inside_second = (moments + _MINUTE for moments in to_utc(walls - _MINUTE, zone))
    is_skipped = (inside_first > inside_second).fill_null(value=False)
    return first.zip_with(is_skipped, inside_first), second.zip_with(is_skipped, inside_second)


def _within(moments: pl.Series, spans: Sequence[tuple[datetime, datetime | None]]) -> pl.Series:
    inside = pl.repeat(False, len(moments), eager=True)
    for first, until in spans:
        inside |= (moments >= first) & (moments <= (until or _LATEST))
    return inside


def repeated_hours(zone: str, year: int) -> tuple[tuple[datetime, datetime], ...]:
    """Return the spans of local time that occur twice in a year: half open, without zone."""
    return _changed_hours(zone, year)[0]


def skipped_hours(zone: str, year: int) -> tuple[tuple[datetime, datetime], ...]:
    """Return the spans of local time that are skipped in a year: half open, without zone."""
    return _changed_hours(zone, year)[1]


@functools.lru_cache(maxsize=4096)
def _changed_hours(zone: str, year: int) -> tuple[tuple[tuple[datetime, datetime], ...], ...]:
    known = offsets(zone, max(year, NEAR_END_YEAR))
    repeated, skipped = [], []
    for start, before, after in zip(known.starts[1:], known.seconds, known.seconds[1:], strict=False):
        # In local time
        moment = datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(seconds=start)
        last, first = (moment + timedelta(seconds=offset) for offset in (before, after))
        if first < last and first.year == year:
            repeated.append((first, last))
        if last < first and last.year == year:
            skipped.append((last, first))
    return tuple(repeated), tuple(skipped)
