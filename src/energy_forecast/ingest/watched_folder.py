"""Watch a folder: load complete files one at a time, and move each to a folder for its outcome.

A file moves to `loading` before it is read. So a new file of the same name overwrites nothing, and after a kill the
next watcher begins with the file in `loading`. From there it moves to `done`, or to `failed` with a text file that has
the reason. A file that was loaded but not moved before a kill is loaded again, which changes nothing. A file that was
in `loading` at three deaths of a watcher moves to `failed`, because it may be their cause.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from energy_forecast.errors import ConnectionLostError, DataRefusedError, EnergyForecastError, IngestError
from energy_forecast.fault_log import program_fault
from energy_forecast.ingest.readers.source import names_of

Result = TypeVar("Result")

_LOADING, _DONE, _FAILED = "loading", "done", "failed"
_LOCK = ".energy-forecast.lock"
# Suffixes of files that are still being written
_UNFINISHED = (".tmp", ".part")
# Bytes of a name, of the 255 that a file system allows: a number and .txt have to fit too
_LONGEST_STEM, _LONGEST_KIND = 210, 20
# A process that runs out of memory is killed and cannot report the file
_MOST_DEATHS = 3
# Seconds between two checks of the folder, and the first and longest wait for an unreachable database
_PAUSE = 0.5
_BACKOFF = (1.0, 60.0)


@dataclass(frozen=True)
class FileOutcome(Generic[Result]):
    """The outcome of a file.

    Args:
        name: the file's name in the ledger.
        moved_to: its new path; None if it was changed during the load, so that it will be loaded again, or was removed.
        result: the result of the load; None if the file could not be read at all.
        failure: why no row of it could be used.
    """

    name: str
    moved_to: Path | None
    result: Result | None
    failure: str | None = None


@dataclass(frozen=True)
class _Seen:
    """The state of a file that shows changes, and since when it is unchanged, on the watcher's clock."""

    state: tuple[int, int, int] | None
    since: float


