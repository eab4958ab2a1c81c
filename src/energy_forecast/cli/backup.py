"""energy-forecast backup."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from energy_forecast.cli.access import open_database, server_database
from energy_forecast.cli.console import counted, echo, emit, err, out, progress, table
from energy_forecast.cli.options import Json, duration
from energy_forecast.database.create import address_without_password
from energy_forecast.errors import BackupError
from energy_forecast.operations.backup import (
    Backup,
    BackupFolder,
    create_backup,
    prune_backups,
    restore_backup,
    verify_backup,
)
from energy_forecast.operations.backup.folder import locate_backup
from energy_forecast.operations.backup.ledger import record_prune, record_verification
from energy_forecast.settings import settings

app = typer.Typer(no_args_is_help=True, help="Logical backups: dumps that were read completely and recorded.")

Folder = Annotated[
    Path | None, typer.Option("--folder", help="The folder of the backups. Default: `backups` in the state folder.")
]


def _folder(given: Path | None) -> BackupFolder:
    return BackupFolder((given or settings().home / "backups").expanduser().absolute(), settings().home)


def _short(backup: Backup, folder: BackupFolder) -> dict[str, object]:
    return {
        "name": backup.name,
        "file": folder.file(backup.name),
        "bytes": backup.size,
        "sha256": backup.sha256,
        "tables": len(backup.tables),
        "rows": backup.rows,
        "database": backup.database,
        "server_version": backup.server_version,
        "schema_version": backup.schema_version,
        "started_at": backup.started_at,
        "finished_at": backup.finished_at,
    }


@app.command()
def create(folder: Folder = None, json: Json = False) -> None:
    """Dump the database, read the dump completely, and record its contents.

    It uses the pg_dump of the server's version. A failed attempt leaves only its row in the ledger.

    Example: energy-forecast backup create
    """
    database, place = open_database(), _folder(folder)
    with progress() as report:
        backup = create_backup(database, place, report)
    if json:
        emit(_short(backup, place))
    else:
        out.print(f"{place.file(backup.name)}")
        out.print(
            f"{backup.rows:,} rows of {len(backup.tables)} tables, {backup.size:,} bytes; read completely and recorded."
        )


@app.command("list")
def list_(folder: Folder = None, json: Json = False) -> None:
    """List the backups, oldest first. Requires no server.

    Example: energy-forecast backup list
    """
    place = _folder(folder)
    found: list[dict[str, object]] = []
    for name in place.names():
        try:
            found.append(_short(place.read(name), place) | {"damaged": None})
        except BackupError as error:
            found.append({"name": name, "file": place.file(name), "damaged": error.message})
    if json:
        emit({"folder": place.path, "backups": found})
    elif not found:
        out.print(f"No backups found in {place.path}.")
    else:
        rows = [
            (b["name"], b.get("bytes"), b.get("rows"), b.get("server_version"), b["damaged"] or "as recorded")
            for b in found
        ]
        table(("backup", "bytes", "rows", "PostgreSQL", "record"), rows)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="A name, a file, or `latest`.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every backup in the folder.")] = False,
    folder: Folder = None,
    json: Json = False,
) -> None:
    """Compare backups with their records (size, SHA-256) and read them completely. Default: the latest.

    The exit status is 1 if one is damaged. To test that a backup can be restored, run `recovery drill`.

    Example: energy-forecast backup verify --all
    """
    place = _folder(folder)
    wanted = place.names() if every else names or ["latest"]
    if every and not wanted:
        raise BackupError(f"No backup found in {place.path}.", hint="Create one: energy-forecast backup create")
    results: list[dict[str, object]] = []
    found = [locate_backup(argument, place) for argument in wanted]
    for where, name in found:
        if not where.file(name).exists() and not where.record(name).exists():
            raise BackupError(f"There is no backup {name!r} in {where.path}.", hint="See: energy-forecast backup list")
    for where, name in found:
        started_at = datetime.now(UTC)
        reason = None
        try:
            verify_backup(where, name)
        except BackupError as error:
            reason = error.message
        record_verification(settings(), name, reason, started_at)
        results.append({"name": name, "good": reason is None, "reason": reason})
    if json:
        emit({"backups": results})
    else:
        for result in results:
            text = "unchanged since it was created." if result["good"] else str(result["reason"])
            out.print(f"{result['name']}: {text}")
    if bad := [result for result in results if not result["good"]]:
        damaged = f"{len(bad)} of {counted(len(results), 'backup')} {'is' if len(bad) == 1 else 'are'} damaged"
        raise BackupError(f"{damaged}: {bad[0]['reason']}")


@app.command()
def prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="SPAN", help="Remove older backups.")] = "7d",
    keep: Annotated[
        int, typer.Option(min=1, help="Number of newest good backups to keep regardless of their age.")
    ] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report the removals without removing anything.")] = False,
    folder: Folder = None,
    json: Json = False,
) -> None:
    """Remove old backups, if enough newer ones are undamaged.

    Damaged backups and those of another server are not counted and not removed. Other files stay.

    Example: energy-forecast backup prune --older-than 7d --keep 3
    """
    span: timedelta = duration(older_than)
    place, started_at = _folder(folder), datetime.now(UTC)
    with progress() as report:
        pruned = prune_backups(place, older_than=span, keep=keep, dry_run=dry_run, report=report)
    if not dry_run:
        record_prune(settings(), place, pruned, started_at)
    if json:
        emit({"dry_run": dry_run, **asdict(pruned)})
        return
    for name in pruned.removed:
        out.print(f"{'Would remove' if dry_run else 'Removed'} {name}")
    for reason in pruned.damaged.values():
        err.print(reason)
    if pruned.foreign:
        echo(
            f"{counted(len(pruned.foreign), 'backup')} of another server or state folder: not counted and not removed."
        )
    out.print(f"{counted(len(pruned.kept), 'good backup remains', 'good backups remain')}.")


@app.command()
def restore(
    file: Annotated[str, typer.Argument(help="A name, a file, or `latest`.")],
    into: Annotated[str, typer.Option(help="The new database, which must not exist or be empty.")],
    activate: Annotated[
        bool, typer.Option("--activate", help="The new database replaces the original from now on, and is writable.")
    ] = False,
    folder: Folder = None,
    json: Json = False,
) -> None:
    """Restore a backup into a new database of the server, and compare it with the record.

    Rows, digests, indexes, policies, triggers and privileges must be equal. Otherwise the new database is removed and
    the exit status is 1. Without --activate it is a copy, which runs no jobs and can only be read.

    Example: energy-forecast backup restore latest --into energy_copy
    """
    where, name = locate_backup(file, _folder(folder))
    where.read(name)
    database = server_database()
    with progress() as report:
        restored = restore_backup(database, where, name, into, activate=activate, report=report)
    for note in restored.notes:
        echo(note)
    if json:
        emit(restored)
        return
    out.print(f"Restored {restored.rows:,} rows of {restored.tables} tables into {into}; all equal to the record.")
    if not activate:
        url = shlex.quote(address_without_password(database, into))
        out.print("It is a read-only copy. To use it, set its address:")
        out.print(f"export ENERGY_FORECAST_DATABASE_URL={url}")
        out.print("To activate it instead of the original, run with this address: energy-forecast recovery activate")
