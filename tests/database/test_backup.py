"""Logical backups: what counts as one, what is restored from it, and what damage does."""

from __future__ import annotations

import ast
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

import energy_forecast
from backups import contents, cut, fill, flip, small_disk, values
from energy_forecast.database import Database
from energy_forecast.database.backups import record_backup, record_check
from energy_forecast.database.digests import object_differences, object_digests, table_differences, table_digests
from energy_forecast.errors import BackupError
from energy_forecast.operations.access import access_findings
from energy_forecast.operations.backup import BackupFolder, create_backup, prune_backups, restore_backup, verify_backup
from energy_forecast.operations.backup.create import read_whole
from energy_forecast.operations.backup.restore import compare
from energy_forecast.operations.files import write_record
from energy_forecast.operations.recovery.drill import drill_backup
from energy_forecast.operations.recovery.status import recovery_status
from servers import CommandLine, Server


@pytest.fixture
def filled(database: Database) -> Database:
    """Return a database with two cities and two months of each."""
    fill(database)
    return database


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    """Return a folder of backups that does not exist yet."""
    return BackupFolder(tmp_path / "backups")


@pytest.fixture
def new_name(server: Server) -> Iterator[str]:
    """Yield a name for a restored database, which is dropped at the end."""
    name = f"restored_{uuid4().hex[:12]}"
    yield name
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def files(folder: BackupFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir()} - {"lock"}


def ledger(database: Database) -> list[tuple[object, ...]]:
    return values(database, "SELECT status, reason FROM ops.backups ORDER BY finished_at")


def restoring(database: Database) -> int:
    return len(values(database, "SELECT FROM pg_database WHERE datname LIKE 'energy_forecast_restoring_%'"))


def test_a_restored_backup_equals_the_original(
    server: Server, filled: Database, folder: BackupFolder, new_name: str
) -> None:
    """Values, policies, triggers, indexes and privileges: whatever the schema has by now."""
    backup = create_backup(filled, folder)
    before = contents(filled)
    assert before["public.energy_consumption"]["rows"] == 2 * (59 * 24 + 1)
    del before["ops.backups"]

    restored = restore_backup(filled, folder, backup.name, new_name)

    copy = server.database(new_name)
    after = contents(copy)
    assert {name: after[name] for name in before if name != "ops.restored_copies"} == {
        name: facts for name, facts in before.items() if name != "ops.restored_copies"
    }
    assert restored.rows == backup.rows
    # Not by our own digest alone
    statement = "SELECT md5(string_agg(e::text, '|' ORDER BY city_id, timestamp)) FROM energy_consumption e"
    assert values(copy, statement) == values(filled, statement)
    for catalog in ("pg_policy", "pg_trigger WHERE NOT tgisinternal", "pg_index", "pg_constraint"):
        count = f"SELECT count(*) FROM {catalog}"  # noqa: S608 - a list of ours
        assert values(copy, count) == values(filled, count)
    # What a dump does not carry: functions and operators of the server, as this platform leaves them
    assert [finding.kind for finding in access_findings(copy)] == ["login"]
    assert ledger(filled) == [("verified", None)]


def test_a_copy_does_not_act_until_told_to(
    server: Server, filled: Database, folder: BackupFolder, new_name: str, tmp_path: Path
) -> None:
    restore_backup(filled, folder, create_backup(filled, folder).name, new_name)
    copy = server.database(new_name)
    assert values(filled, "SELECT is_restored_copy()") == [(False,)]
    assert values(copy, "SELECT is_restored_copy()") == [(True,)]
    line = CommandLine.on(copy, tmp_path)
    line.run("recovery", "activate")
    assert values(copy, "SELECT is_restored_copy()") == [(False,)]
    assert "is not an inactive copy" in line.run("recovery", "activate", status=1).stderr


def test_a_copy_can_be_read_and_nothing_else(
    server: Server, filled: Database, folder: BackupFolder, new_name: str, tmp_path: Path
) -> None:
    restore_backup(filled, folder, create_backup(filled, folder).name, new_name)
    line = CommandLine.on(server.database(new_name), tmp_path)
    assert "Pune" in line.run("city", "list").stdout
    line.run("maintain", "--dry-run")
    load = tmp_path / "load.csv"
    load.write_text("city,timestamp,consumption_kwh\nPune,2025-03-02T00:00Z,1\n")
    for command in (
        ("ingest", "consumption", load),
        ("forecast", "--city", "Pune"),
        ("maintain",),
        ("score",),
        ("city", "add", "New", "--latitude", "1", "--longitude", "1", "--timezone", "UTC"),
    ):
        assert "recovery activate" in line.run(*command, status=1).stderr
    line.run("recovery", "activate")
    line.run("ingest", "consumption", load)


