"""Recovery status: the available backups, their verification, and the risks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from energy_forecast.database import Database
from energy_forecast.database.backups import copies_not_activated, failures, last_check
from energy_forecast.database.recovery import archiver, unarchived_age
from energy_forecast.errors import BackupError, EnergyForecastError, ServerError
from energy_forecast.operations.backup.folder import BackupFolder
from energy_forecast.operations.recovery import pgbackrest
from energy_forecast.operations.recovery.archive import (
    base_backup_names,
    chain_of,
    lsn_number,
    points,
    read_base_backup,
)
from energy_forecast.operations.recovery.archiving import reason
from energy_forecast.operations.recovery.wal import WalReader
from energy_forecast.postgres import Archive, EmbeddedServer
from energy_forecast.postgres.identity import copy_error, original_of

# A missed nightly backup is reported the next day
OLDEST_BACKUP = timedelta(hours=26)
OLDEST_DRILL = timedelta(days=8)
# Tolerated difference between the clocks of this machine and of the server
_CLOCKS_DIFFER = timedelta(minutes=5)
MOST_WAITING = 3
LEAST_FREE = 1 << 30


@dataclass
class Status:
    """The status of backup and recovery.

    risks: problems with their remedies; empty if the status is good.
    warnings: further advice, which does not affect `good`.
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
    """Check backups, archive and ledger, and return the status. Nothing is changed.

    Args:
        database: the database if it is reachable without a start of the server.
        server: the embedded server; None for your own server.
        stanza: the pgBackRest stanza of your own server, if there is one.
        verify: whether pgBackRest reads its whole repository.
    """
    status = Status()
    now = datetime.now(UTC)
    status.risks += _ownership_problems(folder, server)
    status.warnings += _same_disk_warnings(folder, server)
    _check_dumps(status, folder, now)
    if server is not None:
        _check_archive(status, server, database, now)
    elif stanza is not None:
        _check_pgbackrest(status, stanza, now, verify)
    else:
        status.risks.append(
            "Point-in-time recovery is off. Set ENERGY_FORECAST_PGBACKREST_STANZA, see docs/howto/own-server.md."
        )
    if database is None:
        status.risks.append("The server is down, so its ledger was not checked. Run: energy-forecast db up")
    else:
        _check_ledger(status, database)
    status.good = not status.risks
    return status


def _check_dumps(status: Status, folder: BackupFolder, now: datetime) -> None:
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
        _check_age(status, "The last backup", age, OLDEST_BACKUP, "energy-forecast backup create")
        return
    status.risks.append("There is no logical backup. Run: energy-forecast backup create")


def _check_archive(status: Status, server: EmbeddedServer, database: Database | None, now: datetime) -> None:
    archive = server.archive
    if archive is None:
        status.risks.append("Point-in-time recovery is off. Run: energy-forecast recovery enable --restart")
        return
    if not archive.wal.is_dir():
        status.risks.append(f"The archive {archive.folder} does not exist. Check that its disk is mounted.")
        return
    _check_bases(status, archive, now)
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
        "waiting": len(found.waiting),
        "unarchived_seconds": unarchived_age(database) if found.on else None,
        "free_bytes": free,
    }
    if not found.on:
        cause = "the server was not restarted" if archive.owned_by(server.home) else "it belongs to another server"
        status.risks.append(f"Archiving is enabled but off: {cause}. Run: energy-forecast recovery enable --restart")
    elif found.last_archived is None and not any(archive.wal.iterdir()):
        status.risks.append("No WAL has arrived in the archive yet. Run: energy-forecast recovery enable")
    waiting = len(found.waiting)
    if found.on and (found.failing or waiting > MOST_WAITING):
        segments = f"{waiting} {'segment waits' if waiting == 1 else 'segments wait'}"
        status.risks.append(f"Archiving makes no progress: {segments}. {reason(database, archive)}")


