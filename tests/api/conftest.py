"""A real server on a real socket, with two users: Anna sees Berlin, Bert sees Pune. Each has a key for everything."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import urllib3
from psycopg import sql

import energy_forecast as ef
from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.operations import api_keys, users
from servers import CommandLine, Server
from synthetic import frames, write_cities

# The last full hour, at which the data ends
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
FIRST = NOW - timedelta(days=40)


@dataclass(frozen=True)
class Api:
    """A running server, and a client for each user.

    anna, bert: names of the users, by which the keys are found.
    """

    address: str
    process: subprocess.Popen[str]
    database: Database
    anna: str
    bert: str
    keys: dict[str, str]
    line: CommandLine
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=30))

    def get(self, path: str, user: str | None = "anna", **headers: str) -> urllib3.BaseHTTPResponse:
        """Send a GET request with the key of a user, or without one."""
        return self.send("GET", path, user, headers)

    def send(
        self, method: str, path: str, user: str | None = "anna", headers: dict[str, str] | None = None, body: Any = None
    ) -> urllib3.BaseHTTPResponse:
        """Send a request."""
        key = {} if user is None else {"Authorization": f"Bearer {self.keys[user]}"}
        given = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        return self._pool.request(method, self.address + path, headers=key | given, body=body, redirect=False)


@contextmanager
def running(line: CommandLine, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start `serve` on a free port, and yield its address and process; stop it by its process at the end."""
    process = line.start("serve", "--port", "0", *options)
    assert process.stdout is not None
    assert process.stderr is not None
    said = process.stdout.readline()
    found = re.search(r"http://\S+", said)
    assert found is not None, said + process.stderr.read()
    streams = process.stdout, process.stderr
    # A full pipe would stop the server
    readers = [threading.Thread(target=stream.read) for stream in streams]
    for reader in readers:
        reader.start()
    try:
        yield found[0], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(20)
        for reader, stream in zip(readers, streams, strict=True):
            reader.join()
            stream.close()


@contextmanager
def two_users(database: Database) -> Iterator[tuple[str, str]]:
    """Yield two new users, of whom one sees Berlin and the other Pune; remove them at the end."""
    suffix = uuid4().hex[:12]
    names = f"anna_{suffix}", f"bert_{suffix}"
    for name, city in zip(names, ("Berlin", "Pune"), strict=True):
        users.add_user(database, name)
        users.grant(database, name, [city])
    yield names
    for name, city in zip(names, ("Berlin", "Pune"), strict=True):
        users.revoke(database, name, [city])
        # Not remove_user: an upgrade of another database of this server lets another role grant the memberships
        with psycopg.connect(database.url) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def fill(database: Database, folder: Path) -> None:
    """Load two cities with 40 days of load and weather, and weather forecasts; issue and score some forecasts."""
    with ef.connect(database.url) as platform:
        platform.import_cities(write_cities(folder / "cities.csv"))
        consumption, weather = frames(FIRST, NOW)
        platform.ingest("consumption", consumption)
        platform.ingest("weather", weather)
    for hours in (48, 24, 0):
        pipelines.forecast(
            database, at=NOW - timedelta(hours=hours) if hours else None, horizon=timedelta(hours=48), model="naive-168"
        )
    pipelines.score(database)


@pytest.fixture(scope="session")
def api(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Yield a server with data, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("api")
    with server.copy_of(template) as database:
        fill(database, folder)
        with two_users(database) as (anna, bert), started(database, folder, anna, bert) as found:
            yield found


@contextmanager
def started(database: Database, folder: Path, anna: str, bert: str, *options: str) -> Iterator[Api]:
    """Yield a server on a database with two users."""
    line = CommandLine.on(database, folder / "home")
    keys = {
        name: api_keys.create_key(database, user, scopes=["read", "ingest", "run"])[0]
        for name, user in (("anna", anna), ("bert", bert))
    }
    with running(line, "--requests-per-minute", "1000000", *options) as (address, process):
        yield Api(address, process, database, anna, bert, keys, line)


def body(answer: urllib3.BaseHTTPResponse) -> Any:
    """Return the JSON of an answer."""
    return json.loads(answer.data)
