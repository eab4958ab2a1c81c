"""Measure the cost of the audit for a bulk load: the same rows with and without the audit triggers, in the same run.

    .venv/bin/python benchmarks/audit_cost.py [ROWS] [REPEATS]

Two methods are measured: INSERT ... SELECT from a staging table as the role that loads, as `ingest` does, and a plain
COPY as a superuser. Runs with and without the audit alternate. The result is the lowest CPU time of the server process:
other work on the machine distorts wall-clock time by far more than the effect measured here. Prints a table, and fails
if the first method costs more than 1.2 times. The server is that of ENERGY_FORECAST_TEST_DATABASE_URL, a superuser's
URL, or an embedded one; it must run on this machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Connection, Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.postgres import EmbeddedServer

HOURS_A_CITY = 50_000
DEAREST = 1.2
COLUMNS = "city_id, timestamp, consumption_kwh, available_at, interval_minutes"


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    url = os.environ.get("ENERGY_FORECAST_TEST_DATABASE_URL")
    with tempfile.TemporaryDirectory(prefix="ef-") as folder:
        Path(folder).chmod(0o711)
        embedded = None if url else EmbeddedServer(Path(folder) / "server")
        if embedded:
            embedded.start()
        server = url or (embedded.url if embedded else "")
        name = f"audit_{uuid4().hex[:8]}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            worst = _measure(make_conninfo(server, dbname=name), Path(folder) / "rows.bin", rows, repeats)
        finally:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            if embedded:
                embedded.stop()
    if worst > DEAREST:
        sys.exit(f"The audit multiplies the CPU time of a load by {worst:.2f}; the limit is {DEAREST}.")


def _measure(url: str, file: Path, rows: int, repeats: int) -> float:
    upgrade(Database(url))
    with psycopg.connect(url, autocommit=True) as connection:
        _prepare(connection, rows)
        with (
            file.open("wb") as stream,
            connection.cursor().copy(
                f"COPY (SELECT {COLUMNS} FROM staged) TO STDOUT (FORMAT binary)"  # noqa: S608
            ) as copy,
        ):
            for block in copy:
                stream.write(block)
        version = connection.info.server_version // 10000
        print(f"PostgreSQL {version}, {rows:,} rows of consumption, CPU time, best of {repeats}")
        print(f"{'method':20} {'without':>10} {'with':>10} {'ratio':>6} {'wall clock, without and with':>30}")
        ratios = {}
        for label, load in (("INSERT ... SELECT", _insert), ("COPY", _copy)):
            seconds: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
            for _ in range(repeats):
                for audited in (False, True):
                    seconds[audited].append(_run(connection, load, file, audited=audited))
            without, wall_without = map(min, zip(*seconds[False], strict=True))
            audited_best, wall = map(min, zip(*seconds[True], strict=True))
            ratios[label] = audited_best / without
            print(
                f"{label:20} {without:8.2f} s {audited_best:8.2f} s {ratios[label]:6.2f} "
                f"{wall_without:18.1f} s {wall:8.1f} s",
                flush=True,
            )
    return ratios["INSERT ... SELECT"]


def _prepare(connection: Connection, rows: int) -> None:
    cities = -(-rows // HOURS_A_CITY)
    connection.execute(
        "INSERT INTO cities (name, latitude, longitude, timezone)"
        " SELECT 'City ' || n, 50, 10, 'Europe/Berlin' FROM generate_series(1, %s) n",
        (cities,),
    )
    connection.execute(
        "SELECT ensure_month_partitions('energy_consumption', timestamptz '2018-01-01Z',"
        " timestamptz '2018-01-01Z' + make_interval(hours => %s))",
        (HOURS_A_CITY,),
    )
    connection.execute(
        "CREATE UNLOGGED TABLE staged AS SELECT c.id AS city_id, t AS timestamp,"
        " (extract(epoch FROM t)::bigint * 7919 %% 1000003 / 100.0)::numeric(12,2) AS consumption_kwh,"
        " t + interval '1 hour' AS available_at, 60::smallint AS interval_minutes"
        " FROM (SELECT id, row_number() OVER () AS n FROM cities) c, generate_series(timestamptz '2018-01-01Z',"
        " timestamptz '2018-01-01Z' + make_interval(hours => least(%s, %s::integer - %s * (c.n::integer - 1)) - 1),"
        " interval '1 hour') t",
        (HOURS_A_CITY, rows, HOURS_A_CITY),
    )
    connection.execute("GRANT SELECT ON staged TO energy_forecast_ingest")
    connection.execute("ANALYZE staged")
    # Allows the table to be emptied between two loads
    connection.execute("ALTER TABLE energy_consumption DISABLE TRIGGER append_only")
    for (partition,) in connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'energy_consumption'::regclass"
    ).fetchall():
        connection.execute(f"ALTER TABLE {partition} DISABLE TRIGGER through_parent")


def _run(connection: Connection, load: object, file: Path, *, audited: bool) -> tuple[float, float]:
    connection.execute("TRUNCATE energy_consumption")
    connection.execute("CHECKPOINT")
    state = "ENABLE ALWAYS" if audited else "DISABLE"
    connection.execute(f"ALTER TABLE energy_consumption {state} TRIGGER audit_insert")
    start, cpu = time.perf_counter(), _cpu_seconds(connection)
    assert callable(load)
    load(connection, file)
    return _cpu_seconds(connection) - cpu, time.perf_counter() - start


def _cpu_seconds(connection: Connection) -> float:
    """Return the user and system CPU time of a connection's server process on this machine."""
    stat = Path(f"/proc/{connection.info.backend_pid}/stat").read_text()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _insert(connection: Connection, _: Path) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL ROLE energy_forecast_ingest")
        connection.execute(
            f"INSERT INTO energy_consumption ({COLUMNS}) SELECT {COLUMNS} FROM staged ORDER BY city_id, timestamp"  # noqa: S608
        )


def _copy(connection: Connection, file: Path) -> None:
    with (
        file.open("rb") as stream,
        connection.cursor().copy(f"COPY energy_consumption ({COLUMNS}) FROM STDIN (FORMAT binary)") as copy,
    ):
        while block := stream.read(1 << 20):
            copy.write(block)


if __name__ == "__main__":
    main()
