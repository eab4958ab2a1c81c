"""Describe the tables, views and functions of the schema from the catalog, for the reference pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from psycopg.rows import class_row, dict_row

from energy_forecast.database.connection import Database, Role
from energy_forecast.database.named_queries import queries

_Object = TypeVar("_Object")


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


@dataclass(frozen=True)
class Reference:
    """A foreign key. `is_unique` if a row of `referenced` has at most one row of `table`."""

    table: str
    columns: list[str]
    referenced: str
    nullable: bool
    is_unique: bool


@dataclass(frozen=True)
class View:
    """A view with its columns, and the roles that may read it."""

    name: str
    is_materialized: bool
    columns: str
    comment: str | None
    roles: list[str] | None


@dataclass(frozen=True)
class Routine:
    """A function or procedure, and the roles that may execute it. `result` is empty for a procedure."""

    name: str
    arguments: str
    result: str
    is_procedure: bool
    comment: str | None
    roles: list[str]


def describe_references(database: Database) -> list[Reference]:
    """Return every foreign key between tables of the platform."""
    return _described(database, "references", Reference)


def describe_views(database: Database) -> list[View]:
    """Return every view of the platform."""
    return _described(database, "views", View)


def describe_routines(database: Database) -> list[Routine]:
    """Return every function and procedure that a role may execute, those of schema `public` first."""
    return _described(database, "routines", Routine)


def _described(database: Database, query: str, kind: type[_Object]) -> list[_Object]:
    with database.transaction(Role.OWNER) as connection, connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(queries("catalog")[query]).fetchall()


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


def schema_sql(database: Database) -> str:
    """Return SQL that shows the schema of a new database: tables with their rules and privileges, then routines."""
    statements = queries("schema_listing")
    with database.transaction(Role.OWNER) as connection:
        relations, routines, events = (
            [row[0] for row in connection.execute(statements[name]).fetchall()]
            for name in ("relations", "routines", "event_triggers")
        )
    text = "\n\n".join([*relations, *routines, "\n".join(events)]) + "\n"
    return text.replace("timestamp with time zone", "timestamptz")
