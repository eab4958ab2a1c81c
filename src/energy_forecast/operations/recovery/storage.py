"""Check that archive and backups belong to this server, and that they survive the loss of its disk."""

from __future__ import annotations

from pathlib import Path

from energy_forecast.errors import ServerError
from energy_forecast.operations.backup.folder import BackupFolder
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.postgres.identity import copy_error, original_of


def ownership_problems(folder: BackupFolder, server: EmbeddedServer | None) -> list[str]:
    """Return a sentence for the state folder or the archive if it does not belong to this server.

    Args:
        folder: the backups of the state folder.
        server: the embedded server; None for your own server.
    """
    home = folder.state_folder
    try:
        if (original := original_of(home)) is not None:
            return [str(copy_error(home, original))]
        archive = None if server is None else server.archive
        refusal = None if archive is None else archive.refusal(home)
    except ServerError as error:
        return [str(error)]
    return [] if refusal is None else [f"The server will not archive from its next start on. {refusal}"]


def same_disk_warnings(folder: BackupFolder, server: EmbeddedServer | None) -> list[str]:
    """Return a sentence for backups, and one for the archive, if they are on the disk of the data.

    Args:
        folder: the backups of the state folder.
        server: the embedded server; None for your own server, whose disks are unknown here.
    """
    if server is None:
        return []
    data = server.status().data
    hint = "Copy them to another disk, or create them there: energy-forecast backup create --folder FOLDER"
    places = [("backups are", folder.path, hint)]
    if (archive := server.archive) is not None:
        hint = "Use an archive on another disk: energy-forecast recovery enable --restart --archive FOLDER"
        places.append(("base backups and the WAL are", archive.folder, hint))
    return [
        f"The {what} in {place}, on the same disk as the data. The loss of this disk would destroy both. {hint}"
        for what, place, hint in places
        if _disk(place) == _disk(data)
    ]


def _disk(path: Path) -> int:
    """Return the device number of a path, or of its nearest existing parent."""
    return next(parent for parent in (path, *path.parents) if parent.exists()).stat().st_dev
