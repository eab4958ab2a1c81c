"""Thinning by lead time: a read as of any time gives what it gave before, or nothing, and the ledger knows why."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from energy_forecast.database import Database, Role
from energy_forecast.database.cities import city_named
from energy_forecast.database.protection import faults
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError
from energy_forecast.operations import retention
from energy_forecast.operations.audit import verify_audit
from energy_forecast.operations.maintenance import maintain
from energy_forecast.pipelines.as_of import read_as_of
from servers import CommandLine, Server

Connection = psycopg.Connection[Any]

# Thirteen months ago: the last five days of a month and the first five of the next, so that issues reach from one
# month into the other
TODAY = datetime.now(UTC)
TURN = datetime(TODAY.year - 1 - (TODAY.month == 1), (TODAY.month - 2) % 12 + 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KEPT = 18
FILL = """
    INSERT INTO cities (name, latitude, longitude, timezone) VALUES ('Mumbai', 19, 72.9, 'Asia/Kolkata'),
        ('Berlin', 52.5, 13.4, 'Europe/Berlin'), ('Bonn', 50.7, 7.1, 'Europe/Berlin')"""
# Four issues a day of 48 hours for two cities; Mumbai lacks one issue in three
FORECASTS = """
    INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature)
    SELECT c.id, i + h * interval '1 hour', i, (extract(epoch FROM i)::bigint / 3600 + h) %% 37
    FROM cities c, generate_series(0, 47) h, generate_series(%s::timestamptz, %s, '6 hours') i
    WHERE c.name = 'Berlin' OR c.name = 'Mumbai' AND extract(epoch FROM i)::bigint / 21600 %% 3 <> 0"""


@pytest.fixture(scope="module")
def filled_template(server: Server, template: str) -> Iterator[str]:
    """Yield the name of a database with weather forecasts, to copy."""
    with server.copy_of(template) as database:
        with psycopg.connect(database.url) as connection:
            connection.execute(FILL)
            connection.execute("SELECT ensure_month_partitions('weather_forecasts', %s, now())", [TURN - DAY])
            connection.execute(FORECASTS, [TURN - 5 * DAY, TURN + 5 * DAY])
            connection.execute(FORECASTS, [TODAY.replace(minute=0, second=0, microsecond=0) - 2 * DAY, TODAY])
        yield database.name


@pytest.fixture
def filled(server: Server, filled_template: str) -> Iterator[Database]:
    with server.copy_of(filled_template) as database:
        yield database


@pytest.fixture
def connection(filled: Database) -> Iterator[Connection]:
    """Yield a superuser's connection, in autocommit."""
    with psycopg.connect(filled.url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


@pytest.fixture
def shell(filled: Database, tmp_path: Path) -> CommandLine:
    return CommandLine.on(filled, tmp_path / "home")


def one(connection: Connection, statement: str, *values: Any) -> Any:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return row[0]


def partitions(connection: Connection) -> list[str]:
    """Return the two months with old forecasts."""
    return [
        name
        for (name,) in connection.execute(
            "SELECT partition_name FROM ops.partitions() WHERE table_name = 'weather_forecasts'"
            " AND range_end IN (%s, %s::timestamptz + interval '1 month') ORDER BY 1",
            [TURN, TURN],
        )
    ]


def reads(connection: Connection) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the rows of reads as of each hour, by city, as_of and target."""
    rows = connection.execute(
        "SELECT c.name, a, f.timestamp, f.issued_at, f.temperature FROM cities c,"
        " generate_series(%s::timestamptz, %s, '1 hour') a,"
        " weather_forecast_as_of(c.id, a, a, a + interval '2 days') f",
        [TURN - 5 * DAY, TURN + 5 * DAY],
    ).fetchall()
    return {(name, as_of, target): (issued, degrees) for name, as_of, target, issued, degrees in rows}


def recent(connection: Connection) -> list[Any]:
    return connection.execute(
        "SELECT * FROM weather_forecasts WHERE timestamp > now() - interval '9 days' ORDER BY 1, 2, 3"
    ).fetchall()


def test_a_read_as_of_a_time_is_the_same_or_empty(connection: Connection, filled: Database) -> None:
    """Of two issues for an hour the later has the shorter lead time, so no older issue takes the place of a newer."""
    before, recent_before = reads(connection), recent(connection)
    retention.thin(filled, "weather_forecasts", after="1y", keep=KEPT)
    [step] = maintain(filled, ["retention"])
    assert [item["outcome"] for item in step.items] == ["thinned", "thinned"]
    after = reads(connection)
    assert after == {
        (name, as_of, target): (issued, degrees)
        for (name, as_of, target), (issued, degrees) in before.items()
        if target - issued < timedelta(hours=KEPT)
    }
    assert 0 < len(after) < len(before)
    assert recent(connection) == recent_before


def test_the_ledger_and_the_log_know_the_removed_rows(connection: Connection, filled: Database, tmp_path: Path) -> None:
    """The digest can be computed again from a backup, and the log still adds up to the stored rows."""
    month = partitions(connection)[0]
    assert verify_audit(filled, tmp_path).findings == []
    doomed = connection.execute(
        f"SELECT city_id::text, (timestamp AT TIME ZONE 'UTC')::date::text, f::text FROM {month} f"  # noqa: S608
        f" WHERE timestamp - issued_at >= interval '{KEPT} hours'"
    ).fetchall()
    size = one(connection, "SELECT pg_total_relation_size(%s::regclass)", month)
    retention.thin(filled, "weather_forecasts", after="1y", keep=KEPT)
    maintain(filled, ["retention"])
    groups: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for city, day, text in doomed:
        groups[city, day].append(text.encode())
    parts = [hashlib.sha256(b"\n".join(sorted(groups[key]))).digest() for key in sorted(groups)]
    freed = size - one(connection, "SELECT pg_total_relation_size(%s::regclass)", month)
    assert connection.execute(
        "SELECT row_count, digest, kept_lead_hours, keep = interval '1 year', byte_count FROM ops.dropped_data"
        " WHERE partition_name = %s",
        (month,),
    ).fetchall() == [(len(doomed), hashlib.sha256(b"".join(parts)).digest(), KEPT, True, freed)]
    assert freed > 0
    entry = connection.execute(
        "SELECT old_data, new_data FROM audit_log WHERE action = 'UPDATE' AND old_data ->> 'partition' = %s", (month,)
    ).fetchall()
    assert [old["rows"] - new["rows"] for old, new in entry] == [len(doomed)]
    assert verify_audit(filled, tmp_path).findings == []
    retention.keep(filled, "weather_forecasts", "1y")
    [step] = maintain(filled, ["retention"])
    assert [item["outcome"] for item in step.items] == ["dropped"] * 2
    # A month by its targets is not a month by its issues
    assert verify_audit(filled, tmp_path).findings == []


def test_a_dry_run_counts_what_is_removed(connection: Connection, shell: CommandLine) -> None:
    shell.run("retention", "thin", "weather_forecasts", "--after", "1y", "--keep", str(KEPT))
    stored = one(connection, "SELECT count(*) FROM weather_forecasts")
    [planned] = json.loads(shell.run("maintain", "retention", "--dry-run", "--json").stdout)
    assert one(connection, "SELECT count(*) FROM weather_forecasts") == stored
    [done] = json.loads(shell.run("maintain", "retention", "--json").stdout)
    assert done["numbers"]["rows"] == planned["numbers"]["rows"] > 0
    assert one(connection, "SELECT count(*) FROM weather_forecasts") == stored - done["numbers"]["rows"]
    assert 0.5 < planned["numbers"]["bytes"] / done["numbers"]["bytes"] < 2


def test_a_month_is_thinned_once_and_again_for_fewer_hours(connection: Connection, filled: Database) -> None:
    for hours, months in ((KEPT, 2), (KEPT, 0), (30, 0), (6, 2)):
        retention.thin(filled, "weather_forecasts", after="1y", keep=hours)
        [step] = maintain(filled, ["retention"])
        assert len(step.items) == months
    assert one(
        connection, "SELECT max(timestamp - issued_at) FROM weather_forecasts WHERE timestamp < %s", TURN
    ) == timedelta(hours=5)
    retention.thin(filled, "weather_forecasts", after="never", keep=None)
    assert maintain(filled, ["retention"])[0].items == []


def test_a_removed_lead_time_does_not_come_back(
    connection: Connection, filled: Database, shell: CommandLine, tmp_path: Path
) -> None:
    """An older issue that is loaded again would be read in place of a newer one that was removed."""
    rows = connection.execute(
        "SELECT c.name, f.timestamp, f.issued_at, f.temperature FROM weather_forecasts f"
        " JOIN cities c ON c.id = f.city_id WHERE f.timestamp >= %s AND f.timestamp < %s",
        [TURN - DAY, TURN],
    ).fetchall()
    exported = tmp_path / "again.csv"
    lines = [f"{name},{target.isoformat()},{issued.isoformat()},{degrees}" for name, target, issued, degrees in rows]
    exported.write_text("\n".join(["city,timestamp,issued_at,temperature", *lines, ""]))
    retention.thin(filled, "weather_forecasts", after="1y", keep=KEPT)
    maintain(filled, ["retention"])
    expected = sum(target - issued >= timedelta(hours=KEPT) for _, target, issued, _ in rows)
    report = json.loads(shell.run("ingest", "weather-forecasts", exported, "--json", status=3).stdout)
    assert (report["inserted"], report["rejected"]) == (0, expected)
    assert f"below {KEPT} h" in json.dumps(report)
    with pytest.raises(errors.CheckViolation, match="thinned"):
        connection.execute(
            "INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature)"
            " SELECT id, %s, %s, 3 FROM cities",
            [TURN - DAY, TURN - 3 * DAY],
        )


def test_a_backtest_from_removed_forecasts_is_refused(filled: Database) -> None:
    """It would silently be a forecast with less weather than was known."""
    at = TURN - 2 * DAY
    with filled.transaction(Role.FORECASTER) as forecaster:
        complete = read_as_of(forecaster, city_named(forecaster, "Berlin"), at=at, horizon_hours=30)
    assert complete.weather_ahead.filter(complete.weather_ahead["timestamp"] >= at).height == 31
    retention.thin(filled, "weather_forecasts", after="1y", keep=KEPT)
    maintain(filled, ["retention"])
    with filled.transaction(Role.FORECASTER) as forecaster:
        berlin, bonn = (city_named(forecaster, name) for name in ("Berlin", "Bonn"))
        with pytest.raises(NotEnoughDataError, match=rf"lead times of {KEPT} h and more were removed by retention"):
            read_as_of(forecaster, berlin, at=at, horizon_hours=30)
        # Within the kept lead times nothing is missing
        assert read_as_of(forecaster, berlin, at=at, horizon_hours=17).weather_ahead.height >= 17
        # A city without weather forecasts never had any
        assert read_as_of(forecaster, bonn, at=at, horizon_hours=30).weather_ahead.is_empty()
        read_as_of(forecaster, berlin, at=TODAY, horizon_hours=60)


def test_only_a_policy_thins(connection: Connection) -> None:
    month = partitions(connection)[0]
    connection.execute("SET ROLE energy_forecast_operator")
    call = "SELECT outcome FROM ops.apply_retention('weather_forecasts', %s, now(), now())"
    assert one(connection, call, month) == "not due"
    for values in (
        "thin_after = '1 year'",
        "thin_after = '80 days', kept_lead_hours = 24",
        "thin_after = '1 year', kept_lead_hours = 0",
    ):
        with pytest.raises(errors.CheckViolation):
            connection.execute(f"UPDATE ops.retention_policies SET {values} WHERE table_name = 'weather_forecasts'")  # noqa: S608
    with pytest.raises(errors.CheckViolation):
        connection.execute(
            "UPDATE ops.retention_policies SET thin_after = '1 year', kept_lead_hours = 24"
            " WHERE table_name = 'energy_consumption'"
        )
    for role in ("energy_forecast_app", Role.INGEST, Role.FORECASTER, Role.AUDITOR, Role.OPERATOR):
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT ops.make_thinned_month('weather_forecasts', 'timestamp', now(), now(), 1, 'x')")
        if role != Role.OPERATOR:
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute("UPDATE ops.retention_policies SET thin_after = '1 year', kept_lead_hours = 1")
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(call, [month])


@pytest.mark.parametrize(
    ("table", "after", "keep", "expected"),
    [
        ("weather_forecasts", "2mo", 24, "90 days"),
        ("weather_forecasts", "1y", None, "missing"),
        ("weather_forecasts", "never", 24, "never"),
        ("weather_data", "1y", 24, "cannot be thinned"),
    ],
)
def test_an_implausible_thinning_is_refused(
    filled: Database, table: str, after: str, keep: int | None, expected: str
) -> None:
    with pytest.raises(EnergyForecastError, match=expected):
        retention.thin(filled, table, after=after, keep=keep)


def test_protection_accepts_only_the_constraint_of_the_ledger(connection: Connection, filled: Database) -> None:
    def found() -> list[str]:
        with filled.transaction(Role.AUDITOR) as auditor:
            return [fault.message for fault in faults(auditor)]

    retention.thin(filled, "weather_forecasts", after="1y", keep=KEPT)
    maintain(filled, ["retention"])
    assert found() == []
    # It would refuse what is stored elsewhere
    newest = one(connection, "SELECT max(partition_name) FROM ops.partitions() WHERE table_name = 'weather_forecasts'")
    connection.execute(
        f"ALTER TABLE {newest} ADD CONSTRAINT thinned CHECK (timestamp - issued_at < '1 hour'::interval)"
    )
    assert any("thinned" in message for message in found())


def test_killed_in_the_middle_it_leaves_the_whole_month(
    connection: Connection, filled: Database, shell: CommandLine, tmp_path: Path
) -> None:
    """The new table, the ledger row and the swap are one transaction."""
    retention.thin(filled, "weather_forecasts", after="1y", keep=KEPT)
    months = partitions(connection)
    before = reads(connection)
    with psycopg.connect(filled.url) as reader:
        reader.execute(f"SELECT count(*) FROM {months[0]}")  # noqa: S608
        process = shell.start("maintain", "retention")
        # The rows are copied before the lock for which it waits
        waits = (
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        deadline = time.monotonic() + 60
        while one(connection, waits) == 0:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate()
    assert reads(connection) == before
    # The server ends the transaction of the killed process by itself
    sessions = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'energy-forecast'"
    )
    while one(connection, sessions):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert one(connection, "SELECT count(*) FROM pg_class WHERE relname LIKE '%%\\_thinned%%'") == 0
    assert one(connection, "SELECT count(*) FROM ops.dropped_data") == 0
    shell.run("maintain", "retention")
    assert one(connection, "SELECT count(*) FROM ops.dropped_data WHERE kept_lead_hours = %s", KEPT) == 2
    assert verify_audit(filled, tmp_path).findings == []
