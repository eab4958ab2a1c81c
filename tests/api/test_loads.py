"""Loads over HTTP: the same rules as for files, for the cities of the user only, and each request once."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
import urllib3

from api.conftest import Api, body, started, two_users
from energy_forecast.operations import api_keys
from servers import Server
from synthetic import write_cities

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
LOAD = "/v1/ingest/consumption"
CSV = {"Content_Type": "text/csv"}
JSON = {"Content_Type": "application/json"}


@pytest.fixture(scope="module")
def empty(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Yield a server on a database with two cities without data."""
    import energy_forecast as ef

    folder = tmp_path_factory.mktemp("loads")
    with server.copy_of(template) as database:
        with ef.connect(database.url) as platform:
            platform.import_cities(write_cities(folder / "cities.csv"))
        with two_users(database) as (anna, bert), started(database, folder, anna, bert) as found:
            yield found


def rows(first: datetime, count: int, city: str = "Berlin", value: float = 1.5) -> pl.DataFrame:
    hours = [first + timedelta(hours=hour) for hour in range(count)]
    return pl.DataFrame({"timestamp": hours}).select(
        pl.lit(city).alias("city"), "timestamp", pl.lit(value).alias("consumption_kwh")
    )


def csv(frame: pl.DataFrame) -> bytes:
    return frame.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%MZ")).write_csv().encode()


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def arrow(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()


def as_json(frame: pl.DataFrame) -> bytes:
    texts = frame.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%MZ"))
    return json.dumps({"columns": texts.to_dict(as_series=False)}).encode()


def as_rows(frame: pl.DataFrame) -> bytes:
    return json.dumps(frame.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%MZ")).to_dicts()).encode()


def counts(report: dict[str, Any]) -> list[int]:
    return [report[name] for name in ("read", "inserted", "corrected", "unchanged", "rejected")]


def batches(api: Api) -> int:
    with psycopg.connect(api.database.url) as connection:
        found = connection.execute("SELECT count(*) FROM ops.ingest_batches WHERE kind = 'consumption'").fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize(
    ("place", "media_type", "encode"),
    [
        (0, "text/csv", csv),
        (1, "text/csv; charset=utf-8", csv),
        (2, "application/gzip", lambda frame: gzip.compress(csv(frame))),
        (3, "application/vnd.apache.parquet", parquet),
        (4, "application/vnd.apache.arrow.stream", arrow),
        (5, "application/json", as_json),
        (6, "application/json", as_rows),
    ],
)
def test_loads_each_format_and_again_nothing(empty: Api, place: int, media_type: str, encode: Any) -> None:
    sent = encode(rows(FIRST + timedelta(days=10 * place), 48))
    answer = empty.send("POST", LOAD, headers={"Content-Type": media_type}, body=sent)
    assert (answer.status, counts(body(answer))) == (201, [48, 48, 0, 0, 0]), answer.data
    assert answer.headers["Location"] == f"/v1/batches/{body(answer)['batch']}"
    again = body(empty.send("POST", LOAD, headers={"Content-Type": media_type}, body=sent))
    assert counts(again) == [48, 0, 0, 48, 0]


def test_compressed_csv_is_one_with_content_encoding(empty: Api) -> None:
    sent = gzip.compress(csv(rows(FIRST - timedelta(days=10), 24)))
    answer = empty.send("POST", LOAD, headers={**CSV, "Content_Encoding": "gzip"}, body=sent)
    assert counts(body(answer)) == [24, 24, 0, 0, 0]


def test_rows_of_other_cities_are_those_of_unknown_ones(empty: Api) -> None:
    """The answers differ in the name only, so a user cannot probe for cities; and nothing of them is stored."""
    reports: list[dict[str, Any]] = []
    for name in ("Pune", "Nowh"):
        frame = pl.concat([rows(FIRST, 3, name), rows(FIRST - timedelta(days=30), 3, value=len(reports) + 1.0)])
        answer = empty.send("POST", LOAD, headers=CSV, body=csv(frame))
        assert answer.status == 201
        reports.append(body(answer))
    assert [report["rejected"] for report in reports] == [3, 3]
    assert "an operator adds and grants cities" in reports[0]["reasons"][0]["reason"]
    shown = [json.dumps([one["reasons"], one["notes"], one["rejected_examples"]]) for one in reports]
    assert shown[0].replace("Pune", "Nowh").replace("body", "") == shown[1].replace("body", "") or (
        "Pune" in shown[0] and "did you mean" not in shown[0]
    )
    alone = empty.send("POST", LOAD, headers=CSV, body=csv(rows(FIRST, 3, "Pune")))
    assert (alone.status, body(alone)["type"]) == (422, "/problems/data-refused")
    assert body(alone)["report"]["rejected"] == 3
    with psycopg.connect(empty.database.url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM energy_consumption e JOIN cities c ON c.id = e.city_id WHERE c.name = 'Pune'"
        ).fetchone()
    assert found == (0,)


def test_same_key_loads_once(empty: Api) -> None:
    sent = csv(rows(FIRST - timedelta(days=60), 5))
    headers = {**CSV, "Idempotency_Key": "monday"}
    first = empty.send("POST", LOAD, headers=headers, body=sent)
    before = batches(empty)
    again = empty.send("POST", LOAD, headers=headers, body=sent)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert body(again)["batch"] == body(first)["batch"]
    assert batches(empty) == before
    other = empty.send("POST", LOAD, headers=headers, body=sent + b"\n")
    assert (other.status, body(other)["type"]) == (409, "/problems/conflict")
    assert empty.send("POST", f"{LOAD}?timezone=UTC", headers=headers, body=sent).status == 409
    assert empty.send("POST", LOAD, "bert", headers, sent).status == 422, "the keys of others do not matter"


def test_same_key_at_the_same_time_loads_once(empty: Api) -> None:
    sent = csv(rows(FIRST - timedelta(days=90), 400))
    answers: list[urllib3.BaseHTTPResponse] = []
    before = batches(empty)

    def send() -> None:
        answers.append(empty.send("POST", LOAD, headers={**CSV, "Idempotency_Key": "tuesday"}, body=sent))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {201}
    assert len({body(answer)["batch"] for answer in answers}) == 1
    assert batches(empty) == before + 1


BODIES: list[tuple[bytes, str, int]] = [
    (b"", "text/csv", 422),
    (b"city,timestamp\nBerlin,2026-01-01T00:00Z\n", "text/csv", 422),
    (b"city,timestamp,consumption_kwh\nBerlin,2026-01-01T00:00,1\n", "text/csv", 422),
    (b"city,timestamp,consumption_kwh\nBerlin,1999-99-01T00:00Z,1\n", "text/csv", 422),
    (b"city,timestamp,consumption_kwh\nBerlin,2026-01-01T00:00Z,NaN\n", "text/csv", 422),
    (b"\xff\xfe\x00", "text/csv", 422),
    (b"PK\x03\x04", "text/csv", 422),
    (gzip.compress(b"x" * 50_000_000), "application/gzip", 422),
    (gzip.compress(b"city,timestamp,consumption_kwh\n")[:-9], "application/gzip", 422),
    (parquet(rows(FIRST, 9))[:-20], "application/vnd.apache.parquet", 422),
    (b"PAR1", "application/vnd.apache.parquet", 422),
    (arrow(rows(FIRST, 9))[:-200], "application/vnd.apache.arrow.stream", 422),
    (b"\xff\xff\xff\xff", "application/vnd.apache.arrow.stream", 422),
    (b"{", "application/json", 422),
    (b"[" * 100_000, "application/json", 422),
    (b'{"columns": {"city": [NaN]}}', "application/json", 422),
    (
        b'{"columns": {"city": ["Berlin"], "timestamp": ["\\ud800"], "consumption_kwh": [1]}}',
        "application/json",
        422,
    ),
    (
        b'{"columns": {"city": ["Ber\\u0000lin"], "timestamp": [1], "consumption_kwh": [1]}}',
        "application/json",
        422,
    ),
    (
        b'{"columns": {"city": ["Berlin"], "timestamp": ["2026-01-01T00:00Z"], "consumption_kwh": [1e400]}}',
        "application/json",
        422,
    ),
    (b'{"columns": {"city": [{}], "timestamp": [1], "consumption_kwh": [1]}}', "application/json", 422),
    (b'{"columns": {"city": ["Berlin"], "timestamp": []}}', "application/json", 422),
    (b"3", "application/json", 422),
    (b'[{"city": 1}, 2]', "application/json", 422),
    (b'{"columns": {"city": [1' + b"0" * 4000 + b"]}}", "application/json", 422),
    (b"a", "text/plain", 415),
    (b"a", "", 415),
]


# Numbers as ids: compressed bytes differ between the processes of a test run
@pytest.mark.parametrize(("sent", "media_type", "status"), BODIES, ids=range(len(BODIES)))
def test_refuses_other_bodies(empty: Api, sent: bytes, media_type: str, status: int) -> None:
    before = facts(empty)
    answer = empty.send("POST", LOAD, headers={"Content-Type": media_type}, body=sent)
    assert answer.status == status, answer.data
    assert body(answer)["detail"]
    assert facts(empty) == before
    assert empty.get("/v1/cities").status == 200


def facts(api: Api) -> object:
    with psycopg.connect(api.database.url) as connection:
        return connection.execute("SELECT count(*), sum(consumption_kwh) FROM energy_consumption").fetchone()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("timezone=Mars", 422),
        ("interval_minutes=7", 422),
        ("interval_minutes=x", 422),
        ("label=middle", 422),
        ("units=energy=parsec", 422),
        ("other=1", 422),
    ],
)
def test_refuses_other_options(empty: Api, query: str, status: int) -> None:
    assert empty.send("POST", f"{LOAD}?{query}", headers=CSV, body=csv(rows(FIRST, 2))).status == status


