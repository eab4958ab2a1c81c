"""Requested runs over HTTP: of the user's cities only, once for a key, and their status and result."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import energy_forecast as ef
from api.conftest import Api, body, fill, started, two_users
from energy_forecast.errors import NotFoundError, TimedOutError, UnknownCityError, UnknownModelError
from energy_forecast.operations import api_keys, users
from servers import Server

JSON = {"Content_Type": "application/json"}


@pytest.fixture(scope="module")
def busy(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Yield a server whose runs change its database."""
    folder = tmp_path_factory.mktemp("runs")
    with server.copy_of(template) as database:
        fill(database, folder)
        with two_users(database) as (anna, bert), started(database, folder, anna, bert) as found:
            yield found


def ask(api: Api, wanted: dict[str, Any], user: str = "anna", key: str | None = None) -> Any:
    headers = JSON | ({} if key is None else {"Idempotency_Key": key})
    return api.send("POST", "/v1/runs", user, headers, json.dumps(wanted).encode())


def finished(api: Api, path: str) -> dict[str, Any]:
    """Return the request when it has ended."""
    for _ in range(1200):
        found: dict[str, Any] = body(api.get(path))
        if found["finished_at"] is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def test_requested_forecast_is_in_use_afterwards(busy: Api) -> None:
    answer = ask(busy, {"kind": "forecast", "cities": ["berlin"], "model": "naive-24", "horizon": "24h"})
    assert answer.status == 202, answer.data
    found = finished(busy, answer.headers["Location"])
    assert found["status"] == "succeeded", found
    forecast = body(busy.get("/v1/cities/Berlin/forecast"))
    assert found["result"]["runs"] == [forecast["run_id"]]
    assert len(forecast["columns"]["timestamp"]) == 24
    assert body(busy.get("/v1/run-requests"))["columns"]["request"][0] == found["request"]


def test_others_do_not_see_a_request(busy: Api) -> None:
    path = ask(busy, {"kind": "score"}).headers["Location"]
    assert busy.get(path, "bert").status == 404
    assert body(busy.get("/v1/run-requests", "bert"))["columns"]["request"] == []
    assert finished(busy, path)["status"] == "succeeded"


def test_same_key_is_one_request(busy: Api) -> None:
    first, again = (ask(busy, {"kind": "score"}, key="monday") for _ in range(2))
    assert body(first) == body(again)
    assert ask(busy, {"kind": "score"}, key="monday", user="bert").status == 202
    assert ask(busy, {"kind": "train", "models": ["naive-24"]}, key="monday").status == 409


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"kind": "forecast", "cities": ["Pune"]}, 404),
        ({"kind": "forecast", "cities": ["Nowhere"]}, 404),
        ({"kind": "backtest"}, 422),
        ({"kind": "forecast", "horizon": "200h"}, 422),
        ({"kind": "forecast", "horizon": 48}, 422),
        ({"kind": "forecast", "model": "oracle"}, 404),
        ({"kind": "score", "model": "naive-24"}, 422),
        ({"kind": "train", "cities": "Berlin"}, 422),
        ({"kind": "train", "other": 1}, 422),
        ({"kind": "train", "cities": ["\x00"]}, 404),
        ([], 422),
    ],
)
def test_refuses_other_requests(busy: Api, wanted: Any, status: int) -> None:
    assert ask(busy, wanted).status == status, ask(busy, wanted).data


@pytest.mark.parametrize(
    "sent", [b"", b"{", b"\xff", b'{"kind": NaN}', b"[" * 90_000, b'{"kind": "train", "x": 1e400}']
)
def test_refuses_a_body_that_is_no_json(busy: Api, sent: bytes) -> None:
    assert busy.send("POST", "/v1/runs", headers=JSON, body=sent).status == 422


def test_refuses_a_large_body(busy: Api) -> None:
    sent = json.dumps({"kind": "train", "models": ["x" * 5_000_000]}).encode()
    assert busy.send("POST", "/v1/runs", headers=JSON, body=sent).status == 413


def test_needs_the_scope(busy: Api) -> None:
    key, _ = api_keys.create_key(busy.database, busy.anna, scopes=["read", "ingest"])
    headers = JSON | {"Authorization": f"Bearer {key}"}
    assert busy.send("POST", "/v1/runs", None, headers, b'{"kind": "score"}').status == 403
    assert busy.send("POST", "/v1/runs", None, JSON, b'{"kind": "score"}').status == 401


def test_interrupted_run_is_marked_by_the_next_server(server: Server, template: str, tmp_path: Path) -> None:
    """A killed server leaves no process that continues; the next one marks the run, and runs the following ones."""
    with server.copy_of(template) as database:
        fill(database, tmp_path)
        with two_users(database) as (anna, bert):
            with started(database, tmp_path, anna, bert) as doomed:
                path = ask(doomed, {"kind": "train", "models": ["ensemble"]}).headers["Location"]
                following = ask(doomed, {"kind": "score"}).headers["Location"]
                for _ in range(600):
                    if body(doomed.get(path))["status"] == "running":
                        break
                    time.sleep(0.05)
                doomed.process.kill()
                doomed.process.wait()
            with started(database, tmp_path, anna, bert) as again:
                found = finished(again, path)
                assert found["status"] == "failed"
                assert "Request the run again" in found["result"]["error"]
                assert finished(again, following)["status"] == "succeeded"


def test_client_requests_runs_and_waits(busy: Api) -> None:
    with ef.connect(busy.address, key=busy.keys["anna"]) as client:
        forecast = client.forecast("berlin", horizon="36h", model="naive-168")
        assert (forecast.facts["model"], len(forecast)) == ("naive-168", 36)
        assert forecast.frame.equals(client.live_forecast("Berlin").frame)
        trained = client.train(models="naive-24")
        assert [one["city"] for one in trained.facts["result"]["trained"]] == ["Berlin"]
        assert client.score("Berlin").facts["status"] == "succeeded"
        request = client.own_requests().frame["request"][0]
        assert client.wait(request, timeout="1min").facts["kind"] == "score"
        with pytest.raises(UnknownCityError):
            client.forecast("Pune")
        with pytest.raises(UnknownModelError):
            client.train(models="oracle")
        with pytest.raises(NotFoundError):
            client.wait("00000000-0000-4000-8000-000000000000")


def test_client_waits_no_longer_than_it_is_told(busy: Api) -> None:
    """The run continues."""
    with ef.connect(busy.address, key=busy.keys["anna"]) as client:
        with pytest.raises(TimedOutError, match="continues"):
            client.train(models="ensemble", timeout=timedelta(milliseconds=1))
        request = client.own_requests().frame["request"][0]
        assert client.wait(request).facts["result"]["trained"]


def test_client_reports_a_failed_run(busy: Api) -> None:
    with ef.connect(busy.database.url) as platform:
        platform.add_city("Ulm", latitude=48.4, longitude=10, timezone="Europe/Berlin")
    users.grant(busy.database, busy.anna, ["Ulm"])
    with (
        ef.connect(busy.address, key=busy.keys["anna"]) as client,
        pytest.raises(ef.EnergyForecastError, match=r"failed: .*Ulm"),
    ):
        client.forecast("Ulm")
    users.revoke(busy.database, busy.anna, ["Ulm"])
