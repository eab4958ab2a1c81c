"""Loading: files or a frame become rows in the database, and a report. All of a load or nothing of it."""

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
from energy_forecast.database.ingest import Kept, Merged, Settled, Spacing, Staging, staging
from energy_forecast.database.new_months import NeedsJudging, NewMonths
from energy_forecast.errors import IngestError
from energy_forecast.ingest.beside import Beside
from energy_forecast.ingest.decoder import stop_decoding
from energy_forecast.ingest.encode import staged_rows
from energy_forecast.ingest.files import BROKEN_SCHEMA, Piece, Source, names_of
from energy_forecast.ingest.kinds import Kind, kind_named
from energy_forecast.ingest.known import says_something
from energy_forecast.ingest.meaning import Meaning
from energy_forecast.ingest.opening import open_source
from energy_forecast.ingest.options import Reading, reading_of
from energy_forecast.ingest.quarantine import Quarantine
from energy_forecast.ingest.repeated_hours import RepeatedHours
from energy_forecast.ingest.report import Rejected, Report
from energy_forecast.ingest.spans import Spans
from energy_forecast.ingest.tables import FrameSource
from energy_forecast.ingest.touched import Touched
from energy_forecast.ingest.validate import Validator
from energy_forecast.settings import settings

Progress = Callable[[str, int, int | None, int], None]

_MOST_NAMED = 10
# It is a file of something else, and reading on would take for ever
_MOST_WITHOUT_USE = 1_000_000
_MOST_REASONS = 50
# Below it the tables beside cost more than they save
LEAST_BESIDE = 100_000
# Minutes of an interval whose length nothing shows
_HOUR = 60


def load_files(
    database: Database,
    kind: str,
    paths: Sequence[Path],
    *,
    timezone: str | None = None,
    interval_minutes: int | None = None,
    label: str | None = None,
    units: Sequence[str] = (),
    progress: Progress | None = None,
) -> Report:
    """Loads files of one kind as one batch.

    Args:
        database: where to.
        kind: a name in KINDS.
        paths: CSV, gzipped CSV or Parquet files; see DESIGN for their columns.
        timezone: how a moment without offset is read: None refuses its row, "city" takes the zone of the row's city,
            an IANA zone takes that one.
        interval_minutes: length of every interval whose row does not state it; None finds it out for each city.
        label: which end of an interval a timestamp names: start, or end; None: start, but a load whose clock changes
            prove it wrong is refused.
        units: units of the numbers, each QUANTITY=UNIT: of temperature C, F or K; of humidity % or fraction; of energy
            kWh, Wh, MWh, GWh, or a mean power W, kW, MW, GW; of power (the peak) kW, W, MW, GW.
        progress: called with what is being done, how much of it is done, how much there is (None: not known), and how
            many rows have been read.

    Returns:
        The counts, notes, and the first rejected rows. The rest is loaded even when rows are rejected.

    Raises:
        IngestError: a file or an option cannot be used at all; nothing was loaded.
        DatabaseError: the database could not be reached or refused; nothing was loaded.
    """
    if not paths:
        raise IngestError("No file is named.")
    wanted = kind_named(kind)
    sources = [
        open_source(path, name, wanted.required, wanted.optional)
        for path, name in zip(paths, names_of(paths), strict=True)
    ]
    reading = reading_of(wanted, timezone=timezone, interval_minutes=interval_minutes, label=label, units=units)
    return _load(database, wanted, sources, reading, progress or _silent)


def load_table(
    database: Database,
    kind: str,
    frame: pl.DataFrame,
    *,
    name: str,
    timezone: str | None = None,
    interval_minutes: int | None = None,
    label: str | None = None,
    units: Sequence[str] = (),
    progress: Progress | None = None,
) -> Report:
    """Loads a frame as if it were a file: the same columns, checks and report.

    Args:
        frame: one row an interval, columns as in a file of this kind.
        name: what the ledger calls it.

    Raises:
        IngestError: a column is missing, or an option cannot be used.
        DatabaseError: the database could not be reached or refused; nothing was loaded.
    """
    wanted = kind_named(kind)
    source = FrameSource(frame, name, wanted.required, wanted.optional)
    reading = reading_of(wanted, timezone=timezone, interval_minutes=interval_minutes, label=label, units=units)
    return _load(database, wanted, [source], reading, progress or _silent)


def _silent(_what: str, _done: int, _total: int | None, _rows: int) -> None:
    """Tells nobody."""


def _load(database: Database, kind: Kind, sources: Sequence[Source], reading: Reading, progress: Progress) -> Report:
    try:
        return _load_either_way(database, kind, sources, reading, progress)
    except pl.exceptions.PanicException as error:
        # It is no Exception: without this, nothing above would notice
        names = ", ".join(source.name for source in sources[:_MOST_NAMED])
        words = str(error).strip().splitlines() or ["unknown fault"]
        raise IngestError(f"{names}: the rows cannot be processed ({words[0][:120]}).") from error


