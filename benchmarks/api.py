r"""Measure the HTTP API, each speed compared with a reference in the same run, alternating.

    .venv/bin/python benchmarks/api.py [--cities 317] [--times 300] [--seconds 60] [--rows 1000000] [--only live,matrix]

A server of its own, `energy-forecast serve`, on a database of its own with live forecasts of 48 hours and 19 quantiles;
client, server and PostgreSQL share the machine.

live     the live forecast of a city as JSON by one client, compared with its query by psycopg in one transaction; and
         the answer 304 to a client that knows it
matrix   the forecasts of all cities in one request (Arrow, JSON), compared with one request for each city
year     a year of hours with 19 quantiles as JSON and Arrow, compared with a pydantic response model, in this process
mixed    8 clients with mixed reads, compared with an empty endpoint of the same framework; errors, memory of the server
load     a load of rows from Parquet by POST, compared with `ingest` of the same file, each into a database of its own
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import measuring
import numpy as np
import polars as pl
import psycopg
from measuring import percentile
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from energy_forecast.database import Database, Role
from energy_forecast.database.forecasts import NewForecast, NewRun, add_runs, ensure_partitions
from energy_forecast.database.named_queries import queries
from energy_forecast.operations import api_keys, users

PARTS = ("live", "matrix", "year", "mixed", "load")
LEVELS = [round(0.05 * n, 2) for n in range(1, 20)]
HOURS = 48
ARROW = "application/vnd.apache.arrow.stream"
EMPTY_APP = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
def empty():
    return {}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
"""


@dataclass(frozen=True)
class Server:
    """A running server, a key and its user."""

    host: str
    port: int
    key: str
    user: str
    pid: int
    url: str

    def connection(self) -> http.client.HTTPConnection:
        """Return an open connection."""
        found = http.client.HTTPConnection(self.host, self.port, timeout=120)
        found.connect()
        return found

    def get(self, connection: http.client.HTTPConnection, path: str, **headers: str) -> tuple[int, bytes, str]:
        """Send a request, and return the status, the body and the entity tag."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"} | named)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers.get("ETag", "")


@contextmanager
def started(url: str, home: Path) -> Iterator[Server]:
    """Yield a server on a database, with a user who sees all cities; stop it at the end."""
    database, user = Database(url), f"bench_{uuid4().hex[:10]}"
    users.add_user(database, user)
    users.grant(database, user, [])
    key, _ = api_keys.create_key(database, user, scopes=["read", "ingest"])
    program = Path(sys.executable).with_name("energy-forecast")
    process = subprocess.Popen(
        [program, "serve", "--port", "0", "--requests-per-minute", "1000000"],
        env=environment(url, home),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://([\d.]+):(\d+)", process.stdout.readline())
        assert found is not None
        yield Server(found[1], int(found[2]), key, user, process.pid, url)
    finally:
        process.terminate()
        process.wait(30)
        users.remove_user(database, user)
        with psycopg.connect(url) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))


def environment(url: str, home: Path) -> dict[str, str]:
    """Return the environment of a command on a database."""
    parts = conninfo_to_dict(url)
    plain = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts.get('port') or 5432}"
    return os.environ | {"ENERGY_FORECAST_DATABASE_URL": plain, "ENERGY_FORECAST_HOME": str(home)}


def fill(url: str, cities: int) -> None:
    """Store a live forecast of each city, and a month of load."""
    database, rng = Database(url), np.random.default_rng(0)
    now = datetime.now(UTC)
    first = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO cities (name, latitude, longitude, timezone)"
            " SELECT 'City ' || n, 50, 8, 'Europe/Berlin' FROM generate_series(1, %s) n",
            (cities,),
        )
        ids: list[UUID] = [one for (one,) in connection.execute("SELECT id FROM cities ORDER BY name")]
        model = uuid4()
        connection.execute(
            "INSERT INTO models (id, name, type, version, trained_until, parameters)"
            " VALUES (%s, 'ensemble', 'ensemble', '1', now(), '{}')",
            (model,),
        )
        connection.execute(
            "INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)"
            " SELECT %s, id, '', sha256(''), sha256(''), '{}' FROM cities",
            (model,),
        )
        connection.execute("SELECT ensure_month_partitions('energy_consumption', now() - interval '31 days', now())")
        connection.execute(
            "INSERT INTO energy_consumption (id, city_id, timestamp, consumption_kwh, available_at, interval_minutes)"
            " SELECT gen_random_uuid(), c.id, t, 1000, t + interval '1 hour', 60 FROM cities c, generate_series("
            " date_trunc('hour', now()) - interval '30 days', date_trunc('hour', now()) - interval '2 hours',"
            " '1 hour') t"
        )
    forecasts = []
    for city in ids:
        predicted = rng.uniform(500, 900, HOURS).round(2)
        columns = {f"q{int(100 * level):02}": predicted * (0.8 + 0.4 * level) for level in LEVELS}
        times = [first + timedelta(hours=hour) for hour in range(HOURS)]
        forecasts.append(NewForecast(city, pl.DataFrame({"timestamp": times, "predicted": predicted, **columns})))
    with database.transaction(Role.FORECASTER) as connection:
        ensure_partitions(connection, first=now, last=now)
    with database.transaction(Role.FORECASTER) as connection:
        issued = connection.execute("SELECT now()").fetchone()
        assert issued is not None
        add_runs(
            connection,
            [
                NewRun(
                    model_id=model,
                    purpose="live",
                    issued_at=issued[0],
                    horizon=timedelta(hours=HOURS),
                    weather="none",
                    quantile_levels=LEVELS,
                    started_at=issued[0],
                    finished_at=issued[0],
                    forecasts=forecasts,
                )
            ],
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


def took(work: Callable[[], object]) -> float:
    """Return the milliseconds of some work."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def row(work: str, reference: str, goal: str, reached: float, unit: str, note: str = "") -> dict[str, object]:
    """Return a line of the results."""
    return {"work": work, "reference": reference, "goal": goal, "reached": f"{reached:.3g}", "unit": unit, "note": note}


