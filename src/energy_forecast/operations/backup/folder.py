"""The folder of the dumps: which files count as backups, and their order."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from energy_forecast.database.digests import Objects, StoredRole, Tables
from energy_forecast.errors import BackupError
from energy_forecast.operations.files import private_folder, read_record, write_record
from energy_forecast.postgres.identity import Identity, own_ids, take_identity
from energy_forecast.postgres.liveness_lock import exclusive
from energy_forecast.postgres.private_files import make_folder, sync

# Of the records
FORMAT = 2
_NAME = re.compile(r"^energy_forecast-(?P<serial>\d{6,})-\d{8}T\d{6}Z\.dump$")
# How long a backup waits for a concurrent one, or for the pg_dump of a killed one
LOCK_TIMEOUT = 600.0


@dataclass(frozen=True)
class Backup:
    """A dump and its record.

    Args:
        name: the file name; its number gives the order, independent of the clock.
        size: bytes.
        sha256: of the file, in hexadecimal digits.
        tables: rows and digest of each table in the dumped snapshot.
        objects: every object of the schema by kind and identity, with a hash of its definition.
        roles: the roles that the dump refers to, and their members; no passwords.
        origin: the identity of the source state folder.
        format: of the record.
    """

    name: str
    database: str
    server_version: str
    schema_version: str | None
    size: int
    sha256: str
    started_at: datetime
    finished_at: datetime
    tables: Tables
    objects: Objects
    roles: list[StoredRole]
    locale: dict[str, str | None]
    origin: str
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Read the roles of a record.

        Raises:
            BackupError: another version of energy-forecast wrote the record.
        """
        if self.format != FORMAT:
            raise BackupError(
                "The backup was recorded by another version of energy-forecast.", hint="Update energy-forecast."
            )
        roles = [StoredRole(**role) if isinstance(role, dict) else role for role in self.roles]
        object.__setattr__(self, "roles", roles)

    @property
    def major(self) -> int:
        """The major version of its PostgreSQL."""
        return int(self.server_version.split(".")[0])

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(table["rows"] for table in self.tables.values())

    @property
    def serial(self) -> int:
        """The number in its folder."""
        return serial_of(self.name) or 0


def serial_of(name: str) -> int | None:
    """Return the number in the name of a dump; None for another name."""
    found = _NAME.match(name)
    return int(found["serial"]) if found else None


@dataclass(frozen=True)
class BackupFolder:
    """A folder of backups. Creating this object changes nothing.

    Args:
        home: the state folder whose backups are created and removed here; the parent folder by default.
    """

    path: Path
    home: Path | None = None

    @property
    def state_folder(self) -> Path:
        """The state folder."""
        return self.home or self.path.parent

    def identity(self) -> Identity:
        """Return the identity of the state folder, and create it if it is missing.

        Raises:
            ServerError: the state folder is a copy, and the backups belong to its original.
        """
        make_folder(self.state_folder)
        return take_identity(self.state_folder)

    def is_own(self, backup: Backup) -> bool:
        """Return whether a backup is from the state folder, so that it may be removed."""
        return backup.origin in own_ids(self.state_folder)

    def file(self, name: str) -> Path:
        """Return the path of a dump."""
        return self.path / name

    def record(self, name: str) -> Path:
        """Return the path of the record of a dump."""
        return self.path / f"{name}.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Lock the folder, which is created if missing. Yield the descriptor, which child programs can inherit."""
        private_folder(self.path)
        with exclusive(self.path / "lock", LOCK_TIMEOUT, "backups") as lock:
            yield lock

    def names(self) -> list[str]:
        """Return the names of the backups, oldest first. A dump counts if it has a record."""
        if not self.path.is_dir():
            return []
        found = [entry.name for entry in self.path.iterdir() if serial_of(entry.name) is not None]
        return sorted((name for name in found if self.record(name).is_file()), key=lambda name: serial_of(name) or 0)

    def read(self, name: str) -> Backup:
        """Return a backup by its name.

        Raises:
            BackupError: the backup is missing, or its record is damaged.
        """
        if serial_of(name) is None or not self.file(name).is_file():
            raise BackupError(f"There is no backup {name!r} in {self.path}.", hint="See: energy-forecast backup list")
        return read_record(self.record(name), Backup)

    def new_name(self, now: datetime) -> str:
        """Return the next name. It has a number, because a clock may be set back; unfinished files use a number too."""
        known = [serial_of(f"{entry.name.partition('.dump')[0]}.dump") or 0 for entry in self.path.iterdir()]
        return f"energy_forecast-{max(known, default=0) + 1:06d}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.dump"

    def clear_unfinished(self) -> None:
        """Remove the files of killed backups. The caller must hold the lock, so that no backup is running."""
        for entry in self.path.iterdir():
            stem = f"{entry.name.partition('.dump')[0]}.dump"
            if serial_of(stem) is None:
                continue
            record_alone = entry.name == f"{stem}.json" and not self.file(stem).exists()
            if entry.name.endswith(".tmp") or record_alone:
                entry.unlink()

    def add(self, unfinished: Path, backup: Backup) -> None:
        """Turn a finished dump into a backup: write its record, then rename it, which marks it as complete."""
        write_record(self.record(backup.name), backup)
        unfinished.rename(self.file(backup.name))
        sync(self.path)


def locate_backup(argument: str, folder: BackupFolder) -> tuple[BackupFolder, str]:
    """Return the folder and the name of a backup given as a name, a path, or `latest`.

    Raises:
        BackupError: there is no backup.
    """
    if argument == "latest":
        names = folder.names()
        if not names:
            raise BackupError(f"There is no backup in {folder.path}.", hint="Create one: energy-forecast backup create")
        return folder, names[-1]
    if "/" in argument or Path(argument).is_file():
        path = Path(argument).expanduser().absolute()
        return BackupFolder(path.parent, folder.home), path.name
    return folder, argument
