"""Cities from a file: added, corrected, or refused with a reason."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from energy_forecast.database import Database, Role
from energy_forecast.database.cities import cities_named, city_named
from energy_forecast.errors import IngestError, UnknownCityError
from energy_forecast.ingest import CityReport, add_city, check_city, import_cities, load_files
from energy_forecast.operations.places import place_findings

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
        return connection.execute(query, parameters).fetchall()


def stored(database: Database) -> dict[str, list[Any]]:
    found = rows(
        database, "SELECT name, latitude::text, longitude::text, timezone, country_code, subdivision FROM cities"
    )
    return {name: row for name, *row in found}


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
    ("A,1,1,UTC,XX,", "country_code"),
    ("A,1,1,UTC,Atlantis,", "country_code"),
    ("A,1,1,UTC,DE,XX", "subdivision"),
    ("A,1,1,UTC,,BY", "subdivision"),
    ("=A,1,1,UTC,,", "name"),
    ("A\u200b,1,1,UTC,,", "name"),
    ("A  B,1,1,UTC,,", "name"),
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
        "line 6 has other values for 'A'",
        "line 4 has other values for 'A'",
    ]


def test_names_are_alike_as_the_database_reads_them(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python lowers the last sigma of a word and the dotted I to something else."""
    names = ("ΒΟΛΟΣ", "ΒΟΛΟΣ".lower()[:-1] + "\u03c3", "İzmir", "izmir")
    alike = "".join(f"{name},39,25,Europe/Athens,,\n" for name in names)
    report = load(database, tmp_path, HEADER + BERLIN + alike)
    assert (report.inserted, report.unchanged, report.rejected) == (3, 2, 0)
    # As of a server whose lower() knows letters that Python does not
    monkeypatch.setattr("energy_forecast.ingest.cities.name_key", lambda name: name)
    report = load(
        database, tmp_path, HEADER + BERLIN.replace("Berlin,", "BERLIN,", 1) + "Volos,39,23,Europe/Athens,,\n"
    )
    assert (report.inserted, report.rejected) == (1, 1)
    assert "'BERLIN' is the name of another city" in report.rejected_examples[0].reason


