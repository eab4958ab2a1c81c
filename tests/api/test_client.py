"""The Python client: the same tables and errors as a local database, and a key that goes to its server only."""

from __future__ import annotations

import inspect
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal
from psycopg.conninfo import make_conninfo

import energy_forecast as ef
from api.conftest import NOW, Api
from energy_forecast.errors import (
    ConnectionLostError,
    KeyRefusedError,
    NotFoundError,
    NotPermittedError,
    ServerFaultError,
    TooManyRequestsError,
    UnknownCityError,
    UnreachableError,
)
from energy_forecast.operations import api_keys
from energy_forecast.platform.client import Client
from energy_forecast.platform.http_session import HttpSession
from energy_forecast.problems import PROBLEMS
from energy_forecast.readings.catalog import READINGS, Reading
from energy_forecast.settings import settings

Given = tuple[int, dict[str, str], bytes]
KEY = "efp_00000000_" + "k" * 43


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with ef.connect(api.address, key=api.keys["anna"]) as found:
        yield found


@pytest.fixture(scope="module")
def local(api: Api) -> Iterator[ef.Platform]:
    """Yield a platform with the login of the same user."""
    with ef.connect(make_conninfo(api.database.url, user=api.anna)) as found:
        yield found


def requested_run(api: Api) -> str:
    """Return the id of a finished run that Anna requested."""
    with psycopg.connect(api.database.url) as connection:
        row = connection.execute(
            "INSERT INTO ops.run_requests (requested_by, kind, city_ids, parameters, status, started_at, finished_at,"
            " result)"
            " SELECT %s, 'train', ARRAY[id], '{}', 'partial', now(), now(), '{\"failed\": {\"Berlin\": \"No load.\"}}'"
            " FROM cities WHERE name = 'Berlin' RETURNING id::text",
            (api.anna,),
        ).fetchone()
    assert row is not None
    return str(row[0])


def loaded_by_anna(api: Api) -> str:
    """Return a batch of Anna with a rejected row."""
    rows = "city,timestamp,consumption_kwh\nBerlin,soon,1\n"
    answer = api.send("POST", "/v1/ingest/consumption", headers={"Content-Type": "text/csv"}, body=rows)
    return str(json.loads(answer.data)["report"]["batch"])


def arguments_of(reading: Reading, local: ef.Platform, api: Api) -> dict[str, Any]:
    """Return a value for each parameter of a reading that is required, or that its answer depends on."""
    values: dict[str, Callable[[], Any]] = {
        "city": lambda: "Berlin",
        "start": lambda: NOW - timedelta(days=3),
        "end": lambda: NOW + timedelta(days=3),
        "as_of": lambda: datetime.now(UTC),
        "timestamp": lambda: NOW + timedelta(hours=2),
        "run": lambda: local.issued_forecast("Berlin", local.forecasts("Berlin").frame["run_id"][0]).facts["run_id"],
        "request": lambda: requested_run(api),
        "levels": lambda: [0.05, 0.5, 0.95],
        "limit": lambda: 2,
        "score": lambda: local.scores("Berlin")["score_id"][0],
        "model": lambda: "naive-168",
        "purpose": lambda: "replay",
        "batch": lambda: loaded_by_anna(api),
    }
    found = {}
    for name, parameter in inspect.signature(reading.read).parameters.items():
        if name != "connection" and (parameter.default is inspect.Parameter.empty or name in values):
            found[name] = values[name]()
    return found


@pytest.mark.parametrize("reading", READINGS.values(), ids=lambda reading: str(reading.name))
def test_reading_is_that_of_a_local_database(reading: Reading, client: Client, local: ef.Platform, api: Api) -> None:
    """Frames with their types, and facts with theirs."""
    given = arguments_of(reading, local, api)
    here, there = local._read(reading.name, **given), client._read(reading.name, **given)
    assert_frame_equal(there.frame, here.frame)
    assert there.units == here.units
    # The time of the call, unless it is given
    moments = {"next"} if reading.name == "updates" else set() if "as_of" in given else {"as_of"}
    assert {name: value for name, value in there.facts.items() if name not in moments} == {
        name: value for name, value in here.facts.items() if name not in moments
    }


