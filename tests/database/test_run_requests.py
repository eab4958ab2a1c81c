"""Runs that users request: only of their cities, once for a key, one after the other, and none is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

import energy_forecast as ef
from energy_forecast import pipelines
from energy_forecast.database import Database, Role
from energy_forecast.database.cities import city_named
from energy_forecast.database.connection import Connection
from energy_forecast.database.run_requests import request_run, run_request, runner_lock, start_next
from energy_forecast.errors import ConflictError, DatabaseError, TooManyRequestsError
from energy_forecast.operations import users
from energy_forecast.pipelines.run_requests import run_next
from synthetic import frames, write_cities

Asking: TypeAlias = Callable[[], AbstractContextManager[Connection]]


@pytest.fixture
def asking(database: Database, tmp_path: Path) -> Iterator[Asking]:
    """Yield a context manager with a transaction of a user who sees Berlin only. Pune exists too."""
    name = f"anna_{uuid4().hex[:12]}"
    with ef.connect(database.url) as platform:
        platform.import_cities(write_cities(tmp_path / "cities.csv"))
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        consumption, _ = frames(now - timedelta(days=30), now)
        platform.ingest("consumption", consumption)
        platform.add_city("Ulm", latitude=48.4, longitude=10, timezone="Europe/Berlin")
    users.add_user(database, name)
    users.grant(database, name, ["Berlin"])

    @contextmanager
    def as_user() -> Iterator[Connection]:
        with psycopg.connect(database.url) as connection:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(name)))
            yield connection

    yield as_user
    users.remove_user(database, name)
    with psycopg.connect(database.url) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def ids(database: Database, *names: str) -> list[UUID]:
    with database.transaction(Role.FORECASTER) as connection:
        return [city_named(connection, name).id for name in names]


def ask(asking: Asking, cities: list[UUID], key: str | None = None, kind: str = "forecast") -> UUID:
    with asking() as connection:
        return request_run(connection, kind=kind, cities=cities, parameters={"horizon_hours": 24}, key=key)


def status(asking: Asking, request: UUID) -> tuple[str, Any]:
    with asking() as connection:
        found = run_request(connection, request)
    assert found is not None
    return found["status"], found["result"]


def test_forecasts_the_requested_city(database: Database, asking: Asking) -> None:
    request = ask(asking, ids(database, "Berlin"))
    assert status(asking, request) == ("waiting", None)
    assert run_next(database)
    state, result = status(asking, request)
    assert (state, result["failed"]) == ("succeeded", {}), result
    with database.transaction(Role.FORECASTER) as connection:
        stored = connection.execute(
            "SELECT r.id::text FROM forecast_runs r JOIN prediction_vintages v ON v.run_id = r.id"
            " JOIN cities c ON c.id = v.city_id WHERE c.name = 'Berlin'"
        ).fetchall()
    assert result["runs"] == [run for (run,) in stored]
    assert not run_next(database)


def test_refuses_a_city_of_others(database: Database, asking: Asking) -> None:
    for cities in (ids(database, "Pune"), ids(database, "Berlin", "Pune"), [uuid4()]):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, DatabaseError), match="not granted"):
            ask(asking, cities)
    assert not run_next(database)


def test_leaves_out_a_city_that_was_revoked_meanwhile(database: Database, asking: Asking) -> None:
    request = ask(asking, ids(database, "Berlin"))
    with database.transaction(Role.OPERATOR) as connection:
        connection.execute("DELETE FROM user_city_access")
    assert run_next(database)
    state, result = status(asking, request)
    assert state == "failed"
    assert "granted" in result["error"]


def test_same_key_is_one_request(database: Database, asking: Asking) -> None:
    berlin = ids(database, "Berlin")
    assert ask(asking, berlin, "monday") == ask(asking, berlin, "monday")
    assert ask(asking, berlin) != ask(asking, berlin)
    with pytest.raises(ConflictError):
        ask(asking, berlin, "monday", kind="train")


def test_limits_the_open_requests_of_a_user(database: Database, asking: Asking) -> None:
    berlin = ids(database, "Berlin")
    for _ in range(20):
        ask(asking, berlin)
    with pytest.raises(TooManyRequestsError):
        ask(asking, berlin)


def test_others_do_not_see_a_request(database: Database, asking: Asking) -> None:
    request = ask(asking, ids(database, "Berlin"))
    other = f"bert_{uuid4().hex[:12]}"
    users.add_user(database, other)
    try:
        with psycopg.connect(database.url) as connection:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(other)))
            assert run_request(connection, request) is None
    finally:
        users.remove_user(database, other)
        with psycopg.connect(database.url) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(other)))


def test_interrupted_request_fails_and_the_next_one_runs(database: Database, asking: Asking) -> None:
    """A program that was killed leaves a request that runs; its lock is free."""
    berlin = ids(database, "Berlin")
    killed, waiting = ask(asking, berlin), ask(asking, berlin)
    with database.transaction(Role.FORECASTER) as connection:
        found = start_next(connection)
    assert found is not None
    assert found.id == killed
    assert run_next(database)
    assert status(asking, killed)[0] == "failed"
    assert "Request the run again" in status(asking, killed)[1]["error"]
    assert status(asking, waiting)[0] == "succeeded"


def test_one_program_at_a_time_runs_requests(database: Database, asking: Asking) -> None:
    request = ask(asking, ids(database, "Berlin"))
    with runner_lock(database) as is_free:
        assert is_free
        assert not run_next(database)
    assert status(asking, request)[0] == "waiting"


def test_scores_the_chosen_cities_only(database: Database, asking: Asking) -> None:
    """Or a user could learn the number of scores of others, and start their work."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    pipelines.forecast(database, at=now - timedelta(days=2), horizon=timedelta(hours=24), model="naive-24")
    request = ask(asking, ids(database, "Berlin"), kind="score")
    assert run_next(database)
    state, result = status(asking, request)
    assert state == "succeeded"
    assert result["new_scores"] > 0
    with database.transaction(Role.FORECASTER) as connection:
        scored = connection.execute("SELECT DISTINCT c.name FROM forecast_scores s JOIN cities c ON c.id = s.city_id")
        assert scored.fetchall() == [("Berlin",)]


def test_failed_training_names_its_city(database: Database, asking: Asking) -> None:
    """A city without load has nothing to train on; the other one is trained."""
    with database.transaction(Role.OPERATOR) as connection:
        connection.execute(
            "INSERT INTO user_city_access (user_id, city_id)"
            " SELECT a.user_id, c.id FROM user_city_access a, cities c WHERE c.name = 'Ulm'"
        )
    with asking() as connection:
        request = request_run(
            connection,
            kind="train",
            cities=ids(database, "Berlin", "Ulm"),
            parameters={"models": ["naive-24"]},
            key=None,
        )
    assert run_next(database)
    state, result = status(asking, request)
    assert state == "partial"
    assert [one["city"] for one in result["trained"]] == ["Berlin"]
    assert list(result["failed"]) == ["Ulm"]
    assert result["failed"]["Ulm"].startswith("naive-24: ")
