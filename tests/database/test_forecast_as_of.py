"""Which forecast was live at a moment: issued, recorded, and made for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from energy_forecast.database import Database, Role
from servers import Server

PUNE = "00000000-0000-0000-0000-000000000001"
BERLIN = "00000000-0000-0000-0000-000000000002"
TARGET = "2026-05-02 12:00Z"

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def shared(server: Server, template: str) -> Iterator[Connection]:
    """Yield a database with two cities and two models."""
    with server.copy_of(template) as database, psycopg.connect(database.url) as connection:
        for city, name in ((PUNE, "Pune"), (BERLIN, "Berlin")):
            connection.execute(
                "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, %s, 18, 73, 'Asia/Kolkata')",
                (city, name),
            )
        for name, version in (("ridge", "1"), ("ridge", "2"), ("trees", "1")):
            connection.execute(
                "INSERT INTO models (name, type, version, trained_until) VALUES (%s, 'x', %s, '2026-01-01Z')",
                (name, version),
            )
        connection.execute(
            "SELECT ensure_month_partitions('prediction_vintages', '2026-01-01Z', now() + interval '1 month')"
        )
        # What these tests make was recorded in the past, which nobody may claim: so not as the platform allows it
        for table in ("forecast_runs", "prediction_vintages"):
            connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(sql.Identifier(table)))
        connection.commit()
        yield connection


@pytest.fixture
def connection(shared: Connection) -> Iterator[Connection]:
    yield shared
    shared.rollback()


def issue(
    connection: Connection,
    issued_at: str,
    value: float,
    *,
    recorded_at: str | None = None,
    model: str = "ridge",
    version: str = "1",
    purpose: str = "live",
    city: str = PUNE,
    target: str = TARGET,
    levels: tuple[float, ...] = (0.05, 0.5, 0.95),
) -> None:
    """Insert a run of one target hour, recorded at `issued_at` unless given."""
    run = str(uuid4())
    recorded = recorded_at or issued_at
    connection.execute(
        "INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
        " started_at, finished_at, created_at) SELECT %s, id, %s, %s, '48 hours', 'none', %s, 'succeeded', %s, %s, %s"
        " FROM models WHERE name = %s AND version = %s",
        (run, purpose, issued_at, list(levels), recorded, recorded, recorded, model, version),
    )
    connection.execute(
        "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
        " interval_minutes, quantile_count, predicted_consumption, quantiles, created_at) SELECT id, %s, model_id,"
        " issued_at, %s, %s, 60, quantile_count, ARRAY[%s::float8], %s, created_at FROM forecast_runs WHERE id = %s",
        (city, target, target, value, [value + 10 * number for number in range(len(levels))], run),
    )


def live(connection: Connection, at: str, model: str | None = None, city: str = PUNE) -> list[tuple[Any, ...]]:
    connection.execute("SET ROLE energy_forecast_forecaster")
    rows = connection.execute(
        "SELECT model, version, predicted_consumption::integer"
        " FROM forecast_as_of(%s, %s, '2026-05-02Z', '2026-05-03Z', %s)",
        (city, at, model),
    ).fetchall()
    connection.execute("RESET ROLE")
    return rows


def test_the_latest_issue_is_live_until_the_next(connection: Connection) -> None:
    issue(connection, "2026-05-01 06:00Z", 100)
    issue(connection, "2026-05-01 18:00Z", 200, version="2")
    assert live(connection, "2026-05-01 05:59Z") == []
    assert live(connection, "2026-05-01 06:00Z") == [("ridge", "1", 100)]
    assert live(connection, "2026-05-01 17:59Z") == [("ridge", "1", 100)]
    assert live(connection, "2026-05-01 18:00Z") == [("ridge", "2", 200)]
    assert live(connection, "2026-06-01 00:00Z") == [("ridge", "2", 200)]
    assert live(connection, "2026-06-01 00:00Z", city=BERLIN) == []


def test_what_was_issued_but_not_recorded_was_not_there(connection: Connection) -> None:
    issue(connection, "2026-05-01 06:00Z", 100, recorded_at="2026-05-01 07:30Z")
    assert live(connection, "2026-05-01 07:00Z") == []
    assert live(connection, "2026-05-01 07:30Z") == [("ridge", "1", 100)]


@pytest.mark.parametrize("purpose", ["replay", "backtest"])
def test_what_was_made_later_as_if_then_was_never_live(connection: Connection, purpose: str) -> None:
    issue(connection, "2026-05-01 06:00Z", 100)
    issue(connection, "2026-05-01 09:00Z", 999, purpose=purpose, recorded_at="2026-05-01 09:00Z")
    assert live(connection, "2026-06-01 00:00Z") == [("ridge", "1", 100)]


def test_every_model_has_its_own_unless_one_is_named(connection: Connection) -> None:
    issue(connection, "2026-05-01 06:00Z", 100)
    issue(connection, "2026-05-01 09:00Z", 300, model="trees")
    assert live(connection, "2026-05-02 00:00Z") == [("ridge", "1", 100), ("trees", "1", 300)]
    assert live(connection, "2026-05-02 00:00Z", "ridge") == [("ridge", "1", 100)]
    assert live(connection, "2026-05-02 00:00Z", "none such") == []


def test_of_two_issues_of_one_moment_the_one_recorded_last_is_live(connection: Connection) -> None:
    issue(connection, "2026-05-01 06:00Z", 100)
    issue(connection, "2026-05-01 06:00Z", 200, recorded_at="2026-05-01 06:10Z")
    assert live(connection, "2026-05-01 06:05Z") == [("ridge", "1", 100)]
    assert live(connection, "2026-05-01 06:10Z") == [("ridge", "1", 200)]


def test_the_longest_lead_time_is_found_and_the_span_is_half_open(connection: Connection) -> None:
    issue(connection, "2026-04-25 00:00Z", 100, target="2026-05-02 00:00Z")
    issue(connection, "2026-05-01 06:00Z", 300, target="2026-05-03 00:00Z")
    assert live(connection, "2026-06-01 00:00Z") == [("ridge", "1", 100)]


def test_the_bounds_are_the_quantiles_at_5_and_95_percent(connection: Connection) -> None:
    issue(connection, "2026-05-01 06:00Z", 100, levels=(0.01, 0.05, 0.5, 0.95))
    issue(connection, "2026-05-01 06:00Z", 100, model="trees", levels=(0.1, 0.9))
    bounds = connection.execute(
        "SELECT confidence_lower, confidence_upper, recorded_at = issued_at"
        " FROM forecast_as_of(%s, '2026-05-02Z', '2026-05-02Z', '2026-05-03Z')",
        (PUNE,),
    ).fetchall()
    assert bounds == [(110, 130, True), (None, None, True)], "a model without those levels has no such bounds"


def issue_quarters(connection: Connection, issued_at: str, value: float, *, purpose: str = "live") -> None:
    """Insert a run of quarters of an hour from 12:00 to 12:45, recorded at `issued_at`: value, value + 1, ..."""
    run = str(uuid4())
    connection.execute(
        "INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, interval_minutes,"
        " quantile_levels, status, started_at, finished_at, created_at) SELECT %s, id, %s, %s, '48 hours', 'none', 15,"
        " '{0.05,0.95}', 'succeeded', %s, %s, %s FROM models WHERE name = 'trees'",
        (run, purpose, *[issued_at] * 4),
    )
    connection.execute(
        "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
        " interval_minutes, quantile_count, predicted_consumption, quantiles, created_at) SELECT id, %s, model_id,"
        " issued_at, %s, %s::timestamptz + interval '45 minutes', 15, 2, %s, %s, created_at FROM forecast_runs"
        " WHERE id = %s",
        (
            *(PUNE, TARGET, TARGET, [value + number for number in range(4)]),
            *([part for number in range(4) for part in (value + number - 5, value + number + 5)], run),
        ),
    )


def test_quarters_of_an_hour_are_values_of_their_own(connection: Connection) -> None:
    """The resolution belongs to the run, so one model may forecast hours and another quarters."""
    issue_quarters(connection, "2026-05-02 06:00Z", 10)
    assert connection.execute(
        "SELECT to_char(timestamp, 'HH24:MI'), predicted_consumption, quantiles, interval_minutes FROM vintage_values"
        " ORDER BY timestamp"
    ).fetchall() == [(f"12:{15 * n:02}", 10 + n, [5 + n, 15 + n], 15) for n in range(4)]
    assert connection.execute(
        "SELECT to_char(timestamp, 'HH24:MI'), predicted_consumption, confidence_lower, confidence_upper, quantiles"
        " FROM forecast_as_of(%s, '2026-05-02 11:00Z', '2026-05-02 12:10Z', '2026-05-02 12:45Z')",
        (PUNE,),
    ).fetchall() == [(f"12:{15 * n:02}", 10 + n, 5 + n, 15 + n, [5 + n, 15 + n]) for n in (1, 2)]


def test_evolution_lists_every_forecast_of_an_interval(connection: Connection) -> None:
    """Of all runs with their purpose, in the order of issue, for any time within the interval."""
    issue(connection, "2026-05-02 05:00Z", 100)
    issue(connection, "2026-04-25 12:00Z", 90)
    issue(connection, "2026-05-02 07:00Z", 110, purpose="replay", recorded_at="2026-05-03Z")
    issue(connection, "2026-05-02 08:00Z", 120, target="2026-05-02 13:00Z")
    issue_quarters(connection, "2026-05-02 06:00Z", 10, purpose="backtest")
    found = connection.execute(
        "SELECT to_char(issued_at, 'DD HH24'), model, purpose, predicted_consumption, quantiles[1]"
        " FROM forecast_evolution(%s, '2026-05-02 12:44:59.9Z')",
        (PUNE,),
    ).fetchall()
    assert found == [
        ("25 12", "ridge", "live", 90, 90),
        ("02 05", "ridge", "live", 100, 100),
        ("02 06", "trees", "backtest", 12, 7),
        ("02 07", "ridge", "replay", 110, 110),
    ]


def test_a_person_sees_cities_of_hers_only(connection: Connection) -> None:
    issue(connection, "2026-05-01 06:00Z", 100)
    issue(connection, "2026-05-01 06:00Z", 200, city=BERLIN)
    person = f"anna_{uuid4().hex[:8]}"
    connection.execute(sql.SQL("CREATE ROLE {0}; GRANT energy_forecast_app TO {0}").format(sql.Identifier(person)))
    connection.execute("INSERT INTO user_city_access (user_id, city_id) VALUES (%s, %s)", (person, PUNE))
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(person)))
    seen = [
        connection.execute(
            "SELECT count(*) FROM forecast_as_of(%s, '2026-06-01Z', '2026-05-01Z', '2026-06-01Z')", (city,)
        ).fetchone()
        for city in (PUNE, BERLIN)
    ]
    assert seen == [(1,), (0,)]
    connection.execute("RESET ROLE")
    connection.execute("SET ROLE energy_forecast_auditor")
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT forecast_as_of(%s, now(), now(), now())", (PUNE,))


def scans(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return the scans of each partition of vintages in this transaction: (sequential, by an index)."""
    return {
        name: (whole, by_index)
        for name, whole, by_index in connection.execute(
            "SELECT relname, seq_scan, coalesce(idx_scan, 0) FROM pg_stat_xact_all_tables"
            " WHERE relname LIKE 'prediction_vintages%'"
        )
    }


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
def test_a_day_is_found_by_index_in_two_months_of_vintages(connection: Connection, mode: str) -> None:
    """A year of vintages must not be read for a day: issues more than 168 hours before the day cannot hold it."""
    connection.execute(
        "INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
        " started_at, finished_at, created_at)"
        " SELECT id, 'live', t, '48 hours', 'none', '{0.05,0.95}', 'succeeded', t, t, t"
        " FROM models, generate_series('2026-01-01Z'::timestamptz, '2026-06-30Z', interval '1 day') t"
        " WHERE name = 'trees'"
    )
    connection.execute(
        "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
        " interval_minutes, quantile_count, predicted_consumption, quantiles, created_at) SELECT r.id, c.id, model_id,"
        " issued_at, issued_at, issued_at + interval '47 hours', 60, 2, array_fill(1::float8, ARRAY[48]),"
        " array_fill(1::real, ARRAY[96]), r.created_at FROM forecast_runs r, cities c"
    )
    connection.execute("ANALYZE prediction_vintages")
    connection.execute("ANALYZE forecast_runs")
    connection.execute("SELECT set_config('plan_cache_mode', %s, true)", (mode,))
    before = scans(connection)
    assert connection.execute(
        "SELECT count(*) FROM forecast_as_of(%s, '2026-06-01Z', '2026-05-02Z', '2026-05-03Z')", (PUNE,)
    ).fetchone() == (24,)
    used = {name: found for name, found in scans(connection).items() if found != before.get(name)}
    # Issues from 25 April to 3 May
    assert set(used) <= {f"prediction_vintages_y2026m0{month}" for month in (4, 5)}
    assert used
    assert all(whole == before.get(name, (0, 0))[0] for name, (whole, _) in used.items()), used


