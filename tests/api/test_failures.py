"""Requests while PostgreSQL or the server is killed, through a pooler, and on a restored copy."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import urllib3
from psycopg.conninfo import make_conninfo

import energy_forecast as ef
from api.conftest import Api, body, running, two_users
from energy_forecast.database import API_LOGIN, LOGIN
from energy_forecast.operations import api_keys
from energy_forecast.postgres import EmbeddedServer
from servers import CommandLine, Server
from sessions import left_behind, pooler

PATHS = ("/v1/cities", "/v1/cities/Berlin/forecast", "/v1/cities/Berlin/consumption")


@contextmanager
def reading_clients(address: str, key: str) -> Iterator[list[tuple[int, bool]]]:
    """Send requests from four threads; yield the statuses, 0 if refused, and whether with Retry-After."""
    found: list[tuple[int, bool]] = []
    stopped = threading.Event()

    def work(path: str) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=30)
        while not stopped.is_set():
            try:
                answer = pool.request("GET", address + path, headers={"Authorization": f"Bearer {key}"})
                found.append((answer.status, "Retry-After" in answer.headers))
            except urllib3.exceptions.HTTPError:
                found.append((0, False))

    threads = [threading.Thread(target=work, args=(PATHS[n % len(PATHS)],)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def wait_for(found: list[tuple[int, bool]], status: int, count: int = 20) -> None:
    """Wait for a number of further answers with a status."""
    begin, until = len(found), time.monotonic() + 60
    while [one for one, _ in found[begin:]].count(status) < count:
        assert time.monotonic() < until, found[-20:]
        time.sleep(0.02)


def test_server_continues_after_postgresql_is_killed(open_folder: Path) -> None:
    """Clients get 503 with Retry-After while it is away, and the pool recovers without a restart of the server."""
    home = open_folder / "killed"
    line = CommandLine({"ENERGY_FORECAST_HOME": str(home)})
    line.process("db", "up")
    embedded = EmbeddedServer(home)
    try:
        line.process(
            "city", "add", "Berlin", "--latitude", "52.5", "--longitude", "13.4", "--timezone", "Europe/Berlin"
        )
        line.process("user", "add", "anna")
        line.process("user", "grant", "anna", "--city", "Berlin")
        key = line.process("key", "create", "anna").stdout.strip()
        with running(line, "--requests-per-minute", "1000000") as (address, process):
            with reading_clients(address, key) as found:
                wait_for(found, 200)
                # One killed session makes PostgreSQL end all sessions and start again
                victim = psycopg.connect(embedded.url)
                os.kill(victim.info.backend_pid, signal.SIGKILL)
                victim.close()
                wait_for(found, 200)
                pid = embedded.status().pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                wait_for(found, 503, 3)
                line.process("db", "up")
                wait_for(found, 200)
            assert process.poll() is None
            assert {status for status, _ in found} <= {200, 404, 503}
            assert all(has_retry for status, has_retry in found if status == 503)
    finally:
        embedded.stop()


def test_killed_server_leaves_nothing_and_starts_again(api: Api, tmp_path: Path) -> None:
    line = CommandLine.on(api.database, tmp_path / "home")
    with running(line) as (address, process), reading_clients(address, api.keys["anna"]) as found:
        wait_for(found, 200)
        process.kill()
        process.wait(20)
        wait_for(found, 0, 3)
        with running(line, "--port", address.rpartition(":")[2]) as (again, _):
            assert again == address
            wait_for(found, 200)
    assert {status for status, _ in found} <= {200, 0}


def test_users_share_a_session_of_a_pooler(api: Api, tmp_path: Path) -> None:
    """A role, a time limit or a name of one request never reaches the next."""
    wrong: list[object] = []
    with pooler(api.database, sessions=1, users=(API_LOGIN, LOGIN)) as bouncer:
        line = CommandLine.on(bouncer, tmp_path / "home")
        with running(line, "--requests-per-minute", "1000000") as (address, _):

            def work(user: str, city: str) -> None:
                own = replace(api, address=address)
                for path in ("/v1/cities", "/v1/cities/Nowhere/weather") * 20:
                    answer = own.get(path, user)
                    if answer.status != 404 and body(answer)["columns"]["city"] != [city]:
                        wrong.append((user, answer.status, answer.data))

            threads = [
                threading.Thread(target=work, args=one)
                for one in (("anna", "Berlin"), ("bert", "Pune"))
                for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert wrong == []
            with psycopg.connect(make_conninfo(bouncer.url, user=API_LOGIN), prepare_threshold=None) as other:
                assert left_behind(other) == []


def test_refuses_a_login_with_more_rights(api: Api) -> None:
    """The login of the commands could act as the operator, who sees every city."""
    line = CommandLine(api.line.environment | {"ENERGY_FORECAST_API_URL": api.database.url})
    done = line.process("serve", "--port", "0", status=1)
    assert "energy_forecast_operator" in done.stderr
    assert "ENERGY_FORECAST_API_URL" in done.stderr


def test_listens_on_this_machine_only(api: Api) -> None:
    done = api.line.process("serve", "--host", "0.0.0.0", "--port", "0", status=1)
    assert "--behind-proxy" in done.stderr


def test_restored_copy_is_read_only(server: Server, template: str, tmp_path: Path) -> None:
    """Reads are answered; loads are refused, since they would be lost or double."""
    with server.copy_of(template) as database:
        with ef.connect(database.url) as platform:
            platform.add_city("Berlin", latitude=52.5, longitude=13.4, timezone="Europe/Berlin")
            platform.add_city("Pune", latitude=18.5, longitude=73.9, timezone="Asia/Kolkata")
        with two_users(database) as (anna, _):
            key, _ = api_keys.create_key(database, anna, scopes=["read", "ingest"])
            with psycopg.connect(database.url) as connection:
                connection.execute("INSERT INTO ops.restored_copies (source, target) VALUES ('test', 'test')")
            with running(CommandLine.on(database, tmp_path / "home")) as (address, _process):
                pool = urllib3.PoolManager(retries=False, timeout=30)
                headers = {"Authorization": f"Bearer {key}"}
                assert pool.request("GET", f"{address}/v1/cities", headers=headers).status == 200
                rows = b"city,timestamp,consumption_kwh\nBerlin,2026-03-01T00:00Z,1\n"
                refused = pool.request(
                    "POST",
                    f"{address}/v1/ingest/consumption",
                    headers=headers | {"Content-Type": "text/csv"},
                    body=rows,
                )
                assert (refused.status, body(refused)["type"]) == (503, "/problems/read-only")
