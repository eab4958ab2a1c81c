"""Months that do not exist yet are filled beside their table and attached to it, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries

# Each holds some six locks until the end, of the 6,400 that a server has for all unless told otherwise
_MOST_MONTHS = 400


class NeedsJudging(Exception):
    """Rows of a load have to be judged against each other or against what is stored, and are staged for it.

    Nothing has been stored when it is raised: the load begins anew.
    """


@dataclass(frozen=True)
class ExistingMonths:
    """Which months of a table exist, and which may be filled beside it.

    Args:
        months: starts of the UTC months that exist.
        before: months that end later than this are filled through the table.
    """

    months: frozenset[datetime]
    before: datetime

    def is_new(self, month: datetime) -> bool:
        """Whether the month that begins then can be filled beside the table."""
        return month not in self.months and _next(month) <= self.before


def existing_months(connection: Connection, table: str) -> ExistingMonths:
    """Which months of a table exist now."""
    row = connection.execute(queries("staging")["existing_months"], {"table": table}).fetchone()
    if row is None:
        raise AssertionError("existing_months returns a row")
    return ExistingMonths(frozenset(month.astimezone(UTC) for month in row[0]), row[1].astimezone(UTC))


class PartitionLoad:
    """The new months of one load. All of it happens in the transaction that is open on the connection.

    Args:
        connection: as the role that loads facts.
        table: the partitioned table.
        values: its value columns in the order in which rows bring them.
    """

    def __init__(self, connection: Connection, table: str, values: tuple[str, ...]) -> None:
        self.existing = existing_months(connection, table)
        """What existed when the load began."""
        self._connection = connection
        self._table = table
        self._columns = ("id", "city_id", "timestamp", *values, "available_at", "interval_minutes")
        self._names: dict[datetime, str] = {}
        self.row_count = 0

    def copy(self, month: datetime, data: bytes) -> None:
        """Adds rows: binary COPY of id, city, timestamp, values, available_at, and minutes of the interval.

        Raises:
            NeedsJudging: a row cannot be stored as it is.
        """
        if month not in self._names:
            if len(self._names) == _MOST_MONTHS:
                raise NeedsJudging
            with _requesting_judgement():
                row = self._connection.execute(
                    queries("staging")["begin_month"], {"table": self._table, "month": month}
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
        """Makes the months partitions: with key and audit first, and then all at once.

        Raises:
            NeedsJudging: a time occurs twice after all, or somebody has made one of the months meanwhile.
        """
        if not self._names:
            return
        with _requesting_judgement():
            self._connection.execute(
                queries("staging")["attach_months"], {"table": self._table, "months": sorted(self._names)}
            )


@contextmanager
def _requesting_judgement() -> Iterator[None]:
    """What the database refuses of rows that were not judged."""
    try:
        yield
    except (
        # An available_at before the interval's end
        psycopg.errors.CheckViolation,
        psycopg.errors.UniqueViolation,
        psycopg.errors.DuplicateTable,
        psycopg.errors.ObjectNotInPrerequisiteState,
        # Not even for so many locks is there room
        psycopg.errors.OutOfMemory,
        # A partition that somebody made by hand covers a part of the month
        psycopg.errors.InvalidObjectDefinition,
    ) as error:
        raise NeedsJudging from error


def _next(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
