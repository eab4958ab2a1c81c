"""Updates: a reader learns of every change of their cities, also of one that commits late, and of nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta

import polars as pl
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import energy_forecast as ef
from api.conftest import NOW, fill, two_users
from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.errors import EnergyForecastError
from servers import Server

Readers = tuple[ef.Platform, ef.Platform, ef.Platform]


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with server.copy_of(template) as database:
        fill(database, tmp_path_factory.mktemp("updates"))
        yield database


@pytest.fixture(scope="module")
def readers(filled: Database) -> Iterator[Readers]:
    """Yield the platforms of Anna (Berlin), Bert (Pune) and the operator."""
    with (
        two_users(filled) as (anna, bert),
        ef.connect(make_conninfo(filled.url, user=anna)) as first,
        ef.connect(make_conninfo(filled.url, user=bert)) as second,
        ef.connect(filled.url) as everything,
    ):
        yield first, second, everything


def since(platform: ef.Platform, cursor: str) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in platform.updates(cursor=cursor).frame.iter_rows()]


def position(platform: ef.Platform) -> str:
    return str(platform.updates().facts["next"])


def test_changes_are_seen_by_readers_of_their_city_only(filled: Database, readers: Readers) -> None:
    anna, bert, everything = readers
    before = [position(one) for one in readers]
    assert [since(one, cursor) for one, cursor in zip(readers, before, strict=True)] == [[], [], []]
    rows = {"city": ["Berlin"], "timestamp": [NOW - timedelta(hours=30)], "consumption_kwh": [5.0]}
    everything.ingest("consumption", pl.DataFrame(rows), check=False)
    pipelines.forecast(filled, cities=["Berlin"], model="naive-24", horizon=timedelta(hours=24))
    changed = [("Berlin", "consumption"), ("Berlin", "forecasts")]
    assert since(anna, before[0]) == since(everything, before[2]) == changed
    assert since(bert, before[1]) == []
    assert since(anna, position(anna)) == []
    before = [position(one) for one in readers]
    pipelines.score(filled)
    assert since(anna, before[0]) == [("Berlin", "scores")]


def test_late_commit_is_in_a_later_answer(filled: Database, readers: Readers) -> None:
    """Its rows have an earlier time than those of the answers before its commit."""
    anna, _, everything = readers
    before = position(anna)
    with psycopg.connect(filled.url) as late:
        late.execute(
            "UPDATE energy_consumption SET consumption_kwh = 6 FROM cities c"
            " WHERE c.id = city_id AND c.name = 'Berlin' AND timestamp = %s",
            (NOW - timedelta(hours=60),),
        )
        rows = {"city": ["Berlin"], "timestamp": [NOW - timedelta(hours=49)], "temperature": [5.0]}
        everything.ingest("weather", pl.DataFrame(rows), check=False)
        table = anna.updates(cursor=before)
        assert table.frame["changed"].to_list() == ["weather"]
        late.commit()
    assert since(anna, table.facts["next"]) == [("Berlin", "consumption")]


def test_position_tells_nothing_and_belongs_to_its_reader(readers: Readers) -> None:
    """Two positions without a change between them differ, so that other cities' changes cannot be told from them."""
    anna, bert, _ = readers
    one, other = position(anna), position(anna)
    assert (
        json.loads(base64.urlsafe_b64decode(one + "=="))[0][:48]
        != json.loads(base64.urlsafe_b64decode(other + "=="))[0][:48]
    )
    for wrong in ("x", "W10", "", "WyJhYSIsMSwyXQ", one[:30] + ("A" if one[30] != "A" else "B") + one[31:]):
        with pytest.raises(EnergyForecastError, match="`cursor` is not one of this list"):
            anna.updates(cursor=wrong)
    with pytest.raises(EnergyForecastError, match="`cursor` is not one of this list"):
        bert.updates(cursor=one)
