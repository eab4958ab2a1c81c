"""Recovery targets: parse a target, and find its record in the WAL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from energy_forecast.errors import BackupError
from energy_forecast.operations import client_programs
from energy_forecast.operations.files import scratch_folder
from energy_forecast.operations.recovery.archive import (
    BaseBackup,
    RestorePoint,
    base_backup_names,
    lsn_number,
    lsn_text,
    points,
    read_base_backup,
    read_restore_point,
    segment_name,
)
from energy_forecast.operations.recovery.wal import WalReader, WalRecord
from energy_forecast.postgres import Archive

LATEST = "latest"
# If two transactions end at the same time, the later record may have the earlier time
_DISORDER = timedelta(seconds=2)
_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")


@dataclass(frozen=True)
class TargetRequest:
    """A requested target: one of restore point, time and LSN, or the end of the WAL if all are None."""

    text: str
    point: RestorePoint | None = None
    time: datetime | None = None
    lsn: int | None = None


@dataclass(frozen=True)
class Target:
    """A target found in the WAL: recovery starts from this base backup and ends at `lsn`.

    Args:
        inclusive: whether the record at `lsn` is the last to apply, or the first to omit.
        last_commit: the end of the last included transaction; None if none ended since the base backup.
        note: information for the user.
    """

    wanted: TargetRequest
    base: BaseBackup
    lsn: int
    inclusive: bool
    last_commit: datetime | None
    note: str | None = None


def parse_target(archive: Archive, text: str) -> TargetRequest:
    """Parse a target: `latest`, the name of a restore point, a position in the WAL, or a time with an offset.

    Raises:
        BackupError: the text has another form.
    """
    if text == LATEST:
        return TargetRequest(text)
    if _LSN.fullmatch(text):
        return TargetRequest(text, lsn=lsn_number(text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return TargetRequest(text, point=read_restore_point(archive, text))
    if time.tzinfo is None:
        whole = text if len(text) > len("2026-01-01") else f"{text}T00:00"
        raise BackupError(f"{text!r} has no offset.", hint=f"Use {whole}Z for UTC, or for example {whole}+02:00.")
    return TargetRequest(text, time=time.astimezone(UTC))


def find_target(
    archive: Archive, want: TargetRequest, folders: Sequence[Path], complete_until: datetime | None = None
) -> Target:
    """Find the WAL record where recovery must end. Every record up to it has been read and has a valid checksum.

    Args:
        folders: the folders with WAL, the archive first.
        complete_until: the time up to which the WAL is complete, if known.

    Raises:
        BackupError: there is no base backup before the target, or the WAL up to it is damaged or does not contain it.
    """
    for base in _bases(archive, want):
        with scratch_folder("wal") as scratch:
            found = Search(archive, base, want, complete_until).run(folders, scratch)
        if found is not None:
            return found
    if want.time is not None and _is_set_back([read_base_backup(archive, name) for name in base_backup_names(archive)]):
        raise BackupError(
            f"The clock was set back after a base backup, so the position of {want.text} is ambiguous.",
            hint="Use a restore point or a WAL position. List restore points: energy-forecast recovery status",
        )
    raise BackupError(f"There is no base backup before {want.text!r}.", hint="See: energy-forecast recovery status")


def _is_set_back(bases: list[BaseBackup]) -> bool:
    """Return whether a base backup has a time after that of a later one, or after now."""
    times = [*(base.written_at for base in bases), datetime.now(UTC)]
    return any(earlier > later + _DISORDER for earlier, later in pairwise(times))


def _bases(archive: Archive, want: TargetRequest) -> list[BaseBackup]:
    """Return the base backups to try, the newest first."""
    bases = [read_base_backup(archive, name) for name in reversed(base_backup_names(archive))]
    if want.time is not None:
        bases = [base for base in bases if base.written_at <= want.time]
    limit = want.lsn
    if want.point is not None:
        point, limit = want.point, lsn_number(want.point.lsn)
        bases = [base for base in bases if (base.system, base.timeline) == (point.system, point.timeline)]
    return bases if limit is None else [base for base in bases if lsn_number(base.stop_lsn) <= limit]


def last_point(archive: Archive, target: Target) -> RestorePoint | None:
    """Return the last restore point between the base backup and the target, for a comparison during recovery."""
    base = target.base
    return max(
        (
            point
            for point in points(archive)
            if (point.system, point.timeline) == (base.system, base.timeline)
            and lsn_number(base.stop_lsn) <= lsn_number(point.lsn) <= target.lsn
        ),
        key=lambda point: lsn_number(point.lsn),
        default=None,
    )


class Search:
    """One pass over the WAL from one base backup."""

    def __init__(
        self, archive: Archive, base: BaseBackup, want: TargetRequest, complete_until: datetime | None
    ) -> None:
        self.archive, self.base, self.want, self.complete_until = archive, base, want, complete_until
        self.begin = lsn_number(base.stop_lsn)
        self.last: int | None = None
        self.last_commit: datetime | None = None
        self.first_after: int | None = None
        # The latest time so far, and the position where the clock was set back with the latest time before it
        self.latest: datetime | None = None
        self.set_back: tuple[int, datetime] | None = None

    def run(self, folders: Sequence[Path], scratch: Path) -> Target | None:
        """Read the WAL and return the target; None if it is before this base backup."""
        program = client_programs.program("pg_waldump", int(self.base.server_version.split(".")[0]))
        reading = WalReader(folders, self.base.timeline, lsn_number(self.base.start_lsn))
        for record in reading.records(program, scratch):
            if found := self.take(record):
                return found
            if self.first_after is not None and self.first_after < self.begin:
                return None
        return self.at_end(reading)

    def take(self, record: WalRecord) -> Target | None:
        """Process the next record, and return the target if this record determines it.

        Raises:
            BackupError: the clock was set back across the requested time.
        """
        want = self.want
        if want.point is not None and record.label == want.point.label:
            return self._target(record.lsn, inclusive=True)
        if want.lsn is not None and record.lsn >= want.lsn:
            return self._target(want.lsn, inclusive=False)
        if want.time is not None and record.time is not None:
            if self.latest is not None and record.time < self.latest - _DISORDER and self.set_back is None:
                self.set_back = record.lsn, self.latest
            self.latest = max(record.time, self.latest or record.time)
            if self.first_after is None and record.time > want.time:
                self.first_after = record.lsn
            elif self.first_after is not None and record.time < want.time - _DISORDER:
                raise BackupError(
                    f"The clock of the server was set back, so {want.text} occurred more than once.",
                    hint=f"Use a restore point or a position in the WAL; the time first passed at "
                    f"{lsn_text(self.first_after)}.",
                )
        if self.first_after is None:
            self.last = record.lsn
            self.last_commit = record.time or self.last_commit
        return None

    def _target(self, lsn: int, *, inclusive: bool, note: str | None = None) -> Target:
        return Target(self.want, self.base, lsn, inclusive, self.last_commit, note)

    def at_end(self, reading: WalReader) -> Target:
        """Return the target after all readable WAL has been read."""
        damage = reading.damage if reading.damage and not self._is_natural_end(reading.damage) else None
        if self.first_after is not None:
            note = f"After the target the WAL is damaged: {damage}." if damage else None
            return self._target(self.first_after, inclusive=False, note=note)
        until = f", up to {self.last_commit:%Y-%m-%dT%H:%M:%SZ}" if self.last_commit else ""
        if damage is not None:
            raise BackupError(
                f"The archived WAL is damaged: {damage}. {self.want.text!r} cannot be reached.",
                hint=f"It is intact up to {lsn_text(self.last or self.begin)}{until}. Use an earlier target and "
                "create a base backup now.",
            )
        # The time up to which the WAL is known to be complete, by the current clock
        complete = self.complete_until or self.last_commit
        if self.set_back and self.want.time and (complete is None or self.want.time > complete):
            place, latest = self.set_back
            raise BackupError(
                f"The clock of the server was set back from {latest:%Y-%m-%dT%H:%M:%SZ} or later, so the position of "
                f"{self.want.text} is ambiguous.",
                hint=f"Use a restore point, or set `to` to {lsn_text(place)} for everything before that.",
            )
        here = self.want.time is None or (self.complete_until is not None and self.want.time <= self.complete_until)
        if self.want.point is not None or self.want.lsn is not None or not here:
            raise BackupError(
                f"The available WAL ends before {self.want.text!r}{until}.",
                hint="To recover all of it, set `to` to latest.",
            )
        if self.last is None or self.last < self.begin:
            raise BackupError(f"There is no WAL after the base backup {self.base.name}.")
        return self._target(self.last, inclusive=True)

    def _is_natural_end(self, damage: str) -> bool:
        """Return whether the damage is only the end of the WAL of a stopped server, in an unarchived segment."""
        named = re.findall(r"[0-9A-F]{24}", damage)
        if not named:
            places = re.findall(r"[0-9A-F]+/[0-9A-F]+", damage)
            if not places:
                return False
            named = [segment_name(self.base.timeline, lsn_number(places[-1]))]
        return damage.startswith("error in WAL record") and not (self.archive.wal / named[-1]).exists()
