"""What was recorded stays as it was recorded, whoever asks: by privilege for the roles, by trigger for the owner."""

# ruff: noqa: S608 - statements of these tests' own constants

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from energy_forecast.database import Role
from servers import Server

CITY = "00000000-0000-0000-0000-000000000001"
MODEL = "00000000-0000-0000-0000-000000000002"
RUN = "00000000-0000-0000-0000-000000000003"
BATCH = "00000000-0000-0000-0000-000000000004"
NEW_RUN = "00000000-0000-0000-0000-000000000006"

Connection = psycopg.Connection[Any]

ROWS = (
    f"INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES ('{CITY}', 'Pune', 18, 73, 'Asia/Kolkata')",
    "SELECT ensure_month_partitions(p, now(), now()) FROM unnest(ARRAY['energy_consumption', 'weather_data']) p",
    f"""INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)
        VALUES ('{CITY}', date_trunc('hour', now()) - interval '3 hours', 100, now() - interval '1 hour')""",
    "UPDATE energy_consumption SET consumption_kwh = 90, available_at = now()",
    f"""INSERT INTO weather_data (city_id, timestamp, temperature, available_at)
        VALUES ('{CITY}', date_trunc('hour', now()) - interval '3 hours', 20, now() - interval '1 hour')""",
    "UPDATE weather_data SET temperature = 21, available_at = now()",
    f"INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature) VALUES ('{CITY}', now(), now(), 20)",
    f"""INSERT INTO models (id, name, type, version, trained_until) VALUES ('{MODEL}', 'naive-24', 'x', '1',
        now() - interval '1 day')""",
    f"""INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)
        VALUES ('{MODEL}', '{CITY}', 'abc', sha256('abc'), sha256(''), '{{}}')""",
    f"""INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, quantile_levels, status,
        started_at, finished_at)
        VALUES ('{RUN}', '{MODEL}', 'live', now(), '48 hours', 'none', '{{0.5}}', 'succeeded',
        now(), now())""",
    f"""INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,
        interval_minutes, quantile_count, predicted_consumption, quantiles)
        VALUES ('{RUN}', '{CITY}', '{MODEL}', now(), now(), now(), 60, 1, '{{100}}', '{{100}}')""",
    f"INSERT INTO model_metrics (model_id, timestamp, mape) VALUES ('{MODEL}', now(), 3)",
    f"""INSERT INTO forecast_scores (model_id, city_id, purpose, weather, period_start, period_end, lead_start_hours,
        lead_end_hours, pair_count, pair_digest, mae_kwh, rmse_kwh, pinball_kwh, coverage_90, width_90_kwh,
        actuals_as_of) VALUES ('{MODEL}', '{CITY}', 'live', 'none', now(), now() + interval '1 day', 0, 24, 24, 'x',
        1, 1, 1, 0.9, 2, now())""",
    f"""INSERT INTO ops.ingest_batches (id, kind, files, read, inserted, corrected, unchanged, rejected)
        VALUES ('{BATCH}', 'consumption', '[]', 1, 0, 0, 0, 1)""",
    f"INSERT INTO ops.rejected_rows (batch_id, file, line, reason, row_data) VALUES ('{BATCH}', 'a', 2, 'bad', '{{}}')",
)
LEDGERS = (
    "prediction_vintages",
    "weather_forecasts",
    "energy_consumption_revisions",
    "weather_data_revisions",
    "forecast_runs",
    "forecast_scores",
    "model_artifacts",
    "audit_log",
    "ops.audit_chain",
    "ops.ingest_batches",
    "ops.rejected_rows",
)


@pytest.fixture(scope="module")
def filled(server: Server, template: str) -> Iterator[Connection]:
    """Yield a superuser's connection to a database with a row in every table."""
    with server.copy_of(template) as database, psycopg.connect(database.url) as connection:
        for statement in ROWS:
            if statement.startswith("UPDATE"):
                # What was changed before anybody saw it is no revision
                connection.commit()
            connection.execute(statement)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        connection.commit()
        yield connection


@pytest.fixture
def connection(filled: Connection) -> Iterator[Connection]:
    yield filled
    filled.rollback()


