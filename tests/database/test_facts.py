"""`doctor audit` shows every fact that was changed, added or removed without the triggers of its table."""

# ruff: noqa: S608 - statements of these tests' own constants

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from energy_forecast.database import Database
from energy_forecast.database.facts import CONTROLLED, TABLES
from energy_forecast.database.migrate import upgrade
from energy_forecast.operations.audit import verify_audit
from servers import CommandLine, Server

CITY = UUID("00000000-0000-0000-0000-000000000001")
MODEL = "00000000-0000-0000-0000-000000000009"
LIVE, BACKTEST = "00000000-0000-0000-0000-0000000000a1", "00000000-0000-0000-0000-0000000000a2"
Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Yield a superuser's connection to a database in which every table of facts has rows, in autocommit."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, 'Pune', 18, 73, 'Asia/Kolkata')",
            (CITY,),
        )
        for table in ("energy_consumption", "weather_data", "weather_forecasts"):
            connection.execute("SELECT ensure_month_partitions(%s, '2024-01-01Z', '2024-03-01Z')", (table,))
        hours = "generate_series('2024-01-10Z'::timestamptz, '2024-02-20Z', '1 hour') t"
        for table, value in (("energy_consumption", "consumption_kwh"), ("weather_data", "temperature")):
            connection.execute(
                f"INSERT INTO {table} (city_id, timestamp, {value}, available_at)"
                f" SELECT '{CITY}', t, extract(day FROM t), t + interval '1 hour' FROM {hours}"
            )
            connection.execute(
                f"UPDATE {table} SET {value} = 50, available_at = '2024-03-01Z' WHERE timestamp < '2024-01-11Z'"
            )
        connection.execute(
            "INSERT INTO weather_forecasts (city_id, issued_at, timestamp, temperature)"
            f" SELECT '{CITY}', t - interval '5 hours', t, 7 FROM {hours}"
        )
        yield connection


def differences(database: Database, home: Path) -> list[str]:
    return [found.message for found in verify_audit(database, home).findings if found.kind == "facts"]


def test_what_came_through_the_triggers_is_what_the_log_records(
    connection: Connection, database: Database, tmp_path: Path
) -> None:
    """Values one by one, in bulk, several in a transaction, corrected twice, deleted; and months that are dropped."""
    assert differences(database, tmp_path) == []
    with connection.transaction():
        for hour in range(3):
            connection.execute(
                "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
                " VALUES (%s, '2024-03-02Z'::timestamptz + make_interval(hours => %s), 5, '2024-03-03Z')",
                (CITY, hour),
            )
        for value in (6, 7):
            connection.execute(
                "UPDATE energy_consumption SET consumption_kwh = %s WHERE timestamp >= '2024-02-15Z'", (value,)
            )
    connection.execute("DELETE FROM weather_data WHERE timestamp < '2024-01-12Z'")
    assert differences(database, tmp_path) == []
    # Two years old: retention drops whole months, and the revisions of the first
    connection.execute("UPDATE ops.retention_policies SET keep = '2 years' WHERE keep IS NULL")
    connection.execute("CALL cleanup_old_data()")
    assert connection.execute("SELECT count(*) FROM energy_consumption").fetchone() == (0,)
    dropped = connection.execute(
        "SELECT count(*) FROM audit_log"
        " WHERE action = 'DELETE' AND old_data ->> 'partition' LIKE 'energy_consumption_y2024%'"
    ).fetchone()
    assert dropped == (3,)
    assert differences(database, tmp_path) == []


# By the owner of the schema: statements, the table in which the facts differ
ATTACKS = {
    "a value is changed": (
        "UPDATE {table} SET consumption_kwh = 1 WHERE timestamp = '2024-01-20Z'",
        "energy_consumption holds other values than the log records in its 360 rows of the 30 days from 2023-12-26",
    ),
    "the moment of recording is changed": (
        "UPDATE {table} SET created_at = created_at - interval '1 day' WHERE timestamp = '2024-01-20Z'",
        "energy_consumption holds other values",
    ),
    "a value is removed": (
        "DELETE FROM {table} WHERE timestamp = '2024-01-20Z'",
        "energy_consumption does not hold the rows that the log records for the 30 days from 2023-12-26:"
        " 359 rows instead of 360",
    ),
    "a value is added": (
        "INSERT INTO {table} (city_id, timestamp, consumption_kwh, available_at)"
        f" VALUES ('{CITY}', '2024-03-05Z', 1, '2024-03-06Z')",
        "1 rows instead of 0",
    ),
    "a correction is taken back": (
        "UPDATE {table} c SET consumption_kwh = r.consumption_kwh, created_at = r.created_at FROM"
        " energy_consumption_revisions r WHERE r.city_id = c.city_id AND r.timestamp = c.timestamp",
        "energy_consumption holds other values",
    ),
    "two values are swapped": (
        "UPDATE {table} c SET consumption_kwh = o.consumption_kwh FROM {table} o WHERE c.timestamp = CASE o.timestamp"
        " WHEN '2024-01-20Z' THEN timestamptz '2024-01-21Z' WHEN '2024-01-21Z' THEN timestamptz '2024-01-20Z' END",
        "energy_consumption holds other values",
    ),
}


