"""The schema: fresh, migrated, offline, dumped and restored, it is the same."""

from __future__ import annotations

import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Database, Role, schema_is_current, schema_version
from energy_forecast.database.catalog import schema_sql
from energy_forecast.database.migrate import migration_sql, upgrade, upgrade_sql
from energy_forecast.database.named_queries import queries
from energy_forecast.database.schema import migrations, newest_version
from energy_forecast.errors import DatabaseError, SchemaError
from energy_forecast.operations.maintenance import maintain
from energy_forecast.postgres import EmbeddedServer
from servers import CommandLine, Server

# A random token that newer pg_dumps write
_NOISE = re.compile(r"^(\\(un)?restrict .*|--.*|)$")


def schema_of(server: Server, database: Database) -> list[str]:
    """Return the schema as pg_dump prints it, without comments."""
    done = subprocess.run(
        [server.tool("pg_dump"), "--schema-only", "--dbname", database.url],
        check=True,
        capture_output=True,
        text=True,
    )
    return [line for line in done.stdout.splitlines() if not _NOISE.match(line)]


def counts_of(database: Database) -> dict[str, int]:
    with psycopg.connect(database.url) as connection:
        tables = connection.execute(
            "SELECT relnamespace::regnamespace || '.' || quote_ident(relname) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('public', 'ops')"
        ).fetchall()
        return {t: n for (t,) in tables for (n,) in connection.execute(f"SELECT count(*) FROM {t}")}  # noqa: S608


def test_upgrading_step_by_step_gives_the_same_schema_as_at_once(
    server: Server, empty_database: Database, database: Database
) -> None:
    """Whoever installed early must end where a newcomer begins."""
    for migration in migrations():
        with psycopg.connect(empty_database.url) as connection:
            connection.execute(migration_sql(migration).encode())
    assert upgrade(empty_database).before == newest_version()
    assert schema_of(server, empty_database) == schema_of(server, database)


def test_upgrading_again_changes_nothing(server: Server, database: Database) -> None:
    before = schema_of(server, database)
    assert upgrade(database).before == newest_version()
    assert schema_of(server, database) == before


def test_the_offline_sql_gives_the_same_schema(
    server: Server, empty_database: Database, database: Database, tmp_path: Path
) -> None:
    """A DBA who runs the printed SQL by psql gets what the program would have made."""
    script = tmp_path / "schema.sql"
    script.write_text(upgrade_sql())
    subprocess.run(
        [server.tool("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file", script, empty_database.url],
        check=True,
        capture_output=True,
    )
    assert schema_of(server, empty_database) == schema_of(server, database)
    assert schema_is_current(empty_database)


def test_shows_the_current_schema(database: Database) -> None:
    """A reader of sql/schema.sql must see what `db upgrade` makes, on each version of PostgreSQL: run `make docs`."""
    shown = resources.files("energy_forecast.database").joinpath("sql", "schema.sql").read_text("utf-8")
    assert shown.endswith(schema_sql(database))


def test_a_failed_upgrade_leaves_nothing(empty_database: Database) -> None:
    with psycopg.connect(empty_database.url) as connection:
        connection.execute("CREATE TABLE models (id integer)")
    with pytest.raises(DatabaseError, match="models"):
        upgrade(empty_database)
    assert schema_version(empty_database) is None
    with psycopg.connect(empty_database.url) as connection:
        assert connection.execute("SELECT to_regclass('cities')").fetchone() == (None,)


def test_a_database_of_a_later_version_is_refused(database: Database) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute("INSERT INTO ops.schema_migrations (version, sha256) VALUES ('9999', 'x')")
        connection.execute("COMMENT ON SCHEMA ops IS 'Ledgers of the platform. Version 9999, routines x'")
    with pytest.raises(SchemaError, match="9999"):
        upgrade(database)
    assert not schema_is_current(database)
    assert schema_version(database) == "9999"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ops.schema_migrations SET sha256 = 'x' WHERE version = '0002'",
        "DELETE FROM ops.schema_migrations WHERE version = '0002'",
        "UPDATE ops.schema_migrations SET version = '0002a' WHERE version = '0002'",
    ],
    ids=["changed", "missing", "unknown"],
)
def test_rejects_a_database_with_other_migrations(database: Database, change: str) -> None:
    """A file that was edited after its release would never reach the databases that have it."""
    with psycopg.connect(database.url) as connection:
        connection.execute("ALTER TABLE ops.schema_migrations DISABLE TRIGGER append_only")
        connection.execute(change)
    with pytest.raises(SchemaError, match=r"Migration 000\d\w? of the database differs from migration 0002"):
        upgrade(database)


