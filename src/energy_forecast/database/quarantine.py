"""Quarantine: rejected rows and emptied cells of batches, as they were read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import IngestError


@dataclass(frozen=True)
class Batch:
    """A batch with its counts.

    Args:
        read: number of rows read.
        rejected: number of rows that could not be used.
        cells_left_empty: number of cells that were left empty; their rows were used.
        kept: number of rejected rows and empty cells still in the quarantine.
        reasons: column, reason, count and cell_only of each reason.
    """

    id: UUID
    kind: str
    files: list[str]
    loaded_at: datetime
    read: int
    rejected: int
    cells_left_empty: int
    reasons: list[dict[str, Any]]
    kept: int


@dataclass(frozen=True)
class RejectedRow:
    """A rejected row, or a cell that was left empty.

    Args:
        file: the file's name.
        line: line of a CSV file (the header is line 1) or row of a Parquet file (from 1).
        column_name: the faulty column; None for the whole row.
        reason: the reason, as text.
        row_data: the row's cells by column, or its `text` if it could not be split.
        cell_only: whether only the cell was left empty. The row was used, or has an entry of its own.
    """

    file: str
    line: int
    column_name: str | None
    reason: str
    row_data: dict[str, Any]
    cell_only: bool


def rejected_rows(
    database: Database, batch: UUID | None = None, *, limit: int | None = None
) -> tuple[Batch, list[RejectedRow]]:
    """Return a batch (None: the newest) and its rejected rows in file order.

    Raises:
        IngestError: the batch does not exist.
    """
    with database.transaction(Role.INGEST) as connection:
        found = _batch(connection, batch)
        with connection.cursor(row_factory=class_row(RejectedRow)) as cursor:
            parameters = {"batch": found.id, "limit": limit}
            return found, cursor.execute(queries("quarantine")["rejected_rows"], parameters).fetchall()


def _batch(connection: Connection, batch: UUID | None) -> Batch:
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        found = cursor.execute(queries("quarantine")["load_batch"], {"batch": batch}).fetchone()
    if found is not None:
        return found
    if batch is None:
        raise IngestError("Nothing was loaded yet.", hint="See: energy-forecast ingest --help")
    raise IngestError(f"Batch {batch} not found.", hint="Without a batch, the newest one is shown.")
