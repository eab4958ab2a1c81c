"""Rows on their way out, as the text of a CSV file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import sql

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries


def columns_of(connection: Connection, query: str, parameters: Mapping[str, object]) -> list[str]:
    """The columns of one of the queries of export.sql."""
    statement = sql.SQL("{} LIMIT 0").format(sql.SQL(queries("export")[query]))
    cursor = connection.execute(statement, parameters)
    return [column.name for column in cursor.description or ()]


def csv_rows(connection: Connection, query: str, parameters: Mapping[str, object]) -> Iterator[bytes]:
    """The rows of one of the queries of export.sql in pieces of CSV, without a header.

    COPY of a query, and not of a table: on the parent of partitions that gives nothing to a role bound by policies, and
    no error either. It streams, so memory does not grow with the rows.
    """
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(sql.SQL(queries("export")[query]))
    with connection.cursor() as cursor, cursor.copy(statement, parameters) as copy:
        for piece in copy:
            yield bytes(piece)
