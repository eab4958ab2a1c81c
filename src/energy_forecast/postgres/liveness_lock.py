"""Two locks: one for whoever starts or stops the server, one that the server's own processes hold.

The second is the liveness_lock. The server inherits it open and locked, and so do all of its processes; the kernel
lets go of it when the last of them is gone, however they went. It therefore says what no pid can say: whether
anything of this server still lives, even backends that outlive a killed postmaster.
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
    """Open and lock, without waiting. None when another holds it, or the path was replaced meanwhile."""
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
    """Hold the lock on `path`; the descriptor is given, so that a child that works on can keep it held.

    Raises:
        ServerError: another process holds it for longer than `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while (descriptor := _lock(path, fcntl.LOCK_EX)) is None:
        if time.monotonic() > deadline:
            raise ServerError(
                f"Another process is at work on {what} in {path.parent}, since {timeout:.0f} s.",
                hint="Wait for it or end it, then try again.",
            )
        time.sleep(_PAUSE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Record:
    """Which server the liveness_lock was last given to."""

    pid: int
    version: str


@dataclass(frozen=True, slots=True)
class LivenessLock:
    """The lock that a server's processes hold."""

    path: Path

    def held(self) -> bool:
        """Whether a process of a server lives."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            # Shared, so that two who look at once do not take each other for the server.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def take(self, timeout: float) -> int | None:
        """Take it, to be given to a server. None when a process of a server holds it all the time.

        Args:
            timeout: for how long to try, in seconds.
        """
        deadline = time.monotonic() + timeout
        while (descriptor := _lock(self.path, fcntl.LOCK_EX)) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(_PAUSE)
        return descriptor

    def record(self) -> Record | None:
        """Which server it was last given to; None where it never was."""
        try:
            pid, version = self.path.read_text().split()
            return Record(int(pid), version)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
