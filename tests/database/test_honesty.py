"""The database itself refuses what is dishonest, and keeps what was known."""

# ruff: noqa: S608 - statements of these tests' own constants

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from energy_forecast.database import Database, Role
from energy_forecast.database.history import load_as_of
from servers import Server

PUNE = "00000000-0000-0000-0000-000000000001"
MODEL = "00000000-0000-0000-0000-000000000002"
RUN = "00000000-0000-0000-0000-000000000003"

Connection = psycopg.Connection[Any]


def prepare(connection: Connection) -> None:
    """Insert a city, partitions of three months and a model version."""
    connection.execute(
        "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, 'Pune', 18.5, 73.9, 'Asia/Kolkata')",
        (PUNE,),
    )
    for table in ("energy_consumption", "weather_data", "weather_forecasts", "prediction_vintages"):
        connection.execute("SELECT ensure_month_partitions(%s, '2024-01-01Z', '2024-03-01Z')", (table,))
    connection.execute(
        "INSERT INTO models (id, name, type, version, trained_until)"
        " VALUES (%s, 'naive-24', 'baseline', '1', '2024-01-01Z')",
        (MODEL,),
    )
    connection.commit()


@pytest.fixture(scope="module")
def shared(server: Server, template: str) -> Iterator[Connection]:
    """Yield a connection to a database for tests that commit nothing."""
    with server.copy_of(template) as database, psycopg.connect(database.url) as connection:
        prepare(connection)
        yield connection


@pytest.fixture
def connection(shared: Connection) -> Iterator[Connection]:
    """Yield a superuser's connection that is rolled back; each test takes its own role."""
    yield shared
    shared.rollback()


@pytest.fixture
def committing(database: Database) -> Iterator[Connection]:
    """As `connection`, to a database of its own, for tests that need more than one transaction."""
    with psycopg.connect(database.url) as connection:
        prepare(connection)
        yield connection


def become(connection: Connection, role: Role) -> None:
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))


def load(connection: Connection, **values: object) -> None:
    """Insert a value of consumption as the role that loads, correct except for the given columns."""
    become(connection, Role.INGEST)
    row = {
        "city_id": PUNE,
        "timestamp": "2024-01-15 00:00Z",
        "consumption_kwh": "100",
        "available_at": "2024-01-15 01:00Z",
    } | values
    insert(connection, "energy_consumption", row)


def insert(connection: Connection, table: str, row: dict[str, object]) -> None:
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        ),
        list(row.values()),
    )


@pytest.mark.parametrize(
    ("values", "error"),
    [
        pytest.param({"consumption_kwh": "NaN"}, errors.CheckViolation, id="not a number"),
        pytest.param({"consumption_kwh": "-0.01"}, errors.CheckViolation, id="negative"),
        pytest.param({"consumption_kwh": "9999999999.995"}, errors.NumericValueOutOfRange, id="too large"),
        pytest.param({"consumption_kwh": "Infinity"}, errors.NumericValueOutOfRange, id="infinite"),
        pytest.param({"peak_demand_kw": "NaN"}, errors.CheckViolation, id="peak not a number"),
        pytest.param({"timestamp": "infinity", "available_at": "infinity"}, errors.CheckViolation, id="never"),
        pytest.param({"timestamp": "2031-01-01Z", "available_at": "2031-01-02Z"}, errors.CheckViolation, id="no month"),
        pytest.param({"available_at": "2024-01-15 00:59:59Z"}, errors.CheckViolation, id="known before it ended"),
        pytest.param({"interval_minutes": 7}, errors.CheckViolation, id="not a part of an hour"),
        pytest.param({"created_at": "2020-01-01Z"}, errors.InsufficientPrivilege, id="forged created_at"),
        pytest.param({"city_id": RUN}, errors.ForeignKeyViolation, id="no such city"),
    ],
)
def test_a_dishonest_value_is_refused(
    connection: Connection, values: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        load(connection, **values)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("latitude", 95),
        ("latitude", "NaN"),
        ("longitude", -180.1),
        ("timezone", "IST"),
        ("timezone", "EST5EDT"),
        ("timezone", "Foo/Bar+5"),
        ("timezone", "Europe/Atlantis"),
        ("country_code", "Germany"),
        ("name", " Pune"),
    ],
)
def test_a_city_is_somewhere_and_in_a_zone(connection: Connection, column: str, value: object) -> None:
    row = {"name": "Delhi", "latitude": 28.6, "longitude": 77.2, "timezone": "Asia/Kolkata"} | {column: value}
    become(connection, Role.INGEST)
    with pytest.raises((psycopg.DataError, psycopg.IntegrityError)):
        insert(connection, "cities", row)


