"""Maintenance: what goes is what the policies say, the ledger knows it, and nobody who reads has to wait."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from energy_forecast.database import Database, Role
from energy_forecast.database.maintenance import step_lock
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError
from energy_forecast.operations import retention
from energy_forecast.operations.maintenance import maintain
from energy_forecast.operations.record_checks import check_forecast_records
from energy_forecast.pipelines.explain_score import explain_score, wrong_scores
from old_data import Connection, counts, fill_old
from servers import CommandLine, Server

# The first months of the oldest history, which are older than two years
OLD = "date_trunc('month', now() - interval '28 months', 'UTC')"


@pytest.fixture(scope="module")
def old_template(server: Server, template: str) -> Iterator[str]:
    """Yield the name of a database with old data, to copy."""
    with server.copy_of(template) as database:
        fill_old(database)
        yield database.name


@pytest.fixture
def old(server: Server, old_template: str) -> Iterator[Database]:
    """Yield a database with old data."""
    with server.copy_of(old_template) as database:
        yield database


@pytest.fixture
def connection(old: Database) -> Iterator[Connection]:
    """Yield a superuser's connection to it, in autocommit."""
    with psycopg.connect(old.url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def shell(old: Database, tmp_path: Path) -> CommandLine:
    return CommandLine.on(old, tmp_path / "home")


def one(connection: Connection, statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def become(connection: Connection, role: str) -> None:
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))


def months(connection: Connection, table: str) -> list[str]:
    """Return the partitions of a table whose month is older than two years."""
    return [
        name
        for (name,) in connection.execute(
            "SELECT partition_name FROM ops.partitions() WHERE table_name = %s"
            " AND range_end <= now() - interval '2 years' ORDER BY 1",
            (table,),
        )
    ]


def digest_of(rows: list[tuple[str, str, str]]) -> bytes:
    """Compute the ledger's digest as its column comment defines it: of (city, UTC day, row as text)."""
    groups: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for city, day, text in rows:
        groups[city, day].append(text.encode())
    parts = [hashlib.sha256(b"\n".join(sorted(groups[key]))).digest() for key in sorted(groups)]
    return hashlib.sha256(b"".join(parts)).digest()


def test_whole_months_go_and_the_ledger_tells_what_they_held(connection: Connection, shell: CommandLine) -> None:
    """Rows, range and a digest that anyone can work out again from a copy of the rows."""
    doomed = months(connection, "energy_consumption")
    assert len(doomed) == 4
    rows = connection.execute(
        f"SELECT city_id::text, (timestamp AT TIME ZONE 'UTC')::date::text, e::text FROM {doomed[0]} e"  # noqa: S608
    ).fetchall()
    kept = one(connection, "SELECT count(*) FROM energy_consumption WHERE timestamp >= now() - interval '2 years'")
    [step] = json.loads(shell.run("maintain", "retention", "--json").stdout)
    assert step["outcome"] == "done"
    dropped = [item["partition_name"] for item in step["items"] if item["outcome"] == "dropped"]
    assert set(doomed) < set(dropped)
    assert months(connection, "energy_consumption") == []
    # The month in which the limit falls stays whole
    assert one(connection, "SELECT count(*) FROM energy_consumption") >= kept
    entry = connection.execute(
        "SELECT row_count, digest, range_start, range_end - range_start < interval '32 days', run_id IS NOT NULL"
        " FROM ops.dropped_data WHERE partition_name = %s",
        (doomed[0],),
    ).fetchall()
    assert entry == [(len(rows), digest_of(rows), entry[0][2], True, True)]
    assert entry[0][2].strftime("_y%Ym%m") in doomed[0]
    run = connection.execute("SELECT outcome, details FROM ops.maintenance_runs WHERE step = 'retention'").fetchall()
    assert run == [("done", step["numbers"])]
    assert step["numbers"]["rows"] == one(
        connection, "SELECT sum(row_count) FROM ops.dropped_data WHERE table_name NOT LIKE '%revisions'"
    )


