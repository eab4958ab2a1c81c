"""What is known of the server at one moment."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# The length and the code of the protocol's SSLRequest.
_TLS_REQUEST = struct.pack("!ii", 8, 80877103)
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The embedded server at one moment.

    `running` says that it takes connections. `port` is the TCP port of 127.0.0.1 that it listens on, None
    without TCP; `password_file` then holds the role's password. `since` is the moment of its start, UTC.
    `pid`, `version`, `port`, `since` and `password_file` are None when it does not run.
    """

    running: bool
    pid: int | None
    version: str | None
    url: str
    home: Path
    data: Path
    log: Path
    port: int | None
    password_file: Path | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class PidFile:
    """What a server writes about itself into postmaster.pid."""

    pid: int
    since: datetime
    socket_port: int
    tcp: bool
    ready: bool

    @classmethod
    def read(cls, data: Path) -> PidFile | None:
        """The pid file of a data folder; None where there is none or the server is still writing it."""
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return None
        # Line by line: pid, data folder, start in Unix seconds, port, socket folder, first TCP address,
        # shared memory, state. A server adds the later ones as it gets there.
        try:
            return cls(
                pid=int(lines[0]),
                since=datetime.fromtimestamp(int(lines[2]), UTC),
                socket_port=int(lines[3]),
                tcp=len(lines) > 5 and lines[5].strip() != "",
                # A standby is one that recovers from a backup, and can be read.
                ready=len(lines) > 7 and lines[7].strip() in ("ready", "standby"),
            )
        except (IndexError, ValueError):
            return None


def answers(path: Path) -> bool:
    """Whether a server answers at this socket.

    A process that was just killed still has its pid and its pid file for a moment. So the server is asked whether
    it speaks TLS, which it answers before it knows who asks, and even when no connection is left.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(os.fspath(path))
            connection.sendall(_TLS_REQUEST)
            return connection.recv(1) != b""
        except TimeoutError:
            # Slow, or stopped by a signal: there all the same.
            return True
        except OSError:
            return False


def is_postmaster(pid: int, data: Path) -> bool:
    """Whether this process is a living server of this data folder.

    A pid alone proves little: after a crash or a reboot it may be a zombie's or another program's. A server
    works inside its data folder, and Linux tells a process's working folder; elsewhere the pid has to do,
    together with the lifeline that the caller has looked at.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if not Path("/proc/self/cwd").exists():
        return True
    return _works_in(Path(f"/proc/{pid}"), data)


def orphans(data: Path) -> list[int]:
    """The processes of PostgreSQL that work in this data folder, on Linux; elsewhere none are found."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # Zombies and those of others have no readable links.
        with contextlib.suppress(OSError):
            program = (process / "exe").readlink().name.removesuffix(" (deleted)")
            if program == "postgres" and _works_in(process, data):
                found.append(int(process.name))
    return found


def _works_in(process: Path, data: Path) -> bool:
    try:
        return (process / "cwd").samefile(data)
    except OSError:
        return False
