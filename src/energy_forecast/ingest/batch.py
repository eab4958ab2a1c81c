"""Load a batch: read -> validate -> stage -> judge -> merge -> report. A batch is stored whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import polars as pl

from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.http_loads import Author, record_load
from energy_forecast.database.judging import Intervals, Judged, Spacing, find_intervals, judge, stored_means
from energy_forecast.database.merge import Merged, merge, record_batch
from energy_forecast.database.quality import queue_checks
from energy_forecast.database.staging import attach_months, batch_transaction, create_staging
from energy_forecast.errors import IngestError
from energy_forecast.event_log import log_run
from energy_forecast.ingest.bulk.early import EarlyRows
from energy_forecast.ingest.bulk.strategy import MustStageError, choose_strategy, send_rows
from energy_forecast.ingest.datasets import HOUR, Dataset, find_dataset
from energy_forecast.ingest.options import ReadOptions, read_options
from energy_forecast.ingest.readers.parquet import FrameSource
from energy_forecast.ingest.readers.source import Source, names_of
from energy_forecast.ingest.reading import Checked, Progress, Spool, open_batch, open_source, read_files
from energy_forecast.ingest.report import Rejected, Report

_MOST_NAMED = 10
_MOST_REASONS = 50


def _counts(report: Report) -> dict[str, object]:
    """Return the fields of a load in the event log."""
    names = ("batch", "kind", "read", "inserted", "corrected", "unchanged", "rejected")
    return {name: getattr(report, name) for name in names}


@log_run("load", _counts)
def load_files(
    database: Database,
    dataset: str,
    paths: Sequence[Path],
    *,
    timezone: str | None = None,
    interval_minutes: int | None = None,
    label: str | None = None,
    units: Sequence[str] = (),
    author: Author | None = None,
    progress: Progress | None = None,
) -> Report:
    """Load files of one dataset as one batch.

    Args:
        database: the database to load into.
        dataset: a name in DATASETS.
        paths: CSV, gzipped CSV or Parquet files.
        timezone: how to read timestamps without an offset: None rejects their rows, "city" uses the zone of the row's
            city, an IANA name uses that zone.
        interval_minutes: length of every interval whose row does not state it; None infers it for each city.
        label: the end of an interval that a timestamp names: "start" or "end"; None is "start", but a batch whose
            clock changes disprove it is refused.
        units: units of the numbers, each QUANTITY=UNIT: temperature in C, F or K; humidity in % or as a fraction;
            energy in kWh, Wh, MWh, GWh, or as mean power in W, kW, MW, GW; power (the peak) in kW, W, MW, GW.
        author: the user who loads them over HTTP, who knows only their cities.
        progress: called with the current step, the amount done, the total (None if unknown), and the number of rows
            read.

    Returns:
        The counts, notes, and the first rejected rows. The other rows are loaded.

    Raises:
        IngestError: a file or a parameter cannot be used at all; nothing was loaded.
        DatabaseError: the database is unreachable or refused the batch; nothing was loaded.
    """
    if not paths:
        raise IngestError("No file was given.", hint="Pass at least one path.")
    wanted = find_dataset(dataset)
    sources = [
        open_source(path, name, wanted.required, wanted.optional)
        for path, name in zip(paths, names_of(paths), strict=True)
    ]
    options = read_options(wanted, timezone=timezone, interval_minutes=interval_minutes, label=label, units=units)
    return _load(database, wanted, sources, options, progress or _silent, author)


@log_run("load", _counts)
def load_table(
    database: Database,
    dataset: str,
    frame: pl.DataFrame,
    *,
    name: str,
    timezone: str | None = None,
    interval_minutes: int | None = None,
    label: str | None = None,
    units: Sequence[str] = (),
    author: Author | None = None,
    progress: Progress | None = None,
) -> Report:
    """Load a frame like a file: the same columns, checks and report.

    Args:
        frame: one row for each interval, with the columns of a file of this dataset.
        name: the name of the source in the ledger.

    Raises:
        IngestError: a column is missing, or a parameter cannot be used.
        DatabaseError: the database is unreachable or refused the batch; nothing was loaded.
    """
    wanted = find_dataset(dataset)
    source = FrameSource(frame, name, wanted.required, wanted.optional)
    options = read_options(wanted, timezone=timezone, interval_minutes=interval_minutes, label=label, units=units)
    return _load(database, wanted, [source], options, progress or _silent, author)


def _silent(_what: str, _done: int, _total: int | None, _rows: int) -> None:
    """Ignore progress."""


def _load(
    database: Database,
    dataset: Dataset,
    sources: Sequence[Source],
    options: ReadOptions,
    progress: Progress,
    author: Author | None,
) -> Report:
    try:
        batch = open_batch(database, dataset, sources, options, author)
        with Spool() as spool, Spool() as other:
            try:
                with EarlyRows(database, batch) as early:
                    checked = read_files(batch, spool, {}, progress, early.offer)
                    early.wait()
                    if early.connection is not None:
                        return _store(early.connection, checked, progress, early)
            except MustStageError:
                # All rows are in the spool
                pass
            lengths = _lengths(database, checked)
            if any(minutes != HOUR for minutes in lengths.values()):
                checked = read_files(batch, other, lengths, progress)
            with batch_transaction(database, dataset.name) as connection:
                return _store(connection, checked, progress)
    except pl.exceptions.PanicException as error:
        # It is not a subclass of Exception, so the callers would not catch it
        names = ", ".join(source.name for source in sources[:_MOST_NAMED])
        words = str(error).strip().splitlines() or ["unknown fault"]
        raise IngestError(f"{names}: the rows cannot be processed ({words[0][:120]}).") from error


def _lengths(database: Database, checked: Checked) -> Mapping[int, int]:
    """Return the minutes of intervals by city number, if reading depends on them and the user did not give them.

    The distances between all rows show the length, so the files are read again if it is not an hour.
    """
    if not checked.batch.options.needs_lengths or checked.batch.options.interval_minutes is not None:
        return {}
    with database.transaction(Role.INGEST, trial=True) as connection:
        return _judge_intervals(connection, checked).minutes


def _store(connection: Connection, checked: Checked, progress: Progress, early: EarlyRows | None = None) -> Report:
    """Store the rows of a batch in the open transaction, and return its report.

    Args:
        early: the rows that this transaction has stored already.

    Raises:
        MustStageError: they must be staged with all others.
    """
    batch, target = checked.batch, checked.batch.dataset.target
    progress("Finding the intervals", 0, None, checked.read)
    intervals = _judge_intervals(connection, checked)
    _require_same_lengths(checked, intervals)
    means = stored_means(connection, target, checked.plausibility.spans())
    checked.plausibility.refuse_other_level(means, intervals.minutes)
    coverage = checked.coverage
    strategy = choose_strategy(connection, target, coverage, intervals, early)
    sent = send_rows(
        connection,
        target,
        checked.spool,
        strategy,
        intervals,
        [city.id for city in batch.cities],
        lambda rows: progress("Sending", rows, coverage.row_count, checked.read),
    )
    judged = judge(connection, target, sent.staged, intervals, is_unique=coverage.is_unique, now=batch.now)
    progress("Writing", 0, None, checked.read)
    attach_months(connection, target, strategy.months)
    merged = merge(connection, target, judged, intervals)
    stored = replace(merged, inserted=merged.inserted + sent.inserted)
    report = _report(connection, checked, intervals, judged, stored)
    _queue_checks(connection, checked, stored, report, copied=sent.inserted > 0)
    return report


def _judge_intervals(connection: Connection, checked: Checked) -> Intervals:
    """Create the tables of the batch and find the interval lengths of its cities.

    Raises:
        IngestError: the spacing of the rows is not an interval, or a length is required and unknown.
    """
    batch, options = checked.batch, checked.batch.options
    files = [source.name for source in batch.sources]
    create_staging(connection, batch.dataset.target, files, [(city.id, city.name) for city in batch.cities])
    intervals = find_intervals(
        connection,
        batch.dataset.target,
        checked.coverage.cities.drop("rows").rows(),
        checked.coverage.gaps.rows(),
        now=batch.now,
        minutes=options.interval_minutes,
    )
    for spacing in intervals.wide:
        raise IngestError(
            f"The rows of {spacing.city} are {_spacing(spacing)}, which is not an interval of an hour or less.",
            hint="Nothing was loaded. Load values of intervals that divide the hour. If each row is the value of "
            "one hour only, set `interval_minutes` to 60.",
        )
    if options.needs_lengths and intervals.assumed:
        raise IngestError(
            f"The interval length of {intervals.assumed[0]} is required, but cannot be inferred from the rows.",
            hint="Nothing was loaded. Set `interval_minutes`, for example to 15.",
        )
    return intervals


def _require_same_lengths(checked: Checked, intervals: Intervals) -> None:
    """Require that the files were read with the lengths of the intervals, if reading depends on them.

    Raises:
        IngestError: another batch has changed a stored length meanwhile.
    """
    if not checked.batch.options.needs_lengths or intervals.given is not None:
        return
    for city, minutes in intervals.minutes.items():
        if checked.lengths.get(city, HOUR) != minutes:
            raise IngestError(
                f"Another batch changed the interval length of {checked.batch.cities[city].name} to {minutes} minutes "
                "while the files were read.",
                hint="Nothing was loaded. Load the files again.",
            )


def _report(connection: Connection, checked: Checked, intervals: Intervals, judged: Judged, merged: Merged) -> Report:
    """Record the batch in the ledger and return its report."""
    batch, number = checked.batch, uuid4()
    quarantine = deepcopy(checked.quarantine)
    quarantine.add(merged.rejected)
    counts = {
        "read": checked.read,
        "inserted": merged.inserted,
        "corrected": merged.corrected,
        "unchanged": checked.read - merged.inserted - merged.corrected - quarantine.row_count,
        "rejected": quarantine.row_count,
        "cells_left_empty": quarantine.cell_count,
    }
    remarks = tuple(_notes(checked, intervals, judged, merged))
    kept = record_batch(
        connection,
        batch.dataset.name,
        batch=number,
        files=[source.facts for source in batch.sources],
        notes=remarks,
        reasons=[reason.as_counted() for reason in quarantine.reasons()],
        most_kept=quarantine.most,
        **counts,
    )
    ranges = checked.coverage.ranges()
    for one in merged.revised:
        first, last = ranges.get(one.city_no, (one.first, one.last))
        ranges[one.city_no] = min(first, one.first), max(last, one.last)
    report = Report(
        batch=str(number),
        kind=batch.dataset.name,
        files=tuple(source.name for source in batch.sources),
        **counts,
        notes=remarks,
        kept=kept,
        reasons=quarantine.reasons()[:_MOST_REASONS],
        rejected_examples=tuple(Rejected(*example) for example in merged.examples),
        touched=tuple((batch.cities[city].name, *ranges[city]) for city in sorted(ranges)),
    )
    if batch.author is not None:
        record_load(connection, number, batch.author, report.as_dict())
    return report


def _queue_checks(connection: Connection, checked: Checked, merged: Merged, report: Report, *, copied: bool) -> None:
    """Queue the check of each city whose values the batch changed.

    Args:
        copied: whether rows were copied into new months.
    """
    if not checked.batch.dataset.target.corrects or not merged.inserted + merged.corrected + len(merged.revised):
        return
    cities = checked.batch.cities
    queue_checks(
        connection,
        report.kind,
        UUID(report.batch),
        ranges=[(cities[city].id, *bounds) for city, bounds in checked.coverage.ranges().items()],
        revised=[(cities[one.city_no].id, one.first, one.last) for one in merged.revised],
        copied=copied,
    )


def _spacing(spacing: Spacing) -> str:
    """Return the distance between rows in words."""
    if spacing.is_even:
        return f"{spacing.minutes:,} minutes apart"
    return f"{spacing.minutes:,} minutes apart or more, at uneven distances"


def _notes(checked: Checked, intervals: Intervals, judged: Judged, merged: Merged) -> Iterator[str]:
    """Yield the remarks on a batch."""
    batch, dataset = checked.batch, checked.batch.dataset
    for source in batch.sources:
        if source.ignored:
            yield f"{source.name}: columns ignored: {', '.join(source.ignored[:20])}."
        if "available_at" in dataset.times and "available_at" not in source.columns:
            yield f"{source.name}: without available_at, a value counts as available when its interval has ended."
    if not checked.read:
        yield "No rows found."
    if checked.validator.unknown:
        yield _unknown_cities(checked.validator.unknown, checked.validator.near)
    if intervals.assumed:
        yield (
            f"The interval length of {', '.join(intervals.assumed[:_MOST_NAMED])} cannot be inferred from the "
            "rows; 60 minutes are assumed. If this is wrong, set `interval_minutes`."
        )
    for city, minutes, gap in intervals.kept[:_MOST_NAMED]:
        yield (
            f"The rows of {city} are {gap} minutes apart, but count as {minutes}-minute values, like the stored ones. "
            f"If this is wrong, load them again with `interval_minutes` set to {gap}."
        )
    for one in merged.revised:
        yield (
            f"Stored values of {batch.cities[one.city_no].name} whose interval was provisional: {one.row_count:,}. "
            f"The rows of this batch show that it is {one.minutes} minutes."
        )
    if checked.validator.midnights and dataset.has_intervals and batch.options.label is None:
        yield (
            f"Timestamps written as 24:00, the end of a day: {checked.validator.midnights:,}. They are read as the "
            "start of the next day. If the timestamps are ends of intervals, load the file with `label` set to end."
        )
    if checked.outdated and batch.retention is not None:
        table = dataset.target.table
        yield (
            f"Rows from before {batch.retention.since:%Y-%m-%d} UTC: {checked.outdated:,}. They are older than the "
            f"retention of {table} ({batch.retention.span}). The next maintenance run removes them. To keep them: "
            f"energy-forecast retention keep {table} forever"
        )
    yield from checked.plausibility.notes(intervals.minutes)
    if checked.resolved:
        yield f"Times of a repeated hour, distinguished by their order in the file: {checked.resolved:,}."
    if judged.repeated:
        yield f"Rows that repeat another row of this batch: {judged.repeated:,}."
    if merged.older:
        yield (
            f"Rows whose time has a value with a later available_at: {merged.older:,}. They were kept as history; the "
            "current values did not change."
        )
    if merged.repeats:
        yield (
            f"Rows that repeat a value that was corrected later: {merged.repeats:,}. The correction stays. "
            "If the old value is right, load it with the present time in a column available_at."
        )
    if merged.corrected_now:
        yield (
            "Corrections whose available_at is missing, or equals that of the corrected value: "
            f"{merged.corrected_now:,}. They count as available from now."
        )


def _unknown_cities(counts: Mapping[str, int], near: Mapping[str, str]) -> str:
    """Return the unknown cities in a sentence, the most rows first, so that the order does not depend on the file."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0].casefold(), one[0]))
    named = [
        f"{name!r} ({rows} row{'' if rows == 1 else 's'}{f'; did you mean {near[name]!r}?' if name in near else ''})"
        for name, rows in ordered[:_MOST_NAMED]
    ]
    rest = len(ordered) - _MOST_NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return f"Unknown city: {', '.join(named)}{more}. Add it: `add_city`, or `import_cities`."
