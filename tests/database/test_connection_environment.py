"""The environment has no influence on the embedded server's connections; for a URL only what libpq documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backups import fill, folder_of_servers
from energy_forecast.database import Database
from energy_forecast.database.client_programs import client_environment
from energy_forecast.postgres import EmbeddedServer
from servers import CommandLine

# Every variable in libpq's documentation, with a value that breaks or diverts a connection which uses it
HOSTILE = {
    "PGHOST": "192.0.2.1",
    "PGSSLNEGOTIATION": "direct",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "nowhere",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGPASSFILE": "/dev/full",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGCHANNELBINDING": "require",
    "PGSERVICE": "nowhere",
    "PGSERVICEFILE": "/nonexistent",
    "PGOPTIONS": "-c search_path=pg_temp -c default_transaction_read_only=on",
    "PGAPPNAME": "x" * 100,
    "PGSSLMODE": "nonsense",
    "PGREQUIRESSL": "1",
    "PGSSLCOMPRESSION": "nonsense",
    "PGSSLCERT": "/dev/full",
    "PGSSLKEY": "/dev/full",
    "PGSSLCERTMODE": "require",
    "PGSSLROOTCERT": "/nonexistent",
    "PGSSLCRL": "/nonexistent",
    "PGSSLCRLDIR": "/nonexistent",
    "PGSSLSNI": "nonsense",
    "PGREQUIREPEER": "nobody",
    "PGSSLMINPROTOCOLVERSION": "nonsense",
    "PGSSLMAXPROTOCOLVERSION": "nonsense",
    "PGGSSENCMODE": "require",
    "PGKRBSRVNAME": "nonsense",
    "PGGSSLIB": "nonsense",
    "PGGSSDELEGATION": "nonsense",
    "PGCONNECT_TIMEOUT": "nonsense",
    "PGCLIENTENCODING": "LATIN1",
    "PGTARGETSESSIONATTRS": "standby",
    "PGLOADBALANCEHOSTS": "nonsense",
    "PGMINPROTOCOLVERSION": "9.9",
    "PGMAXPROTOCOLVERSION": "nonsense",
    "PGDATESTYLE": "nonsense",
    "PGTZ": "Mars/Olympus",
    "PGGEQO": "nonsense",
    "PGSYSCONFDIR": "/nonexistent",
    "PGLOCALEDIR": "/nonexistent",
}

LOOK = """
import json, os, sys
from energy_forecast.database import Database
from energy_forecast.database.client_programs import client_environment
url, embedded, variables = sys.argv[1], sys.argv[2] == "True", json.loads(sys.argv[3])
settings = ("TimeZone", "DateStyle", "IntervalStyle", "client_encoding", "standard_conforming_strings",
            "extra_float_digits", "bytea_output", "application_name")
for one in variables:
    os.environ.update(one)
    database = Database(url, embedded=embedded)
    try:
        with database.transaction(None) as connection:
            facts = [connection.execute("SELECT current_setting(%s)", [name]).fetchone()[0] for name in settings]
            facts += connection.execute("SELECT session_user::text, current_database()::text").fetchone()
        assert database.name == facts[-1]
    except Exception as error:
        facts = [str(error)]
    print(json.dumps(facts + [client_environment(database)]))
    assert all(os.environ[name] == value for name, value in one.items())
    for name in one:
        del os.environ[name]
"""


def look(database: Database, variables: list[dict[str, str]]) -> list[list[object]]:
    """Connect once with each group of variables, in a process of its own: the session's settings and who it is."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        [sys.executable, "-c", LOOK, database.url, str(database.embedded), json.dumps(variables)],
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_hostile_values_cover_what_libpq_reads() -> None:
    from psycopg import pq

    read = {option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    assert read <= set(HOSTILE)


def test_no_variable_reaches_the_embedded_server(database: Database) -> None:
    embedded = Database(database.url, embedded=True)
    groups = [{}, *({name: value} for name, value in HOSTILE.items()), HOSTILE]
    found = look(embedded, groups)
    assert len(found) == len(HOSTILE) + 2
    for variables, facts in zip(groups, found, strict=True):
        assert facts == found[0], variables
    settings = ["UTC", "ISO, YMD", "postgres", "UTF8", "on", "1", "hex", "energy-forecast"]
    assert found[0][:8] == settings


def test_a_url_takes_from_the_environment_what_it_does_not_say(database: Database) -> None:
    """Our own DateStyle, TimeZone and encoding always win; the rest is as libpq documents."""
    parts = database.parameters()
    address = {"PGHOST": parts["host"], "PGPORT": parts.get("port", "5432"), "PGUSER": parts["user"]}
    session = {"PGDATESTYLE": "nonsense", "PGTZ": "Mars/Olympus", "PGCLIENTENCODING": "LATIN1", "PGAPPNAME": "other"}
    short = Database(f"postgresql:///{parts['dbname']}")
    (plain,) = look(database, [{}])
    for found in look(short, [address, address | session, address | {"PGOPTIONS": "-c DateStyle=German"}]):
        assert found[:-1] == plain[:-1]
    (diverted,) = look(short, [address | {"PGHOSTADDR": "127.0.0.1", "PGPORT": "1"}])
    assert "Cannot connect" in str(diverted[0])
    # The name of the database too
    (found,) = look(Database("postgresql://"), [address | {"PGDATABASE": parts["dbname"]}])
    assert found[:-1] == plain[:-1]


def test_a_service_counts_like_for_libpq(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before variables of the environment, after the URL; for our own connections and for client programs."""
    parts = database.parameters()
    file = tmp_path / "services"
    file.write_text(
        f"[mine]\nhost={parts['host']}\nport={parts.get('port', '5432')}\ndbname={parts['dbname']}\nuser=x\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    monkeypatch.setenv("PGHOST", "192.0.2.1")
    named = Database(f"postgresql://{parts['user']}@/?service=mine")
    assert named.server_info() == database.server_info()
    assert client_environment(named)["PGHOST"] == parts["host"]
    assert client_environment(named)["PGUSER"] == parts["user"]
    assert "PGSERVICE" not in client_environment(named)
    assert "PGSERVICE" not in os.environ
    monkeypatch.setenv("PGSERVICE", "other")
    with pytest.raises(Exception, match="other"):
        Database("postgresql://").connect()


def test_every_command_reaches_the_embedded_server() -> None:
    """Commands, the programs that they start and the processes of `train`, with every variable set."""
    with folder_of_servers() as place:
        home = place / "home"
        line = CommandLine(HOSTILE | {"ENERGY_FORECAST_HOME": str(home)})
        line.process("db", "upgrade")
        fill(Database(EmbeddedServer(home).url, embedded=True))
        line.process("train", "--model", "naive-24", "--processes", "2")
        line.process("recovery", "enable", "--restart")
        line.process("recovery", "base")
        line.process("recovery", "point", "here")
        line.process("backup", "create")
        line.process("backup", "restore", "latest", "--into", "copy")
        line.process("recovery", "drill")
        line.process("recovery", "drill", "--logical")
        line.process("recovery", "restore", "--to", "here", "--into", place / "restored")
        line.process("recovery", "copy-back", "energy_consumption", "--from", place / "restored", "--city", "Pune")
        assert json.loads(line.process("db", "status", "--json").stdout)["running"]
        line.process("db", "down")