def live(server: Server, cities: int, times: int) -> list[dict[str, object]]:
    """Measure the live forecast of one city after the other."""
    database = Database(server.url).pooled()
    client = server.connection()
    query = queries("readings")["served_forecast"]

    def by_psycopg(name: str) -> None:
        parameters = {"name": name, "as_of": None, "model": None}
        with database.request(lambda _: server.user, name="benchmark", seconds=30) as connection:
            connection.execute(query, parameters).fetchall()

    def path(name: str) -> str:
        return f"/v1/cities/{name.replace(' ', '%20')}/forecast"

    ours: list[float] = []
    reference: list[float] = []
    known: list[float] = []
    for number in range(times + 20):
        name = f"City {number % cities + 1}"
        # Each first, to fill the caches of both
        milliseconds = took(lambda name=name: server.get(client, path(name)))  # type: ignore[misc]
        _, _, tag = server.get(client, path(name))
        again = took(lambda name=name, tag=tag: server.get(client, path(name), If_None_Match=tag))  # type: ignore[misc]
        alone = took(lambda name=name: by_psycopg(name))  # type: ignore[misc]
        if number >= 20:
            ours.append(milliseconds)
            known.append(again)
            reference.append(alone)
    database.close()
    median, least = statistics.median(ours), statistics.median(reference)
    return [
        row(
            "live forecast, p50", f"its query by psycopg, {least:.2f} ms", "3x", median / least, "x", f"{median:.2f} ms"
        ),
        row("live forecast, p95", "", "20 ms", percentile(ours, 0.95), "ms"),
        row("live forecast that is known, 304, p50", "", "5 ms", statistics.median(known), "ms"),
    ]


def matrix(server: Server, cities: int) -> list[dict[str, object]]:
    """Measure the forecasts of all cities in one request, and one by one."""
    client = server.connection()
    found: dict[str, list[float]] = {"arrow": [], "json": [], "single": []}
    for _ in range(8):
        for kind, accept in (("arrow", ARROW), ("json", "application/json")):
            status, body, _ = 0, b"", ""

            def ask(accept: str = accept) -> None:
                nonlocal status, body
                status, body, _ = server.get(client, "/v1/forecasts", Accept=accept)

            found[kind].append(took(ask))
            assert status == 200, body
            if kind == "arrow":
                assert pl.read_ipc_stream(body).height == cities * HOURS
        found["single"].append(
            took(lambda: [server.get(client, f"/v1/cities/City%20{n + 1}/forecast") for n in range(cities)])
        )
    single = statistics.median(found["single"])
    reference = f"{cities} requests of one city, {single:,.0f} ms"
    return [
        row(f"{cities} cities in one request, Arrow", reference, "300 ms", statistics.median(found["arrow"]), "ms"),
        row(f"{cities} cities in one request, JSON", reference, "1000 ms", statistics.median(found["json"]), "ms"),
    ]


