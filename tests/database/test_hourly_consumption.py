"""The hourly view and the profile that users read.

The view has UTC hours, reports its age, is refreshed while others read it, and follows the access of its reader.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from energy_forecast.database import Database, Role
from energy_forecast.operations.maintenance import maintain
from energy_forecast.zones import zone as rules_of
from old_data import Connection

ZONES = ["Europe/Berlin", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati"]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Yield a superuser's connection, in autocommit, to cities in five zones; their five weeks are not refreshed."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SELECT ensure_month_partitions('energy_consumption', now() - interval '36 days', now())")
        for zone in ZONES:
            connection.execute(
                "INSERT INTO cities (name, latitude, longitude, timezone) VALUES (%s, 1, 1, %s)",
                (zone.partition("/")[2], zone),
            )
        connection.execute(
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, peak_demand_kw, available_at)"
            " SELECT c.id, t, extract(epoch FROM t)::bigint / 3600 %% 1009, 7, t + interval '1 hour' FROM cities c,"
            " generate_series(date_trunc('hour', now() - interval '35 days'), now() - interval '2 hours', '1 hour') t"
            " WHERE c.name <> %s",
            ("Kolkata",),
        )
        # Every ten minutes; the last hour but one has only a part
        connection.execute(
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, peak_demand_kw, available_at,"
            " interval_minutes) SELECT c.id, t, 10, extract(minute FROM t), t + interval '10 minutes', 10"
            " FROM cities c, generate_series(date_trunc('hour', now() - interval '35 days'),"
            " date_trunc('hour', now() - interval '3 hours') - interval '40 minutes', '10 minutes') t"
            " WHERE c.name = 'Kolkata'"
        )
        yield connection


def refresh(connection: Connection) -> None:
    connection.execute("SET ROLE energy_forecast_operator")
    connection.execute("CALL refresh_materialized_views()")
    connection.execute("RESET ROLE")


def plan(connection: Connection, statement: str, *, role: str | None = None) -> str:
    if role:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    lines = connection.execute("EXPLAIN " + statement).fetchall()
    connection.execute("RESET ROLE")
    return "\n".join(line for (line,) in lines)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_hours_are_of_utc_whatever_the_sessions_zone(connection: Connection, zone: str) -> None:
    """Kolkata's half hour would cut every hour in two."""
    connection.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
    refresh(connection)
    rows = connection.execute(
        "SELECT h.hour, h.total_consumption, h.peak_demand, h.covered_minutes FROM hourly_consumption h"
        " JOIN cities c ON c.id = h.city_id WHERE c.name = 'Kolkata' ORDER BY h.hour"
    ).fetchall()
    assert {hour.astimezone(UTC).minute for hour, *_ in rows} == {0}
    assert {tuple(rest) for _, *rest in rows[:-1]} == {(Decimal(60), Decimal(50), 60)}
    # The last hour is known in part, and says so
    assert rows[-1][1:] == (Decimal(30), Decimal(20), 30)
    now = datetime.now(UTC)
    first = (now - timedelta(days=30)).replace(minute=0, second=0, microsecond=0)
    assert abs(rows[0][0] - first) <= timedelta(hours=1)


def test_it_says_how_stale_it_is(connection: Connection, database: Database) -> None:
    assert connection.execute("SELECT count(*) FROM ops.view_refreshes").fetchone() == (0,)
    [step] = maintain(database, ["refresh"])
    assert step.outcome == "done"
    row = connection.execute(
        "SELECT r.refreshed_at <= r.finished_at, r.data_until = (SELECT date_trunc('hour', max(timestamp), 'UTC') +"
        " interval '1 hour' FROM energy_consumption), r.row_count = (SELECT count(*) FROM hourly_consumption),"
        " r.refreshed_at > now() - interval '1 minute' FROM ops.view_refreshes r"
    ).fetchone()
    assert row == (True, True, True, True)
    # A value that came later is not in it, but in what people read
    connection.execute(
        "UPDATE energy_consumption SET consumption_kwh = 999999, available_at = now() WHERE timestamp >= now() -"
        " interval '10 hours'"
    )
    highest = "SELECT max(total_consumption) FROM {}"
    assert connection.execute(highest.format("hourly_consumption")).fetchone() < (999999,)  # type: ignore[operator]
    assert connection.execute(
        "SELECT max(r.refreshed_at) < (SELECT max(created_at) FROM energy_consumption) FROM ops.view_refreshes r"
    ).fetchone() == (True,)
    of_berlin = highest.format("city_hourly_consumption WHERE city = 'Berlin'")
    assert connection.execute(of_berlin).fetchone() == (999999,)
    maintain(database, ["refresh"])
    assert connection.execute(highest.format("hourly_consumption")).fetchone() == (
        connection.execute(highest.format("city_hourly_consumption")).fetchone()
    )
    assert connection.execute(of_berlin).fetchone() == (999999,)