def table(name: str) -> sql.Composable:
    return sql.Identifier(*name.split("."))


@pytest.mark.parametrize("role", [None, Role.OWNER], ids=["superuser", "owner"])
@pytest.mark.parametrize(
    ("name", "verb"),
    [
        (name, verb)
        for name in LEDGERS
        for verb in ("DELETE FROM {}", "TRUNCATE {} CASCADE", "UPDATE {} SET {} = {}")
        # Retention deletes the revisions of a month that goes; that is audited, see below
        if not (name.endswith("_revisions") and verb.startswith("DELETE"))
    ],
)
def test_a_ledger_refuses_its_own_owner(connection: Connection, name: str, role: Role | None, verb: str) -> None:
    """And a superuser, also as a replica would write: the triggers are enabled always."""
    column = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attidentity = ''"
        " AND attgenerated = '' LIMIT 1",
        (name,),
    ).fetchone()
    assert column is not None
    assert connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table(name))).fetchone() != (0,)
    if role is None:
        connection.execute("SET session_replication_role = replica")
    else:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    parts = (table(name), sql.Identifier(column[0]), sql.Identifier(column[0]))
    with pytest.raises(errors.IntegrityConstraintViolation, match="is refused"):
        connection.execute(sql.SQL(verb).format(*parts[: verb.count("{}")]))


@pytest.mark.parametrize("name", ["energy_consumption_revisions", "weather_data_revisions"])
def test_a_revision_does_not_go_unseen(connection: Connection, name: str) -> None:
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(Role.OWNER)))
    gone = connection.execute(sql.SQL("DELETE FROM {}").format(table(name))).rowcount
    assert gone > 0
    assert connection.execute(
        "SELECT action, (old_data ->> 'rows')::integer, user_name FROM audit_log WHERE table_name = %s"
        " ORDER BY number DESC LIMIT 1",
        (name,),
    ).fetchone() == ("DELETE", gone, str(Role.OWNER))


@pytest.mark.parametrize("role", [role for role in Role if role != Role.OWNER])
@pytest.mark.parametrize("name", LEDGERS)
def test_no_other_role_has_the_right(connection: Connection, name: str, role: Role) -> None:
    assert connection.execute(
        "SELECT has_any_column_privilege(%s, %s, 'UPDATE'), has_table_privilege(%s, %s, 'DELETE'),"
        " has_table_privilege(%s, %s, 'TRUNCATE'), has_table_privilege(%s, %s, 'TRIGGER')",
        [role, name] * 4,
    ).fetchone() == (False, False, False, False)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {} SELECT * FROM energy_consumption",
        "UPDATE {} SET consumption_kwh = 1",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "COPY {} FROM '/dev/null'",
    ],
)
def test_a_partition_is_written_through_its_table_only(connection: Connection, statement: str) -> None:
    """The audit's triggers sit on the parent and would not see it."""
    partition = connection.execute("SELECT min(tableoid::regclass::text) FROM energy_consumption").fetchone()
    assert partition is not None
    with pytest.raises(errors.IntegrityConstraintViolation, match="through its table"):
        connection.execute(sql.SQL(statement).format(sql.Identifier(partition[0])))


def test_a_new_partition_is_guarded_from_its_beginning(connection: Connection) -> None:
    connection.execute("SELECT ensure_month_partitions('energy_consumption', '2031-05-01Z', '2031-05-01Z')")
    with pytest.raises(errors.IntegrityConstraintViolation, match="through its table"):
        connection.execute("DELETE FROM energy_consumption_y2031m05")


