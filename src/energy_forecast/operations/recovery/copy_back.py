"""Copy one table or one city back from a restored copy. Everything else stays unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from energy_forecast.database import Database
from energy_forecast.database.backups import record_check
from energy_forecast.database.client_programs import client_environment, require_direct_connection
from energy_forecast.database.partial_restore import copy_city, score_again, tables_to_dump
from energy_forecast.errors import BackupError
from energy_forecast.operations import client_programs
from energy_forecast.operations.files import scratch_folder
from energy_forecast.postgres import EmbeddedServer


@dataclass(frozen=True)
class CopiedBack:
    """Result of a copy: removed and restored rows of one city, or a whole missing table."""

    table: str
    city: str | None
    removed: int
    restored: int | None


def copy_of(place: str) -> Database:
    """Return the copy given as a restored state folder, whose server is started, or as a libpq URL."""
    folder = Path(place).expanduser()
    if folder.is_dir():
        return Database(EmbeddedServer(folder).start().url, embedded=True)
    if "://" not in place and "=" not in place:
        raise BackupError(f"{place!r} is neither a state folder nor a libpq URL.")
    return Database(place)


def copy_back(source: Database, target: Database, table: str, city: str | None) -> CopiedBack:
    """Copy a missing table, or the rows of one city of an existing table, back from a restored copy.

    Raises:
        BackupError: the table exists and `city` is None, or the copy has no such table.
        DatabaseError: a server refused the request; nothing was changed.
    """
    if city is not None:
        started_at = datetime.now(UTC)
        removed, restored = copy_city(source, target, table, city)
        details = {"city": city, "removed": removed, "restored": restored}
        record_check(target, kind="copy-back", subject=table, reason=None, started_at=started_at, details=details)
        return CopiedBack(table, city, removed, restored)
    if tables_to_dump(target, table):
        raise BackupError(f"The table {table!r} exists.", hint="Set `city`, or drop the table first.")
    names = tables_to_dump(source, table)
    if not names:
        raise BackupError(f"The copy has no table {table!r}.")
    require_direct_connection(target.administrator)
    major = int(source.server_info()["version"].split(".")[0])
    with scratch_folder("table") as folder:
        dump = folder / "table.dump"
        command: list[str | Path] = [client_programs.program("pg_dump", major), "--format=custom", "--no-password"]
        command += [*(f"--table={name}" for name in names), "--file", dump]
        client_programs.run(command, client_environment(source.administrator), "pg_dump failed")
        restore: list[str | Path] = [client_programs.program("pg_restore", major), "--no-password"]
        # Without it, the functions that audit schema changes would be refused by their own policies
        restore += ["--single-transaction", "--exit-on-error", "--enable-row-security", f"--dbname={target.name}", dump]
        client_programs.run(restore, client_environment(target.administrator), "pg_restore failed")
    score_again(target)
    return CopiedBack(table, None, 0, None)
