"""The pages Data, Runs and Champions: answers, cities of the user only, hostile names as text, empty states."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg import sql

import energy_forecast as ef
from api.conftest import FIRST, NOW, fill, two_users
from energy_forecast import pipelines
from energy_forecast.charts.cards import Card, Grid
from energy_forecast.charts.pages import offline_page
from energy_forecast.database import Database
from energy_forecast.database import champions as stored_champions
from energy_forecast.database.cities import city_named
from energy_forecast.database.connection import Connection, Role
from energy_forecast.database.models import version_for
from energy_forecast.errors import UnknownCityError
from energy_forecast.web.content import Content
from energy_forecast.web.rhythm import rhythm
from energy_forecast.web.state import State, state_of
from energy_forecast.web.views.champions import champions
from energy_forecast.web.views.data import data
from energy_forecast.web.views.runs import runs
from servers import Server
from synthetic import frames

HOSTILE = "<script>alert(1)</script> & 'Eggs' \"Ham\" \N{GRINNING FACE}"
FILE = "<img src=x onerror=alert(2)>.csv"
TEST = {"issues": 40, "mean_a": 900.0, "mean_b": 1000.0, "difference": -100.0, "lower": -150.0, "upper": -50.0}
EVIDENCE = {
    "rival": "naive-24",
    "is_better": True,
    "verdict": "naive-168 is better than naive-24",
    "weather": "none",
    "assumptions": {},
    "versions": ["1"],
    "pairs": 960,
    "mae_kwh": TEST | {"p_value": 0.0012, "upper_tail": 0.9},
    "pinball_kwh": TEST | {"p_value": 0.0012, "upper_tail": 0.9},
}
Build = Callable[[Connection, State], Content]


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield Berlin and Pune with data, faults, corrections and champions; a hostile name; and a city without data."""
    with server.copy_of(template) as database:
        folder = tmp_path_factory.mktemp("views")
        fill(database, folder)
        names = [("Leer", 53.2), (HOSTILE, 52.0)]
        rows = pl.DataFrame(names, schema=["name", "latitude"], orient="row")
        rows.with_columns(longitude=pl.lit(7.5), timezone=pl.lit("Europe/Berlin")).write_csv(folder / "more.csv")
        with ef.connect(database.url) as platform:
            platform.import_cities(folder / "more.csv")
            load = frames(FIRST, NOW, ("Berlin",))[0]
            platform.ingest("consumption", load.with_columns(city=pl.lit(HOSTILE)))
            _damage(platform, folder / FILE)
        pipelines.forecast(database, model="naive-168")
        for model in ("naive-24", "naive-168"):
            pipelines.forecast(database, model=model, cities=["Berlin", "Pune", HOSTILE])
            pipelines.promote(
                database, model=model, cities=["Berlin", "Pune", HOSTILE], force=True, reason=f"for Pune: {HOSTILE}"
            )
        with database.transaction(Role.FORECASTER) as connection:
            city = city_named(connection, "Berlin").id
            version = version_for(connection, name="naive-168", version=None, city=city)
            assert version is not None
            stored_champions.add_promotion(
                connection, city=city, model=version.id, reason="tested", evidence=[EVIDENCE], forced=False
            )
        yield database


def _damage(platform: ef.Platform, path: Path) -> None:
    """Load a spike, a correction of 10 % and rejected rows for each city."""
    spike, old = NOW - timedelta(days=2), NOW - timedelta(days=1)
    rows = frames(FIRST, NOW)[0].filter(pl.col("timestamp") == f"{old:%Y-%m-%dT%H:%M:%SZ}")
    known: dict[str, float] = dict(rows.select("city", "consumption_kwh").iter_rows())
    cities = [*known, HOSTILE]
    for at, factor in ((spike, 100.0), (old, 1.1)):
        values = [factor * (known.get(city) or known["Berlin"]) for city in cities]
        frame = pl.DataFrame({"city": cities, "timestamp": [at] * 3, "consumption_kwh": values})
        platform.ingest("consumption", frame, check=True)
    bad = pl.DataFrame({"city": cities * 2, "timestamp": [f"{NOW:%Y-%m-%dT%H:%MZ}"] * 6, "consumption_kwh": ["x"] * 6})
    first = pl.DataFrame({"city": ["Berlin"], "timestamp": [f"{FIRST:%Y-%m-%dT%H:%MZ}"], "consumption_kwh": ["5"]})
    pl.concat([bad, first]).write_csv(path)
    assert platform.ingest("consumption", path).rejected == 6