@pytest.mark.parametrize(
    "zone", ["UTC", "Asia/Kolkata", "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "Etc/GMT+5"]
)
def test_every_form_of_zone_is_taken(connection: Connection, zone: str) -> None:
    become(connection, Role.INGEST)
    insert(connection, "cities", {"name": zone, "latitude": 0, "longitude": 0, "timezone": zone})


def test_the_location_index_works_without_a_search_path(connection: Connection) -> None:
    """ll_to_earth() does not: a restore loses the index, and INSERT and REINDEX fail."""
    connection.execute("SET search_path = ''")
    connection.execute(
        "INSERT INTO public.cities (name, latitude, longitude, timezone) VALUES ('Delhi', 28.6, 77.2, 'Asia/Kolkata')"
    )
    connection.execute("REINDEX INDEX public.idx_cities_location")
    connection.execute("SET search_path = public, ext")
    found = connection.execute(
        "SELECT name FROM cities WHERE earth_box(geo_point(28.7, 77.1), 50000) @> geo_point(latitude, longitude)"
    ).fetchall()
    assert found == [("Delhi",)]


def test_months_meet_without_a_hole_whatever_the_sessions_zone(connection: Connection) -> None:
    """Bare dates, made under New York and then UTC, would leave five hours in which inserts fail."""
    connection.execute("SET timezone = 'America/New_York'")
    connection.execute("SELECT ensure_month_partitions('energy_consumption', '2024-05-31 22:00Z', '2024-05-31 23:00Z')")
    connection.execute("SET timezone = 'Asia/Kolkata'")
    connection.execute("SELECT ensure_month_partitions('energy_consumption', '2024-06-01 00:00Z', '2024-06-01 00:00Z')")
    for timestamp in ("2024-05-31 23:00Z", "2024-06-01 00:00Z", "2024-06-01 03:00Z"):
        load(connection, timestamp=timestamp, available_at="2024-06-02Z")
    bounds = connection.execute(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'energy_consumption_y2024m06'"
    ).fetchone()
    connection.execute("SET timezone = 'UTC'")
    assert bounds == ("FOR VALUES FROM ('2024-06-01 05:30:00+05:30') TO ('2024-07-01 05:30:00+05:30')",)


def test_a_partition_is_made_once_and_grants_nothing(connection: Connection) -> None:
    made = connection.execute(
        "SELECT ensure_month_partitions('weather_data', '2025-01-10Z', '2025-03-10Z'),"
        " ensure_month_partitions('weather_data', '2025-01-10Z', '2025-03-10Z')"
    ).fetchone()
    assert made == (3, 0)
    assert connection.execute(
        "SELECT DISTINCT grantee::text FROM information_schema.role_table_grants"
        " WHERE table_name = 'weather_data_y2025m02'"
    ).fetchall() == [("energy_forecast_owner",)]


@pytest.mark.parametrize("table", ["cities", "energy_consumption_y2024m01", "x; DROP TABLE cities"])
def test_partitions_are_made_of_known_tables_only(connection: Connection, table: str) -> None:
    become(connection, Role.INGEST)
    with pytest.raises(errors.InvalidParameterValue):
        connection.execute("SELECT ensure_month_partitions(%s, '2024-01-10Z', '2024-01-10Z')", (table,))


def correct(connection: Connection, value: int, available_at: str) -> None:
    connection.execute(
        "UPDATE energy_consumption SET consumption_kwh = %s, available_at = %s WHERE timestamp = '2024-01-15Z'",
        (value, available_at),
    )


def known(connection: Connection, at: str) -> list[float]:
    """Return the first two hours as the forecaster could know them at a time."""
    become(connection, Role.FORECASTER)
    return [
        float(row[0])
        for row in connection.execute(
            "SELECT consumption_kwh FROM consumption_as_of(%s, %s, '2024-01-15Z', '2024-01-15 02:00Z')", (PUNE, at)
        )
    ]


def test_any_moments_knowledge_can_be_read_back(committing: Connection) -> None:
    """A correction must not change what a backtest of an earlier moment sees."""
    load(committing)
    committing.commit()
    correct(committing, 90, "2024-01-20Z")
    committing.commit()
    correct(committing, 80, "2024-01-25Z")
    committing.commit()
    assert known(committing, "2024-01-15 00:59Z") == []
    assert known(committing, "2024-01-15 01:00Z") == [100]
    assert known(committing, "2024-01-20 00:00Z") == [90]
    assert known(committing, "2024-01-26 00:00Z") == [80]


@pytest.mark.parametrize(
    ("table", "value"), [("energy_consumption", "consumption_kwh"), ("weather_data", "temperature")]
)
def test_what_was_known_is_the_same_with_and_without_corrections(
    committing: Connection, table: str, value: str
) -> None:
    """Both ways of reading return only what was known: with corrections in the span, and without.

    A correction elsewhere in the span does not change the other values. One session keeps its plans.
    """
    function = "consumption_as_of" if table == "energy_consumption" else "weather_as_of"
    committing.execute(
        f"INSERT INTO {table} (city_id, timestamp, {value}, available_at)"
        " SELECT %s, t, extract(hour FROM t AT TIME ZONE 'UTC'), t + CASE WHEN t = '2024-01-31 23:00Z'"
        " THEN interval '9 days' ELSE interval '1 hour' END"
        " FROM generate_series('2024-01-31 20:00Z'::timestamptz, '2024-02-01 03:00Z', '1 hour') t",
        (PUNE,),
    )
    committing.commit()

    def seen(at: str, first: str, end: str) -> list[int]:
        become(committing, Role.FORECASTER)
        found = committing.execute(
            f"SELECT timestamp, {value} FROM {function}(%s, %s, %s, %s)", (PUNE, at, first, end)
        ).fetchall()
        committing.execute("RESET ROLE")
        assert found == sorted(found), "in the order of time"
        return [int(row[1]) for row in found]

    def all_seen() -> list[list[int]]:
        return [
            # The value of 23:00 comes nine days late, and nothing from after the moment is known
            seen("2024-02-01 02:00Z", "2024-01-31 20:00Z", "2024-02-02Z"),
            seen("2024-02-20Z", "2024-01-31 20:00Z", "2024-02-02Z"),
            seen("2024-02-20Z", "2024-01-31 22:00Z", "2024-02-01Z"),
            seen("2024-01-31 20:59Z", "2024-01-31 20:00Z", "2024-02-02Z"),
        ]

    before = [[20, 21, 22, 0, 1], [20, 21, 22, 23, 0, 1, 2, 3], [22, 23], []]
    assert all_seen() == before
    committing.execute(
        f"UPDATE {table} SET {value} = 50, available_at = '2024-02-10Z' WHERE timestamp = '2024-02-01 01:00Z'"
    )
    committing.commit()
    assert all_seen() == [before[0], [20, 21, 22, 23, 0, 50, 2, 3], *before[2:]]


def test_a_corrected_value_has_the_moment_of_its_correction(committing: Connection) -> None:
    load(committing)
    committing.commit()
    correct(committing, 90, "2024-01-20Z")
    committing.commit()
    row = committing.execute(
        "SELECT c.created_at > r.created_at, c.created_at = r.superseded_at"
        " FROM energy_consumption c JOIN energy_consumption_revisions r USING (city_id, timestamp)"
    ).fetchall()
    assert row == [(True, True)]


def test_an_older_value_cannot_replace_a_newer_one(connection: Connection) -> None:
    load(connection, available_at="2024-01-20Z")
    with pytest.raises(errors.IntegrityConstraintViolation, match="cannot replace"):
        correct(connection, 90, "2024-01-19Z")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM energy_consumption",
        "SELECT * FROM weather_data",
        "SELECT * FROM weather_forecasts",
        "SELECT * FROM energy_consumption_revisions",
        "SELECT * FROM energy_consumption_y2024m01",
        "UPDATE prediction_vintages SET predicted_consumption = '{1}'",
        "DELETE FROM prediction_vintages",
        "DELETE FROM predictions",
        "UPDATE forecast_runs SET issued_at = '2024-01-01Z'",
        "UPDATE models SET trained_until = '2020-01-01Z'",
        "UPDATE model_artifacts SET artifact = ''",
        "UPDATE forecast_scores SET mape = 0",
        "INSERT INTO energy_consumption (city_id) VALUES (NULL)",
    ],
)
def test_the_forecaster_reads_history_only_as_of_and_rewrites_nothing(connection: Connection, statement: str) -> None:
    become(connection, Role.FORECASTER)
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM energy_consumption",
        "TRUNCATE energy_consumption",
        "UPDATE energy_consumption SET created_at = now()",
        "UPDATE energy_consumption SET timestamp = now()",
        "UPDATE energy_consumption_revisions SET consumption_kwh = 1",
        "DELETE FROM energy_consumption_revisions",
        "UPDATE weather_forecasts SET temperature = 1",
        "UPDATE ops.ingest_batches SET read = 0",
        "DELETE FROM ops.rejected_rows",
        "INSERT INTO prediction_vintages (run_id) VALUES (NULL)",
    ],
)
def test_who_loads_deletes_nothing_and_rewrites_no_history(connection: Connection, statement: str) -> None:
    become(connection, Role.INGEST)
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)


