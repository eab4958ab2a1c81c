"""Enable WAL archiving, and confirm it after a segment has arrived in the archive."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from energy_forecast.database import Database
from energy_forecast.database.recovery import archiver, end_segment
from energy_forecast.errors import BackupError
from energy_forecast.operations.recovery.archive import SEGMENT_BYTES
from energy_forecast.postgres import Archive, EmbeddedServer

ARRIVAL_TIMEOUT = 90.0
_PAUSE = 0.05
# In seconds
_JUST_CHANGED = 60.0


@dataclass(frozen=True)
class Enabled:
    """Result of `enable`.

    Args:
        archiving: whether a segment has arrived in the archive, so that point-in-time recovery works.
        restart_needed: whether the server must be restarted first.
        segment: the segment that arrived.
    """

    folder: Path
    archiving: bool
    restart_needed: bool
    segment: str | None


def enable(server: EmbeddedServer, archive: Path | None, *, restart: bool) -> Enabled:
    """Enable WAL archiving of the embedded server, and wait until a segment has arrived.

    Args:
        archive: the folder; by default the current archive, or `recovery` in the state folder.
        restart: whether to restart the server, which archiving requires. Connections are closed.

    Raises:
        BackupError: archiving is on, but no segment arrives.
        ServerError: the folder cannot be used, or the server does not start.
    """
    known = server.archive
    wanted = archive or (known.folder if known else server.home / "recovery")
    status = server.start()
    enabled = server.enable_archiving(wanted.expanduser().absolute())
    database = Database(status.url, embedded=True)
    settled = known is not None and known.folder == enabled.folder and archiver(database).on
    if not settled:
        if not restart:
            return Enabled(enabled.folder, archiving=False, restart_needed=True, segment=None)
        database = Database(server.restart().url, embedded=True)
    return Enabled(enabled.folder, archiving=True, restart_needed=False, segment=wait_archived(database, enabled))


def wait_archived(database: Database, archive: Archive) -> str:
    """End the current segment, wait until it and everything before it are archived, and return its name.

    A short file with the name of the segment was left by another tool. It is renamed, because the server does not
    overwrite it and would not continue.

    Raises:
        BackupError: the segment does not arrive; the message has the reason.
    """
    segment = end_segment(database, f"archived-{uuid4().hex[:12]}")
    deadline = time.monotonic() + ARRIVAL_TIMEOUT
    pushed = False
    while not _arrived(archive, segment):
        if not pushed and set_aside_partial(database, archive):
            # The archiver sleeps for a minute after a failure; a new segment wakes it
            end_segment(database, f"archived-{uuid4().hex[:12]}")
            pushed = True
        if time.monotonic() > deadline or _is_full(database, archive):
            raise BackupError(
                f"The WAL segment {segment} has not arrived in {archive.wal}. {reason(database, archive)}"
            )
        time.sleep(_PAUSE)
    return segment


def _is_full(database: Database, archive: Archive) -> bool:
    """Return whether archiving fails because the disk is full."""
    return archive.wal.is_dir() and shutil.disk_usage(archive.wal).free < SEGMENT_BYTES and archiver(database).failing


def _arrived(archive: Archive, segment: str) -> bool:
    try:
        return (archive.wal / segment).stat().st_size == SEGMENT_BYTES
    except OSError:
        return False


def check_archiving(database: Database, archive: Archive) -> None:
    """Check that the server archives, before waiting for a segment that would never arrive.

    Raises:
        BackupError: archiving is off.
    """
    if not archiver(database).on:
        raise BackupError(f"The WAL is not archived. {reason(database, archive)}")


def clear_leftovers(archive: Archive) -> None:
    """Remove unfinished copies of segments that a killed archiver or a full disk has left.

    basic_archive copies to `archtemp.SEGMENT.PID.TIME`, renames the copy, and never uses an old one again. A file that
    a process has open is still being written. If such a file is removed, the server copies the segment again.
    """
    for path in archive.wal.glob("archtemp.*"):
        process = path.name.rsplit(".", 2)[1]
        with contextlib.suppress(FileNotFoundError):
            if not _is_written(path, process):
                path.unlink()


def _is_written(path: Path, process: str) -> bool:
    """Return whether a process has a file open; without permission, whether it was just changed."""
    try:
        names = list(Path(f"/proc/{process}/fd").iterdir())
    except FileNotFoundError:
        return False
    except PermissionError:
        return time.time() - path.stat().st_mtime < _JUST_CHANGED
    for name in names:
        with contextlib.suppress(OSError):
            if name.samefile(path):
                return True
    return False


def set_aside_partial(database: Database, archive: Archive) -> list[str]:
    """Rename short files with the name of a waiting segment, and return the segments. Nothing is deleted."""
    moved = []
    for segment in archiver(database).segments:
        path = archive.wal / segment
        if path.is_file() and path.stat().st_size < SEGMENT_BYTES:
            path.chmod(0o600)
            path.rename(path.with_name(f"{segment}.partial-{uuid4().hex[:8]}"))
            moved.append(segment)
    return moved


def reason(database: Database, archive: Archive) -> str:
    """Return the visible reason why archiving makes no progress, with the remedy."""
    if not archive.wal.is_dir():
        return f"The folder {archive.wal} does not exist."
    found = archiver(database)
    if not found.on:
        return (
            "The server does not archive: it was not restarted, or the archive belongs to another server. "
            "Run: energy-forecast recovery enable --restart"
        )
    if shutil.disk_usage(archive.wal).free < SEGMENT_BYTES:
        return f"The disk of {archive.wal} is full. Free some space: see docs/runbooks/full-archive.md."
    if found.segments and (path := archive.wal / found.segments[0]).exists():
        if path.stat().st_size < SEGMENT_BYTES:
            remedy = "It is incomplete. To rename it, run: energy-forecast recovery base"
        else:
            remedy = "Another server has archived there, or the file is damaged. Move the file away."
        return f"The archive has another file named {path.name}, which the server does not overwrite. {remedy}"
    return "The archive may be full or closed to the user of the server. See docs/runbooks/full-archive.md."
