"""Every command of docs/runbooks is run as it stands there, on a server with the trouble that the page is about."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from backups import contents, folder_of_servers, new_server, values
from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.operations.recovery.base_backup import make_base_backup
from energy_forecast.operations.recovery.restore_point import make_restore_point
from energy_forecast.postgres import EmbeddedServer
from servers import Server

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
CASES = {
    "failed-night",
    "full-archive",
    "restore-to-a-time",
    "dropped-table",
    "damaged-city",
    "moving",
    "major-upgrade",
}


def commands(page: str) -> list[str]:
    """Return the indented lines of a page."""
    return re.findall(r"^    (.+)$", (RUNBOOKS / f"{page}.md").read_text("utf-8"), re.MULTILINE)


@dataclass
class Trouble:
    """A server, and where the pages' folders are here."""

    place: Path
    server: EmbeddedServer
    words: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        return Database(self.server.start().url)

    def follow(self, page: str) -> str:
        """Run a page's commands in a shell, which ends at the first failure."""
        text = "set -euo pipefail\n" + "\n".join(commands(page))
        for word in sorted(self.words, key=len, reverse=True):
            text = text.replace(word, self.words[word])
        environment = {n: v for n, v in os.environ.items() if not n.startswith("ENERGY_FORECAST_")}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment["ENERGY_FORECAST_HOME"] = str(self.server.home)
        done = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def made() -> Iterator[Trouble]:
    """One server with a history; what a page breaks it mends again."""
    with folder_of_servers() as place:
        server = new_server(place / "home")
        make_base_backup(server)
        yield Trouble(place, server)


@pytest.fixture
def trouble(made: Trouble) -> Trouble:
    """Create new folders with the names of the page."""
    mine = uuid4().hex[:6]
    folders = (
        "/var/lib/restored-latest",
        "/var/lib/restored-time",
        "/var/lib/restored",
        "/var/lib/energy-forecast-new",
        "/mnt/archive",
        "/mnt/backups",
    )
    words = {folder: str(made.place / f"{Path(folder).name}-{mine}") for folder in folders}
    return Trouble(made.place, made.server, words)


def test_every_page_is_followed() -> None:
    # Another test follows that one, on a server of Debian's
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == CASES | {"README", "own-server"}
    listed = re.findall(r"\((\S+)\.md\)", (RUNBOOKS / "README.md").read_text("utf-8"))
    assert set(listed) == CASES | {"own-server"}


def test_one_dropped_table(trouble: Trouble) -> None:
    before = contents(trouble.database)["public.weather_forecasts"]
    make_restore_point(trouble.server, "before-the-loss")
    with psycopg.connect(trouble.database.url) as connection:
        connection.execute("DROP TABLE weather_forecasts CASCADE")
        connection.execute("INSERT INTO cities (name, latitude, longitude, timezone) VALUES ('New', 1, 1, 'UTC')")
    trouble.follow("dropped-table")
    assert contents(trouble.database)["public.weather_forecasts"] == before
    assert values(trouble.database, "SELECT count(*) FROM cities WHERE name = 'New'") == [(1,)]
    assert values(
        trouble.database, "SELECT has_table_privilege('energy_forecast_ingest', 'weather_forecasts', 'SELECT')"
    ) == [(True,)]


