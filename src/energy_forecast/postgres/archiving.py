"""Whether and where the server archives its WAL: kept in the state folder, and given on the server's command line.

Never in the data folder: a copy of that which someone starts elsewhere must not archive into the original's archive.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from energy_forecast.errors import ServerError
from energy_forecast.postgres.account import Account, check_reach, find_account
from energy_forecast.postgres.identity import copy_error, identity_file, original_of, own_ids, take_identity
from energy_forecast.postgres.layout import Layout
from energy_forecast.postgres.private_files import make_folder, private

# A segment is archived when it is full, or after this many seconds with something in it: what a lost disk may cost
ARCHIVE_TIMEOUT = 300


@dataclass(frozen=True, slots=True)
class Archive:
    """The folder that recovery lives from: archived WAL, base backups, restore points. Making one touches nothing."""

    folder: Path

    @property
    def wal(self) -> Path:
        """The archived segments; written by the server alone."""
        return self.folder / "wal"

    @property
    def base(self) -> Path:
        """The base backups, one folder each with a record beside it."""
        return self.folder / "base"

    @property
    def points(self) -> Path:
        """What was recorded at each restore point."""
        return self.folder / "points"

    @property
    def owner(self) -> Path:
        """Which state folder archives here."""
        return self.folder / "owner"

    @property
    def lock(self) -> Path:
        """Locked by whoever adds or removes something."""
        return self.folder / "lock"

    def noted_owner(self) -> dict[str, str] | None:
        """Return what the archive notes about its server; None if nothing readable."""
        try:
            return dict(json.loads(self.owner.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def owned_by(self, home: Path) -> bool:
        """Return whether the archive belongs to the server of this state folder: to it and not to a copy of it."""
        owner = self.noted_owner()
        if owner is None or original_of(home) is not None:
            return False
        if "id" not in owner:
            # Of an earlier version, until the next start
            return owner == {"home": str(home.resolve())}
        return owner["id"] in own_ids(home) and owner.get("system") == system_identifier(Layout(home).data)

    def other_owner(self, home: Path) -> tuple[str, Path] | None:
        """Return the id and the state folder that are noted for the cluster of this state folder, if it is another."""
        owner = self.noted_owner() or {}
        same = owner.get("system") == system_identifier(Layout(home).data)
        try:
            own = owner.get("id") in own_ids(home)
        except ServerError:
            own = False
        return (owner["id"], Path(owner["home"])) if same and not own and {"id", "home"} <= owner.keys() else None

    def refusal(self, home: Path) -> ServerError | None:
        """Return why the server of this state folder may not change the archive; None if it may."""
        if self.owned_by(home):
            return None
        if (original := original_of(home)) is not None:
            return copy_error(home, original)
        other = (self.noted_owner() or {}).get("home")
        return ServerError(
            f"The archive {self.folder} belongs to the server of {other}."
            if other and other != str(home.resolve())
            else f"The archive {self.folder} belongs to another server.",
            hint=f"If the file {identity_file(home)} was lost, run: energy-forecast recovery adopt --moved"
            if self.other_owner(home) is not None
            else "Choose another folder: energy-forecast recovery enable --restart --archive FOLDER",
        )


def system_identifier(data: Path) -> str | None:
    """Return the identifier of a cluster, which its backups and its WAL have too; None if there is no cluster."""
    try:
        with (data / "global" / "pg_control").open("rb") as file:
            return str(int.from_bytes(file.read(8), sys.byteorder))
    except OSError:
        return None


def archive_of(layout: Layout) -> Archive | None:
    """The archive of a server; None where archiving was never enabled.

    Raises:
        ServerError: what is noted about it cannot be read.
    """
    try:
        noted = json.loads(layout.archiving.read_text("utf-8"))
        folder = noted["folder"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(
            f"{layout.archiving} is damaged.", hint="Remove it and run: energy-forecast recovery enable"
        ) from error
    # Relative to the state folder where it lies in it
    return Archive(layout.home.resolve() / folder)


def make_archive(layout: Layout, folder: Path, account: Account) -> Archive:
    """Makes the folders of an archive and notes whose it is.

    Raises:
        ServerError: the server's account could not get there, or another server archives there.
    """
    archive = Archive(folder.absolute())
    if os.geteuid() == 0:
        check_reach(archive.folder, find_account())
    make_folder(archive.folder, 0o711 if account.foreign else 0o700)
    if account.foreign:
        archive.folder.chmod(0o711)
    for own in (archive.base, archive.points, archive.wal):
        own.mkdir(mode=0o700, exist_ok=True)
    account.own(archive.wal)
    _take(archive, layout.home)
    return archive


def _take(archive: Archive, home: Path) -> None:
    own = take_identity(home)
    if not archive.owned_by(home):
        if any(archive.wal.iterdir()) or any(archive.base.iterdir()):
            raise archive.refusal(home) or ServerError(f"The archive {archive.folder} belongs to another server.")
        if (owner := archive.noted_owner()) and own_ids(Path(owner.get("home", ""))) & {owner.get("id")}:
            raise ServerError(
                f"The server of {owner['home']} archives into {archive.folder}.",
                hint="Choose another folder by --archive.",
            )
    _note_owner(archive, home, own.id)


def _note_owner(archive: Archive, home: Path, id_: str) -> None:
    new = archive.owner.with_name("owner.new")
    new.unlink(missing_ok=True)
    document = {"home": str(home.resolve()), "id": id_, "system": system_identifier(Layout(home).data)}
    with open(new, "x", encoding="utf-8", opener=private) as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    new.rename(archive.owner)


def renew_owner(layout: Layout) -> None:
    """Note the server's identity in its archive again, whose note may be of an earlier version or another place."""
    archive = archive_of(layout)
    if archive is not None and archive.owned_by(layout.home):
        _note_owner(archive, layout.home, take_identity(layout.home).id)


def note_archive(layout: Layout, archive: Archive | None) -> None:
    """Notes where the server archives from its next start on; nowhere when None."""
    if archive is None:
        layout.archiving.unlink(missing_ok=True)
        return
    home = layout.home.resolve()
    inside = archive.folder.is_relative_to(home)
    folder = archive.folder.relative_to(home) if inside else archive.folder
    new = layout.archiving.with_name("archiving.new")
    new.unlink(missing_ok=True)
    with open(new, "w", encoding="utf-8", opener=private) as file:
        json.dump({"folder": str(folder)}, file)
    new.rename(layout.archiving)


def server_options(layout: Layout) -> dict[str, object]:
    """The options of the server's command line: archiving where it is enabled and the archive is this server's.

    basic_archive refuses to overwrite, writes under another name first, syncs, and takes an identical file as done.
    """
    archive = archive_of(layout)
    if archive is None or not archive.owned_by(layout.home):
        return {"archive_mode": "off"}
    return {
        "archive_mode": "on",
        "archive_library": "basic_archive",
        "basic_archive.archive_directory": archive.wal,
        "archive_timeout": ARCHIVE_TIMEOUT,
        # For incremental base backups
        "summarize_wal": "on",
    }
