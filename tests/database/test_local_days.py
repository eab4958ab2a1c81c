"""Local days: 23, 24 and 25 hours, half hours, days that are not there; SQL agrees with Python's zoneinfo."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_forecast.zones import zone as rules_of
from servers import Server
from zones import FIRST, LAST, ZONES, days_of_change, zones_and_days

Connection = psycopg.Connection[Any]

CITY = "00000000-0000-0000-0000-000000000001"
SESSION_ZONES = ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Apia"]


@pytest.fixture(scope="module")
def shared(server: Server, template: str) -> Iterator[Connection]:
    with server.copy_of(template) as database, psycopg.connect(database.url) as connection:
        yield connection


def minutes_by_day(zone: str, first: datetime, end: datetime) -> dict[date, int]:
    """How many minutes of a span each local day has, counted one by one."""
    clock, found = rules_of(zone), defaultdict[date, int](int)
    for n in range(int((end - first) / timedelta(minutes=1))):
        found[(first + timedelta(minutes=n)).astimezone(clock).date()] += 1
    return found


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(zones_and_days())
def test_the_length_of_a_day_is_that_of_the_clock(shared: Connection, drawn: tuple[str, date]) -> None:
    zone, day = drawn
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    counted = minutes_by_day(zone, midnight - timedelta(days=1), midnight + timedelta(days=2))[day]
    assert shared.execute("SELECT local_day_minutes(%s, %s)", (day, zone)).fetchone() == (counted,)


@pytest.mark.parametrize("zone", ZONES)
def test_the_days_of_twenty_five_years_are_as_long_as_twenty_five_years(shared: Connection, zone: str) -> None:
    """No minute is in two days, and none in no day."""
    clock = rules_of(zone)
    span = datetime(2025, 1, 1, tzinfo=clock).astimezone(UTC) - datetime(2000, 1, 1, tzinfo=clock).astimezone(UTC)
    lengths = shared.execute(
        "SELECT local_day_minutes(%s::date + n, %s) FROM generate_series(0, %s) n", (FIRST, zone, (LAST - FIRST).days)
    ).fetchall()
    assert sum(minutes for (minutes,) in lengths) == span / timedelta(minutes=1)
    moved = {minutes for (minutes,) in lengths} - {1440}
    assert bool(moved) == bool(days_of_change(zone))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(zones_and_days(), st.integers(0, 86399))
def test_a_moment_on_the_local_clock_carries_its_offset(
    shared: Connection, drawn: tuple[str, date], second: int
) -> None:
    zone, day = drawn
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)
    local = moment.astimezone(rules_of(zone)).isoformat(sep=" ")
    shown = shared.execute("SELECT local_time(%s, %s)", (moment, zone)).fetchone()
    assert shown == (f"{local[:16]} {local[19:25]}",)


@st.composite
def loads(draw: st.DrawFn) -> tuple[str, date, int, dict[datetime, Decimal], set[datetime]]:
    """Draw a zone, a day, an interval in minutes, and the intervals with and without a value."""
    zone, day = draw(zones_and_days())
    minutes = draw(st.sampled_from([60, 30, 15]))
    offset = timedelta(minutes=draw(st.sampled_from([0, 15, 30, 45])) % minutes)
    first = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2) + offset
    starts = [first + timedelta(minutes=minutes * n) for n in range(4 * 24 * 60 // minutes)]
    missing = set(draw(st.lists(st.sampled_from(starts), max_size=3)))
    values = draw(st.lists(st.integers(0, 10**8), min_size=7, max_size=7))
    kwh = {t: Decimal(values[n % 7] + n) / 100 for n, t in enumerate(starts) if t not in missing}
    return zone, day, minutes, kwh, missing


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loads(), st.sampled_from(SESSION_ZONES))
def test_sums_of_local_days_lose_nothing_and_count_nothing_twice(
    shared: Connection,
    drawn: tuple[str, date, int, dict[datetime, Decimal], set[datetime]],
    session_zone: str,
) -> None:
    zone, day, minutes, kwh, missing = drawn
    clock = rules_of(zone)
    days = sorted({t.astimezone(clock).date() for t in kwh})
    try:
        shared.execute("SELECT set_config('timezone', %s, true)", (session_zone,))
        load(shared, zone, minutes, kwh)
        found = shared.execute("SELECT * FROM daily_consumption(%s, %s, %s)", (CITY, days[0], days[-1])).fetchall()
        by_hour = shared.execute(
            "SELECT sum(total_consumption), sum(minutes_known) FROM consumption_by_hour(%s, %s, %s, 0)",
            (CITY, min(kwh), max(kwh) + timedelta(hours=1)),
        ).fetchone()
    finally:
        shared.rollback()

    expected: dict[date, Decimal] = defaultdict(Decimal)
    starts: dict[date, int] = defaultdict(int)
    for at, value in kwh.items():
        expected[at.astimezone(clock).date()] += value
        starts[at.astimezone(clock).date()] += 1
    assert {row[0]: row[3] for row in found if row[3] is not None} == expected
    assert {row[0]: row[2] * 60 for row in found if row[3] is not None} == {
        d: pytest.approx(count * minutes) for d, count in starts.items()
    }
    # Days and hours have the same sum, and the same minutes
    assert by_hour == (sum(kwh.values()), len(kwh) * minutes)
    assert sum(row[3] or 0 for row in found) == by_hour[0]
    # The day in the middle lies wholly inside; the first and the last are cut off
    holes = {at.astimezone(clock).date() for at in missing}
    whole = {row[0]: row[5] for row in found}
    if day in whole:
        assert whole[day] == (day not in holes)
    counted = minutes_by_day(
        zone,
        datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=1),
        datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=2),
    )[day]
    assert {row[0]: row[1] for row in found}.get(day, 0) * 60 == pytest.approx(counted, abs=0.01)


def load(connection: Connection, zone: str, minutes: int, kwh: dict[datetime, Decimal]) -> None:
    connection.execute(
        "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, 'Somewhere', 0, 0, %s)", (CITY, zone)
    )
    connection.execute(
        "SELECT ensure_month_partitions('energy_consumption', %s, %s)", (min(kwh), max(kwh) + timedelta(hours=1))
    )
    connection.execute(
        "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at, interval_minutes)"
        " SELECT %s, t, v, t + make_interval(mins => %s), %s FROM unnest(%s::timestamptz[], %s::numeric[]) AS u (t, v)",
        (CITY, minutes, minutes, list(kwh), list(kwh.values())),
    )


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        pytest.param("Europe/Berlin", date(2026, 3, 29), "23", id="Berlin in spring"),
        pytest.param("Europe/Berlin", date(2026, 10, 25), "25", id="Berlin in autumn"),
        pytest.param("America/Sao_Paulo", date(2018, 11, 4), "23", id="Sao Paulo, whose day began at one"),
        pytest.param("America/Havana", date(2020, 11, 1), "25", id="Havana, whose midnight comes twice"),
        pytest.param("Australia/Lord_Howe", date(2026, 4, 5), "24.5", id="Lord Howe, by half an hour"),
        pytest.param("America/St_Johns", date(2010, 11, 6), "24.9833", id="St John's, back into the day before"),
        pytest.param("Pacific/Apia", date(2011, 12, 31), "24", id="Apia, after the day that it left out"),
        pytest.param("Asia/Kolkata", date(2026, 3, 29), "24", id="Kolkata, which never moves"),
    ],
)
@pytest.mark.parametrize("session_zone", SESSION_ZONES)
def test_days_of_every_length_are_whole(
    shared: Connection, zone: str, day: date, hours: str, session_zone: str
) -> None:
    """A year-end report has 8,760 hours only if every one of these is right."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    kwh = {noon + timedelta(minutes=15 * n): Decimal(1) for n in range(-4 * 60, 4 * 60)}
    try:
        shared.execute("SELECT set_config('timezone', %s, true)", (session_zone,))
        load(shared, zone, 15, kwh)
        found = shared.execute(
            "SELECT local_date, hours, total_consumption, is_complete FROM daily_consumption(%s, %s, %s)",
            (CITY, day - timedelta(days=1), day),
        ).fetchall()
    finally:
        shared.rollback()
    quarters = sum(t.astimezone(rules_of(zone)).date() == day for t in kwh)
    assert found[-1] == (day, Decimal(hours), quarters, True)
    # Apia's row of 2011-12-30 is not there: it never was
    assert [row[0] for row in found] == [d for d in (day - timedelta(days=1), day) if d != date(2011, 12, 30)]
