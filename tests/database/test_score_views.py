"""The views of scores: two users, hostile names, one model, and nothing to show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from psycopg.conninfo import make_conninfo

import energy_forecast as ef
from api.conftest import NOW, two_users
from energy_forecast import pipelines
from energy_forecast.charts.cards import Card, Link
from energy_forecast.charts.pages import render
from energy_forecast.database import Database
from energy_forecast.errors import EnergyForecastError, UnknownCityError
from energy_forecast.web.content import Content
from energy_forecast.web.state import state_of
from energy_forecast.web.views import VIEWS
from issued_runs import issue_noisy
from servers import Server
from synthetic import frames, write_cities

HOSTILE = "<b>\"'& \u05e9\u05dc\u05d5\u05dd 😀"
FIRST = NOW - timedelta(days=60)
# The models are older than the first forecast
UNTIL = NOW - timedelta(days=33)
PATHS = ("/skill", "/calibration", "/errors")


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Two cities with replays of two models, and one with a hostile name without forecasts."""
    with server.copy_of(template) as database:
        folder = tmp_path_factory.mktemp("views")
        consumption, weather = frames(FIRST, NOW)
        with ef.connect(database.url) as platform:
            platform.import_cities(write_cities(folder / "cities.csv"))
            platform.add_city(HOSTILE, latitude=10.0, longitude=10.0, timezone="America/Lima")
            platform.ingest("consumption", consumption)
            platform.ingest("weather", weather)
            platform.ingest("consumption", consumption.filter(city="Pune").with_columns(pl.lit(HOSTILE).alias("city")))
            cities = {one.name: one for one in platform.cities()}
        assert set(cities) == {"Berlin", "Pune", HOSTILE}
        pipelines.train(database, models=["naive-24", "naive-168"], cities=["Berlin", "Pune"], until=UNTIL)
        with database.reading() as connection:
            models = dict(connection.execute("SELECT name, id FROM models").fetchall())
            ids = dict(connection.execute("SELECT name, id FROM cities").fetchall())
        truth = pl.col("timestamp").str.to_datetime(time_zone="UTC")
        for city in ("Berlin", "Pune"):
            load = consumption.filter(city=city).with_columns(truth)
            moments = [NOW - timedelta(hours=hours) for hours in range(31 * 24, 0, -6)]
            issue_noisy(database, ids[city], models["naive-24"], load, moments)
            issue_noisy(database, ids[city], models["naive-168"], load, moments[::2], size=0.06, seed=2)
        for delay in (None, timedelta(hours=6)):
            pipelines.backtest(
                database,
                models=["naive-24"] if delay else ["naive-24", "naive-168"],
                first=NOW - timedelta(days=6),
                end=NOW - timedelta(days=2),
                horizon=timedelta(hours=48),
                weather="none",
                load_delay=delay,
                cities=["Berlin"],
            )
        yield database


@pytest.fixture(scope="module")
def users(filled: Database) -> Iterator[dict[str, Database]]:
    """Yield the database as Anna, who sees Berlin, as Bert, who sees Pune, and as the operator."""
    with two_users(filled) as (anna, bert):
        found = {
            name: Database(make_conninfo(filled.url, user=user)) for name, user in (("anna", anna), ("bert", bert))
        }
        yield found | {"operator": filled}


def built(database: Database, path: str, **query: str) -> Content:
    view = next(one for one in VIEWS if one.path == path)
    with database.reading() as connection:
        return view.build(connection, state_of(connection, query))


def html_of(content: Content) -> str:
    """Return the page, as the server renders it."""
    return render(
        "view.html",
        **{"title": content.title, "sentence": content.sentence, "cards": content.cards, "notes": content.notes},
        **{"controls": content.controls, "views": [], "user": None, "notice": None, "path": "/", "url": "/"},
        refresh=None,
    )


def links_of(cards: Sequence[Card]) -> list[Link]:
    return [cell for card in cards if card.table for row in card.table.rows for cell in row if isinstance(cell, Link)]


@pytest.mark.parametrize("path", PATHS)
def test_user_sees_their_cities_only(users: dict[str, Database], path: str) -> None:
    for user, own, other in (("anna", "Berlin", "Pune"), ("bert", "Pune", "Berlin")):
        content = built(users[user], path)
        assert own in content.title
        assert len(content.cards) > 0
        assert other not in re.sub("Europe/Berlin", "", html_of(content))
        with pytest.raises(UnknownCityError):
            built(users[user], path, city=other)


@pytest.mark.parametrize("path", PATHS)
def test_numbers_are_those_of_the_operator(users: dict[str, Database], path: str) -> None:
    at = f"{NOW:%Y-%m-%dT%H:%MZ}"
    own, everything = (built(users[user], path, city="Berlin", as_of=at) for user in ("anna", "operator"))
    assert own.sentence == everything.sentence
    assert [card.sentence for card in own.cards] == [card.sentence for card in everything.cards]


