"""Copy rows into new months while the rest of the batch is read.

Only when all rows are known is it certain that they may go there: see `choose_strategy`. They nearly always may. So a
large batch begins its transaction during the reading: a piece is copied while the next one is encoded and the one after
it is read. If the rows must be staged after all, this transaction is rolled back, and all rows are sent again from the
spool.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType

import numpy as np
import polars as pl

from energy_forecast.database.connection import Connection, Database
from energy_forecast.database.staging import batch_transaction, begin_months, copy_month
from energy_forecast.ingest.bulk import strategy
from energy_forecast.ingest.bulk.coverage import CoverageBuilder
from energy_forecast.ingest.datasets import INTERVAL
from energy_forecast.ingest.reading import Batch


class EarlyRows:
    """The transaction of a batch that begins while its files are read, and the rows that it has copied.

    The end of its `with` block commits or rolls back, if a transaction has begun.

    Attributes:
        connection: the connection of the transaction; None if it has not begun.
        months: the tables of the new months in ops, by month.
        minutes: the assumed minutes of intervals, by number of the city, for rows that do not state theirs.
        sent: numbers of the pieces whose rows of new months were copied.
        finished: numbers of those pieces that have no other rows.
        row_count: number of rows copied.
    """

    def __init__(self, database: Database, batch: Batch) -> None:
        self.connection: Connection | None = None
        self.months: dict[datetime, str] = {}
        self.minutes: dict[int, int] = {}
        self.sent: set[int] = set()
        self.finished: set[int] = set()
        self.row_count = 0
        self._database = database
        self._batch = batch
        self._ids = np.frombuffer(b"".join(city.id.bytes for city in batch.cities), "V16")
        self._is_possible = batch.dataset.target.corrects and not batch.options.needs_lengths
        self._read = 0
        self._seen: set[datetime] = set()
        self._transaction = ExitStack()
        # One thread each, so the pieces keep their order
        self._encoder, self._sender = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._encoding: Future[None] | None = None
        self._sending: Future[None] | None = None

    def __enter__(self) -> EarlyRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.connection is not None and error is not None:
            # A thread may wait for a lock
            self.connection.cancel()
        self._encoder.shutdown()
        self._sender.shutdown()
        self._transaction.__exit__(kind, error, traceback)

    def offer(self, number: int, rows: pl.DataFrame, coverage: CoverageBuilder) -> None:
        """Copy the rows of new months in a piece, in threads, if the batch is large and probably needs no judgement.

        Args:
            number: the number of the piece in the spool.
            rows: its checked rows.
            coverage: the coverage of all rows so far, these included.

        Raises:
            psycopg.Error: the rows of an earlier piece could not be copied.
        """
        self._read += rows.height
        self._is_possible = self._is_possible and coverage.is_in_order
        if not self._is_possible or not rows.height or self._read < strategy.PARTITION_LOAD_ROWS:
            return
        minutes = self._assumed(rows, coverage)
        if minutes is None:
            return
        if self._encoding is not None:
            self._encoding.result()
        if self.connection is None:
            self.connection = self._transaction.enter_context(
                batch_transaction(self._database, self._batch.dataset.name)
            )
        self.minutes |= minutes
        self._encoding = self._encoder.submit(self._encode, self.connection, number, rows)

    def wait(self) -> None:
        """Wait until the rows offered so far are copied.

        Raises:
            psycopg.Error: they could not be copied.
        """
        if self._encoding is not None:
            self._encoding.result()
        self._wait_sent()

    def _wait_sent(self) -> None:
        if self._sending is not None:
            self._sending.result()

    def _assumed(self, rows: pl.DataFrame, coverage: CoverageBuilder) -> Mapping[int, int] | None:
        """Return the minutes of the cities with rows that do not state theirs; None if one of them is unknown."""
        cities = rows.filter(pl.col(INTERVAL).is_null())["city_no"].unique().to_list()
        if self._batch.options.interval_minutes is not None:
            return dict.fromkeys(cities, self._batch.options.interval_minutes)
        likely = coverage.likely_minutes() | self.minutes
        return {city: likely[city] for city in cities} if likely.keys() >= set(cities) else None

    def _encode(self, connection: Connection, number: int, rows: pl.DataFrame) -> None:
        """Create the tables of a piece, encode it, and hand it to the thread that sends."""
        target = self._batch.dataset.target
        rows = strategy.with_month(rows, self.minutes)
        length = pl.duration(minutes=pl.col("minutes"))
        if rows.select((pl.col("available_at") < pl.col("timestamp") + length).any()).item():
            # These rows must be rejected, and the table of a month would refuse all
            self._is_possible = False
            return
        unseen = set(rows["month"].unique().to_list()) - self._seen
        if unseen:
            # A connection does one thing at a time
            self._wait_sent()
            begun = begin_months(connection, target, sorted(unseen), len(self.months))
            if begun is None:
                self._is_possible = False
                return
            self._seen |= unseen
            self.months |= begun
        others, months = strategy.month_rows(target, rows, self.months, self._ids)
        # At most one encoded piece waits
        self._wait_sent()
        self._sending = self._sender.submit(self._send, connection, number, months, others.height == 0)

    def _send(self, connection: Connection, number: int, months: list[tuple[str, bytes]], is_all: bool) -> None:
        for table, data in months:
            self.row_count += copy_month(connection, self._batch.dataset.target, table, data)
        self.sent.add(number)
        if is_all:
            self.finished.add(number)
