"""Archiving switched on, and claimed only once a segment has really arrived."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from energy_forecast.database import Database
from energy_forecast.database.recovery import archiver, end_segment, waiting_segments
from energy_forecast.errors import BackupError
from energy_forecast.operations.recovery.archive import SEGMENT_BYTES
from energy_forecast.postgres import Archive, EmbeddedServer

ARRIVAL_TIMEOUT = 90.0
_PAUSE = 0.05
# In seconds
_JUST_CHANGED = 60.0


@dataclass(frozen=True)
class Enabled:
    """What `enable` came to.

    Args:
        archiving: whether a segment has arrived in the archive; only then is there recovery to a moment.
        restart_needed: whether the server has to be restarted first.
        segment: the segment that arrived.
    """

    folder: Path
    archiving: bool
    restart_needed: bool
    segment: str | None


def enable(server: EmbeddedServer, folder: Path | None, *, restart: bool) -> Enabled:
    """Has the embedded server archive its WAL, and waits until a segment has arrived.

    Args:
        folder: where to; the present archive, or `recovery` in the state folder by default.
        restart: whether the server may be restarted, which archiving needs. Connections are cut.

    Raises:
        BackupError: it archives, and nothing arrives.
        ServerError: the folder will not do, or the server does not start.
    """
    known = server.archive
    wanted = folder or (known.folder if known else server.home / "recovery")
    status = server.start()
    archive = server.enable_archiving(wanted.expanduser().absolute())
    database = Database(status.url, embedded=True)
    settled = known is not None and known.folder == archive.folder and archiver(database).on
    if not settled:
        if not restart:
            return Enabled(archive.folder, archiving=False, restart_needed=True, segment=None)
        database = Database(server.restart().url, embedded=True)
    return Enabled(archive.folder, archiving=True, restart_needed=False, segment=wait_archived(database, archive))


def wait_archived(database: Database, archive: Archive) -> str:
    """Ends the present segment and waits until it, and so everything before it, lies in the archive; its name.

    A file of the segment's name that is too short to be one is what some other tool left half; it is set aside, since
    the server never overwrites and would be stuck on it.

    Raises:
        BackupError: it does not arrive; the message says what is in the way.
    """
    segment = end_segment(database, f"archived-{uuid4().hex[:12]}")
    deadline = time.monotonic() + ARRIVAL_TIMEOUT
    pushed = False
    while not _arrived(archive, segment):
        if not pushed and set_aside_partial(database, archive):
            # A failing archiver sleeps for a minute; a new segment wakes it
            end_segment(database, f"archived-{uuid4().hex[:12]}")
            pushed = True
        if time.monotonic() > deadline or _is_full(database, archive):
            raise BackupError(
                f"The WAL segment {segment} has not arrived in {archive.wal}. {reason(database, archive)}"
            )
        time.sleep(_PAUSE)
    return segment


def _is_full(database: Database, archive: Archive) -> bool:
    """Whether the server has tried to archive, and has no room for it."""
    return archive.wal.is_dir() and shutil.disk_usage(archive.wal).free < SEGMENT_BYTES and archiver(database).failing


def _arrived(archive: Archive, segment: str) -> bool:
    try:
        return (archive.wal / segment).stat().st_size == SEGMENT_BYTES
    except OSError:
        return False


def check_archiving(database: Database, archive: Archive) -> None:
    """Raises where the server does not archive, instead of waiting for a segment that will never come.

    Raises:
        BackupError: it does not.
    """
    if not archiver(database).on:
        raise BackupError(f"The WAL is not archived. {reason(database, archive)}")


def clear_leftovers(archive: Archive) -> None:
    """Removes the unfinished copies of segments that a killed or full archive was left with.

    basic_archive copies to `archtemp.SEGMENT.PID.TIME` and renames; it never looks at an old one again. One that a
    process has open is being written. Should such a one go all the same, the server copies that segment again.
    """
    for path in archive.wal.glob("archtemp.*"):
        process = path.name.rsplit(".", 2)[1]
        with contextlib.suppress(FileNotFoundError):
            if not _is_written(path, process):
                path.unlink()


def _is_written(path: Path, process: str) -> bool:
    """Return whether a process has a file open; if that cannot be seen, whether the file was just changed."""
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
    """Renames what is in the way of a waiting segment and too short to be one; nothing is deleted."""
    moved = []
    for segment in waiting_segments(database):
        path = archive.wal / segment
        if path.is_file() and path.stat().st_size < SEGMENT_BYTES:
            path.chmod(0o600)
            path.rename(path.with_name(f"{segment}.partial-{uuid4().hex[:8]}"))
            moved.append(segment)
    return moved


def reason(database: Database, archive: Archive) -> str:
    """Why archiving does not get on, as far as can be seen."""
    if not archive.wal.is_dir():
        return f"The folder {archive.wal} is not there."
    if not archiver(database).on:
        return (
            "The server does not archive: it was not restarted since, or the archive is another server's. "
            "Run: energy-forecast recovery enable --restart"
        )
    if shutil.disk_usage(archive.wal).free < SEGMENT_BYTES:
        return f"The disk of {archive.wal} is full. Make room: see docs/runbooks/full-archive.md."
    waiting = waiting_segments(database)
    if waiting and (archive.wal / waiting[0]).exists():
        return (
            f"The archive has another file of the name {waiting[0]}, which the server does not overwrite: another "
            "server has archived there, or the file is damaged. Move it away."
        )
    return "The folder may be full or closed to the server's user; the server's log says more."
