r"""Measure `ingest` as typed, compared with PostgreSQL's own COPY of the same rows, in the same run, alternating.

    .venv/bin/python benchmarks/loading.py [--rows 10000000] [--cities 200] [--minutes 10] [--order city] [--repeats 5]

The reference is `psql \copy` of the rows as plain CSV into a bare copy of the table: the same key and monthly
partitions, but no id, no foreign key, no CHECK, no index by time and no trigger. It is compared with `energy-forecast
ingest consumption FILE` with its default checks, from start to exit: the same rows from CSV and Parquet, into an empty
table; Parquet with `--no-check` (unchecked); the same file again; the file with 1 % corrected and 0.1 % bad rows. Then
a single value by SQL is compared with a bare INSERT ... ON CONFLICT. Each command has a database of its own.

Wall-clock time depends on other work on the machine, so the CPU time of the client and of the server processes is
printed too. The server is that of ENERGY_FORECAST_TEST_DATABASE_URL, a superuser's URL on this machine, or an embedded
one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from pathlib import Path

import measuring
import polars as pl
import psycopg
from psycopg import sql

from energy_forecast.database import Database
from energy_forecast.ingest import import_cities
from energy_forecast.operations.client_programs import program

# Ratios by the clock, of 10 million rows of 200 cities
GOALS = {"csv": 1.0, "csv.gz": 1.0, "parquet": 0.8, "again": 0.5, "corrected": 0.7, "single": 2.0}
# CSV of 2 million rows of 100 cities, of which the start of the command is a larger part
GOAL_OF_FEW_ROWS, FEW_ROWS = 1.2, 5_000_000
# The installed command in its own process, which records its CPU time and peak memory at exit
COMMAND = """
import atexit, json, os, resource, sys
from pathlib import Path
def note():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Not ru_maxrss: a new process inherits that of its parent
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    Path(os.environ["MEASURED"]).write_text(json.dumps([sum(u.ru_utime + u.ru_stime for u in used), peak]))
atexit.register(note)
from energy_forecast.cli import main
sys.argv[0] = "energy-forecast"
sys.exit(main())
"""
# Exit statuses: done, and done with some rows rejected
DONE = (0, 3)
BARE = """
CREATE TABLE bare (
    city_id uuid NOT NULL, timestamp timestamptz NOT NULL, consumption_kwh numeric(12,2) NOT NULL,
    peak_demand_kw numeric(12,2), metadata jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, available_at timestamptz NOT NULL,
    interval_minutes smallint NOT NULL, PRIMARY KEY (city_id, timestamp)
) PARTITION BY RANGE (timestamp)
"""


@dataclass
class Run:
    """One run of one way: wall-clock seconds, CPU seconds of client and server, the client's peak in MB."""

    wall: float
    client: float
    server: float
    peak: float
    counts: tuple[int, ...] = ()

    @property
    def cpu(self) -> float:
        """The CPU seconds of client and server."""
        return self.client + self.server


