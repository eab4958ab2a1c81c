"""The WAL read record by record, each with its checksum, before any server is started on it."""

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
    """A record of interest: the end of a transaction (with its time), a restore point (with its label), another."""

    lsn: int
    time: datetime | None
    label: str | None


@dataclass
class WalReader:
    """One pass over the WAL. After it: where it ended, and what was wrong there.

    Args:
        folders: where the segments lie; the first that has one counts.
        timeline: the timeline that is followed.
        start: the LSN of the first record, in bytes.
    """

    folders: Sequence[Path]
    timeline: int
    start: int
    damage: str | None = None
    end: int = 0

    def segments(self) -> list[Path]:
        """The segments of full size without a gap from the first that is needed; `damage` says what is amiss after."""
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
            self.damage = f"the segment {missing} is missing, and {later} is there"
        return found

    def _file(self, name: str) -> Path | None:
        for folder in self.folders:
            if (path := folder / name).is_file():
                return path
        return None

    def later(self, last: str) -> str | None:
        """A segment of the timeline after `last`, which is the last before a gap; None when there is no gap."""
        later = [
            path.name
            for folder in self.folders
            for path in folder.iterdir()
            if re.fullmatch(r"[0-9A-F]{24}", path.name) and path.name[:8] == last[:8] and path.name > last
        ]
        return min(later, default=None)

    def records(self, program: Path, scratch: Path) -> Iterator[WalRecord]:
        """The records of interest in order, until the WAL ends or is damaged; then `damage` says so.

        Args:
            program: pg_waldump of the server's version.
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
        # Every record is read and checked; only these are printed
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
                raise AssertionError("both were asked for")
            try:
                for line in process.stdout:
                    found = _RECORD.search(line)
                    if found is None:
                        continue
                    ended = _END.match(found["what"]) or _PREPARED.match(found["what"])
                    time = datetime.fromisoformat(ended["time"]).replace(tzinfo=UTC) if ended else None
                    label = found["what"].removeprefix("RESTORE_POINT ")
                    yield WalRecord(lsn_number(found["lsn"]), time, label if label != found["what"] else None)
                said = process.stderr.read()
                status = process.wait()
            finally:
                process.kill()
        missing = segment_name(self.timeline, self.end)
        if status != 0 and missing not in said.replace("/", ""):
            lines = said.strip().splitlines() or [f"pg_waldump ended with status {status}"]
            self.damage = lines[-1].removeprefix("pg_waldump: error: ").removeprefix("pg_waldump: fatal: ")