def test_rejects_a_database_made_by_alembic(empty_database: Database) -> None:
    """Versions before the first release used Alembic; their schemas have other columns and names."""
    with psycopg.connect(empty_database.url) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
    with pytest.raises(SchemaError, match="unreleased version") as raised:
        upgrade(empty_database)
    assert "old-database" in str(raised.value.hint)
    assert not schema_is_current(empty_database)


def test_dump_and_restore_give_the_same_schema_and_counts(
    server: Server, database: Database, empty_database: Database, tmp_path: Path
) -> None:
    """A backup that loses an index without a word, as one on ll_to_earth() does, is no backup."""
    with database.transaction(Role.OWNER) as connection:
        fill(connection)
    dump = tmp_path / "dump"
    subprocess.run([server.tool("pg_dump"), "-Fc", "-f", dump, database.url], check=True)
    subprocess.run(
        [server.tool("pg_restore"), "--exit-on-error", "-d", empty_database.url, dump], check=True, capture_output=True
    )
    assert schema_of(server, empty_database) == schema_of(server, database)
    counts = counts_of(database)
    assert counts_of(empty_database) == counts
    assert sum(counts.values()) > 20
    assert schema_is_current(empty_database)


def fill(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Insert rows into every table."""
    connection.execute("""
        INSERT INTO cities (id, name, latitude, longitude, timezone)
        VALUES ('00000000-0000-0000-0000-000000000001', 'Pune', 18.5, 73.9, 'Asia/Kolkata')""")
    connection.execute("SELECT ensure_month_partitions('energy_consumption', '2024-01-15Z', '2024-03-15Z')")
    connection.execute("SELECT ensure_month_partitions('weather_data', '2024-01-15Z', '2024-01-15Z')")
    connection.execute("SELECT ensure_month_partitions('weather_forecasts', '2024-01-15Z', '2024-01-15Z')")
    connection.execute("SELECT ensure_month_partitions('prediction_vintages', '2024-01-15Z', '2024-01-15Z')")
    connection.execute("""
        INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)
        SELECT c.id, t, 1000, t + interval '1 hour' FROM cities c,
               generate_series('2024-01-15Z'::timestamptz, '2024-03-15Z', interval '7 days') t""")
    connection.execute("UPDATE energy_consumption SET consumption_kwh = 900 WHERE timestamp < '2024-02-01Z'")
    connection.execute("""
        INSERT INTO weather_data (city_id, timestamp, temperature, available_at)
        SELECT id, '2024-01-15Z', 20, '2024-01-15 01:00Z' FROM cities""")
    connection.execute("UPDATE weather_data SET temperature = 21")
    connection.execute("""
        INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature)
        SELECT id, '2024-01-15 06:00Z', '2024-01-15Z', 20 FROM cities""")
    connection.execute("""
        INSERT INTO models (id, name, type, version, trained_until)
        VALUES ('00000000-0000-0000-0000-000000000002', 'naive-168', 'baseline', '1', '2024-01-15Z')""")
    connection.execute("""
        INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)
        SELECT m.id, c.id, 'abc', sha256('abc'), sha256('data'), '{}' FROM models m, cities c""")
    connection.execute("""
        INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, quantile_levels, status,
                                   started_at, finished_at)
        SELECT '00000000-0000-0000-0000-000000000003', id, 'replay', '2024-01-15Z', '48 hours', 'none', '{0.1,0.9}',
               'succeeded', now(), now() FROM models""")
    connection.execute("""
        INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,
                                         interval_minutes, quantile_count, predicted_consumption, quantiles)
        SELECT r.id, c.id, r.model_id, r.issued_at, r.issued_at, r.issued_at, 60, 2, '{1000}', '{900,1100}'
        FROM forecast_runs r, cities c""")
    connection.execute("""
        INSERT INTO model_metrics (model_id, timestamp, mape) SELECT id, '2024-02-01Z', 3.2 FROM models""")
    connection.execute("""
        INSERT INTO forecast_scores (model_id, city_id, purpose, weather, period_start, period_end, lead_start_hours,
            lead_end_hours, pair_count, pair_digest, mae_kwh, rmse_kwh, pinball_kwh, coverage_90, width_90_kwh,
            actuals_as_of)
        SELECT m.id, c.id, 'live', 'none', '2024-01-15Z', '2024-01-16Z', 0, 24, 24, 'x', 1, 1, 1, 0.9, 2, now()
        FROM models m, cities c""")
    connection.execute("""
        INSERT INTO ops.ingest_batches (id, kind, files, read, inserted, corrected, unchanged, rejected)
        VALUES ('00000000-0000-0000-0000-000000000004', 'consumption', '[]', 2, 1, 0, 0, 1)""")
    connection.execute("""
        INSERT INTO ops.rejected_rows (batch_id, file, line, reason, row_data)
        SELECT id, 'a.csv', 2, 'bad', '{}' FROM ops.ingest_batches""")


DOCUMENTED_INDEXES = [
    ("cities", "unique_city_name"),
    ("cities", "idx_cities_location"),
    ("cities", "idx_cities_timezone"),
    ("energy_consumption", "consumption_city_timestamp"),
    ("energy_consumption", "idx_consumption_time"),
    ("weather_data", "weather_city_timestamp"),
    ("weather_data", "idx_weather_time"),
    ("models", "unique_model_version"),
    ("models", "idx_models_active"),
    ("models", "idx_models_type"),
    ("predictions", "prediction_city_model_time"),
    ("predictions", "idx_predictions_city_time"),
    ("predictions", "idx_predictions_model"),
    ("predictions", "idx_predictions_time"),
    ("model_metrics", "metrics_model_time"),
    ("model_metrics", "idx_metrics_time"),
]


@pytest.mark.parametrize(("table", "index"), DOCUMENTED_INDEXES)
def test_indexes_have_their_documented_names(database: Database, table: str, index: str) -> None:
    with psycopg.connect(database.url) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_index WHERE indrelid = to_regclass(%s) AND indexrelid = to_regclass(%s)",
            (table, index),
        ).fetchone() == (1,)


def test_every_table_and_column_that_is_not_self_evident_is_explained(database: Database) -> None:
    with psycopg.connect(database.url) as connection:
        silent = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
            " AND relnamespace::regnamespace::text IN ('public', 'ops') AND obj_description(oid, 'pg_class') IS NULL"
        ).fetchall()
    assert silent == []


def test_the_routines_are_read_as_they_are_written(database: Database) -> None:
    """Applied without a check of their bodies, a misspelt column would be found by a user."""
    city, at = "00000000-0000-0000-0000-000000000001", datetime(2024, 1, 16, tzinfo=UTC)
    with database.transaction(Role.OWNER) as connection:
        fill(connection)
        rows = connection.execute(
            "SELECT p.oid::regproc::text, pronargs FROM pg_proc p WHERE pronamespace = 'public'::regnamespace"
            " AND proname LIKE '%%as_of'"
        ).fetchall()
    values = {2: (city, at), 3: (city, at, at), 4: (city, at, at, at), 5: (city, at, at, at, 0)}
    assert len(rows) >= 5
    with database.transaction(Role.FORECASTER) as connection:
        for name, arguments in rows:
            marks = ", ".join(["%s"] * arguments)
            given = (city, at, at, at, "naive-24") if name == "forecast_as_of" else values[arguments]
            connection.execute(f"SELECT * FROM {name}({marks})", given)  # noqa: S608


ROLES = {
    "api_keys": Role.OPERATOR,
    "audit": Role.AUDITOR,
    "export": Role.OWNER,
    "access": Role.OPERATOR,
    "champions": Role.FORECASTER,
    "cities": Role.INGEST,
    "clock": Role.FORECASTER,
    "history": Role.FORECASTER,
    "http_loads": Role.INGEST,
    "record_checks": Role.FORECASTER,
    "models": Role.FORECASTER,
    "forecasts": Role.FORECASTER,
    "scores": Role.FORECASTER,
    "readings": Role.FORECASTER,
    "reports": Role.OPERATOR,
    "run_requests": Role.FORECASTER,
    "backup": Role.OPERATOR,
    "recovery": Role.OPERATOR,
    "catalog": Role.OWNER,
    "schema": Role.OWNER,
    "schema_listing": Role.OWNER,
    "maintenance": Role.OPERATOR,
    "partitions": Role.OPERATOR,
    "protection": Role.OWNER,
    "quality": Role.INGEST,
    "quarantine": Role.INGEST,
    "query_stats": Role.OPERATOR,
    "standby": Role.OPERATOR,
    "sessions": Role.OPERATOR,
    "vintages": Role.FORECASTER,
    "webhooks": Role.OPERATOR,
    "zones": Role.OPERATOR,
}
# `staging`, `judging` and `merge` need temporary tables that only a batch creates; test_ingest prepares them
SUBJECTS = sorted(
    name
    for f in (resources.files("energy_forecast.database") / "sql" / "queries").iterdir()
    if (name := f.name.removesuffix(".sql")) not in {"staging", "judging", "merge"}
)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_query_can_be_prepared(database: Database, subject: str) -> None:
    """A misspelt column fails here in seconds, not in a user's night."""
    with database.transaction(ROLES[subject]) as connection:
        for statement in queries(subject).values():
            if "staged_vintages" in statement and not statement.startswith("CREATE"):
                continue
            if statement.startswith(("CREATE", "DO")):
                connection.execute(statement)
                continue
            numbered = re.sub(r"%\(\w+\)s", _Numbers(), statement)
            connection.execute(f"PREPARE one AS {numbered}")
            connection.execute("DEALLOCATE one")


