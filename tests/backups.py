"""What tests of backup and recovery start from: a database with something in it, and ways to harm files."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from energy_forecast.database import Database
from energy_forecast.database.digests import Tables, operator_snapshot, table_digests
from energy_forecast.database.migrate import upgrade
from energy_forecast.operations.recovery.archiving import enable
from energy_forecast.postgres import Archive, EmbeddedServer

FILL = """
INSERT INTO cities (name, latitude, longitude, timezone) VALUES
    ('Berlin', 52.5, 13.4, 'Europe/Berlin'), ('Pune', 18.5, 73.9, 'Asia/Kolkata');
SELECT ensure_month_partitions('energy_consumption', '2025-01-01', '2025-04-01');
INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)
SELECT id, t, 100 + extract(hour FROM t) + 0.25, t + interval '2 hours'
FROM cities, generate_series(timestamptz '2025-01-01', '2025-03-01', '1 hour') t;
"""


def fill(database: Database) -> None:
    """Two cities and two months of each."""
    with psycopg.connect(database.url) as connection:
        connection.execute(FILL)


def contents(database: Database) -> Tables:
    """Rows and digests of every table."""
    with operator_snapshot(database) as connection:
        return table_digests(connection)


def values(database: Database, statement: str) -> list[tuple[object, ...]]:
    """Return the rows of a statement, as the superuser of the test's server."""
    with psycopg.connect(database.url) as connection:
        return connection.execute(statement.encode()).fetchall()


def cut(path: Path, count: int) -> None:
    """Cuts bytes off the end."""
    os.truncate(path, path.stat().st_size - count)


def flip(path: Path, place: float) -> None:
    """Flips one bit at a place between 0 and 1."""
    data = bytearray(path.read_bytes())
    data[min(int(len(data) * place), len(data) - 1)] ^= 0x10
    path.write_bytes(data)


def add(database: Database, name: str) -> None:
    """One more city."""
    with psycopg.connect(database.url) as connection:
        connection.execute("INSERT INTO cities (name, latitude, longitude, timezone) VALUES (%s, 1, 1, 'UTC')", [name])


def names(database: Database) -> set[str]:
    """Return the cities' names."""
    return {str(name) for (name,) in values(database, "SELECT name FROM cities")}


@contextmanager
def folder_of_servers() -> Iterator[Path]:
    """Yield a folder open to every user; stop the servers in it at the end."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 4 << 30 else None
    made = Path(tempfile.mkdtemp(prefix="ef-", dir=base))
    made.chmod(0o711)
    try:
        yield made
    finally:
        for home in made.iterdir():
            if (home / "postgres").is_dir():
                EmbeddedServer(home).stop()
        shutil.rmtree(made)


def new_server(home: Path, archive: Path | None = None) -> EmbeddedServer:
    """Return a server that archives, with a filled database."""
    server = EmbeddedServer(home)
    database = Database(server.start().url)
    upgrade(database)
    fill(database)
    enable(server, archive, restart=True)
    return server


def archive_of(server: EmbeddedServer) -> Archive:
    """Where a server archives."""
    assert server.archive is not None
    return server.archive


def data_file(folder: Path) -> Path:
    """Return a table's file in a base backup."""
    return max((folder / "base").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """Yield a separate file system, for a test that fills it."""
    path.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", path], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("needs root to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
