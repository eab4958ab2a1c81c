"""Read the state of the physical backups of your own server from pgBackRest. Nothing is changed."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from energy_forecast.errors import BackupError
from energy_forecast.operations.client_programs import plain_environment
from energy_forecast.postgres.binaries import end_with_parent

_PROGRAMS = ("/usr/bin/pgbackrest", "/usr/local/bin/pgbackrest")


@dataclass(frozen=True)
class Stanza:
    """A stanza, the name of a cluster in pgBackRest, and its configuration file (None for the default)."""

    name: str
    configuration: Path | None


def info(stanza: Stanza) -> dict[str, Any]:
    """Return the state of a stanza: status message, backups, end of the last one, newest archived WAL.

    Raises:
        BackupError: pgBackRest is missing or fails.
    """
    output = _run(stanza, "info", "--output=json")
    try:
        found = next(one for one in json.loads(output) if one["name"] == stanza.name)
        backups = found["backup"]
        stops = [datetime.fromtimestamp(backup["timestamp"]["stop"], UTC) for backup in backups]
        return {
            "stanza": stanza.name,
            "status": found["status"]["message"],
            "backups": [
                {"name": backup["label"], "kind": backup["type"], "bytes": backup["info"]["size"], "finished_at": stop}
                for backup, stop in zip(backups, stops, strict=True)
            ],
            "last_stop": stops[-1] if stops else None,
            "damaged": [backup["label"] for backup in backups if backup["error"]],
            "last_wal": found["archive"][-1]["max"] if found["archive"] else None,
        }
    except (ValueError, KeyError, IndexError, TypeError, StopIteration) as error:
        raise BackupError(f"pgBackRest has no stanza {stanza.name!r}, or its output is not as expected.") from error


def verify(stanza: Stanza) -> list[str]:
    """Read all files of the repository, and return a line for each problem.

    The result is based on the output, because the exit status is 0 even if files are damaged.

    Raises:
        BackupError: pgBackRest is missing or fails.
    """
    output = _run(stanza, "verify", "--output=text", "--verbose")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "status: ok" in lines and not any(re.search(r"status: (error|invalid)|invalid: [1-9]", line) for line in lines):
        return []
    bad = [line for line in lines if re.search(r"status: (error|invalid)|(invalid|missing|unable)", line)]
    return [line for line in bad if line != "status: error"] or lines or ["it did not report the status ok"]


def _run(stanza: Stanza, command: str, *options: str) -> str:
    program = next((path for path in _PROGRAMS if Path(path).is_file()), None)
    if program is None:
        raise BackupError(
            "pgBackRest is not on this machine.", hint="Install the package pgbackrest, or run this on its machine."
        )
    where = [] if stanza.configuration is None else [f"--config={stanza.configuration}"]
    # A log file of another user would stop the pgBackRest of the server
    quiet = ["--log-level-file=off", "--log-level-console=off", "--log-level-stderr=error"]
    done = subprocess.run(
        [program, *where, *quiet, f"--stanza={stanza.name}", command, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=plain_environment(),
        cwd="/",
        preexec_fn=end_with_parent(),
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "it wrote no message").splitlines()[0]
        raise BackupError(f"pgBackRest {command} failed: {last}")
    return done.stdout