def test_needs_the_scope_and_a_known_dataset(empty: Api) -> None:
    key, _ = api_keys.create_key(empty.database, empty.anna, scopes=["read"])
    headers = {**CSV, "Authorization": f"Bearer {key}"}
    assert empty.send("POST", LOAD, None, headers, csv(rows(FIRST, 2))).status == 403
    assert empty.send("POST", LOAD, None, CSV, csv(rows(FIRST, 2))).status == 401
    assert empty.send("POST", "/v1/ingest/cities", headers=CSV, body=b"x").status == 422


def test_names_the_person_behind_a_load(empty: Api) -> None:
    """By the transaction of the audited changes, which the login of the platform made."""
    answer = empty.send(
        "POST", LOAD, headers={**CSV, "X_Request_ID": "audit-1"}, body=csv(rows(FIRST - timedelta(days=99), 5))
    )
    with psycopg.connect(empty.database.url) as connection:
        found = connection.execute(
            "SELECT l.user_name, l.key_prefix, l.request_id FROM ops.http_loads l"
            " JOIN ops.ingest_batches b ON b.id = l.batch_id"
            " JOIN audit_log a ON a.timestamp = b.created_at AND a.table_name = 'energy_consumption'"
            " WHERE l.batch_id = %s",
            (body(answer)["batch"],),
        ).fetchall()
    assert found == [(empty.anna, empty.keys["anna"][:12], "audit-1")]


