"""WAL archiving of embedded servers of their own: killed, in the way, full, missing, replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backups import add, archive_of, folder_of_servers, names, new_server, small_disk, values
from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.database.recovery import end_segment
from energy_forecast.errors import BackupError
from energy_forecast.operations.backup import BackupFolder, create_backup
from energy_forecast.operations.recovery.archiving import clear_leftovers, enable, wait_archived
from energy_forecast.operations.recovery.base_backup import make_base_backup
from energy_forecast.operations.recovery.prune import prune_archive
from energy_forecast.operations.recovery.restore import recover
from energy_forecast.operations.recovery.restore_point import make_restore_point
from energy_forecast.postgres import Archive, EmbeddedServer
from servers import CommandLine


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


def test_archiving_is_claimed_once_a_segment_has_arrived(place: Path) -> None:
    server = EmbeddedServer(place / "new")
    server.start()
    first = enable(server, None, restart=False)
    assert (first.archiving, first.restart_needed, first.segment) == (False, True, None)
    assert values(Database(server.url), "SHOW archive_mode") == [("off",)]
    upgrade(Database(server.url))
    for work in (lambda: make_restore_point(server, "early"), lambda: make_base_backup(server)):
        with pytest.raises(BackupError, match="not archived") as caught:
            work()
        assert "recovery enable --restart" in str(caught.value)
    assert values(Database(server.url), "SELECT count(*) FROM ops.restore_points") == [(0,)], "the name is still free"
    done = enable(server, None, restart=True)
    assert done.archiving
    assert done.segment is not None
    assert (archive_of(server).wal / done.segment).stat().st_size == 16 << 20
    assert enable(server, None, restart=False).archiving, "a second time needs no restart"
    server.stop()


def test_a_half_file_in_the_archive_is_set_aside_and_a_whole_one_is_not(own: EmbeddedServer) -> None:
    database, archive = Database(own.url), archive_of(own)
    row = values(database, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    name = str(row[0][0])
    (archive.wal / name).write_bytes(b"half of a segment")
    wait_archived(database, archive)
    assert (archive.wal / name).stat().st_size == 16 << 20
    left = list(archive.wal.glob(f"{name}.partial-*"))
    assert [path.read_bytes() for path in left] == [b"half of a segment"]


def test_the_same_segment_again_is_no_failure(own: EmbeddedServer) -> None:
    """After a crash the server pushes what it has pushed already."""
    database, archive = Database(own.url), archive_of(own)
    name = wait_archived(database, archive)
    failed = values(database, "SELECT failed_count FROM pg_stat_archiver")
    done = own.status().data / "pg_wal" / "archive_status"
    own.stop()
    (done / f"{name}.done").rename(done / f"{name}.ready")
    own.start()
    wait_archived(database, archive)
    assert values(database, "SELECT failed_count FROM pg_stat_archiver") == failed


def test_a_server_killed_while_it_archives_loses_nothing(own: EmbeddedServer, place: Path) -> None:
    """The kill falls between the copy under another name and the rename."""
    database, archive = Database(own.url), archive_of(own)
    add(database, "Pushed")
    ((archiver,),) = values(database, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'")
    assert isinstance(archiver, int)
    halves: list[Path] = []
    for _ in range(200):
        segment = end_segment(database, "pushed")
        while not (archive.wal / segment).exists():
            if any(archive.wal.glob("archtemp.*")):
                os.kill(archiver, signal.SIGSTOP)
                break
        halves = list(archive.wal.glob("archtemp.*"))
        if halves:
            break
        os.kill(archiver, signal.SIGCONT)
    assert halves
    pid = own.status().pid
    assert pid is not None
    for victim in (pid, archiver):
        os.kill(victim, signal.SIGKILL)

    own.start()
    wait_archived(database, archive)
    assert halves[0].exists(), "the server does not look at it again"
    recover(own, "latest", place / "pushed")
    copy = EmbeddedServer(place / "pushed")
    assert "Pushed" in names(Database(copy.start().url))
    copy.stop()
    make_base_backup(own)
    assert not list(archive.wal.glob("archtemp.*"))


def test_a_missing_archive_is_said_and_mends(own: EmbeddedServer) -> None:
    line = CommandLine({"ENERGY_FORECAST_HOME": str(own.home)})
    database, archive = Database(own.url), archive_of(own)
    away = archive.wal.with_name("away")
    archive.wal.rename(away)
    values(database, "SELECT pg_create_restore_point('x')")
    values(database, "SELECT pg_switch_wal()")
    status = json.loads(line.run("recovery", "status", "--json", status=1).stdout)
    assert any("does not exist" in risk for risk in status["risks"])
    with pytest.raises(BackupError, match="does not exist"):
        make_base_backup(own)
    away.rename(archive.wal)
    wait_archived(database, archive)
    make_base_backup(own)


def test_status_sees_a_hole_in_the_archive_and_that_it_is_not_the_servers(own: EmbeddedServer) -> None:
    """Before a drill, and before a night on which recovery is needed."""
    line = CommandLine({"ENERGY_FORECAST_HOME": str(own.home)})
    database, archive = Database(own.url), archive_of(own)
    make_base_backup(own)
    segment = wait_archived(database, archive)
    wait_archived(database, archive)

    def risks() -> str:
        return " ".join(json.loads(line.run("recovery", "status", "--json", status=1).stdout)["risks"])

    assert "not complete" not in risks()
    path = archive.wal / segment
    away = path.rename(archive.folder / "away")
    assert f"{segment} is missing" in risks()
    path.write_bytes(away.read_bytes()[:1000])
    assert f"{segment} has 1000 bytes" in risks()
    away.replace(path)
    owner = archive.owner.read_text()
    archive.owner.write_text('{"home": "/elsewhere"}')
    assert "belongs to the server of /elsewhere" in risks()
    archive.owner.write_text(owner)
    assert "belongs to the server of" not in risks()


def test_only_the_owner_can_read_an_archive(own: EmbeddedServer) -> None:
    archive = archive_of(own)
    for folder in (archive.base, archive.points, archive.wal):
        assert folder.stat().st_mode & 0o077 == 0, folder
        for path in folder.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_part_of_a_segment_remains_only_while_it_is_written(tmp_path: Path) -> None:
    """On a full disk such a part takes the room that the next attempt needs; the process that left it lives on."""
    archive = Archive(tmp_path)
    archive.wal.mkdir()
    process = subprocess.Popen(["true"])
    process.wait()
    left, of_the_dead, written = (
        archive.wal / f"archtemp.{name}.{pid}.1700000000"
        for name, pid in (
            ("000000010000000000000001", os.getpid()),
            ("000000010000000000000002", process.pid),
            ("000000010000000000000003.00000028.backup", os.getpid()),
        )
    )
    for path in (left, of_the_dead, written):
        path.write_bytes(b"x")
    with written.open("ab"):
        clear_leftovers(archive)
        assert list(archive.wal.iterdir()) == [written]
    clear_leftovers(archive)
    assert not list(archive.wal.iterdir())


def test_nothing_can_be_written_by_others_whatever_the_umask(place: Path) -> None:
    before = os.umask(0)
    try:
        server = new_server(place / "open", place / "elsewhere" / "archive")
        make_base_backup(server)
        make_restore_point(server, "here")
        create_backup(Database(server.url), BackupFolder(server.home / "backups"))
        recover(server, "here", place / "new" / "restored")
        server.stop()
    finally:
        os.umask(before)
    found = [
        path
        for top in ("open", "elsewhere", "new")
        for path in (place / top, *(place / top).rglob("*"))
        if path.lstat().st_mode & 0o022 and not path.is_symlink() and not path.is_socket()
    ]
    assert not found


def test_a_full_disk_of_the_archive_stops_no_one_and_costs_nothing_once_there_is_room(place: Path) -> None:
    small = place / "small"
    with small_disk(small, "320m"):
        server = new_server(place / "filled", small / "archive")
        database = Database(server.url)
        make_base_backup(server)
        make_restore_point(server, "before")
        free = os.statvfs(small)
        (small / "filler").write_bytes(b"x" * (free.f_bavail * free.f_frsize - (1 << 20)))
        for _ in range(3):
            end_segment(database, "x")
        add(database, "Goes on")
        line = CommandLine({"ENERGY_FORECAST_HOME": str(server.home)})
        with pytest.raises(BackupError, match="disk is full"):
            make_base_backup(server)
        status = json.loads(line.run("recovery", "status", "--json", status=1).stdout)
        assert any("MB left" in risk for risk in status["risks"])
        assert any("Failed attempts" in risk for risk in status["risks"])
        with pytest.raises(BackupError, match="full"):
            recover(server, "latest", place / "full")
        # What is archived can be restored all the same, but not onto the full disk
        recover(server, "before", place / "before")
        with pytest.raises(BackupError, match="disk is full") as caught:
            recover(server, "before", small / "onto")
        assert len(str(caught.value)) < 200, "one file is named, not each of the cluster"
        assert not list(small.glob("onto*"))

        (small / "filler").unlink()
        recover(server, "latest", place / "full")
        copy = EmbeddedServer(place / "full")
        assert names(Database(copy.start().url)) == {"Berlin", "Pune", "Goes on"}
        copy.stop()
        prune_archive(server, older_than=timedelta(days=7), keep=1)
        assert not list(archive_of(server).wal.glob("archtemp.*")), "what was copied in part is gone"
        server.stop()
