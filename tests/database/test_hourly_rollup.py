"""The hours that people read are what the facts say at that moment, folded in or not, whoever writes meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from energy_forecast.database import Database, Role
from energy_forecast.operations.maintenance import maintain
from old_data import Connection
from servers import CommandLine

CITY = UUID(int=1)
HOUR = timedelta(hours=1)
SHOWN = (
    "SELECT total_consumption, peak_demand, covered_minutes FROM city_hourly_consumption"
    " WHERE city_id = %s AND hour = %s"
)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Yield a superuser's connection, in autocommit, to two cities without a value."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute(
            "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, 'Pune', 18.5, 73.9,"
            " 'Asia/Kolkata'), (%s, 'Berlin', 52.5, 13.4, 'Europe/Berlin')",
            (CITY, UUID(int=2)),
        )
        connection.execute("SELECT ensure_month_partitions('energy_consumption', now() - interval '40 days', now())")
        yield connection


@pytest.fixture
def hour(connection: Connection) -> datetime:
    """Return a whole hour of yesterday."""
    row = connection.execute("SELECT date_trunc('hour', now(), 'UTC') - interval '20 hours'").fetchone()
    assert row is not None
    start: datetime = row[0]
    return start


def insert(connection: Connection, *rows: tuple[datetime, float], city: UUID = CITY) -> None:
    """Values of ten minutes, as the role that loads."""
    connection.execute("SET ROLE energy_forecast_ingest")
    connection.execute(
        "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, peak_demand_kw, available_at,"
        " interval_minutes) SELECT %s, t, v, v * 2, t + interval '10 minutes', 10"
        " FROM unnest(%s::timestamptz[], %s::numeric[]) AS u (t, v)",
        (city, [t for t, _ in rows], [v for _, v in rows]),
    )
    connection.execute("RESET ROLE")


def fold(connection: Connection) -> int:
    row = connection.execute("SELECT ops.refresh_rollup()").fetchone()
    assert row is not None
    return int(row[0])


def differences(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT * FROM ops.hourly_differences()").fetchall()


def count(connection: Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    assert row is not None
    return int(row[0])


def test_a_value_is_read_at_once_and_once_folded_in_the_same(connection: Connection, hour: datetime) -> None:
    insert(connection, (hour, 1), (hour + HOUR / 6, 2))
    expected = (Decimal(3), Decimal(4), 20)
    assert connection.execute(SHOWN, (CITY, hour)).fetchone() == expected
    assert differences(connection) == []
    assert fold(connection) == 1
    assert count(connection, "ops.changed_consumption") == 0
    assert connection.execute(SHOWN, (CITY, hour)).fetchone() == expected
    # A correction, and one more hour: the other hours stay folded in
    connection.execute("UPDATE energy_consumption SET consumption_kwh = 5 WHERE timestamp = %s", (hour,))
    insert(connection, (hour + 3 * HOUR, 7))
    assert connection.execute(SHOWN, (CITY, hour)).fetchone() == (Decimal(7), Decimal(4), 20)
    assert differences(connection) == []
    assert fold(connection) == 2
    assert differences(connection) == []


def test_an_hour_that_is_gone_is_gone(connection: Connection, hour: datetime) -> None:
    insert(connection, (hour, 1), (hour + HOUR, 2))
    fold(connection)
    connection.execute("DELETE FROM energy_consumption WHERE timestamp = %s", (hour,))
    assert connection.execute(SHOWN, (CITY, hour)).fetchone() is None
    assert fold(connection) == 1
    assert connection.execute(SHOWN, (CITY, hour)).fetchone() is None
    assert differences(connection) == []


@pytest.mark.parametrize("first_folds", [True, False], ids=["fold between the commits", "no fold between"])
def test_two_that_write_one_hour_at_once_are_both_in_it(
    connection: Connection, database: Database, hour: datetime, first_folds: bool
) -> None:
    """The second to commit includes the rows of the first.

    At a stricter isolation the audit's chain refuses the second.
    """
    with psycopg.connect(database.url) as first, psycopg.connect(database.url) as second:
        for writer in (first, second):
            # Neither waits for the other
            writer.execute("SET LOCAL lock_timeout = '2s'")
        insert(first, (hour, 1))
        insert(second, (hour + HOUR / 6, 2))
        assert second.execute(SHOWN, (CITY, hour)).fetchone() == (Decimal(2), Decimal(4), 10), "and sees its own"
        first.commit()
        if first_folds:
            assert fold(connection) == 1
            assert connection.execute(SHOWN, (CITY, hour)).fetchone() == (Decimal(1), Decimal(2), 10)
        second.commit()
    assert connection.execute(SHOWN, (CITY, hour)).fetchone() == (Decimal(3), Decimal(4), 20)
    fold(connection)
    assert connection.execute(SHOWN, (CITY, hour)).fetchone() == (Decimal(3), Decimal(4), 20)
    assert differences(connection) == []


def test_who_writes_during_a_fold_waits_for_nothing_and_is_not_lost(
    connection: Connection, database: Database, hour: datetime
) -> None:
    insert(connection, (hour, 1))
    with psycopg.connect(database.url) as folding:
        assert fold(folding) == 1
        connection.execute("SET lock_timeout = '2s'")
        insert(connection, (hour + HOUR / 6, 2))
        # Folded by one that had not seen it, and not committed
        assert connection.execute(SHOWN, (CITY, hour)).fetchone() == (Decimal(3), Decimal(4), 20)
        with pytest.raises(errors.LockNotAvailable):
            fold(connection)
        folding.commit()
    assert connection.execute(SHOWN, (CITY, hour)).fetchone() == (Decimal(3), Decimal(4), 20)
    assert fold(connection) == 1
    assert differences(connection) == []


def test_what_was_rolled_back_leaves_nothing(connection: Connection, database: Database, hour: datetime) -> None:
    with psycopg.connect(database.url) as writer:
        insert(writer, (hour, 1))
        writer.rollback()
    assert count(connection, "ops.changed_consumption") == 0


def test_a_load_of_history_notes_nothing_and_one_of_both_a_row_a_city(connection: Connection, hour: datetime) -> None:
    old = hour - timedelta(days=34)
    insert(connection, (old, 1), (old + HOUR, 1))
    assert count(connection, "ops.changed_consumption") == 0
    insert(connection, (old + 2 * HOUR, 1), *((hour + n * HOUR, 1) for n in range(3)))
    insert(connection, (hour, 1), city=UUID(int=2))
    assert connection.execute(
        "SELECT city_id, first_hour, last_hour FROM ops.changed_consumption ORDER BY city_id"
    ).fetchall() == [(CITY, hour, hour + 2 * HOUR), (UUID(int=2), hour, hour)]


def test_a_replica_role_does_not_get_around_it(connection: Connection, hour: datetime) -> None:
    connection.execute("SET session_replication_role = replica")
    insert(connection, (hour, 1))
    assert connection.execute(SHOWN, (CITY, hour)).fetchone() == (Decimal(1), Decimal(2), 10)


def test_the_window_slides(connection: Connection, database: Database, hour: datetime) -> None:
    """People see no hour that the view's definition has let go; the refresh takes it away a day later."""
    insert(connection, (hour, 1))
    fold(connection)
    connection.execute(
        "INSERT INTO hourly_consumption_rollup SELECT city_id, hour - d, 1, 1, 60, 0 FROM hourly_consumption_rollup,"
        " unnest(ARRAY[interval '30 days', interval '31 days']) d"
    )
    assert count(connection, "city_hourly_consumption") == 1
    [step] = maintain(database, ["refresh"])
    assert step.numbers["expired_hours"] == 1
    assert step.numbers["repaired_hours"] == 0
    assert count(connection, "hourly_consumption_rollup") == 2


