"""The partitions of the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries


@dataclass(frozen=True)
class Partition:
    """A partition: of a UTC month [range_start, range_end), of a city, or the shared one.

    `row_count` is counted when `is_exact`, else the planner's estimate, None if there is none. `byte_count` is with
    indexes. One whose detaching was begun and not finished (`detach_pending`) shows its rows to no query.
    """

    table_name: str
    partition_name: str
    range_start: datetime | None
    range_end: datetime | None
    city: str | None
    is_shared: bool
    detach_pending: bool
    row_count: int | None
    is_exact: bool
    byte_count: int


@dataclass(frozen=True)
class Move:
    """What became of a wish to move a city's predictions: dedicated, shared, already, or busy or too large
    (nothing changed)."""

    outcome: str
    partition_name: str | None
    row_count: int | None


def list_partitions(connection: Connection, *, exact_below: int) -> list[Partition]:
    """Every partition; rows are counted where it has fewer bytes than `exact_below`."""
    with connection.cursor(row_factory=class_row(Partition)) as cursor:
        return cursor.execute(queries("partitions")["list_partitions"], {"exact_below": exact_below}).fetchall()


def missing_partitions(connection: Connection, *, months: int) -> list[dict[str, Any]]:
    """table_name, partition_name and stands_alone of each monthly partition that is missing."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries("partitions")["missing_partitions"], {"months": months}).fetchall()


def make_partitions(connection: Connection, *, months: int) -> int:
    """Makes the partitions of this month and the months to come; how many were missing."""
    row = connection.execute(queries("partitions")["make_partitions"], {"months": months}).fetchone()
    return 0 if row is None else int(row[0])


def dedicate_partition(connection: Connection, city: UUID, name: str, *, most_bytes: int) -> Move:
    """Gives a city's predictions a partition of their own, called `name` if that is free.

    Readers wait while the shared partition is read once; one of more than `most_bytes` is left alone.
    """
    parameters = {"city": city, "name": name, "most_bytes": most_bytes}
    with connection.cursor(row_factory=class_row(Move)) as cursor:
        return _one(cursor.execute(queries("partitions")["dedicate_partition"], parameters).fetchone())


def share_partition(connection: Connection, city: UUID, *, most_rows: int) -> Move:
    """Takes a city's predictions back into the shared partition.

    Readers wait while the rows are written; more than `most_rows` are left where they are.
    """
    with connection.cursor(row_factory=class_row(Move)) as cursor:
        return _one(
            cursor.execute(queries("partitions")["share_partition"], {"city": city, "most_rows": most_rows}).fetchone()
        )


def _one(move: Move | None) -> Move:
    if move is None:
        raise AssertionError("a function with OUT parameters gives one row")
    return move