def without_triggers(connection: Connection, table: str, statement: str) -> None:
    """Run a statement as the owner who disables the triggers and enables them again as they were."""
    with connection.transaction():
        connection.execute("SET LOCAL ROLE energy_forecast_owner")
        names = connection.execute(
            "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ("
            "SELECT relid FROM pg_partition_tree(%s::regclass) UNION SELECT %s::regclass)",
            (table, table),
        ).fetchall()
        for name, on in names:
            connection.execute(f"ALTER TABLE {on} DISABLE TRIGGER {name}")
        connection.execute(statement.format(table=table))
        for name, on in names:
            connection.execute(f"ALTER TABLE {on} ENABLE ALWAYS TRIGGER {name}")


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_change_behind_the_triggers_is_found(
    connection: Connection, database: Database, tmp_path: Path, kind: str
) -> None:
    statement, words = ATTACKS[kind]
    without_triggers(connection, "energy_consumption", statement)
    report = verify_audit(database, tmp_path)
    # Every guard stands again: only the facts show it
    [finding] = report.findings
    assert words in finding.message
    upgrade(database)
    assert len(differences(database, tmp_path)) == 1, "an upgrade does not cover it up"


@pytest.mark.parametrize("table", [name for name in TABLES if name != "prediction_vintages"])
def test_every_table_of_facts_is_compared(
    connection: Connection, database: Database, tmp_path: Path, table: str
) -> None:
    without_triggers(connection, table, "DELETE FROM {table}")
    found = differences(database, tmp_path)
    assert found
    assert all(f"Table {table} " in each for each in found)


def test_a_rewritten_table_is_found_and_has_an_entry(
    connection: Connection, database: Database, tmp_path: Path
) -> None:
    """ALTER TABLE ... USING changes values, and fires no trigger of the table."""
    with connection.transaction():
        connection.execute("SET LOCAL ROLE energy_forecast_owner")
        connection.execute(
            f"ALTER TABLE weather_data {' ' * 400} ALTER humidity TYPE numeric(5,2) USING coalesce(humidity, 1)"
        )
    assert {each.split(" the")[0].split(" holds")[0] for each in differences(database, tmp_path)} == {
        "Table weather_data"
    }
    rows = connection.execute(
        "SELECT table_name FROM audit_log WHERE new_data ->> 'command' = 'ALTER TABLE: every row is written again'"
    ).fetchall()
    assert ("public.weather_data_y2024m02",) in rows


def test_a_month_that_was_attached_by_hand_is_found(connection: Connection, database: Database, tmp_path: Path) -> None:
    """Its rows may claim any moment of recording."""
    with connection.transaction():
        connection.execute("SET LOCAL ROLE energy_forecast_owner")
        connection.execute("CREATE TABLE forged (LIKE energy_consumption INCLUDING ALL EXCLUDING INDEXES)")
        connection.execute(
            "INSERT INTO forged (city_id, timestamp, consumption_kwh, available_at, created_at)"
            f" VALUES ('{CITY}', '2023-05-05Z', 1, '2023-05-06Z', '2023-05-06Z')"
        )
        connection.execute("ALTER TABLE forged RENAME TO energy_consumption_y2023m05")
        connection.execute(
            "SELECT attach_month_table('energy_consumption', 'energy_consumption_y2023m05', '2023-05-01Z')"
        )
    report = verify_audit(database, tmp_path)
    [message] = [finding.message for finding in report.findings]
    assert "Table energy_consumption does not hold the rows that the log records" in message
    assert "1 rows instead of 0" in message