def test_verify_of_a_missing_backup_records_nothing(filled: Database, folder: BackupFolder, tmp_path: Path) -> None:
    """A wrong name is no damage; a lost dump whose record remains is."""
    line = CommandLine.on(filled, tmp_path)
    backup = create_backup(filled, folder)
    wrong = line.run("backup", "verify", backup.name, "nonexist", "--folder", folder.path, status=1)
    assert "There is no backup 'nonexist'" in wrong.stderr
    assert values(filled, "SELECT FROM ops.recovery_checks") == []
    folder.file(backup.name).unlink()
    lost = line.run("backup", "verify", backup.name, "--folder", folder.path, status=1)
    assert "1 of 1 backup is damaged" in lost.stderr
    assert values(filled, "SELECT passed FROM ops.recovery_checks") == [(False,)]


def test_restore_prints_the_address_of_the_copy(
    filled: Database, folder: BackupFolder, new_name: str, tmp_path: Path
) -> None:
    create_backup(filled, folder)
    line = CommandLine.on(filled, tmp_path)
    done = line.run("backup", "restore", "latest", "--folder", folder.path, "--into", new_name)
    (export,) = (one for one in done.stdout.splitlines() if one.startswith("export "))
    (setting,) = shlex.split(export)[1:]
    name, _, value = setting.partition("=")
    line.environment[name] = value
    assert "Pune" in line.run("city", "list").stdout
    assert "Activated" in line.run("recovery", "activate").stdout


def test_the_digest_depends_on_values_alone(filled: Database) -> None:
    """Not on the order of rows, nor on where they lie."""
    before = contents(filled)["public.energy_consumption"]
    with psycopg.connect(filled.url) as connection:
        connection.execute("ALTER TABLE energy_consumption DISABLE TRIGGER USER")
        connection.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM energy_consumption")
        connection.execute("DELETE FROM energy_consumption")
        connection.execute("INSERT INTO energy_consumption SELECT * FROM kept ORDER BY consumption_kwh, random()")
    assert contents(filled)["public.energy_consumption"] == before
    with psycopg.connect(filled.url) as connection:
        connection.execute(
            "UPDATE energy_consumption SET peak_demand_kw = 0.01 WHERE timestamp = '2025-01-05 10:00Z'"
            " AND city_id = (SELECT id FROM cities WHERE name = 'Pune')"
        )
    after = contents(filled)["public.energy_consumption"]
    assert after["rows"] == before["rows"]
    assert after["digest"] != before["digest"]


def test_what_is_recorded_is_what_is_dumped_while_others_write(
    filled: Database, folder: BackupFolder, new_name: str
) -> None:
    """The comparison after the restore fails when counting and dumping see different moments."""
    begun, stop = threading.Event(), threading.Event()

    def write() -> None:
        with psycopg.connect(filled.url, autocommit=True) as connection:
            while not stop.wait(0.002):
                connection.execute(
                    "INSERT INTO ops.ingest_batches (kind, files, read, inserted, corrected, unchanged, rejected)"
                    " VALUES ('weather', '[]', 0, 0, 0, 0, 0)"
                )
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(60)
        backup = create_backup(filled, folder)
    finally:
        stop.set()
        writer.join()
    now = contents(filled)["ops.ingest_batches"]["rows"]
    assert 0 < backup.tables["ops.ingest_batches"]["rows"] < now
    restore_backup(filled, folder, backup.name, new_name)


HARM = {
    "index public.idx_cities_location is missing": "DROP INDEX idx_cities_location",
    "trigger public.cities cities_set_updated_at": "DROP TRIGGER cities_set_updated_at ON cities",
    "policy public.cities planted is not in the record": "CREATE POLICY planted ON cities USING (true)",
    "constraint public.cities unique_city_name is missing": "ALTER TABLE cities DROP CONSTRAINT unique_city_name",
    "privilege public.cities energy_forecast_app DELETE": "GRANT DELETE ON cities TO energy_forecast_app",
    "public.cities has 3 rows instead of 2": "INSERT INTO cities (name, latitude, longitude, timezone)"
    " VALUES ('X', 1, 1, 'UTC')",
    "public.cities has other values in its 2 rows": "UPDATE cities SET latitude = 1 WHERE name = 'Pune'",
    "function planted": "CREATE FUNCTION planted() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "column public.cities.latitude has another definition": "ALTER TABLE cities ALTER latitude DROP NOT NULL",
    "table public.cities has another definition": "ALTER TABLE cities OWNER TO energy_forecast_ingest",
}


