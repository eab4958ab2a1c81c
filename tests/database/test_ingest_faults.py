"""Loads that are killed, cut off, repeated or run side by side: 0 or all rows, and the ledger agrees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.errors import DatabaseError
from energy_forecast.ingest import Report, import_cities, load_files
from energy_forecast.postgres import EmbeddedServer
from held_loads import BEFORE_COMMIT, gone, held_up

ROWS = 5_000
LOAD = """
import sys
from pathlib import Path
from energy_forecast.database import Database
from energy_forecast.ingest import load_files
load_files(Database(sys.argv[1]), "consumption", [Path(sys.argv[2])])
"""


@pytest.fixture
def file(database: Database, tmp_path: Path) -> Path:
    """Return a file of some months, and its city in the database."""
    return _file(database, tmp_path)


def _file(database: Database, folder: Path) -> Path:
    (folder / "cities.csv").write_text("name,latitude,longitude,timezone\nBerlin,52,13,Europe/Berlin\n")
    import_cities(database, folder / "cities.csv")
    start = datetime(2015, 1, 1, tzinfo=UTC)
    path = folder / "load.csv"
    path.write_text(
        "city,timestamp,consumption_kwh\n"
        + "".join(f"Berlin,{start + timedelta(hours=n):%Y-%m-%dT%H:%M}Z,{n * 7 % 100}\n" for n in range(ROWS))
    )
    return path


def counts(database: Database) -> tuple[int, int]:
    """Rows of consumption, and loads in the ledger."""
    with psycopg.connect(database.url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM energy_consumption),"
            " (SELECT count(*) FROM ops.ingest_batches WHERE kind = 'consumption')"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


# Before anything is written; before the first row; after all rows, before the ledger's
STEPS: dict[str, LiteralString] = {
    "staged": "SELECT pg_advisory_lock(hashtext('energy_forecast ingest consumption'))",
    "merging": "LOCK TABLE energy_consumption IN SHARE MODE",
    "merged": BEFORE_COMMIT,
}


def start(database: Database, file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", LOAD, database.url, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.parametrize("step", STEPS)
def test_a_loader_killed_at_any_step_leaves_nothing_and_a_second_try_loads_all(
    database: Database, file: Path, step: str
) -> None:
    with held_up(database, STEPS[step]) as held:
        process = start(database, file)
        session = held.waiting()
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    gone(database, session)
    assert counts(database) == (0, 0)
    assert load_files(database, "consumption", [file]).inserted == ROWS
    assert counts(database) == (ROWS, 1)


def test_a_connection_lost_after_the_rows_is_one_line_and_leaves_nothing(database: Database, file: Path) -> None:
    with ThreadPoolExecutor(1) as pool, held_up(database, STEPS["merged"]) as held:
        load = pool.submit(load_files, database, "consumption", [file])
        session = held.waiting()
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (session,))
        with pytest.raises(DatabaseError) as caught:
            load.result()
    assert "\n" not in str(caught.value)
    assert "run it again" in str(caught.value)
    assert counts(database) == (0, 0)
    assert load_files(database, "consumption", [file]).inserted == ROWS
    assert load_files(database, "consumption", [file]).unchanged == ROWS


def test_a_server_killed_after_the_rows_comes_back_with_nothing_of_the_load(tmp_path: Path) -> None:
    """kill -9 of the whole server, not of a session: what counts is what the disk holds."""
    with tempfile.TemporaryDirectory(prefix="ef-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = EmbeddedServer(folder / "home")
        server.start()
        try:
            database = Database(server.url)
            upgrade(database)
            file = _file(database, tmp_path)
            pid = server.status().pid
            assert pid is not None
            # The lock's own session dies with the server
            with (
                ThreadPoolExecutor(1) as pool,
                suppress(psycopg.OperationalError),
                held_up(database, STEPS["merged"]) as held,
            ):
                load = pool.submit(load_files, database, "consumption", [file])
                held.waiting()
                os.kill(pid, signal.SIGKILL)
                with pytest.raises(DatabaseError):
                    load.result()
            server.start()
            assert counts(database) == (0, 0)
            assert load_files(database, "consumption", [file]).inserted == ROWS
            assert counts(database) == (ROWS, 1)
        finally:
            server.stop()


def test_the_same_file_loaded_twice_at_once_is_stored_once(database: Database, file: Path) -> None:
    """The second merge waits, and then finds what the first has stored."""
    together = threading.Barrier(3)

    def load() -> Report:
        together.wait()
        return load_files(database, "consumption", [file])

    with ThreadPoolExecutor(3) as pool:
        reports = [task.result() for task in [pool.submit(load) for _ in range(3)]]
    assert sorted((report.inserted, report.unchanged) for report in reports) == [(0, ROWS), (0, ROWS), (ROWS, 0)]
    assert counts(database) == (ROWS, 3)


def test_corrections_at_once_keep_every_value_and_end_in_the_last(database: Database, tmp_path: Path) -> None:
    """Each is available from its own merge on, so none comes before the one it replaces."""
    _file(database, tmp_path)
    files = []
    for value in range(5):
        files.append(tmp_path / f"{value}.csv")
        files[-1].write_text(f"city,timestamp,consumption_kwh\nBerlin,2026-01-05T10:00Z,{value}\n")
    with ThreadPoolExecutor(5) as pool:
        reports = list(pool.map(lambda path: load_files(database, "consumption", [path]), files))
    assert sum(report.inserted for report in reports) == 1
    assert sum(report.corrected for report in reports) == 4
    with psycopg.connect(database.url) as connection:
        values = connection.execute(
            "SELECT consumption_kwh, available_at FROM energy_consumption_revisions"
            " UNION ALL SELECT consumption_kwh, available_at FROM energy_consumption ORDER BY 2"
        ).fetchall()
    assert sorted(int(value) for value, _ in values) == list(range(5))
    assert len({moment for _, moment in values}) == 5


def test_loads_of_new_months_at_once_share_the_partitions(database: Database, tmp_path: Path) -> None:
    _file(database, tmp_path)
    files = []
    for number in range(4):
        files.append(tmp_path / f"{number}.csv")
        rows = "".join(f"Berlin,2001-{month:02d}-01T{number:02d}:00Z,1\n" for month in range(1, 13))
        files[-1].write_text("city,timestamp,consumption_kwh\n" + rows)
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda path: load_files(database, "consumption", [path], interval_minutes=60), files))
    assert [report.inserted for report in reports] == [12] * 4


def test_a_reader_is_not_kept_waiting_by_a_load(database: Database, file: Path) -> None:
    """Partitions are made in short transactions of their own, and a merge takes no lock that readers mind."""
    process = start(database, file)
    waited = 0.0
    try:
        with psycopg.connect(database.url, autocommit=True, options="-c lock_timeout=2s") as connection:
            while process.poll() is None:
                before = time.monotonic()
                connection.execute("SELECT max(timestamp) FROM energy_consumption")
                waited = max(waited, time.monotonic() - before)
    finally:
        process.kill()
    assert process.wait() == 0
    assert waited < 2
