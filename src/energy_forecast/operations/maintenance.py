"""Maintenance: steps with a lock, a record and an outcome each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID, uuid4

from energy_forecast.database import maintenance as stored
from energy_forecast.database import partitions as stored_partitions
from energy_forecast.database.connection import Database, Role, has_pooler
from energy_forecast.errors import EnergyForecastError
from energy_forecast.operations import retention
from energy_forecast.progress import Progress, silent

_log = logging.getLogger(__name__)

# Partitions first, because ingest needs them; checks after the removal of data; VACUUM last, after all deletions
STEPS = ("partitions", "retention", "checks", "refresh", "vacuum")
MONTHS_AHEAD = 3


@dataclass
class StepReport:
    """Result of a step, or its plan.

    outcome: done, planned (a dry run), failed, or running (another process runs it, so nothing was done here).
    numbers: stored in ops.maintenance_runs.
    items: details that depend on the step.
    is_partial: whether a failed step has done a part of its work.
    """

    step: str
    outcome: str = "done"
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None
    is_partial: bool = False


def maintain(
    database: Database, steps: Sequence[str] = STEPS, *, dry_run: bool = False, progress: Progress = silent
) -> list[StepReport]:
    """Run maintenance steps in order, and return their reports. A failed step does not stop the others.

    A step that another process runs is skipped. A dry run only reads, in read-only transactions.
    """
    reports = []
    for step in (known for known in STEPS if known in steps):
        report = StepReport(step)
        began = time.monotonic()
        if dry_run:
            report.outcome = "planned"
            try:
                _PLANS[step](database, report)
            except EnergyForecastError as error:
                _fail(report, error)
        else:
            with stored.step_lock(database, step) as ours:
                if ours:
                    _recorded(database, report, progress)
                else:
                    report.outcome = "running"
        report.seconds = time.monotonic() - began
        _log.log(
            logging.ERROR if report.outcome == "failed" else logging.INFO,
            "maintenance step %s",
            report.outcome,
            extra={"step": step, "seconds": round(report.seconds, 3)},
        )
        reports.append(report)
    return reports


def differing_hours(database: Database) -> list[dict[str, Any]]:
    """Return the hours of the last 30 days with different values in the hourly view and in the facts."""
    with database.transaction(Role.OPERATOR) as connection:
        stored.read_only(connection)
        return stored.hourly_differences(connection)


def _recorded(database: Database, report: StepReport, progress: Progress) -> None:
    """Run a step between its two records. The second record is always written."""
    run = uuid4()
    try:
        with database.transaction(Role.OPERATOR) as connection:
            stored.begin_run(connection, run, report.step)
    except EnergyForecastError as error:
        _fail(report, error)
        return
    outcome = "interrupted"
    try:
        try:
            _ACTIONS[report.step](database, report, run, progress)
        except EnergyForecastError as error:
            _fail(report, error)
        outcome = report.outcome
    finally:
        details = report.numbers | ({"problem": report.problem} if report.problem else {})
        try:
            with database.transaction(Role.OPERATOR) as connection:
                stored.finish_run(connection, run, outcome, details)
        except EnergyForecastError as error:
            _fail(report, error)


def _fail(report: StepReport, error: EnergyForecastError) -> None:
    report.outcome = "failed"
    report.problem = report.problem or str(error)


def _plan_partitions(database: Database, report: StepReport) -> None:
    with database.transaction(Role.OPERATOR) as connection:
        stored.read_only(connection)
        missing = stored_partitions.missing_partitions(connection, months=MONTHS_AHEAD)
    report.items = missing
    report.numbers = {"missing": sum(not part["stands_alone"] for part in missing)}
    _report_detached_tables(report, missing)


def _make_partitions(database: Database, report: StepReport, _run: UUID, progress: Progress) -> None:
    progress("Creating partitions", 0, 1)
    with database.transaction(Role.OPERATOR) as connection:
        report.numbers = {"made": stored_partitions.make_partitions(connection, months=MONTHS_AHEAD)}
    with database.transaction(Role.OPERATOR) as connection:
        report.items = stored_partitions.missing_partitions(connection, months=MONTHS_AHEAD)
    _report_detached_tables(report, report.items)


def _report_detached_tables(report: StepReport, missing: list[dict[str, Any]]) -> None:
    """Report tables with the name of a partition that are not one: ingest into their month would fail."""
    detached = [part["partition_name"] for part in missing if part["stands_alone"]]
    if detached:
        report.outcome = "failed"
        report.problem = (
            f"{', '.join(detached)} was detached from its table, and prevents a new partition. Attach or drop it."
        )


def _plan_retention(database: Database, report: StepReport) -> None:
    _report_removals(report, retention.due_removals(database))


def _apply_retention(database: Database, report: StepReport, run: UUID, progress: Progress) -> None:
    removals = retention.remove_expired(database, run, progress)
    _report_removals(report, removals)
    busy = [removal for removal in removals if removal.outcome == "busy"]
    if busy:
        report.outcome = "failed"
        report.problem = (
            f"{busy[0].partition_name or busy[0].table_name} is {busy[0].detail}; {len(busy)} months stay until the "
            "next run. Run it after the long transaction or backup that uses them."
        )


def _report_removals(report: StepReport, removals: list[retention.Removal]) -> None:
    report.items = [asdict(removal) for removal in removals]
    away = [removal for removal in removals if removal.outcome in ("due", "dropped", "deleted", "thinned")]
    report.numbers = {
        "months": len(away),
        "rows": sum(removal.row_count or 0 for removal in away),
        "revisions": sum(removal.revision_count or 0 for removal in away),
        "bytes": sum(removal.byte_count or 0 for removal in away),
        "kept_for_scores": sum(removal.outcome == "kept" for removal in removals),
        "busy": sum(removal.outcome == "busy" for removal in removals),
    }


def _plan_checks(database: Database, report: StepReport) -> None:
    from energy_forecast import pipelines

    waiting, since = pipelines.waiting_checks(database)
    report.numbers = {"waiting_cities": waiting}
    report.items = [{"waiting_since": since}] if waiting else []


def _check(database: Database, report: StepReport, _run: UUID, progress: Progress) -> None:
    # Imported here: it imports the frame library, which other steps and `--help` do not need
    from energy_forecast import pipelines

    report.numbers = {"checked": 0, "findings": 0, "failed": 0}
    for series in pipelines.CHECKED_SERIES:
        found = pipelines.check_pending(database, series, progress=progress)
        report.items += [asdict(finding) | {"text": str(finding)} for finding in found.warned]
        report.items += [{"city": c, "series": series, "problem": reason} for c, reason in found.failed.items()]
        for name, count in (("checked", found.checked), ("findings", len(found.warned)), ("failed", len(found.failed))):
            report.numbers[name] += count
    if report.numbers["failed"]:
        report.outcome, report.is_partial = "failed", report.numbers["checked"] > 0
        first = next(item for item in report.items if "problem" in item)
        report.problem = (
            f"Failed checks, which remain in the queue: {report.numbers['failed']:,}; done: "
            f"{report.numbers['checked']:,}. The first: {first['city']}, {first['series']}: {first['problem']}"
        )


def _plan_refresh(database: Database, report: StepReport) -> None:
    with database.transaction(Role.OPERATOR) as connection:
        stored.read_only(connection)
        report.items = [stored.last_refresh(connection)]
        report.numbers = {"views": 1} | stored.pending_hours(connection)


def _refresh(database: Database, report: StepReport, _run: UUID, progress: Progress) -> None:
    progress("Refreshing the hourly view", 0, 1)
    with database.transaction(Role.OPERATOR) as connection:
        changed = stored.refresh_hours(connection)
        report.items = [stored.last_refresh(connection)]
    report.numbers = {"views": 1, "rows": report.items[0]["row_count"]} | changed


def _plan_vacuum(database: Database, report: StepReport) -> None:
    with database.transaction(Role.OPERATOR) as connection:
        stored.read_only(connection)
        report.items = stored.vacuum_tables(connection)
    _count_tables(report)


def _vacuum(database: Database, report: StepReport, _run: UUID, progress: Progress) -> None:
    with database.transaction(Role.OPERATOR) as connection:
        tables = stored.vacuum_tables(connection)
        by_pooler = has_pooler(connection)
    # VACUUM needs a session of the owner. Behind a pooler it is left to autovacuum
    with nullcontext() if by_pooler else stored.vacuuming(database) as session:
        for number, table in enumerate(tables):
            progress("VACUUM and ANALYZE", number, len(tables))
            outcome = stored.analyze(database, table) if session is None else stored.vacuum(session, table)
            report.items.append(table | {"outcome": outcome})
    progress("VACUUM and ANALYZE", len(tables), len(tables))
    _count_tables(report)
    busy = [table["table_name"] for table in report.items if table["outcome"] == "busy"]
    if busy:
        report.outcome = "failed"
        report.problem = f"Not vacuumed, because another session locked them for over 5 s: {', '.join(busy)}."


def _count_tables(report: StepReport) -> None:
    whole = [table for table in report.items if not table["is_parent"]]
    report.numbers = {
        "tables": len(whole),
        "dead_rows": sum(table["dead_rows"] for table in whole),
        "bytes": sum(table["byte_count"] for table in whole),
    }


_PLANS: dict[str, Callable[[Database, StepReport], None]] = {
    "partitions": _plan_partitions,
    "retention": _plan_retention,
    "checks": _plan_checks,
    "refresh": _plan_refresh,
    "vacuum": _plan_vacuum,
}
_ACTIONS: dict[str, Callable[[Database, StepReport, UUID, Progress], None]] = {
    "partitions": _make_partitions,
    "retention": _apply_retention,
    "checks": _check,
    "refresh": _refresh,
    "vacuum": _vacuum,
}
