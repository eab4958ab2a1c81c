"""The identity of a state folder. A copy is recognised: its identity file is not the file that was written.

Archives and backups note the identity of their state folder. So a copy of a state folder neither archives into the
original's archive nor removes anything from it, until the user makes it a server of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from energy_forecast.errors import ServerError

# One block, so that it can be replaced in place: the file itself has to stay the same
_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a state folder.

    Args:
        id: a random name.
        former: the names of the folders that this one has taken the place of.
        home, device, inode: where it was at the last start, and which file it was written to.
    """

    id: str
    former: list[str]
    home: str
    device: int
    inode: int

    @property
    def ids(self) -> set[str]:
        """The names under which archives and backups are this folder's."""
        return {self.id, *self.former}


def identity_file(home: Path) -> Path:
    """Return the file of a state folder's identity."""
    return home.resolve() / "identity"


def read_identity(home: Path) -> Identity | None:
    """Return the identity of a state folder, of its original if it is a copy; None if it has none yet.

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

    A copied file has another number. Disks may be numbered differently after a start and folders be moved, but not both
    at once. A copy by hard links has the same files, in another place.
    """
    found = read_identity(home)
    if found is None:
        return None
    now = identity_file(home).stat()
    same = found.home == str(home.resolve()) or (found.device == now.st_dev and now.st_nlink == 1)
    return None if found.inode == now.st_ino and same else found


def own_ids(home: Path) -> set[str]:
    """Return the names under which archives and backups are this state folder's: none if it is a copy, or new."""
    found = read_identity(home)
    return set() if found is None or original_of(home) is not None else found.ids


def take_identity(home: Path) -> Identity:
    """Return the identity of a state folder, which is made if it has none.

    Raises:
        ServerError: the folder is a copy of another.
    """
    found = read_identity(home)
    if found is None:
        _create(home, [])
        found = read_identity(home)
        if found is None:
            raise ServerError(f"The file {identity_file(home)} cannot be made.")
    if (original := original_of(home)) is not None:
        raise copy_error(home, original)
    descriptor = os.open(identity_file(home), os.O_WRONLY | os.O_NOFOLLOW)
    try:
        # The file may be moved, or its disk get another number
        os.pwrite(descriptor, _document(found.id, found.former, home, descriptor), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return found


def copy_error(home: Path, original: Identity) -> ServerError:
    """Return the refusal of what a copy may not do."""
    return ServerError(
        f"The state folder {home} is a copy of {original.home}, to which the archive and the backups belong.",
        hint="To make it a server of its own, run: energy-forecast recovery adopt. If the original is gone: --moved.",
    )


def adopt_identity(home: Path, *, moved: bool, noted: tuple[str, Path] | None = None) -> Identity:
    """Give a copy of a state folder, or one whose identity was lost, an identity of its own, and return it.

    Args:
        moved: the original is gone, and its archive and backups belong to this folder from now on.
        noted: the id and the place of another folder, to which the archive of this folder's cluster belongs.

    Raises:
        ServerError: it is no copy and has lost nothing, or it has moved and the original is still there.
    """
    try:
        found, original = read_identity(home), original_of(home)
    except ServerError:
        # Damaged
        found, original = None, None
    places = {original.home: original.ids} if original is not None else {}
    if noted is not None:
        places[str(noted[1])] = {noted[0]} | places.get(str(noted[1]), set())
    if found is not None and original is None and not (moved and places):
        raise ServerError(f"The state folder {home} is not a copy of another.", hint="Nothing has to be done.")
    for place, ids in places.items():
        if moved and Path(place) != home.resolve() and own_ids(Path(place)) & ids:
            raise ServerError(
                f"The original {place} is still there.",
                hint="Remove it first, or leave out --moved to make this folder a server of its own.",
            )
    former = set().union(*places.values(), found.ids if found is not None else ()) if moved else set()
    identity_file(home).unlink(missing_ok=True)
    _create(home, sorted(former))
    return take_identity(home)


def _create(home: Path, former: list[str]) -> None:
    """Make the file, complete at once; one that another process has made meanwhile stays."""
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
