"""Logical backups: create, verify, list, prune, restore and compare them."""

from energy_forecast.operations.backup.create import create_backup, verify_backup
from energy_forecast.operations.backup.folder import Backup, BackupFolder
from energy_forecast.operations.backup.prune import Pruned, prune_backups
from energy_forecast.operations.backup.restore import Restored, restore_backup

__all__ = [
    "Backup",
    "BackupFolder",
    "Pruned",
    "Restored",
    "create_backup",
    "prune_backups",
    "restore_backup",
    "verify_backup",
]