@contextmanager
def reading(database: Database, user: str | None = None) -> Iterator[Connection]:
    """Yield a connection with the rights of a user; None for the operator."""
    role = "energy_forecast_operator" if user is None else user
    with psycopg.connect(database.url) as connection:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        yield connection
        connection.rollback()


def page(view: Build, database: Database, user: str | None = None, **query: str) -> Content:
    with reading(database, user) as connection:
        return view(connection, state_of(connection, query))


def html(content: Content) -> str:
    return offline_page(content.title, content.cards, notes=[content.sentence, *content.notes])


def card(content: Content, title: str) -> Card:
    return next(one for one in content.cards if one.title.startswith(title))


def cells(one: Card) -> list[list[str]]:
    """Return the table of a card as texts."""
    assert isinstance(one.table, Grid)
    return [[cell if isinstance(cell, str) else cell.text for cell in row] for row in one.table.rows]


@pytest.mark.parametrize("view", [data, runs, champions])
@pytest.mark.parametrize("city", [HOSTILE, "Berlin"])
def test_hostile_names_are_text(filled: Database, view: Build, city: str) -> None:
    text = html(page(view, filled, city=city))
    assert "<script>alert" not in text
    assert "<img" not in text
    if city == HOSTILE:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


@pytest.mark.parametrize("view", [data, runs, champions])
def test_user_sees_their_cities_only(filled: Database, view: Build) -> None:
    with two_users(filled) as (anna, bert):
        for user, own, other in ((anna, "Berlin", "Pune"), (bert, "Pune", "Berlin")):
            text = html(page(view, filled, user))
            assert own in text
            assert other not in text.replace("Europe/Berlin", "")
            assert "Leer" not in text
            assert "alert(1)" not in text
            with pytest.raises(UnknownCityError):
                page(view, filled, user, city=other)


@pytest.mark.parametrize("view", [data, runs, champions])
def test_user_without_a_city_gets_an_answer(database: Database, view: Build) -> None:
    """Data raises, and the page shows the remedy of the error."""
    if view is data:
        with pytest.raises(UnknownCityError, match="no city that you may see"):
            page(view, database)
        return
    found = page(view, database)
    assert list(found.cards) == []
    assert "energy-forecast" in found.sentence or "no city that you may see" in found.sentence


def test_data_counts_faults_corrections_and_rejections(filled: Database) -> None:
    found = page(data, filled, city="Berlin")
    assert found.sentence.startswith("Load is known until ")
    assert "2 corrected values, 2 rejected rows." in found.sentence
    faults = cells(card(found, "Gaps and doubtful values"))
    assert ["consumption", "spike"] in [row[:2] for row in faults]
    corrections = cells(card(found, "Corrections of the load"))
    assert [row[4] for row in corrections][1:] == ["+10.0 %"]
    rejected = cells(card(found, "Rejected rows"))
    assert [row[:5] for row in rejected] == [["... is not a number", "consumption_kwh", "row", "2", FILE]]
    arrivals = cells(card(found, "Arrivals by hour"))
    count = sum(int(row[2]) for row in arrivals if row[1] == "consumption")
    assert 7 * 24 - 3 < count <= 7 * 24, "all values of the window, which does not begin at a full hour"
    delays = cells(card(found, "Delay from the end"))
    # A correction is available when it was loaded; all others at the end of their interval
    assert delays[0][0] == "to 15 min"
    assert int(delays[0][1]) == count - 2
    assert sum(int(row[1]) for row in delays) == count
    assert {row[1] for row in cells(card(found, "Sources")) if row[0] == "Berlin"} == {"consumption", "weather"}
    # The operator sees all loads
    assert len(cells(card(found, "Loads"))) >= 5


def test_data_of_a_city_without_load_says_how_to_load_it(filled: Database) -> None:
    found = page(data, filled, city="Leer")
    assert "energy-forecast ingest consumption FILE" in found.sentence
    assert card(found, "Gaps").sentence == "No gap and no doubtful value was found in the window."
    assert card(found, "Delay").sentence == "No value of the window is stored."
    assert html(found)