def test_the_forecaster_still_writes_what_is_live(database: Database) -> None:
    """The other way round: with the platform's own triggers in place, a run of now is live now."""
    with database.transaction(Role.OWNER) as connection:
        connection.execute(
            "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, 'Pune', 18, 73, 'Asia/Kolkata')",
            (PUNE,),
        )
    now = datetime.now(UTC)
    with database.transaction(Role.FORECASTER) as connection:
        connection.execute(
            "INSERT INTO models (name, type, version, trained_until) VALUES ('ridge', 'x', '1', '2026-01-01Z')"
        )
        connection.execute(
            "INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
            " started_at, finished_at) SELECT id, 'live', now(), '48 hours', 'none', '{0.5}', 'succeeded', now(),"
            " now() FROM models"
        )
        connection.execute(
            "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
            " interval_minutes, quantile_count, predicted_consumption, quantiles) SELECT id, %s, model_id, issued_at,"
            " issued_at + interval '1 hour', issued_at + interval '1 hour', 60, 1, '{7}', '{7}' FROM forecast_runs",
            (PUNE,),
        )
    with database.transaction(Role.FORECASTER) as connection:
        row = connection.execute(
            "SELECT predicted_consumption, recorded_at >= %s"
            " FROM forecast_as_of(%s, now(), now(), now() + interval '1 day')",
            (now, PUNE),
        ).fetchone()
    assert row == (7, True)
