"""`doctor` runs every check, whatever happens to one of them."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from energy_forecast.cli import checks, doctor
from energy_forecast.database import Database
from energy_forecast.errors import DatabaseError
from energy_forecast.progress import Progress, silent
from energy_forecast.settings import settings
from servers import CommandLine


def test_all_checks_are_run_and_summed_up(database: Database, command_line: CommandLine) -> None:
    """One check finds a difference and another cannot be run at all; the others have their results."""
    with psycopg.connect(database.url) as connection:
        connection.execute("DROP FUNCTION ops.hourly_differences()")
        connection.execute("GRANT SELECT ON cities TO PUBLIC")
    shown = command_line.run("doctor", status=1)
    assert (
        "The privilege of PUBLIC on public.cities was granted by hand: SELECT. Run: energy-forecast db" in shown.stdout
    )
    assert "checks found problems: audit, recovery." in shown.stderr
    document = json.loads(command_line.run("doctor", "--json", status=1).stdout)
    states = {check["name"]: check["state"] for check in document["checks"]}
    assert states == {
        "access": "warning",
        "cities": "good",
        "zones": "good",
        "audit": "problem",
        "records": "good",
        "hours": "failed",
        "data": "warning",
        "recovery": "problem",
        "standby": "good",
    }
    [hours] = [check for check in document["checks"] if check["name"] == "hours"]
    assert "db upgrade" in hours["error"]


def test_every_check_with_a_command_of_its_own_is_run() -> None:
    """`queries` shows what statements cost, and checks nothing."""
    commands = {command.name or command.callback.__name__ for command in doctor.app.registered_commands}  # type: ignore[union-attr]
    assert commands - {"queries"} <= set(checks.CHECKS)


@pytest.mark.parametrize("fault", [DatabaseError("The database refused."), ZeroDivisionError("division by zero")])
def test_a_check_that_fails_stops_no_other(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setenv("ENERGY_FORECAST_HOME", str(tmp_path))
    settings.cache_clear()

    def fails(_: Database, __: Progress) -> list[checks.CheckFinding]:
        raise fault

    monkeypatch.setitem(checks.CHECKS, "zones", fails)
    results = {result.name: result for result in checks.run_checks(database, silent)}
    settings.cache_clear()
    assert results["zones"].state == "failed"
    assert results["zones"].error
    assert results["audit"].state == "good"
    assert list(results) == list(checks.CHECKS)
