"""The operating system user of the server: the caller, or a system user if the caller is root.

PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energy_forecast.errors import ServerError

SYSTEM_USER = "energy-forecast"


@dataclass(frozen=True, slots=True)
class SystemUser:
    """The user that owns the data and runs the server. `foreign` is true if this is not the caller."""

    uid: int
    gid: int
    foreign: bool

    def own(self, folder: Path) -> None:
        """Make this user the owner of a folder and its contents, unless it already is.

        A state folder that outlives its container can meet a system user with the same name and another uid.
        """
        if not self.foreign or folder.stat().st_uid == self.uid:
            return
        for parent, folders, files in os.walk(folder):
            for name in folders + files:
                os.chown(Path(parent) / name, self.uid, self.gid, follow_symlinks=False)
        # The folder itself last: its owner shows that all is done.
        os.chown(folder, self.uid, self.gid)

    def for_child(self) -> dict[str, Any]:
        """Return the arguments of `subprocess` that run a child as this user."""
        if not self.foreign:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def find_system_user() -> SystemUser | None:
    """Return the user to run the server as; None if the system user does not exist yet."""
    if os.geteuid() != 0:
        return SystemUser(os.geteuid(), os.getegid(), foreign=False)
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None
    return SystemUser(entry.pw_uid, entry.pw_gid, foreign=True)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold a lock against other processes. It is released when the process ends."""
    descriptor = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_system_user() -> SystemUser:
    """Return the user to run the server as; create a system user without login or home if needed.

    Raises:
        ServerError: the user cannot be created.
    """
    if found := find_system_user():
        return found
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    by_hand = f"Create a system user {SYSTEM_USER!r} without login, or run this as an ordinary user."
    if program is None:
        raise ServerError(
            f"PostgreSQL does not run as root, and useradd is missing to create the user {SYSTEM_USER!r}.",
            hint=by_hand,
        )
    command = [program, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    command += ["--shell", "/usr/sbin/nologin", SYSTEM_USER]
    # Two concurrent useradd both succeed, and the later one gives the user another uid
    with _one_at_a_time():
        if found := find_system_user():
            return found
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            check=False,
        )
    if found := find_system_user():
        return found
    output = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    raise ServerError(
        f"PostgreSQL does not run as root, and the user {SYSTEM_USER!r} cannot be created: {output}.",
        hint=by_hand,
    )


def _passes(folder: Path, user: SystemUser | None) -> bool:
    """Return whether the user may pass through a folder. A missing user counts as any other user."""
    found = folder.stat()
    if user is not None and found.st_uid == user.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if user is not None and found.st_gid == user.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def check_reach(home: Path, user: SystemUser | None) -> None:
    """Check that the system user can reach the home folder, without changing anything.

    Raises:
        ServerError: a parent folder is closed, or the home folder is and this process may not open it.
    """
    resolved = home.resolve()
    reason = f"PostgreSQL does not run as root, and its user {SYSTEM_USER!r} could not reach that folder."
    elsewhere = "Set ENERGY_FORECAST_HOME to a folder open to every user, such as /var/lib/energy-forecast."
    for parent in reversed(resolved.parents):
        if parent.exists() and not _passes(parent, user):
            raise ServerError(
                f"The state folder {home} is inside {parent}, which is closed to other users. {reason}",
                hint=elsewhere,
            )
    if resolved.exists() and not _passes(resolved, user):
        personal = any(Path(entry.pw_dir) == resolved for entry in pwd.getpwall())
        if personal or resolved.stat().st_uid != os.geteuid():
            raise ServerError(
                f"The state folder {home} is closed to other users, and it belongs to a user. {reason}",
                hint=elsewhere,
            )


def make_home(home: Path, user: SystemUser | None) -> None:
    """Create the home folder and its missing parents; for root, so that the system user can pass through.

    Existing parents are not changed. If a home folder of root is closed, others may pass through, but not read.
    """
    resolved = home.resolve()
    missing = [folder for folder in (resolved, *resolved.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o755, exist_ok=True)
        if os.geteuid() == 0:
            # Independent of the umask, which may close folders that the system user has to pass.
            folder.chmod(0o711)
    if os.geteuid() == 0 and not _passes(resolved, user):
        resolved.chmod(stat.S_IMODE(resolved.stat().st_mode) | stat.S_IXOTH)
