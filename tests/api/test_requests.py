"""What holds for every request: keys, rights, formats, versions, problems and ids."""

from __future__ import annotations

import io
import json
import socket
from datetime import timedelta

import polars as pl
import psycopg
import pytest

from api.conftest import NOW, Api, body, running
from energy_forecast.api.server import listen
from energy_forecast.operations import api_keys, users
from energy_forecast.problems import PROBLEMS
from energy_forecast.readings.catalog import READINGS

LOAD = f"/v1/cities/Berlin/consumption?from={NOW - timedelta(days=2):%Y-%m-%dT%H:%MZ}&to={NOW:%Y-%m-%dT%H:%MZ}"


def test_user_sees_their_cities_only(api: Api) -> None:
    assert body(api.get("/v1/cities"))["columns"]["city"] == ["Berlin"]
    assert body(api.get("/v1/cities", "bert"))["columns"]["city"] == ["Pune"]
    theirs, missing = (body(api.get(f"/v1/cities/{name}/consumption")) for name in ("Pune", "Nowhere"))
    assert theirs["status"] == missing["status"] == 404
    assert theirs["detail"].replace("Pune", "Nowhere") == missing["detail"], "or a user could probe for names"


@pytest.mark.parametrize("scheme", ["Basic", "bearer", "BEARER", ""])
def test_key_is_a_bearer_token(api: Api, scheme: str) -> None:
    answer = api.get("/v1/cities", None, Authorization=f"{scheme} {api.keys['anna']}")
    assert answer.status == (200 if scheme.lower() == "bearer" else 401)


@pytest.mark.parametrize("key", [None, "", "efp_00000000_" + "0" * 43, "x" * 5000, "efp_\x80"])
def test_refuses_other_keys(api: Api, key: str | None) -> None:
    answer = api.get("/v1/cities", None, **({} if key is None else {"Authorization": f"Bearer {key}"}))
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert body(answer)["type"] == "/problems/key-refused"


def test_no_header_chooses_the_role(api: Api) -> None:
    for name in ("Role", "X-Role", "X-User", "X-Forwarded-User", "Prefer", "Accept-Profile"):
        answer = api.get("/v1/cities", "anna", **{name: "energy_forecast_operator"})
        assert body(answer)["columns"]["city"] == ["Berlin"]


def test_revoked_key_is_refused_at_once(api: Api) -> None:
    key, stored = api_keys.create_key(api.database, api.anna, scopes=["read"])
    assert api.get("/v1/cities", None, Authorization=f"Bearer {key}").status == 200
    api_keys.revoke_key(api.database, stored.prefix)
    answer = api.get("/v1/cities", None, Authorization=f"Bearer {key}")
    assert (answer.status, "revoked" in body(answer)["detail"]) == (401, True)


def test_rotated_key_and_its_successor_are_both_valid(api: Api) -> None:
    key, _ = api_keys.create_key(api.database, api.anna, scopes=["read"], label="notebook")
    new, stored, old = api_keys.rotate_key(api.database, key, overlap=timedelta(hours=1))
    assert (stored.label, stored.scopes) == ("notebook", ["read"])
    assert old.expires_at is not None
    for one in (key, new):
        assert api.get("/v1/cities", None, Authorization=f"Bearer {one}").status == 200


def test_expired_key_is_refused(api: Api) -> None:
    key, _ = api_keys.create_key(api.database, api.anna, scopes=["read"], expires=timedelta(seconds=1))
    with psycopg.connect(api.database.url) as connection:
        connection.execute("SELECT pg_sleep(1.1)")
    assert api.get("/v1/cities", None, Authorization=f"Bearer {key}").status == 401


def test_key_of_a_removed_user_is_refused(api: Api) -> None:
    users.add_user(api.database, name := f"gone_{api.anna[5:]}")
    key, _ = api_keys.create_key(api.database, name, scopes=["read"])
    assert api.get("/v1/cities", None, Authorization=f"Bearer {key}").status == 200
    users.remove_user(api.database, name)
    with psycopg.connect(api.database.url) as connection:
        connection.execute(f"DROP ROLE {name}".encode())
    assert api.get("/v1/cities", None, Authorization=f"Bearer {key}").status == 401


def test_key_without_the_scope_may_not_read(api: Api) -> None:
    key, _ = api_keys.create_key(api.database, api.anna, scopes=["ingest"])
    answer = api.get("/v1/cities", None, Authorization=f"Bearer {key}")
    assert (answer.status, body(answer)["type"]) == (403, "/problems/not-permitted")


def test_formats_have_the_same_rows(api: Api) -> None:
    columns = body(api.get(LOAD))["columns"]
    rows = body(api.get(f"{LOAD}&shape=rows"))["rows"]
    assert len(rows) == len(columns["timestamp"]) == 48
    assert columns["timestamp"][0].endswith("Z")
    arrow = pl.read_ipc_stream(api.get(LOAD, Accept="application/vnd.apache.arrow.stream").data)
    parquet = pl.read_parquet(io.BytesIO(api.get(f"{LOAD}&format=parquet").data))
    csv = pl.read_csv(api.get(LOAD, Accept="text/csv").data)
    assert arrow.equals(parquet)
    assert arrow["consumption_kwh"].to_list() == columns["consumption_kwh"] == csv["consumption_kwh"].to_list()
    assert [row["timestamp"] for row in rows] == columns["timestamp"] == csv["timestamp"].to_list()
    facts = json.loads(api.get(f"{LOAD}&format=csv").headers["Energy-Forecast-Facts"])
    assert (facts["city"], facts["units"]["consumption_kwh"]) == ("Berlin", "kWh")


