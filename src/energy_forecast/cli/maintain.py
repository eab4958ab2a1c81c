"""energy-forecast maintain."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_forecast.cli.access import acting_database, open_database
from energy_forecast.cli.console import below, echo, emit, minute, out, progress, size, table
from energy_forecast.cli.options import Json
from energy_forecast.errors import EnergyForecastError, PartialResultError

if TYPE_CHECKING:
    from energy_forecast.operations.maintenance import StepReport


_MOST_PRINTED = 20


class Step(StrEnum):
    """A step of maintenance."""

    PARTITIONS = "partitions"
    RETENTION = "retention"
    CHECKS = "checks"
    REFRESH = "refresh"
    VACUUM = "vacuum"


def maintain(
    step: Annotated[Step | None, typer.Argument(help="One step only. Default: all, in this order.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report the steps without changing anything.")] = False,
    json: Json = False,
) -> None:
    """Maintain the database, once a day.

    Create partitions ahead, remove data beyond its retention, check loaded data for faults if its check was left for
    later, refresh the hourly view, VACUUM and ANALYZE.

    Safe under load and at any time: a step that is already running elsewhere is skipped. A step that fails does not
    stop the others; the exit status is then 1, or 3 if only some cities could not be checked.

    Example: energy-forecast maintain --dry-run
    """
    from energy_forecast.operations.maintenance import STEPS
    from energy_forecast.operations.maintenance import maintain as run_steps

    database = open_database() if dry_run else acting_database()
    with progress() as report:
        reports = run_steps(database, STEPS if step is None else [step.value], dry_run=dry_run, progress=report)
    if json:
        emit(reports)
    else:
        _print(reports)
    failed = [each for each in reports if each.outcome == "failed"]
    if failed:
        kind = PartialResultError if all(each.is_partial for each in failed) else EnergyForecastError
        raise kind(
            f"{' and '.join(each.step for each in failed)} failed: {' '.join(str(each.problem) for each in failed)}"
        )


def _print(reports: list[StepReport]) -> None:
    for report in reports:
        if report.step == "retention" and report.items:
            table(
                ["table", "from", "to", "kept lead times", "outcome", "rows", "revisions", "size", "detail"],
                [_removal(item) for item in report.items],
                title="Retention",
            )
        if report.step == "partitions" and report.items:
            table(["table", "missing partition"], [(i["table_name"], i["partition_name"]) for i in report.items])
        if report.step == "checks" and report.outcome != "planned":
            _print_checks(report.items)
    table(
        ["step", "outcome", "result", "seconds"],
        [(each.step, _outcome(each.outcome), _numbers(each), f"{each.seconds:.1f}") for each in reports],
    )
    if any(each.outcome == "planned" for each in reports):
        out.print("A dry run: nothing was changed.")


def _print_checks(items: list[dict[str, Any]]) -> None:
    for item in items[:_MOST_PRINTED]:
        problem = f"Not checked: {item['city']}, {item['series']}: {item['problem']}" if "problem" in item else None
        echo(f"  {problem or 'Warning: ' + item['text']}")
    if len(items) > _MOST_PRINTED:
        echo(f"  {len(items) - _MOST_PRINTED} more: energy-forecast doctor data, or ops.quality_flags.")


def _outcome(outcome: str) -> str:
    return "running elsewhere" if outcome == "running" else outcome


def _removal(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["table_name"],
        minute(item["range_start"]),
        minute(item["range_end"]),
        below(item["kept_lead_hours"]),
        item["outcome"],
        None if item["row_count"] is None else f"{item['row_count']:,}",
        None if item["revision_count"] is None else f"{item['revision_count']:,}",
        None if item["byte_count"] is None else size(item["byte_count"]),
        item["detail"],
    )


def _numbers(report: StepReport) -> str:
    parts = []
    for name, value in report.numbers.items():
        if name == "views":
            continue
        if name == "bytes":
            parts.append(size(value))
        elif value or name in ("made", "missing", "months", "checked"):
            words = name.replace("_", " ")
            if value == 1:
                words = words.removesuffix("ies") + "y" if words.endswith("ies") else words.removesuffix("s")
            parts.append(f"{value:,} {words}")
    if report.step == "refresh" and report.items:
        last = report.items[0]
        when = "never refreshed" if last["refreshed_at"] is None else f"refreshed {minute(last['refreshed_at'])}"
        parts.append(when)
        if last["data_until"] is not None:
            parts.append(f"data until {minute(last['data_until'])}")
    if any(item.get("outcome") == "analyzed" for item in report.items):
        parts.append("only analyzed: VACUUM needs a connection without a pooler")
    return ", ".join(parts)