def test_a_second_run_finds_nothing(connection: Connection, old: Database) -> None:
    maintain(old, ["retention"])
    before = counts(connection)
    [step] = maintain(old, ["retention"])
    assert step.outcome == "done"
    assert step.numbers["rows"] == 0
    assert counts(connection) == before | {"ops.maintenance_runs": before["ops.maintenance_runs"] + 1}


def test_revisions_go_with_their_month(connection: Connection, old: Database) -> None:
    """Left alone, they would be all that is known of it, and reads as of a moment would take replaced for true."""
    assert one(connection, "SELECT count(*) FROM energy_consumption_revisions") == 20
    maintain(old, ["retention"])
    assert one(connection, "SELECT count(*) FROM energy_consumption_revisions") == 0
    assert (
        one(connection, "SELECT row_count FROM ops.dropped_data WHERE table_name = 'energy_consumption_revisions'")
        == 20
    )
    assert (
        one(
            connection,
            f"SELECT count(*) FROM cities c, consumption_as_of(c.id, now(), {OLD}, {OLD} + interval '1 month')",  # noqa: S608
        )
        == 0
    )


def test_vintages_to_which_a_score_refers_stay(connection: Connection, shell: CommandLine) -> None:
    """With their whole month; the months beside it go."""
    first, second, third, fourth = months(connection, "prediction_vintages")
    done = shell.run("maintain", "retention", "--json")
    [step] = json.loads(done.stdout)
    outcomes = {item["partition_name"]: (item["outcome"], item["detail"]) for item in step["items"]}
    assert outcomes[second] == ("kept", "1 stored scores refer to it")
    assert {outcomes[name][0] for name in (first, third, fourth)} == {"dropped"}
    assert months(connection, "prediction_vintages") == [second]
    assert one(connection, f"SELECT count(*) FROM {second}") == 2  # noqa: S608
    assert step["numbers"]["kept_for_scores"] == 1


def test_scored_vintages_go_if_that_is_chosen_and_the_ledger_explains_their_scores(
    connection: Connection, old: Database, shell: CommandLine
) -> None:
    """Nearly every month is scored, so otherwise no month of live forecasts would ever go."""
    shell.run("retention", "keep", "weather_data", "2y", "--drop-scored", status=1)
    shell.run("retention", "keep", "energy_consumption", "forever")
    score = one(connection, "SELECT id FROM forecast_scores")
    # A live score of the same forecasts, which were no live ones, is a finding while they are stored
    connection.execute(
        "INSERT INTO forecast_scores (model_id, city_id, purpose, weather, period_start, period_end, lead_start_hours,"
        " lead_end_hours, pair_count, pair_digest, mae_kwh, rmse_kwh, pinball_kwh, coverage_90, width_90_kwh,"
        " actuals_as_of) SELECT model_id, city_id, 'live', weather, period_start, period_end, lead_start_hours,"
        " lead_end_hours, pair_count, 'y', mae_kwh, rmse_kwh, pinball_kwh, coverage_90, width_90_kwh, actuals_as_of"
        " FROM forecast_scores"
    )
    assert any("more pairs" in finding for finding in check_forecast_records(old))
    assert len(wrong_scores(old)) == 1
    assert "With keep_scored, a month" in shell.run("retention", "list").stdout
    kept = shell.run("retention", "keep", "prediction_vintages", "24mo", "--drop-scored").stdout
    assert kept.split("; ") == [
        "prediction_vintages is kept for 2 years",
        "months to which stored scores refer are removed too.\n",
    ]
    assert "Months to which stored scores refer are removed too" in shell.run("retention", "list").stdout
    assert "kept for 1 year 6 months." in shell.run("retention", "keep", "predictions", "18mo").stdout
    planned = json.loads(shell.run("maintain", "retention", "--dry-run", "--json").stdout)[0]["numbers"]
    assert planned["kept_for_scores"] == 0
    shell.run("maintain", "retention")
    assert months(connection, "prediction_vintages") == []
    assert one(connection, "SELECT count(*) FROM forecast_scores") == 2
    with pytest.raises(NotEnoughDataError, match=r"18 of the 18 forecasts .* retention removed those issued in"):
        explain_score(old, id=score)
    assert not any("more pairs" in finding for finding in check_forecast_records(old))
    assert wrong_scores(old) == []