def test_methods_take_text_and_return_frames(client: Client, local: ef.Platform) -> None:
    assert client.cities() == local.cities()
    first = f"{NOW - timedelta(days=2):%Y-%m-%dT%H:%M}+00:00"
    assert client.history("berlin", first).equals(local.history("Berlin", first))
    table = client.consumption("Berlin", first, resolution="day")
    assert table.to_pandas()["consumption_kwh"].sum() == pytest.approx(pl.DataFrame(table)["consumption_kwh"].sum())
    day = table.frame["timestamp"][1].date()
    assert client.consumption("Berlin", day=day).frame.equals(local.consumption("Berlin", day=day).frame)
    pages: list[str] = []
    cursor = None
    while not pages or cursor is not None:
        page = client.forecasts("Berlin", limit=1, cursor=cursor)
        pages += page.frame["run_id"].to_list()
        cursor = page.facts["next"]
    assert pages == local.forecasts("Berlin").frame["run_id"].to_list()


@pytest.mark.parametrize(
    "call",
    [
        lambda db: db.consumption("Pune"),
        lambda db: db.consumption("Berlni"),
        lambda db: db.consumption(".."),
        lambda db: db.consumption("a?b#c%00"),
        lambda db: db.issued_forecast("Berlin", "00000000-0000-4000-8000-000000000000"),
        lambda db: db.consumption("Berlin", "2026-03-02T00:00Z", "2026-03-01T00:00Z"),
        lambda db: db.consumption("Berlin", "2026-03-02T00:00"),
        lambda db: db.live_forecast("Berlin", levels=[0.123]),
        lambda db: db.live_forecast("Berlin", as_of="2001-01-01T00:00Z"),
        lambda db: db.forecasts("Berlin", limit=0),
        lambda db: db.forecasts("Berlin", cursor="x"),
        lambda db: db.consumption(3),
    ],
)
def test_error_is_that_of_a_local_database(
    call: Callable[[ef.Platform | Client], Any], client: Client, local: ef.Platform
) -> None:
    with pytest.raises(ef.EnergyForecastError) as here:
        call(local)
    with pytest.raises(ef.EnergyForecastError) as there:
        call(client)
    assert type(there.value) is type(here.value)
    assert "`from`" not in str(there.value)


def test_history_is_that_of_a_local_database(client: Client, local: ef.Platform) -> None:
    """Also if it is read in parts: `Platform.history` has no longest span."""
    at = NOW - timedelta(hours=1)
    for given in ((), ("1980-01-01T00:00Z",), (NOW - timedelta(days=3),), (NOW - timedelta(days=9), at)):
        assert_frame_equal(client.history("Berlin", *given, as_of=at), local.history("Berlin", *given, as_of=at))
    assert client.history("Berlin").height == local.history("Berlin").height > 900
    assert client.history("Berlin", None, "1990-01-01T00:00Z").height == 0
    for reader in (client, local):
        with pytest.raises(ef.EnergyForecastError, match="`end` must be later than `start`"):
            reader.history("Berlin", NOW, NOW)
        with pytest.raises(ef.EnergyForecastError, match="`as_of` is in the future"):
            reader.history("Berlin", as_of=NOW + timedelta(days=1))


def test_draws_a_forecast(client: Client, local: ef.Platform) -> None:
    """Over HTTP as in this process."""
    chart = client.live_forecast("Berlin").plot()
    assert chart.html == local.live_forecast("Berlin").plot().html
    assert repr(chart) == "<Chart Energy forecast of Berlin; save(path) writes it for a browser>"
    assert chart.html.count("<tr>") >= 48
    for table in (client.consumption("Berlin"), client.matrix()):
        with pytest.raises(ef.EnergyForecastError, match="forecast of one city"):
            table.plot()


def test_city_of_another_user_is_unknown(client: Client) -> None:
    with pytest.raises(UnknownCityError, match="Pune"):
        client.live_forecast("Pune")
    with pytest.raises(NotFoundError):
        client.issued_forecast("Berlin", "00000000-0000-4000-8000-000000000000")


