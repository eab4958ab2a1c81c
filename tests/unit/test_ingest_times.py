"""Reading moments: strictly, and local time only as the user said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_forecast.ingest.timestamps import (
    BAD_OFFSET,
    EMPTY,
    LEAP,
    NO_DATE,
    NO_OFFSET,
    NO_TIME,
    SKIPPED,
    TOO_LATE,
    TOO_OLD,
    TWICE,
    parse_timestamps,
    repeated_hours,
)
from energy_forecast.zones import zone as rules_of


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin"])
def own_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the loader's own zone, which must have no effect."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def read(text: str | None, zone: str | None = None) -> datetime | int | None:
    """Return the time of a text, or its fault."""
    row = parse_timestamps(pl.Series([text], dtype=pl.String), pl.Series([zone], dtype=pl.String)).row(0, named=True)
    fault: int | None = row["fault"]
    moment: datetime | None = row["instant"]
    return moment if fault is None else fault


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T14:00:00Z",
        "2026-03-01 14:00:00Z",
        "2026-03-01T14:00Z",
        "2026-03-01T14:00:00.000Z",
        "2026-03-01T14:00:00.000000000Z",
        "2026-03-01T15:00:00+01:00",
        "2026-03-01T15:00+01",
        "2026-03-01T19:30:00+0530",
        "2026-03-01 14:00:00+00",
        "2026-03-01T14:00:00-00:00",
        "2026-03-01T03:30:00-10:30",
        "2026-03-02T04:00:00+14:00",
        "  2026-03-01T14:00:00Z\t",
        "2026-03-01 14:00:00 UTC",
        "2026-03-01T14:00 GMT",
        "2026-03-01T14:00:00UTC",
        "2026-03-01 14:00:00 utc",
        "2026-03-01t14:00:00z",
        "2026-03-01T14:00:00 Z",
        "2026-03-01 15:00:00 +0100",
        "2026-03-01T14:00:00,000Z",
        "2026-03-01T14Z",
        "2026-03-01T15+01",
        "20260301T140000Z",
        "20260301T1400Z",
        "20260301T14Z",
        "20260301T150000.000+0100",
        "2026-03-01T13:00:00\u221201:00",
    ],
)
@pytest.mark.usefixtures("own_zone")
def test_a_moment_with_an_offset_is_read_in_every_form_of_iso_8601(text: str) -> None:
    assert read(text) == datetime(2026, 3, 1, 14, tzinfo=UTC)
    assert read(text, "Asia/Kolkata") == datetime(2026, 3, 1, 14, tzinfo=UTC), "an offset wins over a named zone"


@pytest.mark.usefixtures("own_zone")
def test_rounds_fractions_of_a_second_up_to_the_microsecond() -> None:
    """A nanosecond after a whole minute is not the whole minute, and nothing becomes known earlier than it was."""
    assert read("2026-03-01T14:00:00.5Z") == datetime(2026, 3, 1, 14, 0, 0, 500_000, tzinfo=UTC)
    assert read("2026-03-01T14:00:00,25Z") == datetime(2026, 3, 1, 14, 0, 0, 250_000, tzinfo=UTC)
    assert read("2026-03-01T14:00:00.123456000Z") == datetime(2026, 3, 1, 14, 0, 0, 123_456, tzinfo=UTC)
    assert read("2026-03-01T14:00:00.123456001Z") == datetime(2026, 3, 1, 14, 0, 0, 123_457, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-28T24:00Z", "2026-02-28T24:00:00Z", "2026-02-28 24:00:00.000Z", "2026-02-28T24:00 UTC",
        "20260228T240000Z", "2026-02-28T24Z", "2026-02-28T24:00+00:00", "2026-02-28T24:00:00-00:00",
        "2026-03-01T00:00Z",
    ],
)  # fmt: skip
def test_reads_24_00_as_the_midnight_that_ends_the_day(text: str) -> None:
    """ERCOT, AEMO and ENTSO-E files end their days with it."""
    assert read(text) == datetime(2026, 3, 1, tzinfo=UTC)


def test_reads_24_00_with_an_offset_or_in_local_time() -> None:
    assert read("2026-03-01T24:00+05:30") == datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
    assert read("2026-03-01T24:00", "Asia/Kolkata") == datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
    assert read("2026-12-31T24:00", "Europe/Berlin") == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert read("2026-03-01T24:00") == NO_OFFSET
    assert read("2026-04-23T24:00", "Africa/Cairo") == SKIPPED, "midnight does not exist when the clock skips it"
    assert read("2026-10-29T23:00", "Africa/Cairo") == TWICE
    for wrong in ("2026-03-01T24:01Z", "2026-03-01T24:00:01Z", "2026-03-01T24:00:00.001Z", "2026-03-01T25:00Z"):
        assert read(wrong) == NO_DATE
    assert read("9999-12-31T24:00Z") == TOO_LATE


def test_refuses_a_leap_second_with_its_own_reason() -> None:
    """PostgreSQL would store it as the next minute."""
    for text in ("2016-12-31T23:59:60Z", "20161231T235960Z", "2016-12-31 23:59:60 UTC", "2016-12-31T23:59:60.5Z"):
        assert read(text) == LEAP
    assert read("2016-12-31T23:59:61Z") == NO_TIME


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, EMPTY),
        ("", EMPTY),
        (" \t", EMPTY),
        *((text, NO_TIME) for text in (
            "infinity", "-infinity", "now", "epoch", "today", "tomorrow", "10:00 IST", "2026-03-01 10:00 IST",
            "1767225600", "1767225600000", "2026-03-01", "2026-03", "202603011400Z", "2026-W09-7T14:00Z",
            "01.03.2026 14:00", "03/01/2026 14:00Z", "2026-03-01 14Z", "2026-03-01T14:00,5Z", "2026-03-01T14.5Z",
            "2026-03-01T14:00:00  Z", "2026-03-01T14:00:00 Utc", "2026-060T14:00Z", "20260301 1400Z",
            "2026-03-01T14:00:00+1", "2026-03-01T2:00Z", "26-03-01T14:00Z", "2026-03-01T14:00Z UTC",
            "2026-03-01T02:00 PM", "2026-03-01T14:00 EST", "2026-03-01T14:00.5Z",
            "2026-03-01T14:00+01:00[Europe/Paris]",
            "2026-03-01T14:00:00+01:60", "2026-03-01T14:00:00Z\x00", "\x002026-03-01T14:00:00Z", "+12026-03-01T14:00Z",
            "\u0662\u0660\u0662\u0666-03-01T14:00:00Z", "2026-03-01T14:00:00Europe/Berlin", "2026-03-01T14:00:00Z\n",
            "NaN", "null", "-",
        )),
        *((text, NO_DATE) for text in (
            "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-10T00:00Z", "2026-03-01T24:30:00Z",
            "2026-03-01T14:60Z", "2026-04-31 00:00:00+02:00",
        )),
        ("2026-03-01T14:00:00", NO_OFFSET),
        ("2026-03-01T14:00:00+14:01", BAD_OFFSET),
        ("2026-03-01T14:00:00-12:30", BAD_OFFSET),
        ("2026-03-01T14:00:00+99", BAD_OFFSET),
        ("1969-12-31T23:59:59Z", TOO_OLD),
        ("0001-01-01T00:00:00Z", TOO_OLD),
        ("1970-01-01T00:00:00+00:01", TOO_OLD),
    ],
)  # fmt: skip
def test_what_is_not_a_moment_is_refused(text: str | None, fault: int) -> None:
    """PostgreSQL would take many of these, some of them for something else."""
    assert read(text) == fault


def test_the_first_moment_of_1970_and_a_leap_day_are_moments() -> None:
    assert read("1970-01-01T00:00:00Z") == datetime(1970, 1, 1, tzinfo=UTC)
    assert read("2024-02-29T12:00:00Z") == datetime(2024, 2, 29, 12, tzinfo=UTC)


@settings(deadline=None, max_examples=60)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    st.integers(-12 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
)
def test_every_moment_that_python_writes_is_read_back(wall: datetime, east: int, separator: str) -> None:
    moment = wall.replace(tzinfo=timezone(timedelta(minutes=east)))
    assert read(moment.isoformat(separator)) == moment


@settings(deadline=None, max_examples=60)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001
    st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu"]),
)
def test_local_time_is_what_python_says_or_is_refused(wall: datetime, zone: str) -> None:
    """The standard library is the oracle: where its two readings differ, there is no answer."""
    earlier, later = (wall.replace(tzinfo=rules_of(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    found = read(wall.isoformat(), zone)
    if earlier == later:
        assert found == earlier
    else:
        skipped = earlier.astimezone(rules_of(zone)).replace(tzinfo=None) != wall
        assert found == (SKIPPED if skipped else TWICE)


@pytest.mark.parametrize(
    ("wall", "zone", "expected"),
    [
        # Berlin is at +01:00 until 2026-03-29 01:00 UTC and again from 2026-10-25 01:00 UTC, at +02:00 between
        ("2026-03-29T01:59", "Europe/Berlin", datetime(2026, 3, 29, 0, 59, tzinfo=UTC)),
        ("2026-03-29T02:00", "Europe/Berlin", SKIPPED),
        ("2026-03-29T02:30", "Europe/Berlin", SKIPPED),
        ("2026-03-29T03:00", "Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("2026-10-25T01:59", "Europe/Berlin", datetime(2026, 10, 24, 23, 59, tzinfo=UTC)),
        ("2026-10-25T02:00", "Europe/Berlin", TWICE),
        ("2026-10-25T02:30", "Europe/Berlin", TWICE),
        ("2026-10-25T03:00", "Europe/Berlin", datetime(2026, 10, 25, 2, tzinfo=UTC)),
        # Kolkata is at +05:30 all year
        ("2026-03-29T02:30", "Asia/Kolkata", datetime(2026, 3, 28, 21, tzinfo=UTC)),
        # Lord Howe Island sets its clock by half an hour: 2026-04-05 01:30 to 02:00 happens twice
        ("2026-04-05T01:29", "Australia/Lord_Howe", datetime(2026, 4, 4, 14, 29, tzinfo=UTC)),
        ("2026-04-05T01:30", "Australia/Lord_Howe", TWICE),
        ("2026-04-05T02:00", "Australia/Lord_Howe", datetime(2026, 4, 4, 15, 30, tzinfo=UTC)),
        ("2026-10-04T02:15", "Australia/Lord_Howe", SKIPPED),
    ],
)
def test_days_of_a_clock_change_are_read_right_or_refused(wall: str, zone: str, expected: datetime | int) -> None:
    assert read(wall, zone) == expected


@pytest.mark.usefixtures("own_zone")
def test_each_row_is_read_in_its_own_zone() -> None:
    text = pl.Series(["2026-06-01T12:00", "2026-06-01T12:00", "2026-06-01T12:00Z", "2026-06-01T12:00"])
    zones = pl.Series(["Europe/Berlin", "Asia/Kolkata", "Europe/Berlin", None])
    read = parse_timestamps(text, zones)
    assert read["instant"].to_list() == [
        datetime(2026, 6, 1, 10, tzinfo=UTC),
        datetime(2026, 6, 1, 6, 30, tzinfo=UTC),
        datetime(2026, 6, 1, 12, tzinfo=UTC),
        None,
    ]
    assert read["fault"].to_list() == [None, None, None, NO_OFFSET]


@pytest.mark.usefixtures("own_zone")
@given(st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z\Z"))
@settings(deadline=None, max_examples=200)
def test_reads_utc_time_alike_alone_and_among_other_spellings(text: str) -> None:
    """Times in the commonest spelling are parsed in bulk only if no other spelling is among them."""
    zones = pl.Series([None, None], dtype=pl.String)
    alone = parse_timestamps(pl.Series([text]), zones[:1])
    assert alone.equals(parse_timestamps(pl.Series([text, "20260301T14Z"]), zones)[:1])


def test_repeated_hours_are_those_of_the_tz_database() -> None:
    def span(*hours: str) -> tuple[datetime, ...]:
        return tuple(datetime.fromisoformat(hour) for hour in hours)

    assert repeated_hours("Europe/Berlin", 2026) == (span("2026-10-25T02", "2026-10-25T03"),)
    assert repeated_hours("Australia/Lord_Howe", 2026) == (span("2026-04-05T01:30", "2026-04-05T02"),)
    assert repeated_hours("Asia/Kolkata", 2026) == ()
    # Morocco sets its clock back for Ramadan
    assert repeated_hours("Africa/Casablanca", 2023) == (span("2023-03-19T02", "2023-03-19T03"),)
