"""The pages of the demo: served in the foreground, or by a process that goes on in the background."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from energy_forecast.cli.console import echo, minute, out, progress
from energy_forecast.database import API_LOGIN, Database
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Role
from energy_forecast.errors import EnergyForecastError
from energy_forecast.fault_log import program_fault
from energy_forecast.operations import users
from energy_forecast.pipelines.demo import LivingDemo
from energy_forecast.postgres import EmbeddedServer

if TYPE_CHECKING:
    from energy_forecast.web.replay_clock import ReplayClock

USER = "demo_reader"
PORT = 8000
# Seconds for the background process to start or to end, and between two checks of the time
_PATIENCE, _STOPPING, _LOOK_EVERY = 60.0, 20.0, 20.0
# Seconds for which the lock of the record is tried: a process that reads the record holds it for a moment
_LOCKING = 1.0
# A replay covers the days that have weather forecasts and a history before them, up to what is no longer live
REPLAY_DAYS, _LIVE = 9, timedelta(hours=4)


@dataclass(frozen=True)
class Pages:
    """The running process of the pages."""

    pid: int
    url: str


def _record(home: Path) -> Path:
    return home / "pages.json"


def demo_folder(home: Path) -> Path:
    """Return the state folder of the demo, which is `home` itself if it is the one that the demo prints.

    Args:
        home: the state folder of the command.
    """
    return home if _record(home).exists() else home / "demo"


def running_pages(home: Path) -> Pages | None:
    """Return the process that serves the pages of a state folder; None without one."""
    try:
        with _record(home).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Pages(**json.load(file))
    except (OSError, ValueError, TypeError):
        pass
    return None


@contextmanager
def _recorded(home: Path, url: str) -> Iterator[None]:
    """Record this process; the lock ends with it, however it ends.

    Raises:
        EnergyForecastError: another process serves the pages.
    """
    with _record(home).open("a+") as file:
        deadline = time.monotonic() + _LOCKING
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _already_served() from None
            time.sleep(0.01)
        file.truncate(0)
        json.dump({"pid": os.getpid(), "url": url}, file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def check_not_served(home: Path) -> None:
    """Check that no process serves the pages, before a long preparation.

    Raises:
        EnergyForecastError: one does.
    """
    if running_pages(home) is not None:
        raise _already_served()


def _already_served() -> EnergyForecastError:
    return EnergyForecastError(
        "The pages of the demo are already served.", hint="Stop them first: energy-forecast demo --stop"
    )


def free_port() -> int:
    """Return the usual port, or 0 for any if another program uses it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return 0
    return PORT


def add_reader(database: Database, cities: list[str]) -> None:
    """Let the user of the demo see its cities."""
    if USER not in {user.name for user in users.list_users(database)}:
        users.add_user(database, USER)
    users.grant(database, USER, cities)


def sign_in_url(database: Database, pages: Pages) -> str:
    """Return the address that signs the user of the demo in."""
    return f"{pages.url}/sign-in?link={users.sign_in_link(database, USER)}"


def serve_pages(database: Database, home: Path, *, port: int, speed: float) -> None:
    """Serve the pages until a signal, while the demo goes on in a thread.

    Args:
        database: with the login of the commands.
        home: the state folder of the demo.
        port: to listen on; 0 takes a free one.
        speed: 1 for real time. Faster, past hours are replayed.
    """
    from energy_forecast.api import server
    from energy_forecast.api.app import create_app
    from energy_forecast.web.replay_clock import ReplayClock

    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    clock = None
    if speed != 1:
        # At midnight, so that a second replay of the same day finds the models of the first
        first = now.replace(hour=0) - timedelta(days=REPLAY_DAYS)
        echo(f"Training on the data known at {minute(first)}, at which the replay begins")
        with progress() as report_progress:
            LivingDemo(database).prepare_replay(first, report_progress)
        clock = ReplayClock(first, speed)
    ends = threading.Event()
    work = threading.Thread(target=_go_on, args=(database, clock, now - _LIVE, ends), daemon=True)
    own = Database(database.url, embedded=database.embedded, login=API_LOGIN)
    with server.listen("127.0.0.1", port) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with _recorded(home, url):
            out.print(f"Open {sign_in_url(database, Pages(os.getpid(), url))}", soft_wrap=True)
            out.file.flush()
            work.start()
            server.serve(create_app(own, database, home, clock=clock), listener)
            ends.set()
            work.join(10)


def _go_on(database: Database, clock: ReplayClock | None, end: datetime, ends: threading.Event) -> None:
    """Let the demo go on until it has to end. A fault of one step must not end the pages."""
    demo = LivingDemo(database)
    if clock is not None:
        hour = clock.now()
        while hour < end and not ends.is_set():
            try:
                demo.replay(hour)
            except Exception as error:  # noqa: BLE001 - the next hour may succeed
                program_fault("Replay an hour of the demo", error)
            hour += timedelta(hours=1)
            clock.go_on(hour)
            ends.wait(clock.seconds_left())
        echo("The replay has reached the last hours. Stop with Ctrl-C.")
        return
    while not ends.is_set():
        try:
            demo.follow()
        except Exception as error:  # noqa: BLE001 - the next attempt may succeed
            program_fault("Let the demo go on", error)
        ends.wait(_LOOK_EVERY)


def start_pages(home: Path, port: int) -> Pages:
    """Start the process of the pages in the background, unless it runs; return it.

    Raises:
        EnergyForecastError: it does not start.
    """
    if (found := running_pages(home)) is not None:
        return found
    log = home / "pages.log"
    command = [sys.executable, "-c", "import sys; from energy_forecast.cli import main; sys.exit(main())"]
    with log.open("w") as file:
        log.chmod(0o600)
        process = subprocess.Popen(
            [*command, "demo", "--serve", "--prepared", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd="/",
            start_new_session=True,
            env=os.environ | {"ENERGY_FORECAST_HOME": str(home.parent)},
        )
    deadline = time.monotonic() + _PATIENCE
    while (found := running_pages(home)) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise EnergyForecastError(f"The pages do not start: {last[0]}", hint=f"See {log}.")
        time.sleep(0.1)
    return found


def stop_pages(home: Path) -> bool:
    """Stop the process of the pages; return whether it ran.

    Raises:
        EnergyForecastError: it does not end.
    """
    found = running_pages(home)
    if found is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOPPING
    while running_pages(home) is not None:
        if time.monotonic() > deadline:
            raise EnergyForecastError(
                f"The pages of the demo, process {found.pid}, did not end within {_STOPPING:.0f} s.",
                hint="Repeat the command, or end the process.",
            )
        time.sleep(0.1)
    return True


def remove_demo(home: Path) -> None:
    """Stop the demo, and delete its state folder with its server."""
    stop_pages(home)
    EmbeddedServer(home).stop()
    shutil.rmtree(home)
