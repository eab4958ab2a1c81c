"""Base backups, full and incremental; verified before they count."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from energy_forecast.database import Database
from energy_forecast.database.backups import record_backup
from energy_forecast.database.client_programs import client_environment
from energy_forecast.database.recovery import position
from energy_forecast.errors import BackupError, EnergyForecastError
from energy_forecast.event_log import log_run
from energy_forecast.operations import client_programs
from energy_forecast.operations.files import faults, private_folder, sha256_of, write_record
from energy_forecast.operations.recovery.archive import (
    BaseBackup,
    base_backup_names,
    base_serial,
    chain_of,
    own_archive,
    read_base_backup,
)
from energy_forecast.operations.recovery.archiving import check_archiving, clear_leftovers, wait_archived
from energy_forecast.postgres import Archive, EmbeddedServer
from energy_forecast.postgres.liveness_lock import exclusive
from energy_forecast.postgres.private_files import sync
from energy_forecast.progress import Progress, silent

LOCK_TIMEOUT = 600.0
# A restore reads the whole chain; it should not have to read more than a week of nightly backups
LONGEST_CHAIN = 7


@contextlib.contextmanager
def locked(archive: Archive) -> Iterator[int]:
    """Lock an archive against concurrent changes, and yield the descriptor."""
    if not archive.wal.is_dir():
        raise BackupError(f"The archive {archive.folder} does not exist.", hint="Check that its disk is mounted.")
    private_folder(archive.base)
    private_folder(archive.points)
    with exclusive(archive.lock, LOCK_TIMEOUT, "the archive") as lock:
        yield lock


@log_run("base backup", lambda made: {"base": made.name})
def make_base_backup(
    server: EmbeddedServer, *, incremental: bool | None = None, report: Progress = silent
) -> BaseBackup:
    """Create a base backup, verify each of its files, and wait until its WAL is archived.

    Args:
        incremental: back up only the changes since the last one; None if there is a complete chain to extend.

    Raises:
        BackupError: the backup failed; only a row in the ledger is left.
    """
    try:
        return _make(server, incremental, report)
    except BackupError as error:
        # The server keeps WAL summaries for ten days, and writes none while it does not archive
        if incremental is not None or "WAL summaries are required" not in error.message:
            raise
    return _make(server, incremental=False, report=report)


def _make(server: EmbeddedServer, incremental: bool | None, report: Progress) -> BaseBackup:
    archive, database = own_archive(server), Database(server.start().url, embedded=True)
    check_archiving(database, archive)
    version = database.server_info()["version"]
    started_at = datetime.now(UTC)
    with faults("The base backup failed"), locked(archive) as lock:
        _clear_unfinished(archive)
        clear_leftovers(archive)
        parent = None if incremental is False else _parent(archive, database, required=incremental is True)
        kind = "full" if parent is None else "incremental"
        known = [base_serial(path.name.partition(".")[0]) or 0 for path in archive.base.iterdir()]
        name = f"{max(known, default=0) + 1:06d}-{kind}-{started_at:%Y%m%dT%H%M%SZ}"
        unfinished = archive.base / f"{name}.tmp"
        record = partial(
            record_backup,
            database,
            kind=kind,
            name=name,
            folder=str(archive.base),
            started_at=started_at,
            server_version=version,
        )
        try:
            report(f"Taking {'a full' if parent is None else 'an incremental'} base backup", 0, 3)
            _copy_files(archive, database, unfinished, parent, lock)
            written_at = datetime.now(UTC)
            report("Verifying the base backup", 1, 3)
            verify_files(unfinished, _major(version))
            report("Waiting for the WAL", 2, 3)
            wait_archived(database, archive)
            manifest = unfinished / "backup_manifest"
            wal = json.loads(manifest.read_text("utf-8"))["WAL-Ranges"][-1]
            base = BaseBackup(
                name=name,
                kind=kind,
                parent=None if parent is None else parent.name,
                server_version=version,
                system=position(database).system,
                timeline=int(wal["Timeline"]),
                start_lsn=wal["Start-LSN"],
                stop_lsn=wal["End-LSN"],
                size=sum(path.stat().st_size for path in unfinished.rglob("*") if path.is_file()),
                manifest_sha256=sha256_of(manifest),
                started_at=started_at,
                written_at=written_at,
                finished_at=datetime.now(UTC),
            )
            write_record(archive.base / f"{name}.json", base)
            unfinished.rename(archive.base / name)
            sync(archive.base)
        except BaseException as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            (archive.base / f"{name}.json").unlink(missing_ok=True)
            with contextlib.suppress(EnergyForecastError):
                record(reason=str(error)[:1000] or type(error).__name__)
            raise
    details = {key: getattr(base, key) for key in ("parent", "timeline", "start_lsn", "stop_lsn")}
    record(size=base.size, sha256=base.manifest_sha256, details=details)
    return base


def _major(version: str) -> int:
    return int(version.split(".", maxsplit=1)[0])


def _clear_unfinished(archive: Archive) -> None:
    """Remove the files that killed base backups have left. The caller must hold the lock, so that none is running."""
    for path in archive.base.iterdir():
        if path.name.endswith(".tmp") and path.is_dir():
            shutil.rmtree(path)
        elif path.name.endswith(".json.tmp") or (path.suffix == ".json" and not path.with_suffix("").is_dir()):
            path.unlink()


def _parent(archive: Archive, database: Database, *, required: bool) -> BaseBackup | None:
    """Return the last base backup if an incremental one can extend it, else None.

    Raises:
        BackupError: an incremental one is required, and the last one does not exist or is damaged.
    """
    here = position(database)
    for name in base_backup_names(archive)[-1:]:
        try:
            base = read_base_backup(archive, name)
            fits = base.system == here.system and base.timeline == here.timeline
            if fits and (required or len(chain_of(archive, base)) < LONGEST_CHAIN):
                # An addition to a damaged backup could never be restored
                verify_base_backup(archive, base)
                return base
        except BackupError:
            if required:
                raise
    if required:
        raise BackupError(
            "There is no base backup of this server to extend.",
            hint="Create a full one: energy-forecast recovery base --full",
        )
    return None


def _copy_files(archive: Archive, database: Database, to: Path, parent: BaseBackup | None, lock: int) -> None:
    program = client_programs.program("pg_basebackup", _major(database.server_info()["version"]))
    command: list[str | Path] = [program, "--pgdata", to, "--no-password", "--format=plain", "--wal-method=stream"]
    command += ["--checkpoint=fast", "--manifest-checksums=SHA256"]
    if parent is not None:
        command += ["--incremental", archive.base / parent.name / "backup_manifest"]
    client_programs.run(command, client_environment(database), "pg_basebackup failed", (lock,))


def verify_files(folder: Path, major: int) -> None:
    """Compare every file of a base backup with the manifest, and read its WAL.

    Raises:
        BackupError: a file is missing, unexpected or changed.
    """
    client_programs.run(
        [client_programs.program("pg_verifybackup", major), "--exit-on-error", "--quiet", folder],
        client_programs.plain_environment(),
        f"The base backup {folder.name.removesuffix('.tmp')} is damaged",
    )


def verify_base_backup(archive: Archive, base: BaseBackup) -> None:
    """Verify a base backup and the backups that it is based on, against manifest and record.

    Raises:
        BackupError: one of them is damaged.
    """
    for part in chain_of(archive, base):
        manifest = archive.base / part.name / "backup_manifest"
        if not manifest.is_file() or sha256_of(manifest) != part.manifest_sha256:
            raise BackupError(f"The base backup {part.name} is damaged: its manifest is not the recorded one.")
        verify_files(archive.base / part.name, _major(part.server_version))
