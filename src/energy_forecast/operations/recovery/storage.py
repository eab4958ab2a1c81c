"""Whether archive and backups belong to this server, and whether they would survive the loss of its disk."""

from __future__ import annotations

from pathlib import Path

from energy_forecast.errors import ServerError
from energy_forecast.operations.backup.folder import BackupFolder
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.postgres.identity import copy_error, original_of


def ownership_problems(folder: BackupFolder, server: EmbeddedServer | None) -> list[str]:
    """Return a sentence for everything that is not this server's own: the state folder itself, or its archive.

    Args:
        folder: the backups of the state folder.
        server: the embedded server; None on a server of one's own.
    """
    home = folder.state_folder
    try:
        if (original := original_of(home)) is not None:
            return [str(copy_error(home, original))]
        archive = None if server is None else server.archive
        refusal = None if archive is None else archive.refusal(home)
    except ServerError as error:
        return [str(error)]
    return [] if refusal is None else [f"It is not archived from the next start on. {refusal}"]


def same_disk_warnings(folder: BackupFolder, server: EmbeddedServer | None) -> list[str]:
    """Return a sentence for backups, and one for the archive, if they are on the disk of the data.

    Args:
        folder: the backups of the state folder.
        server: the embedded server; None on a server of one's own, whose disks are not known here.
    """
    if server is None:
        return []
    data = server.status().data
    hint = "Copy them to another disk, or make them there: backup create --folder FOLDER"
    places = [("backups are", folder.path, hint)]
    if (archive := server.archive) is not None:
        hint = "Have an archive on another disk: recovery enable --restart --archive FOLDER"
        places.append(("base backups and the WAL are", archive.folder, hint))
    return [
        f"The {what} in {place}, on the same disk as the data: the loss of one disk takes both. {hint}"
        for what, place, hint in places
        if _disk(place) == _disk(data)
    ]


def _disk(path: Path) -> int:
    """Return the number of the disk where a path is, or will be."""
    return next(parent for parent in (path, *path.parents) if parent.exists()).stat().st_dev
