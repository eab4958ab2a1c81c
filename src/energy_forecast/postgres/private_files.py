"""Folders and files of the state folder: their modes are given, and not left to the caller's umask."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder and what is missing above it, which only their owner can change. What is there stays as it is."""
    for missing in reversed([folder for folder in path.parents if not folder.exists()]):
        missing.mkdir(mode=0o755, exist_ok=True)
    path.mkdir(mode=mode, exist_ok=True)


def private(path: str, flags: int) -> int:
    """Open a file for `open(opener=private)`: a new one is its owner's alone, and no link is followed."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
