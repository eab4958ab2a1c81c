"""Every named query is parsed and planned by the server: sqlfluff does not read them."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

import energy_forecast
from energy_forecast.database import Database
from energy_forecast.database.named_queries import queries

FOLDER = Path(energy_forecast.__file__).parent / "database" / "sql" / "queries"
# They need the temporary tables of a load; test_ingest.py prepares them there
OF_A_LOAD = {"judging", "merge", "staging"}


def numbered(text: str) -> str:
    """Return a query with $1 in place of %(name)s."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    return re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", text).replace("%%", "%")


def test_server_accepts_every_query(database: Database) -> None:
    """A misspelt column is found here. Utility statements cannot be prepared; other tests execute them."""
    faults, count = [], 0
    with psycopg.connect(database.url) as connection:
        connection.execute(queries("forecasts")["make_staging"])
        for subject in {path.stem for path in FOLDER.glob("*.sql")} - OF_A_LOAD:
            for name, text in queries(subject).items():
                if text.startswith(("CREATE ", "COPY ", "DO ")):
                    continue
                count += 1
                try:
                    with connection.transaction():
                        connection.execute(f"PREPARE one AS {numbered(text)}")
                        connection.execute("DEALLOCATE one")
                except psycopg.Error as error:
                    faults.append(f"{subject}.{name}: {error}")
    assert not faults, "\n".join(faults)
    assert count > 100
