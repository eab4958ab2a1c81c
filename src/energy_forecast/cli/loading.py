"""Load files for `energy-forecast ingest`, and print the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from energy_forecast.cli.access import acting_database
from energy_forecast.cli.console import counted, echo, failures, out, progress
from energy_forecast.cli.option_names import with_option_names
from energy_forecast.errors import IngestError

if TYPE_CHECKING:
    from energy_forecast.ingest import Report
    from energy_forecast.pipelines import CheckReport

_MOST_PRINTED = 20
_MOST_REASONS = 10


@dataclass(frozen=True)
class LoadOptions:
    """Options for reading files, and whether to check the data.

    timezone: of local times. interval: minutes.
    """

    timezone: str | None
    interval: int | None
    label: str | None
    units: Sequence[str]
    check: bool | None


def check_options(dataset: str, options: LoadOptions) -> None:
    """Raise wrong usage if the options are invalid for this dataset: once at the start, not for each file."""
    from energy_forecast.ingest import find_dataset, read_options

    try:
        read_options(
            find_dataset(dataset),
            timezone=options.timezone,
            interval_minutes=options.interval,
            label=options.label,
            units=options.units,
        )
    except IngestError as error:
        raise typer.BadParameter(with_option_names(str(error))) from error


def load(dataset: str, options: LoadOptions, paths: Sequence[Path]) -> tuple[Report, CheckReport]:
    """Load files as one batch and check the loaded data."""
    # Imported here: it imports the frame library, which `--help` does not need
    from energy_forecast import pipelines

    database = acting_database()
    with progress() as report_progress:
        return pipelines.load_and_check(
            database,
            dataset,
            paths,
            check=options.check,
            progress=report_progress,
            timezone=options.timezone,
            interval_minutes=options.interval,
            label=options.label,
            units=options.units,
        )


def rejected_rows(report: Report) -> str | None:
    """Return the number of rejected rows in a sentence; None if no row was rejected."""
    if not report.rejected:
        return None
    return f"{report.rejected:,} of {counted(report.read, 'row')} {'was' if report.rejected == 1 else 'were'} rejected."


def unchecked_cities(cities: int) -> str | None:
    """Return the number of cities that could not be checked in a sentence; None if all were."""
    return f"{counted(cities, 'city was', 'cities were')} loaded, but not checked." if cities else None


def document(report: Report, checked: CheckReport) -> dict[str, object]:
    """Return the report of a load as JSON values."""
    return report.as_dict() | {
        "checked": checked.checked,
        "pending": checked.pending,
        "quality": checked.warned,
        "not_checked": failures(checked.failed),
    }


def print_load(report: Report, checked: CheckReport, before: str = "") -> None:
    """Print the report of a load; `before` is the beginning of its first line."""
    warned = checked.warned
    cells = f"; {counted(report.cells_left_empty, 'cell')} left empty" if report.cells_left_empty else ""
    out.print(
        f"{before}Read {counted(report.read, 'row')}: {report.inserted:,} inserted, {report.corrected:,} corrected, "
        f"{report.unchanged:,} unchanged, {report.rejected:,} rejected{cells}.  (batch {report.batch})"
    )
    for note in report.notes:
        echo(f"  Note: {note}")
    if checked.pending:
        echo(f"  Note: {checked.pending_note}")
    for name, why in list(checked.failed.items())[:_MOST_PRINTED]:
        echo(f"  Loaded, but not checked: {name}: {why}")
    for one in warned[:_MOST_PRINTED]:
        echo(f"  Warning: {one}")
    if len(warned) > _MOST_PRINTED:
        echo(f"  {len(warned) - _MOST_PRINTED} more warnings: energy-forecast doctor data, or ops.quality_flags.")
    shortened = report.rejected > len(report.rejected_examples)
    printed: set[str] = set()
    for row in report.rejected_examples:
        # If the counts follow, one example of each reason is enough
        if shortened and row.reason in printed:
            continue
        printed.add(row.reason)
        echo(f"  Rejected: {row.file}, line {row.line}{f', {row.column}' if row.column else ''}: {row.reason}")
    for reason in report.reasons:
        if reason.cell_only:
            echo(f"  Left empty: {counted(reason.count, 'cell')}, {reason}.")
    if shortened:
        reasons = [reason for reason in report.reasons if not reason.cell_only]
        for reason in reasons[:_MOST_REASONS]:
            echo(f"  Rejected: {counted(reason.count, 'row')}, {reason}.")
        if len(reasons) > _MOST_REASONS:
            echo(f"  {len(reasons) - _MOST_REASONS} more reasons.")
    if report.kept < report.rejected + report.cells_left_empty:
        echo(f"  Only {report.kept:,} of them are kept. ENERGY_FORECAST_REJECTED_ROWS_KEPT sets the limit.")
    if report.kept > len(report.rejected_examples):
        echo(f"  List: energy-forecast ingest rejected {report.batch}")


def load_with_option_names(dataset: str, options: LoadOptions, file: Path) -> tuple[Report, CheckReport]:
    """Load a file; an error names options, because the watcher writes it to a file for the user."""
    try:
        return load(dataset, options, [file])
    except IngestError as error:
        raise IngestError(
            with_option_names(error.message), hint=error.hint and with_option_names(error.hint)
        ) from error
