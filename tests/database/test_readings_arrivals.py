"""Readings for whoever watches the data: arrivals, late sources, rejected rows, outcomes of runs, and promotions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from psycopg.conninfo import make_conninfo

import energy_forecast as ef
from api.conftest import FIRST, NOW, fill, two_users
from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.errors import UnknownCityError
from energy_forecast.tables import Table
from servers import Server
from synthetic import frames

Both = tuple[ef.Platform, ef.Platform]
# A name that a page must show as text
FILE = '<img src=x onerror="alert(1)">.csv'


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with server.copy_of(template) as database:
        folder = tmp_path_factory.mktemp("arrivals")
        fill(database, folder)
        _reject(database, folder / FILE)
        (folder / "leer.csv").write_text("name,latitude,longitude,timezone\nLeer,53.2,7.5,Europe/Berlin\n")
        with ef.connect(database.url) as platform:
            platform.import_cities(folder / "leer.csv")
        pipelines.forecast(database, model="naive-168")
        pipelines.promote(database, model="naive-168", cities=["Berlin", "Pune"], force=True, reason="Pune needs it")
        yield database


@pytest.fixture(scope="module")
def both(filled: Database) -> Iterator[Both]:
    """Yield the platform of Anna, who sees Berlin, and that of the operator."""
    with (
        two_users(filled) as (anna, _),
        ef.connect(make_conninfo(filled.url, user=anna)) as own,
        ef.connect(filled.url) as everything,
    ):
        yield own, everything


def _load(table: Table) -> dict[str, Any]:
    """Return the row of the load of the first city."""
    return dict(table.frame.filter(pl.col("series") == "consumption").row(0, named=True))


def _reject(database: Database, path: Path) -> None:
    """Load a file with two bad rows of each city, one of an unknown city, and one that is stored already."""
    rows = [f"{city},{NOW:%Y-%m-%dT%H:%M}Z,{value}" for city in ("Berlin", "Pune") for value in ("x", "y")]
    again = f"Berlin,{FIRST:%Y-%m-%dT%H:%M}Z,{frames(FIRST, NOW)[0]['consumption_kwh'][0]}"
    path.write_text(
        "city,timestamp,consumption_kwh\n" + "\n".join([*rows, f"Ulm,{NOW:%Y-%m-%dT%H:%M}Z,1", again]) + "\n"
    )
    with ef.connect(database.url) as platform:
        assert platform.ingest("consumption", path).rejected == 5


def test_arrivals_count_first_versions_by_hour_of_recording(both: Both, filled: Database) -> None:
    """A correction is no arrival: it would move the hours of a value from its recording to the correction."""
    own, everything = both
    first = NOW - timedelta(days=2)
    with ef.connect(filled.url) as platform:
        platform.ingest("consumption", pl.DataFrame({"city": ["Pune"], "timestamp": [first], "consumption_kwh": [7.0]}))
    for reader, city in ((own, "Berlin"), (everything, "Pune")):
        frame = reader.arrivals(city, first, NOW).frame
        assert dict(frame.group_by("series").agg(pl.col("row_count").sum()).iter_rows()) == {
            "consumption": 48,
            "weather": 48,
        }
        load = frame.filter(pl.col("series") == "consumption")
        assert load["first"].min() == first
        assert load["end"].max() == NOW
        # Loaded at once, so the first hour waited longest; without available_at, it counts as known at its end
        assert 46.9 < load["longest_delay_hours"].max() < 49  # type: ignore[operator]
        assert load["median_availability_hours"].to_list() == [0.0] * load.height
    with pytest.raises(UnknownCityError):
        own.arrivals("Pune")


def test_source_is_late_after_one_and_a_half_usual_gaps(both: Both, filled: Database) -> None:
    own, everything = both
    assert everything.sources("Berlin").frame["is_late"].to_list() == [None, None], "one recording has no rhythm"
    with ef.connect(filled.url) as platform:
        for hour in range(2, 7):
            value = {"city": ["Berlin"], "timestamp": [NOW - timedelta(hours=hour)], "consumption_kwh": [7.0]}
            platform.ingest("consumption", pl.DataFrame(value))
    row = _load(own.sources())
    assert (row["city"], row["recording_count"], row["end"]) == ("Berlin", 6, NOW)
    assert row["expected_by"] - row["recorded_at"] == timedelta(hours=1.5 * row["usual_gap_hours"])
    second = timedelta(seconds=1)
    assert not _load(own.sources(as_of=row["expected_by"]))["is_late"]
    assert _load(own.sources(as_of=row["expected_by"] + second))["is_late"]
    assert set(everything.sources().frame["city"]) == {"Berlin", "Pune"}


def test_rejections_are_of_the_city_only(both: Both) -> None:
    """Rows that name an unknown city may be those of others, so they are in no answer."""
    own, everything = both
    frame = own.rejections("Berlin").frame
    assert frame.select("file", "column", "count").rows() == [(FILE, "consumption_kwh", 2)]
    assert frame["line"].to_list() == [2]
    assert json.loads(frame["row_data"][0])["consumption_kwh"] == "x"
    assert "Pune" not in str(frame.to_dicts())
    assert "Ulm" not in str(frame.to_dicts())
    assert everything.rejections("Pune").frame["line"].to_list() == [4]
    with pytest.raises(UnknownCityError):
        own.rejections("Pune")


def test_run_outcomes_show_failed_cities_with_their_reason(both: Both) -> None:
    own, everything = both
    newest = everything.run_outcomes(limit=1).frame
    assert newest.select("city", "has_failed").rows() == [("Berlin", False), ("Leer", True), ("Pune", False)]
    assert newest["notes"].to_list()[::2] == [[], []]
    assert newest["notes"][1][0].startswith("Leer has 0 usable hours of load")
    assert newest["first"].is_null().to_list() == [False, True, False]
    assert own.run_outcomes().frame["city"].unique().to_list() == ["Berlin"]
    assert own.run_outcomes().frame.height == everything.run_outcomes("Berlin").frame.height == 4


def test_promotions_hide_reason_and_login_from_users(both: Both) -> None:
    """The reason is free text of the operator, which here names the other city."""
    own, everything = both
    mine = own.promotions().frame
    assert mine.select("city", "model", "promoted_by", "reason").rows() == [("Berlin", "naive-168", None, None)]
    assert {row["rival"] for row in json.loads(mine["evidence"][0])} == {"naive-24"}
    rows = everything.promotions().frame
    assert rows["city"].to_list() == ["Berlin", "Pune"]
    assert rows["reason"].to_list() == ["Pune needs it"] * 2
    assert rows["promoted_by"].null_count() == 0