@pytest.mark.parametrize("path", PATHS)
def test_city_without_forecasts_states_what_to_do(users: dict[str, Database], path: str) -> None:
    content = built(users["operator"], path, city=HOSTILE)
    html = html_of(content)
    assert "energy-forecast forecast" in html
    assert "<b>" not in html
    assert HOSTILE in unescape(re.sub("<title>.*?</title>", "", html))
    links = [link for card in content.cards for link in card.links]
    assert {parse_qs(urlsplit(link.url).query)["purpose"][0] for link in links} == {"replay", "backtest"}


@pytest.mark.parametrize("path", PATHS)
def test_purpose_of_stored_forecasts_is_shown(users: dict[str, Database], path: str) -> None:
    """Without live forecasts the replays are shown, and the page names them; a chosen purpose is kept."""
    content = built(users["anna"], path)
    assert "issued later for a past moment" in html_of(content)
    assert next(one.value for one in content.controls if one.name == "purpose") == "replay"
    assert content.sentence.startswith("Based on forecasts issued later for a past moment.")
    live = built(users["anna"], path, purpose="live")
    assert "No forecasts issued in time" in live.sentence or "no forecasts issued in time" in live.sentence
    with pytest.raises(EnergyForecastError, match="`purpose`"):
        built(users["anna"], path, purpose="other")


@pytest.mark.parametrize("purpose", ["replay", "backtest"])
def test_cell_lists_the_pairs_that_it_counts(users: dict[str, Database], purpose: str) -> None:
    """Backtests with another load delay are a part of their own, with cells of their own."""
    content = built(users["anna"], "/skill", window="14", purpose=purpose)
    assert "naive-24" in content.sentence
    assert "the same" in content.sentence
    assert len(content.cards) == (2 if purpose == "backtest" else 1)
    links = links_of(content.cards[:1])[:4]
    if purpose == "backtest":
        alone = links_of(content.cards[1:])[0]
        cell = built(
            users["anna"], "/skill", **{k: v[0] for k, v in parse_qs(urlsplit(alone.url).query).items()}
        ).cards[0]
        assert cell.sentence.startswith(f"{alone.text} pairs")
        assert cell.table is not None
        assert len(cell.table.fields) == 6
    for link in links:
        query = {name: values[0] for name, values in parse_qs(urlsplit(link.url).query).items()}
        cell = built(users["anna"], "/skill", **query).cards[0]
        assert cell.sentence.startswith(f"{link.text} pairs")
        assert cell.table is not None
        # Both models, on the same pairs
        assert [field.title for field in cell.table.fields][4::2] == [
            query["of"],
            *({"naive-24", "naive-168"} - {query["of"]}),
        ]
        hour = cell.table.rows[0][0]
        assert isinstance(hour, Link)
        assert urlsplit(hour.url).path == "/evolution"
        assert cell.data is not None
        assert "issue=all" in cell.data
    missing = built(users["anna"], "/skill", of="naive-24", lead="7").cards[0]
    assert "no cell" in missing.sentence


def test_one_model_is_shown_alone(users: dict[str, Database]) -> None:
    content = built(users["anna"], "/skill", model="naive-24")
    assert "naive-168 " not in content.sentence
    both = built(users["anna"], "/skill", model="naive-24", against="naive-168")
    assert "on the same" in both.sentence
    assert next(one.value for one in both.controls if one.name == "against") == "naive-168"


def test_measure_and_window_are_in_the_url(users: dict[str, Database]) -> None:
    signed, absolute = (built(users["anna"], "/errors", measure=one, window="7") for one in ("signed", "absolute"))
    tables = [content.cards[0].table for content in (signed, absolute)]
    texts = ["".join(map(str, row[1:])) for table in tables if table is not None for row in table.rows]
    assert len(texts) == 14
    assert all("+" in text for text in texts[:6])
    assert not any("+" in text for text in texts[7:])
    for wrong in ({"measure": "x"}, {"window": "0"}, {"issue": "x"}, {"window": "1e9"}, {"window": "367"}):
        with pytest.raises(EnergyForecastError):
            built(users["anna"], "/errors", **wrong)


def test_day_opens_its_forecast_at_its_end(users: dict[str, Database]) -> None:
    content = built(users["anna"], "/errors", window="7", model="naive-24")
    first = links_of(content.cards)[0]
    query = parse_qs(urlsplit(first.url).query)
    assert urlsplit(first.url).path == "/forecast"
    assert query["model"] == ["naive-24"]
    # Midnight of Berlin
    assert query["as_of"][0].endswith(("T22:00Z", "T23:00Z"))
    hours = [link for link in links_of(content.cards) if urlsplit(link.url).path == "/evolution"]
    assert len(hours) == 7


def test_page_as_of_a_past_time_has_no_later_hours(users: dict[str, Database]) -> None:
    at = NOW - timedelta(days=5)
    content = built(users["anna"], "/errors", as_of=f"{at:%Y-%m-%dT%H:%MZ}")
    table = content.cards[0].table
    assert table is not None
    assert all(
        parse_qs(urlsplit(link.url).query)["as_of"][0] <= f"{at:%Y-%m-%dT%H:%MZ}"
        for link in links_of([content.cards[0]])
    )