def test_old_predictions_and_metrics_are_deleted(connection: Connection, old: Database) -> None:
    maintain(old, ["retention"])
    for table, gone, left in (("predictions", 288, 96), ("model_metrics", 1, 1)):
        assert one(connection, f"SELECT count(*) FROM {table}") == left  # noqa: S608
        entries = connection.execute(
            "SELECT sum(row_count), bool_and(partition_name IS NULL), max(range_end) < now() - interval '364 days'"
            " FROM ops.dropped_data WHERE table_name = %s",
            (table,),
        ).fetchone()
        assert entries == (gone, True, True)


def test_a_dry_run_tells_rows_and_bytes_and_changes_nothing(
    server: Server, old: Database, connection: Connection, shell: CommandLine
) -> None:
    def schema() -> str:
        done = subprocess.run(
            [server.tool("pg_dump"), "--schema-only", f"--dbname={old.url}"],
            check=True,
            capture_output=True,
            text=True,
        )
        return "\n".join(line for line in done.stdout.splitlines() if "restrict" not in line)

    before = schema(), counts(connection)
    planned = {step["step"]: step for step in json.loads(shell.run("maintain", "--dry-run", "--json").stdout)}
    assert (schema(), counts(connection)) == before
    assert {step["outcome"] for step in planned.values()} == {"planned"}
    [done] = json.loads(shell.run("maintain", "retention", "--json").stdout)
    wanted = {key: planned["retention"]["numbers"][key] for key in ("rows", "months", "revisions", "kept_for_scores")}
    assert {key: done["numbers"][key] for key in wanted} == wanted
    assert planned["retention"]["numbers"]["bytes"] > 0


class Reader:
    """Reads over and over, in sessions that give up after a second; `errors` has what went wrong."""

    def __init__(self, database: Database) -> None:
        self.errors: list[Exception] = []
        self.reads = 0
        self._database = database
        self._begun, self._stop = Event(), Event()
        self._thread = Thread(target=self._read)

    def _read(self) -> None:
        try:
            with psycopg.connect(self._database.url, autocommit=True) as connection:
                connection.execute("SET lock_timeout = '1s'")
                while not self._stop.is_set():
                    connection.execute(
                        "SELECT count(*) FROM energy_consumption e JOIN cities c ON c.id = e.city_id"
                        " WHERE e.timestamp >= now() - interval '3 days'"
                    )
                    connection.execute("SELECT count(*) FROM predictions JOIN forecast_runs r ON r.id = run_id")
                    self.reads += 1
                    self._begun.set()
                    time.sleep(0.005)
        except Exception as error:  # noqa: BLE001 - told to the test
            self.errors.append(error)

    def __enter__(self) -> Reader:
        self._thread.start()
        assert self._begun.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_readers_wait_for_less_than_a_second_while_months_go(old: Database) -> None:
    with Reader(old) as reader:
        [step] = maintain(old, ["retention"])
    assert step.outcome == "done"
    assert reader.errors == []
    assert reader.reads > 0


