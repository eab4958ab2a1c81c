"""Readings in Python: the methods of a reader are those of the catalog, and a user's own login sees their cities."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta

import polars as pl
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import energy_forecast as ef
from api.conftest import NOW, fill, two_users
from energy_forecast.database import Database
from energy_forecast.errors import UnknownCityError
from energy_forecast.platform.reader import Reader
from energy_forecast.readings.catalog import READINGS
from energy_forecast.readings.parameters import PARAMETERS
from energy_forecast.tables import COLUMNS
from servers import Server


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with server.copy_of(template) as database:
        fill(database, tmp_path_factory.mktemp("readings"))
        yield database


def test_every_reading_is_a_method_with_its_parameters() -> None:
    for reading in READINGS.values():
        given = [name for name in inspect.signature(reading.read).parameters if name != "connection"]
        method = inspect.signature(getattr(Reader, reading.name)).parameters
        assert set(given) - {"day"} <= set(method), reading.name
        assert set(given) <= set(PARAMETERS), reading.name
        assert set(reading.schema) <= set(COLUMNS), reading.name


def test_login_of_a_user_reads_their_cities(filled: Database) -> None:
    with two_users(filled) as (anna, _), ef.connect(make_conninfo(filled.url, user=anna)) as own:
        assert [city.name for city in own.cities()] == ["Berlin"]
        with pytest.raises(UnknownCityError):
            own.consumption("Pune")
        with ef.connect(filled.url) as everything:
            reads: tuple[Callable[[ef.Platform], pl.DataFrame], ...] = (
                lambda db: db.consumption("berlin", NOW - timedelta(days=3), NOW).frame,
                lambda db: db.revisions("Berlin").frame,
                lambda db: db.weather("Berlin", NOW - timedelta(days=3), NOW).frame,
                lambda db: db.weather_forecast("Berlin").frame,
                lambda db: db.live_forecast("Berlin").frame,
                lambda db: db.forecasts("Berlin").frame,
                lambda db: db.issued_forecast("Berlin", db.forecasts("Berlin").frame["run_id"][0]).frame,
                lambda db: db.evolution("Berlin", NOW + timedelta(hours=2)).frame,
                lambda db: db.peaks("Berlin").frame,
            )
            for read in reads:
                assert read(own).equals(read(everything))
            assert set(own.matrix().frame["city"]) == {"Berlin"}
            assert set(everything.matrix().frame["city"]) == {"Berlin", "Pune"}
            assert own.snapshot(NOW + timedelta(hours=2)).frame.height == 1


def test_correction_shows_the_old_and_the_new_value(filled: Database) -> None:
    first = NOW - timedelta(hours=30)
    with ef.connect(filled.url) as platform:
        old = platform.consumption("Pune", first, first + timedelta(hours=1)).frame["consumption_kwh"][0]
        platform.ingest("consumption", pl.DataFrame({"city": ["Pune"], "timestamp": [first], "consumption_kwh": [7.0]}))
        versions = platform.revisions("Pune", first, first + timedelta(hours=1)).frame
        assert versions["consumption_kwh"].to_list() == [old, 7.0]
        assert versions["superseded_at"].is_null().to_list() == [False, True]


def test_table_converts_and_states_units(filled: Database) -> None:
    with ef.connect(filled.url) as platform:
        table = platform.live_forecast("Berlin")
    assert table.units["predicted"] == table.units["q05"] == "kWh"
    frame = table.to_pandas()
    assert str(frame["timestamp"].dt.tz) == "UTC"
    assert frame["predicted"].sum() == pytest.approx(table.frame["predicted"].sum())
    assert table.to_arrow().num_rows == len(table) == 48


@pytest.mark.parametrize("read", ["consumption", "usual_load", "overview"])
def test_phase_of_hours_is_computed_once_per_city_and_query(filled: Database, read: str) -> None:
    """It reads four weeks of load. Computed for each row, it took 99 % of the time of these readings."""
    queries_of = {"consumption": 1, "usual_load": 5, "overview": 2}
    # A role of the platform may not count calls
    with psycopg.connect(filled.url) as connection:
        connection.execute("SET track_functions = 'pl'; SET timezone = 'UTC'")
        given = {} if read == "overview" else {"city": "Berlin"}
        more = {"resolution": "hour"} if read == "consumption" else {}
        table = READINGS[read].read(connection, **given, **more)
        calls = connection.execute(
            "SELECT sum(calls)::integer FROM pg_stat_xact_user_functions WHERE funcname = 'load_phase_as_of'"
        ).fetchone()
    assert not table.frame.is_empty()
    assert calls == (queries_of[read],)