def year() -> list[dict[str, object]]:
    """Measure the encoding of a year of hours with 19 quantiles."""
    from pydantic import BaseModel

    from energy_forecast.api.formats import FORMATS
    from energy_forecast.tables import Table

    class Row(BaseModel):
        timestamp: datetime
        predicted: float
        quantiles: list[float]

    class Answer(BaseModel):
        rows: list[Row]

    hours = 8760
    rng = np.random.default_rng(0)
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(hours)]
    quantiles = np.sort(rng.uniform(500, 900, (hours, 19)), axis=1)
    columns = {f"q{int(100 * level):02}": quantiles[:, place] for place, level in enumerate(LEVELS)}
    table = Table(pl.DataFrame({"timestamp": times, "predicted": quantiles[:, 9], **columns}))
    values = [
        {"timestamp": at, "predicted": float(one[9]), "quantiles": one.tolist()}
        for at, one in zip(times, quantiles, strict=True)
    ]
    ways: dict[str, Callable[[], object]] = {
        "pydantic": lambda: Answer.model_validate({"rows": values}).model_dump_json(),
        "json": lambda: FORMATS["json"].encode(table),
        "arrow": lambda: FORMATS["arrow"].encode(table),
    }
    found = {name: [took(way) for _ in range(15)] for name, way in ways.items()}
    least = {name: min(times) for name, times in found.items()}
    reference = f"pydantic response model, {least['pydantic']:.1f} ms"
    return [
        row(
            "a year of quantiles, JSON",
            reference,
            "0.25x",
            least["json"] / least["pydantic"],
            "x",
            f"{least['json']:.2f} ms",
        ),
        row(
            "a year of quantiles, Arrow",
            reference,
            "0.02x",
            least["arrow"] / least["pydantic"],
            "x",
            f"{least['arrow']:.2f} ms",
        ),
    ]