def test_a_reader_that_stays_stops_retention_and_no_other_reader(
    connection: Connection, old: Database, shell: CommandLine
) -> None:
    """An open transaction holds its table; the run says so and fails, and the next one does the rest."""
    doomed = months(connection, "energy_consumption")
    with psycopg.connect(old.url) as stays:
        stays.execute(f"SELECT count(*) FROM energy_consumption WHERE timestamp < {OLD} + interval '1 month'")  # noqa: S608
        with Reader(old) as reader:
            done = shell.run("maintain", "retention", status=1)
        assert reader.errors == []
        assert f"in use by backends {stays.info.backend_pid}" in done.stderr
        assert months(connection, "energy_consumption") == doomed
        assert one(connection, "SELECT count(*) FROM ops.dropped_data WHERE table_name LIKE 'energy%'") == 0
        assert months(connection, "weather_data") == [], "the other tables go on"
        assert one(connection, "SELECT outcome FROM ops.maintenance_runs") == "failed"
        # The reader is served to its end
        assert stays.execute("SELECT count(*) > 0 FROM energy_consumption").fetchone() == (True,)
    shell.run("maintain", "retention")
    assert months(connection, "energy_consumption") == []


def test_a_value_that_arrives_late_is_in_the_ledger_or_stays(connection: Connection, old: Database) -> None:
    """Written between the digest and the drop, it would go unseen: the month stays, and goes the next time."""
    month = months(connection, "energy_consumption")[0]
    with psycopg.connect(old.url) as writer, psycopg.connect(old.url, autocommit=True) as operator:
        # Not to be seen yet when the rows are digested, and there when the locks are given
        writer.execute(
            "UPDATE energy_consumption SET peak_demand_kw = 3 WHERE timestamp"  # noqa: S608
            f" BETWEEN {OLD} + interval '5 days' AND {OLD} + interval '5 days 18 hours'"
        )
        become(operator, Role.OPERATOR)
        outcomes: list[str] = []
        call = Thread(
            target=lambda: outcomes.append(
                one(operator, f"SELECT outcome FROM ops.apply_retention('energy_consumption', '{month}', now(), now())")  # noqa: S608
            )
        )
        call.start()
        deadline = time.monotonic() + 30
        while not one(
            connection,
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
            # Of this database: other tests work on the server too
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        ):
            assert time.monotonic() < deadline
        writer.commit()
        call.join()
    assert outcomes == ["busy"]
    assert month in months(connection, "energy_consumption")
    assert one(connection, "SELECT count(*) FROM ops.dropped_data") == 0
    with psycopg.connect(old.url) as elsewhere:
        # A transaction that stays open and has nothing to do with the month
        elsewhere.execute("SELECT pg_current_xact_id()")
        connection.execute(
            "UPDATE energy_consumption SET peak_demand_kw = 4 WHERE timestamp"  # noqa: S608
            f" BETWEEN {OLD} + interval '5 days' AND {OLD} + interval '5 days 18 hours'"
        )
        maintain(old, ["retention"])
    assert month not in months(connection, "energy_consumption")
    # Twenty before, and twice four values of two cities
    assert (
        one(connection, "SELECT row_count FROM ops.dropped_data WHERE table_name = 'energy_consumption_revisions'")
        == 36
    )


def test_writers_wait_no_longer_than_readers(old: Database) -> None:
    """A condition that is only known when it runs locks every partition, the old ones too."""
    failed: list[Exception] = []
    stop = Event()

    def write() -> None:
        try:
            with psycopg.connect(old.url, autocommit=True) as writer:
                writer.execute("SET lock_timeout = '1s'")
                while not stop.is_set():
                    writer.execute(
                        "UPDATE energy_consumption SET peak_demand_kw = 1, available_at = now()"
                        " WHERE timestamp >= now() - interval '1 day'"
                    )
                    time.sleep(0.02)
        except Exception as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    thread = Thread(target=write)
    thread.start()
    [step] = maintain(old, ["retention"])
    stop.set()
    thread.join()
    assert failed == []
    assert step.outcome == "done"