def test_a_month_that_was_detached_changed_and_attached_again_is_found(
    connection: Connection, database: Database, tmp_path: Path
) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL ROLE energy_forecast_owner")
        connection.execute("ALTER TABLE energy_consumption DETACH PARTITION energy_consumption_y2024m02")
        connection.execute("ALTER TABLE energy_consumption_y2024m02 NO FORCE ROW LEVEL SECURITY")
        connection.execute("DROP TRIGGER through_parent ON energy_consumption_y2024m02")
        connection.execute("UPDATE energy_consumption_y2024m02 SET consumption_kwh = 3")
        connection.execute(
            "SELECT attach_month_table('energy_consumption', 'energy_consumption_y2024m02', '2024-02-01Z')"
        )
    assert all("energy_consumption holds other values" in each for each in differences(database, tmp_path))
    assert differences(database, tmp_path)
    connection.execute("SET ROLE energy_forecast_owner")
    connection.execute("DROP TABLE energy_consumption_y2024m02")
    connection.execute("RESET ROLE")
    assert any("rows instead of" in each for each in differences(database, tmp_path))


def test_a_superuser_who_writes_as_a_replica_is_recorded(
    connection: Connection, database: Database, tmp_path: Path
) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE energy_consumption SET consumption_kwh = 4 WHERE timestamp >= '2024-02-19Z'")
    assert differences(database, tmp_path) == []
    assert connection.execute(
        "SELECT old_data ->> 'rows', new_data ->> 'rows' FROM audit_log WHERE table_name = 'energy_consumption'"
        " AND action = 'UPDATE' ORDER BY number DESC LIMIT 1"
    ).fetchone() == ("25", "25")


def test_rows_from_before_the_baseline_are_compared_with_their_state_then(
    connection: Connection, database: Database, tmp_path: Path
) -> None:
    """A database of an earlier version has entries without sums."""
    connection.execute("ALTER EVENT TRIGGER energy_forecast_audit_ddl DISABLE")
    for table in ("ops.fact_baselines", "ops.audit_chain", "audit_log"):
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    connection.execute("DELETE FROM ops.fact_baselines")
    connection.execute("UPDATE audit_log SET new_data = new_data - 'sums', old_data = old_data - 'sums'")
    connection.execute("COMMENT ON SCHEMA ops IS 'Of an earlier version'")
    upgrade(database)
    assert differences(database, tmp_path) == []
    assert any("compared with their state at that time" in note for note in verify_audit(database, tmp_path).notes)
    without_triggers(connection, "energy_consumption", ATTACKS["a value is changed"][0])
    assert len(differences(database, tmp_path)) == 1


def test_the_command_compares_the_facts_unless_told_not_to(connection: Connection, command_line: CommandLine) -> None:
    without_triggers(connection, "energy_consumption", ATTACKS["a value is removed"][0])
    failed = command_line.run("doctor", "audit", status=1)
    assert "359 rows instead of 360. Compare these rows with a backup" in failed.stderr
    assert "were not compared with the log" in command_line.run("doctor", "audit", "--skip-facts").stderr


@pytest.mark.parametrize(
    "table", ["energy_consumption", "weather_data", "energy_consumption_revisions", "weather_data_revisions"]
)
def test_single_values_and_months_have_the_same_sums(connection: Connection, table: str) -> None:
    """The functions with written-out columns have to say what audit_sums_query() says."""
    value = "consumption_kwh" if table.startswith("energy_consumption") else "temperature"
    columns = connection.execute(
        "SELECT tgargs FROM pg_trigger WHERE tgrelid = 'ops.fact_baselines'::regclass AND tgname = %s",
        (f"audit_{table}",),
    ).fetchone()
    assert columns is not None
    _, block, hashed = bytes(columns[0]).decode().rstrip("\0").split("\0")
    for first, hours in (("2024-03-01Z", 1), ("2024-03-02Z", 400)):
        with connection.transaction():
            connection.execute(
                f"INSERT INTO {table} (city_id, timestamp, {value}, available_at, interval_minutes)"
                f" SELECT '{CITY}', t, 9, t + interval '1 hour', 60"
                " FROM generate_series(%s::timestamptz, %s::timestamptz + make_interval(hours => %s - 1), '1 hour') t",
                (first, first, hours),
            )
            [(new,)] = connection.execute(
                "SELECT new_data FROM audit_log WHERE transaction_id = pg_current_xact_id()"
            ).fetchall()
            query = connection.execute(
                "SELECT audit_sums_query(%s, %s, %s)", (f"{table} c WHERE c.timestamp >= '{first}'", block, hashed)
            ).fetchone()
            assert query is not None
            assert connection.execute(query[0]).fetchone() == (True, [CITY], new)
            raise psycopg.Rollback