@pytest.mark.parametrize(
    ("accept", "status"),
    [("text/html", 406), ("*/*", 200), ("text/*;q=0.1, application/json", 200), ("application/json;q=0", 406)],
)
def test_accept_chooses_the_format(api: Api, accept: str, status: int) -> None:
    assert api.get("/v1/cities", Accept=accept).status == status


def test_answer_that_is_known_is_not_sent_again(api: Api) -> None:
    first = api.get(LOAD)
    again = api.get(LOAD, If_None_Match=first.headers["ETag"])
    assert (again.status, again.data) == (304, b"")
    assert api.get(f"{LOAD}&format=csv", If_None_Match=first.headers["ETag"]).status == 200


def test_large_answer_is_compressed(api: Api) -> None:
    assert api.get(LOAD, Accept_Encoding="gzip").headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-03-01T00:00",
        "from=2026-03-01T00:00+01:00",
        "from=1969-01-01T00:00Z",
        "from=9999-01-01T00:00Z",
        "from=1700000000",
        "from=x",
        "from=",
        "from=%00",
        "from=%ff",
        "from=2026-03-02T00:00Z&to=2026-03-01T00:00Z",
        "from=1971-01-01T00:00Z",
        "from=2026-03-01T00:00Z&from=2026-03-02T00:00Z",
        "unknown=1",
        "From=2026-03-01T00:00Z",
        "format=xml",
        "shape=cube",
        "%ed%a0%80=1",
    ],
)
def test_refuses_an_invalid_parameter(api: Api, query: str) -> None:
    answer = api.get(f"/v1/cities/Berlin/consumption?{query}")
    assert answer.status in {422, 406}, answer.data
    assert body(answer)["detail"]
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["%00", "%ed%a0%80", "x" * 5000, "..%2f..", "%F0%9F%98%80", "';--"])
def test_refuses_an_unknown_city(api: Api, name: str) -> None:
    assert api.get(f"/v1/cities/{name}/consumption").status in {404, 422}


@pytest.mark.parametrize(("length", "status"), [(60_000, 422), (70_000, 400)])
def test_refuses_a_long_address(api: Api, length: int, status: int) -> None:
    """The library of HTTP refuses the longest itself, and the server continues."""
    assert api.get(f"/v1/cities?x={'x' * length}").status == status
    assert api.get("/v1/cities").status == 200


def test_other_methods_and_paths_are_problems(api: Api) -> None:
    wrong = api.send("DELETE", "/v1/cities")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET")
    for path in ("/v1/nothing", "/v1/cities/", "/v2/cities", "//v1/cities"):
        assert body(api.get(path))["type"] == "/problems/not-found", path


def test_head_has_no_body(api: Api) -> None:
    answer = api.send("HEAD", "/v1/cities")
    assert (answer.status, answer.data) == (200, b"")
    assert answer.headers["ETag"]


def test_connections_send_without_delay() -> None:
    """Otherwise each answer takes 40 ms longer: its end waits until the client has acknowledged its beginning."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_request_has_an_id(api: Api) -> None:
    assert api.get("/v1/cities", X_Request_ID="morning-1").headers["X-Request-ID"] == "morning-1"
    assert api.get("/v1/cities", X_Request_ID="two words").headers["X-Request-ID"] != "two words"


def test_every_problem_has_a_page(api: Api) -> None:
    for problem in PROBLEMS.values():
        page = api.get(problem.type, None)
        assert page.status == 200
        assert problem.title in page.data.decode()
    assert api.get("/problems/none", None).status == 404


def test_description_lists_every_reading(api: Api) -> None:
    """With an example for each parameter, and offline: the page loads nothing."""
    document = body(api.get("/openapi.json", None))
    assert document["openapi"].startswith("3.1")
    assert {one["operationId"] for path in document["paths"].values() for one in path.values()} >= set(READINGS)
    for path in document["paths"].values():
        for operation in path.values():
            assert all(one["description"] for one in operation.get("parameters", []))
    page = api.get("/docs", None).data.decode()
    assert "src=" not in page
    assert "http://" not in page.replace("http://127.0.0.1:8000", "")
    for reading in READINGS.values():
        assert f"GET {reading.path}" in page


def test_probes_need_no_key(api: Api) -> None:
    assert api.get("/healthz", None).status == api.get("/readyz", None).status == 200
    assert api.get("/metrics", None).status == 401
    text = api.get("/metrics").data.decode()
    assert 'energy_forecast_http_requests_total{method="GET",route="/v1/cities",status="200"}' in text


def test_limits_wrong_keys_and_requests(api: Api) -> None:
    """Wrong keys do not stop valid ones of the same address, which may be that of a proxy."""
    with running(api.line, "--requests-per-minute", "5") as (address, _):
        other = Api(address, api.process, api.database, api.anna, api.bert, api.keys, api.line)
        wrong = [other.get("/v1/cities", None, Authorization=f"Bearer efp_00000000_{n:043}").status for n in range(60)]
        assert wrong[0] == 401
        assert wrong[-1] == 429
        statuses = [other.get("/v1/cities").status for _ in range(12)]
        assert statuses[0] == 200
        assert 429 in statuses
        assert other.get("/v1/cities").headers["Retry-After"]