def test_killed_in_the_middle_it_leaves_whole_months(connection: Connection, old: Database, shell: CommandLine) -> None:
    """The ledger knows exactly what is gone; the next run goes on, and records that this one ended without a word."""
    doomed = months(connection, "energy_consumption")
    with psycopg.connect(old.url) as reader:
        # The first month can go, the second is held
        reader.execute(f"SELECT count(*) FROM {doomed[1]}")  # noqa: S608
        process = shell.start("maintain", "retention")
        deadline = time.monotonic() + 60
        while one(connection, "SELECT count(*) FROM ops.dropped_data WHERE table_name = 'energy_consumption'") == 0:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate()
    ledger = {n for (n,) in connection.execute("SELECT partition_name FROM ops.dropped_data WHERE row_count > 0")}
    assert doomed[0] in ledger
    assert not set(months(connection, "energy_consumption")) & ledger
    shell.run("maintain", "retention")
    assert months(connection, "energy_consumption") == []
    every = connection.execute(
        "SELECT partition_name, count(*) FROM ops.dropped_data WHERE partition_name IS NOT NULL"
        " GROUP BY 1 HAVING count(*) > 1"
    ).fetchall()
    assert every == []
    outcomes = connection.execute("SELECT outcome FROM ops.maintenance_runs ORDER BY started_at").fetchall()
    assert outcomes == [("interrupted",), ("done",)]


def test_a_step_that_runs_elsewhere_is_left_to_it(connection: Connection, old: Database, shell: CommandLine) -> None:
    with step_lock(old, "retention") as ours:
        assert ours
        report = {step["step"]: step["outcome"] for step in json.loads(shell.run("maintain", "--json").stdout)}
    assert report == {"partitions": "done", "retention": "running"} | dict.fromkeys(
        ("checks", "refresh", "vacuum"), "done"
    )
    assert one(connection, "SELECT count(*) FROM ops.dropped_data") == 0


def test_two_at_once_take_each_month_once(connection: Connection, shell: CommandLine) -> None:
    both = [shell.start("maintain") for _ in range(2)]
    for process in both:
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    assert months(connection, "energy_consumption") == []
    assert one(connection, "SELECT count(*) FROM ops.dropped_data WHERE partition_name IS NOT NULL") == one(
        connection, "SELECT count(DISTINCT partition_name) FROM ops.dropped_data"
    )


def test_a_detach_that_was_cut_short_is_finished(connection: Connection, old: Database) -> None:
    """Its rows are shown to no query any more; they are counted and digested all the same before they go."""
    month = months(connection, "energy_consumption")[0]
    rows = connection.execute(
        f"SELECT city_id::text, (timestamp AT TIME ZONE 'UTC')::date::text, e::text FROM {month} e"  # noqa: S608
    ).fetchall()
    with psycopg.connect(old.url) as reader:
        reader.execute("SELECT count(*) FROM energy_consumption")
        connection.execute("SET statement_timeout = '500ms'")
        with pytest.raises(errors.QueryCanceled):
            connection.execute(f"ALTER TABLE energy_consumption DETACH PARTITION {month} CONCURRENTLY")
        connection.execute("SET statement_timeout = 0")
    [step] = maintain(old, ["retention"])
    assert step.outcome == "done"
    entry = connection.execute(
        "SELECT row_count, digest FROM ops.dropped_data WHERE partition_name = %s", (month,)
    ).fetchall()
    assert entry == [(len(rows), digest_of(rows))]
    assert one(connection, f"SELECT to_regclass('{month}') IS NULL") is True


def test_a_step_that_fails_does_not_stop_the_others(connection: Connection, shell: CommandLine) -> None:
    """A table that somebody detached stands where this month's partition should be."""
    name = one(connection, "SELECT 'weather_data' || to_char(now() AT TIME ZONE 'UTC', '\"_y\"YYYY\"m\"MM')")
    connection.execute(f"ALTER TABLE weather_data DETACH PARTITION {name}")
    done = shell.run("maintain", "--json", status=1)
    outcomes = {step["step"]: step["outcome"] for step in json.loads(done.stdout)}
    assert outcomes == {"partitions": "failed"} | dict.fromkeys(("retention", "checks", "refresh", "vacuum"), "done")
    assert name in done.stderr
    assert len(done.stderr.splitlines()[-1]) > 0
    assert one(connection, "SELECT details ->> 'problem' FROM ops.maintenance_runs WHERE step = 'partitions'")


