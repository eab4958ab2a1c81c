"""A folder that is watched, by the real command line: each file once, whole, and where its outcome says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString

import polars as pl
import psycopg
import pytest
from psycopg import sql

from energy_forecast.database import Database
from energy_forecast.errors import DataRefusedError, IngestError
from energy_forecast.ingest import WatchedFolder, import_cities, watch
from energy_forecast.ingest.readers.guard import decoding
from held_loads import BEFORE_COMMIT, gone, held_up
from servers import CommandLine, Server

NOW = ("--once", "--settle", "0")


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Path:
    """Return a folder to watch, and two cities in the database."""
    cities = tmp_path / "cities.csv"
    cities.write_text("name,latitude,longitude,timezone\nBerlin,52,13,Europe/Berlin\nPune,18.5,73.9,Asia/Kolkata\n")
    import_cities(database, cities)
    made = tmp_path / "incoming"
    made.mkdir()
    return made


def write(folder: Path, name: str, *rows: str, age: int = 0) -> Path:
    """Write a file of consumption of a given age (s); it appears by a rename, as whole files do."""
    path = folder / f"{name}.tmp"
    path.write_text("city,timestamp,consumption_kwh\n" + "".join(f"{row}\n" for row in rows))
    moment = time.time() - age
    os.utime(path, (moment, moment))
    path.rename(folder / name)
    return folder / name


def hours(city: str, count: int, kwh: int = 5) -> list[str]:
    return [f"{city},2024-01-{1 + n // 24:02}T{n % 24:02}:00Z,{kwh + n % 7}" for n in range(count)]


def files(folder: Path) -> set[str]:
    """Return the relative paths of the folder's content."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {".energy-forecast.lock"}


def rows(database: Database, statement: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url) as connection:
        return connection.execute(statement).fetchall()


BATCHES: LiteralString = (
    "SELECT files -> 0 ->> 'name', inserted, unchanged, rejected FROM ops.ingest_batches"
    " WHERE kind = 'consumption' ORDER BY created_at"
)


def until(process: subprocess.Popen[str], done: Callable[[], object]) -> None:
    """Wait while the process runs."""
    for _ in range(12_000):
        if done():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("it did not come")


