"""Reading from a hot standby: which commands use it, and what they report if it is behind, down or none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import urllib3
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import energy_forecast as ef
from api.conftest import running, two_users
from energy_forecast.database import API_LOGIN, Database
from energy_forecast.database import standby as standbys
from energy_forecast.errors import DatabaseError, UnreachableError
from energy_forecast.operations import api_keys, users
from energy_forecast.settings import settings
from servers import CommandLine, Server

PORT = "5432"


@contextmanager
def as_owner(server: Server) -> Iterator[tuple[Path, list[str]]]:
    """Yield a new folder of the server's system user, and the words that run a program as that user."""
    owner = Path(str(conninfo_to_dict(server.url)["host"])).stat()
    folder = Path(tempfile.mkdtemp(prefix="ef-standby-"))
    who: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, owner.st_uid, owner.st_gid)
        who = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    yield folder, who
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def standby_url(server: Server) -> Iterator[str]:
    """Yield the URL of a hot standby of the tests' server, made with pg_basebackup."""
    parts = conninfo_to_dict(server.url)
    with psycopg.connect(server.url) as connection:
        # The programs that the server runs from: its system user may not be able to read those of this environment
        found = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    assert found is not None
    programs = Path(found[0])
    with as_owner(server) as (folder, who):
        command: list[str | Path] = [
            programs / "pg_basebackup",
            "--pgdata",
            folder / "data",
            "--write-recovery-conf",
            "--checkpoint=fast",
        ]
        source = make_conninfo("", host=parts["host"], port=parts.get("port") or PORT, user=parts["user"])
        made = subprocess.run([*who, *command, f"--dbname={source}"], capture_output=True, cwd="/", check=False)
        assert made.returncode == 0, made.stderr
        options = {"unix_socket_directories": folder, "listen_addresses": "", "port": PORT, "hot_standby": "on"}
        options |= {"logging_collector": "off", "archive_mode": "off"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            program = subprocess.Popen(
                [*who, programs / "postgres", "-D", folder / "data", *words], stdout=log, stderr=log, cwd="/"
            )
        url = make_conninfo(server.url, host=str(folder), port=PORT)
        until = time.monotonic() + 60
        while True:
            assert program.poll() is None, (folder / "log").read_text()
            try:
                psycopg.connect(url).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.05)
            else:
                break
        yield url
        # Fast shutdown
        program.send_signal(signal.SIGINT)
        program.wait(30)


@pytest.fixture
def standby(database: Database, standby_url: str) -> Database:
    """Return the test's database on the standby."""
    copy = Database(make_conninfo(standby_url, dbname=database.name), standby=True)
    catch_up(database, copy)
    return copy


@pytest.fixture
def line(database: Database, standby: Database, tmp_path: Path) -> CommandLine:
    """Return the command line with a primary and a standby."""
    made = CommandLine.on(database, tmp_path / "home")
    return CommandLine(made.environment | {"ENERGY_FORECAST_READ_URL": standby.url})


