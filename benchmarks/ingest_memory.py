"""Measure the duration and the client memory of a large load.

    .venv/bin/python benchmarks/ingest_memory.py [ROWS] [FORMAT]

Writes its own file (csv, csv.gz or parquet; 10 million rows by default), loads it twice into a database of its own, and
prints a table. The server is that of ENERGY_FORECAST_TEST_DATABASE_URL, a superuser's URL, or an embedded one. Fails if
the peak memory of the client exceeds 1 GB, the promised limit.
"""

from __future__ import annotations

import gzip
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.ingest import Report, import_cities, load_files
from energy_forecast.postgres import EmbeddedServer

HOURS_A_CITY = 100_000
LARGEST_PEAK_MB = 1000


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    suffix = sys.argv[2] if len(sys.argv) > 2 else "csv"
    with tempfile.TemporaryDirectory(prefix="ef-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        cities = -(-rows // HOURS_A_CITY)
        (folder / "cities.csv").write_text(
            "name,latitude,longitude,timezone\n" + "".join(f"City {n},50,10,Europe/Berlin\n" for n in range(cities))
        )
        file = folder / f"load.{suffix}"
        _write(file, rows)
        with _database(folder) as database:
            import_cities(database, folder / "cities.csv")
            before = _peak_mb()
            print(f"{rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB of {suffix}; client before: {before:,.0f} MB")
            print(f"{'load':8} {'seconds':>8} {'rows/s':>10} {'peak MB':>8}  counts")
            for label in ("first", "again"):
                start = time.perf_counter()
                report = load_files(database, "consumption", [file])
                _print(label, time.perf_counter() - start, report)
    if _peak_mb() > LARGEST_PEAK_MB:
        sys.exit(f"The client's peak memory exceeded {LARGEST_PEAK_MB} MB.")


def _print(label: str, seconds: float, report: Report) -> None:
    counts = f"inserted {report.inserted:,}, unchanged {report.unchanged:,}, rejected {report.rejected:,}"
    print(f"{label:8} {seconds:8.1f} {report.read / seconds:10,.0f} {_peak_mb():8,.0f}  {counts}", flush=True)


def _write(file: Path, rows: int) -> None:
    """Write hourly rows that end before now, city by city, so that this part needs little memory."""
    if file.suffix == ".parquet":
        plain = file.with_suffix(".csv")
        _write(plain, rows)
        pl.scan_csv(plain, try_parse_dates=True).sink_parquet(file, row_group_size=1_000_000)
        plain.unlink()
        return
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    times = pl.datetime_range(end - timedelta(hours=HOURS_A_CITY), end, "1h", closed="left", eager=True)
    stamps = times.dt.to_string("%Y-%m-%dT%H:%M:%SZ")
    with gzip.open(file, "wb", compresslevel=1) if file.suffix == ".gz" else file.open("wb") as stream:
        stream.write(b"city,timestamp,consumption_kwh\n")
        for number, start in enumerate(range(0, rows, HOURS_A_CITY)):
            count = min(HOURS_A_CITY, rows - start)
            frame = pl.select(
                pl.repeat(f"City {number}", count),
                stamps.head(count).alias("timestamp"),
                (pl.int_range(count) * 7919 % 1_000_003 / 100).alias("kwh"),
            )
            stream.write(frame.write_csv(include_header=False).encode())


@contextmanager
def _database(folder: Path) -> Iterator[Database]:
    url = os.environ.get("ENERGY_FORECAST_TEST_DATABASE_URL")
    embedded = None if url else EmbeddedServer(folder / "server")
    if embedded:
        embedded.start()
    server = url or (embedded.url if embedded else "")
    name = f"ingest_{uuid4().hex[:8]}"
    try:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        database = Database(make_conninfo(server, dbname=name))
        upgrade(database)
        yield database
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        if embedded:
            embedded.stop()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