class _Numbers:
    """Numbers the parameters of one statement: the same name, the same number."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def __call__(self, match: re.Match[str]) -> str:
        return f"${self.known.setdefault(match[0], len(self.known) + 1)}"


def test_a_login_that_is_no_superuser_can_upgrade_a_prepared_database_and_maintain_it(open_folder: Path) -> None:
    """As docs/howto/own-server.md says. On a server of its own: roles belong to a server, not to a database."""
    embedded = EmbeddedServer(open_folder / "plain")
    own = Server(embedded.start().url, embedded.tool)
    try:
        with psycopg.connect(own.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE plain LOGIN CREATEROLE")
            connection.execute("CREATE DATABASE plain OWNER plain")
        with psycopg.connect(own.database("plain").url) as connection:
            connection.execute("CREATE SCHEMA ext")
            connection.execute("GRANT USAGE ON SCHEMA ext TO PUBLIC")
            connection.execute("CREATE EXTENSION earthdistance SCHEMA ext CASCADE")
        database = Database(make_conninfo(own.url, dbname="plain", user="plain"))
        assert upgrade(database).before is None
        assert upgrade(database).before == newest_version()
        for role in (Role.INGEST, Role.FORECASTER):
            with database.transaction(role) as connection:
                assert connection.execute("SELECT count(*) FROM cities").fetchone() == (0,)
        with psycopg.connect(database.url) as connection:
            connection.execute("SELECT ensure_month_partitions('weather_forecasts', '2020-01-01Z', '2020-01-01Z')")
        steps = {step.step: step for step in maintain(database)}
        assert {step.outcome for step in steps.values()} == {"done"}
        assert [item["outcome"] for item in steps["retention"].items] == ["dropped"]
    finally:
        embedded.stop()


def test_two_databases_of_a_server_are_upgraded_at_once(open_folder: Path, tmp_path: Path) -> None:
    """The roles belong to the server: both create them on a new one, and change the same rows on an old one."""
    embedded = EmbeddedServer(open_folder / "twins")
    own = Server(embedded.start().url, embedded.tool)
    try:
        for _ in ("new", "old"):
            with own.copy_of("template0") as one, own.copy_of("template0") as other:
                upgrades = [CommandLine.on(each, tmp_path).start("db", "upgrade") for each in (one, other)]
                errors = [each.communicate(timeout=120)[1] for each in upgrades]
                assert [each.returncode for each in upgrades] == [0, 0], errors
                assert schema_of(own, one) == schema_of(own, other)
    finally:
        embedded.stop()


def test_an_upgrade_waits_for_a_load_and_neither_is_lost(database: Database) -> None:
    """It takes every table at one moment or none, so nobody queues behind it and no deadlock ends the load."""
    with psycopg.connect(database.url) as connection:
        connection.execute("COMMENT ON SCHEMA ops IS 'Of other routines, so there is something to do'")
    with psycopg.connect(database.url) as loader:
        loader.execute("SET ROLE energy_forecast_ingest")
        loader.execute(
            "INSERT INTO cities (name, latitude, longitude, timezone) VALUES ('Pune', 18.5, 73.9, 'Asia/Kolkata')"
        )
        with ThreadPoolExecutor(1) as other:
            upgrading = other.submit(upgrade, database)
            with psycopg.connect(database.url) as reader:
                # While it waits, others read without waiting
                reader.execute("SET lock_timeout = '500ms'")
                for _ in range(20):
                    assert reader.execute("SELECT count(*) FROM cities").fetchone() == (0,)
                    reader.commit()
                    time.sleep(0.05)
            assert not upgrading.done()
            loader.commit()
            assert upgrading.result(timeout=60).after == newest_version()
    with psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT name FROM cities").fetchall() == [("Pune",)]


def test_a_partition_made_by_hand_becomes_the_platforms(database: Database) -> None:
    """As a DBA types it, as the login of `db url`: retention and the policies have to hold there too."""
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "CREATE TABLE energy_consumption_y2019m01 PARTITION OF energy_consumption"
            " FOR VALUES FROM ('2019-01-01') TO ('2019-02-01')"
        )
    upgrade(database)
    with psycopg.connect(database.url) as connection:
        assert connection.execute(
            "SELECT c.relowner::regrole::text, c.relrowsecurity, c.relforcerowsecurity,"
            " EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'through_parent')"
            " FROM pg_class c WHERE c.relname = 'energy_consumption_y2019m01'"
        ).fetchone() == ("energy_forecast_owner", True, True, True)


def test_keys_of_tables_with_a_city_contain_the_city(database: Database) -> None:
    """A table can only be distributed by city if each unique index, and each key between two such tables, has it."""
    with psycopg.connect(database.url) as connection:
        without = connection.execute("""
            WITH city AS (
                SELECT a.attrelid, a.attnum FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                WHERE a.attname = 'city_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                  AND c.relnamespace IN ('public'::regnamespace, 'ops'::regnamespace))
            SELECT i.indexrelid::regclass::text FROM pg_index i JOIN city ON city.attrelid = i.indrelid
            WHERE (i.indisunique OR i.indisexclusion) AND NOT city.attnum = ANY (i.indkey::smallint[])
            UNION ALL
            SELECT k.conname FROM pg_constraint k JOIN city ON city.attrelid = k.conrelid
            JOIN city other ON other.attrelid = k.confrelid
            WHERE k.contype = 'f' AND k.conparentid = 0
              AND array_position(k.conkey, city.attnum) IS DISTINCT FROM array_position(k.confkey, other.attnum)
        """).fetchall()
    assert without == []


def test_a_promotion_returns_only_to_one_of_its_city(database: Database) -> None:
    with database.transaction(Role.OWNER) as connection:
        fill(connection)
        connection.execute("""
            INSERT INTO cities (name, latitude, longitude, timezone) VALUES ('Bonn', 50.7, 7.1, 'Europe/Berlin')""")
        connection.execute("""
            INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)
            SELECT m.id, c.id, 'abc', sha256('abc'), sha256('data'), '{}' FROM models m, cities c
            WHERE c.name = 'Bonn'""")
        promote = """
            INSERT INTO model_promotions (city_id, model_id, reason, evidence, is_forced, returns_to)
            SELECT c.id, m.id, 'r', '[]', true, (SELECT id FROM model_promotions)
            FROM cities c, models m WHERE c.name = %s"""
        connection.execute(promote, ["Pune"])
        with pytest.raises(psycopg.errors.ForeignKeyViolation, match="promotion_returns_to"):
            connection.execute(promote, ["Bonn"])


def test_defaults_are_now_and_not_a_time_of_each_node(database: Database) -> None:
    """Each replica of a distributed table would compute CURRENT_TIMESTAMP for itself; now() is passed as a value."""
    with psycopg.connect(database.url) as connection:
        found = connection.execute("""
            SELECT adrelid::regclass || '.' || adnum FROM pg_attrdef
            WHERE pg_get_expr(adbin, adrelid) ~ 'CURRENT_TIMESTAMP'
            UNION ALL
            SELECT oid::regprocedure::text FROM pg_proc
            WHERE pronamespace IN ('public'::regnamespace, 'ops'::regnamespace)
              AND pg_get_function_arguments(oid) ~ 'CURRENT_TIMESTAMP'
        """).fetchall()
    assert found == []
