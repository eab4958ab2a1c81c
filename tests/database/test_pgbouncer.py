"""Everything through PgBouncer in transaction mode, where the next transaction may be that of another client."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Database, Role
from energy_forecast.errors import DatabaseError, UnreachableError
from servers import CommandLine
from sessions import left_behind, pooler
from synthetic import frames, write_cities

LAST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
FIRST = LAST - timedelta(days=40)


def write_files(folder: Path) -> None:
    """Write two cities, their load and weather, and a correction with rows that cannot be used."""
    write_cities(folder / "cities.csv")
    consumption, weather = frames(FIRST, LAST)
    consumption.write_csv(folder / "consumption.csv")
    weather.with_columns(pl.col("timestamp").str.to_datetime(time_zone="UTC")).write_parquet(folder / "weather.parquet")
    changed = consumption.head(30).with_columns(pl.col("consumption_kwh") + 1).write_csv()
    (folder / "changed.csv").write_text(f"{changed}Nowhere,2026-01-01T00:00Z,1\nBerlin,never,1\n")


def sessions_of(database: Database, bouncer: Database, count: int) -> list[list[str]]:
    """Return what is left in each session of the pooler's database, in as many transactions at the same time."""
    with psycopg.connect(database.url) as outside:
        found = outside.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone()
    assert found is not None
    assert found[0] <= count
    clients = [psycopg.connect(bouncer.url, prepare_threshold=None) for _ in range(found[0])]
    state = [left_behind(client) for client in clients]
    for client in clients:
        client.close()
    return state


def test_every_command_runs_and_leaves_nothing(empty_database: Database, tmp_path: Path) -> None:
    """Two server sessions: a step of `maintain` holds its lock in one, and works in the other."""
    anna = f"anna_{uuid4().hex[:12]}"
    write_files(tmp_path)
    with pooler(empty_database, sessions=2, users=(anna,)) as bouncer:
        line = CommandLine.on(bouncer, tmp_path / "home")

        def run(*arguments: str | Path, status: int = 0) -> str:
            done = line.run(*arguments, status=status)
            left = sessions_of(empty_database, bouncer, 2)
            assert left == [[]] * len(left), arguments
            return done.stdout + done.stderr

        try:
            run("db", "upgrade")
            run("db", "upgrade")
            run("db", "status")
            run("city", "import", tmp_path / "cities.csv")
            run("ingest", "consumption", tmp_path / "consumption.csv")
            run("ingest", "weather", tmp_path / "weather.parquet")
            loaded = json.loads(line.run("ingest", "consumption", tmp_path / "changed.csv", "--json", status=3).stdout)
            assert (loaded["corrected"], loaded["rejected"]) == (30, 2)
            run("ingest", "rejected")
            at = f"{LAST - timedelta(days=3):%Y-%m-%dT%H:%MZ}"
            run("train", "--model", "naive-168")
            run("forecast", "--model", "naive-168", "--horizon", "24h")
            run("forecast", "--model", "naive-168", "--horizon", "24h", "--at", at)
            run("backtest", "--model", "naive-168,naive-24", "--from", at, "--to", f"{LAST:%Y-%m-%dT%H:%MZ}")
            run("score")
            run("export", "consumption", "--output", tmp_path / "out.csv")
            run("export", "predictions", "--as-of", at, "--output", tmp_path / "predictions.parquet")
            run("partition", "dedicate", "Berlin")
            run("partition", "share", "Berlin")
            run("retention", "keep", "weather_forecasts", "2y")
            assert "only analyzed" in run("maintain")
            run("maintain", "--dry-run")
            assert "1 check found problems: recovery." in run("doctor", status=1)
            run("user", "add", anna)
            run("user", "grant", anna, "--city", "Pune")
            own = CommandLine.on(Database(make_conninfo(bouncer.url, user=anna)), tmp_path / "anna")
            assert [city["name"] for city in json.loads(own.run("city", "list", "--json").stdout)] == ["Pune"]
            own.run("query", "recent", "--city", "Pune")
            # pg_dump sets its role for a whole session
            refused = run("backup", "create", status=1)
            assert "goes through a pooler" in refused
            assert "server itself" in refused
            CommandLine.on(empty_database, tmp_path / "home").run("backup", "create")
        finally:
            with psycopg.connect(empty_database.url) as connection:
                if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (anna,)).fetchone():
                    connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(anna)))


