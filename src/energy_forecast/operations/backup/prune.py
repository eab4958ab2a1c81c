"""Remove old backups, but only if enough newer ones are good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from energy_forecast.errors import BackupError
from energy_forecast.event_log import log_run
from energy_forecast.operations.backup.create import verify_backup
from energy_forecast.operations.backup.folder import BackupFolder
from energy_forecast.operations.files import faults
from energy_forecast.postgres.private_files import sync
from energy_forecast.progress import Progress, silent


@dataclass(frozen=True)
class Pruned:
    """The removed, kept, damaged and foreign backups. Damaged and foreign ones are neither counted nor removed."""

    removed: list[str]
    kept: list[str]
    damaged: dict[str, str]
    foreign: list[str]


@log_run("prune", lambda done: {"removed": len(done.removed), "kept": len(done.kept), "damaged": len(done.damaged)})
def prune_backups(
    folder: BackupFolder,
    *,
    older_than: timedelta,
    keep: int,
    dry_run: bool = False,
    report: Progress = silent,
) -> Pruned:
    """Remove backups older than a time span, if `keep` newer good ones remain.

    The newest `keep` intact backups stay at any age. Nothing is removed if there are not more than `keep`: eight failed
    nights must not cost the last good copy. The order is that of creation, independent of the clock.

    Raises:
        BackupError: the folder cannot be read or written.
        ServerError: the state folder is a copy, and the backups belong to its original.
    """
    with faults("Pruning failed"), folder.locked():
        folder.identity()
        folder.clear_unfinished()
        names = folder.names()
        good: list[str] = []
        damaged: dict[str, str] = {}
        foreign: list[str] = []
        for number, name in enumerate(reversed(names)):
            report("Checking backups", number, len(names))
            try:
                backup = verify_backup(folder, name, read=False)
            except BackupError as error:
                damaged[name] = error.message
                continue
            (good if folder.is_own(backup) else foreign).append(backup.name)
        report("Checking backups", len(names), len(names))
        oldest_kept = datetime.now(UTC) - older_than
        removed = [name for name in good[keep:] if folder.read(name).finished_at < oldest_kept]
        for name in removed if not dry_run else ():
            # The dump first: a record alone is not a backup, but a user could take a dump alone for one
            folder.file(name).unlink()
            folder.record(name).unlink()
        if removed and not dry_run:
            sync(folder.path)
    return Pruned(removed, [name for name in good if name not in removed], damaged, foreign)