def _load_either_way(
    database: Database, kind: Kind, sources: Sequence[Source], reading: Reading, progress: Progress
) -> Report:
    beside = kind.target.corrects and sum(source.row_estimate for source in sources) >= LEAST_BESIDE
    lengths: Mapping[int, int] = {}
    # Lengths do not depend on the timestamps' ends or on the values, so a second reading with them is the last
    for _ in range(4):
        try:
            return _Load(database, kind, sources, reading, progress, lengths, beside=beside).run()
        except NeedsJudging:
            beside = False
        except _OtherLengthsError as error:
            lengths = error.lengths
    raise AssertionError("the lengths of intervals are found at the second reading")


class _OtherLengthsError(Exception):
    """The files were read with other lengths of intervals than their rows show; nothing has been stored."""

    def __init__(self, lengths: Mapping[int, int]) -> None:
        super().__init__()
        self.lengths = lengths


@dataclass(frozen=True)
class _Ready:
    """A piece of a file.

    Args:
        rows: the rows to stage.
        near: city, first and last timestamp within which the stored rows are worth comparing with them.
        refused: the refused rows, as COPY takes them.
        months: by month the rows that go beside the table, as COPY takes them.
        done: how much of the file it ends.
    """

    rows: pl.DataFrame
    near: Sequence[tuple[int, datetime, datetime]]
    refused: bytes
    months: Sequence[tuple[datetime, bytes]]
    done: int