def test_every_difference_is_found_and_named(filled: Database, folder: BackupFolder) -> None:
    backup = create_backup(filled, folder)
    with pytest.raises(BackupError, match=r"record: table ops\.backups has 1 rows instead of 0\."):
        compare(filled, backup)
    with psycopg.connect(filled.url) as connection:
        recorded = (backup.tables, backup.objects)
        for says, harm in HARM.items():
            with connection.transaction(force_rollback=True):
                connection.execute(harm.encode())
                tables, objects = table_digests(connection), object_digests(connection)
            found = table_differences(recorded[0], tables)
            found += object_differences(recorded[1], objects, definitions=True)
            assert any(says in difference for difference in found), (says, found)


def of_record(harm: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda path: harm(path.with_name(f"{path.name}.json"))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut by 300 bytes": lambda path: cut(path, 300),
    "emptied": lambda path: cut(path, path.stat().st_size),
    "first byte": lambda path: flip(path, 0.0),
    "middle": lambda path: flip(path, 0.5),
    "end": lambda path: flip(path, 0.999),
    "gone": lambda path: path.unlink(),
    "record flipped": of_record(lambda path: flip(path, 0.5)),
    "record cut": of_record(lambda path: cut(path, 40)),
    "record gone": of_record(lambda path: path.unlink()),
}


def test_a_damaged_backup_is_refused(filled: Database, folder: BackupFolder, new_name: str, tmp_path: Path) -> None:
    backup = create_backup(filled, folder)
    verify_backup(folder, backup.name)
    for what, harm in DAMAGE.items():
        damaged = BackupFolder(tmp_path / what)
        shutil.copytree(folder.path, damaged.path)
        harm(damaged.file(backup.name))
        with pytest.raises(BackupError):
            verify_backup(damaged, backup.name)
        with pytest.raises(BackupError):
            restore_backup(filled, damaged, backup.name, new_name)
    assert values(filled, f"SELECT FROM pg_database WHERE datname = '{new_name}'") == []


@pytest.mark.parametrize("harm", [lambda path: cut(path, 300), lambda path: flip(path, 0.98)], ids=["cut", "flipped"])
def test_a_dump_that_was_damaged_before_it_was_recorded_does_not_count(
    filled: Database, folder: BackupFolder, harm: Callable[[Path], None]
) -> None:
    """What a list of the contents would not notice, a full read does."""
    backup = create_backup(filled, folder)
    path = folder.file(backup.name)
    harm(path)
    with pytest.raises(BackupError, match="damaged"):
        read_whole(path, backup.major)


def test_a_dump_of_someone_else_with_a_record_of_its_own_does_not_pass(
    filled: Database, folder: BackupFolder, new_name: str
) -> None:
    """The record agrees with the file, and the file with nothing that was counted: the comparison has to see it."""
    backup = create_backup(filled, folder)
    lied = dict(backup.tables) | {"public.cities": {"rows": 3, "digest": "0"}}
    write_record(folder.record(backup.name), replace(backup, tables=lied))
    with pytest.raises(BackupError, match=r"public\.cities has 2 rows instead of 3"):
        restore_backup(filled, folder, backup.name, new_name)
    assert values(filled, f"SELECT FROM pg_database WHERE datname = '{new_name}'") == []


def test_nobody_else_can_read_a_backup_and_no_password_is_in_it(
    filled: Database, folder: BackupFolder, server: Server
) -> None:
    role = f"person_{uuid4().hex[:8]}"
    with psycopg.connect(filled.url) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'open sesame' IN ROLE energy_forecast_app")
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role]).fetchone()
        assert row is not None
    try:
        backup = create_backup(filled, folder)
        assert role in [known.name for known in backup.roles]
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        text = subprocess.run(
            [server.tool("pg_restore"), "--file=-", folder.file(backup.name)], check=True, capture_output=True
        ).stdout
        for path in folder.path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            text += path.read_bytes()
        for secret in (row[0], "sesame", "SCRAM-SHA-256"):
            assert secret.encode() not in text
    finally:
        with psycopg.connect(filled.url) as connection:
            connection.execute(f"DROP ROLE {role}")


