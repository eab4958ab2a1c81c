"""Verify that a backup is unchanged."""

from __future__ import annotations

from energy_forecast.errors import BackupError
from energy_forecast.operations.backup.create import read_whole
from energy_forecast.operations.backup.folder import Backup, BackupFolder
from energy_forecast.operations.files import faults, sha256_of


def verify_backup(folder: BackupFolder, name: str, *, read: bool = True) -> Backup:
    """Compare a dump with its record, read it completely with pg_restore, and return the backup.

    Args:
        read: whether to read it with pg_restore, in addition to checking size and SHA-256.

    Raises:
        BackupError: the backup is missing or was changed.
    """
    with faults(f"The backup {name} cannot be read"):
        backup = folder.read(name)
        path = folder.file(name)
        size = path.stat().st_size
        if size != backup.size:
            raise BackupError(f"The backup {name} is damaged: it has {size} bytes instead of {backup.size}.")
        if sha256_of(path) != backup.sha256:
            raise BackupError(f"The backup {name} is damaged: its SHA-256 is not the recorded one.")
    if read:
        read_whole(path, backup.major)
    return backup
