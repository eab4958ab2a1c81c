"""Describe the tables of the schema from the catalog, for the reference page."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row, dict_row

from energy_forecast.database.connection import Database, Role
from energy_forecast.database.named_queries import queries


@dataclass(frozen=True)
class Column:
    """A column; `comment` is empty if the name is sufficient."""

    name: str
    type: str
    nullable: bool
    comment: str


@dataclass(frozen=True)
class Table:
    """A table with its columns; `rules` holds (name, definition) of its constraints and indexes."""

    name: str
    comment: str
    partition_key: str | None
    columns: list[Column]
    rules: list[tuple[str, str]]


def describe_tables(database: Database) -> list[Table]:
    """Return every table of the platform except partitions, those of schema `public` first."""
    statements = queries("catalog")
    tables = []
    with database.transaction(Role.OWNER) as connection:
        with connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(statements["tables"]).fetchall()
        for table in found:
            with connection.cursor(row_factory=class_row(Column)) as cursor:
                columns = cursor.execute(statements["columns"], {"table": table["oid"]}).fetchall()
            rules = connection.execute(statements["rules"], {"table": table["oid"]}).fetchall()
            tables.append(
                Table(
                    table["name"],
                    table["comment"],
                    table["partition_key"],
                    columns,
                    [(name, definition) for name, definition, _ in rules],
                )
            )
    return tables
