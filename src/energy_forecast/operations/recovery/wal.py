"""Read the WAL record by record and verify the checksums, before a server starts with it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from energy_forecast.operations.client_programs import plain_environment
from energy_forecast.operations.recovery.archive import SEGMENT_BYTES, lsn_number, segment_name
from energy_forecast.postgres.binaries import end_with_parent

_RECORD = re.compile(r"lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+), .*? desc: (?P<what>.*)")
_END = re.compile(r"(?:COMMIT|ABORT)[A-Z_ ]* (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")
_PREPARED = re.compile(r"(?:COMMIT|ABORT)_PREPARED \d+: (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


@dataclass(frozen=True)
class WalRecord:
    """A WAL record: the end of a transaction (with its time), a restore point (with its label), or another."""

    lsn: int
    time: datetime | None
    label: str | None


@dataclass
class WalReader:
    """One pass over the WAL. Afterwards `end` and `damage` describe its end.

    Args:
        folders: the folders with the segments; the first one with a segment counts.
        timeline: the timeline to follow.
        start: the LSN of the first record, in bytes.
    """

    folders: Sequence[Path]
    timeline: int
    start: int
    damage: str | None = None
    end: int = 0

    def segments(self) -> list[Path]:
        """Return the complete segments from the first needed one up to a gap; `damage` describes the gap."""
        found: list[Path] = []
        place = self.start - self.start % SEGMENT_BYTES
        while path := self._file(segment_name(self.timeline, place)):
            if (size := path.stat().st_size) != SEGMENT_BYTES:
                self.damage = f"the segment {path.name} has {size} bytes instead of {SEGMENT_BYTES}"
                return found
            found.append(path)
            place += SEGMENT_BYTES
        missing = segment_name(self.timeline, place)
        if not found:
            self.damage = f"the segment {missing} is missing"
        elif later := self.later(found[-1].name):
            self.damage = f"the segment {missing} is missing, but {later} exists"
        return found

    def _file(self, name: str) -> Path | None:
        for folder in self.folders:
            if (path := folder / name).is_file():
                return path
        return None

    def later(self, last: str) -> str | None:
        """Return a segment of the timeline after `last`; None if there is no gap after it."""
        later = [
            path.name
            for folder in self.folders
            for path in folder.iterdir()
            if re.fullmatch(r"[0-9A-F]{24}", path.name) and path.name[:8] == last[:8] and path.name > last
        ]
        return min(later, default=None)

    def records(self, program: Path, scratch: Path) -> Iterator[WalRecord]:
        """Yield the relevant records in order, until the WAL ends or is damaged; `damage` then describes the damage.

        Args:
            program: pg_waldump of the version of the server.
            scratch: an empty folder, which gets links to the segments.
        """
        segments = self.segments()
        if not segments:
            return
        for path in segments:
            (scratch / path.name).symlink_to(path)
        self.end = self.start - self.start % SEGMENT_BYTES + len(segments) * SEGMENT_BYTES
        yield from self._dump(program, scratch)

    def _dump(self, program: Path, scratch: Path) -> Iterator[WalRecord]:
        command: list[str | Path] = [program, f"--path={scratch}", f"--timeline={self.timeline}"]
        # Every record is read and checked; only these types are printed
        command += ["--rmgr=Transaction", "--rmgr=XLOG"]
        command += [f"--start={self.start >> 32:X}/{self.start & 0xFFFFFFFF:X}"]
        command += [f"--end={self.end >> 32:X}/{self.end & 0xFFFFFFFF:X}"]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=plain_environment(),
            text=True,
            errors="replace",
            preexec_fn=end_with_parent(),
        ) as process:
            if process.stdout is None or process.stderr is None:
                raise AssertionError("both pipes were requested")
            try:
                for line in process.stdout:
                    found = _RECORD.search(line)
                    if found is None:
                        continue
                    ended = _END.match(found["what"]) or _PREPARED.match(found["what"])
                    time = datetime.fromisoformat(ended["time"]).replace(tzinfo=UTC) if ended else None
                    label = found["what"].removeprefix("RESTORE_POINT ")
                    yield WalRecord(lsn_number(found["lsn"]), time, label if label != found["what"] else None)
                errors = process.stderr.read()
                status = process.wait()
            finally:
                process.kill()
        missing = segment_name(self.timeline, self.end)
        if status != 0 and missing not in errors.replace("/", ""):
            lines = errors.strip().splitlines() or [f"pg_waldump ended with status {status}"]
            self.damage = lines[-1].removeprefix("pg_waldump: error: ").removeprefix("pg_waldump: fatal: ")