def test_what_is_wrong_is_found_and_repaired(connection: Connection, database: Database, hour: datetime) -> None:
    """As after a restore of a part, or the hand of the owner."""
    insert(connection, *((hour + n * HOUR, n) for n in range(5)))
    [step] = maintain(database, ["refresh"])
    assert (step.numbers["changed_hours"], step.numbers["repaired_hours"]) == (5, 0)
    connection.execute("UPDATE hourly_consumption_rollup SET total_consumption = 99 WHERE hour = %s", (hour,))
    connection.execute("DELETE FROM hourly_consumption_rollup WHERE hour = %s", (hour + HOUR,))
    connection.execute("INSERT INTO hourly_consumption_rollup VALUES (%s, %s, 1, 1, 60, 0)", (CITY, hour - HOUR))
    assert [(row[1], row[2], row[3]) for row in differences(connection)] == [
        (hour - HOUR, Decimal(1), None),
        (hour, Decimal(99), Decimal(0)),
        (hour + HOUR, None, Decimal(1)),
    ]
    # One that has changed meanwhile is not wrong
    insert(connection, (hour + 2 * HOUR + HOUR / 6, 1))
    [step] = maintain(database, ["refresh"])
    assert (step.numbers["changed_hours"], step.numbers["repaired_hours"]) == (1, 3)
    assert differences(connection) == []
    [step] = maintain(database, ["refresh"])
    assert (step.numbers["changed_hours"], step.numbers["repaired_hours"]) == (0, 0)


def test_doctor_hours_tells_what_differs_and_maintain_refresh_mends_it(
    connection: Connection, database: Database, hour: datetime, tmp_path: Path
) -> None:
    command_line = CommandLine.on(database, tmp_path / "home")
    insert(connection, (hour, 1), (hour + HOUR, 2))
    planned = command_line.run("maintain", "refresh", "--dry-run").stdout
    assert "1 waiting city, never refreshed" in planned
    assert "2 changed hours" in command_line.run("maintain", "refresh").stdout
    assert "equal the sums of their values" in command_line.run("doctor", "hours").stdout
    connection.execute("UPDATE hourly_consumption_rollup SET total_consumption = 99 WHERE hour = %s", (hour,))
    told = command_line.run("doctor", "hours", status=1)
    assert "Hours that differ from the sums of their values: 1." in told.stderr
    assert "maintain refresh" in told.stderr
    (found,) = json.loads(command_line.run("doctor", "hours", "--json", status=1).stdout)["differences"]
    assert (found["city"], found["shown_consumption"], found["true_consumption"]) == ("Pune", 99, 1)
    assert "1 repaired hour," in command_line.run("maintain", "refresh").stdout
    assert json.loads(command_line.run("doctor", "hours", "--json").stdout) == {"differences": []}


