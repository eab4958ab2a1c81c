"""Folders and files of the state folder with explicit modes, independent of the umask of the caller."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from energy_forecast.postgres.system_user import SystemUser


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Create a folder and its missing parents, writable by their owner only. Existing folders are not changed."""
    for missing in reversed([folder for folder in path.parents if not folder.exists()]):
        missing.mkdir(mode=0o755, exist_ok=True)
    path.mkdir(mode=mode, exist_ok=True)


def private(path: str, flags: int) -> int:
    """Open a file for `open(opener=private)`: only the owner can access a new file, and links are not followed."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def replace_file(path: Path, text: str, owner: SystemUser | None = None) -> None:
    """Replace a file, which only its owner can access, and sync it.

    A new file is renamed: root must not write through a link that another user has created.

    Args:
        owner: the system user who gets the file.
    """
    new = path.with_name(path.name + ".tmp")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if owner is not None and owner.foreign:
            os.fchown(descriptor, owner.uid, owner.gid)
        os.fsync(descriptor)
    new.rename(path)


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
