"""People and their cities, by the command line; and what they then see with a client of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from energy_forecast import connect
from energy_forecast.database import Database
from servers import CommandLine


@pytest.fixture
def anna(database: Database) -> Iterator[str]:
    """Yield a name that no other test uses; drop its role at the end."""
    name = f"anna_{uuid4().hex[:12]}"
    yield name
    with psycopg.connect(database.url) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is not None:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.fixture
def two_cities(command_line: CommandLine) -> CommandLine:
    for city in ("Munich", "Pune"):
        command_line.run("city", "add", city, "--latitude", "48", "--longitude", "11", "--timezone", "Europe/Berlin")
    return command_line


def seen(database: Database, name: str) -> list[str]:
    with psycopg.connect(database.url, user=name) as connection:
        return [city for (city,) in connection.execute("SELECT name FROM cities ORDER BY name")]


def test_a_person_sees_what_she_is_granted_until_it_is_revoked(
    two_cities: CommandLine, database: Database, anna: str
) -> None:
    two_cities.run("user", "add", anna)
    assert seen(database, anna) == []
    assert json.loads(two_cities.run("user", "grant", anna, "--city", "Pune", "--json").stdout) == {
        "name": anna,
        "granted": 1,
        "cities": ["Pune"],
    }
    assert seen(database, anna) == ["Pune"]
    two_cities.run("user", "grant", anna, "--all")
    assert seen(database, anna) == ["Munich", "Pune"]
    assert "Munich, Pune" in two_cities.run("user", "list").stdout
    two_cities.run("user", "revoke", anna, "--city", "Pune")
    assert seen(database, anna) == ["Munich"]
    undo = two_cities.run("user", "remove", anna).stdout
    assert "--city 'Munich'" in undo
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        seen(database, anna)
    # The role is there still, so it is only made a person again
    assert json.loads(two_cities.run("user", "add", anna, "--json").stdout) == {"name": anna, "new_role": False}
    assert seen(database, anna) == []


def test_user_runs_reading_commands_only(
    two_cities: CommandLine, database: Database, anna: str, tmp_path: Path
) -> None:
    """docs/concepts/access.md lists the commands."""
    two_cities.run("user", "add", anna)
    two_cities.run("user", "grant", anna, "--city", "Pune")
    own = CommandLine.on(Database(make_conninfo(database.url, user=anna)), tmp_path / "anna")
    assert [city["name"] for city in json.loads(own.run("city", "list", "--json").stdout)] == ["Pune"]
    assert "consumption  none" in own.run("city", "show", "Pune").stdout
    assert "There is no city 'Munich'" in own.run("city", "show", "Munich", status=1).stderr
    own.run("query", "recent", "--city", "Pune")
    own.run("query", "weather-correlation", "--city", "Pune")
    own.run("query", "model-performance")
    own.run("db", "status")
    assert [city.name for city in connect(own.environment["ENERGY_FORECAST_DATABASE_URL"]).cities()] == ["Pune"]
    export = ("export", "consumption", "--output", str(tmp_path / "consumption.csv"))
    own.run(*export)
    for refused in (("forecast",), ("user", "list"), ("doctor", "hours")):
        assert "It is no command for users" in own.run(*refused, status=1).stderr, refused


def test_wrong_names_are_refused_in_one_line(two_cities: CommandLine, anna: str, database: Database) -> None:
    two_cities.run("user", "add", anna)
    with psycopg.connect(database.url) as connection:
        login = connection.info.user
    for arguments, said in (
        (("add", anna), "already"),
        (("add", "Anna B"), "cannot be a user name"),
        (("add", "energy_forecast_owner"), "reserved"),
        (("add", login), "reserved"),
        (("grant", anna, "--city", "Nowhere"), "There is no city 'Nowhere'"),
        (("grant", f"{anna}x", "--all"), "There is no user"),
        (("remove", f"{anna}x"), "There is no user"),
    ):
        errors = two_cities.run("user", *arguments, status=1).stderr.strip().splitlines()
        assert len(errors) == 1
        assert said in errors[0]
    two_cities.run("user", "grant", anna, status=2)
    two_cities.run("user", "grant", anna, "--all", "--city", "Pune", status=2)


def test_a_password_is_stored_as_a_verifier_only(two_cities: CommandLine, database: Database, anna: str) -> None:
    """And it opens what it should: an own connection with it is refused nothing but other cities."""
    process = two_cities.start("user", "add", anna, "--set-password", stdin="correct horse\n")
    assert process.communicate(timeout=60) is not None
    assert process.returncode == 0
    with psycopg.connect(database.url) as connection:
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (anna,)).fetchone()
    assert row is not None
    assert row[0].startswith("SCRAM-SHA-256$")


def test_daily_commands_log_in_as_a_role_that_is_no_superuser(open_folder: Path) -> None:
    """On the embedded server. A state folder of an earlier version gets the login by the first command."""
    command_line = CommandLine({"ENERGY_FORECAST_HOME": str(open_folder / "daily")})
    place = ("--latitude", "48", "--longitude", "11", "--timezone", "Europe/Berlin")
    command_line.run("db", "upgrade")
    try:
        url = command_line.run("db", "url").stdout.strip()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY energy_forecast_login; DROP ROLE energy_forecast_login")
            # As that version added a user
            connection.execute("CREATE ROLE anna; GRANT energy_forecast_app TO anna; GRANT anna TO energy_forecast_api")
        assert json.loads(command_line.run("db", "status", "--json").stdout)["schema"] is not None
        command_line.run("city", "add", "Munich", *place)
        command_line.run("user", "grant", "anna", "--all")
        command_line.run("user", "add", "bert")
        command_line.run("user", "grant", "bert", "--all")
        with psycopg.connect(url) as connection:
            granted_by = connection.execute("SELECT DISTINCT granted_by::text FROM user_city_access").fetchall()
            assert granted_by == [("energy_forecast_login",)]
            assert connection.execute(
                "SELECT rolsuper, rolinherit, rolcreatedb, rolbypassrls FROM pg_roles"
                " WHERE rolname = 'energy_forecast_login'"
            ).fetchone() == (False, False, False, False)
        users = json.loads(command_line.run("user", "list", "--json").stdout)
        assert [one["name"] for one in users] == ["anna", "bert"]
        # Users are no fault of the schema's protection
        command_line.run("doctor", "audit")
        command_line.run("user", "remove", "anna")
        command_line.run("user", "remove", "bert")
        assert json.loads(command_line.run("user", "list", "--json").stdout) == []
        command_line.run("doctor", "access")
        command_line.run("maintain")
        command_line.run("backup", "create")
        command_line.run("recovery", "drill", "--logical")
    finally:
        command_line.run("db", "down")


def test_link_and_sign_out_are_for_users_only(two_cities: CommandLine, anna: str) -> None:
    """`--url` is the address that the browser of the user reaches."""
    two_cities.run("user", "add", anna)
    printed = two_cities.run("user", "link", anna, "--url", "https://energy.example.org/").stdout.strip()
    address, _, secret = printed.partition("/sign-in?link=")
    assert address == "https://energy.example.org"
    assert len(secret) == 43
    assert json.loads(two_cities.run("user", "link", anna, "--json").stdout)["url"] != printed
    assert json.loads(two_cities.run("user", "sign-out", anna, "--json").stdout) == {"name": anna, "sessions": 0}
    for command in ("link", "sign-out"):
        assert "There is no user" in two_cities.run("user", command, f"{anna}x", status=1).stderr
