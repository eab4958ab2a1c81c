"""Every command that reads: a user runs it with their own login and sees their cities, or gets a clear refusal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import typer
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.core import TyperGroup

from api.conftest import NOW, fill, two_users
from energy_forecast.cli.app import app
from energy_forecast.database import Database
from servers import CommandLine, Server

SPAN = f"{NOW:%Y-%m-%dT%H:%MZ}"
# Arguments with which a user runs a command; OUTPUT is a file
FOR_USERS = {
    "city list": (),
    "city show": ("Berlin",),
    "db status": (),
    "export consumption": ("--output", "OUTPUT"),
    "export weather": ("--output", "OUTPUT", "--as-of", SPAN),
    "export predictions": ("--output", "OUTPUT"),
    "export entsoe": (
        *("--city", "Berlin", "--day", f"{NOW + timedelta(days=1):%Y-%m-%d}", "--area", "10Y1001A1001A83F"),
        *("--sender", "10X1001A1001A450", "--receiver", "10X1001A1001A450", "--output", "XML"),
    ),
    "forecast show": ("Berlin",),
    "model history": ("Berlin",),
    "model list": (),
    "query recent": ("--city", "Berlin"),
    "query weather-correlation": ("--city", "Berlin"),
    "query model-performance": (),
}
# They read ledgers, settings or catalogs that may name cities of others, or the artifacts of models
NOT_FOR_USERS = {
    "backtest compare": ("naive-24", "naive-168"),
    "doctor audit": (),
    "doctor data": (),
    "doctor hours": (),
    "doctor queries": (),
    "forecast explain": ("Berlin",),
    "ingest rejected": (),
    "key list": (),
    "model due": (),
    "model policy": (),
    "model show": ("naive-168",),
    "partition list": (),
    "retention list": (),
    "retention ledger": (),
    "score certificate": ("--model", "naive-168"),
    "score errors": ("--model", "naive-168"),
    "score explain": ("--city", "Berlin"),
    "user list": (),
    "webhook list": (),
}


@dataclass(frozen=True)
class Own:
    """The command line of a user who sees Berlin."""

    line: CommandLine
    platform: CommandLine
    folder: Path


@pytest.fixture(scope="module")
def own(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    folder = tmp_path_factory.mktemp("own")
    with server.copy_of(template) as database:
        fill(database, folder)
        with two_users(database) as (anna, _):
            mine = Database(make_conninfo(database.url, user=anna))
            yield Own(CommandLine.on(mine, folder / "anna"), CommandLine.on(database, folder / "home"), folder)


def commands() -> set[str]:
    """Return every command of the program."""
    found = set()
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    for name in root.commands:
        command = root.commands[name]
        if not isinstance(command, TyperGroup):
            found.add(name)
            continue
        if command.invoke_without_command:
            found.add(name)
        found |= {f"{name} {part}" for part in command.commands}
    return found


def test_every_command_that_reads_is_decided() -> None:
    """A new command is here for users or not, or it writes."""
    writes = {
        *("demo", "db up", "db down", "db upgrade", "db url", "city add", "city edit", "city import", "train"),
        *("ingest consumption", "ingest weather", "ingest weather-forecasts", "forecast", "backtest", "maintain"),
        *("score", "model promote", "model rollback", "partition dedicate", "partition share", "serve"),
        *("retention keep", "retention thin", "user add", "user remove", "user grant", "user revoke"),
        "user link",
        "user sign-out",
        *("key create", "key revoke", "key rotate", "backup create", "backup prune", "backup restore"),
        *("webhook add", "webhook remove", "webhook test"),
        *(
            f"recovery {step}"
            for step in ("activate", "adopt", "base", "copy-back", "drill", "enable", "point", "prune")
        ),
        "recovery restore",
    }
    # They read files of this machine, the rights of the login, or the rules of zones, or say what they cannot check
    without_cities = {"backup list", "backup verify", "doctor", "doctor access", "doctor cities", "doctor zones"}
    without_cities |= {"recovery status"}
    assert commands() == writes | without_cities | set(FOR_USERS) | set(NOT_FOR_USERS)


@pytest.mark.parametrize("name", FOR_USERS)
def test_user_sees_their_cities(own: Own, name: str) -> None:
    path = own.folder / f"{uuid4().hex}.csv"
    files = {"OUTPUT": path, "XML": path.with_suffix(".xml")}
    arguments = [str(files.get(one, one)) for one in FOR_USERS[name]]
    shown = own.line.run(*name.split(), *arguments)
    text = shown.stdout + shown.stderr + (path.read_text() if path.exists() else "")
    assert "Pune" not in text
    if name not in {"db status", "model list", "export entsoe", "query model-performance"}:
        assert "Berlin" in text
    everything = own.platform.run(*name.split(), *arguments)
    if path.exists():
        assert "Pune" in path.read_text()
    elif name in {"city list"}:
        assert "Pune" in everything.stdout


@pytest.mark.parametrize("name", [name for name in FOR_USERS if "Berlin" in FOR_USERS[name]])
def test_city_of_others_does_not_exist_for_a_user(own: Own, name: str) -> None:
    changes = {"Berlin": "Pune", "XML": str(own.folder / "other.xml")}
    arguments = [changes.get(one, one) for one in FOR_USERS[name]]
    assert "There is no city 'Pune'" in own.line.run(*name.split(), *arguments, status=1).stderr


@pytest.mark.parametrize("name", NOT_FOR_USERS)
def test_user_is_refused_clearly(own: Own, name: str) -> None:
    refused = own.line.run(*name.split(), *NOT_FOR_USERS[name], status=1)
    assert "Pune" not in refused.stdout + refused.stderr
    assert "may not do this" in refused.stderr or "requires the embedded server" in refused.stderr, refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_login_without_rights_gets_a_remedy(server: Server, template: str, tmp_path: Path) -> None:
    name = f"carl_{uuid4().hex[:12]}"
    with server.copy_of(template) as database, psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        line = CommandLine.on(Database(make_conninfo(database.url, user=name)), tmp_path)
        refused = line.run("city", "list", status=1)
        assert f"energy-forecast user add {name}" in refused.stderr
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
