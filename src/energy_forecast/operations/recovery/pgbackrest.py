"""What pgBackRest says of the physical backups of a server of one's own. It is asked, never told."""

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
    """What pgBackRest calls one cluster, and the configuration that it stands in (its own default when None)."""

    name: str
    configuration: Path | None


def info(stanza: Stanza) -> dict[str, Any]:
    """The state of a stanza: status in words, backups, when the last one ended, the newest archived WAL.

    Raises:
        BackupError: pgBackRest is not here, or does not answer.
    """
    said = _ask(stanza, "info", "--output=json")
    try:
        found = next(one for one in json.loads(said) if one["name"] == stanza.name)
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
        raise BackupError(f"pgBackRest knows no stanza {stanza.name!r}, or answers otherwise than expected.") from error


def verify(stanza: Stanza) -> list[str]:
    """What is wrong with the files of the repository, in words; nothing when they are whole. Reads all of them.

    By what it prints: its exit status is 0 even when files are damaged.

    Raises:
        BackupError: pgBackRest is not here, or fails.
    """
    said = _ask(stanza, "verify", "--output=text", "--verbose")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "status: ok" in lines and not any(re.search(r"status: (error|invalid)|invalid: [1-9]", line) for line in lines):
        return []
    bad = [line for line in lines if re.search(r"status: (error|invalid)|(invalid|missing|unable)", line)]
    return [line for line in bad if line != "status: error"] or lines or ["it did not say that all is well"]


def _ask(stanza: Stanza, command: str, *options: str) -> str:
    program = next((path for path in _PROGRAMS if Path(path).is_file()), None)
    if program is None:
        raise BackupError(
            "pgBackRest is not on this machine.", hint="Install Debian's pgbackrest, or run this where it is."
        )
    where = [] if stanza.configuration is None else [f"--config={stanza.configuration}"]
    # A log file of another user's would stop the server's own pgBackRest
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
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[0]
        raise BackupError(f"pgBackRest {command} failed: {last}")
    return done.stdout
