"""Load a batch: read files or a frame, store the rows and report the counts. A batch is stored whole or not at all."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import polars as pl

from energy_forecast.database.connection import Database
from energy_forecast.database.partition_load import NeedsJudging, PartitionLoad
from energy_forecast.database.staging import Judgement, Merged, Retention, Spacing, Staging, staging
from energy_forecast.errors import IngestError
from energy_forecast.event_log import log_run
from energy_forecast.ingest.ambiguous_hours import AmbiguousHours
from energy_forecast.ingest.bulk.coverage import Coverage, TimeRanges
from energy_forecast.ingest.bulk.encode import staged_rows
from energy_forecast.ingest.bulk.partition_load import PartitionSplitter
from energy_forecast.ingest.bulk.unchanged_rows import is_changed
from energy_forecast.ingest.datasets import Dataset, find_dataset
from energy_forecast.ingest.options import ReadOptions, read_options
from energy_forecast.ingest.plausibility import PlausibilityChecks
from energy_forecast.ingest.quarantine import Quarantine
from energy_forecast.ingest.readers.detect import open_source
from energy_forecast.ingest.readers.parquet import FrameSource
from energy_forecast.ingest.readers.parquet_process import stop_decoding
from energy_forecast.ingest.readers.source import BROKEN_SCHEMA, Piece, Source, names_of
from energy_forecast.ingest.report import Rejected, Report
from energy_forecast.ingest.validate import Validator
from energy_forecast.settings import settings

Progress = Callable[[str, int, int | None, int], None]

_MOST_NAMED = 10
# The file holds other data, and to read all of it would take too long
_MOST_WITHOUT_USE = 1_000_000
_MOST_REASONS = 50
# With fewer rows, a partition load costs more than it saves
PARTITION_LOAD_ROWS = 100_000
# Minutes of an interval if the rows do not show its length
_HOUR = 60


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
    return _load(database, wanted, sources, options, progress or _silent)


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
    return _load(database, wanted, [source], options, progress or _silent)


def _silent(_what: str, _done: int, _total: int | None, _rows: int) -> None:
    """Ignore progress."""


def _load(
    database: Database, dataset: Dataset, sources: Sequence[Source], options: ReadOptions, progress: Progress
) -> Report:
    try:
        return _run_batch(database, dataset, sources, options, progress)
    except pl.exceptions.PanicException as error:
        # It is not a subclass of Exception, so the callers would not catch it
        names = ", ".join(source.name for source in sources[:_MOST_NAMED])
        words = str(error).strip().splitlines() or ["unknown fault"]
        raise IngestError(f"{names}: the rows cannot be processed ({words[0][:120]}).") from error


def _run_batch(
    database: Database, dataset: Dataset, sources: Sequence[Source], options: ReadOptions, progress: Progress
) -> Report:
    partition_load = dataset.target.corrects and sum(source.row_estimate for source in sources) >= PARTITION_LOAD_ROWS
    lengths: Mapping[int, int] = {}
    # Lengths do not depend on the label or on the values, so the second pass with them is the last
    for _ in range(4):
        try:
            return _Batch(database, dataset, sources, options, progress, lengths, partition_load=partition_load).run()
        except NeedsJudging:
            partition_load = False
        except _OtherLengthsError as error:
            lengths = error.lengths
    raise AssertionError("the lengths of intervals are found in the second pass")


class _OtherLengthsError(Exception):
    """The files were read with other interval lengths than their rows show; nothing has been stored."""

    def __init__(self, lengths: Mapping[int, int]) -> None:
        super().__init__()
        self.lengths = lengths


@dataclass(frozen=True)
class _Ready:
    """A piece of a file.

    Args:
        rows: the rows to stage.
        near: city, first and last timestamp of stored rows to compare them with.
        refused: the rejected rows in COPY format.
        months: the rows for new partitions in COPY format, by month.
        done: the amount of the file read so far.
    """

    rows: pl.DataFrame
    near: Sequence[tuple[int, datetime, datetime]]
    refused: bytes
    months: Sequence[tuple[datetime, bytes]]
    done: int


class _Batch:
    """One attempt at a batch: all rows are staged, or rows of new months go to new partitions."""

    def __init__(
        self,
        database: Database,
        dataset: Dataset,
        sources: Sequence[Source],
        options: ReadOptions,
        progress: Progress,
        lengths: Mapping[int, int],
        *,
        partition_load: bool,
    ) -> None:
        self._database = database
        self._dataset = dataset
        self._sources = sources
        self._options = options
        self._lengths = lengths
        self._progress = progress
        self._uses_partition_load = partition_load
        self._splitter: PartitionSplitter | None = None
        self._partition_load: PartitionLoad | None = None
        self._read = 0
        self._usable = 0
        self._quarantine = Quarantine(settings().rejected_rows_kept)
        self._resolved = 0
        self._kept: Retention | None = None
        self._outdated = 0
        self._time_ranges = TimeRanges()
        self._cities: list[tuple[UUID, str, str]] = []
        self._coverage = Coverage()
        self._plausibility = PlausibilityChecks(dataset, [], options)
        self._minutes: Mapping[int, int] = {}

    def run(self) -> Report:
        with staging(self._database, self._dataset.target) as session:
            stored = session.cities()
            self._cities = [(city.id, city.name, city.timezone) for city in stored]
            self._plausibility = PlausibilityChecks(self._dataset, stored, self._options)
            if not self._uses_partition_load:
                judgement, validator = self._prepare(session)
                with session.merging():
                    return self._merge(session, judgement, validator)
            # The new partitions live in the transaction that fills them: nobody sees them, and none is left over
            with session.merging():
                self._partition_load = session.partition_load()
                ids = [city for city, _, _ in self._cities]
                self._splitter = PartitionSplitter(
                    self._dataset, ids, self._partition_load.existing, self._options.interval_minutes
                )
                judgement, validator = self._prepare(session)
                return self._merge(session, judgement, validator)

    def _prepare(self, session: Staging) -> tuple[Judgement, Validator]:
        """Read, check and stage the files; return also the validator, which counts the rows of unknown cities."""
        now, self._kept = session.clock()
        session.add_files([source.name for source in self._sources])
        session.add_cities([(city, name) for city, name, _ in self._cities])
        disputed = self._disputed(session)
        validator = Validator(
            self._dataset,
            self._cities,
            self._options,
            now,
            self._quarantine,
            self._plausibility,
            self._lengths,
            disputed,
        )
        for number, source in enumerate(self._sources):
            self._stage(session, validator, number, source)
        self._plausibility.refuse()
        self._coverage.finish()
        if self._splitter is not None and not self._coverage.in_order:
            raise NeedsJudging
        if self._coverage.in_order:
            session.set_coverage(self._coverage.cities.rows(), self._coverage.gaps().rows(), self._coverage.months)
        if self._splitter is not None:
            session.set_unstaged(self._read, sorted(self._splitter.months), self._splitter.first, self._splitter.last)
        self._progress("Checking", 0, None, self._read)
        judgement = session.judge(now=now, interval_minutes=self._options.interval_minutes)
        self._check_intervals(session, judgement)
        if self._splitter is not None and not self._splitter.guessed.items() <= session.intervals().items():
            raise NeedsJudging
        session.ensure_partitions(self._database)
        self._progress("Writing", 0, None, self._read)
        return judgement, validator

    def _disputed(self, session: Staging) -> dict[str, list[tuple[datetime, datetime | None]]]:
        """Return the spans in which server and program disagree on the offset, for the zones of local times."""
        timezone = self._options.timezone
        if timezone is None:
            return {}
        zones = {zone for _, _, zone in self._cities} if timezone == "city" else {timezone}
        spans = defaultdict(list)
        for difference in session.zone_differences(sorted(zones)):
            if difference.server is not None:
                spans[difference.zone].append((difference.since, difference.until))
        return dict(spans)

    def _check_intervals(self, session: Staging, judgement: Judgement) -> None:
        """Refuse rows whose spacing is not an interval, and values far from the stored ones.

        Raises:
            IngestError: the batch cannot be stored.
            _OtherLengthsError: the files have to be read again with other lengths.
        """
        if not self._dataset.has_intervals:
            self._plausibility.refuse_other_level(session.stored_means(self._plausibility.spans()), {})
            return
        for spacing in judgement.wide:
            raise IngestError(
                f"The rows of {spacing.city} are {_spacing(spacing)}, which is not an interval of an hour or less.",
                hint="Nothing was loaded. Load values of intervals that divide the hour. If each row is the value of "
                "one hour only, set `interval_minutes` to 60.",
            )
        self._minutes = session.intervals()
        if self._options.needs_lengths:
            if judgement.assumed:
                raise IngestError(
                    f"The interval length of {judgement.assumed[0]} is required, but cannot be inferred from the rows.",
                    hint="Nothing was loaded. Set `interval_minutes`, for example to 15.",
                )
            read_with = {
                city: self._lengths.get(city, self._options.interval_minutes or _HOUR) for city in self._minutes
            }
            if read_with != self._minutes:
                raise _OtherLengthsError(self._minutes)
        self._plausibility.refuse_other_level(session.stored_means(self._plausibility.spans()), self._minutes)

    def _stage(self, session: Staging, validator: Validator, number: int, source: Source) -> None:
        ready = self._ready(validator, number, source)
        # One piece is read and checked while the server receives the previous one
        with ThreadPoolExecutor(1) as reader:
            try:
                coming = reader.submit(next, ready, None)
                while (piece := coming.result()) is not None:
                    coming = reader.submit(next, ready, None)
                    self._stage_piece(session, number, piece)
                    self._progress(f"Reading {source.name}", min(piece.done, source.size), source.size, self._read)
            except KeyboardInterrupt:
                # The end of this block waits for the reader
                stop_decoding()
                raise

    def _stage_piece(self, session: Staging, number: int, piece: _Ready) -> None:
        self._stage_rows(session, number, piece.rows, piece.near)
        if piece.refused:
            session.copy_rejected(piece.refused)
        if self._partition_load is not None:
            for month, data in piece.months:
                self._partition_load.copy(month, data)

    def _stage_rows(
        self, session: Staging, number: int, rows: pl.DataFrame, near: Sequence[tuple[int, datetime, datetime]]
    ) -> None:
        values = [column.name for column in self._dataset.values]
        if near:
            rows = rows.filter(is_changed(rows, values, session.stored_values(near), self._options.interval_minutes))
        if self._splitter is not None:
            self._splitter.record_staged(rows)
        if rows.height:
            session.copy_rows(staged_rows(number, rows, values))

    def _ready(self, validator: Validator, number: int, source: Source) -> Iterator[_Ready]:
        name = self._sources[number].name
        series = ("city", *(column for column in self._dataset.times if column == "issued_at"))
        ambiguous = AmbiguousHours(series, ends=self._options.label == "end")
        for piece in source.pieces():
            self._read += piece.rows.height + piece.broken.height
            yield self._encoded(number, piece.done, *validator.check(name, piece, ambiguous))
        proof = ambiguous.proof_of_ends() if self._dataset.has_intervals and self._options.label is None else None
        if proof is not None:
            raise IngestError(
                f"{name}: the timestamps look like the ENDS of intervals: {proof}.",
                hint="Nothing was loaded. Set `label` to end, or to start if they are starts.",
            )
        rows = ambiguous.release()
        if rows is not None:
            piece = Piece(rows, pl.DataFrame(schema=BROKEN_SCHEMA), source.size)
            yield self._encoded(number, piece.done, *validator.check(name, piece, None))
        self._resolved += ambiguous.resolved

    def _encoded(self, number: int, done: int, rows: pl.DataFrame, refused: pl.DataFrame) -> _Ready:
        self._usable += rows.height
        if not self._usable and self._read >= _MOST_WITHOUT_USE:
            first = f" The first: {refused['reason'][0]}." if refused.height else ""
            raise IngestError(
                f"{self._sources[number].name}: none of the first {self._read:,} rows can be used.{first}",
                hint="Nothing was loaded.",
            )
        self._time_ranges.add(rows)
        self._coverage.add(rows)
        if self._kept is not None and rows.height:
            self._outdated += int((rows["timestamp"] < self._kept.since).sum())
        months: Sequence[tuple[datetime, bytes]] = ()
        near: Sequence[tuple[int, datetime, datetime]] = ()
        if self._splitter is not None and rows.height:
            rows, months = self._splitter.split(rows, self._coverage)
            near = self._splitter.near(rows, self._coverage)
        text = io.BytesIO()
        if refused.height:
            entries = refused.select(pl.lit(number).alias("file"), pl.all(), pl.lit(value=True).alias("by_client"))
            entries.write_csv(text, include_header=False)
        return _Ready(rows, near, text.getvalue(), months, done)

    def _merge(self, session: Staging, judgement: Judgement, validator: Validator) -> Report:
        merged = session.merge()
        if self._partition_load is not None:
            self._partition_load.attach()
            merged = replace(merged, inserted=merged.inserted + self._partition_load.row_count)
        for one in merged.revised:
            self._time_ranges.add_span(one.city_no, one.first, one.last)
        batch: UUID = uuid4()
        quarantine = self._quarantine
        quarantine.add(merged.rejected)
        counts = {
            "read": self._read,
            "inserted": merged.inserted,
            "corrected": merged.corrected,
            "unchanged": self._read - merged.inserted - merged.corrected - quarantine.row_count,
            "rejected": quarantine.row_count,
            "cells_left_empty": quarantine.cell_count,
        }
        notes = tuple(self._notes(judgement, merged, validator))
        kept = session.record(
            batch=batch,
            files=[source.facts for source in self._sources],
            notes=notes,
            reasons=[reason.as_counted() for reason in quarantine.reasons()],
            most_kept=quarantine.most,
            **counts,
        )
        return Report(
            batch=str(batch),
            kind=self._dataset.name,
            files=tuple(source.name for source in self._sources),
            **counts,
            notes=notes,
            kept=kept,
            reasons=quarantine.reasons()[:_MOST_REASONS],
            rejected_examples=tuple(Rejected(*example) for example in merged.examples),
            touched=self._time_ranges.named([name for _, name, _ in self._cities]),
        )

    def _notes(self, judgement: Judgement, merged: Merged, validator: Validator) -> Iterator[str]:
        for source in self._sources:
            if source.ignored:
                yield f"{source.name}: columns ignored: {', '.join(source.ignored[:20])}."
            if "available_at" in self._dataset.times and "available_at" not in source.columns:
                yield f"{source.name}: without available_at, a value counts as available when its interval has ended."
        if not self._read:
            yield "No rows found."
        if validator.unknown:
            # The most rows first, so that the order does not depend on the file
            unknown = sorted(validator.unknown.items(), key=lambda one: (-one[1], one[0].casefold(), one[0]))
            named = [
                f"{name!r} ({rows} row{'' if rows == 1 else 's'}"
                f"{f'; did you mean {near!r}?' if (near := validator.near.get(name)) else ''})"
                for name, rows in unknown[:_MOST_NAMED]
            ]
            rest = len(unknown) - _MOST_NAMED
            more = f" and {rest} more" if rest > 0 else ""
            yield f"Unknown city: {', '.join(named)}{more}. Add it: `add_city`, or `import_cities`."
        if judgement.assumed:
            yield (
                f"The interval length of {', '.join(judgement.assumed[:_MOST_NAMED])} cannot be inferred from the "
                "rows; 60 minutes are assumed. If this is wrong, set `interval_minutes`."
            )
        for one in merged.revised:
            yield (
                f"Stored values of {self._cities[one.city_no][1]} whose interval was provisional: {one.row_count:,}. "
                f"The rows of this batch show that it is {one.minutes} minutes."
            )
        if validator.midnights and self._dataset.has_intervals and self._options.label is None:
            yield (
                f"Timestamps written as 24:00, the end of a day: {validator.midnights:,}. They are read as the start "
                "of the next day. If the timestamps are ends of intervals, load the file with `label` set to end."
            )
        if self._outdated and self._kept is not None:
            table = self._dataset.target.table
            yield (
                f"Rows from before {self._kept.since:%Y-%m-%d} UTC: {self._outdated:,}. They are older than the "
                f"retention of {table} ({self._kept.span}). The next maintenance run removes them. To keep them, set "
                f"the retention of {table} to forever."
            )
        yield from self._plausibility.notes(self._minutes)
        if self._resolved:
            yield f"Times of a repeated hour, distinguished by their order in the file: {self._resolved:,}."
        if judgement.repeated:
            yield f"Rows that repeat another row of this batch: {judgement.repeated:,}."
        if merged.older:
            yield f"Rows with an earlier available_at than another of their time, kept as history: {merged.older:,}."
        if merged.repeats:
            yield (
                f"Rows that repeat a value that was corrected later: {merged.repeats:,}. The correction stays. "
                "If the old value is right, load it with an available_at."
            )
        if merged.corrected_now:
            yield (
                "Corrections whose available_at is missing, or equals that of the corrected value: "
                f"{merged.corrected_now:,}. They count as available from now."
            )


def _spacing(spacing: Spacing) -> str:
    """Return the distance between rows in words."""
    if spacing.is_even:
        return f"{spacing.minutes:,} minutes apart"
    return f"{spacing.minutes:,} minutes apart or more, at uneven distances"