def test_key_is_in_no_text(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    key, _ = api_keys.create_key(api.database, api.anna, scopes=["ingest"])
    caplog.set_level(logging.DEBUG)
    with ef.connect(api.address, key=key) as client, pytest.raises(NotPermittedError) as refused:
        client.cities()
    lost = HttpSession("http://127.0.0.1:1", key, sleep=lambda _: None)
    with pytest.raises(UnreachableError) as unreachable:
        lost.get("/v1/cities", {}, "*/*")
    session = HttpSession(api.address, key)
    texts = [caplog.text, str(refused.value), str(unreachable.value), repr(client), repr(session), repr(vars(session))]
    secret = key.rpartition("_")[2]
    assert not [text for text in texts if secret in text]


def test_refuses_a_wrong_key(api: Api) -> None:
    with ef.connect(api.address, key=KEY) as client, pytest.raises(KeyRefusedError):
        client.cities()
    for key in ("", "a\r\nHost: b", "a b", "ä"):
        with pytest.raises(KeyRefusedError):
            ef.connect(api.address, key=key)


@pytest.mark.parametrize(
    "url",
    [
        "http://energy.example.org",
        "http://10.0.0.1:8000",
        "http://localhost.example.org",
        "http://127.0.0.1@example.org",
        "https://user:word@example.org",
        "https://",
        "https://example.org/?key=1",
        "https://example.org:port",
        "https://exa mple.org",
        "ftp://example.org",
    ],
)
def test_refuses_an_address(url: str) -> None:
    """The key is sent with TLS only, except to this machine."""
    with pytest.raises(ef.EnergyForecastError):
        ef.connect(url, key=KEY)


def test_connecting_sends_nothing() -> None:
    client = ef.connect("https://nothing.invalid/energy/", key=KEY)
    assert repr(client) == "<Client of https://nothing.invalid/energy>"
    client.close()
    with pytest.raises(ef.EnergyForecastError, match="closed"):
        client.cities()


def test_settings_choose_the_server(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_FORECAST_URL", api.address)
    monkeypatch.setenv("ENERGY_FORECAST_KEY", api.keys["bert"])
    settings.cache_clear()
    try:
        with ef.connect() as found:
            assert repr(found) == f"<Client of {api.address}>"
            assert [city.name for city in found.cities()] == ["Pune"]
        assert api.keys["bert"] not in repr(settings())
        with pytest.raises(KeyRefusedError, match="missing"):
            ef.connect("https://other.example.org")
        with pytest.raises(ef.EnergyForecastError, match="exclude"):
            ef.connect(home="x", key=KEY)  # type: ignore[call-overload]
        with pytest.raises(ef.EnergyForecastError, match="HTTP API"):
            ef.connect("postgresql://db.example.org/energy", key=KEY)
    finally:
        monkeypatch.undo()
        settings.cache_clear()


class Answers:
    """A server that gives the answers of a list, and keeps the requests. None closes the connection."""

    def __init__(self, answers: list[Given | None]) -> None:
        self.answers = answers
        self.requests: list[tuple[str, str, dict[str, str]]] = []


@contextmanager
def answering(*answers: Given | None) -> Iterator[tuple[str, Answers]]:
    """Yield the address of a server with these answers, for faults that the real one does not have on demand."""
    state = Answers(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.requests.append((self.command, self.path, dict(self.headers)))
            answer = state.answers.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


BUSY: Given = (503, {"Retry-After": "7"}, b"")
GOOD: Given = (200, {}, b"{}")


def session_of(url: str, pauses: list[float]) -> HttpSession:
    return HttpSession(url, KEY, sleep=pauses.append)


def test_repeats_a_request_that_changes_nothing() -> None:
    pauses: list[float] = []
    with answering(BUSY, None, (502, {}, b"<html>"), GOOD) as (url, server):
        session = session_of(url, pauses)
        assert session.get("/v1/cities", {"a": "ü&"}, "application/json").json() == {}
        session.close()
    assert [request[:2] for request in server.requests] == [("GET", "/v1/cities?a=%C3%BC%26")] * 4
    assert 7 <= pauses[0] < 8
    assert 1 <= pauses[1] <= 1.5
    assert 2 <= pauses[2] <= 3


def test_repeats_a_load_only_with_its_key() -> None:
    pauses: list[float] = []
    with answering(BUSY, BUSY, GOOD) as (url, server):
        session = session_of(url, pauses)
        with pytest.raises(ConnectionLostError):
            session.post("/v1/ingest/weather", {}, b"a", media_type="text/csv")
        assert not pauses
        session.post("/v1/ingest/weather", {}, b"a", media_type="text/csv", idempotency_key="1")
        session.close()
    assert [headers.get("Idempotency-Key") for *_, headers in server.requests] == [None, "1", "1"]


def test_gives_up_after_four_attempts_or_a_long_wait() -> None:
    pauses: list[float] = []
    slow = (429, {"Retry-After": "3600"}, json.dumps(problem("too-many-requests")).encode())
    with answering(BUSY, BUSY, BUSY, BUSY, slow) as (url, server):
        session = session_of(url, pauses)
        with pytest.raises(ConnectionLostError):
            session.get("/", {}, "*/*")
        assert (len(server.requests), len(pauses)) == (4, 3)
        with pytest.raises(TooManyRequestsError, match=r"\(request|Enough"):
            session.get("/", {}, "*/*")
        assert len(pauses) == 3
        session.close()


def test_does_not_follow_redirects() -> None:
    """A redirect to another server would show it the key."""
    with answering(GOOD) as (other, theirs), answering((302, {"Location": f"{other}/v1/cities"}, b"")) as (url, ours):
        session = session_of(url, [])
        with pytest.raises(ef.EnergyForecastError, match="redirects"):
            session.get("/v1/cities", {}, "*/*")
        session.close()
    assert (len(ours.requests), theirs.requests) == (1, [])


def test_goes_through_a_proxy_with_tls_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy sees the name of the server, and not the key."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def refuse() -> None:
        for _ in range(4):
            connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=refuse)
    thread.start()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with answering(GOOD) as (url, server):
        session_of(url, []).get("/", {}, "*/*")
        assert len(server.requests) == 1
    with pytest.raises(UnreachableError):
        session_of("https://energy.example.org", []).get("/v1/cities", {}, "*/*")
    thread.join(10)
    listener.close()
    assert all(text.startswith(b"CONNECT energy.example.org:443 ") for text in seen)
    assert not any(KEY.encode() in text for text in seen)


def problem(name: str) -> dict[str, Any]:
    kind = PROBLEMS[name]
    return {
        "type": kind.type,
        "status": kind.status,
        "detail": "Enough.",
        "hint": "`from` is wrong.",
        "request_id": "9",
    }


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_its_error(name: str) -> None:
    with answering(*[(PROBLEMS[name].status, {}, json.dumps(problem(name)).encode())] * 4) as (url, _):
        session = session_of(url, [])
        with pytest.raises(ef.EnergyForecastError) as caught:
            session.get("/", {}, "*/*")
        session.close()
    assert type(caught.value) is PROBLEMS[name].error
    assert caught.value.hint == "`start` is wrong."


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((401, {}, b"<html>"), KeyRefusedError),
        ((404, {}, b'{"detail": 1}'), ef.EnergyForecastError),
        ((500, {}, b"[]"), ServerFaultError),
        ((200, {"Content-Type": "text/html"}, b"<html>"), ServerFaultError),
        (
            (200, {"Content-Type": "application/vnd.apache.arrow.stream", "Energy-Forecast-Facts": "{}"}, b"x"),
            ServerFaultError,
        ),
    ],
)
def test_other_answers_are_errors(answer: Given, error: type[ef.EnergyForecastError]) -> None:
    """As those of a proxy, or of another server at this address."""
    with answering(answer) as (url, _), ef.connect(url, key=KEY) as client, pytest.raises(error):
        client.cities()
