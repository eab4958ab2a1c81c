"""A folder that is watched: what is complete in it is taken one file at a time, and put where its outcome says.

A file goes to `loading` before it is read: so whoever brings another of the same name meanwhile overwrites nothing, and
what a killed watcher had in hand is what the next one begins with. From there it goes to `done`, or to `failed` beside
a text that says why. A file that was loaded and not yet moved when the watcher was killed is loaded again, which
changes nothing. A file that was in hand when a watcher died three times goes to `failed`: it may be what kills them.
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
# What is being written by whoever brings it
_UNFINISHED = (".tmp", ".part")
# Bytes of a name, of the 255 that a file system takes: a number and .txt have to fit as well
_LONGEST_STEM, _LONGEST_KIND = 210, 20
# A process that runs out of memory is killed and cannot name the file
_MOST_DEATHS = 3
# Seconds between two looks at the folder, and the first and longest wait for a database that is away
_PAUSE = 0.5
_BACKOFF = (1.0, 60.0)


@dataclass(frozen=True)
class FileOutcome(Generic[Result]):
    """What came of a file.

    Args:
        name: what the ledger calls the file.
        moved_to: where it is now; None where somebody wrote to it while it was loaded, so that its turn comes again, or
            took it away.
        result: what the load gave; None where the file could not be read at all.
        failure: why nothing of it could be used.
    """

    name: str
    moved_to: Path | None
    result: Result | None
    failure: str | None = None


@dataclass(frozen=True)
class _Seen:
    """What tells whether a file has changed, and since when it has been so, on the watcher's clock."""

    state: tuple[int, int, int] | None
    since: float


