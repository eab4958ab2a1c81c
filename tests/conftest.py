"""A real PostgreSQL for every test that needs one, and a database of its own for each.

ENERGY_FORECAST_TEST_DATABASE_URL names a superuser on a server where databases may be made; without it the embedded
server is started in a folder of its own, and stopped at the end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.postgres import EmbeddedServer
from servers import CommandLine, Server


@pytest.fixture(autouse=True, scope="session")
def no_settings_from_outside() -> None:
    """Whatever the developer's own shell sets must not reach a test, nor a test her server."""
    for name in list(os.environ):
        if name.startswith("ENERGY_FORECAST_") and not name.startswith("ENERGY_FORECAST_TEST_"):
            del os.environ[name]


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """Yield a folder that every user can enter: as root, the server runs as another user; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="ef-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(open_folder: Path) -> Iterator[Server]:
    """Yield the server of ENERGY_FORECAST_TEST_DATABASE_URL, or an embedded one."""
    url = os.environ.get("ENERGY_FORECAST_TEST_DATABASE_URL")
    if url is not None:
        with psycopg.connect(url) as connection:
            major = connection.info.server_version // 10000
        yield Server(url, lambda name: Path(f"/usr/lib/postgresql/{major}/bin") / name)
        return
    embedded = EmbeddedServer(open_folder / "server")
    embedded.start()
    with psycopg.connect(embedded.url, autocommit=True) as connection:
        # A crash of the machine may damage the databases of tests
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name)))
        connection.execute("SELECT pg_reload_conf()")
    yield Server(embedded.url, embedded.tool)
    embedded.stop()


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """Yield the name of a migrated database to copy."""
    with server.copy_of("template0") as database:
        upgrade(database)
        yield database.name


@pytest.fixture
def empty_database(server: Server) -> Iterator[Database]:
    """Yield a new, empty database."""
    with server.copy_of("template0") as database:
        yield database


@pytest.fixture
def database(server: Server, template: str) -> Iterator[Database]:
    """Yield a new migrated database."""
    with server.copy_of(template) as database:
        yield database


@pytest.fixture
def command_line(database: Database, tmp_path: Path) -> CommandLine:
    """Return the command line on a separate migrated database."""
    return CommandLine.on(database, tmp_path / "home")
