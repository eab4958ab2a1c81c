"""Point-in-time recovery into a new state folder, verified before the start and compared before it is writable."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from energy_forecast.database import Database
from energy_forecast.database.backups import mark_copy
from energy_forecast.database.digests import Tables, operator_snapshot, table_differences, table_digests
from energy_forecast.database.recovery import incomplete_batches, replay, resume
from energy_forecast.errors import BackupError, EnergyForecastError
from energy_forecast.event_log import log_run
from energy_forecast.operations import client_programs
from energy_forecast.operations.files import faults
from energy_forecast.operations.recovery.archive import RestorePoint, archive_of, chain_of, lsn_number, lsn_text
from energy_forecast.operations.recovery.archiving import wait_archived
from energy_forecast.operations.recovery.base_backup import locked, verify_base_backup
from energy_forecast.operations.recovery.target import Target, TargetRequest, find_target, last_point, parse_target
from energy_forecast.postgres import Archive, EmbeddedServer
from energy_forecast.postgres.liveness_lock import exclusive
from energy_forecast.postgres.private_files import make_folder, private, sync
from energy_forecast.postgres.system_user import find_system_user
from energy_forecast.progress import Progress, silent

# Without any progress for this long, in seconds
STALL_TIMEOUT = 300.0
_PAUSE = 0.05
# Settings of the original that must not reach a copy: archiving, replication and addresses
_NOT_TAKEN = re.compile(
    r"^\s*(archive_|basic_archive|restore_command|recovery_|primary_|promote_|listen_addresses|port|unix_socket|"
    r"synchronous_standby|ssl_key|krb_|cluster_name)"
)


@dataclass(frozen=True)
class Recovered:
    """A cluster recovered to a moment. It does not archive, and runs no jobs until activated.

    Args:
        home: its state folder.
        lsn: the end of recovery.
        last_commit: the end of its last transaction.
        point: the restore point with which every table was compared: the target, or the last one before it; None if
            there is none. Later data was compared with the ingest ledger.
        compared: the number of compared tables.
        seconds: duration until it was writable.
    """

    home: Path
    target: str
    base: str
    lsn: str
    last_commit: datetime | None
    point: str | None
    compared: int
    rows: int
    seconds: float
    notes: list[str] = field(default_factory=list)


@log_run("recovery", lambda done: {"home": done.home, "target": done.target, "rows": done.rows})
def recover(
    server: EmbeddedServer,
    to: str,
    into: Path,
    *,
    archive: Path | None = None,
    report: Progress = silent,
) -> Recovered:
    """Recover the cluster of the embedded server to a moment, into a new state folder.

    Every WAL record is read, and every file of the base backup is verified, before a server starts. The server starts
    read-only and is compared with the records. Then it is promoted, marked as a copy, stopped and renamed.

    Args:
        to: a restore point, a time, a position in the WAL, or `latest`.
        into: the new state folder, which must not exist or must be empty.
        archive: the archive of another server, or of one whose state folder is lost. Without it, a running server
            first archives its WAL, and the WAL that a stopped one has not archived is read from its data folder.

    Raises:
        BackupError: the target cannot be reached, or the result differs from the records; nothing is left.
    """
    began = time.monotonic()
    into = into.expanduser().absolute()
    source = archive_of(server) if archive is None else Archive(archive.expanduser().absolute())
    if archive is None and (refusal := source.refusal(server.home)) is not None:
        raise BackupError(refusal.message, hint=f"To restore from it, set `archive` to {source.folder}.")
    if not source.wal.is_dir():
        raise BackupError(f"{source.folder} is not an archive.", hint="Use the folder that `recovery enable` printed.")
    _check_free(into)
    want = parse_target(source, to)
    with faults("The restore failed"), locked(source), _place(into) as home:
        report("Archiving the remaining WAL", 0, 5)
        folders, complete_until = _sources(server, source, want, foreign=archive is not None)
        report("Reading the WAL", 1, 5)
        target = find_target(source, want, folders, complete_until)
        report("Verifying the base backup", 2, 5)
        verify_base_backup(source, target.base)
        report("Copying the base backup", 3, 5)
        copy = EmbeddedServer(home)
        kept = _fill(source, target, copy)
        report("Recovering", 4, 5)
        point = target.wanted.point or last_point(source, target)
        if point and point != target.wanted.point:
            database, *_ = _replay(copy, kept, target, folders, point)
            _compare(database, point, f" at the restore point {point.name}")
            # Recovery continues at the next start
            copy.stop()
        database, lsn, last = _replay(copy, kept, target, folders)
        tables = _compare(database, target.wanted.point)
        _promote(copy, database, target)
        copy.stop()
        _write_settings(copy, kept, {})
        if into.exists():
            into.rmdir()
        home.rename(into)
        sync(into.parent)
    report("Recovered", 5, 5)
    return Recovered(
        home=into,
        target=to,
        base=target.base.name,
        lsn=lsn,
        last_commit=last or target.last_commit,
        point=point.name if point else None,
        compared=len(point.tables) if point else 0,
        rows=sum(int(table["rows"]) for table in tables.values()),
        seconds=time.monotonic() - began,
        notes=[target.note] if target.note else [],
    )


def _check_free(into: Path) -> None:
    if into.is_symlink() or (into.exists() and (not into.is_dir() or any(into.iterdir()))):
        raise BackupError(f"{into} already exists.", hint="Choose a new folder as `into`.")


@contextlib.contextmanager
def _place(into: Path) -> Iterator[Path]:
    """Yield a temporary state folder next to the final one, without the files of an earlier killed attempt."""
    make_folder(into.parent)
    home = into.with_name(f"{into.name}.new")
    with exclusive(into.with_name(f"{into.name}.lock"), 5.0, "a restore"):
        try:
            # Another restore may have created it while this one waited
            _check_free(into)
            remove_home(home)
            yield home
        except BaseException:
            remove_home(home)
            raise
        finally:
            into.with_name(f"{into.name}.lock").unlink(missing_ok=True)


def remove_home(home: Path) -> None:
    """Stop the server of a state folder and remove the folder."""
    if home.exists():
        with contextlib.suppress(EnergyForecastError):
            EmbeddedServer(home).stop()
        shutil.rmtree(home)


def _sources(
    server: EmbeddedServer, archive: Archive, want: TargetRequest, *, foreign: bool
) -> tuple[list[Path], datetime | None]:
    """Return the folders with WAL, and the time up to which it is complete.

    A running original first archives its WAL. If it cannot, for example on a full disk, the archived WAL may suffice.
    """
    if foreign:
        if user := find_system_user():
            # The archive may be from a machine where the user of the server had another uid
            user.own(archive.wal)
        return [archive.wal], None
    status = server.status()
    if status.running:
        now = datetime.now(UTC)
        try:
            if want.point is None:
                wait_archived(Database(status.url, embedded=True), archive)
        except BackupError:
            if want.time is None and want.lsn is None:
                raise
            return [archive.wal], None
        return [archive.wal], now
    left = status.data / "pg_wal"
    if left.is_dir():
        return [archive.wal, left], None
    return [archive.wal], None


def _fill(archive: Archive, target: Target, copy: EmbeddedServer) -> str:
    """Copy the base backup into the state folder. Return the settings of the original that a copy keeps."""
    chain = chain_of(archive, target.base)
    data = copy.status().data
    make_folder(data.parent)
    for folder in (copy.home, data.parent):
        folder.chmod(0o711)
    if len(chain) > 1:
        program = client_programs.program("pg_combinebackup", int(target.base.server_version.split(".")[0]))
        folders = [archive.base / part.name for part in chain]
        environment = client_programs.plain_environment()
        client_programs.run([program, "--output", data, *folders], environment, "pg_combinebackup failed")
    else:
        shutil.copytree(archive.base / target.base.name, data, symlinks=True, copy_function=_copy_file)
    data.chmod(0o700)
    for name in ("standby.signal", "postmaster.pid"):
        (data / name).unlink(missing_ok=True)
    (data / "recovery.signal").touch(mode=0o600)
    lines = (data / "postgresql.auto.conf").read_text("utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not _NOT_TAKEN.match(line))


def _copy_file(source: str, to: str) -> None:
    """Copy one file. The first error ends the copy, unlike in copytree, which continues and collects all errors."""
    with faults("The restore failed"):
        shutil.copy2(source, to)


def _recovery_settings(target: Target, folders: list[Path], point: RestorePoint | None = None) -> dict[str, str]:
    """Return the settings of a recovery that ends at the target, or at a restore point before it."""
    settings = {
        "restore_command": " || ".join(f"cp {_shell(folder)}/%f %p" for folder in folders),
        "recovery_target_timeline": str(target.base.timeline),
        "recovery_target_action": "pause",
        "hot_standby": "on",
    }
    if point:
        return settings | {"recovery_target_name": point.label}
    inclusive = "on" if target.inclusive else "off"
    return settings | {"recovery_target_lsn": lsn_text(target.lsn), "recovery_target_inclusive": inclusive}


def _write_settings(copy: EmbeddedServer, kept: str, settings: dict[str, str]) -> None:
    added = "".join(f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())
    path = copy.status().data / "postgresql.auto.conf"
    with open(path, "w", encoding="utf-8", opener=private) as file:
        file.write(kept + added)


def _shell(folder: Path) -> str:
    """Return a folder quoted for the shell in restore_command, where a percent sign starts a placeholder."""
    return "'" + str(folder).replace("'", "'\\''").replace("%", "%%") + "'"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _replay(
    copy: EmbeddedServer, kept: str, target: Target, folders: list[Path], point: RestorePoint | None = None
) -> tuple[Database, str, datetime | None]:
    """Recover up to the target, or to a restore point before it, where the server pauses.

    Returns:
        The database, the LSN and the last commit.
    """
    _write_settings(copy, kept, _recovery_settings(target, folders, point))
    database = Database(copy.start().url, embedded=True)
    stalled, seen = time.monotonic(), None
    while True:
        if not copy.status().running:
            raise BackupError(f"The recovering server stopped before {target.wanted.text!r}: {_last_fatal_line(copy)}")
        found = replay(database)
        if not found.recovering:
            raise BackupError("The server was promoted unexpectedly, so its data is not reliable.")
        if found.paused:
            break
        if found.lsn != seen:
            stalled, seen = time.monotonic(), found.lsn
        if time.monotonic() - stalled > STALL_TIMEOUT:
            raise BackupError(f"Recovery made no progress for {STALL_TIMEOUT:.0f} s at {found.lsn}.")
        time.sleep(_PAUSE)
    place = lsn_number(point.lsn) if point else target.lsn
    if found.lsn is None or lsn_number(found.lsn) < place:
        raise BackupError(f"Recovery ended at {found.lsn}, before its target {lsn_text(place)}.")
    return database, found.lsn, found.last_commit


def _compare(database: Database, point: RestorePoint | None, where: str = "") -> Tables:
    """Return the tables, after a comparison with a restore point; without one, with the ledger of batches.

    Raises:
        BackupError: they differ.
    """
    with operator_snapshot(database) as connection:
        tables = table_digests(connection)
    differences = table_differences(point.tables, tables) if point else incomplete_batches(database)
    if differences:
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise BackupError(f"The recovered data differs from the record{where}: {'; '.join(differences[:5])}{more}.")
    return tables


def _promote(copy: EmbeddedServer, database: Database, target: Target) -> None:
    """End the recovery, and mark the database as a copy."""
    resume(database)
    began = time.monotonic()
    while replay(database).recovering:
        if not copy.status().running or time.monotonic() - began > STALL_TIMEOUT:
            raise BackupError(f"The recovered server does not become writable: {_last_fatal_line(copy)}")
        time.sleep(_PAUSE)
    with database.administrator.transaction(None) as connection:
        mark_copy(connection, target.base.name, target.wanted.text)


def _last_fatal_line(copy: EmbeddedServer) -> str:
    """Return the last FATAL or PANIC message of the log."""
    lines: list[str] = []
    for path in sorted(copy.status().log.glob("*.log")):
        text = path.read_text("utf-8", errors="replace")
        lines += [line for line in text.splitlines() if "FATAL:" in line or "PANIC:" in line]
    return lines[-1].partition(":  ")[2] if lines else "its log has no further details"
