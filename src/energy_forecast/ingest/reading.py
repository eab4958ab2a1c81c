"""Open, read and check the files of a batch; the rows are spooled, so that all are known before they are judged."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl

from energy_forecast.database.cities import StoredCity, all_cities
from energy_forecast.database.connection import Database, Role
from energy_forecast.database.http_loads import Author
from energy_forecast.database.staging import Retention, clock_and_retention
from energy_forecast.database.zones import zone_differences
from energy_forecast.errors import IngestError
from energy_forecast.ingest.ambiguous_hours import AmbiguousHours
from energy_forecast.ingest.bulk.coverage import Coverage, CoverageBuilder
from energy_forecast.ingest.datasets import Dataset
from energy_forecast.ingest.options import ReadOptions
from energy_forecast.ingest.plausibility import PlausibilityChecks
from energy_forecast.ingest.readers.csv import CsvSource
from energy_forecast.ingest.readers.parquet_process import ParquetSource, stop_decoding
from energy_forecast.ingest.readers.source import BROKEN_SCHEMA, Piece, Source, one_ahead
from energy_forecast.ingest.report import Quarantine
from energy_forecast.ingest.timestamps import Disputed
from energy_forecast.ingest.validate import Validator
from energy_forecast.settings import settings

Progress = Callable[[str, int, int | None, int], None]
# A piece's number in the spool, its rows, and the coverage of all rows so far
Offer = Callable[[int, pl.DataFrame, CoverageBuilder], None]

# The file holds other data, and to read all of it would take too long
_MOST_WITHOUT_USE = 1_000_000
# Bytes of the checked rows held in memory; the rest goes to a file
_IN_MEMORY = 16 << 20


@dataclass(frozen=True)
class Batch:
    """Facts that apply to a whole batch, known before its files are read.

    Args:
        dataset: the dataset of its rows.
        sources: its files.
        options: how to read them.
        now: the database's clock.
        retention: how long rows are retained; None: forever.
        cities: every city, or those of the author; a city's number is its position.
        disputed: spans in which server and program disagree on the offset of a zone.
        author: the user who loads the batch over HTTP; None for the platform itself.
    """

    dataset: Dataset
    sources: Sequence[Source]
    options: ReadOptions
    now: datetime
    retention: Retention | None
    cities: Sequence[StoredCity]
    disputed: Disputed
    author: Author | None = None


@dataclass(frozen=True)
class _Part:
    file_no: int
    start: int
    size: int


class Spool:
    """Checked and rejected rows in the order of the files, in memory, or in temporary files if they are many.

    The end of its `with` block removes them.
    """

    def __init__(self) -> None:
        self._rows = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by __exit__
        self._rejected = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        self._parts: list[_Part] = []

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._rows.close()
        self._rejected.close()

    def add(self, file_no: int, rows: pl.DataFrame, rejected: pl.DataFrame) -> int:
        """Append a piece of a file, and return its number, if it has rows.

        Args:
            file_no: the file's number.
            rows: the rows to stage.
            rejected: the rejected rows and empty cells in the columns of the COPY after the file's number.

        Raises:
            IngestError: the disk is full.
        """
        try:
            if rows.height:
                start = self._rows.tell()
                data = io.BytesIO()
                rows.write_ipc(data, compression="lz4")
                self._rows.write(data.getbuffer())
                self._parts.append(_Part(file_no, start, self._rows.tell() - start))
            if rejected.height:
                text = io.BytesIO()
                columns = pl.lit(file_no).alias("file"), pl.all(), pl.lit(value=True).alias("by_client")
                rejected.select(columns).write_csv(text, include_header=False)
                self._rejected.write(text.getbuffer())
        except OSError as error:
            raise IngestError(
                f"The checked rows cannot be kept in {tempfile.gettempdir()}: {error.strerror or error}.",
                hint="Make room there, or set TMPDIR to another folder.",
            ) from error
        return len(self._parts) - 1

    def pieces(self, without: Collection[int] = ()) -> Iterator[tuple[int, int, pl.DataFrame]]:
        """Yield the number, the file's number and the rows of each piece.

        Args:
            without: the numbers of the pieces to leave out.
        """
        for number, part in enumerate(self._parts):
            if number not in without:
                self._rows.seek(part.start)
                yield number, part.file_no, pl.read_ipc(io.BytesIO(self._rows.read(part.size)))

    def rejected(self) -> Iterator[bytes]:
        """Yield the rejected rows and empty cells as CSV, in blocks."""
        self._rejected.seek(0)
        while block := self._rejected.read(1 << 20):
            yield block


@dataclass(frozen=True)
class Checked:
    """The rows of a batch, read and checked. Counts of rows.

    Args:
        batch: the batch.
        spool: the checked and the rejected rows.
        lengths: minutes of intervals used for reading, by city number; 60 for other cities.
        read: rows found in the files.
        resolved: rows of a repeated hour that were distinguished by their order.
        outdated: rows older than the retention.
        coverage: time coverage of the usable rows.
        quarantine: the rejected rows and empty cells.
        plausibility: facts about the values.
        validator: counts of unknown cities and of midnights.
    """

    batch: Batch
    spool: Spool
    lengths: Mapping[int, int]
    read: int
    resolved: int
    outdated: int
    coverage: Coverage
    quarantine: Quarantine
    plausibility: PlausibilityChecks
    validator: Validator


def _digest(path: Path, name: str) -> dict[str, Any]:
    """Return name, size in bytes and SHA-256 of a file.

    Raises:
        IngestError: it is missing, not a file, empty, or not readable.
    """
    try:
        if path.is_dir():
            raise IngestError(f"{name}: this is a folder.", hint="Give the files in it.")
        if path.exists() and not path.is_file():
            raise IngestError(f"{name}: this is not a file.", hint="Write the data to a file first.")
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256")
            size = stream.tell()
    except FileNotFoundError as error:
        raise IngestError(f"{name}: file not found.", hint="Check the name.") from error
    except (OSError, ValueError) as error:
        raise IngestError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if size == 0:
        raise IngestError(f"{name}: the file is empty.", hint="Nothing was loaded.")
    return {"name": name, "bytes": size, "sha256": sha256.hexdigest()}


def open_source(path: Path, name: str, required: Sequence[str], optional: Sequence[str]) -> Source:
    """Open a file as CSV, gzipped CSV or Parquet, depending on its first bytes.

    Args:
        path: the file.
        name: its name in messages and in the ledger.
        required: columns that it must have.
        optional: columns that it may have.

    Raises:
        IngestError: it cannot be read, has another format, or lacks a required column.
    """
    facts = _digest(path, name)
    with path.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(b"PAR1") or path.suffix == ".parquet":
        return ParquetSource(path, facts, required, optional)
    if start.startswith(b"PK\x03\x04"):
        raise IngestError(f"{name}: this is a ZIP archive or a workbook.", hint="Export it as CSV.")
    return CsvSource(path, facts, required, optional, gzipped=start.startswith(b"\x1f\x8b"))


def open_batch(
    database: Database, dataset: Dataset, sources: Sequence[Source], options: ReadOptions, author: Author | None = None
) -> Batch:
    """Return the facts of a batch.

    Args:
        author: the user who loads it over HTTP, who knows only their cities. None for the platform itself.

    Raises:
        DatabaseError: the server cannot be reached, or a statement failed.
    """
    with database.transaction(Role.INGEST) as connection:
        now, retention = clock_and_retention(connection, dataset.target.table)
        cities = [city for city in all_cities(connection) if author is None or city.id in author.cities]
        zones = {city.timezone for city in cities} if options.timezone == "city" else {options.timezone}
        found = [] if options.timezone is None else zone_differences(connection, sorted(map(str, zones)), now)
    disputed = defaultdict(list)
    for difference in found:
        if difference.server is not None:
            disputed[difference.zone].append((difference.since, difference.until))
    return Batch(dataset, sources, options, now, retention, cities, dict(disputed), author)


def read_files(
    batch: Batch, spool: Spool, lengths: Mapping[int, int], progress: Progress, offer: Offer | None = None
) -> Checked:
    """Read and check the files of a batch.

    Args:
        spool: receives the rows.
        lengths: minutes of intervals by city number, as far as known.
        offer: called with each piece of checked rows.

    Raises:
        IngestError: a file is damaged, none of its first rows can be used, or its values have another meaning.
    """
    quarantine = Quarantine(settings().rejected_rows_kept)
    plausibility = PlausibilityChecks(batch.dataset, batch.cities, batch.options)
    cities = [(city.id, city.name, city.timezone) for city in batch.cities]
    validator = Validator(
        batch.dataset, cities, batch.options, batch.now, quarantine, plausibility, lengths, batch.disputed
    )
    builder = CoverageBuilder()
    read = usable = resolved = outdated = 0
    for number, source in enumerate(batch.sources):
        ambiguous = None
        if batch.options.timezone is not None:
            series = ("city", *(column for column in batch.dataset.times if column == "issued_at"))
            ambiguous = AmbiguousHours(series, ends=batch.options.label == "end")
        for piece, is_last in _pieces(batch, source, ambiguous):
            if not is_last:
                read += piece.rows.height + piece.broken.height
            rows, rejected = validator.check(source.name, piece, None if is_last else ambiguous)
            usable += rows.height
            if not usable and read >= _MOST_WITHOUT_USE:
                first = f" The first: {rejected['reason'][0]}." if rejected.height else ""
                raise IngestError(
                    f"{source.name}: none of the first {read:,} rows can be used.{first}", hint="Nothing was loaded."
                )
            builder.add(rows)
            if batch.retention is not None and rows.height:
                outdated += int((rows["timestamp"] < batch.retention.since).sum())
            place = spool.add(number, rows, rejected)
            if offer is not None:
                offer(place, rows, builder)
            progress(f"Reading {source.name}", min(piece.done, source.size), source.size, read)
        resolved += 0 if ambiguous is None else ambiguous.resolved
    plausibility.refuse()
    coverage = builder.finish(lambda: (rows for _, _, rows in spool.pieces()))
    return Checked(
        batch, spool, lengths, read, resolved, outdated, coverage, quarantine, plausibility, validator
    )  # fmt: skip


def _pieces(batch: Batch, source: Source, ambiguous: AmbiguousHours | None) -> Iterator[tuple[Piece, bool]]:
    """Yield the pieces of a file, and at last the rows of repeated hours, which have waited for its end."""
    for piece in one_ahead(source.pieces(), stop_decoding):
        yield piece, False
    if ambiguous is None:
        return
    is_unlabelled = batch.dataset.has_intervals and batch.options.label is None
    proof = ambiguous.proof_of_ends() if is_unlabelled else None
    if proof is not None:
        raise IngestError(
            f"{source.name}: the timestamps look like the ENDS of intervals: {proof}.",
            hint="Nothing was loaded. Set `label` to end, or to start if they are starts.",
        )
    rows = ambiguous.release()
    if rows is not None:
        yield Piece(rows, pl.DataFrame(schema=BROKEN_SCHEMA), source.size), True
