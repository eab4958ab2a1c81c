"""Base backups, restores and drills on a server that is written to, killed and damaged meanwhile."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from backups import archive_of, data_file, flip, folder_of_servers, names, new_server, values
from energy_forecast.database import Database
from energy_forecast.database.recovery import end_segment
from energy_forecast.errors import BackupError
from energy_forecast.operations.files import scratch_folder
from energy_forecast.operations.recovery.archive import base_backup_names, lsn_number, read_base_backup, segment_name
from energy_forecast.operations.recovery.archiving import enable
from energy_forecast.operations.recovery.base_backup import make_base_backup
from energy_forecast.operations.recovery.drill import clear_killed_drill, drill_recovery
from energy_forecast.operations.recovery.prune import prune_archive
from energy_forecast.operations.recovery.restore import recover
from energy_forecast.operations.recovery.restore_point import make_restore_point
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.postgres.liveness_lock import exclusive
from energy_forecast.postgres.paths import Paths
from energy_forecast.postgres.status import orphans
from servers import CommandLine

TWO = {"Berlin", "Pune"}
ADD = "INSERT INTO cities (name, latitude, longitude, timezone) VALUES (%s, 1, 1, 'UTC')"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with folder_of_servers() as made:
        yield made


@pytest.fixture(scope="module")
def own(place: Path) -> EmbeddedServer:
    """Return a server for tests that damage it; each leaves it running and archiving."""
    server = new_server(place / "own")
    make_base_backup(server)
    return server


def test_every_acknowledged_row_survives_the_server(own: EmbeddedServer, place: Path) -> None:
    """Rows are written while a base backup is made; then the server is killed. What was acknowledged is there."""
    database = Database(own.url)
    acknowledged: list[str] = []
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(database.url, autocommit=True) as connection:
            while not stop.is_set():
                name = f"City {len(acknowledged)}"
                connection.execute(ADD, [name])
                acknowledged.append(name)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        make_base_backup(own)
        made = len(acknowledged)
        point = make_restore_point(own, "in-the-middle")
    finally:
        stop.set()
        writer.join()
    assert 0 < made < len(acknowledged)
    pid = own.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    done = recover(own, "latest", place / "survived")
    copy = EmbeddedServer(place / "survived")
    assert names(Database(copy.start().url)) >= set(acknowledged)
    copy.stop()
    assert not done.notes
    own.start()
    # And to the point: exactly what was there, as many as its record counted
    recover(own, "in-the-middle", place / "middle")
    copy = EmbeddedServer(place / "middle")
    found = names(Database(copy.start().url)) - TWO
    copy.stop()
    assert len(found) + 2 == point.tables["public.cities"]["rows"]
    assert found == set(acknowledged[: len(found)])


def test_a_killed_base_backup_is_none(own: EmbeddedServer) -> None:
    archive = archive_of(own)
    before = base_backup_names(archive)
    process = CommandLine({"ENERGY_FORECAST_HOME": str(own.home)}).start("recovery", "base", "--full")
    while not list(archive.base.glob("*.tmp")):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert base_backup_names(archive) == before
    made = make_base_backup(own, incremental=False)
    assert base_backup_names(archive) == [*before, made.name]
    assert not list(archive.base.glob("*.tmp"))


def test_a_killed_restore_leaves_no_server_and_can_be_repeated(own: EmbeddedServer, place: Path) -> None:
    make_restore_point(own, "for-the-kill")
    into = place / "killed"
    process = CommandLine({"ENERGY_FORECAST_HOME": str(own.home)}).start(
        "recovery", "restore", "--to", "for-the-kill", "--into", into
    )
    while not EmbeddedServer(place / "killed.new").status().running:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not into.exists()
    recover(own, "for-the-kill", into)
    assert not (place / "killed.new").exists()
    assert not EmbeddedServer(into).status().running


def test_two_drills_in_a_row_and_a_good_status(own: EmbeddedServer) -> None:
    line = CommandLine({"ENERGY_FORECAST_HOME": str(own.home)})
    line.run("backup", "create")
    for _ in range(2):
        drill = json.loads(line.run("recovery", "drill", "--json").stdout)
        assert drill["kind"] == "physical"
        assert drill["tables"] >= 20
        assert drill["as_of"][0] == "Berlin"
        assert drill["as_of"][1] > 700
        assert drill["rto_seconds"] > 0
    assert not (own.home / "drill").exists()
    checks = values(Database(own.url), "SELECT passed FROM ops.recovery_checks WHERE kind = 'drill'")
    assert checks == [(True,)] * 2
    # And two at once
    both = [line.start("recovery", "drill") for _ in range(2)]
    assert [(process.wait(), process.communicate()[1])[0] for process in both] == [0, 0]
    assert not (own.home / "drill").exists()
    status = json.loads(line.run("recovery", "status", "--json").stdout)
    assert status["good"] is True, status
    assert line.run("recovery", "status").stdout.startswith("good")


def test_a_killed_drill_leaves_no_folder_and_no_server_for_long(own: EmbeddedServer) -> None:
    line = CommandLine({"ENERGY_FORECAST_HOME": str(own.home)})
    make_base_backup(own, incremental=False)
    drill = own.home / "drill.new"
    process = line.start("recovery", "drill")
    while not EmbeddedServer(drill).status().running:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with exclusive(own.home / "drilling.lock", 5.0):
        assert not clear_killed_drill(own), "a running drill is left alone"
    assert drill.exists()
    line.run("db", "up")
    assert not list(own.home.glob("drill.*")), "neither folder nor lock"
    assert not orphans(drill / "postgres" / "data")


def test_the_scratch_of_killed_programs_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "ef-wal-left"
    left.mkdir()
    (left / "lock").touch()
    with scratch_folder("wal") as first:
        assert not left.exists()
        with scratch_folder("wal") as second:
            assert {first, second} == set(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_failed_drill_is_on_record(own: EmbeddedServer) -> None:
    archive = archive_of(own)
    latest = read_base_backup(archive, base_backup_names(archive)[-1])
    path = data_file(archive.base / latest.name)
    whole = path.read_bytes()
    flip(path, 0.5)
    with pytest.raises(BackupError, match="damaged"):
        drill_recovery(own)
    line = CommandLine({"ENERGY_FORECAST_HOME": str(own.home)})
    status = json.loads(line.run("recovery", "status", "--json", status=1).stdout)
    assert any("The last drill failed" in risk for risk in status["risks"])
    path.write_bytes(whole)
    drill_recovery(own)


def test_nothing_is_added_to_a_chain_that_could_not_be_restored(own: EmbeddedServer) -> None:
    """What is asked for is then refused, and what is not, is made in full."""
    archive = archive_of(own)
    full = make_base_backup(own, incremental=False)
    path = data_file(archive.base / full.name)
    whole = path.read_bytes()
    flip(path, 0.5)
    with pytest.raises(BackupError, match="damaged"):
        make_base_backup(own, incremental=True)
    assert make_base_backup(own).kind == "full"
    path.write_bytes(whole)

    # While it does not archive the server makes no summaries of its WAL either, and then lacks them
    Paths(own.home).archiving.unlink()
    database = Database(own.restart().url)
    for _ in range(2):
        end_segment(database, "x")
        with psycopg.connect(database.url) as connection:
            connection.execute("CHECKPOINT")
    enable(own, None, restart=True)
    assert make_base_backup(own).kind == "full"


def test_prune_keeps_enough_chains_and_their_wal(own: EmbeddedServer, place: Path) -> None:
    archive = archive_of(own)
    newest = make_base_backup(own, incremental=False)
    point = make_restore_point(own, "kept")
    kept_all = prune_archive(own, older_than=timedelta(days=7), keep=1)
    assert kept_all.removed == []
    dry = prune_archive(own, older_than=timedelta(0), keep=1, dry_run=True)
    assert newest.name in base_backup_names(archive)
    done = prune_archive(own, older_than=timedelta(0), keep=1)
    assert done == dry
    assert done.removed
    assert base_backup_names(archive) == done.kept == [newest.name]
    assert min(path.name[:24] for path in archive.wal.iterdir()) == segment_name(1, lsn_number(newest.start_lsn))
    recover(own, "kept", place / "kept")
    assert point.tables["public.cities"]["rows"] > 2
