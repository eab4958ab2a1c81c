"""Shared parts of the benchmarks in the database: server, own databases, CPU time, percentiles, results."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Connection, Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.postgres import EmbeddedServer

_RESULTS = "ENERGY_FORECAST_BENCHMARK_RESULTS"


def results() -> Path:
    """Return the folder for results: the repository's, or that of the environment."""
    return Path(os.environ.get(_RESULTS) or Path(__file__).parent / "results")


@contextmanager
def results_elsewhere() -> Iterator[None]:
    """Write results to a temporary folder meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_RESULTS] = folder
        try:
            yield
        finally:
            del os.environ[_RESULTS]


@contextmanager
def server() -> Iterator[str]:
    """Yield ENERGY_FORECAST_TEST_DATABASE_URL, a superuser's URL on this machine, or that of a new server."""
    given = os.environ.get("ENERGY_FORECAST_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="ef-") as folder:
        Path(folder).chmod(0o711)
        embedded = EmbeddedServer(Path(folder) / "server")
        embedded.start()
        try:
            yield embedded.url
        finally:
            embedded.stop()


@contextmanager
def database(url: str) -> Iterator[str]:
    """Yield a new migrated database's URL, then drop it."""
    name = f"benchmark_{uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        upgrade(Database(make_conninfo(url, dbname=name)))
        yield make_conninfo(url, dbname=name)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True)
class Took:
    """Wall-clock seconds, and CPU seconds of the server process."""

    wall: float
    cpu: float


def timed(connection: Connection, work: Callable[[], object]) -> Took:
    """Time work that only this connection does."""
    before, start = _cpu_seconds(connection), time.perf_counter()
    work()
    return Took(time.perf_counter() - start, _cpu_seconds(connection) - before)


def _cpu_seconds(connection: Connection) -> float:
    fields = Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()
    # Nanoseconds on a processor; the clock ticks of `stat` are too coarse for a single statement
    return int(fields[0]) / 1e9


def server_seconds(url: str) -> float:
    """Return the CPU seconds of all processes of the server on this machine, including finished ones."""
    with psycopg.connect(url) as connection:
        postmaster = int(_stat(connection.info.backend_pid)[1])
        # Own and waited-for time of the postmaster, and own time of its live children
        ticks = sum(map(int, _stat(postmaster)[11:15]))
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                stat = _stat(int(folder.name))
                if int(stat[1]) == postmaster:
                    ticks += int(stat[11]) + int(stat[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value not exceeded by this share of values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, object]:
    """Return the facts recorded with a result."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return {
        "date": f"{datetime.now(UTC):%FT%TZ}",
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "commit": commit.stdout.strip(),
    }


def record(name: str, rows: Sequence[dict[str, object]]) -> Path:
    """Append rows of results to a file of the day, each with machine and date."""
    results().mkdir(exist_ok=True)
    path = results() / f"{name}-{datetime.now(UTC):%F}.csv"
    is_new = not path.exists()
    facts = machine()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, [*facts, *rows[0]])
        if is_new:
            writer.writeheader()
        writer.writerows(facts | row for row in rows)
    return path


def results_of(script: str, *arguments: object) -> list[dict[str, str]]:
    """Run a benchmark that stores its results in a file of the day, and return the rows that it added."""
    before = len(_kept(script))
    _run(script, *arguments, stdout=None)
    return _kept(script)[before:]


def printed_by(script: str, *arguments: object) -> list[dict[str, str]]:
    """Run a benchmark that prints its results as CSV, and return the rows."""
    printed = _run(script, *arguments, stdout=subprocess.PIPE)
    print(printed, flush=True)
    return list(csv.DictReader(line for line in printed.splitlines() if not line.startswith("#")))


def victoria(folder: Path) -> Path:
    """Write the sample's longer record into a folder as files for forecasting.py; return the folder."""
    # Imported here, since it imports the models, which the other benchmarks do not need
    import polars as pl
    import skill

    city, load, weather = next(iter(skill.sample()))
    pl.DataFrame([vars(city)]).write_csv(folder / "cities.csv")
    for name, frame in (("consumption", load), ("weather", weather)):
        frame.select(pl.lit(city.name).alias("city"), pl.all()).write_csv(
            folder / f"{name}.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ"
        )
    return folder


def _run(script: str, *arguments: object, stdout: int | None) -> str:
    command = [sys.executable, str(Path(__file__).parent / f"{script}.py"), *map(str, arguments)]
    print(f"\n$ {script}.py {' '.join(map(str, arguments))}", flush=True)
    return subprocess.run(command, check=True, text=True, stdout=stdout).stdout or ""


def _kept(name: str) -> list[dict[str, str]]:
    rows = []
    for path in sorted(results().glob(f"{name}-*.csv")):
        with path.open(newline="") as stream:
            rows += list(csv.DictReader(stream))
    return rows
