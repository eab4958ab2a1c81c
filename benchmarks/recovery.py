"""Measure the duration of backup and recovery, and the cost of archiving for a load; print a table.

    .venv/bin/python benchmarks/recovery.py --rows 10000000 --folder FOLDER

Creates an embedded server in a new folder in FOLDER, fills it, and removes it at the end. Default: the system's folder
for temporary files.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import psycopg

from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.ingest import load_files
from energy_forecast.operations.backup import BackupFolder, create_backup
from energy_forecast.operations.recovery.archiving import enable, wait_archived
from energy_forecast.operations.recovery.base_backup import make_base_backup
from energy_forecast.operations.recovery.drill import drill_backup, drill_recovery
from energy_forecast.postgres import EmbeddedServer

HOURS = 10_000
LOAD_ROWS = 300_000
PAIRS = 4
T = TypeVar("T")


def timed(what: str, work: Callable[[], T], said: Callable[[T], str] = lambda _: "") -> tuple[T, float]:
    """Run the work and print its duration."""
    began = time.monotonic()
    found = work()
    took = time.monotonic() - began
    print(f"{what:44} {took:8.1f} s  {said(found)}", flush=True)
    return found, took


def make_cities(database: Database, count: int) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "INSERT INTO cities (name, latitude, longitude, timezone)"
            " SELECT 'City ' || n, 1, 1, 'UTC' FROM generate_series(1, %s) n",
            [count],
        )
        connection.execute("SELECT ensure_month_partitions('energy_consumption', '2023-01-01', '2024-04-01')")


def fill(database: Database, first: int, last: int) -> None:
    """Insert HOURS rows for each city."""
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
            " SELECT c.id, t, 100 + 50 * random(), t + interval '2 hours'"
            " FROM generate_series(timestamptz '2023-01-01',"
            " timestamptz '2023-01-01' + %s * interval '1 hour', '1 hour') t,"
            " (SELECT id FROM cities WHERE substr(name, 6)::int BETWEEN %s AND %s) c",
            [HOURS - 1, first, last],
        )


def load_file(folder: Path, city: int) -> Path:
    """Write LOAD_ROWS rows of cities to a file."""
    path = folder / f"load-{city}.csv"
    start = datetime(2023, 1, 1, tzinfo=UTC)
    stamps = [f"{start + timedelta(hours=n):%Y-%m-%dT%H:%M}Z" for n in range(HOURS)]
    with path.open("w") as file:
        file.write("city,timestamp,consumption_kwh\n")
        for number in range(city, city + LOAD_ROWS // HOURS):
            file.writelines(f"City {number},{stamp},{100 + n % 50}\n" for n, stamp in enumerate(stamps))
    return path


def processor_seconds(server: EmbeddedServer) -> float:
    """Return the CPU time of this process and all server processes since their start, including finished ones."""
    postmaster = server.status().pid
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name in brackets: state, parent, ... user and system time, and those of children that have ended
            fields = stat.read_text().rpartition(")")[2].split()
            if int(stat.parent.name) == postmaster:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == postmaster:
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()


def overhead(server: EmbeddedServer, folder: Path) -> None:
    """Time a load without and with archiving, in turn, until all is on disk and archived.

    By the clock, and by processor time, which other work on the machine does not add to.
    """
    took: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for turn in range(2 * PAIRS):
        on = turn % 2 == 1
        if on:
            enable(server, None, restart=True)
        else:
            server.disable_archiving()
            server.restart()
        database, path = Database(server.url), load_file(folder, 1 + turn * (LOAD_ROWS // HOURS))
        before = processor_seconds(server)

        def load(database: Database = database, path: Path = path, on: bool = on) -> None:
            load_files(database, "consumption", [path])
            with psycopg.connect(database.url) as connection:
                connection.execute("CHECKPOINT")
            if on and server.archive:
                wait_archived(database, server.archive)

        _, seconds = timed(f"load of {LOAD_ROWS:,} rows, archiving {'on' if on else 'off'}", load)
        took[on].append((seconds, processor_seconds(server) - before))
        path.unlink()
    for number, what in enumerate(("clock", "processor time")):
        ratios = sorted(on[number] / off[number] for off, on in zip(took[False], took[True], strict=True))
        print(
            f"{f'archiving on / off, {what}, median of {PAIRS}':44} {statistics.median(ratios):8.2f}    "
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="default: the system's folder for temporary files")
    parser.add_argument("--overhead", action="store_true", help="measure only the cost of archiving for a load")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="energy-forecast-", dir=given.folder))
    folder.chmod(0o711)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores")
    server = EmbeddedServer(folder / "home")
    try:
        database = Database(server.start().url)
        upgrade(database)
        cities = given.rows // HOURS + 20
        loaded = 2 * PAIRS * (LOAD_ROWS // HOURS)
        make_cities(database, cities + loaded)
        overhead(server, folder)
        if given.overhead:
            return
        enable(server, None, restart=True)
        database = Database(server.url)
        timed(f"filling {given.rows:,} rows", lambda: fill(database, loaded + 1, loaded + given.rows // HOURS))
        megabytes = lambda size: f"{size / 1e6:,.0f} MB"  # noqa: E731
        timed(
            "full base backup", lambda: make_base_backup(server, incremental=False), lambda base: megabytes(base.size)
        )
        fill(database, loaded + given.rows // HOURS + 1, loaded + given.rows // HOURS + 10)
        timed("incremental, after 100,000 rows", lambda: make_base_backup(server), lambda base: megabytes(base.size))
        timed(
            "drill: base backups and WAL",
            lambda: drill_recovery(server),
            lambda d: f"RTO {d.rto_seconds:.1f} s, amcheck {d.amcheck_seconds:.1f} s, {d.rows:,} rows",
        )
        backups = BackupFolder(server.home / "backups")
        timed("logical backup", lambda: create_backup(database, backups), lambda backup: megabytes(backup.size))
        timed(
            "drill: dump",
            lambda: drill_backup(database, backups),
            lambda d: f"RTO {d.rto_seconds:.1f} s, amcheck {d.amcheck_seconds:.1f} s",
        )
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
