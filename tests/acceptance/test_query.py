"""The common questions, as a person asks them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from energy_forecast.database import Database
from servers import CommandLine, Server

UNTIL = "2025-10-26T05:20Z"


@pytest.fixture(scope="module")
def loaded(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Berlin by ten minutes over the day of 25 hours, into an hour under way; Pune by local hours."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "cities.csv").write_text(
        "name,latitude,longitude,timezone\nBerlin,52.5,13.4,Europe/Berlin\nPune,18.5,73.9,Asia/Kolkata\n"
    )
    minutes = [(day, hour, minute) for day in (24, 25, 26) for hour in range(24) for minute in range(0, 60, 10)]
    known = [m for m in minutes if m < (26, 5, 20) and m != (26, 2, 30)]
    (folder / "consumption.csv").write_text(
        "city,timestamp,consumption_kwh\n"
        + "".join(f"Berlin,2025-10-{d}T{h:02}:{m:02}Z,{100 + h}\n" for d, h, m in known)
    )
    (folder / "pune.csv").write_text(
        "city,timestamp,consumption_kwh\n" + "".join(f"Pune,2025-10-25T{h:02}:00+05:30,{h}\n" for h in range(24))
    )
    (folder / "weather.csv").write_text(
        "city,timestamp,temperature\n"
        + "".join(f"Berlin,2025-10-{d}T{h:02}:00Z,{h / 2}\n" for d in (24, 25) for h in range(24))
    )
    with server.copy_of(template) as database:
        command_line = CommandLine.on(database, folder / "home")
        command_line.run("city", "import", folder / "cities.csv")
        for name in ("consumption.csv", "pune.csv"):
            command_line.run("ingest", "consumption", folder / name)
        command_line.run("ingest", "weather", folder / "weather.csv")
        yield database


@pytest.fixture
def cli(loaded: Database, tmp_path: Path) -> CommandLine:
    return CommandLine.on(loaded, tmp_path / "home")


def document(command_line: CommandLine, *arguments: str | Path) -> Any:
    return json.loads(command_line.run(*arguments, "--json").stdout)


def test_recent_hours_stand_on_the_citys_clock_with_parts_shown(cli: CommandLine) -> None:
    shown = cli.run("query", "recent", "--city", "Berlin", "--hours", "7", "--until", UNTIL).stdout
    assert "Europe/Berlin" in shown
    for line in (
        "2025-10-26 02:00 +02:00  600.00  -        whole",
        "2025-10-26 02:00 +01:00  606.00  -        whole",
        "2025-10-26 03:00 +01:00  510.00  -        part: 50 of 60 min",
        "2025-10-26 06:00 +01:00  210.00  -        part: 20 of 60 min",
    ):
        assert line.split() in [one.split() for one in shown.splitlines()], shown
    rows = document(cli, "query", "recent", "--city", "Pune", "--hours", "2", "--until", "2025-10-26T00:00+05:30")[
        "rows"
    ]
    assert [(row["hour"], row["local_hour"], row["total_consumption"]) for row in rows] == [
        ("2025-10-25T16:30:00Z", "2025-10-25 22:00 +05:30", 22),
        ("2025-10-25T17:30:00Z", "2025-10-25 23:00 +05:30", 23),
    ]


def test_days_have_the_hours_that_they_have(cli: CommandLine) -> None:
    rows = document(cli, "query", "recent", "--city", "Berlin", "--hours", "30", "--by", "day", "--until", UNTIL)[
        "rows"
    ]
    assert [(row["local_date"], row["hours"], row["is_complete"]) for row in rows] == [
        ("2025-10-25", 24, True),
        ("2025-10-26", 25, False),
    ]
    # The 25th from 22:00Z: two hours of the evening before, then 22 of its own
    assert rows[0]["total_consumption"] == 6 * (sum(range(100, 124)))


def test_consumption_stands_beside_the_temperature(cli: CommandLine, tmp_path: Path) -> None:
    asked = ("query", "weather-correlation", "--city", "Berlin", "--until", UNTIL)
    found = document(cli, *asked, "--bin", "4")
    assert [(row["temperature"], row["sample_count"]) for row in found["rows"]] == [(0, 16), (4, 16), (8, 16)]
    # Hours 0 to 7, then 8 to 15, then 16 to 23, of six times 100 and the hour
    assert [row["avg_consumption"] for row in found["rows"]] == [621, 669, 717]
    assert (found["hours"], found["part_hours"], found["hours_without_weather"]) == (48, 2, 4)
    assert found["coefficient"] == pytest.approx(1)
    plot = tmp_path / "weather.html"
    shown = cli.run(*asked, "--plot", plot)
    assert "Pearson" in shown.stdout
    assert "4 hours are left out: they have no weather" in shown.stderr
    assert "Consumption by temperature of Berlin" in plot.read_text()


def test_nothing_to_show_says_where_there_is_something(cli: CommandLine, tmp_path: Path) -> None:
    """A record of the past has no last 24 hours."""
    plot = tmp_path / "nothing.html"
    said = cli.run("query", "recent", "--city", "Berlin", "--plot", plot).stderr
    assert "starts at 2025-10-26 05:10Z" in said
    assert "--until 2025-10-26T06:10Z" in said
    assert plot.exists()
    assert "Nothing was scored" in cli.run("query", "model-performance").stdout
    assert document(cli, "query", "model-performance")["rows"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("recent", "--city", "Atlantis"), 1, "There is no city 'Atlantis'"),
        (("recent", "--city", "Berlin", "--hours", "0"), 2, "greater than or equal to 1"),
        (("recent", "--city", "Berlin", "--until", "2025-01-01"), 2, "has no offset"),
        (("weather-correlation", "--city", "Berlin", "--bin", "0"), 2, "greater than or equal to 0.01"),
        (("weather-correlation", "--city", "Berlin", "--bin", "nan"), 2, "less than or equal to 50"),
        (("weather-correlation", "--city", "Berlin", "--plot", "a.png"), 2, ".html"),
        (("model-performance", "--days", "-1"), 2, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(
    cli: CommandLine, arguments: tuple[str, ...], status: int, says: str
) -> None:
    stderr = " ".join(cli.run("query", *arguments, status=status).stderr.replace("│", " ").split())
    assert says in stderr


def test_a_person_asks_of_her_own_cities_with_her_own_login(loaded: Database, cli: CommandLine, tmp_path: Path) -> None:
    """No role of the platform is hers to take; what she may see is decided in the database."""
    anna = f"anna_{uuid4().hex[:8]}"
    cli.run("user", "add", anna)
    try:
        cli.run("user", "grant", anna, "--city", "Berlin")
        url = cli.environment["ENERGY_FORECAST_DATABASE_URL"]
        hers = CommandLine(
            {
                "ENERGY_FORECAST_DATABASE_URL": f"postgresql://{anna}@{url.partition('@')[2]}",
                "ENERGY_FORECAST_HOME": str(tmp_path / "hers"),
            }
        )
        asked = ("--city", "Berlin", "--until", UNTIL)
        for question in ("recent", "weather-correlation"):
            assert document(hers, "query", question, *asked) == document(cli, "query", question, *asked)
        assert document(hers, "query", "recent", *asked, "--by", "day")["rows"]
        assert document(hers, "query", "model-performance")["rows"] == []
        assert "There is no city 'Pune'" in hers.run("query", "recent", "--city", "Pune", status=1).stderr
    finally:
        with psycopg.connect(loaded.url) as connection:
            connection.execute("DELETE FROM user_city_access WHERE user_id = %s", (anna,))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(anna)))