# Quantiles of two hours
FIRST, SECOND = [90.0, 100.0, 110.0], [40.0, 50.0, 50.0]


def keep_vintage(connection: Connection, **values: object) -> None:
    """Insert a run and one vintage of it, valid except for `values`."""
    become(connection, Role.FORECASTER)
    connection.execute(
        "INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
        " started_at, finished_at) VALUES (%s, %s, 'replay', '2024-01-15Z', '48 hours', 'none', '{0.1,0.5,0.9}',"
        " 'succeeded', now(), now())",
        (RUN, MODEL),
    )
    row = {
        "run_id": RUN,
        "city_id": PUNE,
        "model_id": MODEL,
        "issued_at": "2024-01-15Z",
        "first_timestamp": "2024-01-15 06:00Z",
        "last_timestamp": "2024-01-15 07:00Z",
        "interval_minutes": 60,
        "quantile_count": 3,
        "predicted_consumption": [100.0, 50.0],
        "quantiles": [*FIRST, *SECOND],
    } | values
    insert(connection, "prediction_vintages", row)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        pytest.param({"quantiles": [100.0, 90.0, 110.0, *SECOND]}, errors.CheckViolation, id="crossed"),
        pytest.param({"quantiles": [*FIRST, 40.0, 60.0, 50.0]}, errors.CheckViolation, id="crossed in the second hour"),
        pytest.param({"quantiles": [90.0, float("nan"), 110.0, *SECOND]}, errors.CheckViolation, id="not a number"),
        pytest.param({"quantiles": [90.0, None, 110.0, *SECOND]}, errors.CheckViolation, id="missing"),
        pytest.param({"quantiles": [*FIRST, 40.0, 50.0, float("inf")]}, errors.CheckViolation, id="infinite"),
        pytest.param({"quantiles": [*FIRST, 40.0, 50.0, 1e11]}, errors.CheckViolation, id="too large"),
        pytest.param({"quantiles": [-1.0, 100.0, 110.0, *SECOND]}, errors.CheckViolation, id="negative"),
        pytest.param({"quantiles": [*FIRST, *SECOND, 60.0]}, errors.CheckViolation, id="one too many"),
        pytest.param(
            {"quantiles": [1.0, 2.0, 1.0, 2.0], "quantile_count": 2}, errors.ForeignKeyViolation, id="a level less"
        ),
        pytest.param({"quantiles": FIRST}, errors.CheckViolation, id="not as many as it says"),
        pytest.param({"quantiles": [FIRST, SECOND]}, errors.CheckViolation, id="two dimensions"),
        pytest.param({"first_timestamp": "2024-01-14 23:00Z"}, errors.CheckViolation, id="target before issue"),
        pytest.param({"last_timestamp": "2024-01-15 08:00Z"}, errors.CheckViolation, id="a gap in the intervals"),
        pytest.param({"last_timestamp": "2024-01-15 05:00Z"}, errors.CheckViolation, id="ends before it begins"),
        pytest.param(
            {"interval_minutes": 30, "last_timestamp": "2024-01-15 06:30Z"},
            errors.ForeignKeyViolation,
            id="not the run's resolution",
        ),
        pytest.param({"issued_at": "2024-01-14Z"}, errors.ForeignKeyViolation, id="not the run's moment"),
        pytest.param({"predicted_consumption": [100.0, float("nan")]}, errors.CheckViolation, id="no forecast"),
        pytest.param({"predicted_consumption": [100.0, None]}, errors.CheckViolation, id="a forecast is missing"),
        pytest.param({"predicted_consumption": [-1.0, 50.0]}, errors.CheckViolation, id="a negative forecast"),
        pytest.param({"predicted_consumption": [1e10, 50.0]}, errors.CheckViolation, id="a forecast is too large"),
        pytest.param(
            {"predicted_consumption": [], "quantiles": [], "last_timestamp": "2024-01-15 05:00Z"},
            errors.CheckViolation,
            id="empty",
        ),
        pytest.param({"created_at": "2020-01-01Z"}, errors.InsufficientPrivilege, id="forged created_at"),
    ],
)
def test_a_dishonest_forecast_is_refused(
    connection: Connection, values: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        keep_vintage(connection, **values)


def test_an_honest_forecast_is_kept(connection: Connection) -> None:
    """Or the refusals above would prove nothing."""
    keep_vintage(connection)
    load(connection)


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"issued_at": datetime(2999, 1, 1, tzinfo=UTC)}, "forecast_run_not_ahead"),
        ({"purpose": "live"}, "forecast_run_in_time"),
        ({"weather": "actual"}, "forecast_run_weather_known"),
        ({"quantile_levels": [0.9, 0.1]}, "forecast_run_levels"),
        ({"quantile_levels": [0.0, 0.5]}, "forecast_run_levels"),
        ({"quantile_levels": []}, "forecast_run_levels"),
        ({"horizon": "169 hours"}, "forecast_run_horizon"),
    ],
)
def test_a_dishonest_run_is_refused(connection: Connection, values: dict[str, object], constraint: str) -> None:
    become(connection, Role.FORECASTER)
    now = datetime.now(UTC)
    row = {
        "model_id": MODEL,
        "purpose": "replay",
        "issued_at": "2024-01-16Z",
        "horizon": "48 hours",
        "weather": "none",
        "quantile_levels": [0.1, 0.9],
        "status": "succeeded",
        "started_at": now,
        "finished_at": now,
    } | values
    with pytest.raises(errors.CheckViolation) as refused:
        insert(connection, "forecast_runs", row)
    assert refused.value.diag.constraint_name == constraint