def _check_bases(status: Status, archive: Archive, now: datetime) -> None:
    names = base_backup_names(archive)
    if not names:
        status.risks.append(
            "There is no base backup, so the archived WAL cannot be used. Run: energy-forecast recovery base"
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
    _check_age(status, "The last base backup", age, OLDEST_BACKUP, "energy-forecast recovery base")
    wal = WalReader([archive.wal], base.timeline, lsn_number(base.start_lsn))
    wal.segments()
    if wal.damage:
        status.risks.append(
            f"The archived WAL after the last base backup is not complete: {wal.damage}. Later data cannot be "
            "recovered. Run: energy-forecast recovery base --full"
        )


def _check_age(status: Status, what: str, age: timedelta, oldest: timedelta, command: str) -> None:
    if age > oldest:
        status.risks.append(f"{what} is {_span(age)} old. Run: {command}")
    elif age < -_CLOCKS_DIFFER:
        status.risks.append(
            f"{what} is dated {_span(-age)} in the future, so its age is unknown. Correct the clock and run: {command}"
        )


def _check_pgbackrest(status: Status, stanza: pgbackrest.Stanza, now: datetime, verify: bool) -> None:
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
        _check_age(
            status, "The last backup of pgBackRest", age, OLDEST_BACKUP, f"pgbackrest --stanza={stanza.name} backup"
        )
    if found["status"] != "ok":
        status.risks.append(f"pgBackRest reports for {stanza.name}: {found['status']}.")
    if verify and (problems := pgbackrest.verify(stanza)):
        status.risks.append(f"The pgBackRest repository is damaged: {'; '.join(problems[:3])}.")


def _check_ledger(status: Status, database: Database) -> None:
    try:
        for copy in copies_not_activated(database):
            status.risks.append(
                f"This database is a copy restored from {copy['source']}; it runs no jobs. To activate it, "
                "run: energy-forecast recovery activate"
            )
        for kinds, what in ((("logical",), "backup"), (("full", "incremental"), "base backup")):
            failed = failures(database, kinds)
            if failed:
                status.risks.append(
                    f"Failed attempts since the last good {what}: {len(failed)}; the last: {failed[0]['reason']}"
                )
        for kind in ("verify", "drill"):
            last = last_check(database, kind)
            if kind == "drill":
                status.drill = last
            if last is not None and not last["passed"]:
                status.risks.append(f"The last {kind} failed: {last['reason']}")
            elif kind == "drill" and last is None:
                status.risks.append("No recovery drill has run yet. Run: energy-forecast recovery drill")
            elif kind == "drill" and last is not None:
                age = timedelta(seconds=last["age"])
                _check_age(status, "The last drill", age, OLDEST_DRILL, "energy-forecast recovery drill")
    except EnergyForecastError as error:
        status.risks.append(f"The ledger cannot be read: {error.message}")


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.0f} hours"


def _ownership_problems(folder: BackupFolder, server: EmbeddedServer | None) -> list[str]:
    """Return a sentence for the state folder or the archive if it does not belong to this server.

    Args:
        folder: the backups of the state folder.
        server: the embedded server; None for your own server.
    """
    home = folder.state_folder
    try:
        if (original := original_of(home)) is not None:
            return [str(copy_error(home, original))]
        archive = None if server is None else server.archive
        refusal = None if archive is None else archive.refusal(home)
    except ServerError as error:
        return [str(error)]
    return [] if refusal is None else [f"The server will not archive from its next start on. {refusal}"]


def _same_disk_warnings(folder: BackupFolder, server: EmbeddedServer | None) -> list[str]:
    """Return a sentence for backups, and one for the archive, if they are on the disk of the data.

    Args:
        folder: the backups of the state folder.
        server: the embedded server; None for your own server, whose disks are unknown here.
    """
    if server is None:
        return []
    data = server.status().data
    hint = "Copy them to another disk, or create them there: energy-forecast backup create --folder FOLDER"
    places = [("backups are", folder.path, hint)]
    if (archive := server.archive) is not None:
        hint = "Use an archive on another disk: energy-forecast recovery enable --restart --archive FOLDER"
        places.append(("base backups and the WAL are", archive.folder, hint))
    return [
        f"The {what} in {place}, on the same disk as the data. The loss of this disk would destroy both. {hint}"
        for what, place, hint in places
        if _disk(place) == _disk(data)
    ]


def _disk(path: Path) -> int:
    """Return the device number of a path, or of its nearest existing parent."""
    return next(parent for parent in (path, *path.parents) if parent.exists()).stat().st_dev