# By the owner of the schema: a table with an entry for each row, a statement, the finding
CHANGED_ROWS = {
    "a city": (
        "cities",
        "UPDATE {table} SET latitude = 19",
        f"A row of cities was changed without an entry in the log: {CITY}",
    ),
    "the end of training": (
        "models",
        "UPDATE {table} SET trained_until = '2020-01-01Z'",
        f"A row of models was changed without an entry in the log: {MODEL}",
    ),
    "a grant": (
        "user_city_access",
        f"INSERT INTO {{table}} (user_id, city_id, created_at) VALUES ('eve', '{CITY}', '2020-01-01Z')",
        f"A row of user_city_access was added without an entry in the log: eve, {CITY}",
    ),
    "a grant that is hidden": (
        "user_city_access",
        "DELETE FROM {table} WHERE user_id = 'anna'",
        f"A row of user_city_access is gone without an entry in the log: anna, {CITY}",
    ),
    "the digest of an artifact": (
        "model_artifacts",
        "UPDATE {table} SET artifact = '\\x01', sha256 = sha256('\\x01')",
        f"A row of model_artifacts was changed without an entry in the log: {MODEL}, {CITY}",
    ),
    "a champion": (
        "model_promotions",
        "UPDATE {table} SET reason = 'judged'",
        "A row of model_promotions was changed without an entry in the log",
    ),
    "a backtest becomes a live run": (
        "forecast_runs",
        "UPDATE {table} SET purpose = 'live' WHERE purpose = 'backtest'",
        f"A row of forecast_runs was added without an entry in the log: {BACKTEST}",
    ),
    "a live run is hidden": (
        "forecast_runs",
        "UPDATE {table} SET purpose = 'replay' WHERE purpose = 'live'",
        f"A row of forecast_runs is gone without an entry in the log: {LIVE}",
    ),
    "a policy": (
        "ops.retention_policies",
        "UPDATE {table} SET keep = NULL WHERE table_name = 'predictions'",
        "A row of ops.retention_policies was changed without an entry in the log: predictions",
    ),
    "a repair": (
        "ops.repairs",
        "INSERT INTO {table} (fault) VALUES ('none')",
        "A row of ops.repairs was added without an entry in the log",
    ),
}


@pytest.fixture
def controlled(connection: Connection) -> Connection:
    """Return the same with rows in tables logged row by row, written with other session settings."""
    with connection.transaction():
        connection.execute("SET LOCAL TimeZone = 'Asia/Kathmandu'; SET LOCAL bytea_output = escape")
        connection.execute("SET LOCAL IntervalStyle = iso_8601; SET LOCAL extra_float_digits = -5")
        connection.execute(
            "INSERT INTO models (id, name, type, version, trained_at, trained_until)"
            " VALUES (%s, 'vanilla', 'VANILLA', '1', now(), '2024-01-01Z')",
            (MODEL,),
        )
        connection.execute(
            "INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)"
            " VALUES (%s, %s, '\\x00', sha256('\\x00'), sha256(''), '{}')",
            (MODEL, CITY),
        )
        connection.execute("INSERT INTO user_city_access (user_id, city_id) VALUES ('anna', %s)", (CITY,))
        for run, purpose in ((LIVE, "live"), (BACKTEST, "backtest")):
            connection.execute(
                "INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, quantile_levels,"
                " status, started_at, finished_at) VALUES (%s, %s, %s, now(), '1 day', 'none',"
                " '{0.1, 0.123456789012345, 0.5}', 'succeeded', now(), now())",
                (run, MODEL, purpose),
            )
        connection.execute(
            "UPDATE ops.retention_policies SET keep = '400 days 12 hours' WHERE table_name = 'predictions'"
        )
        connection.execute("UPDATE ops.retraining_policies SET threshold = 31.1 WHERE reason = 'age'")
    for reason in ("first", "second"):
        connection.execute(
            "INSERT INTO model_promotions (city_id, model_id, reason, evidence, is_forced)"
            " VALUES (%s, %s, %s, '{}', true)",
            (CITY, MODEL, reason),
        )
    return connection


def test_rows_that_came_through_the_triggers_are_those_of_the_log(
    controlled: Connection, database: Database, tmp_path: Path
) -> None:
    assert differences(database, tmp_path) == []
    controlled.execute("DELETE FROM user_city_access")
    controlled.execute("INSERT INTO user_city_access (user_id, city_id) VALUES ('anna', %s)", (CITY,))
    controlled.execute("DELETE FROM user_city_access")
    assert differences(database, tmp_path) == []