HONEST_DELAY: dict[str, object] = {"load_delay_minutes": 60, "load_delay_source": "assumed"}
HONEST_ERRORS: dict[str, object] = {
    "source": "file", "seed": 0, "lead_hours": [0, 48], "temperature": [1, 2], "humidity": [8, 10.5]
}  # fmt: skip


@pytest.mark.parametrize(
    "forged",
    [
        [],
        ["weather_errors"],
        "weather_errors",
        {"load_delay_minutes": 60},
        HONEST_DELAY | {"load_delay_minutes": "60"},
        HONEST_DELAY | {"load_delay_minutes": -60},
        HONEST_DELAY | {"load_delay_minutes": 1e300},
        HONEST_DELAY | {"weather_errors": 5},
        HONEST_DELAY | {"weather_errors": {}},
        HONEST_DELAY | {"weather_errors": HONEST_ERRORS | {"seed": -1}},
        HONEST_DELAY | {"weather_errors": HONEST_ERRORS | {"seed": 0.5}},
        HONEST_DELAY | {"weather_errors": HONEST_ERRORS | {"lead_hours": [0]}},
        HONEST_DELAY | {"weather_errors": HONEST_ERRORS | {"humidity": 8}},
        HONEST_DELAY | {"weather_errors": HONEST_ERRORS | {"humidity": ["8", 10]}},
        HONEST_DELAY | {"weather_errors": HONEST_ERRORS | {"clouds": [1, 2]}},
        {"weather_errors": HONEST_ERRORS},
    ],
    ids=str,
)
def test_assumptions_of_another_form_are_refused(connection: Connection, forged: object) -> None:
    """One such row, which nobody may delete, would end every report that reads the assumptions of a city."""
    checked = "SELECT are_assumptions(%s)"
    for honest in ({}, HONEST_DELAY, HONEST_DELAY | {"weather_errors": HONEST_ERRORS}):
        assert connection.execute(checked, (Jsonb(honest),)).fetchone() == (True,)
    assert connection.execute(checked, (Jsonb(forged),)).fetchone() == (False,)
    for relation in ("forecast_runs", "forecast_scores"):
        constraints = connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass", (relation,)
        ).fetchall()
        assert ("CHECK (are_assumptions(assumptions))",) in constraints


