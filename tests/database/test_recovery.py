"""Recovery to a moment, on embedded servers of their own: what is restored, and what damage must never do."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups import add, archive_of, contents, cut, data_file, flip, folder_of_servers, names, new_server, values
from energy_forecast.database import Database
from energy_forecast.database.digests import Tables
from energy_forecast.errors import BackupError
from energy_forecast.operations.files import write_record
from energy_forecast.operations.recovery import target
from energy_forecast.operations.recovery.archive import (
    BaseBackup,
    lsn_number,
    lsn_text,
    read_restore_point,
    segment_name,
)
from energy_forecast.operations.recovery.archiving import wait_archived
from energy_forecast.operations.recovery.base_backup import make_base_backup
from energy_forecast.operations.recovery.restore import recover
from energy_forecast.operations.recovery.restore_point import make_restore_point
from energy_forecast.operations.recovery.target import Search, TargetRequest, find_target, parse_target
from energy_forecast.operations.recovery.wal import WalReader, WalRecord
from energy_forecast.postgres import Archive, EmbeddedServer


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with folder_of_servers() as made:
        yield made


@dataclass
class History:
    """A server with a history: full base, point one, Later, incremental base, point two, Last."""

    server: EmbeddedServer
    database: Database
    archive: Archive
    bases: list[BaseBackup]
    between: datetime
    at: dict[str, Tables]

    def copy_of_archive(self, to: Path) -> Archive:
        """Return the current archive, to be damaged."""
        shutil.copytree(self.archive.folder, to)
        return Archive(to)

    def segment_of(self, lsn: str) -> str:
        return segment_name(1, lsn_number(lsn))


@pytest.fixture(scope="module")
def history(place: Path) -> History:
    """One history for all tests that only read it."""
    server = new_server(place / "one")
    database, archive = Database(server.url), archive_of(server)
    make_restore_point(server, "before-any-base")
    full = make_base_backup(server)
    one = make_restore_point(server, "one")
    add(database, "Later")
    time.sleep(1.1)
    between = datetime.now(UTC)
    add(database, "After")
    incremental = make_base_backup(server)
    two = make_restore_point(server, "two")
    add(database, "Last")
    wait_archived(database, archive)
    return History(server, database, archive, [full, incremental], between, {"one": one.tables, "two": two.tables})


def recovered(history: History, to: str, into: Path, elsewhere: Archive | None = None) -> set[str]:
    """Return the names of the cities after a recovery."""
    done = recover(history.server, to, into, archive=elsewhere.folder if elsewhere else None)
    copy = EmbeddedServer(into)
    try:
        database = Database(copy.start().url)
        # A time is compared at the last point on the way to it
        assert done.point == (to if to in history.at else "one" if to == history.between.isoformat() else "two")
        if to in history.at:
            assert done.compared == len(history.at[to])
            found = contents(database)
            assert {n: found[n] for n in history.at[to] if n != "ops.restored_copies"} == {
                n: facts for n, facts in history.at[to].items() if n != "ops.restored_copies"
            }
        assert values(database, "SELECT is_restored_copy()") == [(True,)]
        assert values(database, "SHOW archive_mode") == [("off",)], "not into the original's archive"
        assert values(database, "SHOW restore_command") == [("",)]
        assert values(database, "SELECT pg_is_in_recovery()") == [(False,)]
        return names(database)
    finally:
        copy.stop()


TWO = {"Berlin", "Pune"}


@pytest.mark.parametrize(
    ("to", "cities"),
    [("one", TWO), ("two", TWO | {"Later", "After"}), ("latest", TWO | {"Later", "After", "Last"})],
)
def test_a_restore_has_what_was_there_and_nothing_later(
    history: History, place: Path, to: str, cities: set[str]
) -> None:
    archived = {path.name for path in history.archive.wal.iterdir()}
    assert recovered(history, to, place / f"to-{to}") == cities
    added = {path.name for path in history.archive.wal.iterdir()} - archived
    assert all(name.startswith("00000001") for name in added), "nothing of the copy's timeline"


def test_a_restore_to_a_time_takes_what_was_committed_until_then(history: History, place: Path) -> None:
    assert recovered(history, history.between.isoformat(), place / "to-time") == TWO | {"Later"}


def test_a_restore_into_a_folder_with_something_in_it_is_refused(history: History, place: Path) -> None:
    (place / "mine").mkdir()
    (place / "mine" / "file").write_text("mine")
    with pytest.raises(BackupError, match="already exists"):
        recover(history.server, "one", place / "mine")
    assert (place / "mine" / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("nowhere", "no restore point"),
        ("before-any-base", "no base backup before"),
        ("2001-01-01T00:00Z", "no base backup before"),
        ("2999-01-01T00:00Z", "ends before"),
        ("2026-01-01T00:00", "no offset.*2026-01-01T00:00Z"),
        ("2026-01-01", "no offset.*2026-01-01T00:00Z"),
        ("0/1000", "no base backup before"),
        ("FF/0", "ends before"),
    ],
)
def test_a_target_that_is_not_there_is_said_before_anything_is_started(
    history: History, place: Path, to: str, says: str
) -> None:
    with pytest.raises(BackupError) as caught:
        recover(history.server, to, place / "never")
    assert re.search(says, str(caught.value))
    assert not list(place.glob("never*"))


def test_a_restore_points_name_is_given_once(history: History) -> None:
    for name in ("one", "drop table", "1st", "x" * 41, ""):
        with pytest.raises(BackupError):
            make_restore_point(history.server, name)
    assert values(history.database, "SELECT count(*) FROM ops.restore_points WHERE name = 'one'") == [(1,)]


DAMAGE: dict[str, Callable[[Path], None]] = {
    "hole": lambda path: path.unlink(),
    "flip": lambda path: flip(path, 60 / (16 << 20)),
    "truncation": lambda path: cut(path, 4096),
    "emptied": lambda path: cut(path, path.stat().st_size),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_archive_never_opens_with_half_the_rows(history: History, place: Path, what: str) -> None:
    """The segment after point one is harmed: what lies before it can be reached, and nothing after it."""
    archive = history.copy_of_archive(place / f"harmed-{what.replace(' ', '-')}")
    # The chain that begins after the damage would not need it
    shutil.rmtree(archive.base / history.bases[1].name)
    one, two = read_restore_point(archive, "one"), read_restore_point(archive, "two")
    harmed = history.segment_of(history.bases[1].start_lsn)
    assert history.segment_of(one.lsn) < harmed <= history.segment_of(two.lsn)
    DAMAGE[what](archive.wal / harmed)
    for to in ("latest", "two"):
        with pytest.raises(BackupError, match="WAL is damaged"):
            recover(history.server, to, place / "never", archive=archive.folder)
    assert not list(place.glob("never*"))
    assert find_target(archive, parse_target(archive, "one"), [archive.wal]).base == history.bases[0]


def test_every_flip_in_the_wal_that_is_used_is_noticed(history: History, place: Path) -> None:
    """Bit by bit over the segment that point two lies in, up to the point."""
    archive = history.copy_of_archive(place / "flips")
    two = read_restore_point(archive, "two")
    want = parse_target(archive, "two")
    path = archive.wal / history.segment_of(two.lsn)
    whole = path.read_bytes()
    # An incremental base backup starts in this or an earlier segment; from its first record on all is read
    first = max(lsn_number(history.bases[1].start_lsn) % (16 << 20), 0)
    if history.segment_of(history.bases[1].start_lsn) != path.name:
        first = 0
    last = lsn_number(two.lsn) % (16 << 20)
    assert last - first > 100
    for number in range(6):
        harmed = bytearray(whole)
        harmed[first + (last - first - 60) * number // 5] ^= 0x04
        path.write_bytes(harmed)
        try:
            found = find_target(archive, want, [archive.wal])
        except BackupError:
            continue
        # Room between records that nothing is read from
        assert found.lsn < lsn_number(two.lsn)
        assert not harmed[first + (last - first - 60) * number // 5] & ~0x04
    path.write_bytes(whole)
    assert find_target(archive, want, [archive.wal]).wanted.point == two


MUTATIONS: dict[str, Callable[[Path], object]] = {
    "flip in a table": lambda folder: flip(data_file(folder), 0.5),
    "cut table": lambda folder: cut(data_file(folder), 8192),
    "table gone": lambda folder: data_file(folder).unlink(),
    "file too many": lambda folder: (folder / "base" / "planted").write_text("x"),
    "flip in the manifest": lambda folder: flip(folder / "backup_manifest", 0.5),
    "manifest gone": lambda folder: (folder / "backup_manifest").unlink(),
    "control file": lambda folder: flip(folder / "global" / "pg_control", 0.01),
    "record": lambda folder: flip(folder.with_name(f"{folder.name}.json"), 0.5),
}


def test_every_mutation_of_a_base_backup_is_refused(history: History, place: Path) -> None:
    base = history.bases[0].name
    for what, harm in MUTATIONS.items():
        archive = history.copy_of_archive(place / f"mutated-{what.replace(' ', '-')}")
        shutil.rmtree(archive.base / history.bases[1].name)
        harm(archive.base / base)
        with pytest.raises(BackupError, match="damaged"):
            recover(history.server, "one", place / "never", archive=archive.folder)
        shutil.rmtree(archive.folder)
    assert not list(place.glob("never*"))


def test_an_incremental_backup_needs_what_it_builds_on(history: History, place: Path) -> None:
    archive = history.copy_of_archive(place / "torn")
    flip(data_file(archive.base / history.bases[0].name), 0.5)
    with pytest.raises(BackupError, match="damaged"):
        recover(history.server, "two", place / "never", archive=archive.folder)


def test_a_record_that_differs_from_what_was_recovered_keeps_it_closed(history: History, place: Path) -> None:
    """Whatever the reason: what was recorded at the point has to be there before anyone may write."""
    archive = history.copy_of_archive(place / "lied")
    one = read_restore_point(archive, "one")
    lied = one.tables | {"public.cities": {"rows": 3, "digest": "0"}}
    write_record(archive.points / "one.json", replace(one, tables=lied))
    with pytest.raises(BackupError, match=r"public\.cities has 2 rows instead of 3"):
        recover(history.server, "one", place / "never", archive=archive.folder)
    assert not list(place.glob("never*"))


def test_a_restore_to_a_time_is_compared_at_the_last_point_on_the_way(history: History, place: Path) -> None:
    """The ledger of loads knows nothing of cities; the point's record does."""
    archive = history.copy_of_archive(place / "lied-on-the-way")
    one = read_restore_point(archive, "one")
    lied = one.tables | {"public.cities": {"rows": 3, "digest": "0"}}
    write_record(archive.points / "one.json", replace(one, tables=lied))
    with pytest.raises(BackupError, match=r"at the restore point one: .*public\.cities has 2 rows instead of 3"):
        recover(history.server, history.between.isoformat(), place / "never", archive=archive.folder)
    assert not list(place.glob("never*"))


