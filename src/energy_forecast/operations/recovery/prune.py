"""Remove old base backups and the WAL that only they need, if enough verified ones remain."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from energy_forecast.errors import BackupError
from energy_forecast.operations.files import faults
from energy_forecast.operations.recovery.archive import (
    BaseBackup,
    base_backup_names,
    chain_of,
    lsn_number,
    own_archive,
    points,
    read_base_backup,
    restore_point_file,
    segment_name,
)
from energy_forecast.operations.recovery.archiving import clear_leftovers
from energy_forecast.operations.recovery.base_backup import locked, verify_base_backup
from energy_forecast.postgres import Archive, EmbeddedServer
from energy_forecast.postgres.private_files import sync
from energy_forecast.progress import Progress, silent


@dataclass(frozen=True)
class PrunedArchive:
    """The removed, kept and damaged base backups, and the number of removed segments and restore points."""

    removed: list[str]
    kept: list[str]
    damaged: dict[str, str]
    segments: int
    points: int


def prune_archive(
    server: EmbeddedServer, *, older_than: timedelta, keep: int, dry_run: bool = False, report: Progress = silent
) -> PrunedArchive:
    """Remove chains of base backups older than a time span, if `keep` verified chains remain.

    A chain is a full base backup with the incremental ones based on it, and is removed as a whole. WAL before the
    oldest remaining backup is removed too, with the restore points in it.

    Raises:
        BackupError: the archive cannot be read or written, or belongs to another server.
    """
    archive = own_archive(server)
    with faults("Pruning failed"), locked(archive):
        chains = _chains(archive)
        good: list[list[BaseBackup]] = []
        damaged: dict[str, str] = {}
        for number, chain in enumerate(reversed(chains)):
            report("Verifying base backups", number, len(chains))
            try:
                for base in chain:
                    verify_base_backup(archive, base)
                good.append(chain)
            except BackupError as error:
                damaged[chain[0].name] = error.message
        limit = datetime.now(UTC) - older_than
        removed = [chain for chain in good[keep:] if chain[-1].finished_at < limit]
        kept = [chain for chain in good if chain not in removed]
        oldest = min((chain[0] for chain in kept), key=lambda base: base.serial, default=None)
        # The WAL that a damaged chain would need must not be removed
        segments = _segments_before(archive, oldest) if oldest and not damaged else []
        old_points = [p for p in points(archive) if oldest and not damaged and _before(p.timeline, p.lsn, oldest)]
        if not dry_run:
            for chain in removed:
                for base in reversed(chain):
                    # The record first: without it the folder is not a base backup
                    (archive.base / f"{base.name}.json").unlink()
                    shutil.rmtree(archive.base / base.name)
            clear_leftovers(archive)
            for name in segments:
                (archive.wal / name).unlink()
            for point in old_points:
                restore_point_file(archive, point.name).unlink()
            sync(archive.base)
            sync(archive.wal)
    return PrunedArchive(
        [base.name for chain in removed for base in chain],
        [base.name for chain in kept for base in chain],
        damaged,
        len(segments),
        len(old_points),
    )


def _chains(archive: Archive) -> list[list[BaseBackup]]:
    """Return the chains of base backups, oldest first, without backups whose record is damaged."""
    found: dict[str, list[BaseBackup]] = {}
    for name in base_backup_names(archive):
        try:
            base = read_base_backup(archive, name)
            found.setdefault(chain_of(archive, base)[0].name, []).append(base)
        except BackupError:
            continue
    return list(found.values())


def _before(timeline: int, lsn: str, base: BaseBackup) -> bool:
    return (timeline, lsn_number(lsn)) < (base.timeline, lsn_number(base.stop_lsn))


def _segments_before(archive: Archive, base: BaseBackup) -> list[str]:
    """Return the segments and history files that no base backup from this one on needs."""
    first = segment_name(base.timeline, lsn_number(base.start_lsn))
    return sorted(
        path.name
        for path in archive.wal.iterdir()
        if re.match(r"[0-9A-F]{24}(\.|$)", path.name) and path.name[:24] < first
    )
