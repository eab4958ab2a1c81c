"""One look: what could be recovered now, how well that is known, and what is at risk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from energy_forecast.database import Database
from energy_forecast.database.backups import copies_not_activated, failures, last_check
from energy_forecast.database.recovery import archiver, unarchived_age, waiting_segments
from energy_forecast.errors import BackupError, EnergyForecastError
from energy_forecast.operations.backup.folder import BackupFolder
from energy_forecast.operations.recovery import pgbackrest
from energy_forecast.operations.recovery.archive import (
    SEGMENT_BYTES,
    base_backup_names,
    chain_of,
    lsn_number,
    points,
    read_base_backup,
)
from energy_forecast.operations.recovery.storage import ownership_problems, same_disk_warnings
from energy_forecast.operations.recovery.wal import WalReader
from energy_forecast.postgres import Archive, EmbeddedServer

# A night without a backup is noticed the next day
OLDEST_BACKUP = timedelta(hours=26)
OLDEST_DRILL = timedelta(days=8)
# Of this machine and the server's
_CLOCKS_DIFFER = timedelta(minutes=5)
MOST_WAITING = 3
LEAST_FREE = 1 << 30


@dataclass
class Status:
    """The state of backup and recovery.

    `risks` is empty when all is good; each says what and what to do. `warnings` does not change that.
    """

    good: bool = False
    risks: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    backup: dict[str, Any] | None = None
    base: dict[str, Any] | None = None
    archiving: dict[str, Any] | None = None
    pgbackrest: dict[str, Any] | None = None
    drill: dict[str, Any] | None = None
    points: list[dict[str, Any]] = field(default_factory=list)


def recovery_status(
    folder: BackupFolder,
    database: Database | None,
    server: EmbeddedServer | None,
    stanza: pgbackrest.Stanza | None,
    *,
    verify: bool = False,
) -> Status:
    """Looks at everything and changes nothing.

    Args:
        database: the database where it can be reached without starting anything.
        server: the embedded server, None on a server of one's own.
        stanza: where pgBackRest keeps the physical backups of a server of one's own, if it does.
        verify: whether to have pgBackRest read its whole repository.
    """
    status = Status()
    now = datetime.now(UTC)
    status.risks += ownership_problems(folder, server)
    status.warnings += same_disk_warnings(folder, server)
    _look_at_dumps(status, folder, now)
    if server is not None:
        _look_at_archive(status, server, database, now)
    elif stanza is not None:
        _look_at_pgbackrest(status, stanza, now, verify)
    else:
        status.risks.append(
            "There is no recovery to a moment: set ENERGY_FORECAST_PGBACKREST_STANZA, see docs/howto/own-server.md."
        )
    if database is None:
        status.risks.append("The server is down, so its ledger was not looked at. Run: energy-forecast db up")
    else:
        _look_at_ledger(status, database)
    status.good = not status.risks
    return status


def _look_at_dumps(status: Status, folder: BackupFolder, now: datetime) -> None:
    names = folder.names()
    while names:
        try:
            backup = folder.read(names[-1])
            size = folder.file(backup.name).stat().st_size
            if size != backup.size:
                raise BackupError(f"The backup {backup.name} is damaged: it has {size} bytes instead of {backup.size}.")
        except BackupError as error:
            status.risks.append(error.message)
            names.pop()
            continue
        age = now - backup.finished_at
        status.backup = {"name": backup.name, "finished_at": backup.finished_at, "age": age, "rows": backup.rows}
        _look_at_age(status, "The last backup", age, OLDEST_BACKUP, "energy-forecast backup create")
        return
    status.risks.append("There is no logical backup. Run: energy-forecast backup create")


def _look_at_archive(status: Status, server: EmbeddedServer, database: Database | None, now: datetime) -> None:
    archive = server.archive
    if archive is None:
        status.risks.append("There is no recovery to a moment. Run: energy-forecast recovery enable --restart")
        return
    if not archive.wal.is_dir():
        status.risks.append(f"The archive {archive.folder} is not there. Is its disk mounted?")
        return
    _look_at_bases(status, archive, now)
    status.points = [
        {"name": point.name, "lsn": point.lsn, "created_at": point.created_at}
        for point in points(archive)
        if not point.name.startswith("drill-")
    ]
    free = shutil.disk_usage(archive.wal).free
    if free < LEAST_FREE:
        status.risks.append(f"The disk of the archive has {free >> 20} MB left. Run: energy-forecast recovery prune")
    if database is None:
        return
    found = archiver(database)
    status.archiving = {
        "on": found.on,
        "folder": archive.folder,
        "archived": found.archived,
        "last": found.last_archived,
        "last_age_seconds": found.last_archived_age,
        "failing": found.failing,
        "waiting": found.waiting,
        "unarchived_seconds": unarchived_age(database) if found.on else None,
        "free_bytes": free,
    }
    if not found.on:
        whose = "the server was not restarted since" if archive.owned_by(server.home) else "it is another server's"
        status.risks.append(f"Archiving is enabled, and off: {whose}. Run: energy-forecast recovery enable --restart")
    elif found.last_archived is None and not any(archive.wal.iterdir()):
        status.risks.append("No WAL has arrived in the archive yet. Run: energy-forecast recovery enable")
    if found.on and (found.failing or found.waiting > MOST_WAITING):
        status.risks.append(_archive_trouble(database, archive, found.waiting))


def _archive_trouble(database: Database, archive: Archive, waiting: int) -> str:
    segments = waiting_segments(database)
    what = f"Archiving does not get on: {waiting} {'segment waits' if waiting == 1 else 'segments wait'}."
    if segments and (path := archive.wal / segments[0]).exists():
        short = path.stat().st_size < SEGMENT_BYTES
        cure = "energy-forecast recovery base sets it aside" if short else "move it away"
        return f"{what} {path.name} is in the archive with other contents and is not overwritten; {cure}."
    return f"{what} Is the archive full, or closed to the server's user? See docs/runbooks/full-archive.md."


def _look_at_bases(status: Status, archive: Archive, now: datetime) -> None:
    names = base_backup_names(archive)
    if not names:
        status.risks.append(
            "There is no base backup, so the archived WAL is of no use. Run: energy-forecast recovery base"
        )
        return
    try:
        base = read_base_backup(archive, names[-1])
        chain_of(archive, base)
    except BackupError as error:
        status.risks.append(f"{error.message} Run: energy-forecast recovery base --full")
        return
    age = now - base.finished_at
    status.base = {
        "name": base.name,
        "kind": base.kind,
        "finished_at": base.finished_at,
        "age": age,
        "bytes": base.size,
    }
    _look_at_age(status, "The last base backup", age, OLDEST_BACKUP, "energy-forecast recovery base")
    wal = WalReader([archive.wal], base.timeline, lsn_number(base.start_lsn))
    wal.segments()
    if wal.damage:
        status.risks.append(
            f"The archived WAL after the last base backup is not whole: {wal.damage}. What came later cannot be "
            "recovered from it. Run: energy-forecast recovery base --full"
        )


def _look_at_age(status: Status, what: str, age: timedelta, oldest: timedelta, cure: str) -> None:
    if age > oldest:
        status.risks.append(f"{what} is {_span(age)} old. Run: {cure}")
    elif age < -_CLOCKS_DIFFER:
        status.risks.append(
            f"{what} was made {_span(-age)} ahead of this clock, so its age is unknown. Set the clock right, then run: "
            f"{cure}"
        )


def _look_at_pgbackrest(status: Status, stanza: pgbackrest.Stanza, now: datetime, verify: bool) -> None:
    try:
        found = pgbackrest.info(stanza)
    except BackupError as error:
        status.risks.append(error.message)
        return
    status.pgbackrest = found
    if not found["backups"]:
        status.risks.append(f"pgBackRest has no backup of {stanza.name}. Run: pgbackrest --stanza={stanza.name} backup")
    else:
        age = now - found["last_stop"]
        _look_at_age(
            status, "The last backup of pgBackRest", age, OLDEST_BACKUP, f"pgbackrest --stanza={stanza.name} backup"
        )
    if found["status"] != "ok":
        status.risks.append(f"pgBackRest says of {stanza.name}: {found['status']}.")
    if verify and (problems := pgbackrest.verify(stanza)):
        status.risks.append(f"pgBackRest's repository is damaged: {'; '.join(problems[:3])}.")


def _look_at_ledger(status: Status, database: Database) -> None:
    try:
        for copy in copies_not_activated(database):
            status.risks.append(
                f"This database is a copy restored from {copy['source']}; it runs no jobs until: "
                "energy-forecast recovery activate"
            )
        for kinds, what in ((("logical",), "backup"), (("full", "incremental"), "base backup")):
            failed = failures(database, kinds)
            if failed:
                status.risks.append(
                    f"Since the last good {what}, {len(failed)} have failed; the last: {failed[0]['reason']}"
                )
        for kind in ("verify", "drill"):
            last = last_check(database, kind)
            if kind == "drill":
                status.drill = last
            if last is not None and not last["passed"]:
                status.risks.append(f"The last {kind} has failed: {last['reason']}")
            elif kind == "drill" and last is None:
                status.risks.append("No recovery drill has run yet. Run: energy-forecast recovery drill")
            elif kind == "drill" and last is not None:
                age = timedelta(seconds=last["age"])
                _look_at_age(status, "The last drill", age, OLDEST_DRILL, "energy-forecast recovery drill")
    except EnergyForecastError as error:
        status.risks.append(f"The ledger cannot be read: {error.message}")


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.0f} hours"