def test_an_artifact_that_does_not_match_its_digest_is_refused(connection: Connection) -> None:
    become(connection, Role.FORECASTER)
    with pytest.raises(errors.CheckViolation):
        connection.execute(
            "INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)"
            " VALUES (%s, %s, 'abc', sha256('abd'), sha256(''), '{}')",
            (MODEL, PUNE),
        )


def hourly_load(connection: Connection, *, phase: int) -> list[tuple[Any, ...]]:
    """Return the hours of 15 January 2024 as known two weeks later."""
    day = datetime(2024, 1, 15, tzinfo=UTC)
    as_of, end = datetime(2024, 2, 1, tzinfo=UTC), day + timedelta(days=1)
    return load_as_of(connection, UUID(PUNE), as_of=as_of, first=day, end=end, phase=phase).rows()


def test_part_of_an_hour_is_not_an_hour(connection: Connection) -> None:
    """A sum over two of three 20-minute values would be a load that nobody used."""
    for minute in (0, 20):
        load(connection, timestamp=f"2024-01-15 00:{minute}Z", interval_minutes=20)
    for minute in (0, 20, 40):
        load(connection, timestamp=f"2024-01-15 01:{minute}Z", available_at="2024-01-15 02:00Z", interval_minutes=20)
    become(connection, Role.FORECASTER)
    assert hourly_load(connection, phase=0) == [(datetime(2024, 1, 15, 1, tzinfo=UTC), 300.0)]


