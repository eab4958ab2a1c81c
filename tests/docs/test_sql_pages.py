"""docs/howto/with-psql.md, typed into psql as it stands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from energy_forecast.database import Database
from servers import Server

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "with-psql.md"


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_what_the_page_says_can_be_typed(server: Server, database: Database, zone: str) -> None:
    """Every statement on the page, in its order, in one session; each that asks gets an answer."""
    person = f"anna_{uuid4().hex[:8]}"
    blocks = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    script = "\n".join(blocks).replace("anna", person)
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
            connection.execute("DELETE FROM user_city_access WHERE user_id = %s", (person,))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(person)))
    assert (done.returncode, done.stderr) == (0, "")
    answers = re.findall(r"^\((\d+) rows?\)$", done.stdout, re.MULTILINE)
    # No model was scored: the guide's statement and model_performance() have nothing to show
    assert len(blocks) == 6
    assert len(answers) == 11
    assert answers.count("0") == 2
    assert re.search(r"^ Munich\n\(1 row\)$", done.stdout, re.MULTILINE), "she sees a city that is not hers"