def written(database: Database) -> object:
    """Write all WAL of the primary, which commits asynchronously in tests; return its end."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = on")
        connection.execute("SELECT pg_logical_emit_message(true, 'test', '')")
        row = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
    assert row is not None
    return row[0]


def catch_up(database: Database, standby: Database) -> None:
    """Wait until the standby has replayed everything."""
    end = written(database)
    until = time.monotonic() + 60
    while True:
        try:
            with psycopg.connect(standby.url) as connection:
                done = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [end]).fetchone()
        except psycopg.OperationalError:
            done = (False,)
        if done == (True,):
            return
        assert time.monotonic() < until
        time.sleep(0.05)


@contextmanager
def paused(standby: Database) -> Iterator[None]:
    """Stop the replay for a while."""
    with psycopg.connect(standby.url, autocommit=True) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            connection.execute("SELECT pg_wal_replay_resume()")


def add(line: CommandLine, name: str) -> None:
    line.run("city", "add", name, "--latitude", "48", "--longitude", "11", "--timezone", "Europe/Berlin")


def cities(line: CommandLine) -> list[str]:
    return [city["name"] for city in json.loads(line.run("city", "list", "--json").stdout)]


def test_reading_commands_use_the_standby(
    line: CommandLine, database: Database, standby: Database, tmp_path: Path
) -> None:
    add(line, "Munich")
    catch_up(database, standby)
    with paused(standby):
        add(line, "Pune")
        # A command that writes reads what it has written; one that only reads does not see it yet
        assert cities(line) == ["Munich"]
        assert "There is no city 'Pune'" in line.run("query", "recent", "--city", "Pune", status=1).stderr
        add(line, "Pune")
    catch_up(database, standby)
    assert cities(line) == ["Munich", "Pune"]
    reading = [
        ["city", "show", "Pune"],
        ["query", "recent", "--city", "Pune"],
        ["query", "model-performance"],
        ["export", "consumption", "--output", str(tmp_path / "out.csv")],
        ["model", "list"],
        ["model", "due"],
        ["model", "policy"],
        ["partition", "list"],
        ["retention", "list"],
        ["retention", "ledger"],
        ["user", "list"],
    ]
    for command in reading:
        line.run(*command)


def test_lag_is_reported(
    line: CommandLine, database: Database, standby: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(line, "Munich")
    catch_up(database, standby)
    status = json.loads(line.run("db", "status", "--json").stdout)["standby"]
    # Other tests may write to the same primary
    assert status["lag_bytes"] >= 0
    assert "behind" in line.run("db", "status").stdout
    # An old commit alone is no lag, because the primary may be idle
    monkeypatch.setattr(standbys, "MOST_LAG", timedelta(0))
    monkeypatch.setattr("energy_forecast.platform.opening.MOST_LAG", timedelta(0))
    with paused(standby):
        add(line, "Pune")
        written(database)
        listed = line.run("city", "list")
        assert "Pune" not in listed.stdout
        assert "Warning: The standby shows the data of 20" in listed.stderr
        assert "kB behind the primary" in listed.stderr
        status = json.loads(line.run("db", "status", "--json").stdout)["standby"]
        assert status["lag_bytes"] > 0
        assert status["lag_seconds"] > 0
        checks = {one["name"]: one for one in json.loads(line.run("doctor", "--json", status=1).stdout)["checks"]}
        assert checks["standby"]["state"] == "warning"
    # The primary is asked, so that an idle one is not taken for a lag
    replay = standbys.Replay("0/0", None, None)
    assert standbys.Lag("x", None, 900.0, 0).warning is None
    assert "the primary cannot be reached" in str(standbys.lag(standby, replay, None).warning)


def test_a_platform_reads_what_it_has_written(
    database: Database, standby: Database, line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in line.environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        with ef.connect() as first, ef.connect() as second, paused(standby):
            assert first.cities() == []
            first.add_city("Munich", latitude=48, longitude=11, timezone="Europe/Berlin")
            assert [city.name for city in first.cities()] == ["Munich"]
            assert second.cities() == []
        # Another database is not that of the standby
        with ef.connect(database.url + " application_name=x") as other:
            assert [city.name for city in other.cities()] == ["Munich"]
    finally:
        settings.cache_clear()


def test_a_standby_that_is_down_or_none_is_an_error(line: CommandLine, database: Database) -> None:
    """Nothing falls back to the primary silently: it would get the load that the standby was meant to take."""
    down = CommandLine(line.environment | {"ENERGY_FORECAST_READ_URL": "postgresql:///x?host=/nonexistent"})
    error = down.run("city", "list", status=1).stderr
    assert "Cannot connect to the standby" in error
    assert "Check ENERGY_FORECAST_READ_URL, or unset it to read from the primary." in error
    add(down, "Munich")
    assert "Cannot connect" in json.loads(down.run("db", "status", "--json").stdout)["standby"]["error"]
    assert "Cannot connect" in down.run("db", "status").stdout
    checks = {one["name"]: one for one in json.loads(down.run("doctor", "--json", status=1).stdout)["checks"]}
    assert checks["standby"]["state"] == "problem"
    primary = CommandLine(line.environment | {"ENERGY_FORECAST_READ_URL": database.url})
    assert "is not a standby" in primary.run("city", "list", status=1).stderr
    with pytest.raises(UnreachableError, match="standby"):
        standbys.standby_lag(Database("host=/nonexistent", standby=True), None)
    with pytest.raises(DatabaseError, match="not a standby"):
        standbys.standby_lag(database, database)


def test_http_api_reads_from_the_standby(database: Database, standby: Database, tmp_path: Path) -> None:
    """With the standby as the URL of its login: keys are valid there too, although their use cannot be recorded."""
    with ef.connect(database.url) as platform:
        platform.add_city("Berlin", latitude=52.5, longitude=13.4, timezone="Europe/Berlin")
        platform.add_city("Pune", latitude=18.5, longitude=73.9, timezone="Asia/Kolkata")
    with two_users(database) as (anna, _):
        key, stored = api_keys.create_key(database, anna, scopes=["read"])
        catch_up(database, standby)
        made = CommandLine.on(database, tmp_path / "home")
        url = make_conninfo(standby.url, user=API_LOGIN)
        line = CommandLine(made.environment | {"ENERGY_FORECAST_API_URL": url})
        with running(line) as (address, _process), paused(standby):
            pool = urllib3.PoolManager(retries=False, timeout=30)
            headers = {"Authorization": f"Bearer {key}"}
            with ef.connect(database.url) as platform:
                platform.add_city("Poona", latitude=18.6, longitude=73.9, timezone="Asia/Kolkata")
            users.grant(database, anna, ["Poona"])
            answer = pool.request("GET", f"{address}/v1/cities", headers=headers)
            assert (answer.status, answer.json()["columns"]["city"]) == (200, ["Berlin"])
            assert pool.request("GET", f"{address}/readyz").status == 200
        users.revoke(database, anna, ["Poona"])
        api_keys.revoke_key(database, stored.prefix)
        catch_up(database, standby)
        with running(line) as (address, _process):
            assert urllib3.request("GET", f"{address}/v1/cities", headers=headers).status == 401
