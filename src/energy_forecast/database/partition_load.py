"""Bulk load into new monthly partitions, which are filled before they are attached, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries

# Each month holds about six locks until the end; a server has 6,400 by default
_MOST_MONTHS = 400


class NeedsJudging(Exception):
    """The rows of a batch must be staged, to be judged against each other or against stored rows.

    Nothing has been stored when it is raised: the batch starts again.
    """


@dataclass(frozen=True)
class ExistingMonths:
    """The existing months of a table, and the limit for months that may be filled before they are attached.

    Args:
        months: starts of the existing UTC months.
        before: months that end later than this are filled through the table.
    """

    months: frozenset[datetime]
    before: datetime

    def is_new(self, month: datetime) -> bool:
        """Return whether the month that begins at `month` can be filled before it is attached."""
        return month not in self.months and _next(month) <= self.before


def existing_months(connection: Connection, table: str) -> ExistingMonths:
    """Return the existing months of a table."""
    row = connection.execute(queries("partition_load")["existing_months"], {"table": table}).fetchone()
    if row is None:
        raise AssertionError("existing_months returns a row")
    return ExistingMonths(frozenset(month.astimezone(UTC) for month in row[0]), row[1].astimezone(UTC))


class PartitionLoad:
    """Fills the new months of one batch, all in the open transaction of the connection.

    Args:
        connection: a connection as the role that loads facts.
        table: the partitioned table.
        values: its value columns in the order of the rows.
    """

    def __init__(self, connection: Connection, table: str, values: tuple[str, ...]) -> None:
        self.existing = existing_months(connection, table)
        """The months that existed at the start of the batch."""
        self._connection = connection
        self._table = table
        self._columns = ("id", "city_id", "timestamp", *values, "available_at", "interval_minutes")
        self._names: dict[datetime, str] = {}
        self.row_count = 0

    def copy(self, month: datetime, data: bytes) -> None:
        """Add rows: binary COPY of id, city, timestamp, values, available_at and minutes of the interval.

        Raises:
            NeedsJudging: a row cannot be stored without judgement.
        """
        if month not in self._names:
            if len(self._names) == _MOST_MONTHS:
                raise NeedsJudging
            with _requesting_judgement():
                row = self._connection.execute(
                    queries("partition_load")["begin_month"], {"table": self._table, "month": month}
                ).fetchone()
            if row is None:
                raise AssertionError("begin_month returns a row")
            self._names[month] = row[0]
        statement = sql.SQL("COPY ops.{} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(self._names[month]), sql.SQL(", ").join(map(sql.Identifier, self._columns))
        )
        with _requesting_judgement(), self._connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                copy.write(data)
            self.row_count += cursor.rowcount

    def attach(self) -> None:
        """Attach the months as partitions: create keys and audit entries first, then attach all at once.

        Raises:
            NeedsJudging: a time occurs twice, or another session created one of the months meanwhile.
        """
        if not self._names:
            return
        with _requesting_judgement():
            self._connection.execute(
                queries("partition_load")["attach_months"], {"table": self._table, "months": sorted(self._names)}
            )


@contextmanager
def _requesting_judgement() -> Iterator[None]:
    """Raise NeedsJudging if the database rejects rows that were not judged."""
    try:
        yield
    except (
        # An available_at before the interval's end
        psycopg.errors.CheckViolation,
        psycopg.errors.UniqueViolation,
        psycopg.errors.DuplicateTable,
        psycopg.errors.ObjectNotInPrerequisiteState,
        # The lock table of the server is full
        psycopg.errors.OutOfMemory,
        # A partition created by hand covers a part of the month
        psycopg.errors.InvalidObjectDefinition,
    ) as error:
        raise NeedsJudging from error


def _next(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
