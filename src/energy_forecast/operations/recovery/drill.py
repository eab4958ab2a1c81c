"""Recovery drill: restore the latest backup, compare, time and record it, and remove the copy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from energy_forecast.database import Database
from energy_forecast.database.backups import record_check
from energy_forecast.database.client_programs import client_environment
from energy_forecast.database.create import drill_database_name, sibling_database
from energy_forecast.database.recovery import as_of_digest, incomplete_batches, unarchived_age
from energy_forecast.errors import BackupError, EnergyForecastError, ServerError
from energy_forecast.operations import client_programs
from energy_forecast.operations.backup.folder import BackupFolder, locate_backup
from energy_forecast.operations.backup.restore import restore_backup
from energy_forecast.operations.files import faults
from energy_forecast.operations.recovery.archive import archive_of, base_backup_names
from energy_forecast.operations.recovery.base_backup import LOCK_TIMEOUT
from energy_forecast.operations.recovery.restore import recover, remove_home
from energy_forecast.operations.recovery.restore_point import make_restore_point
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.postgres.liveness_lock import exclusive
from energy_forecast.progress import Progress, silent


@dataclass(frozen=True)
class Drill:
    """Result of a drill.

    Args:
        kind: logical, or physical (base backup and WAL).
        rto_seconds: time from the start of the restore until the copy was writable and compared.
        rpo_seconds: the work that a disk loss would have cost at the start of the drill: the age of the oldest WAL that
            was not archived, or of the dump. None if the clock was set back.
        amcheck_seconds: duration of the check of every index and table.
        as_of: city, intervals and digest of an as-of query with the same result in original and copy.
    """

    kind: str
    backup: str
    target: str
    rows: int
    tables: int
    rto_seconds: float
    rpo_seconds: float | None
    amcheck_seconds: float
    as_of: list[Any]


def drill_recovery(server: EmbeddedServer, report: Progress = silent) -> Drill:
    """Recover the embedded server to a new restore point in a scratch folder, and compare everything.

    Raises:
        BackupError: the recovery failed; the ledger records it.
    """
    database = Database(server.start().url, embedded=True)
    archive = archive_of(server)
    names = base_backup_names(archive)
    subject = names[-1] if names else "none"

    def run() -> Drill:
        home = server.home / "drill"
        with faults("The drill failed"):
            remove_home(home)
        rpo = unarchived_age(database)
        answer = as_of_digest(database)
        made = make_restore_point(server, f"drill-{uuid4().hex[:12]}", report)
        try:
            began = time.monotonic()
            recovered = recover(server, made.name, home, report=report)
            copy = EmbeddedServer(home)
            restored = Database(copy.start().url, embedded=True)
            rto = time.monotonic() - began
            report("Checking every table and index", 0, 1)
            seconds = _check(restored)
            _same_answer(answer, as_of_digest(restored))
            _no_incomplete_batches(restored)
        finally:
            remove_home(home)
        return Drill(
            "physical", recovered.base, made.name, recovered.rows, recovered.compared, rto, rpo, seconds, list(answer)
        )

    # All drills share one scratch folder
    with exclusive(server.home / "drilling.lock", LOCK_TIMEOUT, "a drill"):
        return _recorded(database, subject, run)


def clear_killed_drill(server: EmbeddedServer) -> bool:
    """Stop the server and remove the scratch folders of a killed drill. Return whether there were any.

    A running drill holds the lock, and is not affected.
    """
    home = server.home / "drill"
    left = [path for path in (home, home.with_name("drill.new")) if path.exists()]
    if not left:
        return False
    try:
        with exclusive(server.home / "drilling.lock", 0.0, "a drill"), faults("The folder of a killed drill remains"):
            for path in left:
                remove_home(path)
            home.with_name("drill.lock").unlink(missing_ok=True)
    except ServerError:
        return False
    return True


def drill_backup(database: Database, folder: BackupFolder, report: Progress = silent) -> Drill:
    """Restore the latest dump into a scratch database of the same server, and compare everything.

    Raises:
        BackupError: the restore failed; the ledger records it.
    """
    where, name = locate_backup("latest", folder)

    def run() -> Drill:
        backup = where.read(name)
        age = (datetime.now(UTC) - backup.started_at).total_seconds()
        rpo = age if age >= 0 else None
        with drill_database_name(database) as into:
            began = time.monotonic()
            restored = restore_backup(database, where, name, into, report=report)
            rto = time.monotonic() - began
            copy = sibling_database(database, into)
            report("Checking every table and index", 0, 1)
            seconds = _check(copy)
            _no_incomplete_batches(copy)
            answer = as_of_digest(copy)
        return Drill("logical", name, name, restored.rows, restored.tables, rto, rpo, seconds, list(answer))

    return _recorded(database, name, run)


def _recorded(database: Database, subject: str, run: Callable[[], Drill]) -> Drill:
    """Run a drill and record its success or failure in the ledger."""
    started_at = datetime.now(UTC)
    try:
        done = run()
    except (EnergyForecastError, OSError) as error:
        with contextlib.suppress(EnergyForecastError):
            record_check(database, kind="drill", subject=subject, reason=str(error)[:1000], started_at=started_at)
        raise
    record_check(database, kind="drill", subject=done.backup, reason=None, started_at=started_at, details=asdict(done))
    return done


def _check(copy: Database) -> float:
    """Check every table and index of a copy with amcheck, and return the duration in seconds."""
    began = time.monotonic()
    major = int(copy.server_info()["version"].split(".")[0])
    command: list[str | Path] = [client_programs.program("pg_amcheck", major), "--install-missing", "--heapallindexed"]
    command += [f"--database={copy.name}", "--no-password"]
    client_programs.run(command, client_environment(copy.administrator), "amcheck found damage")
    return time.monotonic() - began


def _same_answer(original: tuple[Any, ...], copy: tuple[Any, ...]) -> None:
    if original != copy:
        raise BackupError(f"The copy returns another result of an as-of query: {copy} instead of {original}.")


def _no_incomplete_batches(copy: Database) -> None:
    if short := incomplete_batches(copy):
        raise BackupError(f"The copy lacks rows: {'; '.join(short[:5])}.")