class _Load:
    """One try at a load: all of it staged, or its new months beside the table."""

    def __init__(
        self,
        database: Database,
        kind: Kind,
        sources: Sequence[Source],
        reading: Reading,
        progress: Progress,
        lengths: Mapping[int, int],
        *,
        beside: bool,
    ) -> None:
        self._database = database
        self._kind = kind
        self._sources = sources
        self._reading = reading
        self._lengths = lengths
        self._progress = progress
        self._goes_beside = beside
        self._beside: Beside | None = None
        self._new_months: NewMonths | None = None
        self._read = 0
        self._usable = 0
        self._quarantine = Quarantine(settings().rejected_rows_kept)
        self._told_apart = 0
        self._kept: Kept | None = None
        self._outdated = 0
        self._touched = Touched()
        self._cities: list[tuple[UUID, str, str]] = []
        self._spans = Spans()
        self._meaning = Meaning(kind, [], reading)
        self._minutes: Mapping[int, int] = {}

    def run(self) -> Report:
        with staging(self._database, self._kind.target) as session:
            stored = session.cities()
            self._cities = [(city.id, city.name, city.timezone) for city in stored]
            self._meaning = Meaning(self._kind, stored, self._reading)
            if not self._goes_beside:
                settled, validator = self._prepare(session)
                with session.merging():
                    return self._merge(session, settled, validator)
            # The tables beside live in the transaction that fills them, so that nobody sees them and none is left over
            with session.merging():
                self._new_months = session.new_months()
                ids = [city for city, _, _ in self._cities]
                self._beside = Beside(self._kind, ids, self._new_months.there, self._reading.interval_minutes)
                settled, validator = self._prepare(session)
                return self._merge(session, settled, validator)

    def _prepare(self, session: Staging) -> tuple[Settled, Validator]:
        """Reads, checks and stages the files; the validator counted the rows of cities that are not there."""
        now, self._kept = session.clock()
        session.add_files([source.name for source in self._sources])
        session.add_cities([(city, name) for city, name, _ in self._cities])
        disputed = self._disputed(session)
        validator = Validator(
            self._kind, self._cities, self._reading, now, self._quarantine, self._meaning, self._lengths, disputed
        )
        for number, source in enumerate(self._sources):
            self._stage(session, validator, number, source)
        self._meaning.refuse()
        self._spans.finish()
        if self._beside is not None and not self._spans.in_order:
            raise NeedsJudging
        if self._spans.in_order:
            session.tell_spans(self._spans.cities.rows(), self._spans.gaps().rows(), self._spans.months)
        if self._beside is not None:
            session.tell_rest(self._read, sorted(self._beside.months), self._beside.first, self._beside.last)
        self._progress("Checking", 0, None, self._read)
        settled = session.settle(now=now, interval_minutes=self._reading.interval_minutes)
        self._check_intervals(session, settled)
        if self._beside is not None and not self._beside.guessed.items() <= session.intervals().items():
            raise NeedsJudging
        session.ensure_partitions(self._database)
        self._progress("Writing", 0, None, self._read)
        return settled, validator

    def _disputed(self, session: Staging) -> dict[str, list[tuple[datetime, datetime | None]]]:
        """Return when the server has other offsets than this program, in the zones by which local times are read."""
        timezone = self._reading.timezone
        if timezone is None:
            return {}
        zones = {zone for _, _, zone in self._cities} if timezone == "city" else {timezone}
        spans = defaultdict(list)
        for difference in session.zone_differences(sorted(zones)):
            if difference.server is not None:
                spans[difference.zone].append((difference.since, difference.until))
        return dict(spans)

    def _check_intervals(self, session: Staging, settled: Settled) -> None:
        """Refuse rows whose distance is no interval, and values far from the stored ones; start again if the files have
        to be read with other lengths.

        Raises:
            IngestError: what the rows show is no load that can be stored.
            _OtherLengthsError: the files were read with other lengths.
        """
        if not self._kind.has_intervals:
            self._meaning.refuse_other_level(session.levels(self._meaning.spans()), {})
            return
        for spacing in settled.wide:
            raise IngestError(
                f"The rows of {spacing.city} are {_spacing(spacing)}, which is no interval of an hour or less.",
                hint="Nothing was loaded. Load values of intervals that divide the hour. If each row is the value of "
                "one hour only, add --interval 60.",
            )
        self._minutes = session.intervals()
        if self._reading.needs_lengths:
            if settled.assumed:
                raise IngestError(
                    f"The interval length of {settled.assumed[0]} does not show in the rows, but is needed.",
                    hint="Nothing was loaded. Add it, for example --interval 15.",
                )
            read_with = {
                city: self._lengths.get(city, self._reading.interval_minutes or _HOUR) for city in self._minutes
            }
            if read_with != self._minutes:
                raise _OtherLengthsError(self._minutes)
        self._meaning.refuse_other_level(session.levels(self._meaning.spans()), self._minutes)

    def _stage(self, session: Staging, validator: Validator, number: int, source: Source) -> None:
        ready = self._ready(validator, number, source)
        # One piece is read and checked while the server takes the one before
        with ThreadPoolExecutor(1) as reader:
            try:
                coming = reader.submit(next, ready, None)
                while (piece := coming.result()) is not None:
                    coming = reader.submit(next, ready, None)
                    self._stage_piece(session, number, piece)
                    self._progress(f"Reading {source.name}", min(piece.done, source.size), source.size, self._read)
            except KeyboardInterrupt:
                # The end of the block waits for the reader
                stop_decoding()
                raise

    def _stage_piece(self, session: Staging, number: int, piece: _Ready) -> None:
        self._stage_rows(session, number, piece.rows, piece.near)
        if piece.refused:
            session.copy_refused(piece.refused)
        if self._new_months is not None:
            for month, data in piece.months:
                self._new_months.copy(month, data)

    def _stage_rows(
        self, session: Staging, number: int, rows: pl.DataFrame, near: Sequence[tuple[int, datetime, datetime]]
    ) -> None:
        values = [column.name for column in self._kind.values]
        if near:
            rows = rows.filter(says_something(rows, values, session.known(near), self._reading.interval_minutes))
        if self._beside is not None:
            self._beside.stages(rows)
        if rows.height:
            session.copy_rows(staged_rows(number, rows, values))

    def _ready(self, validator: Validator, number: int, source: Source) -> Iterator[_Ready]:
        name = self._sources[number].name
        series = ("city", *(column for column in self._kind.times if column == "issued_at"))
        held_back = RepeatedHours(series, ends=self._reading.label == "end")
        for piece in source.pieces():
            self._read += piece.rows.height + piece.broken.height
            yield self._encoded(number, piece.done, *validator.check(name, piece, held_back))
        proof = held_back.proof_of_ends() if self._kind.has_intervals and self._reading.label is None else None
        if proof is not None:
            raise IngestError(
                f"{name}: the timestamps look like the ENDS of intervals: {proof}.",
                hint="Nothing was loaded. If they are ends, add --label end; if they are starts, --label start.",
            )
        rows = held_back.release()
        if rows is not None:
            piece = Piece(rows, pl.DataFrame(schema=BROKEN_SCHEMA), source.size)
            yield self._encoded(number, piece.done, *validator.check(name, piece, None))
        self._told_apart += held_back.resolved

    def _encoded(self, number: int, done: int, rows: pl.DataFrame, refused: pl.DataFrame) -> _Ready:
        self._usable += rows.height
        if not self._usable and self._read >= _MOST_WITHOUT_USE:
            first = f" The first: {refused['reason'][0]}." if refused.height else ""
            raise IngestError(
                f"{self._sources[number].name}: none of the first {self._read:,} rows can be used.{first}",
                hint="Nothing was loaded.",
            )
        self._touched.add(rows)
        self._spans.add(rows)
        if self._kept is not None and rows.height:
            self._outdated += int((rows["timestamp"] < self._kept.since).sum())
        months: Sequence[tuple[datetime, bytes]] = ()
        near: Sequence[tuple[int, datetime, datetime]] = ()
        if self._beside is not None and rows.height:
            rows, months = self._beside.split(rows, self._spans)
            near = self._beside.near(rows, self._spans)
        text = io.BytesIO()
        if refused.height:
            entries = refused.select(pl.lit(number).alias("file"), pl.all(), pl.lit(value=True).alias("by_client"))
            entries.write_csv(text, include_header=False)
        return _Ready(rows, near, text.getvalue(), months, done)

    def _merge(self, session: Staging, settled: Settled, validator: Validator) -> Report:
        merged = session.merge()
        if self._new_months is not None:
            self._new_months.attach()
            merged = replace(merged, inserted=merged.inserted + self._new_months.row_count)
        for one in merged.revised:
            self._touched.add_span(one.city_no, one.first, one.last)
        batch: UUID = uuid4()
        quarantine = self._quarantine
        quarantine.add(merged.refused)
        counts = {
            "read": self._read,
            "inserted": merged.inserted,
            "corrected": merged.corrected,
            "unchanged": self._read - merged.inserted - merged.corrected - quarantine.row_count,
            "rejected": quarantine.row_count,
            "cells_left_empty": quarantine.cell_count,
        }
        notes = tuple(self._notes(settled, merged, validator))
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
            kind=self._kind.name,
            files=tuple(source.name for source in self._sources),
            **counts,
            notes=notes,
            kept=kept,
            reasons=quarantine.reasons()[:_MOST_REASONS],
            rejected_examples=tuple(Rejected(*example) for example in merged.examples),
            touched=self._touched.named([name for _, name, _ in self._cities]),
        )

    def _notes(self, settled: Settled, merged: Merged, validator: Validator) -> Iterator[str]:
        for source in self._sources:
            if source.ignored:
                yield f"{source.name}: columns ignored: {', '.join(source.ignored[:20])}."
            if "available_at" in self._kind.times and "available_at" not in source.columns:
                yield f"{source.name}: without available_at, a value counts as available when its interval has ended."
        if not self._read:
            yield "There are no rows."
        if validator.unknown:
            # The most rows first, and not in whatever order they were met
            unknown = sorted(validator.unknown.items(), key=lambda one: (-one[1], one[0].casefold(), one[0]))
            named = [
                f"{name!r} ({rows} row{'' if rows == 1 else 's'}"
                f"{f'; did you mean {near!r}?' if (near := validator.near.get(name)) else ''})"
                for name, rows in unknown[:_MOST_NAMED]
            ]
            rest = len(unknown) - _MOST_NAMED
            more = f" and {rest} more" if rest > 0 else ""
            yield f"There is no city {', '.join(named)}{more}; add it with: energy-forecast city add, or city import."
        if settled.assumed:
            yield (
                f"The interval length of {', '.join(settled.assumed[:_MOST_NAMED])} does not show in the rows; "
                "60 minutes are assumed. --interval says otherwise."
            )
        for one in merged.revised:
            yield (
                f"Stored values of {self._cities[one.city_no][1]} whose interval was provisional: {one.row_count:,}. "
                f"It is {one.minutes} minutes, as the rows of this load show."
            )
        if validator.midnights and self._kind.has_intervals and self._reading.label is None:
            yield (
                f"Timestamps written as 24:00, the end of a day: {validator.midnights:,}. They are read as the start "
                "of the next day. If the timestamps are ends of intervals, load the file with --label end."
            )
        if self._outdated and self._kept is not None:
            table = self._kind.target.table
            yield (
                f"Rows of before {self._kept.since:%Y-%m-%d} UTC: {self._outdated:,}. They are older than {table} is "
                f"kept for ({self._kept.span}), and go at the next: energy-forecast maintain. To keep them: "
                f"energy-forecast retention keep {table} forever"
            )
        yield from self._meaning.notes(self._minutes)
        if self._told_apart:
            yield f"Local times that occurred twice, told apart by their order in the file: {self._told_apart:,}."
        if settled.repeated:
            yield f"Rows equal to another row of this load: {settled.repeated:,}."
        if merged.older:
            yield f"Rows with an earlier available_at than another of their time, kept as history: {merged.older:,}."
        if merged.repeats:
            yield (
                f"Rows that repeat a value that was corrected later: {merged.repeats:,}. The correction stays. "
                "If the old value is right after all, load it with an available_at."
            )
        if merged.corrected_now:
            yield (
                "Corrections whose available_at is missing, or equal to that of the corrected value: "
                f"{merged.corrected_now:,}. They count as available from now."
            )


def _spacing(spacing: Spacing) -> str:
    """The distance between rows in words."""
    if spacing.is_even:
        return f"{spacing.minutes:,} minutes apart"
    return f"{spacing.minutes:,} minutes apart or more, at uneven distances"
