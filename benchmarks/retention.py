"""Measure how long readers wait while retention removes months under load.

    .venv/bin/python benchmarks/retention.py [CITIES] [MONTHS_OVERDUE]

Fills a database of its own with two years of hourly consumption and weather (100 cities by default) and MONTHS_OVERDUE
more months (default 3), then runs `maintain retention` while four readers and a writer work. The readers read the last
day of a city, the last day of all cities with their names, an old month, and the newest forecasts. The writer corrects
the last hours of each city. Prints the longest read and write, with and without retention. The server is that of
ENERGY_FORECAST_TEST_DATABASE_URL, a superuser's URL, or an embedded one. Fails if a statement waited over a second for
a lock.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import LiteralString
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.operations.maintenance import StepReport, maintain
from energy_forecast.postgres import EmbeddedServer

READS: list[LiteralString] = [
    "SELECT sum(consumption_kwh) FROM energy_consumption"
    " WHERE city_id = (SELECT id FROM cities ORDER BY random() LIMIT 1) AND timestamp >= now() - interval '24 hours'",
    "SELECT c.name, avg(w.temperature) FROM weather_data w JOIN cities c ON c.id = w.city_id"
    " WHERE w.timestamp >= now() - interval '24 hours' GROUP BY 1",
    "SELECT count(*) FROM energy_consumption WHERE timestamp < now() - interval '725 days'",
    "SELECT count(*) FROM predictions p JOIN forecast_runs r ON r.id = p.run_id WHERE p.timestamp >= now()",
]
WRITE: LiteralString = (
    "UPDATE energy_consumption SET consumption_kwh = consumption_kwh + 1, available_at = now()"
    " WHERE timestamp >= now() - interval '3 hours'"
)


class Worker(Thread):
    """A thread that repeats a statement and records the times, in seconds. It waits at most a second for a lock."""

    def __init__(self, database: Database, statement: LiteralString, pause: float) -> None:
        super().__init__()
        self.times: list[float] = []
        self.refused = 0
        self.stop = Event()
        self._database, self._statement, self._pause = database, statement, pause

    def run(self) -> None:
        with psycopg.connect(self._database.url, autocommit=True) as connection:
            connection.execute("SET lock_timeout = '1s'")
            while not self.stop.is_set():
                began = time.perf_counter()
                try:
                    connection.execute(self._statement)
                except psycopg.errors.LockNotAvailable:
                    self.refused += 1
                self.times.append(time.perf_counter() - began)
                time.sleep(self._pause)


def main() -> None:
    cities = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    overdue = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory(prefix="ef-") as name:
        Path(name).chmod(0o711)
        with _database(Path(name)) as database:
            began = time.perf_counter()
            rows = _fill(database, cities, overdue)
            print(f"{cities} cities, {rows:,} rows of consumption and as many of weather, {overdue} months overdue")
            print(f"filled in {time.perf_counter() - began:.0f} s\n")
            print(
                f"{'during':28} {'seconds':>8} {'reads':>7} {'median ms':>10} {'p99 ms':>8} {'longest':>8} {'write':>8}"
            )
            refused = _measure("nothing", database, lambda: time.sleep(20))
            reports: list[StepReport] = []
            for steps in (["retention"], ["partitions", "refresh", "vacuum"]):
                refused += _measure(", ".join(steps), database, lambda s=steps: reports.extend(maintain(database, s)))
            for report in reports:
                print(
                    f"{report.step}: {report.outcome}, {report.seconds:.1f} s, {report.numbers} {report.problem or ''}"
                )
    if refused:
        sys.exit(f"{refused} statements waited over a second for a lock.")


def _measure(label: str, database: Database, work: Callable[[], object]) -> int:
    readers = [Worker(database, statement, 0.02) for statement in READS]
    writer = Worker(database, WRITE, 0.5)
    for worker in (*readers, writer):
        worker.start()
    time.sleep(1)
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    for worker in (*readers, writer):
        worker.stop.set()
    for worker in (*readers, writer):
        worker.join()
    times = sorted(t * 1000 for reader in readers for t in reader.times)
    print(
        f"{label:28} {seconds:8.1f} {len(times):7,} {times[len(times) // 2]:10.1f} {times[len(times) * 99 // 100]:8.0f}"
        f" {times[-1]:8.0f} {max(writer.times) * 1000:8.0f}",
        flush=True,
    )
    return sum(worker.refused for worker in (*readers, writer))


def _fill(database: Database, cities: int, overdue: int) -> int:
    with psycopg.connect(database.url) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(
            "INSERT INTO cities (name, latitude, longitude, timezone)"
            " SELECT 'City ' || n, 50, 10, 'Europe/Berlin' FROM generate_series(1, %s) n",
            (cities,),
        )
        for table, value in (("energy_consumption", "consumption_kwh"), ("weather_data", "temperature")):
            connection.execute(
                "SELECT ensure_month_partitions(%s, now() - make_interval(months => %s), now())", (table, 24 + overdue)
            )
            # In the order of hours, as values arrive
            connection.execute(
                sql.SQL(
                    "INSERT INTO {} (city_id, timestamp, {}, available_at) SELECT c.id, t, 20, t + interval '1 hour'"
                    " FROM generate_series(date_trunc('month', now() - make_interval(months => %s), 'UTC'),"
                    " now() - interval '1 hour', '1 hour') t, cities c"
                ).format(sql.Identifier(table), sql.Identifier(value)),
                (24 + overdue,),
            )
            connection.commit()
        connection.execute(
            "INSERT INTO models (name, type, version, trained_until)"
            " VALUES ('naive-24', 'baseline', '1', '2020-01-01Z')"
        )
        connection.execute(
            "INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
            " started_at, finished_at) SELECT id, 'replay', now() - interval '400 days', '168 hours', 'none', '{0.5}',"
            " 'succeeded', now(), now() FROM models"
        )
        # As the owner: a forecast by any other role must be among the vintages too
        connection.execute("SET LOCAL ROLE energy_forecast_owner")
        connection.execute(
            "INSERT INTO predictions (city_id, model_id, timestamp, predicted_consumption, run_id, issued_at)"
            " SELECT c.id, r.model_id, date_trunc('hour', now()) + h * interval '1 hour', 100, r.id, r.issued_at"
            " FROM forecast_runs r, cities c, generate_series(-9500, 48) h WHERE h < -8700 OR h > -48"
        )
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
        row = connection.execute("SELECT count(*) FROM energy_consumption").fetchone()
        return int(row[0]) if row else 0


@contextmanager
def _database(folder: Path) -> Iterator[Database]:
    url = os.environ.get("ENERGY_FORECAST_TEST_DATABASE_URL")
    embedded = None if url else EmbeddedServer(folder / "server")
    if embedded:
        embedded.start()
    server = url or (embedded.url if embedded else "")
    name = f"retention_{uuid4().hex[:8]}"
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


if __name__ == "__main__":
    main()
