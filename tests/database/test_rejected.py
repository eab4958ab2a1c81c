"""Rows that could not be taken, by the real command line: listed, written to a file, and a failure if they are all."""

from __future__ import annotations

import csv
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
    """A folder with files of which some rows, no rows and all rows can be taken, and Berlin in the database."""
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
    command_line.run("ingest", "consumption", folder.parent / "some.csv")
    (folder / "empty.csv").write_text(HEADER)
    command_line.run("ingest", "consumption", folder / "empty.csv")
    command_line.run("ingest", "consumption", folder.parent / "good.csv", folder / "none.csv")


def test_an_import_of_which_no_city_could_be_used_is_a_failure(command_line: CommandLine, folder: Path) -> None:
    bad = folder.parent / "bad.csv"
    bad.write_text("name,latitude,longitude,timezone\nPune,95,73.9,Asia/Kolkata\n")
    done = command_line.run("city", "import", bad, "--json", status=1)
    assert json.loads(done.stdout)["rejected"] == 1
    assert "The only row was rejected" in done.stderr


def test_a_watched_file_of_which_no_row_could_be_used_goes_to_failed(command_line: CommandLine, folder: Path) -> None:
    (folder / "some.csv").write_text(SOME)
    done = command_line.run("ingest", "consumption", "--watch", folder, "--once", "--settle", "0", "--json", status=1)
    document = json.loads(done.stdout)
    found = {
        one["file"]: (Path(one["moved_to"]).parent.name, one["read"], one["rejected"]) for one in document["files"]
    }
    assert found == {"none.csv": ("failed", 2, 2), "some.csv": ("done", 3, 2)}
    assert (document["loaded"], document["failed"]) == (1, 1)
    assert "All 2 rows were rejected" in (folder / "failed" / "none.csv.txt").read_text()


def test_rejected_rows_are_listed_of_the_newest_load_or_of_one_that_is_named(
    command_line: CommandLine, folder: Path
) -> None:
    old = json.loads(command_line.run("ingest", "consumption", folder.parent / "some.csv", "--json").stdout)["batch"]
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
    command_line.run("ingest", "consumption", folder.parent / "some.csv")
    output = folder.parent / "rejected.csv"
    command_line.run("ingest", "rejected", "--output", output)
    with output.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["file"], row["line"], row["column"]) for row in rows] == [
        ("some.csv", "3", "timestamp"),
        ("some.csv", "4", ""),
    ]
    assert json.loads(rows[1]["row"]) == {"text": "Berlin"}


def test_a_load_that_is_not_there_is_said(command_line: CommandLine) -> None:
    assert "Nothing was loaded yet" in command_line.run("ingest", "rejected", status=1).stderr
    missing = uuid4()
    assert f"There is no load {missing}" in command_line.run("ingest", "rejected", str(missing), status=1).stderr
    command_line.run("ingest", "rejected", "yesterday", status=2)
