"""Export rows as CSV text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import sql

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries


def columns_of(connection: Connection, query: str, parameters: Mapping[str, object]) -> list[str]:
    """Return the column names of a query of export.sql."""
    statement = sql.SQL("{} LIMIT 0").format(sql.SQL(queries("export")[query]))
    cursor = connection.execute(statement, parameters)
    return [column.name for column in cursor.description or ()]


def csv_rows(connection: Connection, query: str, parameters: Mapping[str, object]) -> Iterator[bytes]:
    """Yield the rows of a query of export.sql as CSV chunks without a header.

    COPY reads a query, not a table: COPY of a partitioned table returns no rows and no error to a role bound by
    policies. It streams, so memory does not grow with the rows.
    """
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(sql.SQL(queries("export")[query]))
    with connection.cursor() as cursor, cursor.copy(statement, parameters) as copy:
        for piece in copy:
            yield bytes(piece)
