"""Restore points: named moments with a record of the contents of every table."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import uuid4

from energy_forecast.database import Database
from energy_forecast.database.recovery import position, record_restore_point, write_restore_point
from energy_forecast.errors import BackupError
from energy_forecast.operations.files import faults, write_record
from energy_forecast.operations.recovery.archive import RestorePoint, own_archive, restore_point_file
from energy_forecast.operations.recovery.archiving import check_archiving, wait_archived
from energy_forecast.operations.recovery.base_backup import locked
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.progress import Progress, silent

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")


def make_restore_point(server: EmbeddedServer, name: str, report: Progress = silent) -> RestorePoint:
    """Create a restore point, record rows and digests of that moment, and wait until its WAL is archived.

    Raises:
        BackupError: the name is taken or invalid, or the WAL does not arrive in the archive.
    """
    if not _NAME.fullmatch(name):
        raise BackupError(
            f"{name!r} cannot be the name of a restore point.",
            hint="Use up to 40 letters, digits, dots, dashes and underscores, starting with a letter.",
        )
    archive, database = own_archive(server), Database(server.start().url, embedded=True)
    check_archiving(database, archive)
    with faults("The restore point failed"), locked(archive):
        if restore_point_file(archive, name).exists():
            raise BackupError(f"The restore point {name!r} already exists.", hint="Choose another name.")
        # Recovery to a name stops at its first occurrence, and a killed attempt may have left one
        label = f"{name}:{uuid4().hex[:12]}"
        system = position(database).system
        tables, lsn, timeline = write_restore_point(database, name, label, report)
        made = RestorePoint(name, label, lsn, timeline, system, tables, datetime.now(UTC))
        path = restore_point_file(archive, name)
        try:
            write_record(path, made)
            record_restore_point(database, name, label, tables, lsn, timeline)
            wait_archived(database, archive)
        except BaseException:
            # Without its WAL the restore point cannot be used; its name stays in the ledger
            path.unlink(missing_ok=True)
            raise
    return made