def test_clients_alternate_on_one_session(database: Database) -> None:
    """A role or a setting of one transaction never reaches the next, also not after a failed one."""
    with pooler(database, sessions=1) as bouncer:
        other = psycopg.connect(bouncer.url, autocommit=True, prepare_threshold=None)
        asked = (
            "SELECT pg_backend_pid(), current_user = session_user, current_setting('search_path'),"
            " current_setting('TimeZone'), current_setting('bytea_output')"
        )
        before = other.execute(asked).fetchone()
        for role in (*Role, None):
            with bouncer.transaction(role, trial=True) as connection:
                connection.execute("CREATE TEMP TABLE mine (x integer) ON COMMIT DROP" if role is Role.INGEST else "")
                connection.execute("SELECT pg_advisory_xact_lock(1)" if role is not Role.AUDITOR else "")
            assert other.execute(asked).fetchone() == before
            with pytest.raises(DatabaseError, match="division by zero"), bouncer.transaction(role) as connection:
                connection.execute("SELECT 1 / 0")
            assert other.execute(asked).fetchone() == before
        with bouncer.reading() as connection:
            assert connection.execute("SELECT current_user::text, pg_backend_pid()").fetchone() == (
                Role.OPERATOR,
                before[0] if before else None,
            )
        assert other.execute(asked).fetchone() == before
        assert left_behind(other) == []
        # The check itself sees what a client leaves behind
        other.execute("SET ROLE energy_forecast_ingest; SET bytea_output = 'escape'; SELECT pg_advisory_lock(2)")
        other.execute("PREPARE one AS SELECT 1; CREATE TEMP TABLE kept (x integer)")
        found = left_behind(other)
        expected = ["role energy_forecast_ingest", "bytea_output = escape", "lock advisory", "prepared one"]
        assert set(found) >= {*expected, "temporary kept"}
        other.close()


DIES = """
import os, signal, sys
from energy_forecast.database import Database, Role
with Database(sys.argv[1]).transaction(Role.INGEST) as connection:
    connection.execute("CREATE TEMP TABLE half (x integer) ON COMMIT DROP; SELECT pg_advisory_xact_lock(3)")
    with connection.cursor().copy("COPY half FROM STDIN") as copy:
        copy.write_row([1])
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_client_leaves_nothing(database: Database) -> None:
    """The next client waits until the server has ended the transaction of the killed one."""
    with pooler(database, sessions=1) as bouncer:
        killed = subprocess.run([sys.executable, "-c", DIES, bouncer.url], check=False)
        assert killed.returncode == -signal.SIGKILL
        with bouncer.transaction(Role.INGEST) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(3)")
            connection.execute("CREATE TEMP TABLE half (x integer) ON COMMIT DROP")
        with psycopg.connect(bouncer.url) as other:
            assert left_behind(other) == []


def test_parallel_clients_share_two_sessions(database: Database) -> None:
    """Each transaction has its own role and settings throughout, however the pooler interleaves them."""
    wrong: list[object] = []

    def work(bouncer: Database, role: Role) -> None:
        for _ in range(40):
            with bouncer.transaction(role) as connection:
                for _ in range(3):
                    row = connection.execute("SELECT current_user::text, current_setting('TimeZone')").fetchone()
                    if row != (role, "UTC"):
                        wrong.append(row)

    with pooler(database, sessions=2) as bouncer:
        threads = [threading.Thread(target=work, args=(bouncer, role)) for role in Role]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_options_of_the_user_are_refused_with_a_remedy(database: Database) -> None:
    """PgBouncer passes on no startup options; a direct connection keeps them, with the platform's settings on top."""
    options = "-c work_mem=5MB -c timezone=Asia/Tokyo"
    with Database(make_conninfo(database.url, options=options)).transaction(None) as connection:
        row = connection.execute("SELECT current_setting('work_mem'), current_setting('TimeZone')").fetchone()
        assert row == ("5MB", "UTC")
    with pooler(database, sessions=1) as bouncer:
        with_options = Database(make_conninfo(bouncer.url, options=options))
        with pytest.raises(UnreachableError, match="unset PGOPTIONS"), with_options.transaction(None):
            pass
