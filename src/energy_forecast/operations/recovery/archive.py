"""Base backups and restore points in an archive, with their records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from energy_forecast.database.digests import Tables
from energy_forecast.errors import BackupError
from energy_forecast.operations.files import read_record
from energy_forecast.postgres import Archive, EmbeddedServer

_BASE = re.compile(r"^(?P<serial>\d{6,})-(full|incremental)-\d{8}T\d{6}Z$")
SEGMENT_BYTES = 16 << 20


@dataclass(frozen=True)
class BaseBackup:
    """A base backup and its record.

    Args:
        name: its folder; the number gives the order, independent of the clock.
        parent: the base backup that an incremental one is based on.
        start_lsn, stop_lsn: the WAL that it needs to be consistent.
        size: bytes of all files.
        manifest_sha256: of the PostgreSQL manifest of files and checksums.
        system: the identifier of the cluster.
        written_at: when its last file was written; recovery targets must be later.
    """

    name: str
    kind: str
    parent: str | None
    server_version: str
    system: str
    timeline: int
    start_lsn: str
    stop_lsn: str
    size: int
    manifest_sha256: str
    started_at: datetime
    written_at: datetime
    finished_at: datetime

    @property
    def serial(self) -> int:
        """The number in its name."""
        return base_serial(self.name) or 0


@dataclass(frozen=True)
class RestorePoint:
    """A restore point and the contents of each table at that moment."""

    name: str
    label: str
    lsn: str
    timeline: int
    system: str
    tables: Tables
    created_at: datetime


def archive_of(server: EmbeddedServer) -> Archive:
    """Return the archive of the embedded server.

    Raises:
        BackupError: archiving was never enabled.
    """
    archive = server.archive
    if archive is None:
        raise BackupError(
            "The WAL is not archived, so point-in-time recovery is not possible.",
            hint="Run: energy-forecast recovery enable --restart",
        )
    return archive


def own_archive(server: EmbeddedServer) -> Archive:
    """Return the archive of the embedded server for an operation that changes it.

    Raises:
        BackupError: there is no archive, or it belongs to another server; this state folder may be a copy.
    """
    archive = archive_of(server)
    if (refusal := archive.refusal(server.home)) is not None:
        raise BackupError(refusal.message, hint=refusal.hint)
    return archive


def base_serial(name: str) -> int | None:
    """Return the number in the name of a base backup; None for another name."""
    found = _BASE.match(name)
    return int(found["serial"]) if found else None


def base_backup_names(archive: Archive) -> list[str]:
    """Return the names of the base backups, oldest first. A folder counts if it has a record."""
    if not archive.base.is_dir():
        return []
    found = [path.name for path in archive.base.iterdir() if path.is_dir() and base_serial(path.name) is not None]
    return sorted((n for n in found if (archive.base / f"{n}.json").is_file()), key=lambda n: base_serial(n) or 0)


def read_base_backup(archive: Archive, name: str) -> BaseBackup:
    """Return a base backup by its name.

    Raises:
        BackupError: its record is missing or damaged.
    """
    return read_record(archive.base / f"{name}.json", BaseBackup)


def chain_of(archive: Archive, base: BaseBackup) -> list[BaseBackup]:
    """Return a base backup and those that it is based on, the full one first.

    Raises:
        BackupError: one of them is missing.
    """
    chain = [base]
    while chain[0].parent is not None:
        if not (archive.base / chain[0].parent).is_dir():
            raise BackupError(f"The base backup {chain[0].name} is based on {chain[0].parent}, which is missing.")
        chain.insert(0, read_base_backup(archive, chain[0].parent))
    return chain


def restore_point_file(archive: Archive, name: str) -> Path:
    """Return the record file of a restore point."""
    return archive.points / f"{name}.json"


def read_restore_point(archive: Archive, name: str) -> RestorePoint:
    """Return a restore point by its name.

    Raises:
        BackupError: it does not exist, or its record is damaged.
    """
    path = restore_point_file(archive, name)
    if not path.is_file():
        raise BackupError(f"There is no restore point {name!r}.", hint="See: energy-forecast recovery status")
    return read_record(path, RestorePoint)


def points(archive: Archive) -> list[RestorePoint]:
    """Return every restore point in the order of the WAL, without damaged records."""
    found = []
    for path in archive.points.glob("*.json") if archive.points.is_dir() else ():
        try:
            found.append(read_restore_point(archive, path.name.removesuffix(".json")))
        except BackupError:
            continue
    return sorted(found, key=lambda point: (point.timeline, lsn_number(point.lsn)))


def lsn_number(lsn: str) -> int:
    """Return a position in the WAL as bytes from its start."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(number: int) -> str:
    """Return a position in the notation of PostgreSQL."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def segment_name(timeline: int, number: int) -> str:
    """Return the name of the segment with a position in the WAL."""
    segment = number // SEGMENT_BYTES
    return f"{timeline:08X}{segment >> 8:08X}{segment & 0xFF:08X}"