def test_one_citys_data_damaged(trouble: Trouble) -> None:
    before = contents(trouble.database)
    make_restore_point(trouble.server, "before-the-damage")
    with psycopg.connect(trouble.database.url) as connection:
        connection.execute("ALTER TABLE energy_consumption DISABLE TRIGGER USER")
        connection.execute("UPDATE energy_consumption SET consumption_kwh = 1 WHERE timestamp > '2025-02-01'")
        connection.execute("DELETE FROM energy_consumption WHERE timestamp < '2025-01-10'")
        # And a right correction: its old value is among the revisions, and in the table again after the copying back
        correct = (
            "UPDATE energy_consumption SET consumption_kwh = 7, available_at = now()"
            " WHERE timestamp = '2025-01-15' AND city_id = (SELECT id FROM cities WHERE name = 'Berlin')"
        )
        for trigger in ("correct", "archive_revision"):
            connection.execute(f"ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER energy_consumption_{trigger}")
        connection.execute(correct)
    upgrade(trouble.database)
    harmed = contents(trouble.database)
    assert harmed["public.energy_consumption"] != before["public.energy_consumption"]
    trouble.follow("damaged-city")
    statement = (
        "SELECT c.name, count(*), min(consumption_kwh) > 1 FROM energy_consumption JOIN cities c ON c.id = city_id"
        " GROUP BY 1 ORDER BY 1"
    )
    # Pune was not asked for
    assert values(trouble.database, statement) == [("Berlin", 1417, True), ("Pune", 1201, False)]
    trouble.words |= {"Berlin": "Pune", "before-the-damage": "before-the-damage"}
    trouble.words["/var/lib/restored"] += "-again"
    trouble.follow("damaged-city")
    assert contents(trouble.database)["public.energy_consumption"] == before["public.energy_consumption"]
    assert contents(trouble.database)["public.energy_consumption_revisions"]["rows"] == 0
    entries = "SELECT count(*) FROM audit_log WHERE table_name = 'energy_consumption' AND action = 'DELETE'"
    assert values(trouble.database, entries) == [(2,)]
    disabled = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'energy_consumption'::regclass AND tgenabled = 'D'"
    assert values(trouble.database, disabled) == [(0,)]


def test_a_failed_night(trouble: Trouble) -> None:
    assert "possible loss" in trouble.follow("failed-night")


def test_moving_to_a_real_server(trouble: Trouble, server: Server) -> None:
    """On the server of the tests, be it 15 or 18, from the embedded one."""
    parts = conninfo_to_dict(server.url)
    socket = f"?host={parts['host']}&port={parts.get('port') or 5432}"
    into = f"energy_{uuid4().hex[:8]}"
    trouble.words["postgresql://LOGIN@HOST/postgres"] = f"'postgresql://{parts['user']}@/postgres{socket}'"
    trouble.words["postgresql://LOGIN@HOST/energy"] = f"'postgresql://{parts['user']}@/{into}{socket}'"
    trouble.words["--into energy"] = f"--into {into}"
    before = contents(trouble.database)
    try:
        assert "Pune" in trouble.follow("moving")
        after = contents(server.database(into))
        # The page's `db upgrade` is on record; the rest is as it was
        other = {"ops.backups", "ops.restored_copies", "ops.audit_chain", "public.audit_log"}
        same = [name for name in before if name not in other]
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        assert values(server.database(into), "SELECT is_restored_copy()") == [(False,)]
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {into} WITH (FORCE)")


def test_a_major_upgrade(trouble: Trouble) -> None:
    before = contents(trouble.database)["public.energy_consumption"]
    trouble.follow("major-upgrade")
    new = EmbeddedServer(Path(trouble.words["/var/lib/energy-forecast-new"]))
    assert contents(Database(new.url))["public.energy_consumption"] == before
    assert values(Database(new.url), "SHOW archive_mode") == [("on",)]


def test_a_restore_to_a_time_that_becomes_the_server(trouble: Trouble) -> None:
    before = contents(trouble.database)["public.energy_consumption"]
    ((now,),) = values(trouble.database, "SELECT clock_timestamp()")
    assert isinstance(now, datetime)
    trouble.words["2026-11-22T09:30Z"] = now.isoformat()
    trouble.follow("restore-to-a-time")
    new = EmbeddedServer(Path(trouble.words["/var/lib/restored"]))
    assert contents(Database(new.url))["public.energy_consumption"] == before
    assert values(Database(new.url), "SELECT is_restored_copy()") == [(False,)]
    new.stop()


def test_a_full_archive(trouble: Trouble) -> None:
    trouble.database  # noqa: B018 - the last page has stopped it
    trouble.follow("full-archive")
    assert (Path(trouble.words["/mnt/archive"]) / "wal").is_dir()
