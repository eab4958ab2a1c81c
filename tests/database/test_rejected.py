"""Rows that could not be taken, by the real command line: listed, written to a file, and a failure if they are all."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from energy_forecast.database import Database
from energy_forecast.ingest import import_cities
from servers import CommandLine

HEADER = "city,timestamp,consumption_kwh\n"
# One row that can be taken, one that cannot, and one that is no row
SOME = HEADER + "Berlin,2026-01-05T00:00Z,1\nBerlin,2026-01-05T01:00,2\nBerlin\n"
NONE = HEADER + "Berlin,2026-01-05T00:00,1\nBerlin,2026-01-05T01:00,2\n"


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Path:
    """Return a folder with files of which some, none and all rows are valid; Berlin is in the database."""
    (tmp_path / "cities.csv").write_text("name,latitude,longitude,timezone\nBerlin,52,13,Europe/Berlin\n")
    import_cities(database, tmp_path / "cities.csv")
    made = tmp_path / "incoming"
    made.mkdir()
    (made / "none.csv").write_text(NONE)
    (tmp_path / "some.csv").write_text(SOME)
    (tmp_path / "good.csv").write_text(HEADER + "Berlin,2026-01-06T00:00Z,1\n")
    return made


def test_a_load_of_which_no_row_could_be_used_is_a_failure_and_keeps_them(
    database: Database, command_line: CommandLine, folder: Path
) -> None:
    """A script that looks at the exit status must not go on to forecast from nothing."""
    done = command_line.run("ingest", "consumption", folder / "none.csv", "--json", status=1)
    report = json.loads(done.stdout)
    assert (report["read"], report["rejected"]) == (2, 2)
    assert "All 2 rows were rejected, and nothing was loaded. The first: none.csv:2: timestamp:" in done.stderr
    assert f"energy-forecast ingest rejected {report['batch']}" in done.stderr
    with psycopg.connect(database.url) as connection:
        assert connection.execute(
            "SELECT read, rejected, (SELECT count(*) FROM ops.rejected_rows WHERE batch_id = id)"
            " FROM ops.ingest_batches WHERE kind = 'consumption'"
        ).fetchall() == [(2, 2, 2)]


def test_a_load_of_some_rows_or_of_a_file_without_rows_is_none(command_line: CommandLine, folder: Path) -> None:
    """Some rows are not all rows: exit status 3, unless that is accepted."""
    done = command_line.run("ingest", "consumption", folder.parent / "some.csv", status=3)
    assert "Partial: 2 of 3 rows were rejected. With --allow-partial the exit status is 0." in done.stderr
    command_line.run("ingest", "consumption", folder.parent / "some.csv", "--allow-partial")
    (folder / "empty.csv").write_text(HEADER)
    command_line.run("ingest", "consumption", folder / "empty.csv")
    command_line.run("ingest", "consumption", folder.parent / "good.csv", folder / "none.csv", status=3)
    command_line.run("ingest", "consumption", folder / "none.csv", "--allow-partial", status=1)


def test_an_import_of_which_no_city_could_be_used_is_a_failure(command_line: CommandLine, folder: Path) -> None:
    bad = folder.parent / "bad.csv"
    bad.write_text("name,latitude,longitude,timezone\nPune,95,73.9,Asia/Kolkata\n")
    done = command_line.run("city", "import", bad, "--json", status=1)
    assert json.loads(done.stdout)["rejected"] == 1
    assert "The only row was rejected" in done.stderr
    bad.write_text(bad.read_text() + "Agra,27.2,78,Asia/Kolkata\n")
    assert "1 of 2 cities" in command_line.run("city", "import", bad, "--json", status=3).stderr
    command_line.run("city", "import", bad, "--allow-partial")


def test_a_watched_file_of_which_no_row_could_be_used_goes_to_failed(command_line: CommandLine, folder: Path) -> None:
    (folder / "some.csv").write_text(SOME)
    done = command_line.run("ingest", "consumption", "--watch", folder, "--once", "--settle", "0", "--json", status=3)
    document = json.loads(done.stdout)
    found = {
        one["file"]: (Path(one["moved_to"]).parent.name, one["read"], one["rejected"]) for one in document["files"]
    }
    assert found == {"none.csv": ("failed", 2, 2), "some.csv": ("done", 3, 2)}
    assert (document["loaded"], document["failed"]) == (1, 1)
    assert "All 2 rows were rejected" in (folder / "failed" / "none.csv.txt").read_text()
    assert "1 of 2 files could not be used." in done.stderr
    assert "2 rows of loaded files were rejected." in done.stderr
    watch = ("ingest", "consumption", "--watch", folder, "--once", "--settle", "0")
    (folder / "some.csv").write_text(SOME)
    command_line.run(*watch, status=3)
    (folder / "some.csv").write_text(SOME)
    (folder / "none.csv").write_text(NONE)
    command_line.run(*watch, "--allow-partial")
    (folder / "none.csv").write_text(NONE)
    command_line.run(*watch, "--allow-partial", status=1)


def test_rejected_rows_are_listed_of_the_newest_load_or_of_one_that_is_named(
    command_line: CommandLine, folder: Path
) -> None:
    old = json.loads(command_line.run("ingest", "consumption", folder.parent / "some.csv", "--json", status=3).stdout)[
        "batch"
    ]
    shown = command_line.run("ingest", "rejected")
    assert "2 of 3 rows rejected: consumption of" in shown.stdout
    assert "some.csv" in shown.stdout
    assert "fields where the header has 3" in shown.stdout
    assert "1 more" in command_line.run("ingest", "rejected", "--limit", "1").stderr

    command_line.run("ingest", "consumption", folder.parent / "good.csv")
    assert "0 of 1 row rejected" in command_line.run("ingest", "rejected").stdout
    document = json.loads(command_line.run("ingest", "rejected", old, "--json").stdout)
    assert (document["batch"], document["read"], document["rejected"], document["files"]) == (old, 3, 2, ["some.csv"])
    assert [(row["file"], row["line"], row["column"]) for row in document["rows"]] == [
        ("some.csv", 3, "timestamp"),
        ("some.csv", 4, None),
    ]
    assert document["rows"][0]["row"] == {
        "city": "Berlin",
        "timestamp": "2026-01-05T01:00",
        "consumption_kwh": "2",
    }


def test_rejected_rows_are_written_to_a_file(command_line: CommandLine, folder: Path) -> None:
    command_line.run("ingest", "consumption", folder.parent / "some.csv", status=3)
    output = folder.parent / "rejected.csv"
    command_line.run("ingest", "rejected", "--output", output)
    with output.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["file"], row["line"], row["column"]) for row in rows] == [
        ("some.csv", "3", "timestamp"),
        ("some.csv", "4", ""),
    ]
    assert json.loads(rows[1]["row"]) == {"text": "Berlin"}
    assert {row["cell_only"] for row in rows} == {"false"}


WEATHER = """city,timestamp,temperature,humidity,wind_speed,precipitation
Berlin,2026-01-01T00:00Z,3.1,90,1,0
Berlin,2026-01-01T01:00Z,3.0,92,1,-0.1
Berlin,2026-01-01T02:00Z,2.8,101,calm,T
Berlin,2026-01-01T03:00Z,2.7,95,1,0.2
Berlin,2026-01-01T04:00Z,99,101,1,0
"""


def test_an_implausible_optional_cell_is_listed_and_its_row_is_used(command_line: CommandLine, folder: Path) -> None:
    """KNMI writes -1 for a trace of rain and METAR 101 percent: neither may cost the temperature."""
    path = folder.parent / "weather.csv"
    path.write_text(WEATHER)
    done = command_line.run("ingest", "weather", path, status=3)
    assert "4 inserted, 0 corrected, 0 unchanged, 1 rejected; 4 cells left empty" in done.stdout
    assert "Left empty: 1 cell, wind_speed: 'calm' is not a number." in done.stderr
    assert "Left empty: 1 cell, humidity: '101' is not between 0 and 100 percent." in done.stderr
    report = json.loads(command_line.run("ingest", "weather", path, "--json", "--allow-partial").stdout)
    assert (report["unchanged"], report["rejected"], report["cells_left_empty"], report["kept"]) == (4, 1, 4, 5)
    assert {(one["column"], one["count"], one["cell_only"]) for one in report["reasons"]} == {
        ("precipitation", 1, True),
        ("humidity", 1, True),
        ("wind_speed", 1, True),
        ("temperature", 1, False),
    }
    shown = json.loads(command_line.run("ingest", "rejected", "--json").stdout)
    assert (shown["rejected"], shown["cells_left_empty"], shown["kept"]) == (1, 4, 5)
    assert [(row["line"], row["column"], row["cell_only"]) for row in shown["rows"] if row["cell_only"]] == [
        (3, "precipitation", True),
        (4, "humidity", True),
        (4, "wind_speed", True),
        (4, "precipitation", True),
    ]
    assert shown["rows"][0]["row"]["precipitation"] == "-0.1"
    path.write_text("\n".join(WEATHER.splitlines()[:5]) + "\n")
    command_line.run("ingest", "weather", path)


def test_keeps_a_limited_number_of_rejected_rows_and_counts_the_others(command_line: CommandLine, folder: Path) -> None:
    """A compressed file of some kilobytes must not fill the disk of the database."""
    limited = CommandLine(command_line.environment | {"ENERGY_FORECAST_REJECTED_ROWS_KEPT": "10"})
    path = folder.parent / "many.csv.gz"
    bad = "Berlin,2026-01-05T01:00,2\n" * 30_000 + "Berlin\n" * 20_000 + f"Berlin,{'x' * 400_000},1\n" * 3
    path.write_bytes(gzip.compress((HEADER + "Berlin,2026-01-05T00:00Z,1\n" + bad).encode()))
    assert path.stat().st_size < 10_000
    report = json.loads(limited.run("ingest", "consumption", path, "--json", status=3).stdout)
    assert (report["read"], report["inserted"], report["rejected"], report["kept"]) == (50_004, 1, 50_003, 10)
    assert [(one["column"], one["reason"][:20], one["count"]) for one in report["reasons"]] == [
        ("timestamp", "... has no offset; w", 30_000),
        (None, "... fields where the", 20_000),
        ("timestamp", "... is not an ISO 86", 3),
    ]
    done = limited.run("ingest", "consumption", path, status=3)
    assert "Rejected: 30,000 rows, for example timestamp: '2026-01-05T01:00' has no offset;" in done.stderr
    shown = limited.run("ingest", "rejected")
    assert "50,003 of 50,004 rows rejected" in shown.stdout
    assert "10 of 50,003 are kept; by reason:" in shown.stderr
    assert "30,000 rows: timestamp: ... has no offset" in shown.stderr


def test_a_load_that_is_not_there_is_said(command_line: CommandLine) -> None:
    assert "Nothing was loaded yet" in command_line.run("ingest", "rejected", status=1).stderr
    missing = uuid4()
    assert f"Batch {missing} not found" in command_line.run("ingest", "rejected", str(missing), status=1).stderr
    command_line.run("ingest", "rejected", "yesterday", status=2)


def test_the_text_of_a_file_cannot_command_the_terminal(command_line: CommandLine, folder: Path) -> None:
    """Escape sequences in a header, a name or a value, and spaces that look like others, are shown as what they are."""
    path = folder.parent / "escapes.csv"
    lines = [
        "O\x1b[2Jslo,2026-07-02T01:00Z,6,1",
        "Berlin,2026-07-02T01:00Z,\x9b31mred,1",
        "Berlin\xa0,2026-07-02T01:00Z,6,1",
    ]
    path.write_text("city,timestamp,consumption_kwh,\x1b]0;title\x07\n" + "\n".join(lines) + "\n", encoding="utf-8")
    done = command_line.run("ingest", "consumption", path, status=1)
    shown = done.stdout + done.stderr + command_line.run("ingest", "rejected").stdout
    assert all(text in shown for text in (r"'O\x1b[2Jslo'", r"'\x9b31mred'", r"'Berlin\xa0'", r"\x1b]0;title\x07"))
    assert [sign for sign in shown if not sign.isprintable() and sign != "\n"] == []
