"""Old backups go, but only while enough newer ones are known to be good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from energy_forecast.errors import BackupError
from energy_forecast.operations.backup.folder import BackupFolder
from energy_forecast.operations.backup.verify import verify_backup
from energy_forecast.operations.files import faults, sync
from energy_forecast.progress import Progress, silent


@dataclass(frozen=True)
class Pruned:
    """Backups removed, kept, damaged, and of another server: neither of the last two is counted or removed."""

    removed: list[str]
    kept: list[str]
    damaged: dict[str, str]
    foreign: list[str]


def prune_backups(
    folder: BackupFolder,
    *,
    older_than: timedelta,
    keep: int,
    dry_run: bool = False,
    report: Progress = silent,
) -> Pruned:
    """Removes backups older than a span of time, as long as `keep` good ones newer than them stay.

    The newest `keep` that are as they were made stay whatever their age. Nothing is removed when there are not more
    than `keep`: eight failed nights must not cost the last good copy. Newer means made later, not what a clock said.

    Raises:
        BackupError: the folder cannot be read or written.
        ServerError: the state folder is a copy, so that the backups belong to its original.
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
            # The dump first: a record alone is no backup, a dump alone could be taken for one by a person
            folder.file(name).unlink()
            folder.record(name).unlink()
        if removed and not dry_run:
            sync(folder.path)
    return Pruned(removed, [name for name in good if name not in removed], damaged, foreign)