def test_hours_that_begin_at_half_past_stay_whole(connection: Connection) -> None:
    """Kolkata's local hours begin at half past, UTC."""
    for hour in (0, 1):
        load(
            connection, timestamp=f"2024-01-15 0{hour}:30Z", available_at="2024-01-15 03:00Z", consumption_kwh=hour + 1
        )
    become(connection, Role.FORECASTER)
    phase = connection.execute("SELECT load_phase_as_of(%s, '2024-02-01Z')", (PUNE,)).fetchone()
    assert phase == (30,)
    assert hourly_load(connection, phase=30) == [
        (datetime(2024, 1, 15, 0, 30, tzinfo=UTC), 1.0),
        (datetime(2024, 1, 15, 1, 30, tzinfo=UTC), 2.0),
    ]


def test_neither_a_stray_row_nor_a_later_correction_moves_a_citys_hours(committing: Connection) -> None:
    for hour in range(10):
        load(committing, timestamp=f"2024-01-15 0{hour}:30Z", available_at="2024-01-15 12:00Z")
    load(committing, timestamp="2024-01-15 20:00Z", available_at="2024-01-15 21:00Z")
    committing.commit()
    committing.execute("UPDATE energy_consumption SET consumption_kwh = 50, available_at = '2024-02-01Z'")
    committing.commit()
    become(committing, Role.FORECASTER)
    phases = "SELECT load_phase_as_of(%(city)s, '2024-01-16Z'), load_phase_as_of(%(city)s, '2024-02-02Z')"
    assert committing.execute(phases, {"city": PUNE}).fetchone() == (30, 30)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("0044-01-01Z BC", "0044-02-01Z BC"),
        ("1969-12-31Z", "1970-01-01Z"),
        ("2024-01-01Z", "infinity"),
        ("2024-02-01Z", "2024-01-01Z"),
        (None, None),
    ],
)
def test_partitions_of_no_plausible_month_are_refused(
    connection: Connection, first: str | None, last: str | None
) -> None:
    become(connection, Role.FORECASTER)
    with pytest.raises(errors.InvalidParameterValue):
        connection.execute("SELECT ensure_month_partitions('prediction_vintages', %s, %s)", (first, last))


