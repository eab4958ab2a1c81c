"""Read the WAL record by record and verify the checksums, before a server starts with it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from energy_forecast.operations.client_programs import plain_environment, start
from energy_forecast.operations.recovery.archive import SEGMENT_BYTES, lsn_number, lsn_text, segment_name

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_RECORD = re.compile(r"lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+), .*? desc: (?P<what>.*)")
_END = re.compile(r"(?:COMMIT|ABORT)(?:_PREPARED \d+:)?[A-Z_ ]* (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


@dataclass(frozen=True)
class WalRecord:
    """A WAL record: the end of a transaction (with its time), a restore point (with its label), or another."""

    lsn: int
    time: datetime | None
    label: str | None


@dataclass
class WalReader:
    """One pass over the WAL. Afterwards `damage` describes its end, if it is damaged.

    Args:
        folders: the folders with the segments; the first one with a segment counts.
        timeline: the timeline to follow.
        start: the LSN of the first record, in bytes.
    """

    folders: Sequence[Path]
    timeline: int
    start: int
    damage: str | None = None

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
        return next((folder / name for folder in self.folders if (folder / name).is_file()), None)

    def later(self, last: str) -> str | None:
        """Return a segment of the timeline after `last`; None if there is no gap after it."""
        names = (path.name for folder in self.folders for path in folder.iterdir())
        later = [name for name in names if _SEGMENT.fullmatch(name) and name[:8] == last[:8] and name > last]
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
        end = self.start - self.start % SEGMENT_BYTES + len(segments) * SEGMENT_BYTES
        # Every record is read and checked; only these types are printed
        command: list[str | Path] = [program, "--rmgr=Transaction", "--rmgr=XLOG", f"--path={scratch}"]
        command += [f"--timeline={self.timeline}", f"--start={lsn_text(self.start)}", f"--end={lsn_text(end)}"]
        with start(command, plain_environment(), stdout=subprocess.PIPE) as process:
            try:
                for line in process.stdout or ():
                    if found := _RECORD.search(line.decode(errors="replace")):
                        ended = _END.match(found["what"])
                        time = datetime.fromisoformat(ended["time"]).replace(tzinfo=UTC) if ended else None
                        label = found["what"].removeprefix("RESTORE_POINT ")
                        yield WalRecord(lsn_number(found["lsn"]), time, label if label != found["what"] else None)
                _, output = process.communicate()
            finally:
                process.kill()
        errors = output.decode(errors="replace")
        if process.returncode != 0 and segment_name(self.timeline, end) not in errors.replace("/", ""):
            lines = errors.strip().splitlines() or [f"pg_waldump ended with status {process.returncode}"]
            self.damage = lines[-1].removeprefix("pg_waldump: error: ").removeprefix("pg_waldump: fatal: ")
