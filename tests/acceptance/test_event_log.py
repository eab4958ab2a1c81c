"""The event log: off by default, one line an event, and silent in a program that uses the package as a library."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from servers import CommandLine

ADD = ("city", "add", "Berlin", "--latitude", "52.5", "--longitude", "13.4", "--timezone", "Europe/Berlin")


@pytest.fixture
def file(command_line: CommandLine, tmp_path: Path) -> Path:
    """Add Berlin, and return a file of two of its hours and a row of an unknown city."""
    command_line.run(*ADD)
    path = tmp_path / "load.csv"
    path.write_text(
        "city,timestamp,consumption_kwh\nBerlin,2026-01-01T00:00Z,98765.25\nBerlin,2026-01-01T01:00Z,98766.25\n"
        "Oslo,2026-01-01T00:00Z,5\n"
    )
    return path


def with_log(command_line: CommandLine, level: str, style: str = "text") -> CommandLine:
    log = {"ENERGY_FORECAST_LOG_LEVEL": level, "ENERGY_FORECAST_LOG_FORMAT": style}
    return CommandLine(command_line.environment | log)


def events(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def test_log_is_off_by_default(command_line: CommandLine, file: Path) -> None:
    assert "energy_forecast." not in command_line.run("ingest", "consumption", file, status=3).stderr


def test_load_is_logged_with_counts_and_no_values(command_line: CommandLine, file: Path) -> None:
    done = with_log(command_line, "info", "json").run("ingest", "consumption", file, "--json", status=3)
    began, finished = (event for event in events(done.stderr) if event["event"].startswith("load "))
    assert began["event"] == "load began"
    document = json.loads(done.stdout)
    assert finished["event"] == "load finished"
    assert finished["level"] == "info"
    assert (finished["read"], finished["inserted"], finished["rejected"]) == (3, 2, 1)
    assert finished["batch"] == document["batch"]
    assert finished["seconds"] > 0
    assert abs(datetime.now(UTC) - datetime.fromisoformat(finished["time"])).total_seconds() < 600
    assert "9876" not in done.stderr


def test_level_hides_lower_events(command_line: CommandLine, file: Path) -> None:
    done = with_log(command_line, "warning", "json").run("ingest", "consumption", file, status=3)
    assert events(done.stderr) == []


def test_failed_city_is_a_warning_with_its_reason(command_line: CommandLine, file: Path) -> None:
    command_line.run("ingest", "consumption", file, status=3)
    done = with_log(command_line, "warning", "json").run("train", "--model", "linear", status=1)
    failed = [event for event in events(done.stderr) if event["event"] == "part of train failed"]
    assert [(event["part"], event["level"]) for event in failed] == [("Berlin linear", "warning")]
    assert failed[0]["reason"]


def test_text_is_one_line_an_event(command_line: CommandLine, file: Path) -> None:
    done = with_log(command_line, "info").run("ingest", "consumption", file, status=3)
    (line,) = (line for line in done.stderr.splitlines() if "load finished" in line)
    assert " INFO energy_forecast.ingest" in line
    assert " read=3 inserted=2 corrected=0 unchanged=0 rejected=1" in line


def test_unknown_level_is_refused(command_line: CommandLine) -> None:
    done = with_log(command_line, "loud").run("city", "list", status=1)
    assert "ENERGY_FORECAST_LOG_LEVEL is 'loud'. Set it to debug, info, warning or error." in done.stderr


def test_library_prints_nothing() -> None:
    """Python prints warnings of a logger without a handler; the package has a NullHandler."""
    code = "import energy_forecast, logging; logging.getLogger('energy_forecast.x').warning('event')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