@contextmanager
def watching(command_line: CommandLine, folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a running watcher; kill it at the end."""
    process = command_line.start("ingest", "consumption", "--watch", folder, "--settle", "0", *more)
    try:
        until(process, (folder / "failed").is_dir)
        yield process
    finally:
        process.kill()
        process.communicate()


# After the batch is committed, while it is judged
JUDGING: LiteralString = "LOCK TABLE ops.quality_flags IN SHARE MODE"


def test_each_file_is_a_batch_in_the_order_of_writing_and_goes_where_its_outcome_says(
    database: Database, command_line: CommandLine, folder: Path
) -> None:
    write(folder, "b.csv", *hours("Berlin", 48), age=300)
    write(folder, "a.csv", *hours("Pune", 24), "Nowhere,2024-01-01T00:00Z,1", age=200)
    (folder / "note.csv").write_text("this,that\n1,2\n")
    os.utime(folder / "note.csv", (time.time() - 250,) * 2)
    ignored = {".hidden.csv", "coming.csv.part", "coming.tmp"}
    for name in ignored:
        (folder / name).write_text("city,timestamp,consumption_kwh\nBerlin,2025-01-01T00:00Z,1\n")
    (folder / "below").mkdir()
    (folder / "link.csv").symlink_to(folder / "b.csv")

    done = command_line.run("ingest", "consumption", "--watch", folder, *NOW, "--json", status=3)

    document = json.loads(done.stdout)
    assert [one["file"] for one in document["files"]] == ["b.csv", "note.csv", "a.csv"]
    assert (document["loaded"], document["failed"], document["left"]) == (2, 1, [])
    assert [(one.get("inserted"), one.get("rejected")) for one in document["files"]] == [(48, 0), (None, None), (24, 1)]
    assert "no column city" in document["files"][1]["failure"]
    assert "Partial: 1 of 3 files could not be used" in done.stderr
    assert "1 row of loaded files were rejected." in done.stderr
    assert (folder / "link.csv").is_symlink()
    assert files(folder) == ignored | {"done/a.csv", "done/b.csv", "failed/note.csv", "failed/note.csv.txt"}
    assert "no column city" in (folder / "failed" / "note.csv.txt").read_text()
    assert rows(database, BATCHES) == [("b.csv", 48, 0, 0), ("a.csv", 24, 0, 1)]
    assert rows(database, "SELECT file, line FROM ops.rejected_rows") == [("a.csv", 26)]


def test_what_comes_while_it_watches_is_loaded_and_sigterm_ends_it(command_line: CommandLine, folder: Path) -> None:
    with watching(command_line, folder) as process:
        for name in ("one.csv", "two.csv"):
            write(folder, name, *hours("Berlin", 30))
            until(process, (folder / "done" / name).exists)
        (folder / "empty.csv").touch()
        assert process.stderr is not None
        refused = next(line for line in process.stderr if "the file is empty" in line)
        process.send_signal(signal.SIGTERM)
        output, problem = process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in problem
    assert "failed now." in refused
    said = output.splitlines()
    assert "one.csv: Read 30 rows: 30 inserted" in said[0]
    assert "two.csv: Read 30 rows: 0 inserted, 0 corrected, 30 unchanged" in said[1]
    assert said[2] == "Stopped. 2 files loaded, 1 could not be used."
    assert "the file is empty" in (folder / "failed" / "empty.csv.txt").read_text()


def test_a_name_that_was_there_before_overwrites_nothing(command_line: CommandLine, folder: Path) -> None:
    for _ in range(3):
        write(folder, "load.csv", *hours("Berlin", 3))
        write(folder, "bad.csv.gz", "no gzip")
        (folder / "bad.csv.gz").write_bytes(b"\x1f\x8bno gzip")
        command_line.run("ingest", "consumption", "--watch", folder, *NOW, status=3)
    assert files(folder) == {
        *("done/load.csv", "done/load-2.csv", "done/load-3.csv"),
        *(f"failed/bad{number}.csv.gz{text}" for number in ("", "-2", "-3") for text in ("", ".txt")),
    }


def test_ctrl_c_in_the_middle_of_a_batch_stores_nothing_and_puts_the_file_back(
    database: Database, command_line: CommandLine, folder: Path
) -> None:
    with watching(command_line, folder) as process:
        with held_up(database, BEFORE_COMMIT) as held:
            write(folder, "load.csv", *hours("Berlin", 48))
            session = held.waiting()
            assert files(folder) == {"loading/load.csv"}
            process.send_signal(signal.SIGINT)
            _, problem = process.communicate()
        assert process.returncode == 0
        assert "Traceback" not in problem
    assert files(folder) == {"load.csv"}
    gone(database, session)
    assert rows(database, "SELECT count(*) FROM energy_consumption") == [(0,)]


@pytest.mark.parametrize(("step", "stored"), [(BEFORE_COMMIT, 0), (JUDGING, 48)], ids=["before the commit", "after it"])
def test_a_watcher_that_is_killed_loses_nothing_and_loads_nothing_twice(
    database: Database, command_line: CommandLine, folder: Path, step: LiteralString, stored: int
) -> None:
    """After the commit and before the move is where a file could be counted twice."""
    # Without --check, a busy machine may have no time left for the check
    with watching(command_line, folder, "--check") as process, held_up(database, step) as held:
        write(folder, "load.csv", *hours("Berlin", 48))
        session = held.waiting()
        process.kill()
        process.wait()
    gone(database, session)
    assert rows(database, "SELECT count(*) FROM energy_consumption") == [(stored,)]
    # The checks of what is stored wait
    assert rows(database, "SELECT count(*) FROM ops.pending_checks") == [(stored // 48,)]
    assert files(folder) == {"loading/load.csv"}
    # Another of the same name comes before the next watcher
    write(folder, "load.csv", *hours("Berlin", 24, kwh=9))

    command_line.run("ingest", "consumption", "--watch", folder, *NOW, "--check")

    assert files(folder) == {"done/load.csv", "done/load-2.csv"}
    assert rows(database, "SELECT count(*), min(consumption_kwh) FROM energy_consumption") == [(48, 5)]
    assert rows(database, "SELECT sum(inserted), sum(corrected) FROM ops.ingest_batches") == [(48 + 2, 24)]
    assert rows(database, "SELECT count(*) FROM ops.pending_checks") == [(0,)]


def test_a_database_that_is_away_is_waited_for(
    database: Database, server: Server, command_line: CommandLine, folder: Path
) -> None:
    """First it goes in the middle of a batch, then nobody can connect; the file is in hand all the time."""
    name = sql.Identifier(database.name)
    with (
        watching(command_line, folder) as process,
        psycopg.connect(server.url, autocommit=True) as connection,
    ):
        with held_up(database, BEFORE_COMMIT) as held:
            write(folder, "load.csv", *hours("Berlin", 48))
            until(process, held.session)
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND application_name = 'energy-forecast'",
                (database.name,),
            )
        assert process.stderr is not None
        lost = cannot = ""
        for line in process.stderr:
            lost = line if "was lost" in line else lost
            cannot = line if "Cannot connect" in line else cannot
            if cannot:
                break
        assert "The file stays; retry in 1 s." in lost
        assert "The file stays; retry in 2 s." in cannot
        assert files(folder) == {"loading/load.csv"}
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        until(process, (folder / "done" / "load.csv").exists)
        process.send_signal(signal.SIGTERM)
        _, problem = process.communicate()
        assert process.returncode == 0
        assert "The database is back." in problem
    assert rows(database, BATCHES) == [("load.csv", 48, 0, 0)]


def test_with_once_a_database_that_is_away_is_an_error_and_the_file_stays(
    database: Database, server: Server, command_line: CommandLine, folder: Path
) -> None:
    write(folder, "load.csv", *hours("Berlin", 4))
    process = command_line.start("ingest", "consumption", "--watch", folder, *NOW, "--json")
    with held_up(database, BEFORE_COMMIT) as held, psycopg.connect(server.url, autocommit=True) as connection:
        until(process, held.session)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND application_name = 'energy-forecast'",
            (database.name,),
        )
        output, problem = process.communicate()
    assert process.returncode == 1
    document = json.loads(output)
    assert (document["files"], document["loaded"]) == ([], 0)
    assert "lost" in document["error"]
    assert "The connection to the database was lost" in problem
    assert files(folder) == {"load.csv"}


def test_two_watchers_do_not_share_a_folder(command_line: CommandLine, folder: Path) -> None:
    with watching(command_line, folder) as process:
        second = command_line.run("ingest", "weather", "--watch", folder, *NOW, status=1)
        assert "Another watcher uses" in second.stderr
        assert process.poll() is None
    # A killed one leaves no lock behind
    command_line.run("ingest", "consumption", "--watch", folder, *NOW)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="neither files nor folder"),
        pytest.param(("load.csv", "--watch", "."), id="both"),
        pytest.param(("load.csv", "--once"), id="once without a folder"),
        pytest.param(("--watch", ".", "--json"), id="no end and one document"),
        pytest.param(("--watch", ".", "--settle", "-1"), id="a time below zero"),
        pytest.param(("--watch", ".", "--interval", "7"), id="no part of an hour"),
        pytest.param(("--watch", ".", "--timezone", "Moon/Base"), id="no zone"),
        pytest.param(("load.csv", "--timezone", "CEST"), id="an abbreviation is no zone"),
        pytest.param(("--watch", ".", "--unit", "MWh"), id="a unit of nothing"),
        pytest.param(("load.csv", "--unit", "energy=C"), id="a unit of another quantity"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(command_line: CommandLine, arguments: tuple[str, ...]) -> None:
    command_line.run("ingest", "consumption", *arguments, status=2)


def test_what_is_wrong_with_the_folder_or_the_options_is_said_at_once(command_line: CommandLine, folder: Path) -> None:
    """And no file is blamed for it."""
    write(folder, "load.csv", "Berlin,2024-01-01T00:00Z,1")
    for arguments, status, why in (
        (("--watch", folder / "none"), 1, "not found. Create it"),
        (("--watch", folder, "--timezone", "Moon/Base"), 2, "Time zone 'Moon/Base' not found"),
    ):
        assert why in command_line.run("ingest", "consumption", *arguments, *NOW, status=status).stderr
    assert files(folder) == {"load.csv"}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("weather", "city,timestamp,temperature\nBerlin,2024-01-01T00:00Z,1.5\n"),
        ("weather-forecasts", "city,issued_at,timestamp,temperature\nBerlin,2024-01-01T00:00Z,2024-01-01T05:00Z,2\n"),
    ],
)
def test_weather_comes_by_a_folder_and_by_standard_input(
    command_line: CommandLine, folder: Path, kind: str, text: str
) -> None:
    (folder / "w.csv").write_text(text)
    document = json.loads(command_line.run("ingest", kind, "--watch", folder, *NOW, "--json").stdout)
    assert [one["inserted"] for one in document["files"]] == [1]
    output, _ = command_line.start("ingest", kind, "-", "--json", stdin=text).communicate()
    assert (json.loads(output)["read"], json.loads(output)["unchanged"]) == (1, 1)


def test_a_name_that_is_no_text_is_loaded_too(database: Database, command_line: CommandLine, folder: Path) -> None:
    for name, text in ((b"bad\xff.csv", "x"), (b"load\xff.csv", "city,timestamp,consumption_kwh\nPune,2024-01-01,1\n")):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text(text.replace("-01,", "-01T00:00Z,"))
    done = command_line.run("ingest", "consumption", "--watch", folder, *NOW, "--json", status=3)
    assert [one["file"] for one in json.loads(done.stdout)["files"]] == [r"bad\xff.csv", r"load\xff.csv"]
    assert rows(database, BATCHES) == [(r"load\xff.csv", 1, 0, 0)]


@pytest.mark.parametrize("name", ["x" * 251 + ".csv", "ä" * 124 + ".csv.gz", "x." + "y" * 253])
def test_a_name_as_long_as_a_name_can_be_is_in_nobodys_way(tmp_path: Path, name: str) -> None:
    """The number of a second one and the text beside it have to fit as well."""

    def load(path: Path) -> str:
        if path.stat().st_size == 0:
            raise IngestError("empty")
        return path.read_text()

    def all_of_it() -> list[str | None]:
        (tmp_path / name).write_text("some", encoding="utf-8")
        found = list(watch(WatchedFolder(tmp_path, settle=0), load, once=True, report=print))
        (tmp_path / name).touch()
        return [
            one.result for one in [*found, *watch(WatchedFolder(tmp_path, settle=0), load, once=True, report=print)]
        ]

    assert all_of_it() == ["some", None]
    assert all_of_it() == ["some", None]
    assert sorted(path.parent.name for path in tmp_path.glob("*/*")) == ["done"] * 2 + ["failed"] * 4


def test_a_file_that_is_taken_away_while_it_is_loaded_ends_nothing(tmp_path: Path) -> None:
    def load(path: Path) -> str:
        if path.name == "gone.csv":
            path.unlink()
        return path.name

    for name in ("gone.csv", "next.csv"):
        (tmp_path / name).write_text("some")
    found = list(watch(WatchedFolder(tmp_path, settle=0), load, once=True, report=print))
    assert [(one.result, one.moved_to) for one in found] == [
        ("gone.csv", None),
        ("next.csv", tmp_path / "done" / "next.csv"),
    ]


class Clock:
    """Seconds that go on when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_file_is_complete_when_nobody_has_written_to_it_for_a_while(tmp_path: Path) -> None:
    clock = Clock()
    folder = WatchedFolder(tmp_path, settle=5, clock=clock)
    growing, whole = tmp_path / "growing.csv", tmp_path / "whole.csv"
    growing.write_text("a")
    whole.write_text("b")
    assert folder.complete() == []
    clock.now += 4
    growing.write_text("aa")
    assert folder.complete() == []
    clock.now += 1
    assert folder.complete() == ["whole.csv"]
    # The same size, and another time
    growing.write_text("bb")
    os.utime(growing, (1, 1))
    clock.now += 4
    assert folder.complete() == ["whole.csv"]
    clock.now += 5
    assert folder.complete() == ["growing.csv", "whole.csv"], "the one written first before the other"
    # Another of the same name is another file
    whole.unlink()
    whole.write_text("b")
    assert folder.complete() == ["growing.csv"]


@pytest.mark.parametrize("fault", [None, IngestError("cut off")], ids=["loaded", "refused"])
def test_a_file_that_is_written_to_while_it_is_loaded_comes_again(tmp_path: Path, fault: IngestError | None) -> None:
    """Whoever opened it before it was taken still writes to it; a fault of a part says nothing of the whole."""
    seen: list[str] = []

    def load(path: Path) -> int:
        seen.append(path.read_text())
        if len(seen) == 1:
            with path.open("a") as late:
                late.write("more")
            if fault is not None:
                raise fault
        return len(seen)

    (tmp_path / "load.csv").write_text("some")
    with closing(watch(WatchedFolder(tmp_path, settle=0), load, report=seen.append)) as taken:
        first, second = next(taken), next(taken)
    assert (first.name, first.moved_to) == ("load.csv", None)
    assert (second.moved_to, second.result, second.failure) == (tmp_path / "done" / "load.csv", 2, None)
    assert seen == ["some", "somemore"]
    assert files(tmp_path) == {"done/load.csv"}


def test_once_leaves_what_is_still_being_written(tmp_path: Path) -> None:
    """And waits no longer than a whole file needs to settle."""
    (tmp_path / "whole.csv").write_text("some")
    (tmp_path / "growing.csv").write_text("some")

    class Growing(WatchedFolder):
        def arrived(self) -> list[str]:
            with suppress(FileNotFoundError), (tmp_path / "growing.csv").open("r+") as late:
                late.write("more" * len(late.read() + "x"))
            return super().arrived()

    found = list(watch(Growing(tmp_path, settle=0.3), lambda path: path.name, once=True, report=print))
    assert [one.name for one in found] == ["whole.csv"]
    assert files(tmp_path) == {"done/whole.csv", "growing.csv"}


@pytest.mark.parametrize("name", ["loading", "done", "failed"])
@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")], ids=["file", "dead link"])
def test_names_a_file_that_stands_where_a_folder_is_needed(tmp_path: Path, name: str, make: Any) -> None:
    """Other programs write a file called `done` to say that they are."""
    make(tmp_path / name)
    with pytest.raises(IngestError, match=f"/{name} is a file") as caught, WatchedFolder(tmp_path, 0).exclusive():
        raise AssertionError("it must not get here")
    assert caught.value.hint == "Move the file away or rename it, and start the watcher again."


def test_makes_a_folder_again_that_was_taken_away(tmp_path: Path) -> None:
    def load(path: Path) -> None:
        for name in ("done", "failed"):
            (tmp_path / name).rmdir()
        if path.name == "bad.csv":
            raise IngestError("no")

    for name in ("bad.csv", "good.csv"):
        (tmp_path / name).write_text("some")
        assert [one.name for one in watch(WatchedFolder(tmp_path, settle=0), load, once=True, report=print)] == [name]
        for path in files(tmp_path):
            (tmp_path / path).unlink()


def _panics(_path: Path) -> None:
    table = pl.DataFrame({"a": [2**63 - 1]}).select(pl.col("a").cast(pl.Datetime("us")))
    path = _path.with_suffix(".parquet")
    table.write_parquet(path)
    with decoding(path.name, "a table"):
        table.select(pl.col("a").cast(pl.String))


POISON: dict[str, Callable[[Path], object]] = {
    "memory": lambda _path: bytearray(1 << 62),
    "recursion": lambda path: POISON["recursion"](path),  # noqa: PLW0108
    "fault of ours": lambda path: path["timestamp"],  # type: ignore[index]
    "panic": _panics,
    "database": lambda _path: (_ for _ in ()).throw(DataRefusedError("The database refused: value out of range.")),
}


@pytest.mark.parametrize("name", POISON)
def test_sets_a_poison_file_aside_and_goes_on(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever a file makes the loader raise, it must not stop those after it."""

    def load(path: Path) -> str:
        if path.name == "1-poison.csv":
            POISON[name](path)
        return path.name

    for file in ("1-poison.csv", "2-good.csv"):
        (tmp_path / file).write_text("some")
    found = list(watch(WatchedFolder(tmp_path, settle=0), load, once=True, report=print))
    assert [(one.name, one.failure is None) for one in found] == [("1-poison.csv", False), ("2-good.csv", True)]
    assert files(tmp_path) >= {"failed/1-poison.csv", "failed/1-poison.csv.txt", "done/2-good.csv"}
    assert capfd.readouterr().err == ""


def test_sets_a_file_aside_that_was_in_hand_when_watchers_died(tmp_path: Path) -> None:
    """A process that is killed for its memory cannot name the file: the next one must not die of it for ever."""
    (tmp_path / "poison.csv").write_text("some")
    (tmp_path / "good.csv").write_text("some")
    os.utime(tmp_path / "poison.csv", (1, 1))
    script = "import os, sys; from pathlib import Path; from energy_forecast.ingest import WatchedFolder, watch\n"
    script += "load = lambda path: os._exit(9) if path.name == 'poison.csv' else None\n"
    script += "list(watch(WatchedFolder(Path(sys.argv[1]), 0), load, once=True, report=print))"
    statuses = [subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode for _ in range(4)]
    assert statuses == [9, 9, 9, 0]
    assert files(tmp_path) == {"failed/poison.csv", "failed/poison.csv.txt", "done/good.csv"}
    assert "died 3 times" in (tmp_path / "failed" / "poison.csv.txt").read_text()


def test_loads_what_can_be_loaded_between_poison_files(
    database: Database, command_line: CommandLine, folder: Path
) -> None:
    """By the real command line, with Parquet files that made polars panic."""
    moments = pl.Series([0, 2**63 - 1, None], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    extreme = pl.DataFrame({"city": ["Pune"] * 3, "timestamp": moments, "consumption_kwh": [1.0, 2.0, 3.0]})
    extreme.write_parquet(folder / "1.parquet")
    (folder / "2.parquet").write_bytes((folder / "1.parquet").read_bytes()[:-40])
    extreme.drop("timestamp").with_columns(timestamp=pl.lit(5)).write_parquet(folder / "3.parquet")
    extreme[1:].write_parquet(folder / "4.parquet")
    for number in range(1, 5):
        os.utime(folder / f"{number}.parquet", (number, number))
    write(folder, "5.csv", *hours("Pune", 24))
    done = command_line.run("ingest", "consumption", "--watch", folder, *NOW, "--json", status=3)
    assert "panicked" not in done.stderr
    assert "Traceback" not in done.stderr
    assert rows(database, BATCHES) == [("1.parquet", 1, 0, 2), ("4.parquet", 0, 0, 2), ("5.csv", 24, 0, 0)]
    assert rows(database, "SELECT file, line, column_name FROM ops.rejected_rows ORDER BY 1, 2") == [
        ("1.parquet", 2, "timestamp"),
        ("1.parquet", 3, "timestamp"),
        ("4.parquet", 1, "timestamp"),
        ("4.parquet", 2, "timestamp"),
    ]
    assert files(folder) == {"done/1.parquet", "done/5.csv"} | {
        f"failed/{number}.parquet{more}" for number in (2, 3, 4) for more in ("", ".txt")
    }