class WatchedFolder:
    """The files of a folder. Making it touches nothing; all else is done by one watcher, inside `alone`.

    Args:
        folder: where files of one kind arrive.
        settle: for how many seconds size and time of a file have to stay as they are before it counts as complete.
        clock: seconds that never go back.
    """

    def __init__(self, folder: Path, settle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.settle = settle
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Makes the folders in it and keeps every other watcher out.

        Raises:
            IngestError: there is no such folder, it cannot be written to, another watcher is at work on it, or a file
                has the name of a folder that the watcher needs.
        """
        if not self.folder.is_dir():
            raise IngestError(f"There is no folder {self.folder}.", hint="Make it, or check the name.")
        with self._faults():
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise IngestError(
                    f"Another watcher is at work on {self.folder}.", hint="Two would load a file twice; stop it first."
                ) from error
            with self._faults():
                for name in (_LOADING, _DONE, _FAILED):
                    self._make(name)
            yield
        finally:
            # The file stays: to remove it would let two hold a lock of one name
            os.close(descriptor)

    def arrived(self) -> list[str]:
        """The names that count, complete or not, those written first before the others."""
        found = []
        with self._faults(), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
                    continue
                # A file may go while one looks at it
                with suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        return [name for _, name in sorted(found)]

    def complete(self) -> list[str]:
        """The names that have stayed as they are for long enough, those written first before the others."""
        now, names = self._clock(), self.arrived()
        seen: dict[str, _Seen] = {}
        for name in names:
            state, before = _state(self.folder / name), self._seen.get(name)
            seen[name] = before if before is not None and before.state == state else _Seen(state, now)
        self._seen = seen
        return [name for name in names if now - seen[name].since >= self.settle]

    def claimed(self) -> list[Path]:
        """What a watcher that was killed had in hand, those written first before the others."""
        with self._faults():
            left = [
                path
                for path in (self.folder / _LOADING).iterdir()
                if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
            ]
            return sorted(left, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def deaths(self, claimed: Path) -> int:
        """Count, and return, how often a watcher has died with this file in hand; to be called once by the next one."""
        note = _deaths_note(claimed)
        with self._faults():
            try:
                count = int(note.read_text(encoding="utf-8")) + 1
            except (FileNotFoundError, ValueError):
                count = 1
            note.write_text(f"{count}\n", encoding="utf-8")
        return count

    def claim(self, name: str) -> Path | None:
        """Takes a file in hand; None where it has gone meanwhile."""
        with self._faults():
            to = _free(self.folder / _LOADING, name)
            try:
                (self.folder / name).rename(to)
            except FileNotFoundError:
                return None
        return to

    def put(self, claimed: Path, outcome: str) -> Path:
        """Moves what is in hand into `done` or `failed`; what is there under its name stays."""
        with self._faults():
            self._make(outcome)
            to = _free(self.folder / outcome, claimed.name)
            claimed.rename(to)
            _deaths_note(claimed).unlink(missing_ok=True)
        return to

    def refuse(self, claimed: Path, reason: str) -> Path:
        """Moves what is in hand into `failed`, beside a text that says why."""
        with self._faults():
            self._make(_FAILED)
            to = _free(self.folder / _FAILED, claimed.name)
            # The text first: no file is ever there without its reason
            _reason(to).write_text(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {reason}\n", encoding="utf-8")
            claimed.rename(to)
            _deaths_note(claimed).unlink(missing_ok=True)
        return to

    def give_back(self, claimed: Path) -> None:
        """Puts what is in hand back; where another of its name has come, with a number in it."""
        with self._faults():
            claimed.rename(_free(self.folder, claimed.name))
            _deaths_note(claimed).unlink(missing_ok=True)

    def _make(self, name: str) -> None:
        """Make a folder of the watcher if it is not there."""
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
                f"{where}: {error.strerror or error}.", hint="The watcher has to be able to move files in the folder."
            ) from error


def _no_failure(_result: object) -> None:
    """What was loaded counts as used."""


def watch(
    folder: WatchedFolder,
    load: Callable[[Path], Result],
    *,
    failure_of: Callable[[Result], str | None] = _no_failure,
    once: bool = False,
    say: Callable[[str], None],
) -> Generator[FileOutcome[Result]]:
    """Loads the files of a folder one after the other, and says of each what came of it.

    Nothing is read ahead: the next file is taken when the last one is out of hand. While the database is away the file
    stays in hand and is tried again, after 1 to 60 seconds.

    Args:
        load: loads one file, all of it or nothing.
        failure_of: why nothing of a load could be used; None where something could.
        once: take what is there at the beginning, waiting no longer than it needs to settle, and end. A database that
            is away is an error then.
        say: told in words when the database is away and when it is back.

    Raises:
        IngestError: the folder cannot be used, or another watcher is at work on it.
        DatabaseError: the database refused, or, with `once`, is away.
    """
    task = _Task(load, failure_of, say)
    with folder.alone():
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
            # One only, then look again: a file that was written before the next may have come
            if (found := folder.claim(names[0])) is not None:
                yield _take(folder, found, task, once=False)


@dataclass(frozen=True)
class _Task(Generic[Result]):
    """The functions that a watcher was given; see `watch`."""

    load: Callable[[Path], Result]
    failure_of: Callable[[Result], str | None]
    say: Callable[[str], None]


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
    out_of_hand = False
    try:
        before = _state(claimed)
        failure = result = None
        try:
            result = task.load(claimed) if once else _with_patience(lambda: task.load(claimed), task.say)
            failure = task.failure_of(result)
        except (IngestError, DataRefusedError) as error:
            failure = str(error)
        except EnergyForecastError:
            # A database that is full or of another version is no fault of the file
            raise
        except Exception as error:  # noqa: BLE001 - one poison file must not stop the others
            failure = program_fault(f"Load {claimed.name}", error)
        moved_to: Path | None
        if (after := _state(claimed)) != before:
            # Whoever brought it writes on, or has taken it away
            if after is not None:
                folder.give_back(claimed)
            moved_to = None
        elif failure is None:
            moved_to = folder.put(claimed, _DONE)
        else:
            moved_to = folder.refuse(claimed, failure)
        out_of_hand = True
        return FileOutcome(names_of([claimed])[0], moved_to, result, failure)
    finally:
        if not out_of_hand and claimed.exists():
            folder.give_back(claimed)


def _with_patience(load: Callable[[], Result], say: Callable[[str], None]) -> Result:
    """Tries until the database is there."""
    pause, longest = _BACKOFF
    away = False
    while True:
        try:
            result = load()
        except ConnectionLostError as error:
            away = True
            say(f"{error.message} The file stays; trying again in {pause:.0f} s.")
            time.sleep(pause)
            pause = min(2 * pause, longest)
        else:
            if away:
                say("The database is back.")
            return result


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes when somebody writes to a file; None where it has gone."""
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
    """The name in a folder, or, where that is taken, with a number before what says what kind of file it is.

    A name is cut where it would leave no room for the number and for the name of the text beside it.
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
