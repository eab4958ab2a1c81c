"""The status of the server at one moment."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# Protocol version 3.0, and the message that terminates a connection.
_PROTOCOL = 196608
_TERMINATE = b"X" + struct.pack("!i", 4)
# cannot_connect_now: the server is starting, recovering or stopping
_NOT_NOW = b"C57P03\x00"
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The embedded server at one moment.

    running: it accepts connections.
    starting: it lives but does not accept connections yet: it is starting, or recovering after one of its processes was
        killed.
    port: the TCP port of 127.0.0.1 that it listens on; None without TCP.
    password_file: the file with the password of the role; None without TCP.
    since: the time of its start, UTC.

    `pid`, `version`, `port`, `since` and `password_file` are None if it does not run.
    """

    running: bool
    starting: bool
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
    """The contents of postmaster.pid, which the server writes."""

    pid: int
    since: datetime
    socket_port: int
    tcp: bool
    ready: bool

    @classmethod
    def read(cls, data: Path) -> PidFile | None:
        """Return the pid file of a data folder; None if it is missing or the server is still writing it."""
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return None
        # Line by line: pid, data folder, start in Unix seconds, port, socket folder, first TCP address,
        # shared memory, state. The server adds the later lines during its start.
        try:
            return cls(
                pid=int(lines[0]),
                since=datetime.fromtimestamp(int(lines[2]), UTC),
                socket_port=int(lines[3]),
                tcp=len(lines) > 5 and lines[5].strip() != "",
                # A standby is recovering from a backup, and can be read.
                ready=len(lines) > 7 and lines[7].strip() in ("ready", "standby"),
            )
        except (IndexError, ValueError):
            return None


def takes_connections(path: Path, role: str) -> bool | None:
    """Return whether the server at this socket accepts connections; None if no server answers.

    A process that was just killed keeps its pid and its pid file for a moment, and a server that recovers after one of
    its processes was killed keeps a pid file with the state ready. So this opens a short connection, like pg_isready.
    Any answer except "not now" counts, including that no connection is free.

    Args:
        role: the role of the connection; it must exist, or the server logs a line.
    """
    startup = struct.pack("!i", _PROTOCOL) + f"user\0{role}\0database\0postgres\0\0".encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        answer = b""
        try:
            connection.connect(os.fspath(path))
            connection.sendall(struct.pack("!i", len(startup) + 4) + startup + _TERMINATE)
            # An error message is short and the last message
            while (more := connection.recv(4096)) and (answer + more)[:1] == b"E":
                answer += more
            answer = answer or more
        except TimeoutError:
            # The server is slow or stopped by a signal, but it exists.
            return True
        except OSError:
            pass
        return None if not answer else _NOT_NOW not in answer


def is_postmaster(pid: int, data: Path) -> bool:
    """Return whether this process is a living server of this data folder.

    A pid alone is not enough: after a crash or a reboot it may belong to a zombie or another program. A server works in
    its data folder, and Linux shows the working folder of a process. On other systems the pid must do, together with
    the liveness lock, which the caller has checked.
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
    """Return the pids of PostgreSQL processes that work in this data folder; none are found except on Linux."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # Zombies and processes of other users have no readable links.
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
