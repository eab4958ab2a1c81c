"""Create and verify backups. A dump gets its name after it was read completely and recorded."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from energy_forecast.database import Database, Role, schema_version
from energy_forecast.database.backups import record_backup
from energy_forecast.database.client_programs import client_environment, require_direct_connection
from energy_forecast.database.digests import (
    export_snapshot,
    locale_settings,
    object_digests,
    operator_snapshot,
    stored_roles,
    table_digests,
)
from energy_forecast.errors import BackupError, EnergyForecastError
from energy_forecast.event_log import log_run
from energy_forecast.operations import client_programs
from energy_forecast.operations.backup.folder import Backup, BackupFolder
from energy_forecast.operations.files import faults, sha256_of
from energy_forecast.postgres.private_files import sync
from energy_forecast.progress import Progress, silent

# Wait while a partition is dropped; fail with a message if an idle session holds a lock
_LOCK_WAIT = "--lock-wait-timeout=300s"


@log_run("backup", lambda made: {"backup": made.name, "rows": made.rows, "bytes": made.size})
def create_backup(database: Database, folder: BackupFolder, report: Progress = silent) -> Backup:
    """Dump the database with the pg_dump of the version of the server, and record the contents.

    Row counts and digests are from the snapshot of the dump. The dump is read completely before it counts as a backup.
    A failed attempt leaves only its row in the ledger.

    Raises:
        BackupError: the backup failed.
        DatabaseError: the database is unreachable, or the operator role cannot see all of its contents.
    """
    require_direct_connection(database)
    version = database.server_info()["version"]
    if schema_version(database) is None:
        raise BackupError("The database has no schema yet, so there is nothing to back up.")
    with faults("The backup failed"), folder.locked() as lock:
        origin = folder.identity().id
        folder.clear_unfinished()
        started_at = datetime.now(UTC)
        # A number is used once, even if this fails
        name = folder.new_name(started_at)
        unfinished = folder.path / f"{name}.tmp"
        record = partial(
            record_backup,
            database,
            kind="logical",
            name=name,
            folder=str(folder.path),
            started_at=started_at,
            server_version=version,
        )
        try:
            backup = _dump(database, unfinished, name, version, started_at, origin, report, lock)
            folder.add(unfinished, backup)
        except BaseException as error:
            unfinished.unlink(missing_ok=True)
            folder.record(name).unlink(missing_ok=True)
            if isinstance(error, (EnergyForecastError, OSError)):
                # The server may be the cause
                with contextlib.suppress(EnergyForecastError):
                    record(reason=str(error)[:1000])
            raise
    details = {"schema_version": backup.schema_version}
    record(size=backup.size, sha256=backup.sha256, tables=backup.tables, details=details)
    return backup


def _dump(
    database: Database,
    unfinished: Path,
    name: str,
    version: str,
    started_at: datetime,
    origin: str,
    report: Progress,
    lock: int,
) -> Backup:
    major = int(version.split(".", maxsplit=1)[0])
    environment = client_environment(database)
    with operator_snapshot(database) as connection:
        command: list[str | Path] = [client_programs.program("pg_dump", major), "--format=custom", "--no-password"]
        command += [f"--role={Role.OPERATOR}", f"--snapshot={export_snapshot(connection)}", _LOCK_WAIT]
        command += ["--file", unfinished]
        # pg_dump reads the same snapshot at the same time
        process = client_programs.start(command, environment, (lock,))
        try:
            tables = table_digests(connection, report)
            objects, roles, locale = object_digests(connection), stored_roles(connection), locale_settings(connection)
            report("Waiting for pg_dump", 0, 1)
            client_programs.finish(process, "pg_dump failed")
        finally:
            client_programs.end(process)
    report("Reading the whole dump", 0, 1)
    read_whole(unfinished, major)
    sync(unfinished)
    return Backup(
        name=name,
        database=database.name,
        server_version=version,
        schema_version=schema_version(database),
        size=unfinished.stat().st_size,
        sha256=sha256_of(unfinished),
        started_at=started_at,
        finished_at=datetime.now(UTC),
        tables=tables,
        objects=objects,
        roles=roles,
        locale=locale,
        origin=origin,
    )


def read_whole(path: Path, major: int) -> None:
    """Read a dump to its end. Its table of contents alone would not show a truncation or a changed byte.

    Raises:
        BackupError: the dump cannot be read.
    """
    restore = client_programs.program("pg_restore", major)
    client_programs.run(
        [restore, "--file=/dev/null", path], client_programs.plain_environment(), f"The dump {path.name} is damaged"
    )


def verify_backup(folder: BackupFolder, name: str, *, read: bool = True) -> Backup:
    """Compare a dump with its record, read it completely with pg_restore, and return the backup.

    Args:
        read: whether to read it with pg_restore, in addition to checking size and SHA-256.

    Raises:
        BackupError: the backup is missing or was changed.
    """
    with faults(f"The backup {name} cannot be read"):
        backup = folder.read(name)
        path = folder.file(name)
        size = path.stat().st_size
        if size != backup.size:
            raise BackupError(f"The backup {name} is damaged: it has {size} bytes instead of {backup.size}.")
        if sha256_of(path) != backup.sha256:
            raise BackupError(f"The backup {name} is damaged: its SHA-256 is not the recorded one.")
    if read:
        read_whole(path, backup.major)
    return backup
