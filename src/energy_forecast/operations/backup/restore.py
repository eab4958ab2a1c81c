"""Restore a dump into a temporary database, compare it with its record, and then rename it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from energy_forecast.database import Database
from energy_forecast.database.backups import activate_copy, mark_copy, run_statements
from energy_forecast.database.client_programs import client_environment, require_direct_connection
from energy_forecast.database.create import analyze, is_free, rename_restored, temporary_database
from energy_forecast.database.digests import (
    object_differences,
    object_digests,
    operator_snapshot,
    table_differences,
    table_digests,
)
from energy_forecast.database.schema import database_grants
from energy_forecast.errors import BackupError
from energy_forecast.event_log import log_run
from energy_forecast.operations import client_programs
from energy_forecast.operations.backup.create import verify_backup
from energy_forecast.operations.backup.folder import Backup, BackupFolder
from energy_forecast.postgres.binaries import end_with_parent
from energy_forecast.progress import Progress, silent

# More jobs would only compete for the disk of a laptop
_JOBS = min(4, os.cpu_count() or 1)
# Settings of a newer pg_restore that an older server does not have
_NEWER_SETTINGS = (b"SET transaction_timeout",)


@dataclass(frozen=True)
class Restored:
    """A database restored from a dump. A copy that is not `activated` runs no jobs."""

    database: str
    backup: str
    rows: int
    tables: int
    activated: bool
    notes: list[str] = field(default_factory=list)


@log_run("restore", lambda made: {"database": made.database, "backup": made.backup, "rows": made.rows})
def restore_backup(
    database: Database,
    folder: BackupFolder,
    name: str,
    into: str,
    *,
    activate: bool = False,
    report: Progress = silent,
) -> Restored:
    """Restore a dump into a new database of the server, and compare it with its record.

    The database has a temporary name until everything is equal, and is dropped after a difference. Missing roles are
    created without passwords.

    Args:
        database: any database of the server, with a login that may create databases.
        into: the name of the new database, which must not exist or must be empty.

    Raises:
        BackupError: the dump is damaged, or the restored database differs from the record.
        DatabaseError: the server refused the request.
    """
    require_direct_connection(database.administrator)
    report("Verifying the backup", 0, 3)
    backup = verify_backup(folder, name)
    _check_name(into)
    if not is_free(database, into):
        raise BackupError(f"The database {into!r} is not empty.", hint="Choose another `into`.")
    with temporary_database(database, backup.locale) as made:
        _make_roles(made, backup)
        with made.administrator.transaction(None) as connection:
            # Before the restore, because later each change would be an entry in the restored audit log
            connection.execute(database_grants())
        report("Restoring", 1, 3)
        _fill(made, folder.file(name), backup)
        with made.administrator.transaction(None) as connection:
            run_statements(connection, "database_privileges", {"database": made.name})
        report("Comparing with the record", 2, 3)
        compare(made, backup)
        analyze(made)
        with made.administrator.transaction(None) as connection:
            mark_copy(connection, name, f"snapshot of {backup.started_at:%Y-%m-%dT%H:%M:%SZ}")
        if activate:
            activate_copy(made)
        rename_restored(made, into)
    report("Restored", 3, 3)
    notes = []
    if logins := [role.name for role in backup.roles if role.attributes.startswith("LOGIN")]:
        notes.append(f"Backups contain no passwords. Set new ones for: {', '.join(logins)}")
    return Restored(into, name, backup.rows, len(backup.tables), activate, notes)


def compare(made: Database, backup: Backup) -> None:
    """Compare a restored database with the record of the original.

    Raises:
        BackupError: they differ; the message lists the first differences.
    """
    with operator_snapshot(made) as connection:
        differences = table_differences(backup.tables, table_digests(connection))
        same_version = connection.info.server_version // 10000 == backup.major
        differences += object_differences(backup.objects, object_digests(connection), definitions=same_version)
    if differences:
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise BackupError(f"The restored database differs from the record: {'; '.join(differences[:5])}{more}.")


def _check_name(into: str) -> None:
    if not into or len(into.encode()) > 63 or "\0" in into or into in ("postgres", "template0", "template1"):
        raise BackupError(f"{into!r} cannot be the name of a restored database.", hint="Choose another `into`.")


def _make_roles(database: Database, backup: Backup) -> None:
    """Create the missing roles without passwords, then their memberships."""
    with database.administrator.transaction(None) as connection:
        for role in backup.roles:
            run_statements(
                connection,
                "role_statements",
                {"name": role.name, "attributes": role.attributes, "comment": role.comment},
            )
        for role in backup.roles:
            run_statements(connection, "membership_statements", {"name": role.name, "groups": role.member_of})


def _fill(database: Database, path: Path, backup: Backup) -> None:
    environment = client_environment(database.administrator)
    major = int(database.server_info()["version"].split(".")[0])
    if major >= backup.major:
        command: list[str | Path] = [client_programs.program("pg_restore", major), "--exit-on-error", "--no-password"]
        command += [f"--jobs={_JOBS}", f"--dbname={database.name}", path]
        client_programs.run(command, environment, "pg_restore failed")
        return
    # An older server cannot read a newer dump, but it can run the script of the newer pg_restore
    script = client_programs.program("pg_restore", backup.major)
    psql = client_programs.program("psql", major)
    with subprocess.Popen(
        [script, "--file=-", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=client_programs.plain_environment(),
        cwd="/",
        preexec_fn=end_with_parent(),
    ) as source:
        load = subprocess.Popen(
            [psql, "-XqAt", "--no-password", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            preexec_fn=end_with_parent(),
        )
        try:
            _pipe(source, load)
            client_programs.finish(load, "psql failed")
            if source.wait() != 0:
                raise BackupError(f"pg_restore could not read {path.name}.")
        finally:
            client_programs.end(load)
            source.kill()


def _pipe(source: subprocess.Popen[bytes], load: subprocess.Popen[bytes]) -> None:
    """Copy a script, without the settings that the older server would refuse."""
    if source.stdout is None or load.stdin is None:
        raise AssertionError("both pipes were requested")
    before_data = True
    try:
        for line in source.stdout:
            # Only before the first COPY: a later line could be data
            before_data = before_data and not line.startswith(b"COPY ")
            if not (before_data and line.startswith(_NEWER_SETTINGS)):
                load.stdin.write(line)
        load.stdin.flush()
    except BrokenPipeError:
        pass  # psql has ended and reports the reason