@pytest.mark.parametrize("folded_hours", [0, 300, 700], ids=["nothing folded", "some folded", "most folded"])
def test_hours_of_any_span_are_those_of_the_values(connection: Connection, hour: datetime, folded_hours: int) -> None:
    """Read from the roll-up, from changed values, and from hours that the bounds cut: all of it once."""
    first = hour - 690 * HOUR
    steps = [first + n * HOUR / 6 for n in range(4000) if n % 97]
    insert(connection, *((step, n % 13) for n, step in enumerate(steps) if step < first + folded_hours * HOUR))
    fold(connection)
    insert(connection, *((step, n % 13) for n, step in enumerate(steps) if step >= first + folded_hours * HOUR))
    differing = connection.execute(
        "SELECT b.first, b.last FROM (SELECT %(first)s::timestamptz + a * interval '41 minutes' AS first,"
        " %(first)s::timestamptz + a * interval '41 minutes' + z * interval '70 hours 20 minutes' AS last"
        " FROM generate_series(-10, 600, 61) a, generate_series(0, 10) z) b"
        " WHERE EXISTS ((SELECT * FROM consumption_by_hour(%(city)s, first, last, 0) EXCEPT ALL"
        "   SELECT hour, total_consumption, peak_demand, minutes_known FROM consumption_from_values(%(city)s, first,"
        "   last, 0)) UNION ALL (SELECT hour, total_consumption, peak_demand, minutes_known FROM"
        "   consumption_from_values(%(city)s, first, last, 0) EXCEPT ALL"
        "   SELECT * FROM consumption_by_hour(%(city)s, first, last, 0)))",
        {"first": first, "city": CITY},
    ).fetchall()
    assert differing == []
    known = connection.execute(
        "SELECT array_agg(hour) = array_agg(hour ORDER BY hour), sum(minutes_known)"
        " FROM consumption_by_hour(%s, %s, %s, 0)",
        (CITY, first, first + 600 * HOUR),
    ).fetchone()
    assert known == (True, 10 * sum(step < first + 600 * HOUR for step in steps))


def test_hours_that_begin_off_the_full_hour_are_found_folded_in_or_not(connection: Connection, hour: datetime) -> None:
    """Hourly values at half past move a city's hours as soon as they are the commonest, and not before."""

    def phase() -> int:
        row = connection.execute("SELECT city_hour_phase(%s, now())", (CITY,)).fetchone()
        assert row is not None
        return int(row[0])

    insert(connection, (hour - 20 * HOUR, 1), (hour - 19 * HOUR, 1))
    fold(connection)
    assert phase() == 0
    for number, expected in enumerate((0, 0, 30), 1):
        connection.execute(
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
            " VALUES (%(city)s, %(start)s, 1, %(start)s::timestamptz + interval '1 hour')",
            {"city": CITY, "start": hour - (10 - number) * HOUR + HOUR / 2},
        )
        assert phase() == expected
        fold(connection)
        assert phase() == expected
    # The hours of the city are then told by its own
    assert (
        connection.execute(
            "SELECT local_hour FROM recent_consumption(%s, 30) WHERE minutes_known = 60 LIMIT 1", (CITY,)
        ).fetchone()
        is not None
    )


def test_a_month_of_a_city_is_read_from_the_roll_up(connection: Connection, hour: datetime) -> None:
    insert(connection, *((hour - n * HOUR / 6, 1) for n in range(4200)))
    fold(connection)

    def read(tables: str) -> int:
        row = connection.execute(
            "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::integer FROM pg_stat_xact_all_tables"
            " WHERE relname ~ %s",
            (tables,),
        ).fetchone()
        assert row is not None
        return int(row[0])

    with connection.transaction():
        values, hours = read("^energy_consumption_y"), read("^hourly_consumption_rollup")
        assert connection.execute(
            "SELECT count(*) BETWEEN 670 AND 671 FROM consumption_by_hour(%s, now() - interval '690 hours', now(), 0)",
            (CITY,),
        ).fetchone() == (True,)
        assert read("^hourly_consumption_rollup") - hours >= 670
        # Of the first hour, which the bound cuts
        assert read("^energy_consumption_y") - values <= 6


@pytest.mark.parametrize("role", ["energy_forecast_app", Role.INGEST, Role.FORECASTER, Role.AUDITOR])
def test_only_the_operator_folds(connection: Connection, role: str) -> None:
    connection.execute(f"SET ROLE {role}")
    for statement in (
        "SELECT ops.refresh_rollup()",
        "SELECT ops.refresh_hours()",
        "SELECT * FROM ops.hourly_differences()",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement)