def test_a_backup_killed_in_the_middle_is_none(filled: Database, folder: BackupFolder, tmp_path: Path) -> None:
    create_backup(filled, folder)
    before = files(folder)
    line = CommandLine.on(filled, tmp_path)
    with psycopg.connect(filled.url) as connection:
        connection.execute("LOCK TABLE weather_data IN ACCESS EXCLUSIVE MODE")
        process = line.start("backup", "create", "--folder", folder.path)
        while not any(name.endswith(".tmp") for name in files(folder)):
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert len(folder.names()) == 1
    again = json.loads(line.run("backup", "create", "--folder", folder.path, "--json").stdout)
    assert folder.names()[-1] == again["name"]
    assert files(folder) == before | {again["name"], f"{again['name']}.json"}
    verify_backup(folder, again["name"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_program_ends_with_the_command_that_started_it(
    filled: Database, folder: BackupFolder, tmp_path: Path, number: signal.Signals
) -> None:
    """A pg_dump that nobody waits for would go on reading, and hold locks and its snapshot."""
    at_work = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pg_dump'"
        " AND wait_event_type = 'Lock'"
    )
    with psycopg.connect(filled.url) as connection:
        connection.execute("LOCK TABLE weather_data IN ACCESS EXCLUSIVE MODE")
        process = CommandLine.on(filled, tmp_path).start("backup", "create", "--folder", folder.path)
        while not values(filled, at_work):
            assert process.poll() is None
        os.kill(process.pid, number)
        process.communicate()
        deadline = time.monotonic() + 20
        while values(filled, at_work):
            assert time.monotonic() < deadline


def test_every_program_is_started_so_that_it_ends_with_us() -> None:
    """The server and the pages of the demo go on, useradd works for a moment, and the decoder ends with its input.

    The signal of `preexec_fn` comes when the thread that started the child ends; the decoder serves all threads.
    """
    left_alone = {"server.py", "demo_pages.py", "system_user.py", "parquet_process.py"}
    seen = set()
    for path in Path(energy_forecast.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("subprocess."):
                seen.add(path.name)
                assert path.name in left_alone or "preexec_fn" in {word.arg for word in node.keywords}, path
    assert {"client_programs.py", "binaries.py"} <= seen


def test_a_restore_killed_in_the_middle_leaves_no_half_database(
    server: Server, filled: Database, folder: BackupFolder, new_name: str, tmp_path: Path
) -> None:
    backup = create_backup(filled, folder)
    process = CommandLine.on(filled, tmp_path).start("backup", "restore", folder.file(backup.name), "--into", new_name)
    while not restoring(filled):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert values(filled, f"SELECT FROM pg_database WHERE datname = '{new_name}'") == []
    restore_backup(filled, folder, backup.name, new_name)
    assert restoring(filled) == 0, "what the killed one left is gone"
    assert contents(server.database(new_name))["public.cities"] == backup.tables["public.cities"]


def test_a_restore_does_not_touch_a_database_with_something_in_it(
    server: Server, filled: Database, folder: BackupFolder
) -> None:
    backup = create_backup(filled, folder)
    with pytest.raises(BackupError, match="is not empty"):
        restore_backup(filled, folder, backup.name, filled.name)
    with server.copy_of("template0") as empty:
        restore_backup(filled, folder, backup.name, empty.name)
        assert contents(empty)["public.cities"]["rows"] == 2


# What a full disk does to a program, for a test that may not fill one
NIGHTS = """
import resource, sys
from pathlib import Path
from energy_forecast.database import Database
from energy_forecast.errors import BackupError
from energy_forecast.operations.backup import BackupFolder, create_backup
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for night in range(8):
    try:
        create_backup(Database(sys.argv[1]), BackupFolder(Path(sys.argv[2])))
    except BackupError as error:
        print("failed", error)
"""


def test_eight_failed_nights_and_a_prune_cost_no_good_backup(
    filled: Database, folder: BackupFolder, tmp_path: Path
) -> None:
    good = [create_backup(filled, folder) for _ in range(2)]
    old = datetime.now(UTC) - timedelta(days=30)
    for backup in good:
        write_record(folder.record(backup.name), replace(backup, finished_at=old))
    line = CommandLine.on(filled, tmp_path)
    nights = subprocess.run(
        [sys.executable, "-c", NIGHTS, filled.url, folder.path], capture_output=True, text=True, check=True
    )
    assert len(nights.stdout.splitlines()) == 8, nights
    assert folder.names() == [backup.name for backup in good]
    assert [status for status, _ in ledger(filled)] == ["verified"] * 2 + ["failed"] * 8
    line.run("backup", "prune", "--folder", folder.path, "--keep", "2")
    assert folder.names() == [backup.name for backup in good]
    line.run("backup", "verify", "--all", "--folder", folder.path)


def test_prune_removes_only_old_ones_among_enough_good_ones(filled: Database, folder: BackupFolder) -> None:
    made = [create_backup(filled, folder) for _ in range(5)]
    names = [backup.name for backup in made]
    old = datetime.now(UTC) - timedelta(days=30)
    # The clock was a month behind when the last two were made: their order is that of their numbers
    for backup in (made[0], made[1], made[3], made[4]):
        write_record(folder.record(backup.name), replace(backup, finished_at=old))
    (folder.path / "mine.txt").write_text("not a backup")
    flip(folder.file(names[4]), 0.5)
    week = timedelta(days=7)

    dry = prune_backups(folder, older_than=week, keep=2, dry_run=True)
    assert dry.removed == [names[1], names[0]]
    assert folder.names() == names
    done = prune_backups(folder, older_than=week, keep=2)

    assert done.removed == dry.removed
    assert done.kept == [names[3], names[2]]
    assert list(done.damaged) == [names[4]], "neither counted nor removed"
    assert folder.names() == names[2:]
    assert (folder.path / "mine.txt").exists()


def test_a_clock_set_back_changes_no_order(filled: Database, folder: BackupFolder) -> None:
    first = create_backup(filled, folder)
    ahead = first.name.replace(first.name[23:], "20400101T000000Z.dump")
    folder.file(first.name).rename(folder.file(ahead))
    folder.record(first.name).unlink()
    write_record(folder.record(ahead), replace(first, name=ahead))
    second = create_backup(filled, folder)
    assert folder.names() == [ahead, second.name]


def test_a_clock_that_was_ahead_hides_no_failure_and_makes_nothing_young(
    filled: Database, folder: BackupFolder
) -> None:
    backup = create_backup(filled, folder)
    with psycopg.connect(filled.url) as connection:
        connection.execute(
            "INSERT INTO ops.recovery_checks (kind, subject, passed, started_at, finished_at)"
            " VALUES ('drill', 'ahead', true, now() + '1 year', now() + '1 year')"
        )
        connection.execute(
            "INSERT INTO ops.backups"
            " (kind, name, folder, status, bytes, sha256, server_version, started_at, finished_at)"
            " VALUES ('logical', 'ahead', '', 'verified', 1, repeat('0', 64), '15', now() + '1 year', now() + '1 year')"
        )
    write_record(folder.record(backup.name), replace(backup, finished_at=datetime.now(UTC) + timedelta(days=365)))

    def risks() -> str:
        return " ".join(recovery_status(folder, filled, None, None).risks)

    assert "The last backup is dated 365.0 days in the future" in risks()
    assert "The last drill is dated 365.0 days in the future" in risks()
    now = datetime.now(UTC)
    record_check(filled, kind="drill", subject="now", reason="because", started_at=now)
    record_backup(
        filled, kind="logical", name="now", folder="", started_at=now, server_version="15", reason="out of tape"
    )
    assert "The last drill failed: because" in risks()
    assert "1; the last: out of tape" in risks()
    write_record(folder.record(backup.name), replace(backup, started_at=datetime.now(UTC) + timedelta(days=1)))
    assert drill_backup(filled, folder).rpo_seconds is None


def test_a_killed_drill_leaves_no_database(server: Server, filled: Database, folder: BackupFolder) -> None:
    create_backup(filled, folder)
    left = "energy_forecast_drill_0123456789ab"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(left)))
    drill_backup(filled, folder)
    assert values(filled, f"SELECT FROM pg_database WHERE datname = '{left}'") == []


def test_the_programs_on_the_path_are_not_used(filled: Database, folder: BackupFolder, tmp_path: Path) -> None:
    """Another version's pg_dump refuses, and its pg_restore misreads."""
    fake = tmp_path / "bin"
    fake.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (fake / name).write_text("#!/bin/sh\necho I am not the one >&2\nexit 3\n")
        (fake / name).chmod(0o755)
    line = CommandLine.on(filled, tmp_path)
    line.environment["PATH"] = f"{fake}:{os.environ['PATH']}"
    line.run("backup", "create", "--folder", folder.path)
    line.run("backup", "verify", "--folder", folder.path)


def test_a_full_disk_leaves_the_earlier_backups_alone(filled: Database, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "4m"):
        folder = BackupFolder(tmp_path / "small" / "backups")
        backup = create_backup(filled, folder)
        filler = tmp_path / "small" / "filler"
        free = os.statvfs(tmp_path / "small")
        filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 65536))
        with pytest.raises(BackupError, match="disk is full"):
            create_backup(filled, folder)
        assert folder.names() == [backup.name]
        assert files(folder) == {backup.name, f"{backup.name}.json"}
        verify_backup(folder, backup.name)
