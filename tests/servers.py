"""What the fixtures hand out."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from energy_forecast import fault_log
from energy_forecast.cli import main
from energy_forecast.database import Database
from energy_forecast.database.schema import database_grants
from energy_forecast.settings import settings


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
            # A fifth of the processor time of the default strategy, which writes every page to the WAL
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
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

    def process(self, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the installed program in a process of its own; it must end with the given exit status."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=600)
        return _checked(arguments, process.returncode, stdout, stderr, status)

    def run(self, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the program in this process; it must end with the given exit status.

        A process of its own takes a second to start and to import its libraries. Not for several threads at once.
        """
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            with _program([str(one) for one in arguments], self.environment, stdout, stderr):
                try:
                    main()
                except SystemExit as stopped:
                    found = stopped.code
                sys.stderr.flush()
            stdout.seek(0)
            stderr.seek(0)
            out, err = stdout.read().decode(), stderr.read().decode()
        assert isinstance(found, int)
        return _checked(arguments, found, out, err, status)


@contextmanager
def _program(arguments: list[str], environment: dict[str, str], stdout: IO[bytes], stderr: IO[bytes]) -> Iterator[None]:
    """Give this process the arguments, environment and output of a program that has just started."""
    logs = [logging.getLogger(name) for name in ("energy_forecast", "energy_forecast.fault_log")]
    logs_before = [(log, log.handlers[:], log.level) for log in logs]
    streams = sys.stdin, sys.stdout, sys.stderr, sys.argv
    threshold, umask, environment_before = gc.get_threshold(), os.umask(0o022), os.environ.copy()
    copies = [os.dup(1), os.dup(2)]
    settings.cache_clear()
    fault_log._logged.clear()
    try:
        os.environ.update(environment)
        os.dup2(stdout.fileno(), 1)
        os.dup2(stderr.fileno(), 2)
        sys.argv = ["energy-forecast", *arguments]
        with Path(os.devnull).open() as sys.stdin:
            yield
    finally:
        for number, copy in enumerate(copies, 1):
            os.dup2(copy, number)
            os.close(copy)
        sys.stdin, sys.stdout, sys.stderr, sys.argv = streams
        os.environ.clear()
        os.environ.update(environment_before)
        os.umask(umask)
        gc.set_threshold(*threshold)
        for log, handlers, level in logs_before:
            for handler in log.handlers:
                if handler not in handlers:
                    handler.close()
            log.handlers[:] = handlers
            log.setLevel(level)
        settings.cache_clear()


def _checked(
    arguments: tuple[str | Path, ...], found: int, stdout: str, stderr: str, status: int
) -> subprocess.CompletedProcess[str]:
    assert found == status, f"exit status {found}\n{stdout}\n{stderr}"
    assert "Traceback" not in stderr + stdout
    return subprocess.CompletedProcess(arguments, found, stdout, stderr)