def test_a_time_that_was_there_twice_is_refused(history: History) -> None:
    """A clock set back: to stop at the first of the two moments would be a guess."""
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    place = lsn_number(history.bases[0].stop_lsn)
    minutes = [0, 10, 20, 5, 15]
    records = [WalRecord(place + 100 * i, noon + timedelta(minutes=m), None) for i, m in enumerate(minutes, 1)]

    def search(minute: int) -> Search:
        want = TargetRequest("then", time=noon + timedelta(minutes=minute))
        return Search(history.archive, history.bases[0], want, None)

    twice = search(12)
    for record in records[:3]:
        assert twice.take(record) is None
    with pytest.raises(BackupError, match="clock of the server was set back"):
        twice.take(records[3])
    once = search(1)
    for record in records:
        once.take(record)
    assert once.first_after == records[1].lsn

    # A time that the clock had before it was set back, and has not reached again
    gone = search(25)
    for record in records:
        gone.take(record)
    with pytest.raises(BackupError, match="clock of the server was set back") as caught:
        gone.at_end(WalReader([], 1, 0))
    assert f"set `to` to {lsn_text(records[3].lsn)}" in str(caught.value)


def test_a_time_before_a_base_backup_by_a_clock_that_was_ahead_is_not_called_too_early(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted_time = TargetRequest("then", time=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(BackupError, match="no base backup before"):
        find_target(history.archive, wanted_time, [history.archive.wal])
    ahead = [replace(base, written_at=base.written_at + timedelta(days=1 - i)) for i, base in enumerate(history.bases)]
    monkeypatch.setattr(target, "read_base_backup", lambda _, name: next(base for base in ahead if base.name == name))
    with pytest.raises(BackupError, match="clock was set back after a base backup"):
        find_target(history.archive, wanted_time, [history.archive.wal])


def test_a_copy_of_the_folder_archives_nowhere(history: History, place: Path) -> None:
    """A cold clone must not push its WAL into the original's archive, nor be stopped from working."""
    history.server.stop()
    shutil.copytree(history.server.home, place / "clone", symlinks=True, ignore=shutil.ignore_patterns("recovery"))
    (place / "clone" / "recovery").symlink_to(history.archive.folder)
    history.server.start()
    before = {path.name: path.stat().st_mtime_ns for path in history.archive.wal.iterdir()}
    clone = EmbeddedServer(place / "clone")
    database = Database(clone.start().url)
    add(database, "Cloned")
    values(database, "SELECT pg_switch_wal()")
    assert values(database, "SHOW archive_mode") == [("off",)]
    clone.stop()
    after = {path.name: path.stat().st_mtime_ns for path in history.archive.wal.iterdir()}
    assert {name: after[name] for name in before} == before
