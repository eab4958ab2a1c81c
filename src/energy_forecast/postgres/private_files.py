"""Folders and files of the state folder with explicit modes, independent of the umask of the caller."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Create a folder and its missing parents, writable by their owner only. Existing folders are not changed."""
    for missing in reversed([folder for folder in path.parents if not folder.exists()]):
        missing.mkdir(mode=0o755, exist_ok=True)
    path.mkdir(mode=mode, exist_ok=True)


def private(path: str, flags: int) -> int:
    """Open a file for `open(opener=private)`: only the owner can access a new file, and links are not followed."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