def memory(pid: int) -> float:
    """Return the resident memory of a process, MiB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def rate(ask: Callable[[int], Callable[[], int]], clients: int, seconds: float) -> tuple[float, int]:
    """Return the requests a second of some clients, and the number of errors.

    Args:
        ask: makes a client, which sends a request and returns its status.
    """
    counts, errors = [0] * clients, [0] * clients
    end = time.perf_counter() + seconds

    def run(number: int) -> None:
        send = ask(number)
        while time.perf_counter() < end:
            errors[number] += send() != 200
            counts[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds, sum(errors)


def mixed(server: Server, cities: int, seconds: float) -> list[dict[str, object]]:
    """Measure 8 clients with mixed reads, and an empty endpoint."""
    since = f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%dT%H:%MZ}"
    paths = ("forecast", f"consumption?from={since}", "forecasts?limit=10", "peaks", "forecast?levels=0.05,0.5,0.95")

    def reader(number: int) -> Callable[[], int]:
        client, state = server.connection(), [number]

        def send() -> int:
            state[0] += 1
            name, path = state[0] * 7 % cities + 1, paths[state[0] % len(paths)]
            return server.get(client, f"/v1/cities/City%20{name}/{path}")[0]

        return send

    port = free_port()
    empty = subprocess.Popen([sys.executable, "-c", EMPTY_APP, str(port)])
    try:
        while True:
            try:
                http.client.HTTPConnection("127.0.0.1", port).connect()
                break
            except OSError:
                time.sleep(0.1)

        def nothing(_: int) -> Callable[[], int]:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

            def send() -> int:
                client.request("GET", "/")
                answer = client.getresponse()
                answer.read()
                return answer.status

            return send

        rate(reader, 8, min(5, seconds))
        before = memory(server.pid)
        ours, errors = rate(reader, 8, seconds)
        after = memory(server.pid)
        reference, _ = rate(nothing, 8, min(15, seconds))
    finally:
        empty.terminate()
        empty.wait()
    note = f"{ours:.0f} a second, {errors} errors, memory {before:.0f} to {after:.0f} MiB"
    return [
        row(
            "8 clients, mixed reads",
            f"an empty endpoint, {reference:.0f} a second",
            "0.4x",
            ours / reference,
            "x",
            note,
        )
    ]


def free_port() -> int:
    """Return a free port of this machine."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def load(url: str, rows: int, folder: Path) -> list[dict[str, object]]:
    """Measure a load by POST and by the command, each into new databases, alternating."""
    cities = 100
    first = datetime(2024, 1, 1, tzinfo=UTC)
    hours = rows // cities
    frame = pl.DataFrame({"city": [f"City {n + 1}" for n in range(cities)]}).join(
        pl.DataFrame({"timestamp": [first + timedelta(hours=hour) for hour in range(hours)]}), how="cross"
    )
    noise = np.random.default_rng(0).uniform(500, 900, frame.height).round(2)
    path = folder / "load.parquet"
    frame.with_columns(consumption_kwh=noise).write_parquet(path)
    found: dict[str, list[float]] = {"post": [], "ingest": []}
    for _ in range(3):
        with measuring.database(url) as target:
            name_cities(target, cities)
            with started(target, folder / "home") as server:
                client = server.connection()

                def post(client: http.client.HTTPConnection = client, server: Server = server) -> None:
                    with path.open("rb") as body:
                        client.request(
                            "POST",
                            "/v1/ingest/consumption",
                            body,
                            {
                                "Authorization": f"Bearer {server.key}",
                                "Content-Type": "application/vnd.apache.parquet",
                                "Content-Length": str(path.stat().st_size),
                            },
                        )
                        answer = client.getresponse()
                        report = json.loads(answer.read())
                    assert report["inserted"] == frame.height, report

                found["post"].append(took(post) / 1000)
        with measuring.database(url) as target:
            name_cities(target, cities)
            program = Path(sys.executable).with_name("energy-forecast")
            command = [program, "ingest", "consumption", path, "--json"]
            found["ingest"].append(
                took(
                    lambda command=command, target=target: subprocess.run(  # type: ignore[misc]
                        command, env=environment(target, folder / "home"), check=True, stdout=subprocess.DEVNULL
                    )
                )
                / 1000
            )
    post_seconds, seconds = (statistics.median(found[way]) for way in ("post", "ingest"))
    return [
        row(
            f"load of {frame.height:,} rows by POST, Parquet",
            f"ingest of the same file, {seconds:.1f} s",
            "1.2x",
            post_seconds / seconds,
            "x",
            f"{post_seconds:.1f} s",
        )
    ]


def name_cities(url: str, cities: int) -> None:
    """Store cities without data."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO cities (name, latitude, longitude, timezone)"
            " SELECT 'City ' || n, 50, 8, 'Europe/Berlin' FROM generate_series(1, %s) n",
            (cities,),
        )


def main() -> None:
    """Run the benchmarks, print and store their results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cities", type=int, default=317)
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    parts = options.only.split(",")
    rows: list[dict[str, object]] = []
    with measuring.server() as url, tempfile.TemporaryDirectory(prefix="ef-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        if {"live", "matrix", "mixed"} & set(parts):
            with measuring.database(url) as target:
                fill(target, options.cities)
                with started(target, folder / "home") as server:
                    rows += live(server, options.cities, options.times) if "live" in parts else []
                    rows += matrix(server, options.cities) if "matrix" in parts else []
                    rows += mixed(server, options.cities, options.seconds) if "mixed" in parts else []
        rows += year() if "year" in parts else []
        rows += load(url, options.rows, folder) if "load" in parts else []
    print(f"{'work':48}{'reference':52}{'goal':>9}{'reached':>9}  note")
    for one in rows:
        print(
            f"{one['work']:48}{one['reference']:52}{one['goal']:>9}{one['reached']:>7} {one['unit']:2}  {one['note']}"
        )
    record_path = measuring.record("api", rows)
    print(f"Stored: {record_path}")


if __name__ == "__main__":
    main()