def main() -> None:
    """Measure the ways of loading and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cities", type=int, default=200)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--order", choices=("city", "time", "newest", "random"), default="city")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", default="copy,csv,csv.gz,parquet,unchecked,again,corrected,single")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ef-") as name, measuring.server() as server:
        folder = Path(name)
        _write(folder, options.rows, options.cities, options.minutes, options.order)
        runs: dict[str, list[Run]] = {}
        for _ in range(options.repeats):
            _round(server, folder, options.ways.split(","), runs)
    _tell(options, runs)


def _round(server: str, folder: Path, ways: list[str], runs: dict[str, list[Run]]) -> None:
    """Run each way once, in turns with the reference: a busy minute affects all."""

    def keep(way: str, run: Run) -> None:
        runs.setdefault(way, []).append(run)
        print(f"{way:10} {run.wall:8.2f} s wall  client {run.client:7.2f}  server {run.server:7.2f} CPU s  "
              f"{run.peak:5.0f} MB  {run.counts}", flush=True)  # fmt: skip

    with _database(server, folder) as url:
        if "copy" in ways:
            keep("copy", _copy(url, folder))
    for kind in ("csv", "csv.gz", "parquet"):
        if kind not in ways and not (kind == "parquet" and {"again", "corrected"} & set(ways)):
            continue
        with _database(server, folder) as url:
            keep(kind, _ingest(url, folder, f"rows.{kind}"))
            for way, file in (("again", "rows"), ("corrected", "corrected")):
                if kind == "parquet" and way in ways:
                    keep(way, _ingest(url, folder, f"{file}.parquet"))
    if "unchecked" in ways:
        with _database(server, folder) as url:
            keep("unchecked", _ingest(url, folder, "rows.parquet", "--no-check"))
    if "single" in ways:
        with _database(server, folder) as url:
            for way, run in _single(url).items():
                keep(way, run)


def _copy(url: str, folder: Path) -> Run:
    with psycopg.connect(url, autocommit=True) as connection:
        psql = program("psql", connection.info.server_version // 10000)
        connection.execute(BARE)
        ids = {name: str(city) for name, city in connection.execute("SELECT name, id FROM cities").fetchall()}
        rows = pl.scan_parquet(folder / "rows.parquet")
        minutes = int((folder / "minutes").read_text())
        first, last = rows.select(pl.col("timestamp").min(), pl.col("timestamp").max().alias("last")).collect().row(0)
        month = datetime(first.year, first.month, 1, tzinfo=UTC)
        while month <= last:
            end = (month + timedelta(days=32)).replace(day=1)
            connection.execute(
                sql.SQL("CREATE TABLE {} PARTITION OF bare FOR VALUES FROM ({}) TO ({})").format(
                    sql.Identifier(f"bare_{month:%Y%m}"), sql.Literal(month.isoformat()), sql.Literal(end.isoformat())
                )
            )
            month = end
        plain = folder / "bare.csv"
        rows.select(
            pl.col("city").replace_strict(ids),
            "timestamp",
            "consumption_kwh",
            (pl.col("timestamp") + pl.duration(minutes=minutes)).alias("available_at"),
            pl.lit(minutes).alias("interval_minutes"),
        ).sink_csv(plain, datetime_format="%Y-%m-%dT%H:%M:%SZ", float_precision=2)
        connection.execute("CHECKPOINT")
    command = (
        f"\\copy bare (city_id, timestamp, consumption_kwh, available_at, interval_minutes) from '{plain}' csv header"
    )
    with _server_cpu(url) as used:
        start, before = time.perf_counter(), os.times()
        subprocess.run([psql, "-qX", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", command], check=True)
        wall, after = time.perf_counter() - start, os.times()
    plain.unlink()
    client = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(wall, client, used[0], 0)


def _ingest(url: str, folder: Path, file: str, *options: str) -> Run:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    measured = folder / "measured"
    environment = {
        "ENERGY_FORECAST_DATABASE_URL": url,
        "ENERGY_FORECAST_HOME": str(folder / "home"),
        "MEASURED": str(measured),
    }
    command = [sys.executable, "-c", COMMAND, "ingest", "consumption", str(folder / file), "--json", *options]
    with _server_cpu(url) as used:
        start = time.perf_counter()
        done = subprocess.run(command, env=os.environ | environment, check=False, capture_output=True, text=True)
        wall = time.perf_counter() - start
    if done.returncode not in DONE:
        sys.exit(f"ingest exited with status {done.returncode}: {done.stderr}")
    found = json.loads(done.stdout)
    counts = [found[name] for name in ("read", "inserted", "corrected", "unchanged", "rejected")]
    if counts[0] != sum(counts[1:]):
        sys.exit(f"The counts do not add up: {counts}")
    client, peak = json.loads(measured.read_text())
    return Run(wall, client, used[0], peak, tuple(counts))


def _single(url: str) -> dict[str, Run]:
    """Time a thousand single values by the median of 2,000, and a bare upsert.

    Blocks of a hundred alternate, each value in its own transaction, over two open connections of one kind. Single
    values must not alternate: on a disk that ends writes every few milliseconds, each way waits for the other.
    """
    with psycopg.connect(url, autocommit=True) as bare, psycopg.connect(url, autocommit=True) as ours:
        bare.execute(BARE)
        bare.execute("CREATE TABLE bare_all PARTITION OF bare DEFAULT")
        city = bare.execute("SELECT id FROM cities LIMIT 1").fetchone()
        assert city is not None
        end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        moments = [end - timedelta(minutes=10 * n) for n in range(2000, 0, -1)]
        bare.execute("SELECT ensure_month_partitions('energy_consumption', %s, %s)", (moments[0], moments[-1]))
        ours.execute("SET ROLE energy_forecast_ingest")
        took: dict[str, list[tuple[float, float, float]]] = {"upsert": [], "single": []}
        ways = (("upsert", bare, "bare"), ("single", ours, "energy_consumption"))
        for block, (way, connection, table) in product(range(0, len(moments), 100), ways):
            statement = (
                f"INSERT INTO {table} (city_id, timestamp, consumption_kwh, available_at, interval_minutes)"  # noqa: S608
                " VALUES (%s, %s, %s, %s, 10) ON CONFLICT (city_id, timestamp)"
                " DO UPDATE SET consumption_kwh = excluded.consumption_kwh, available_at = excluded.available_at"
            )
            for moment in moments[block : block + 100]:
                values = (city[0], moment, 1, moment + timedelta(minutes=10))
                before = time.process_time()
                server = measuring.timed(connection, partial(connection.execute, statement, values))
                took[way].append((server.wall, time.process_time() - before, server.cpu))
    medians = {way: [statistics.median(column) * 1000 for column in zip(*took[way], strict=True)] for way in took}
    return {way: Run(wall, client, server, peak=0) for way, (wall, client, server) in medians.items()}


@contextmanager
def _server_cpu(url: str) -> Iterator[list[float]]:
    """Yield the CPU seconds of all server processes meanwhile, including finished ones."""
    before = measuring.server_seconds(url)
    used: list[float] = []
    yield used
    # The postmaster may not have waited yet for a session that has just ended
    time.sleep(0.2)
    used.append(measuring.server_seconds(url) - before)


def _write(folder: Path, rows: int, cities: int, minutes: int, order: str) -> None:
    """Write rows.parquet, rows.csv and rows.csv.gz; corrected.parquet has 1 % other and 0.1 % bad values."""
    folder.chmod(0o711)
    (folder / "minutes").write_text(str(minutes))
    (folder / "cities.csv").write_text(
        "name,latitude,longitude,timezone\n" + "".join(f"City {n},50,10,Europe/Berlin\n" for n in range(cities))
    )
    each = -(-rows // cities)
    end = datetime(2026, 11, 1, tzinfo=UTC)
    times = pl.datetime_range(
        end - timedelta(minutes=minutes * each), end, f"{minutes}m", closed="left", eager=True, time_unit="us"
    )
    frame = pl.DataFrame(
        {
            "city": pl.Series([f"City {n}" for n in range(cities)]).gather(
                pl.int_range(cities * each, eager=True) // each
            ),
            "timestamp": times.gather(pl.int_range(cities * each, eager=True) % each),
            "consumption_kwh": (pl.int_range(cities * each, eager=True) * 7919 % 1_000_003) / 100,
        }
    ).head(rows)
    match order:
        case "time":
            frame = frame.sort("timestamp", maintain_order=True)
        case "newest":
            frame = frame.sort("timestamp", descending=True, maintain_order=True)
        case "random":
            frame = frame.sample(fraction=1, shuffle=True, seed=1)
    frame.write_parquet(folder / "rows.parquet", row_group_size=500_000)
    frame.write_csv(folder / "rows.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    subprocess.run(["gzip", "--keep", folder / "rows.csv"], check=True)
    row = pl.int_range(pl.len())
    frame.with_columns(
        pl.when(row % 1000 == 7).then(-1.0)
        .when(row % 100 == 3).then(pl.col("consumption_kwh") + 1)
        .otherwise("consumption_kwh").alias("consumption_kwh")
    ).write_parquet(folder / "corrected.parquet", row_group_size=500_000)  # fmt: skip


@contextmanager
def _database(server: str, folder: Path) -> Iterator[str]:
    """Yield a migrated database with the cities."""
    with measuring.database(server) as url:
        import_cities(Database(url), folder / "cities.csv")
        yield url


def _tell(options: argparse.Namespace, runs: dict[str, list[Run]]) -> None:
    """Print medians, ratios and goals; append them to a CSV file with machine and date."""
    references = {
        "csv": "copy",
        "csv.gz": "copy",
        "parquet": "copy",
        "unchecked": "copy",
        "again": "parquet",
        "corrected": "parquet",
        "single": "upsert",
    }
    measured = ("wall", "client", "server", "peak")
    middle = {
        way: Run(*(statistics.median(getattr(run, name) for run in found) for name in measured))
        for way, found in runs.items()
    }
    facts = {name: getattr(options, name) for name in ("rows", "cities", "minutes", "order", "repeats")}
    rows = []
    print(f"\n{'way':10}" + "".join(f"{name:>11}" for name in (*measured, "wall ratio", "CPU ratio", "goal")))
    for way, run in middle.items():
        reference = middle.get(references.get(way, ""))
        figures = {name: f"{getattr(run, name):.2f}" for name in measured} | {
            "wall ratio": f"{run.wall / reference.wall:.2f}" if reference else "",
            "CPU ratio": f"{run.cpu / reference.cpu:.2f}" if reference else "",
            "goal": _goal(way, options.rows),
        }
        print(f"{way:10}" + "".join(f"{value:>11}" for value in figures.values()))
        rows.append(facts | {"way": way} | figures)
    measuring.record("loading", rows)


def _goal(way: str, rows: int) -> float | str:
    """Return the goal of a way of loading: its ratio to the reference; empty if it has none."""
    return GOAL_OF_FEW_ROWS if way in {"csv", "csv.gz"} and rows < FEW_ROWS else GOALS.get(way, "")


if __name__ == "__main__":
    main()
