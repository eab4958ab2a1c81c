"""A server of one's own whose physical backups pgBackRest keeps: the configuration of docs/howto/own-server.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backups import add, contents, fill, names, values
from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from servers import CommandLine

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "own-server.md"


def as_postgres(*command: str | Path) -> str:
    """Run a program as Debian's user of the server, or as the current user."""
    who = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    done = subprocess.run([*who, *command], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def place() -> Iterator[Path]:
    if not Path("/usr/bin/pgbackrest").is_file() or not (PROGRAMS / "initdb").is_file():
        pytest.skip("needs Debian's packages pgbackrest and postgresql-15")
    made = Path(tempfile.mkdtemp(prefix="ef-"))
    made.chmod(0o711)
    for name in ("repository", "log", "lock", "socket", "beside"):
        (made / name).mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(made / name, "postgres", "postgres")
    yield made
    for data in (made / "data", made / "beside" / "restored"):
        if (data / "postmaster.pid").exists():
            as_postgres(PROGRAMS / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(made)


def from_the_page(heading: str, place: Path) -> str:
    """Return the indented block under a line of the page, with this test's folders."""
    found = re.search(rf"{re.escape(heading)}\n\n((?:    .*\n|\n)+)", GUIDE.read_text("utf-8"))
    assert found is not None, heading
    text = re.sub(r"^    ", "", found[1], flags=re.MULTILINE)
    folders = {
        "/var/lib/pgbackrest": "repository",
        "/var/log/pgbackrest": "log",
        "/tmp/pgbackrest": "lock",
        "/var/lib/postgresql/15/main": "data",
        "/var/run/postgresql": "socket",
        "/etc/pgbackrest.conf": "pgbackrest.conf",
    }
    for path, name in folders.items():
        text = text.replace(path, str(place / name))
    return text


def follow(page: Path, place: Path, words: dict[str, str], line: CommandLine) -> None:
    """Run a page's commands: those of the platform as the current user, others as the user of the server."""
    words = words | {
        "/var/lib/postgresql/15/restored": str(place / "beside" / "restored"),
        "/etc/postgresql/15/main": str(place / "data"),
        "/var/log/postgresql": str(place / "log"),
        "/var/run/postgresql": str(place / "socket"),
    }
    for written in re.findall(r"^    (.+)$", page.read_text("utf-8"), re.MULTILINE):
        command = written
        for word, ours in words.items():
            command = command.replace(word, ours)
        if "energy-forecast" in command:
            environment = os.environ | line.environment
            environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            done = subprocess.run(
                ["bash", "-c", command], env=environment, capture_output=True, text=True, cwd="/", check=False
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        else:
            as_postgres("env", f"PGBACKREST_CONFIG={place / 'pgbackrest.conf'}", "bash", "-c", command)


def test_status_knows_what_pgbackrest_has_and_notices_damage(place: Path, tmp_path: Path) -> None:
    configuration = place / "pgbackrest.conf"
    configuration.write_text(from_the_page("`/etc/pgbackrest.conf`:", place))
    data = place / "data"
    (place / "data").mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
    as_postgres(PROGRAMS / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8")
    with (data / "postgresql.conf").open("a") as file:
        file.write(f"listen_addresses = ''\nunix_socket_directories = '{place / 'socket'}'\n")
        file.write(from_the_page("`postgresql.conf`, then restart the server:", place))
    as_postgres(PROGRAMS / "pg_ctl", "-D", data, "-l", place / "log" / "server.log", "--wait", "start")
    database = Database(f"postgresql://postgres@/postgres?host={place / 'socket'}")
    upgrade(database)
    fill(database)
    line = CommandLine.on(database, tmp_path)
    line.environment["ENERGY_FORECAST_PGBACKREST_STANZA"] = "energy"
    line.environment["ENERGY_FORECAST_PGBACKREST_CONFIG"] = str(configuration)
    line.run("backup", "create")
    line.run("recovery", "drill")

    assert "pgBackRest" in line.run("recovery", "status", status=1).stdout
    rest = ["pgbackrest", f"--config={configuration}", "--stanza=energy"]
    for command in from_the_page("Then, as the user of the server:", place).strip().splitlines():
        as_postgres("env", *command.replace("pgbackrest", f"pgbackrest --config={configuration}", 1).split())
    good = line.run("recovery", "status", "--verify")
    assert good.stdout.startswith("good"), good.stdout
    assert "1 backups" in good.stdout

    files = sorted(
        (path for path in (place / "repository" / "backup").rglob("*.gz") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    whole = files[-1].read_bytes()
    harmed = bytearray(whole)
    harmed[len(harmed) // 2] ^= 0x10
    files[-1].write_bytes(harmed)
    # Its own exit status says nothing of this
    as_postgres(*rest, "verify")
    bad = line.run("recovery", "status", "--verify", status=1)
    assert "repository is damaged" in bad.stdout
    files[-1].write_bytes(whole)
    assert line.run("recovery", "status", "--verify").stdout.startswith("good")

    # And back to a moment, beside
    add(database, "Before")
    before = contents(database)["public.energy_consumption"]
    ((moment,),) = values(database, "SELECT clock_timestamp()::text")
    add(database, "After")
    with psycopg.connect(database.url) as connection:
        connection.execute("DELETE FROM energy_consumption WHERE timestamp < '2025-02-01'")
    socket = place / "socket"
    words = {
        "2026-11-22 09:30:00+00": str(moment),
        "postgresql://LOGIN@HOST:5433/energy": f"'postgresql://postgres@/postgres?host={socket}&port=5433'",
        "--dbname=energy": "--dbname=postgres",
    }
    page = GUIDE.parents[1] / "runbooks" / "own-server.md"
    follow(page, place, words, line)
    assert names(database) == {"Berlin", "Pune", "Before", "After"}
    berlin = "SELECT count(*) FROM energy_consumption JOIN cities c ON c.id = city_id WHERE c.name = 'Berlin'"
    assert values(database, berlin) == [(59 * 24 + 1,)]
    restored = place / "beside" / "restored"
    as_postgres(
        PROGRAMS / "pg_ctl",
        "-D",
        restored,
        "-l",
        place / "log" / "again.log",
        "-w",
        "-o",
        f"-c port=5433 -c unix_socket_directories={socket}",
        "start",
    )
    copy = Database(f"postgresql://postgres@/postgres?host={socket}&port=5433")
    assert names(copy) == {"Berlin", "Pune", "Before"}, "nothing from after the target"
    assert contents(copy)["public.energy_consumption"] == before
    assert values(copy, "SELECT is_restored_copy(), current_setting('archive_mode')") == [(True, "off")]