def test_partitions_are_made_ahead(connection: Connection, shell: CommandLine) -> None:
    last = one(connection, "SELECT partition_name FROM ops.missing_partitions(4) WHERE table_name = 'weather_data'")
    newest = one(connection, "SELECT max(partition_name) FROM ops.partitions() WHERE table_name = 'weather_data'")
    connection.execute(f"DROP TABLE {newest}")
    [planned] = json.loads(shell.run("maintain", "partitions", "--dry-run", "--json").stdout)
    assert planned["numbers"] == {"missing": 1}
    [done] = json.loads(shell.run("maintain", "partitions", "--json").stdout)
    assert done["numbers"] == {"made": 1}
    assert one(connection, f"SELECT to_regclass('{last}') IS NULL") is True


def test_vacuum_reaches_partitions_and_statistics_their_parents(connection: Connection, old: Database) -> None:
    [step] = maintain(old, ["vacuum"])
    assert step.outcome == "done"
    untouched = connection.execute(
        "SELECT c.relname FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid"
        " WHERE c.relnamespace IN ('public'::regnamespace, 'ops'::regnamespace) AND c.relkind IN ('r', 'm')"
        " AND (s.vacuum_count = 0 OR s.analyze_count = 0)"
    ).fetchall()
    assert untouched == []
    assert one(connection, "SELECT count(*) FROM pg_stats WHERE tablename = 'energy_consumption' AND inherited") > 5


def test_cleanup_procedure_applies_the_policies(connection: Connection) -> None:
    become(connection, Role.OPERATOR)
    connection.execute("CALL cleanup_old_data()")
    connection.execute("RESET ROLE")
    assert months(connection, "energy_consumption") == []
    assert len(months(connection, "prediction_vintages")) == 1
    assert one(connection, "SELECT count(*) FROM predictions") == 96
    assert one(connection, "SELECT count(*) FROM ops.dropped_data WHERE run_id IS NULL") > 10
    for role in ("energy_forecast_app", Role.INGEST, Role.FORECASTER, Role.AUDITOR):
        become(connection, role)
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("CALL cleanup_old_data()")


def test_only_the_operator_changes_a_policy_and_is_named(connection: Connection) -> None:
    for role in ("energy_forecast_app", Role.INGEST, Role.FORECASTER, Role.AUDITOR):
        become(connection, role)
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("UPDATE ops.retention_policies SET keep = '91 days'")
    become(connection, Role.OPERATOR)
    connection.execute("UPDATE ops.retention_policies SET keep = '3 years' WHERE table_name = 'weather_data'")
    assert connection.execute(
        "SELECT changed_by = session_user, changed_at > now() - interval '1 minute' FROM ops.retention_policies"
        " WHERE table_name = 'weather_data'"
    ).fetchone() == (True, True)
    for statement in (
        "UPDATE ops.retention_policies SET changed_by = 'somebody'",
        "INSERT INTO ops.retention_policies (table_name, by_month, note) VALUES ('cities', false, '')",
        "DELETE FROM ops.retention_policies",
        "DELETE FROM ops.dropped_data",
        "UPDATE ops.dropped_data SET row_count = 0",
        "INSERT INTO ops.dropped_data DEFAULT VALUES",
        "UPDATE ops.maintenance_runs SET outcome = 'done'",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement)
    with pytest.raises(errors.CheckViolation):
        connection.execute("UPDATE ops.retention_policies SET keep = '2 days'")


