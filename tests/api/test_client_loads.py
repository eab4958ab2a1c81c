"""Loads by the Python client: the same rows, reports and errors as on a local database, and each load once."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest

import energy_forecast as ef
from api.conftest import Api, started, two_users
from energy_forecast.errors import IngestError, NotPermittedError
from energy_forecast.operations import api_keys
from servers import Server
from synthetic import write_cities

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
COUNTS = ("read", "inserted", "corrected", "unchanged", "rejected")


@pytest.fixture(scope="module")
def empty(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Yield a server on a database with two cities without data. Each test loads a month of its own."""
    tmp_path = tmp_path_factory.mktemp("loads")
    with server.copy_of(template) as database:
        with ef.connect(database.url) as platform:
            platform.import_cities(write_cities(tmp_path / "cities.csv"))
        with two_users(database) as (anna, bert), started(database, tmp_path, anna, bert) as found:
            yield found


def rows(count: int, city: str = "Berlin", *, first: datetime = FIRST) -> pl.DataFrame:
    hours = [first + timedelta(hours=hour) for hour in range(count)]
    return pl.DataFrame({"timestamp": hours}).select(
        pl.lit(city).alias("city"), "timestamp", pl.lit(1.5).alias("consumption_kwh")
    )


def counts(report: Any) -> list[int]:
    return [getattr(report, name) for name in COUNTS]


def test_loads_frames_and_files(empty: Api, tmp_path: Path) -> None:
    """The counts of each load are those of the same load on a local database."""
    frame = rows(48)
    text = frame.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%MZ")).write_csv().encode()
    (tmp_path / "a.csv").write_bytes(text)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text))
    frame.write_parquet(tmp_path / "a.parquet")
    local = frame.with_columns(pl.col("timestamp").dt.convert_time_zone("Europe/Berlin"))
    with ef.connect(empty.address, key=empty.keys["anna"]) as client:
        first = client.ingest("consumption", frame)
        assert counts(first) == [48, 48, 0, 0, 0]
        assert first.touched == (("Berlin", FIRST, FIRST + timedelta(hours=47)),)
        for source in (frame, local, frame.to_pandas(), frame.to_arrow(), *sorted(tmp_path.glob("a.*"))):
            assert counts(client.ingest("consumption", source)) == [48, 0, 0, 48, 0]
        with ef.connect(empty.database.url) as platform:
            assert counts(platform.ingest("consumption", frame)) == [48, 0, 0, 48, 0]
        table = client.consumption("Berlin", FIRST, FIRST + timedelta(days=2))
        assert table.frame["consumption_kwh"].to_list() == frame["consumption_kwh"].to_list()


def test_options_are_those_of_a_local_load(empty: Api) -> None:
    first = datetime(2025, 12, 5, tzinfo=UTC)
    ends = rows(24, first=first).with_columns(pl.col("timestamp").dt.replace_time_zone(None) + timedelta(hours=2))
    with ef.connect(empty.address, key=empty.keys["anna"]) as client:
        client.ingest("consumption", ends, timezone="city", label="end", units={"energy": "MWh"}, interval_minutes=60)
        found = client.consumption("Berlin", first, first + timedelta(days=1)).frame
    assert found["timestamp"][0] == first
    assert found["consumption_kwh"].to_list() == [1500.0] * 24


def test_reports_rejected_rows(empty: Api) -> None:
    """Rows of the city of another user are those of an unknown city."""
    first = datetime(2025, 11, 5, tzinfo=UTC)
    with ef.connect(empty.address, key=empty.keys["anna"]) as client:
        report = client.ingest("consumption", pl.concat([rows(3, first=first), rows(2, "Pune")]))
        assert counts(report) == [5, 3, 0, 0, 2]
        assert [reason.count for reason in report.reasons] == [2]
        assert "Pune" in str(report.rejected_examples[0])
        with pytest.raises(IngestError, match="No row can be used"):
            client.ingest("consumption", rows(2, "Pune"))


def test_errors_are_those_of_a_local_load(empty: Api, tmp_path: Path) -> None:
    key, _ = api_keys.create_key(empty.database, empty.anna, scopes=["read"])
    with ef.connect(empty.address, key=empty.keys["anna"]) as client:
        for dataset, source in (
            ("loads", rows(1)),
            ("consumption", tmp_path / "none.csv"),
            ("consumption", tmp_path),
            ("consumption", rows(1).drop("city")),
            ("consumption", pl.DataFrame({"city": [object()]})),
        ):
            with pytest.raises(IngestError):
                client.ingest(dataset, source)
    with ef.connect(empty.address, key=key) as reader, pytest.raises(NotPermittedError):
        reader.ingest("consumption", rows(1))


@contextmanager
def losing_first_answer(address: str) -> Iterator[str]:
    """Yield the address of a proxy that closes the first connection when the server has answered."""
    target = urlsplit(address)
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket, *, is_lost: bool) -> None:
        while data := source.recv(65536):
            if is_lost:
                break
            sink.sendall(data)
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def serve() -> None:
        for number in range(2):
            inner, _ = listener.accept()
            outer = socket.create_connection((str(target.hostname), int(target.port or 80)))
            pumps = [
                threading.Thread(target=pump, args=(inner, outer), kwargs={"is_lost": False}),
                threading.Thread(target=pump, args=(outer, inner), kwargs={"is_lost": number == 0}),
            ]
            for one in pumps:
                one.start()
            for one in pumps:
                one.join()
            inner.close()
            outer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(30)
        listener.close()


def test_repeated_request_loads_once(empty: Api) -> None:
    """The report is that of the load, not of a second one that would find all rows unchanged."""
    with losing_first_answer(empty.address) as address, ef.connect(address, key=empty.keys["anna"]) as client:
        report = client.ingest("consumption", rows(5, first=datetime(2025, 10, 5, tzinfo=UTC)))
    assert counts(report) == [5, 5, 0, 0, 0]