def test_a_version_is_a_number(connection: Connection) -> None:
    """Any other would stop the numbering of versions for good."""
    become(connection, Role.FORECASTER)
    with pytest.raises(errors.CheckViolation):
        insert(connection, "models", {"name": "x", "type": "trees", "version": "abc", "trained_until": "2024-01-01Z"})


def test_a_weather_forecast_is_seen_only_once_it_was_issued(connection: Connection) -> None:
    become(connection, Role.INGEST)
    for issued, temperature in (("2024-01-15 00:00Z", 20), ("2024-01-15 06:00Z", 22)):
        insert(
            connection,
            "weather_forecasts",
            {"city_id": PUNE, "timestamp": "2024-01-15 12:00Z", "issued_at": issued, "temperature": temperature},
        )
    become(connection, Role.FORECASTER)

    def seen(at: str) -> list[float]:
        return [
            float(row[0])
            for row in connection.execute(
                "SELECT temperature FROM weather_forecast_as_of(%s, %s, '2024-01-15Z', '2024-01-16Z')", (PUNE, at)
            )
        ]

    assert seen("2024-01-14 23:59Z") == []
    assert seen("2024-01-15 05:59Z") == [20]
    assert seen("2024-01-15 06:00Z") == [22]


def test_a_zone_in_the_environment_does_not_move_the_session(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq lets PGTZ win over the options of a connection; months and hours would move with it."""
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    with database.transaction(Role.INGEST) as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


def test_a_value_changed_twice_in_its_own_transaction_loses_nothing_that_was_seen(committing: Connection) -> None:
    """What nobody else ever saw is no revision; what was committed is, also when its moment is the same."""
    load(committing, consumption_kwh="100")
    committing.execute("UPDATE energy_consumption SET consumption_kwh = 200")
    committing.commit()
    for value in (300, 400):
        committing.execute("UPDATE energy_consumption SET consumption_kwh = %s", (value,))
    committing.commit()
    committing.execute("RESET ROLE")
    assert committing.execute("SELECT consumption_kwh FROM energy_consumption_revisions").fetchall() == [(200,)]
    assert committing.execute("SELECT consumption_kwh FROM energy_consumption").fetchall() == [(400,)]
