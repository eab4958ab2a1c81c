"""Streams that are closed, full or without a reader, and encodings that lack characters: the command does its work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backups import names, values
from energy_forecast.database import Database
from servers import CommandLine

PROGRAM = Path(sys.executable).with_name("energy-forecast")
LOAD = "city,timestamp,consumption_kwh\n" + "".join(f"Zürich 名,2025-03-02T{hour:02}:00Z,1\n" for hour in range(24))
# What the shell appends to the command: (exit status, lines on standard error that are not progress)
FAULTS = {
    ">/dev/full": 1,
    ">&-": 0,
    "1</dev/null": 1,
    "2>&-": 0,
    "2>/dev/full": 0,
    ">&- 2>&- <&-": 0,
    ">/dev/full 2>/dev/full": 1,
    "| true": 141,
    "2>&1 >/dev/null | true": 0,
    "2>&1 | true": 141,
}


@pytest.fixture
def city(command_line: CommandLine) -> CommandLine:
    """Return a database with a city whose name is not in ASCII or Latin-1."""
    command_line.run("city", "add", "Zürich 名", "--latitude", "47", "--longitude", "8", "--timezone", "Europe/Zurich")
    return command_line


def shell(line: CommandLine, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command by bash, whose status is that of the first program of a pipe."""
    done = subprocess.run(
        ["bash", "-c", f'"$0" {command}; exit "${{PIPESTATUS[0]}}"', PROGRAM],
        env=os.environ | line.environment | environment,
        capture_output=True,
        text=True,
        check=False,
        errors="strict",
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "Fault of the program" not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        *(("city list", fault) for fault in FAULTS),
        *(
            (command, fault)
            for command in ("city list --json", "--help", "--version")
            for fault in (">/dev/full", "| true")
        ),
    ],
)
def test_ends_cleanly_without_a_stream(city: CommandLine, command: str, fault: str) -> None:
    done = shell(city, f"{command} {fault}")
    assert done.returncode == FAULTS[fault], done.stderr
    errors = done.stderr.splitlines()
    if fault in (">/dev/full", "1</dev/null"):
        assert len(errors) == 1
        assert "Standard output cannot be written" in errors[0]
    else:
        assert not errors


@pytest.mark.parametrize("fault", [">/dev/full", ">&- 2>&- <&-", "2>&1 | true", "2>/dev/full"])
def test_does_its_work_without_a_stream(city: CommandLine, database: Database, tmp_path: Path, fault: str) -> None:
    """Progress and results are written between the steps of the work, which they must not undo."""
    (tmp_path / "load.csv").write_text(LOAD)
    done = shell(city, f"ingest consumption {tmp_path / 'load.csv'} {fault}")
    assert done.returncode == FAULTS[fault], done.stderr
    assert values(database, "SELECT count(*) FROM energy_consumption") == [(24,)]


def test_a_failure_keeps_its_status(city: CommandLine) -> None:
    done = shell(city, "city show Nowhere >/dev/full")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert shell(city, "city nonsense >/dev/full").returncode == 2
    assert shell(city, "city nonsense 2>&-").returncode == 2


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "POSIX"},
    ],
    ids=str,
)
def test_prints_names_that_the_encoding_lacks(
    city: CommandLine, database: Database, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [PROGRAM, "city", "list", "--json"],
        env=os.environ | city.environment | environment,
        capture_output=True,
        check=True,
    )
    assert [one["name"] for one in json.loads(done.stdout)] == ["Zürich 名"]
    for command in (["city", "list"], ["--help"]):
        done = subprocess.run(
            [PROGRAM, *command], env=os.environ | city.environment | environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [PROGRAM, "city", "show", "Nö 名"],
        env=os.environ | city.environment | environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"Fault of the program" not in done.stderr
    assert names(database) == {"Zürich 名"}


def test_waits_for_a_slow_reader(city: CommandLine) -> None:
    """A pipe that does not block gives nothing up."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen([PROGRAM, "db", "upgrade", "--sql"], env=os.environ | city.environment, stdout=writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
        text = stream.read()
    assert process.wait() == 0
    assert len(text) > 1 << 16
    assert text.rstrip().endswith("COMMIT;")
