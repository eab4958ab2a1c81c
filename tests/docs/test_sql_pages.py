"""The SQL of the documents, typed into psql as it stands."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from energy_forecast.database import Database
from servers import CommandLine, Server

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def typed(server: Server, database: Database, page: str, zone: str) -> list[str]:
    """Run every statement of a page in one psql session; return the number of rows of each answer, as printed."""
    user = f"anna_{uuid4().hex[:8]}"
    script = "\n".join(blocks(page)).replace("anna", user)
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "INSERT INTO cities (name, latitude, longitude, timezone) VALUES ('Hidden', 0, 0, 'Asia/Tokyo')"
        )
    try:
        done = subprocess.run(
            [server.tool("psql"), "--no-psqlrc", "--set=ON_ERROR_STOP=1", database.url],
            input=f"SET timezone = '{zone}';\n{script}",
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        with psycopg.connect(database.url) as connection:
            connection.execute("DELETE FROM user_city_access WHERE user_id = %s", (user,))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(user)))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(r"^ Munich\n\(1 row\)$", done.stdout, re.MULTILINE), "the user sees another city"
    return re.findall(r"^\((\d+) rows?\)$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_statements_for_psql_alone_run(server: Server, database: Database, zone: str) -> None:
    answers = typed(server, database, "howto/with-psql.md", zone)
    assert len(blocks("howto/with-psql.md")) == 5
    assert len(answers) == 8
    # No model was scored
    assert answers.count("0") == 1


@pytest.fixture
def munich(server: Server, template: str, tmp_path: Path) -> Iterator[Database]:
    """Give a database with a month of Munich, a current forecast, and a backtest with its scores."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now - timedelta(hours=n) for n in range(24 * 35, 0, -1)]
    (tmp_path / "load.csv").write_text(
        "city,timestamp,consumption_kwh,peak_demand_kw\n"
        + "".join(f"Munich,{h:%Y-%m-%dT%H:%MZ},{4000 + 100 * h.hour + h.day},{5000 + 100 * h.hour}\n" for h in hours)
    )
    (tmp_path / "weather.csv").write_text(
        "city,timestamp,temperature\n" + "".join(f"Munich,{h:%Y-%m-%dT%H:%MZ},{5 + h.hour / 2}\n" for h in hours)
    )
    with server.copy_of(template) as database:
        command_line = CommandLine.on(database, tmp_path / "home")
        place = ("--latitude", "48.14", "--longitude", "11.58", "--timezone", "Europe/Berlin")
        command_line.run("city", "add", "Munich", *place)
        command_line.run("ingest", "consumption", tmp_path / "load.csv")
        command_line.run("ingest", "weather", tmp_path / "weather.csv")
        command_line.run("train", "--model", "naive-168")
        command_line.run("forecast", "--model", "naive-168", "--horizon", "24h")
        first, end = (f"{now - timedelta(days=days):%Y-%m-%dT%H:%MZ}" for days in (4, 2))
        command_line.run("backtest", "--model", "naive-168", "--weather", "none", "--from", first, "--to", end)
        yield database


def test_statements_of_the_schema_page_run(server: Server, munich: Database) -> None:
    answers = typed(server, munich, "database_schema.md", "Asia/Kolkata")
    assert len(answers) > 30
    # Nothing was backed up, marked as a restore point or checked
    assert answers.count("0") == 3
