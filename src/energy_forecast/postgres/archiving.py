"""WAL archiving of the server: its setting in the state folder, passed on the command line of the server.

The setting is not in the data folder: a copy of the data folder that runs elsewhere must not use the original archive.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from energy_forecast.errors import ServerError
from energy_forecast.postgres.identity import copy_error, identity_file, original_of, own_ids, take_identity
from energy_forecast.postgres.paths import Paths
from energy_forecast.postgres.private_files import make_folder, replace_file
from energy_forecast.postgres.system_user import SystemUser, check_reach, find_system_user

# A segment is archived when it is full, or after this many seconds if it is not empty: the possible loss with a disk
ARCHIVE_TIMEOUT = 300


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive folder: archived WAL, base backups, restore points. Creating this object changes nothing."""

    folder: Path

    @property
    def wal(self) -> Path:
        """The archived segments; only the server writes here."""
        return self.folder / "wal"

    @property
    def base(self) -> Path:
        """The base backups, each a folder with a record file."""
        return self.folder / "base"

    @property
    def points(self) -> Path:
        """The records of the restore points."""
        return self.folder / "points"

    @property
    def owner(self) -> Path:
        """The file with the identity of the state folder that archives here."""
        return self.folder / "owner"

    @property
    def lock(self) -> Path:
        """The lock file for adding and removing files."""
        return self.folder / "lock"

    def recorded_owner(self) -> dict[str, str] | None:
        """Return the recorded server of the archive; None if there is no readable record."""
        try:
            return dict(json.loads(self.owner.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def owned_by(self, home: Path) -> bool:
        """Return whether the archive belongs to the server of this state folder, which is not a copy."""
        owner = self.recorded_owner()
        if owner is None or original_of(home) is not None:
            return False
        return owner.get("id") in own_ids(home) and owner.get("system") == system_identifier(Paths(home).data)

    def other_owner(self, home: Path) -> tuple[str, Path] | None:
        """Return the recorded id and state folder if this folder's cluster is recorded with another identity."""
        owner = self.recorded_owner() or {}
        same = owner.get("system") == system_identifier(Paths(home).data)
        try:
            own = owner.get("id") in own_ids(home)
        except ServerError:
            own = False
        return (owner["id"], Path(owner["home"])) if same and not own and {"id", "home"} <= owner.keys() else None

    def refusal(self, home: Path) -> ServerError | None:
        """Return the error if the server of this state folder may not change the archive, else None."""
        if self.owned_by(home):
            return None
        if (original := original_of(home)) is not None:
            return copy_error(home, original)
        other = (self.recorded_owner() or {}).get("home")
        return ServerError(
            f"The archive {self.folder} belongs to the server of {other}."
            if other and other != str(home.resolve())
            else f"The archive {self.folder} belongs to another server.",
            hint=f"If the file {identity_file(home)} was lost, run: energy-forecast recovery adopt --moved"
            if self.other_owner(home) is not None
            else "Choose another folder: energy-forecast recovery enable --restart --archive FOLDER",
        )


def system_identifier(data: Path) -> str | None:
    """Return the identifier of a cluster, which its backups and WAL share; None if there is no cluster."""
    try:
        with (data / "global" / "pg_control").open("rb") as file:
            return str(int.from_bytes(file.read(8), sys.byteorder))
    except OSError:
        return None


def archive_of(paths: Paths) -> Archive | None:
    """Return the archive of a server; None if archiving was never enabled.

    Raises:
        ServerError: the setting cannot be read.
    """
    try:
        setting = json.loads(paths.archiving.read_text("utf-8"))
        folder = setting["folder"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(
            f"{paths.archiving} is damaged.", hint="Remove it and run: energy-forecast recovery enable"
        ) from error
    # Relative to the state folder if it is inside
    return Archive(paths.home.resolve() / folder)


def make_archive(paths: Paths, folder: Path, user: SystemUser) -> Archive:
    """Create the folders of an archive and record its owner.

    Raises:
        ServerError: the user of the server cannot reach the folder, or another server archives there.
    """
    archive = Archive(folder.absolute())
    if os.geteuid() == 0:
        check_reach(archive.folder, find_system_user())
    make_folder(archive.folder, 0o711 if user.foreign else 0o700)
    if user.foreign:
        archive.folder.chmod(0o711)
    for own in (archive.base, archive.points, archive.wal):
        own.mkdir(mode=0o700, exist_ok=True)
    user.own(archive.wal)
    _take(archive, paths.home)
    return archive


def _take(archive: Archive, home: Path) -> None:
    own = take_identity(home)
    if not archive.owned_by(home):
        if any(archive.wal.iterdir()) or any(archive.base.iterdir()):
            raise archive.refusal(home) or ServerError(f"The archive {archive.folder} belongs to another server.")
        if (owner := archive.recorded_owner()) and own_ids(Path(owner.get("home", ""))) & {owner.get("id")}:
            raise ServerError(
                f"The server of {owner['home']} archives into {archive.folder}.",
                hint="Choose another folder as `archive`.",
            )
    _write_owner(archive, home, own.id)


def _write_owner(archive: Archive, home: Path, id_: str) -> None:
    document = {"home": str(home.resolve()), "id": id_, "system": system_identifier(Paths(home).data)}
    replace_file(archive.owner, json.dumps(document))


def refresh_owner(paths: Paths) -> None:
    """Update the owner record of the archive, which may name another place of the state folder."""
    archive = archive_of(paths)
    if archive is not None and archive.owned_by(paths.home):
        _write_owner(archive, paths.home, take_identity(paths.home).id)


def write_archive_setting(paths: Paths, archive: Archive | None) -> None:
    """Store the archive of the server, used from its next start on; None switches archiving off."""
    if archive is None:
        paths.archiving.unlink(missing_ok=True)
        return
    home = paths.home.resolve()
    inside = archive.folder.is_relative_to(home)
    folder = archive.folder.relative_to(home) if inside else archive.folder
    replace_file(paths.archiving, json.dumps({"folder": str(folder)}))


def server_options(paths: Paths) -> dict[str, object]:
    """Return the command line options of the server: archive if it is enabled and the archive belongs to this server.

    basic_archive does not overwrite. It writes to a temporary name first, syncs, and accepts an identical file.
    """
    archive = archive_of(paths)
    if archive is None or not archive.owned_by(paths.home):
        return {"archive_mode": "off"}
    return {
        "archive_mode": "on",
        "archive_library": "basic_archive",
        "basic_archive.archive_directory": archive.wal,
        "archive_timeout": ARCHIVE_TIMEOUT,
        # For incremental base backups
        "summarize_wal": "on",
    }
