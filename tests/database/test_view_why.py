"""The page that explains forecasts and errors: it answers in its first sentence, for the cities of the user only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

import polars as pl
import psycopg
import pytest
from psycopg import sql

import energy_forecast as ef
from api.conftest import FIRST, NOW, fill, two_users
from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.database.connection import Connection
from energy_forecast.errors import TooManyRequestsError, UnknownCityError
from energy_forecast.web.content import Content
from energy_forecast.web.explanations import Explanations
from energy_forecast.web.state import state_of
from energy_forecast.web.views.why import why
from energy_forecast.zones import zone
from servers import Server
from synthetic import frames

ISSUED = NOW - timedelta(hours=60)
YESTERDAY = NOW.astimezone(zone("Europe/Berlin")).date() - timedelta(days=1)


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield two cities; for Berlin also a forecast with a weather forecast that is four degrees too warm."""
    with server.copy_of(template) as database:
        fill(database, tmp_path_factory.mktemp("why"))
        observed = frames(FIRST, NOW, ("Berlin",))[1].filter(pl.col("timestamp") >= f"{ISSUED:%Y-%m-%dT%H:%M:%SZ}")
        observed = observed.with_columns(pl.col("temperature") + 4, issued_at=pl.lit(f"{ISSUED:%Y-%m-%dT%H:%M:%SZ}"))
        with ef.connect(database.url) as platform:
            platform.ingest("weather-forecasts", observed)
        pipelines.forecast(database, cities=["Berlin"], model="linear", at=ISSUED, horizon=timedelta(hours=60))
        yield database


@contextmanager
def reading(database: Database, user: str | None = None) -> Iterator[Connection]:
    """Yield a connection with the rights of a user; None for the operator."""
    role = "energy_forecast_operator" if user is None else user
    with psycopg.connect(database.url) as connection:
        # As the platform's transactions do; Debian's server has another zone
        connection.execute("SET LOCAL TimeZone = 'UTC'")
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        yield connection
        connection.rollback()


def page(database: Database, user: str | None = None, **query: str) -> Content:
    with reading(database, user) as connection:
        return why(connection, state_of(connection, query))


def test_first_sentence_answers_whether_the_weather_caused_the_error_of_yesterday(filled: Database) -> None:
    found = page(filled, city="Berlin", model="linear")
    begin = f"{YESTERDAY:%a} {YESTERDAY.day} {YESTERDAY:%b}: the forecast was "
    assert found.sentence.startswith(begin)
    assert "weather forecast" in found.sentence
    error = found.cards[0]
    assert error.title == f"Error of {YESTERDAY:%a} {YESTERDAY.day} {YESTERDAY:%b} and its causes"
    assert error.table is not None
    # Only the hours of that day
    assert len(error.table.rows) == 24
    assert {str(row[0]).partition(",")[0] for row in error.table.rows} == {error.title.split(" and")[0][9:]}
    assert error.facts[3].value == "4.0 °C too warm"
    titles = [card.title for card in found.cards]
    assert any(title.startswith("Contributions of the inputs") for title in titles)
    assert "usual day. Largest effects: " in found.sentence


def test_forecast_without_weather_states_it(filled: Database) -> None:
    found = page(filled, city="Pune")
    assert "did not use weather" in found.sentence
    assert "naive-168 repeats earlier loads." in found.sentence
    assert [card.title for card in found.cards][-1] == "Other days"


def test_past_day_is_explained_by_the_forecast_issued_before_it(filled: Database) -> None:
    found = page(filled, city="Berlin", model="linear", day=f"{YESTERDAY}")
    assert found.sentence.startswith(f"{YESTERDAY:%a} {YESTERDAY.day} {YESTERDAY:%b}: the forecast was ")
    assert f"{ISSUED.astimezone(zone('Europe/Berlin')):%H:%M}" in found.notes[0]
    error = found.cards[0].table
    assert error is not None
    assert len(error.rows) == 24


def test_page_as_of_a_time_shows_no_later_load(filled: Database) -> None:
    """The load of the hours after that time would be hindsight."""
    past = NOW - timedelta(hours=30)
    day = past.astimezone(zone("Europe/Berlin")).date()
    found = page(filled, city="Berlin", model="linear", day=f"{day}", as_of=f"{past:%Y-%m-%dT%H:%MZ}")
    local = past.astimezone(zone("Europe/Berlin"))
    if local.hour:
        error = found.cards[0].table
        assert error is not None
        assert len(error.rows) == local.hour
    else:
        assert "too high" not in found.sentence + "too low"


def test_day_without_a_forecast_says_what_to_do(filled: Database) -> None:
    found = page(filled, city="Berlin", day=f"{date(2020, 1, 1)}")
    assert "energy-forecast forecast" in found.sentence or "No forecast" in found.sentence
    assert [card.title for card in found.cards] == ["Other days"]
    # Hours that the forecast does not have
    assert "has no hour of" in page(filled, city="Berlin", day=f"{NOW.date() + timedelta(days=9)}").sentence


def test_user_gets_explanations_of_their_cities_only(filled: Database) -> None:
    """The kept explanation of Pune, which another user asked for, is not shown to Anna."""
    page(filled, city="Pune")
    with two_users(filled) as (anna, _):
        assert "Pune" not in str(page(filled, anna))
        assert page(filled, anna, city="Berlin", model="linear").sentence == (
            page(filled, city="Berlin", model="linear").sentence
        )
        with pytest.raises(UnknownCityError):
            page(filled, anna, city="Pune")


def test_explanation_is_computed_once_for_some_time() -> None:
    now = [0.0]
    kept = Explanations(seconds=10, most=2, clock=lambda: now[0])
    calls: list[str] = []

    def compute(name: str) -> str:
        def run() -> str:
            calls.append(name)
            return name

        return kept.get(name, run)

    assert [compute("a"), compute("a")] == ["a", "a"]
    now[0] = 11
    compute("a")
    assert calls == ["a", "a"]
    compute("b")
    compute("c")
    compute("a")
    assert calls == ["a", "a", "b", "c", "a"], "only the last two are kept"
    with pytest.raises(ZeroDivisionError):
        kept.get("d", lambda: 1 / 0)
    assert kept.get("d", lambda: 4) == 4, "an error is not kept"


def test_explanation_waits_for_its_turn_and_gives_up() -> None:
    """A user with many tabs must not take all processors of the server."""
    kept = Explanations(at_once=1, patience=0.05)
    running, done = threading.Event(), threading.Event()

    def slow() -> int:
        running.set()
        done.wait(10)
        return 1

    thread = threading.Thread(target=kept.get, args=("a", slow))
    thread.start()
    running.wait(10)
    with pytest.raises(TooManyRequestsError):
        kept.get("b", lambda: 2)
    done.set()
    thread.join()
    assert kept.get("b", lambda: 2) == 2