def test_a_refresh_waits_for_no_reader_and_no_reader_for_it(connection: Connection, database: Database) -> None:
    refresh(connection)
    with psycopg.connect(database.url) as reader, psycopg.connect(database.url) as late:
        late.execute("SET lock_timeout = '1s'")
        before = reader.execute("SELECT count(*), sum(total_consumption) FROM hourly_consumption").fetchone()
        connection.execute("SET lock_timeout = '5s'")
        connection.execute("BEGIN")
        connection.execute("CALL refresh_materialized_views()")
        # Refreshed and not yet committed
        assert late.execute("SELECT count(*), sum(total_consumption) FROM hourly_consumption").fetchone() == before
        connection.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM hourly_consumption").fetchone() is not None


def test_two_refreshes_at_once_both_end(connection: Connection, database: Database) -> None:
    failed: list[Exception] = []

    def again() -> None:
        try:
            with psycopg.connect(database.url, autocommit=True) as own:
                refresh(own)
        except Exception as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    threads = [Thread(target=again) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert connection.execute("SELECT count(*) FROM ops.view_refreshes").fetchone() == (3,)


def test_a_view_that_was_restored_without_data_is_filled(connection: Connection) -> None:
    connection.execute("REFRESH MATERIALIZED VIEW hourly_consumption WITH NO DATA")
    refresh(connection)
    assert connection.execute("SELECT count(*) > 3000 FROM hourly_consumption").fetchone() == (True,)


@pytest.mark.parametrize("role", ["energy_forecast_app", Role.INGEST, Role.FORECASTER, Role.AUDITOR])
def test_nobody_else_reads_or_refreshes_it(connection: Connection, role: str) -> None:
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT count(*) FROM hourly_consumption")
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute("CALL refresh_materialized_views()")


def test_a_person_reads_the_hours_of_her_cities(connection: Connection) -> None:
    refresh(connection)
    name = f"anna_{uuid4().hex[:8]}"
    person = sql.Identifier(name)
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN; GRANT energy_forecast_app TO {}").format(person, person))
    try:
        connection.execute(
            "INSERT INTO user_city_access (user_id, city_id) SELECT %s, id FROM cities WHERE name = 'Berlin'", (name,)
        )
        connection.execute(sql.SQL("SET ROLE {}").format(person))
        for relation in ("city_hourly_consumption", "hour_of_day_profile", "consumption_at_utc_hour(12)"):
            assert connection.execute(f"SELECT DISTINCT city FROM {relation}").fetchall() == [("Berlin",)]  # noqa: S608
        assert connection.execute("SELECT count(*) BETWEEN 718 AND 721 FROM city_hourly_consumption").fetchone() == (
            True,
        )
    finally:
        connection.execute("RESET ROLE")
        connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(person))


