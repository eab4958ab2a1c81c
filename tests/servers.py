"""What the fixtures hand out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from energy_forecast.database import Database
from energy_forecast.database.schema import database_grants


@dataclass(frozen=True)
class Server:
    """A server that tests may use, and where the client programs of its version are."""

    url: str
    tool: Callable[[str], Path]

    def database(self, name: str) -> Database:
        """Return a database of this server by name."""
        return Database(make_conninfo(self.url, dbname=name))

    @contextmanager
    def copy_of(self, template: str) -> Iterator[Database]:
        """Yield a new copy of a database; drop it at the end."""
        name = f"{template.partition('_')[0]}_{uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
            if template != "template0":
                # The privileges of a database itself are not copied
                with psycopg.connect(self.database(name).url) as copy:
                    copy.execute(database_grants())
            yield self.database(name)
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True)
class CommandLine:
    """The installed command line, as a person runs it."""

    environment: dict[str, str]

    @classmethod
    def on(cls, database: Database, home: Path) -> CommandLine:
        """Return the command line on a database, by a URL as a user writes it."""
        parts = conninfo_to_dict(database.url)
        url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts.get('port') or 5432}"
        return cls({"ENERGY_FORECAST_DATABASE_URL": url, "ENERGY_FORECAST_HOME": str(home)})

    def start(self, *arguments: str | Path, stdin: str | None = None) -> subprocess.Popen[str]:
        """Start a command, with a text on standard input if given."""
        program = Path(sys.executable).with_name("energy-forecast")
        process = subprocess.Popen(
            [program, *map(str, arguments)],
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if process.stdin is not None:
            process.stdin.write(stdin or "")
            process.stdin.flush()
        return process

    def run(self, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command, which must end with the given exit status."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=600)
        assert process.returncode == status, f"exit status {process.returncode}\n{stdout}\n{stderr}"
        assert "Traceback" not in stderr + stdout
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
