"""Cities are found over HTTP under every name that the database accepts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

import energy_forecast as ef
from api.conftest import NOW, Api, body, started, two_users
from energy_forecast import pipelines
from energy_forecast.operations import users
from servers import Server

NAMES = [
    "Biel/Bienne",
    "Łódź",
    "Halle (Saale)",
    "50% Süd?",
    "#1 & more",
    "..",
    ".",
    "x;y=z",
    "a%2Fb",
    "東京",
    "'; --",
]


@pytest.fixture(scope="module")
def named(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Yield a server whose user sees cities with all these names, each with a load of its own."""
    folder: Path = tmp_path_factory.mktemp("names")
    with server.copy_of(template) as database:
        with ef.connect(database.url) as platform:
            for name in ("Berlin", "Pune", *NAMES):
                platform.add_city(name, latitude=52, longitude=13, timezone="Europe/Berlin")
            times = [NOW - timedelta(hours=hour) for hour in range(200, 0, -1)]
            for place, name in enumerate(NAMES):
                load = pl.DataFrame({"timestamp": times}).with_columns(city=pl.lit(name), consumption_kwh=100.0 + place)
                platform.ingest("consumption", load)
        for hours in (24, None):
            at = NOW - timedelta(hours=hours) if hours else None
            pipelines.forecast(database, at=at, horizon=timedelta(hours=24), model="naive-24", cities=NAMES)
        with two_users(database) as (anna, bert):
            users.grant(database, anna, NAMES)
            with started(database, folder, anna, bert) as found:
                yield found


@pytest.mark.parametrize("name", NAMES)
def test_city_is_found(named: Api, name: str) -> None:
    with ef.connect(named.address, key=named.keys["anna"]) as client:
        table = client.consumption(name)
        assert table.facts["city"] == name
        assert set(table.frame["consumption_kwh"]) == {100.0 + NAMES.index(name)}
        assert client.forecasts(name, limit=1).facts["next"] is not None


@pytest.mark.parametrize("name", NAMES)
def test_next_page_is_a_link(named: Api, name: str) -> None:
    with ef.connect(named.address, key=named.keys["anna"]) as client:
        runs = client.forecasts(name).frame["run_id"].to_list()
        path = client._path("forecasts", city=name)[0]
    found = named.get(f"{path}?limit=1")
    link = found.headers["Link"].partition("<")[2].partition(">")[0]
    following = named.get(link.removeprefix(named.address))
    assert [*body(found)["columns"]["run_id"], *body(following)["columns"]["run_id"]] == runs