FORGED = {
    "cities": "(name, latitude, longitude, timezone, {}) VALUES ('Delhi', 28.6, 77.2, 'Asia/Kolkata', {})",
    "energy_consumption": f"(city_id, timestamp, consumption_kwh, available_at, {{}}) VALUES ('{CITY}',"
    " date_trunc('hour', now()) - interval '5 hours', 1, now(), {})",
    "weather_data": f"(city_id, timestamp, temperature, available_at, {{}}) VALUES ('{CITY}',"
    " date_trunc('hour', now()) - interval '5 hours', 1, now(), {})",
    "energy_consumption_revisions": f"(city_id, timestamp, consumption_kwh, available_at, interval_minutes, {{}})"
    f" VALUES ('{CITY}', date_trunc('hour', now()) - interval '5 hours', 1, now(), 60, {{}})",
    "weather_data_revisions": f"(city_id, timestamp, temperature, available_at, interval_minutes, {{}})"
    f" VALUES ('{CITY}', date_trunc('hour', now()) - interval '5 hours', 1, now(), 60, {{}})",
    "weather_forecasts": f"(city_id, timestamp, issued_at, temperature, {{}}) VALUES ('{CITY}', now(),"
    " now() - interval '1 hour', 1, {})",
    "models": "(name, type, version, trained_until, {}) VALUES ('x', 'trees', '7', now(), {})",
    "forecast_runs": f"(model_id, purpose, issued_at, horizon, weather, quantile_levels, status, started_at,"
    f" finished_at, {{}}) VALUES ('{MODEL}', 'replay', now() - interval '9 hours', '48 hours', 'none', ARRAY[0.5],"
    " 'succeeded', now(), now(), {})",
    "prediction_vintages": f"(run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp, interval_minutes,"
    f" quantile_count, predicted_consumption, quantiles, {{}}) VALUES ('{NEW_RUN}', '{CITY}', '{MODEL}', now(),"
    " now() + interval '1 hour', now() + interval '1 hour', 60, 1, ARRAY[1.0], ARRAY[1.0], {})",
    "predictions": f"(city_id, model_id, timestamp, predicted_consumption, run_id, issued_at, {{}}) SELECT '{CITY}',"
    f" '{MODEL}', issued_at + interval '1 hour', 1, '{RUN}', issued_at, {{}} FROM forecast_runs",
    "model_metrics": f"(model_id, timestamp, {{}}) VALUES ('{MODEL}', now(), {{}})",
    "user_city_access": f"(user_id, city_id, {{}}) VALUES ('x', '{CITY}', {{}})",
    "ops.ingest_batches": "(kind, files, read, inserted, corrected, unchanged, rejected, {}) VALUES ('weather', '[]',"
    " 0, 0, 0, 0, 0, {})",
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("moment", ["now() - interval '1 hour'", "now() + interval '1 hour'"], ids=["earlier", "later"])
def test_not_even_the_owner_chooses_when_a_row_was_recorded(connection: Connection, name: str, moment: str) -> None:
    connection.execute("SET ROLE energy_forecast_owner")
    insert = f"INSERT INTO {name} " + FORGED[name]
    # A vintage is written in the transaction of its run
    connection.execute(
        f"INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
        f" started_at, finished_at) VALUES ('{NEW_RUN}', '{MODEL}', 'replay', now(), '48 hours', 'none', ARRAY[0.5],"
        " 'succeeded', now(), now())"
    )
    connection.execute("SAVEPOINT honest")
    connection.execute(insert.format("created_at", "now()"))
    connection.execute("ROLLBACK TO honest")
    with pytest.raises(errors.IntegrityConstraintViolation, match="created_at"):
        connection.execute(insert.format("created_at", moment))


def test_a_revisions_moment_of_supersession_is_now(connection: Connection) -> None:
    connection.execute("SET ROLE energy_forecast_owner")
    insert = "INSERT INTO energy_consumption_revisions " + FORGED["energy_consumption_revisions"]
    with pytest.raises(errors.IntegrityConstraintViolation, match="created_at"):
        connection.execute(insert.format("superseded_at", "now() - interval '1 hour'"))


def test_an_update_cannot_move_the_moment_of_recording(connection: Connection) -> None:
    connection.execute("SET ROLE energy_forecast_owner")
    connection.execute(f"INSERT INTO user_city_access (user_id, city_id) VALUES ('x', '{CITY}')")
    with pytest.raises(errors.IntegrityConstraintViolation, match="created_at"):
        connection.execute("UPDATE user_city_access SET created_at = 'epoch'")
    connection.rollback()
    connection.execute("UPDATE cities SET created_at = 'epoch'")
    connection.execute("UPDATE energy_consumption SET created_at = 'epoch', consumption_kwh = 5, available_at = now()")
    assert connection.execute("SELECT count(*) FROM cities WHERE created_at = 'epoch'").fetchone() == (0,)
    assert connection.execute("SELECT created_at = now() FROM energy_consumption").fetchone() == (True,)


@pytest.mark.parametrize("created", [None, *Role], ids=["superuser", *Role])
@pytest.mark.parametrize("name", [*FORGED, "audit_log", "forecast_scores", "ops.rejected_rows"])
def test_created_at_is_in_nobodys_list(connection: Connection, name: str, created: Role | None) -> None:
    column = "timestamp" if name == "audit_log" else "created_at"
    if created in (None, Role.OWNER):
        return  # The tests above
    assert connection.execute(
        "SELECT has_column_privilege(%s, %s, %s, 'INSERT'), has_column_privilege(%s, %s, %s, 'UPDATE')",
        [created, name, column] * 2,
    ).fetchone() == (False, False)


@pytest.mark.parametrize(
    ("quantiles", "count"),
    [
        ("'{1,NaN,3}'", 3),
        ("'{1,2,Infinity}'", 3),
        ("'{-Infinity,2,3}'", 3),
        ("'{1,NULL,3}'", 3),
        ("'{NULL,NULL,NULL}'", 3),
        ("'{3,2,1}'", 3),
        ("'{-1,2,3}'", 3),
        ("'{{1,2,3}}'", 3),
        ("'{{1},{2},{3}}'", 3),
        ("'{}'", 3),
        ("'{}'", 0),
        ("'[0:2]={1,2,3}'", 3),
        ("'{1,2}'", 3),
    ],
)
def test_quantiles_are_finite_in_order_and_as_many_as_levels(
    connection: Connection, quantiles: str, count: int
) -> None:
    run = "00000000-0000-0000-0000-000000000005"
    connection.execute(
        f"INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
        f" started_at, finished_at) VALUES ('{run}', '{MODEL}', 'replay', now(), '48 hours', 'none', '{{0.1,0.5,0.9}}',"
        " 'succeeded', now(), now())"
    )
    insert = (
        "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
        " interval_minutes, predicted_consumption, quantiles, quantile_count)"
        f" VALUES ('{run}', '{CITY}', '{MODEL}', now(), now(), now(), 60, '{{{{1}}}}', {{}}, {{}})"
    )
    connection.execute("SAVEPOINT honest")
    connection.execute(insert.format("'{1,2,3}'", 3))
    connection.execute("ROLLBACK TO honest")
    with pytest.raises((errors.CheckViolation, errors.ForeignKeyViolation)):
        connection.execute(insert.format(quantiles, count))


@pytest.mark.parametrize("levels", ["'{NaN}'", "'{0.1,NULL}'", "'{{0.1,0.5}}'", "'{0.5,0.1}'", "'{0.5,1}'", "'{0,0.5}'",
                                    "'{}'", "NULL", "'[0:1]={0.1,0.5}'", "'[2:3]={0.1,0.5}'"])  # fmt: skip
def test_levels_are_between_0_and_1_in_order(connection: Connection, levels: str) -> None:
    with pytest.raises((errors.CheckViolation, errors.NotNullViolation)):
        connection.execute(
            f"INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
            f" started_at, finished_at) VALUES ('{MODEL}', 'replay', now(), '48 hours', 'none', {levels}, 'succeeded',"
            " now(), now())"
        )


def test_a_target_is_no_further_ahead_than_a_run_can_ask_for(connection: Connection) -> None:
    with pytest.raises(errors.CheckViolation, match="prediction_vintage_horizon"):
        connection.execute(
            "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
            f" interval_minutes, quantile_count, predicted_consumption, quantiles) SELECT '{RUN}', '{CITY}', '{MODEL}',"
            " issued_at, issued_at + interval '169 hours', issued_at + interval '169 hours', 60, 1, ARRAY[1.0],"
            " ARRAY[1.0] FROM forecast_runs"
        )


def test_the_forecaster_reads_history_through_as_of_functions_only(connection: Connection) -> None:
    """By the catalog, so that a new table of actuals is found as well."""
    readable = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'available_at'"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm') AND has_any_column_privilege(%s, c.oid, 'SELECT')",
        (Role.FORECASTER,),
    ).fetchall()
    assert readable == []