def test_body_that_ends_early_loads_nothing(empty: Api) -> None:
    before = facts(empty)
    host, port = empty.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            f"POST {LOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {empty.keys['anna']}\r\n"
            "Content-Type: text/csv\r\nContent-Length: 1000\r\n\r\ncity,timestamp,consumption_kwh\n".encode()
        )
    assert empty.get("/v1/cities").status == 200
    assert facts(empty) == before


def test_killed_server_leaves_no_body_and_a_retry_loads_once(empty: Api, tmp_path: Path) -> None:
    with started(empty.database, tmp_path, empty.anna, empty.bert) as doomed:
        host, port = doomed.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(
                f"POST {LOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {doomed.keys['anna']}\r\n"
                "Content-Type: text/csv\r\nContent-Length: 1000\r\n\r\ncity,timestamp,consumption_kwh\n".encode()
            )
            home = tmp_path / "home" / "http-loads"
            for _ in range(200):
                if list(home.glob("*/*/*")):
                    break
                threading.Event().wait(0.05)
            assert list(home.glob("*/*/*"))
            os.kill(doomed.process.pid, signal.SIGKILL)
            doomed.process.wait()
    with started(empty.database, tmp_path, empty.anna, empty.bert) as again:
        assert not list(home.glob("*/*/*"))
        sent = csv(rows(FIRST - timedelta(days=120), 5))
        assert again.send("POST", LOAD, headers={**CSV, "Idempotency_Key": "kill"}, body=sent).status == 201