@pytest.mark.parametrize("zone", ZONES)
def test_the_profile_goes_by_the_citys_own_clock(connection: Connection, zone: str) -> None:
    """The days equal those of Python's zones: half-hour zones, half-hour shifts, and changes of the last 30 days.

    An hour that occurs twice counts twice.
    """
    refresh(connection)
    city = zone.partition("/")[2]
    hours: dict[Any, list[tuple[Decimal, Any]]] = defaultdict(list)
    for hour, kwh, covered in connection.execute(
        "SELECT h.hour, h.total_consumption, h.covered_minutes FROM hourly_consumption h"
        " JOIN cities c ON c.id = h.city_id WHERE c.name = %s",
        (city,),
    ).fetchall():
        if covered == 60:
            local = hour.astimezone(rules_of(zone))
            hours[local.time()].append((kwh, local.date()))
    expected = {
        time: (round(float(sum(k for k, _ in v) / len(v)), 6), len(v), len({d for _, d in v}))
        for time, v in hours.items()
    }
    found = {
        time: (round(float(mean), 6), count, days)
        for time, mean, count, days in connection.execute(
            "SELECT local_time, mean_kwh, hours, local_days FROM hour_of_day_profile WHERE city = %s", (city,)
        ).fetchall()
    }
    assert found == expected
    assert len(found) >= 24


def test_the_indexes_serve_what_they_are_for(connection: Connection) -> None:
    refresh(connection)
    connection.execute("SELECT ops.refresh_hours()")
    connection.execute("ANALYZE hourly_consumption, hourly_consumption_rollup")
    one_city = "city_id = (SELECT id FROM cities WHERE name = 'Berlin') AND hour >= now() - interval '1 day'"
    assert "hourly_consumption_city_hour" in plan(connection, f"SELECT * FROM hourly_consumption WHERE {one_city}")  # noqa: S608
    barrier = plan(connection, f"SELECT * FROM city_hourly_consumption WHERE {one_city}", role="energy_forecast_app")  # noqa: S608
    assert "hourly_consumption_rollup_key" in barrier
    by_id = "SELECT * FROM hour_of_day_profile WHERE city_id = (SELECT id FROM cities WHERE name = 'Berlin')"
    assert "hourly_consumption_rollup_key" in plan(connection, by_id, role="energy_forecast_app")
    at_noon = (
        "SELECT avg(total_consumption) FROM hourly_consumption WHERE extract(hour FROM hour AT TIME ZONE 'UTC') = 12"
    )
    assert "idx_hour_of_day" in plan(connection, at_noon)
    connection.execute("SELECT pg_stat_reset()")
    before = scans(connection)
    assert connection.execute("SELECT count(*), min(hours) >= 29 FROM consumption_at_utc_hour(12)").fetchone() == (
        5,
        True,
    )
    assert scans(connection) > before, "the function reads by the index"


def scans(connection: Connection) -> int:
    connection.execute("SELECT pg_stat_force_next_flush()")
    row = connection.execute(
        "SELECT idx_scan FROM pg_stat_all_indexes WHERE indexrelname = 'idx_hour_of_day'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_active_predictions_are_found_by_an_index_that_need_not_move(connection: Connection) -> None:
    """No predicate on now() is possible; recent forecasts are found by the index among a year of old ones."""
    connection.execute(
        "INSERT INTO models (name, type, version, trained_until) VALUES ('m', 'baseline', '1', '2020-01-01Z')"
    )
    connection.execute(
        "INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
        " started_at, finished_at) SELECT id, 'replay', now() - interval '200 days', '48 hours', 'none', '{0.5}',"
        " 'succeeded', now(), now() FROM models"
    )
    # As the owner: a row of anyone else needs a vintage
    connection.execute("SET ROLE energy_forecast_owner")
    connection.execute(
        "INSERT INTO predictions (city_id, model_id, timestamp, predicted_consumption, run_id, issued_at)"
        " SELECT c.id, r.model_id, now() + h * interval '1 hour', 100, r.id, r.issued_at"
        " FROM forecast_runs r, cities c, generate_series(-4500, 48) h"
    )
    connection.execute("RESET ROLE")
    connection.execute("VACUUM ANALYZE predictions")
    text = plan(connection, "SELECT * FROM predictions WHERE timestamp >= now() - interval '24 hours'")
    used = connection.execute(
        "SELECT x.indexrelid::regclass::text FROM pg_index x JOIN pg_inherits i ON i.inhrelid = x.indexrelid"
        " WHERE i.inhparent = 'idx_active_predictions'::regclass"
    ).fetchall()
    assert any(f"using {name} " in text or f"on {name} " in text for (name,) in used), text