class WatchedFolder:
    """The files of a watched folder. The constructor changes nothing; one watcher does the rest, inside `exclusive`.

    Args:
        folder: the folder where files of one dataset arrive.
        settle: seconds for which size and time of a file have to be unchanged before it counts as complete.
        clock: monotonic time in seconds.
    """

    def __init__(self, folder: Path, settle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.settle = settle
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Create the folders inside, and exclude every other watcher.

        Raises:
            IngestError: the folder does not exist or is not writable, another watcher uses it, or a file has the name
                of a folder that the watcher needs.
        """
        if not self.folder.is_dir():
            raise IngestError(f"Folder {self.folder} not found.", hint="Create it, or check the name.")
        with self._faults():
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise IngestError(
                    f"Another watcher uses {self.folder}.", hint="Stop it first: two would load a file twice."
                ) from error
            with self._faults():
                for name in (_LOADING, _DONE, _FAILED):
                    self._make(name)
            yield
        finally:
            # The file stays: if it were removed, two watchers could hold a lock of one name
            os.close(descriptor)

    def arrived(self) -> list[str]:
        """Return the names of data files, complete or not, in the order of their times."""
        found = []
        with self._faults(), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
                    continue
                # A file may disappear during the scan
                with suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        return [name for _, name in sorted(found)]

    def complete(self) -> list[str]:
        """Return the names of files that are unchanged for long enough, in the order of their times."""
        now, names = self._clock(), self.arrived()
        seen: dict[str, _Seen] = {}
        for name in names:
            state, before = _state(self.folder / name), self._seen.get(name)
            seen[name] = before if before is not None and before.state == state else _Seen(state, now)
        self._seen = seen
        return [name for name in names if now - seen[name].since >= self.settle]

    def claimed(self) -> list[Path]:
        """Return the files that a killed watcher left in `loading`, in the order of their times."""
        with self._faults():
            left = [
                path
                for path in (self.folder / _LOADING).iterdir()
                if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
            ]
            return sorted(left, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def deaths(self, claimed: Path) -> int:
        """Count one more death of a watcher while it loaded this file, and return the total. Call it once a start."""
        note = _deaths_note(claimed)
        with self._faults():
            try:
                count = int(note.read_text(encoding="utf-8")) + 1
            except (FileNotFoundError, ValueError):
                count = 1
            note.write_text(f"{count}\n", encoding="utf-8")
        return count

    def claim(self, name: str) -> Path | None:
        """Move a file to `loading` and return its path; None if it has disappeared."""
        with self._faults():
            to = _free(self.folder / _LOADING, name)
            try:
                (self.folder / name).rename(to)
            except FileNotFoundError:
                return None
        return to

    def put(self, claimed: Path, outcome: str) -> Path:
        """Move a claimed file into `done` or `failed`; existing files keep their names."""
        with self._faults():
            self._make(outcome)
            to = _free(self.folder / outcome, claimed.name)
            claimed.rename(to)
            _deaths_note(claimed).unlink(missing_ok=True)
        return to

    def refuse(self, claimed: Path, reason: str) -> Path:
        """Move a claimed file into `failed`, with a text file that has the reason."""
        with self._faults():
            self._make(_FAILED)
            to = _free(self.folder / _FAILED, claimed.name)
            # The text first, so that no file is in the folder without its reason
            _reason(to).write_text(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {reason}\n", encoding="utf-8")
            claimed.rename(to)
            _deaths_note(claimed).unlink(missing_ok=True)
        return to

    def give_back(self, claimed: Path) -> None:
        """Move a claimed file back; if its name is in use again, a number is added."""
        with self._faults():
            claimed.rename(_free(self.folder, claimed.name))
            _deaths_note(claimed).unlink(missing_ok=True)

    def _make(self, name: str) -> None:
        """Create a folder of the watcher if it does not exist."""
        path = self.folder / name
        try:
            path.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise IngestError(
                f"{path} is a file, and the watcher needs a folder of this name.",
                hint="Move the file away or rename it, and start the watcher again.",
            ) from error

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = error.filename or self.folder
            raise IngestError(
                f"{where}: {error.strerror or error}.", hint="The watcher must be able to move files in the folder."
            ) from error


def _no_failure(_result: object) -> None:
    """Return None: every result counts as usable."""


def watch(
    folder: WatchedFolder,
    load: Callable[[Path], Result],
    *,
    failure_of: Callable[[Result], str | None] = _no_failure,
    once: bool = False,
    report: Callable[[str], None],
) -> Generator[FileOutcome[Result]]:
    """Load the files of a folder one after the other, and yield the outcome of each.

    Nothing is read ahead: the next file is claimed after the last one was moved. While the database is unreachable, the
    file stays claimed and is tried again after 1 to 60 seconds.

    Args:
        load: loads one file, whole or not at all.
        failure_of: returns why no row of a result could be used; None if some could.
        once: load the files present at the start, wait only until they are complete, and end. An unreachable database
            is then an error.
        report: called with a message when the database becomes unreachable and when it is back.

    Raises:
        IngestError: the folder cannot be used, or another watcher uses it.
        DatabaseError: the database refused a file, or, with `once`, is unreachable.
    """
    task = _Task(load, failure_of, report)
    with folder.exclusive():
        for claimed in folder.claimed():
            if (deaths := folder.deaths(claimed)) >= _MOST_DEATHS:
                reason = f"The watcher died {deaths} times while it loaded this file; it may need too much memory."
                yield FileOutcome(names_of([claimed])[0], folder.refuse(claimed, reason), None, reason)
            else:
                yield _take(folder, claimed, task, once=once)
        if once:
            yield from _take_present(folder, task)
            return
        while True:
            names = folder.complete()
            if not names:
                time.sleep(_PAUSE)
                continue
            # One file only, then scan again: an older one may have arrived before the next
            if (found := folder.claim(names[0])) is not None:
                yield _take(folder, found, task, once=False)


@dataclass(frozen=True)
class _Task(Generic[Result]):
    """The functions passed to a watcher; see `watch`."""

    load: Callable[[Path], Result]
    failure_of: Callable[[Result], str | None]
    report: Callable[[str], None]


def _take_present(folder: WatchedFolder, task: _Task[Result]) -> Iterator[FileOutcome[Result]]:
    present = set(folder.arrived())
    until = time.monotonic() + folder.settle
    while True:
        last = time.monotonic() >= until
        for name in folder.complete():
            if name in present:
                present.discard(name)
                if (found := folder.claim(name)) is not None:
                    yield _take(folder, found, task, once=True)
        present &= set(folder.arrived())
        if last or not present:
            return
        time.sleep(max(0.0, min(_PAUSE, until - time.monotonic())))


def _take(folder: WatchedFolder, claimed: Path, task: _Task[Result], *, once: bool) -> FileOutcome[Result]:
    moved = False
    try:
        before = _state(claimed)
        failure = result = None
        try:
            result = task.load(claimed) if once else _retry_unreachable(lambda: task.load(claimed), task.report)
            failure = task.failure_of(result)
        except (IngestError, DataRefusedError) as error:
            failure = str(error)
        except EnergyForecastError:
            # A full database or one of another version is not a fault of the file
            raise
        except Exception as error:  # noqa: BLE001 - one faulty file must not stop the others
            failure = program_fault(f"Load {claimed.name}", error)
        moved_to: Path | None
        if (after := _state(claimed)) != before:
            # It is still being written, or was removed
            if after is not None:
                folder.give_back(claimed)
            moved_to = None
        elif failure is None:
            moved_to = folder.put(claimed, _DONE)
        else:
            moved_to = folder.refuse(claimed, failure)
        moved = True
        return FileOutcome(names_of([claimed])[0], moved_to, result, failure)
    finally:
        if not moved and claimed.exists():
            folder.give_back(claimed)


def _retry_unreachable(load: Callable[[], Result], report: Callable[[str], None]) -> Result:
    """Try until the database is reachable."""
    pause, longest = _BACKOFF
    unreachable = False
    while True:
        try:
            result = load()
        except ConnectionLostError as error:
            unreachable = True
            report(f"{error.message} The file stays; retry in {pause:.0f} s.")
            time.sleep(pause)
            pause = min(2 * pause, longest)
        else:
            if unreachable:
                report("The database is back.")
            return result


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return inode, size and time of a file, which change with each write; None if it does not exist."""
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _deaths_note(claimed: Path) -> Path:
    return claimed.with_name(f".{claimed.name[:_LONGEST_STEM]}.deaths")


def _reason(path: Path) -> Path:
    return path.with_name(f"{path.name}.txt")


def _free(folder: Path, name: str) -> Path:
    """Return a free path for a name in a folder; if the name is in use, a number is added before the suffix.

    A long name is cut to leave room for the number and for the suffix of the text file.
    """
    kind = "".join(Path(name).suffixes[-2:] if name.endswith(".gz") else Path(name).suffixes[-1:])
    if len(kind) > _LONGEST_KIND:
        kind = ""
    stem = os.fsdecode(os.fsencode(name.removesuffix(kind))[:_LONGEST_STEM])
    number, path = 1, folder / f"{stem}{kind}"
    while path.exists() or _reason(path).exists():
        number += 1
        path = folder / f"{stem}-{number}{kind}"
    return path
