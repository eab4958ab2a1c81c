"""The pool of a platform: transactions share sessions, and nothing of one reaches the next."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest

from energy_forecast.database import Database, Role
from energy_forecast.database import standby as standbys
from energy_forecast.errors import DatabaseError, EnergyForecastError
from energy_forecast.platform.platform import Platform
from sessions import left_behind
from synthetic import CITIES, frames

SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'energy-forecast'"
)
LAST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def pooled(database: Database) -> Iterator[Database]:
    """Yield the database with a pool."""
    made = database.pooled()
    yield made
    made.close()


def backend(database: Database) -> int:
    with database.transaction(None) as connection:
        return connection.info.backend_pid


def count(database: Database) -> int:
    with psycopg.connect(database.url) as connection:
        row = connection.execute(SESSIONS).fetchone()
    assert row is not None
    return int(row[0])


def state(pooled: Database) -> list[str]:
    with pooled._session() as connection:
        return left_behind(connection)


def test_calls_leave_nothing_in_the_session(database: Database) -> None:
    """A call of the ingest role must not make the next caller that role."""
    first = LAST - timedelta(days=40)
    consumption, weather = frames(first, LAST)
    with Platform(database) as platform:
        pooled = platform._reading()
        for name, (latitude, longitude, zone, country, _) in CITIES.items():
            platform.add_city(name, latitude=latitude, longitude=longitude, timezone=zone, country=country)
            assert state(pooled) == []
        one = backend(pooled)
        calls: list[Callable[[], object]] = [
            lambda: platform.ingest("consumption", consumption),
            lambda: platform.ingest("weather", weather),
            lambda: platform.ingest("consumption", consumption.head(20).with_columns(pl.col("consumption_kwh") + 1)),
            lambda: platform.ingest("consumption", consumption.head(2).with_columns(city=pl.lit("Nowhere"))),
            lambda: platform.train(models="naive-168"),
            lambda: platform.forecast("Berlin", model="naive-168", horizon="24h"),
            lambda: platform.forecast("Berlin", model="naive-168", horizon="24h", at=LAST - timedelta(days=3)),
            lambda: platform.forecast("Nowhere"),
            lambda: platform.backtest("naive-168", start=LAST - timedelta(days=3), end=LAST - timedelta(days=2)),
            platform.score,
            platform.scores,
            platform.cities,
            lambda: platform.history("Berlin"),
        ]
        for call in calls:
            with suppress(EnergyForecastError):
                call()
            assert state(pooled) == []
        assert platform.scores("Berlin", purpose="backtest").height > 0
        assert backend(pooled) == one
    until = time.monotonic() + 10
    while count(database) > 0:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_failed_and_interrupted_transactions_leave_nothing(pooled: Database) -> None:
    for role in (*Role, None):
        with pytest.raises(DatabaseError), pooled.transaction(role) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(1); SELECT 1 / 0")
        assert state(pooled) == []
    with pooled.transaction(Role.INGEST, trial=True) as connection:
        connection.execute("CREATE TEMP TABLE tried (x integer)")
    assert state(pooled) == []
    with suppress(KeyboardInterrupt), pooled.transaction(Role.INGEST) as connection:
        connection.execute("CREATE TEMP TABLE half (x integer) ON COMMIT DROP")
        with connection.cursor().copy("COPY half FROM STDIN") as copy:
            copy.write_row([1])
            raise KeyboardInterrupt
    with pooled.reading() as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT FROM half")
    assert state(pooled) == []


def test_a_session_that_the_server_ended_is_replaced(pooled: Database, database: Database) -> None:
    one = backend(pooled)
    assert backend(pooled) == one
    with psycopg.connect(database.url) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [one])
    assert backend(pooled) != one


def test_threads_share_at_most_ten_sessions(pooled: Database, database: Database) -> None:
    counts: list[int] = []

    def work() -> None:
        for _ in range(5):
            with pooled.transaction(Role.FORECASTER) as connection:
                connection.execute("SELECT pg_sleep(0.01)")
                counts.append(count(database))

    threads = [threading.Thread(target=work) for _ in range(14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 70
    assert 1 < max(counts) <= 10


def test_other_processes_and_other_logins_do_not_use_it(pooled: Database) -> None:
    """A session that two processes use is broken, and one of another login has the rights of another."""
    one = backend(pooled)
    assert pickle.loads(pickle.dumps(pooled)) == pooled
    for other in (pickle.loads(pickle.dumps(pooled)), pooled.administrator, replace(pooled, login="x")):
        assert other._pool is None
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            status = int(backend(pooled) == one)
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend(pooled) == one


def test_a_write_of_another_thread_does_not_break_a_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first write ends the use of the standby, even while a read asks for its lag."""

    def write_meanwhile(_: Database) -> standbys.Lag:
        thread = threading.Thread(
            target=platform.add_city, args=("Pune",), kwargs={"latitude": 18, "longitude": 73, "timezone": "UTC"}
        )
        thread.start()
        thread.join()
        return standbys.Lag("x", None, 0.0, 0)

    monkeypatch.setattr("energy_forecast.platform.platform.reading_lag", write_meanwhile)
    with Platform(database, Database(database.url)) as platform:
        assert [city.name for city in platform.cities()] == ["Pune"]