@pytest.mark.parametrize("kind", CHANGED_ROWS)
def test_a_row_that_is_changed_behind_the_triggers_is_found(
    controlled: Connection, database: Database, tmp_path: Path, kind: str
) -> None:
    table, statement, words = CHANGED_ROWS[kind]
    without_triggers(controlled, table, statement)
    report = verify_audit(database, tmp_path)
    assert report.findings
    assert all(words in finding.message for finding in report.findings), "every guard stands again"
    upgrade(database)
    assert any(words in message for message in differences(database, tmp_path)), "an upgrade does not cover it up"


def test_rows_from_before_the_baseline_have_one_entry_each(
    controlled: Connection, database: Database, tmp_path: Path
) -> None:
    """A database of an earlier version has rows without an entry, and entries without columns that were added since."""
    controlled.execute("ALTER EVENT TRIGGER energy_forecast_audit_ddl DISABLE")
    for table in ("ops.fact_baselines", "ops.audit_chain", "audit_log"):
        controlled.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    controlled.execute("DELETE FROM ops.fact_baselines WHERE table_name = ANY (%s)", (list(CONTROLLED),))
    controlled.execute("DELETE FROM ops.audit_chain WHERE sequence > 0")
    controlled.execute("DELETE FROM audit_log WHERE table_name = ANY (%s)", (list(CONTROLLED),))
    controlled.execute("COMMENT ON SCHEMA ops IS 'Of an earlier version'")
    assert len(differences(database, tmp_path)) > len(CONTROLLED)
    upgrade(database)
    assert differences(database, tmp_path) == []
    without_triggers(controlled, "cities", CHANGED_ROWS["a city"][1])
    assert differences(database, tmp_path) == [CHANGED_ROWS["a city"][2]]


@pytest.mark.parametrize("table", [*TABLES, "predictions", "model_promotions", "user_city_access"])
def test_copied_back_rows_are_recorded(
    controlled: Connection, database: Database, server: Server, command_line: CommandLine, table: str
) -> None:
    """A restored row keeps its created_at, and the log records it; the second time it replaces itself."""
    with controlled.transaction():
        new_run = controlled.execute(
            "INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
            " started_at, finished_at) VALUES (%s, 'live', now(), '1 day', 'none', '{0.5}', 'succeeded', now(), now())"
            " RETURNING id, model_id, issued_at",
            (MODEL,),
        ).fetchone()
        assert new_run is not None
        controlled.execute(
            "INSERT INTO prediction_vintages (run_id, model_id, issued_at, city_id, first_timestamp, last_timestamp,"
            " interval_minutes, quantile_count, predicted_consumption, quantiles) SELECT %s, %s, %s, %s, t, t, 60, 1,"
            " '{7}', '{7}' FROM (SELECT date_trunc('hour', now()) + interval '2 hours') AS h (t)",
            (*new_run, CITY),
        )
    rows = f"SELECT count(*), sum(hashtext(t::text)) FROM {table} t"
    before = controlled.execute(rows).fetchone()
    controlled.close()
    is_value = table in ("energy_consumption", "weather_data")
    with server.copy_of(database.name) as copy, psycopg.connect(database.url, autocommit=True) as connection:
        if is_value:
            connection.execute(f"UPDATE {table} SET available_at = '2024-03-02Z' WHERE timestamp < '2024-01-15Z'")
            connection.execute(f"DELETE FROM {table} WHERE timestamp > '2024-02-15Z'")
        command_line.run("doctor", "audit")
        for _ in range(2):
            command_line.run("recovery", "copy-back", table, "--from", copy.url, "--city", "Pune")
            assert connection.execute(rows).fetchone() == before
            command_line.run("doctor", "audit")
        entries = connection.execute(
            "SELECT action, coalesce(new_data ->> 'restored', 'false') FROM audit_log"
            " WHERE table_name = %s AND action IN ('INSERT', 'DELETE') ORDER BY number DESC LIMIT 2",
            (table,),
        ).fetchall()
        is_restored = is_value or table in ("weather_forecasts", "prediction_vintages", "predictions")
        of_last = [("INSERT", "true" if is_restored else "false")]
        assert entries == (of_last * 2 if table == "model_promotions" else [*of_last, ("DELETE", "false")])
        if is_value:
            value = "consumption_kwh" if table.startswith("energy_consumption") else "temperature"
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="created_at of"):
                connection.execute(
                    f"INSERT INTO {table} (city_id, timestamp, {value}, created_at, available_at)"
                    f" VALUES ('{CITY}', '2024-01-02Z', 1, '2024-01-03Z', '2024-01-03Z')"
                )
