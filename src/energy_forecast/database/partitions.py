"""Partitions of the tables: list, create, and move a city's predictions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import dict_rows, object_rows, one_row, queries


@dataclass(frozen=True)
class Partition:
    """A partition: a UTC month [range_start, range_end), a city, or the shared one.

    `row_count` is exact if `is_exact`, otherwise the planner's estimate, None if unknown. `byte_count` includes
    indexes. Queries do not see the rows of a partition with an unfinished detach (`detach_pending`).
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
    """The outcome of moving a city's predictions: dedicated, shared, already, or busy or too large (no change)."""

    outcome: str
    partition_name: str | None
    row_count: int | None


def list_partitions(connection: Connection, *, exact_below: int) -> list[Partition]:
    """Return every partition; count the rows of those smaller than `exact_below` bytes."""
    return object_rows(connection, Partition, queries("partitions")["list_partitions"], {"exact_below": exact_below})


def missing_partitions(connection: Connection, *, months: int) -> list[dict[str, Any]]:
    """Return table_name, partition_name and stands_alone of each missing monthly partition."""
    return dict_rows(connection, queries("partitions")["missing_partitions"], {"months": months})


def make_partitions(connection: Connection, *, months: int) -> int:
    """Create the partitions of this month and the next `months`; return how many were missing."""
    return int(one_row(connection, queries("partitions")["make_partitions"], {"months": months})[0])


def dedicate_partition(connection: Connection, city: UUID, name: str, *, most_bytes: int) -> Move:
    """Move a city's predictions into a partition of their own, called `name` if that is free.

    Readers wait while the shared partition is read once. A shared partition above `most_bytes` is not changed.
    """
    parameters = {"city": city, "name": name, "most_bytes": most_bytes}
    with connection.cursor(row_factory=class_row(Move)) as cursor:
        return _one(cursor.execute(queries("partitions")["dedicate_partition"], parameters).fetchone())


def share_partition(connection: Connection, city: UUID, *, most_rows: int) -> Move:
    """Move a city's predictions back into the shared partition.

    Readers wait while the rows are written. More than `most_rows` rows are not moved.
    """
    with connection.cursor(row_factory=class_row(Move)) as cursor:
        return _one(
            cursor.execute(queries("partitions")["share_partition"], {"city": city, "most_rows": most_rows}).fetchone()
        )


def _one(move: Move | None) -> Move:
    if move is None:
        raise AssertionError("a function with OUT parameters returns one row")
    return move