def test_runs_show_failures_with_reason_and_the_requested_runs(filled: Database) -> None:
    found = page(runs, filled)
    trouble = cells(card(found, "Failures and fallback by city"))
    assert {row[0] for row in trouble} == {"Leer"}
    assert all(row[4].startswith("Leer has 0 usable hours of load") for row in trouble)
    newest = cells(card(found, "Newest runs"))
    assert {row[2] for row in newest} == {"live", "replay"}
    # Only the run for all cities has a failed one
    assert sum(int(row[5]) for row in newest) == len(trouble)
    with two_users(filled) as (anna, _):
        with psycopg.connect(filled.url) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(anna)))
            connection.execute("SELECT ops.request_run('score', ARRAY(SELECT id FROM cities), '{}', NULL)")
        own = page(runs, filled, anna)
        assert "1 requested run is open." in own.sentence
        assert [row[1:3] for row in cells(card(own, "Requested runs"))] == [["score", "waiting"]]


def test_purpose_and_city_choose_the_runs(filled: Database) -> None:
    found = page(runs, filled, city="Pune", purpose="replay")
    assert {row[2] for row in cells(card(found, "Newest runs"))} == {"replay"}
    assert {row[4] for row in cells(card(found, "Newest runs"))} == {"1"}
    assert page(runs, filled, city="Pune", purpose="backtest").sentence.startswith("No run yet.")


def test_next_issue_follows_the_rhythm_and_is_late_after_half_of_it() -> None:
    times = [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (1, 2, 3, 4, 4)]
    found = rhythm(times, datetime(2026, 3, 1, 5, 30, tzinfo=UTC))
    assert (found.every, found.expected) == (timedelta(hours=1), datetime(2026, 3, 1, 5, tzinfo=UTC))
    assert not found.is_late
    assert rhythm(times, datetime(2026, 3, 1, 5, 31, tzinfo=UTC)).is_late
    assert rhythm(times[:2], datetime(2026, 3, 2, tzinfo=UTC)).is_late is None
    # One pause of a night does not change the rhythm
    assert rhythm([times[0] - timedelta(hours=12), *times], times[-1]).every == timedelta(hours=1)


def test_champion_shows_its_tests_and_the_command_that_takes_it_back(filled: Database) -> None:
    found = page(champions, filled, city="Berlin")
    assert found.sentence.startswith("naive-168 ")
    assert "serves Berlin since " in found.sentence
    assert "because of its tests (naive-24: \N{MINUS SIGN}10.0 % (p 0.0012))" in found.sentence
    assert "Leer has no champion" in page(champions, filled, city="Leer").sentence
    now = {row[0]: row for row in cells(card(found, "Champions now"))}
    assert now["Berlin"][1].startswith("naive-168 ")
    assert now["Berlin"][5:] == ["by its tests", "naive-24: \N{MINUS SIGN}10.0 % (p 0.0012)", "tested"]
    assert now["Pune"][5] == "by force or rollback"
    tests = cells(card(found, "Tests behind naive-168"))
    assert tests[0][:2] == ["naive-24", "better"]
    assert tests[0][4:7] == ["\N{MINUS SIGN}10.0", "0.0012", "40"]
    history = cells(card(found, "Champions over time"))
    assert [row[3] == "now" for row in history if row[0] == "Berlin"] == [True, False, False]
    assert "energy-forecast model rollback --city Berlin" in card(found, "Take back").sentence
    hostile = card(page(champions, filled, city=HOSTILE), "Take back").sentence
    assert shlex.split(hostile.partition("energy-forecast model rollback ")[2]) == ["--city", HOSTILE]
    scores = cells(card(found, "Models of the same period in Berlin"))
    assert {row[0] for row in scores} == {"naive-168"}


def test_champions_as_of_a_time_leave_out_later_ones(filled: Database) -> None:
    found = page(champions, filled, city="Berlin", as_of=f"{NOW:%Y-%m-%dT%H:%MZ}")
    assert found.sentence.startswith("No city has a champion yet")


def test_user_sees_tests_without_reason_and_login(filled: Database) -> None:
    """The reason is free text, which here names the city of another user."""
    with two_users(filled) as (anna, _):
        found = page(champions, filled, anna)
        row = cells(card(found, "Champions now"))[0]
        assert (row[0], row[4], row[7]) == ("Berlin", "not shown", "not shown")
        assert "p 0.0012" in row[6]
