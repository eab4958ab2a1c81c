"""Two locks: one for starting or stopping the server, and the liveness lock, which the server processes hold.

The server and all of its processes inherit the liveness lock open and locked. The kernel releases it when the last of
them ends, in any way. So it shows, unlike a pid, whether any process of this server still runs, including backends
that outlive a killed postmaster.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from energy_forecast.errors import ServerError

_PAUSE = 0.01


def _lock(path: Path, kind: int) -> int | None:
    """Open and lock a file without waiting. Return None if another process holds it or the file was replaced."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


@contextlib.contextmanager
def exclusive(path: Path, timeout: float, what: str = "the server") -> Iterator[int]:
    """Hold the lock on `path`, and yield its descriptor, which a child that continues can inherit.

    Raises:
        ServerError: another process holds the lock for longer than `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while (descriptor := _lock(path, fcntl.LOCK_EX)) is None:
        if time.monotonic() > deadline:
            raise ServerError(
                f"Another process has used {what} in {path.parent} for more than {timeout:.0f} s.",
                hint="Wait for it or end it, then try again.",
            )
        time.sleep(_PAUSE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Record:
    """The last server that held the liveness lock."""

    pid: int
    version: str


@dataclass(frozen=True, slots=True)
class LivenessLock:
    """The lock that the processes of a server hold."""

    path: Path

    def held(self) -> bool:
        """Return whether a process of the server lives."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            # Shared, so that two concurrent checks do not mistake each other for the server.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def take(self, timeout: float) -> int | None:
        """Take the lock for a new server. Return None if a server process holds it until the timeout.

        Args:
            timeout: in seconds.
        """
        deadline = time.monotonic() + timeout
        while (descriptor := _lock(self.path, fcntl.LOCK_EX)) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(_PAUSE)
        return descriptor

    def record(self) -> Record | None:
        """Return the last server that held the lock; None if there was none."""
        try:
            pid, version = self.path.read_text().split()
            return Record(int(pid), version)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
