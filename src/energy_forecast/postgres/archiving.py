"""Whether and where the server archives its WAL: kept in the state folder, and given on the server's command line.

Never in the data folder: a copy of that which someone starts elsewhere must not archive into the original's archive.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from energy_forecast.errors import ServerError
from energy_forecast.postgres.account import Account, check_reach, find_account
from energy_forecast.postgres.layout import Layout

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

    def owned_by(self, home: Path) -> bool:
        """Whether the server of this state folder may archive here."""
        try:
            return bool(json.loads(self.owner.read_text("utf-8")) == {"home": str(home.resolve())})
        except (OSError, ValueError):
            return False


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
    archive.folder.mkdir(mode=0o711 if account.foreign else 0o700, parents=True, exist_ok=True)
    if account.foreign:
        archive.folder.chmod(0o711)
    for own in (archive.base, archive.points, archive.wal):
        own.mkdir(mode=0o700, exist_ok=True)
    account.own(archive.wal)
    _take(archive, layout.home)
    return archive


def _take(archive: Archive, home: Path) -> None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        other = Path(json.loads(archive.owner.read_text("utf-8"))["home"])
        if other != home.resolve() and (other / "postgres").exists():
            raise ServerError(
                f"The server of {other} archives into {archive.folder}.", hint="Choose another folder by --archive."
            )
    if not archive.owned_by(home):
        left = [path.name for path in archive.wal.iterdir()]
        if left:
            raise ServerError(
                f"The archive {archive.folder} holds the WAL of another server.",
                hint="Choose another folder by --archive, or move that one away.",
            )
        archive.owner.write_text(json.dumps({"home": str(home.resolve())}), encoding="utf-8")


def note_archive(layout: Layout, archive: Archive | None) -> None:
    """Notes where the server archives from its next start on; nowhere when None."""
    if archive is None:
        layout.archiving.unlink(missing_ok=True)
        return
    home = layout.home.resolve()
    inside = archive.folder.is_relative_to(home)
    folder = archive.folder.relative_to(home) if inside else archive.folder
    new = layout.archiving.with_name("archiving.new")
    new.write_text(json.dumps({"folder": str(folder)}), encoding="utf-8")
    new.chmod(0o600)
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