def test_numbers_of_a_parquet_file_are_taken(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "cities.parquet"
    frame = pl.DataFrame({"name": ["Berlin"], "latitude": [52.52], "longitude": [13], "timezone": ["Europe/Berlin"]})
    frame.write_parquet(path)
    assert import_cities(database, path).inserted == 1
    assert stored(database)["Berlin"][:2] == ["52.520000", "13.000000"]


def test_a_file_without_the_columns_changes_nothing(database: Database, tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no column timezone"):
        load(database, tmp_path, "name,latitude,longitude\nBerlin,1,1\n")


PARIS = "Paris,48.8566,2.3522,Europe/Paris,FR,IDF\n"
TEXAS = "Paris,33.6609,-95.5555,America/Chicago,US,TX\n"


def test_a_city_is_not_moved_to_another_place_unasked(database: Database, tmp_path: Path) -> None:
    """Its values, models and scores would go with it."""
    load(database, tmp_path, HEADER + PARIS)
    (tmp_path / "load.csv").write_text(
        "city,timestamp,consumption_kwh\nPARIS,2025-11-25T08:00Z,1\nparis,2025-11-25T09:00Z,1\n"
    )
    assert load_files(database, "consumption", [tmp_path / "load.csv"]).inserted == 2
    report = load(database, tmp_path, HEADER + TEXAS + BERLIN)
    assert (report.inserted, report.rejected) == (1, 1)
    assert "7,783 km away (Europe/Paris, FR), with 2 values, 0 models and 0 scores" in report.reasons[0]
    assert "`update`" in report.reasons[0]
    assert stored(database)["Paris"][2] == "Europe/Paris"
    for other in (
        "Paris,48.86,2.35,Europe/Brussels,FR,IDF\n",
        "Paris,48.86,2.35,Europe/Paris,BE,\n",
        "paris,49.86,2.35,Europe/Paris,FR,\n",
    ):
        assert load(database, tmp_path, HEADER + other).rejected == 1, other
    for near in ("Paris,48.9,2.4,Europe/Paris,FR,\n", "PARIS,48.8566,2.3522,Europe/Paris,France,FR-IDF\n"):
        assert load(database, tmp_path, HEADER + near).updated == 1, near
    path = tmp_path / "cities.csv"
    path.write_text(HEADER + TEXAS)
    moved = import_cities(database, path, update=True)
    assert moved.updated == 1
    assert "was moved" in moved.notes[0]
    assert stored(database)["Paris"][2:] == ["America/Chicago", "US", "TX"]


def test_a_city_added_by_hand_does_not_take_a_name(database: Database) -> None:
    place = {
        "name": "Düsseldorf",
        "latitude": 51.2,
        "longitude": 6.8,
        "timezone": "Europe/Berlin",
        "country_code": "DE",
    }
    assert add_city(database, check_city(**place)) is not None  # type: ignore[arg-type]
    for same in ("düsseldorf", unicodedata.normalize("NFD", "Düsseldorf")):
        assert add_city(database, check_city(**place | {"name": same})) is None  # type: ignore[arg-type]
        with pytest.raises(
            IngestError, match=r"City 'Düsseldorf' is already stored .*km away \(Europe/Berlin, DE\), with 0 values"
        ):
            add_city(database, check_city(**place | {"name": same, "latitude": 10.0}))  # type: ignore[arg-type]
    with database.transaction(Role.FORECASTER) as connection:
        assert city_named(connection, "DU\u0308SSELDORF").name == "Düsseldorf"
        with pytest.raises(UnknownCityError, match="Did you mean 'Düsseldorf'"):
            cities_named(connection, ["Düsseldоrf"])  # noqa: RUF001 - with a Cyrillic o


def test_rows_find_their_city_in_every_spelling(database: Database, tmp_path: Path) -> None:
    """And an hour that happened twice is told apart across them."""
    load(database, tmp_path, HEADER + "Düsseldorf,51.2,6.8,Europe/Berlin,DE,NW\n")
    names = ["Düsseldorf", "DÜSSELDORF", "Du\u0308sseldorf", "düsseldorf ", "Düsseldorf"]
    hours = ["01:00", "02:00", "02:00", "03:00", "04:00"]
    lines = [f"{name},2025-10-26T{hour},1\n" for name, hour in zip(names, hours, strict=True)]
    (tmp_path / "load.csv").write_text("city,timestamp,consumption_kwh\n" + "".join(lines))
    report = load_files(database, "consumption", [tmp_path / "load.csv"], timezone="city")
    assert (report.inserted, report.rejected) == (5, 0)


def test_stored_codes_that_are_not_known_are_found(database: Database, tmp_path: Path) -> None:
    """Stored before codes were checked; an import with known codes corrects them."""
    load(database, tmp_path, HEADER + BERLIN)
    with psycopg.connect(database.url) as connection:
        for name, country, subdivision in (("Athens", "EL", None), ("Munich", "DE", "Bayern"), ("Nowhere", "XX", None)):
            connection.execute(
                "INSERT INTO cities (name, latitude, longitude, timezone, country_code, subdivision)"
                " VALUES (%s, 1, 1, 'UTC', %s, %s)",
                (name, country, subdivision),
            )
    assert [(finding.city, finding.problem) for finding in place_findings(database)] == [
        ("Athens", "EL is stored for GR"),
        ("Munich", "DE-Bayern is stored for DE-BY"),
        ("Nowhere", "'XX' is not a country with known holidays"),
    ]
    corrected = HEADER + "Athens,1,1,UTC,EL,\nMunich,1,1,UTC,DE,Bayern\nNowhere,1,1,UTC,DE,\n"
    assert load(database, tmp_path, corrected).updated == 3
    assert place_findings(database) == []


@pytest.mark.parametrize(
    "name",
    ["berlin", "Berlin\u200b", "=Berlin", "B\u00a0n", "Du\u0308sseldorf", "a  b", " a", "B\u202en", "\ufeffB", "B\tn"],
)
def test_the_database_refuses_such_names_itself(database: Database, tmp_path: Path, name: str) -> None:
    """Whatever writes there."""
    load(database, tmp_path, HEADER + BERLIN)
    with psycopg.connect(database.url) as connection, pytest.raises(psycopg.errors.IntegrityError):
        connection.execute("INSERT INTO cities (name, latitude, longitude, timezone) VALUES (%s, 1, 1, 'UTC')", (name,))


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
