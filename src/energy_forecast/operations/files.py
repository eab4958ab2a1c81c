"""Files that are there whole or not at all, and that only their owner can read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from energy_forecast.errors import BackupError, ServerError
from energy_forecast.postgres.liveness_lock import exclusive
from energy_forecast.postgres.private_files import make_folder

# In seconds; a folder without a lock may be in the making
_MAKING = 3600.0


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Makes a file, or the names in a folder, last through a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Makes a folder with all that is in it last through a loss of power."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(Path(parent) / name)
        sync(Path(parent))


def write_sealed(path: Path, document: dict[str, Any]) -> None:
    """Writes a JSON document with a SHA-256 of itself in it: whole, lasting, readable by its owner."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    sealed = document | {"seal": hashlib.sha256(text.encode()).hexdigest()}
    new = path.with_name(path.name + ".tmp")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(sealed, file, sort_keys=True, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(descriptor)
    new.rename(path)
    sync(path.parent)


def read_sealed(path: Path) -> dict[str, Any]:
    """The document that `write_sealed` wrote.

    Raises:
        BackupError: it is not there, or not as it was written.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        seal = document.pop("seal")
    except FileNotFoundError as error:
        raise BackupError(f"There is no {path}.") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BackupError(f"The record {path} is damaged.") from error
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    if hashlib.sha256(text.encode()).hexdigest() != seal:
        raise BackupError(f"The record {path} is damaged: it is not as it was written.")
    return dict(document)


@contextlib.contextmanager
def faults(what: str) -> Iterator[None]:
    """Turns an error of the file system into one of ours that says what to do."""
    try:
        yield
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BackupError(
                f"{what}: the disk is full.", hint="Free some space, or choose another folder."
            ) from error
        raise BackupError(f"{what}: {error.strerror or error}{where}.", hint="Choose another folder.") from error


@contextlib.contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A temporary folder. Those of this purpose that killed processes have left are removed first.

    A living process holds a lock in its folder.
    """
    for left in Path(tempfile.gettempdir()).glob(f"ef-{purpose}-*"):
        with contextlib.suppress(OSError, ServerError):
            # Everybody may put a folder or a link of this name there
            if left.is_symlink() or left.stat().st_uid != os.geteuid():
                continue
            if (left / "lock").exists() or time.time() - left.stat().st_mtime > _MAKING:
                with exclusive(left / "lock", 0.0):
                    shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=f"ef-{purpose}-") as folder, exclusive(Path(folder) / "lock", 0.0):
        yield Path(folder)


def private_folder(path: Path) -> None:
    """Makes a folder that only its owner can enter, and what is missing above it.

    Raises:
        BackupError: it is another user's, or open to others and not ours to close.
    """
    make_folder(path, 0o700)
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise BackupError(f"The folder {path} belongs to another user.", hint="Run this as that user.")
    if found.st_mode & 0o077:
        path.chmod(0o700)
