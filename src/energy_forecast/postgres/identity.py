"""The identity of a state folder. It identifies a copy, because the copied file is not the file that was written.

Archives and backups record the identity of their state folder. So a copy of a state folder does not archive into the
archive of the original or remove anything from it, until the user makes it a separate server.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from energy_forecast.errors import ServerError

# One block, so that it can be overwritten in place: the inode must not change
_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a state folder.

    Args:
        id: a random name.
        former: the names of the folders that this one has replaced.
        home, device, inode: the path at the last start, and the file with the identity.
    """

    id: str
    former: list[str]
    home: str
    device: int
    inode: int

    @property
    def ids(self) -> set[str]:
        """The names by which archives and backups refer to this folder."""
        return {self.id, *self.former}


def identity_file(home: Path) -> Path:
    """Return the path of the identity file of a state folder."""
    return home.resolve() / "identity"


def read_identity(home: Path) -> Identity | None:
    """Return the identity of a state folder, or of the original if it is a copy; None if there is none yet.

    Raises:
        ServerError: the file is damaged.
    """
    path = identity_file(home)
    try:
        return Identity(**json.loads(path.read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise ServerError(
            f"The file {path} is damaged.",
            hint="To give this server its archive again, run: energy-forecast recovery adopt --moved",
        ) from error


def original_of(home: Path) -> Identity | None:
    """Return the identity of the original if a state folder is a copy; None if it is not.

    A copied file has another inode. Devices may be renumbered at a start, and folders may be moved, but not both at
    once. A copy by hard links has the same files in another place.
    """
    found = read_identity(home)
    if found is None:
        return None
    now = identity_file(home).stat()
    same = found.home == str(home.resolve()) or (found.device == now.st_dev and now.st_nlink == 1)
    return None if found.inode == now.st_ino and same else found


def own_ids(home: Path) -> set[str]:
    """Return the names by which archives and backups refer to this state folder; none if it is a copy or new."""
    found = read_identity(home)
    return set() if found is None or original_of(home) is not None else found.ids


def take_identity(home: Path) -> Identity:
    """Return the identity of a state folder, and create it if it is missing.

    Raises:
        ServerError: the folder is a copy of another folder.
    """
    found = read_identity(home)
    if found is None:
        _create(home, [])
        found = read_identity(home)
        if found is None:
            raise ServerError(f"The file {identity_file(home)} cannot be created.")
    if (original := original_of(home)) is not None:
        raise copy_error(home, original)
    descriptor = os.open(identity_file(home), os.O_WRONLY | os.O_NOFOLLOW)
    try:
        # The file may have moved, or its device may have another number
        os.pwrite(descriptor, _document(found.id, found.former, home, descriptor), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return found


def copy_error(home: Path, original: Identity) -> ServerError:
    """Return the error for an operation that a copy may not do."""
    return ServerError(
        f"The state folder {home} is a copy of {original.home}, to which the archive and the backups belong.",
        hint="To make it a separate server, run: energy-forecast recovery adopt. "
        "If the original no longer exists, set `moved`.",
    )


def adopt_identity(home: Path, *, moved: bool, recorded: tuple[str, Path] | None = None) -> Identity:
    """Give a copy of a state folder, or a folder whose identity was lost, its own identity, and return it.

    Args:
        moved: the original no longer exists, and its archive and backups belong to this folder.
        recorded: the id and the path of another folder to which the archive of this folder's cluster belongs.

    Raises:
        ServerError: the folder is not a copy and has lost nothing, or `moved` is set and the original still exists.
    """
    try:
        found, original = read_identity(home), original_of(home)
    except ServerError:
        # Damaged
        found, original = None, None
    places = {original.home: original.ids} if original is not None else {}
    if recorded is not None:
        places[str(recorded[1])] = {recorded[0]} | places.get(str(recorded[1]), set())
    if found is not None and original is None and not (moved and places):
        raise ServerError(f"The state folder {home} is not a copy.", hint="Nothing needs to be done.")
    for place, ids in places.items():
        if moved and Path(place) != home.resolve() and own_ids(Path(place)) & ids:
            raise ServerError(
                f"The original {place} still exists.",
                hint="Remove it first, or omit `moved` to make this folder a separate server.",
            )
    former = set().union(*places.values(), found.ids if found is not None else ()) if moved else set()
    identity_file(home).unlink(missing_ok=True)
    _create(home, sorted(former))
    return take_identity(home)


def _create(home: Path, former: list[str]) -> None:
    """Create the file atomically. A file that another process has created meanwhile is kept."""
    new = identity_file(home).with_name(f"identity.{uuid4().hex[:12]}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, _document(uuid4().hex, former, home, descriptor))
        os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            identity_file(home).hardlink_to(new)
    finally:
        os.close(descriptor)
        new.unlink()


def _document(id_: str, former: list[str], home: Path, descriptor: int) -> bytes:
    found = os.fstat(descriptor)
    identity = Identity(id_, former, str(home.resolve()), found.st_dev, found.st_ino)
    return json.dumps(asdict(identity)).ljust(_LENGTH).encode()
