"""Files that are written completely or not at all, and that only their owner can read."""

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
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from energy_forecast.errors import BackupError, ServerError
from energy_forecast.postgres.liveness_lock import exclusive
from energy_forecast.postgres.private_files import make_folder, replace_file, sync

T = TypeVar("T")
# In seconds; another process may just be creating a folder without a lock
_MAKING = 3600.0


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(path: Path, record: Any) -> None:
    """Write a dataclass as JSON with its own SHA-256 atomically to disk, readable by its owner only."""
    document = json.loads(json.dumps(asdict(record), default=datetime.isoformat))
    sealed = document | {"seal": _seal(document)}
    replace_file(path, json.dumps(sealed, sort_keys=True, ensure_ascii=False, indent=1))
    sync(path.parent)


def read_record(path: Path, kind: type[T]) -> T:
    """Return the dataclass that `write_record` wrote. Fields whose names end with `_at` are times.

    Raises:
        BackupError: the file is missing or was changed.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        if document.pop("seal") != _seal(document):
            raise BackupError(f"The record {path} is damaged: its contents were changed.")
        times = {name: datetime.fromisoformat(text) for name, text in document.items() if name.endswith("_at")}
        return kind(**document | times)
    except FileNotFoundError as error:
        raise BackupError(f"The file {path} is missing.") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BackupError(f"The record {path} is damaged.") from error


def _seal(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@contextlib.contextmanager
def faults(what: str) -> Iterator[None]:
    """Convert an error of the file system into a BackupError with a remedy."""
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
    """Yield a temporary folder, after removing folders of this purpose that killed processes have left.

    A living process holds a lock in its folder.
    """
    for left in Path(tempfile.gettempdir()).glob(f"ef-{purpose}-*"):
        with contextlib.suppress(OSError, ServerError):
            # Any user may create a folder or a link with such a name there
            if left.is_symlink() or left.stat().st_uid != os.geteuid():
                continue
            if (left / "lock").exists() or time.time() - left.stat().st_mtime > _MAKING:
                with exclusive(left / "lock", 0.0):
                    shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=f"ef-{purpose}-") as folder, exclusive(Path(folder) / "lock", 0.0):
        yield Path(folder)


def private_folder(path: Path) -> None:
    """Create a folder that only its owner can enter, and its missing parents.

    Raises:
        BackupError: the folder belongs to another user.
    """
    make_folder(path, 0o700)
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise BackupError(f"The folder {path} belongs to another user.", hint="Run this as that user.")
    if found.st_mode & 0o077:
        path.chmod(0o700)
