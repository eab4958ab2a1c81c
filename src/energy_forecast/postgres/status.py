"""What is known of the server at one moment."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# The protocol's version 3.0, and the message with which a client ends.
_PROTOCOL = 196608
_TERMINATE = b"X" + struct.pack("!i", 4)
# cannot_connect_now: it starts, recovers or ends
_NOT_NOW = b"C57P03\x00"
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The embedded server at one moment.

    `running` says that it takes connections, `starting` that it lives and does not yet: it starts, or recovers after
    one of its processes was killed. `port` is the TCP port of 127.0.0.1 that it listens on, None
    without TCP; `password_file` then holds the role's password. `since` is the moment of its start, UTC.
    `pid`, `version`, `port`, `since` and `password_file` are None when it does not run.
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


def takes_connections(path: Path, role: str) -> bool | None:
    """Whether a server at this socket takes connections now; None when none answers there.

    A process that was just killed still has its pid and its pid file for a moment; and a server that recovers after one
    of its processes was killed keeps a pid file that says ready. So it is asked, as pg_isready does: with a connection
    that ends at once. Whatever it says but "not now" will do, also that no connection is left.

    Args:
        role: who asks; one that exists, or its log gets a line.
    """
    startup = struct.pack("!i", _PROTOCOL) + f"user\0{role}\0database\0postgres\0\0".encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        said = b""
        try:
            connection.connect(os.fspath(path))
            connection.sendall(struct.pack("!i", len(startup) + 4) + startup + _TERMINATE)
            # An error is short and the last that it says
            while (more := connection.recv(4096)) and (said + more)[:1] == b"E":
                said += more
            said = said or more
        except TimeoutError:
            # Slow, or stopped by a signal: there all the same.
            return True
        except OSError:
            pass
        return None if not said else _NOT_NOW not in said


def is_postmaster(pid: int, data: Path) -> bool:
    """Whether this process is a living server of this data folder.

    A pid alone proves little: after a crash or a reboot it may be a zombie's or another program's. A server
    works inside its data folder, and Linux tells a process's working folder; elsewhere the pid has to do,
    together with the liveness_lock that the caller has looked at.
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
