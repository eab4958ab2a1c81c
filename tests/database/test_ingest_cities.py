"""Cities from a file: added, corrected, or refused with a reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from energy_forecast.database import Database
from energy_forecast.errors import IngestError
from energy_forecast.ingest import CityReport, check_city, import_cities

HEADER = "name,latitude,longitude,timezone,country_code,subdivision\n"
BERLIN = "Berlin,52.52,13.405,Europe/Berlin,DE,BE\n"


def load(database: Database, folder: Path, text: str) -> CityReport:
    path = folder / "cities.csv"
    path.write_text(text)
    report = import_cities(database, path)
    assert report.read == report.inserted + report.updated + report.unchanged + report.rejected
    assert rows(
        database,
        "SELECT kind, read, inserted, corrected, unchanged, rejected,"
        " (SELECT count(*) FROM ops.rejected_rows WHERE batch_id = id) FROM ops.ingest_batches WHERE id = %s",
        report.batch,
    ) == [("cities", report.read, report.inserted, report.updated, report.unchanged, report.rejected, report.rejected)]
    return report


def rows(database: Database, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url) as connection:
        return connection.execute(query, parameters).fetchall()  # type: ignore[call-overload,no-any-return]


def stored(database: Database) -> dict[str, tuple[Any, ...]]:
    found = rows(
        database, "SELECT name, latitude::text, longitude::text, timezone, country_code, subdivision FROM cities"
    )
    return {name: row for name, *row in found}  # type: ignore[misc]


def test_cities_are_added_once(database: Database, tmp_path: Path) -> None:
    text = HEADER + BERLIN + "São Paulo,-23.55,-46.63,America/Sao_Paulo,br,\nUTC,0,0,UTC,,\n"
    assert load(database, tmp_path, text).inserted == 3
    before = rows(database, "SELECT * FROM cities ORDER BY name")
    assert load(database, tmp_path, text).unchanged == 3
    assert rows(database, "SELECT * FROM cities ORDER BY name") == before, "not even updated_at"
    assert stored(database)["São Paulo"] == ["-23.550000", "-46.630000", "America/Sao_Paulo", "BR", None]


def test_a_city_is_corrected_by_what_the_file_says_and_keeps_the_rest(database: Database, tmp_path: Path) -> None:
    load(database, tmp_path, HEADER + BERLIN)
    assert load(database, tmp_path, "name,latitude,longitude,timezone\nBerlin,52.5,13.4,Europe/Berlin\n").updated == 1
    assert stored(database)["Berlin"] == ["52.500000", "13.400000", "Europe/Berlin", "DE", "BE"]
    assert load(database, tmp_path, HEADER + "Berlin,52.5,13.4,Europe/Berlin,DE,\n").unchanged == 1


def test_the_seventh_place_of_a_degree_is_rounded_as_postgresql_does(database: Database, tmp_path: Path) -> None:
    text = HEADER + "Berlin,52.1234565,-13.1234565,Europe/Berlin,,\n"
    load(database, tmp_path, text)
    assert stored(database)["Berlin"][:2] == ["52.123457", "-13.123457"]
    assert load(database, tmp_path, text).unchanged == 1


BAD_ROWS = [
    (",1,1,UTC,,", "name"),
    ("x" * 101 + ",1,1,UTC,,", "name"),
    ("a\x00b,1,1,UTC,,", "name"),
    ("a\tb,1,1,UTC,,", "name"),
    ("A,91,1,UTC,,", "latitude"),
    ("A,1,-180.0000001,UTC,,", "longitude"),
    ("A,NaN,1,UTC,,", "latitude"),
    ("A,1e1,1,UTC,,", "latitude"),
    ("A,,1,UTC,,", "latitude"),
    ('A,"52,5",1,UTC,,', "latitude"),
    ("A,1,1,Middle/Earth,,", "timezone"),
    ("A,1,1,europe/berlin,,", "timezone"),
    ("A,1,1,CET,,", "timezone"),
    ("A,1,1,EST5EDT,,", "timezone"),
    ("A,1,1,+02:00,,", "timezone"),
    ("A,1,1,,,", "timezone"),
    ("A,1,1,UTC,DEU,", "country_code"),
    ("A,1,1,UTC,Germany,", "country_code"),
    ("A,1,1,UTC,D1,", "country_code"),
    ("A,1,1,UTC,\u00df,", "country_code"),
    ("A,1,1,UTC,DE,Bavaria and more", "subdivision"),
    ("A,1,1,UTC,DE", None),
]


def test_a_row_that_cannot_be_taken_is_kept_with_its_line_and_the_others_are_loaded(
    database: Database, tmp_path: Path
) -> None:
    text = HEADER + "".join(f"{row}\n" for row, _ in BAD_ROWS) + BERLIN
    report = load(database, tmp_path, text)
    assert (report.inserted, report.rejected) == (1, len(BAD_ROWS))
    found = rows(
        database, "SELECT line, column_name FROM ops.rejected_rows WHERE batch_id = %s ORDER BY line", report.batch
    )
    assert found == [(line, column) for line, (_, column) in enumerate(BAD_ROWS, start=2)]
    assert len(report.rejected_examples) == len(report.reasons) == 10
    assert report.reasons[0] == "cities.csv:2: name: is empty"


def test_rows_that_contradict_each_other_are_all_refused(database: Database, tmp_path: Path) -> None:
    text = HEADER + BERLIN + BERLIN.replace("52.52", "52.520000") + "A,1,1,UTC,,\nB,1,1,UTC,,\nA,2,1,UTC,,\n"
    report = load(database, tmp_path, text)
    assert (report.inserted, report.unchanged, report.rejected) == (2, 1, 2)
    assert [row.reason for row in report.rejected_examples] == [
        "line 6 says something else of 'A'",
        "line 4 says something else of 'A'",
    ]


def test_numbers_of_a_parquet_file_are_taken(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "cities.parquet"
    frame = pl.DataFrame({"name": ["Berlin"], "latitude": [52.52], "longitude": [13], "timezone": ["Europe/Berlin"]})
    frame.write_parquet(path)
    assert import_cities(database, path).inserted == 1
    assert stored(database)["Berlin"][:2] == ["52.520000", "13.000000"]


def test_a_file_without_the_columns_changes_nothing(database: Database, tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no column timezone"):
        load(database, tmp_path, "name,latitude,longitude\nBerlin,1,1\n")


def test_two_imports_at_once_add_each_city_once(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    path.write_text(HEADER + "".join(f"City {n},1,1,UTC,,\n" for n in range(200)))
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: import_cities(database, path), range(3)))
    assert sorted(report.inserted for report in reports) == [0, 0, 200]


def test_a_city_named_by_hand_is_checked_in_the_same_way() -> None:
    good = check_city(name=" Berlin ", latitude=52.52, longitude=13.4, timezone="Europe/Berlin", country_code="de")
    assert (good["name"], str(good["latitude"]), good["country_code"]) == ("Berlin", "52.520000", "DE")
    for wrong in ({"latitude": float("nan")}, {"longitude": 181.0}, {"timezone": "CET"}, {"name": " "}):
        arguments: dict[str, Any] = {"name": "A", "latitude": 1.0, "longitude": 1.0, "timezone": "UTC"} | wrong
        with pytest.raises(IngestError, match=next(iter(wrong))):
            check_city(**arguments)
