"""energy-forecast recovery."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from energy_forecast.cli.access import (
    acting_database,
    embedded_server,
    open_database,
    required_embedded_server,
    server_database,
)
from energy_forecast.cli.console import counted, echo, emit, minute, out, progress
from energy_forecast.cli.options import Json, duration
from energy_forecast.database.backups import activate_copy
from energy_forecast.errors import BackupError
from energy_forecast.operations.backup import BackupFolder
from energy_forecast.operations.backup.ledger import reachable_database
from energy_forecast.operations.recovery.status import Status, recovery_status
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.settings import settings

app = typer.Typer(no_args_is_help=True, help="Point-in-time recovery, and checks that it works.")


def _own_server(command: str) -> EmbeddedServer:
    return required_embedded_server(
        f"recovery {command}", "For your own server use pgBackRest; see docs/howto/own-server.md."
    )


@app.command()
def enable(
    archive: Annotated[
        Path | None,
        typer.Option(
            help="The folder for WAL and base backups, best on another disk. Default: `recovery` in the state folder."
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Restart the server, which is required. Ends connections.")
    ] = False,
    json: Json = False,
) -> None:
    """Let the embedded server archive its WAL, so that it can be recovered to any time after a base backup.

    The command reports success only after a segment has arrived in the archive.

    Example: energy-forecast recovery enable --restart
    """
    from energy_forecast.operations.recovery import archiving

    server = _own_server("enable")
    acting_database()
    done = archiving.enable(server, archive, restart=restart)
    if json:
        emit(done)
    elif done.restart_needed:
        out.print(f"The WAL will be archived into {done.folder} after the next start of the server.")
        out.print("Until then point-in-time recovery is not possible. Run: energy-forecast recovery enable --restart")
    else:
        out.print(f"The WAL is archived into {done.folder}; {done.segment} has arrived.")
        out.print("Recovery begins at a base backup. Create one: energy-forecast recovery base")


@app.command()
def base(
    full: Annotated[bool, typer.Option("--full", help="All files.")] = False,
    incremental: Annotated[bool, typer.Option("--incremental", help="Only changes since the last one.")] = False,
    json: Json = False,
) -> None:
    """Create a base backup, verify all its files, and wait until its WAL is archived.

    Default: incremental if there is a previous one (at most six in a row), otherwise full.

    Example: energy-forecast recovery base
    """
    from energy_forecast.operations.recovery.base_backup import make_base_backup

    if full and incremental:
        raise typer.BadParameter("--full and --incremental exclude each other.")
    server = _own_server("base")
    acting_database()
    with progress() as report:
        made = make_base_backup(server, incremental=True if incremental else False if full else None, report=report)
    if json:
        emit(made)
    else:
        out.print(f"{made.name}: {made.size:,} bytes, verified.")


@app.command()
def point(
    name: Annotated[str, typer.Argument(help="Up to 40 letters, digits, dots, dashes, underscores; a letter first.")],
    json: Json = False,
) -> None:
    """Create a named restore point for the current time, with a record of the contents of every table.

    Example: energy-forecast recovery point before-the-import
    """
    from energy_forecast.operations.recovery.restore_point import make_restore_point

    server = _own_server("point")
    acting_database()
    with progress() as report:
        made = make_restore_point(server, name, report)
    if json:
        emit({name: getattr(made, name) for name in ("name", "lsn", "timeline", "tables", "created_at")})
    else:
        out.print(f"Restore point {made.name} at {made.lsn}; its WAL is archived.")


@app.command()
def restore(
    to: Annotated[str, typer.Option(help="A restore point, a TIME, a WAL position such as 0/3000060, or `latest`.")],
    into: Annotated[Path, typer.Option(help="A new folder; it becomes a state folder with the recovered server.")],
    archive: Annotated[
        Path | None, typer.Option(help="The archive of a server whose state folder is lost. Default: the server's own.")
    ] = None,
    json: Json = False,
) -> None:
    """Recover the embedded server to a point in time, into a separate state folder. The original does not change.

    The WAL is read and the base backup verified before a server starts. The recovered data is compared with the records
    before it becomes writable. The result does not archive and is a copy, which runs no jobs.

    Example: energy-forecast recovery restore --to 2026-11-22T09:30Z --into /var/lib/energy-forecast-restored
    """
    from energy_forecast.operations.recovery.restore import recover

    server = _own_server("restore")
    with progress() as report:
        done = recover(server, to, into, archive=archive, report=report)
    for note in done.notes:
        echo(note)
    if json:
        emit(done)
        return
    match done.point:
        case None:
            compared = "the ledger of batches agrees"
        case done.target:
            compared = f"{done.compared} tables equal the record"
        case point:
            compared = f"{done.compared} tables equal the record of {point}, and the ledger of batches agrees since"
    out.print(f"Recovered to {done.target} ({done.lsn}) in {done.seconds:.1f} s: {done.rows:,} rows; {compared}.")
    out.print(f"To use it: ENERGY_FORECAST_HOME={done.home} energy-forecast db up")
    out.print("It is a read-only copy. To activate it, stop the original, then run:")
    out.print(f"ENERGY_FORECAST_HOME={done.home} energy-forecast recovery activate")


@app.command()
def drill(
    logical: Annotated[
        bool, typer.Option("--logical", help="Restore the latest dump instead, into a scratch database.")
    ] = False,
    json: Json = False,
) -> None:
    """Restore the latest backup, compare all data, measure and record the time, and remove the copy again.

    The embedded server is recovered to a new restore point, in a scratch folder; on your own server the latest dump is
    restored into a scratch database. amcheck reads every table and index of the copy.

    Example: energy-forecast recovery drill
    """
    from energy_forecast.operations.recovery.drill import drill_backup, drill_recovery

    database = open_database()
    with progress() as report:
        if logical or settings().database_url is not None:
            done = drill_backup(database, BackupFolder(settings().home / "backups", settings().home), report)
        else:
            done = drill_recovery(embedded_server(), report)
    if json:
        emit(done)
        return
    out.print(f"Restored {done.backup}: {done.rows:,} rows of {done.tables} tables equal the record.")
    out.print(f"  recovery time (RTO)   {done.rto_seconds:.1f} s")
    out.print(f"  possible loss (RPO)   {_lost(done.rpo_seconds)}")
    out.print(f"  amcheck               {done.amcheck_seconds:.1f} s, no damage")


@app.command()
def status(
    verify: Annotated[bool, typer.Option("--verify", help="Let pgBackRest read its whole repository.")] = False,
    json: Json = False,
) -> None:
    """Show which points in time can be recovered, the evidence, and the risks. Starts nothing.

    The exit status is 1 if there is a risk. Warnings, such as backups on the disk of the data, do not change it.

    Example: energy-forecast recovery status
    """
    found = current_status(verify=verify)
    if json:
        emit(found)
    else:
        _show(found)
    if not found.good:
        raise typer.Exit(1)


def current_status(*, verify: bool = False) -> Status:
    """Return the state of backup and recovery for the current settings. Starts nothing.

    Args:
        verify: whether pgBackRest reads its whole repository.
    """
    from energy_forecast.operations.recovery.pgbackrest import Stanza

    given = settings()
    stanza = Stanza(given.pgbackrest_stanza, given.pgbackrest_config) if given.pgbackrest_stanza else None
    server = embedded_server() if given.database_url is None else None
    return recovery_status(
        BackupFolder(given.home / "backups", given.home), reachable_database(given), server, stanza, verify=verify
    )


def _show(found: Status) -> None:
    if found.good:
        out.print("good, with warnings" if found.warnings else "good", style="yellow" if found.warnings else "green")
    else:
        out.print("not good", style="red")
    rows = [
        ("last backup", found.backup and f"{found.backup['name']}, {minute(found.backup['finished_at'])}"),
        ("last base backup", found.base and f"{found.base['name']}, {minute(found.base['finished_at'])}"),
        ("archive", found.archiving and f"{found.archiving['last']} was the last, {found.archiving['waiting']} wait"),
        (
            "pgBackRest",
            found.pgbackrest and f"{found.pgbackrest['status']}, {len(found.pgbackrest['backups'])} backups",
        ),
        ("restore points", ", ".join(str(point["name"]) for point in found.points[-5:])),
        ("last drill", _drill(found.drill)),
    ]
    for name, text in rows:
        out.print(f"  {name:17} {text or '-'}")
    for risk in found.risks:
        out.print(f"  at risk: {risk}")
    for warning in found.warnings:
        out.print(f"  warning: {warning}")


def _drill(last: dict[str, Any] | None) -> str | None:
    if last is None:
        return None
    if not last["passed"]:
        return f"failed, {minute(last['finished_at'])}"
    details = last["details"]
    return (
        f"{minute(last['finished_at'])}: recovered in {details['rto_seconds']:.1f} s, "
        f"possible loss {_lost(details['rpo_seconds'])}"
    )


def _lost(seconds: float | None) -> str:
    return "an unknown span of work (the clock was set back)" if seconds is None else f"{seconds:.0f} s of work"


@app.command()
def prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="SPAN", help="Remove older backups.")] = "7d",
    keep: Annotated[
        int, typer.Option(min=1, help="Number of chains of verified base backups to keep regardless of their age.")
    ] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report the removals without removing anything.")] = False,
    json: Json = False,
) -> None:
    """Remove old base backups, the WAL that only they need, and the restore points in it.

    Every remaining base backup is verified first. If one is damaged, it is not counted and stays, and all WAL stays.

    Example: energy-forecast recovery prune --older-than 7d --keep 2
    """
    from energy_forecast.operations.recovery.drill import clear_killed_drill
    from energy_forecast.operations.recovery.prune import prune_archive

    span = duration(older_than)
    server = _own_server("prune")
    if not dry_run and clear_killed_drill(server):
        echo("Removed the remains of a killed drill.")
    with progress() as report:
        done = prune_archive(server, older_than=span, keep=keep, dry_run=dry_run, report=report)
    if json:
        emit({"dry_run": dry_run, **asdict(done)})
        return
    verb = "Would remove" if dry_run else "Removed"
    out.print(f"{verb} {len(done.removed)} base backups, {done.segments} segments and {done.points} restore points.")
    for reason in done.damaged.values():
        echo(reason)
    out.print(f"{counted(len(done.kept), 'base backup remains', 'base backups remain')}.")


@app.command("copy-back")
def copy_back_(
    table: Annotated[str, typer.Argument(help="A table, such as energy_consumption.")],
    source: Annotated[
        str, typer.Option("--from", help="A restored state folder, or a libpq URL of a restored database.")
    ],
    city: Annotated[str | None, typer.Option(help="Only this city's rows; the table must exist.")] = None,
    json: Json = False,
) -> None:
    """Copy a lost table, or one city's rows of a table, back from a restored copy. All or nothing.

    Rows are restored unchanged; the audit log and the ledger record it. Run `db upgrade` after a whole table.

    Example: energy-forecast recovery copy-back energy_consumption --from /var/lib/restored --city Berlin
    """
    from energy_forecast.operations.recovery.copy_back import copy_back, copy_of

    done = copy_back(copy_of(source), server_database(), table, city)
    if json:
        emit(done)
    elif city is None:
        out.print(f"Restored the table {table}.")
    else:
        out.print(f"{table}: {done.removed:,} rows of {city} removed, {done.restored:,} restored.")


@app.command()
def adopt(
    moved: Annotated[
        bool,
        typer.Option(
            "--moved", help="The original no longer exists: its archive and backups belong to this folder from now on."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Make a copy of a state folder an independent server. Until then it does not archive and removes no backup.

    Without --moved the archive and the backups still belong to the original: enable a new archive afterwards. If the
    file `identity` of a state folder was lost or damaged, --moved gives the server its archive again.

    Example: energy-forecast recovery adopt
    """
    server = embedded_server()
    archive = server.archive
    found = server.adopt(moved=moved)
    kept = server.archive is not None
    if json:
        emit({"home": server.home, "id": found.id, "archive": server.archive and server.archive.folder})
        return
    out.print(f"{server.home} is an independent server now.")
    if kept:
        out.print("It archives after its next start. Run: energy-forecast recovery enable --restart")
    elif archive is not None:
        out.print(
            "The archive belongs to the original. Run: energy-forecast recovery enable --restart --archive FOLDER"
        )


@app.command()
def activate(json: Json = False) -> None:
    """Activate a restored copy: it replaces the original from now on. Stop the original first.

    Example: energy-forecast recovery activate
    """
    found = activate_copy(server_database().administrator)
    if not found:
        raise BackupError("This database is not an inactive copy.")
    if json:
        emit({"activated": found})
    else:
        for copy in found:
            out.print(f"Activated: restored from {copy['source']}, {copy['target']}.")