def test_a_function_called_by_hand_drops_nothing_that_is_not_due(connection: Connection) -> None:
    become(connection, Role.OPERATOR)
    name = one(connection, "SELECT max(partition_name) FROM ops.partitions() WHERE table_name = 'energy_consumption'")
    call = "SELECT outcome FROM ops.apply_retention(%s, %s, now() - interval '99 years', now())"
    for table, partition, outcome in (
        ("energy_consumption", name, "not due"),
        ("energy_consumption", "cities", "gone"),
        ("predictions", None, "not due"),
        ("cities", None, "not due"),
    ):
        assert connection.execute(call, (table, partition)).fetchone() == (outcome,)


@pytest.mark.parametrize(
    ("span", "says"),
    [("2", "a time span"), ("-2y", "a time span"), ("89d", "90 days"), ("2mo", "90 days"), ("101y", "100 years")],
)
def test_an_implausible_policy_is_refused(old: Database, span: str, says: str) -> None:
    with pytest.raises(EnergyForecastError, match=says):
        retention.keep(old, "predictions", span)


def test_a_policy_is_changed_by_a_command_and_holds(connection: Connection, shell: CommandLine) -> None:
    shell.run("retention", "keep", "energy_consumption", "forever")
    shell.run("retention", "keep", "weather_data", "27mo")
    shell.run("retention", "keep", "cities", "2y", status=1)
    shell.run("maintain", "retention")
    assert len(months(connection, "energy_consumption")) == 4
    assert 0 < len(months(connection, "weather_data")) < 4
    kept = {row["table_name"]: row["keep"] for row in json.loads(shell.run("retention", "list", "--json").stdout)}
    assert kept["energy_consumption"] is None
    gone = json.loads(shell.run("retention", "ledger", "--json").stdout)
    assert {row["table_name"] for row in gone} >= {"weather_data", "predictions"}
    assert all(len(row["sha256"]) == 64 for row in gone)


def test_old_rejected_rows_go_with_a_ledger_row_and_recent_ones_never(connection: Connection, old: Database) -> None:
    """Quarantine is bounded in time too. Its contents do not move into the audit log, which is never emptied."""
    connection.execute(
        "INSERT INTO ops.ingest_batches (kind, files, read, inserted, corrected, unchanged, rejected)"
        " VALUES ('weather', '[]', 3, 0, 0, 0, 3)"
    )
    # As if they had been written then; nobody can without switching the trigger off
    connection.execute("ALTER TABLE ops.rejected_rows DISABLE TRIGGER created_at_is_now")
    connection.execute(
        "INSERT INTO ops.rejected_rows (batch_id, file, line, reason, row_data, created_at)"
        " SELECT id, 'a.csv', n, 'bad', '{\"a\": \"secret\"}', now() - n * interval '100 days'"
        " FROM ops.ingest_batches, generate_series(0, 2) n WHERE kind = 'weather'"
    )
    connection.execute("ALTER TABLE ops.rejected_rows ENABLE ALWAYS TRIGGER created_at_is_now")
    connection.commit()
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="at least 90 days"):
        connection.execute("DELETE FROM ops.rejected_rows")
    connection.rollback()
    maintain(old, ["retention"])
    assert connection.execute("SELECT line FROM ops.rejected_rows ORDER BY line").fetchall() == [(0,), (1,)]
    assert connection.execute(
        "SELECT row_count, partition_name FROM ops.dropped_data WHERE table_name = 'rejected_rows'"
    ).fetchall() == [(1, None)]
    entry = one(
        connection, "SELECT old_data FROM audit_log WHERE table_name = 'ops.rejected_rows' AND action = 'DELETE'"
    )
    assert (entry["rows"], entry["loads"]) == (1, 1)
    assert one(connection, "SELECT count(*) FROM audit_log WHERE old_data::text LIKE '%secret%'") == 0
    retention.keep(old, "rejected_rows", "90d")
    maintain(old, ["retention"])
    assert connection.execute("SELECT line FROM ops.rejected_rows").fetchall() == [(0,)]
