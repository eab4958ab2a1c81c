"""Named queries: blocks in `queries/*.sql`, each with a contract of one line."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any, LiteralString, TypeAlias, TypeVar, cast

import psycopg
from psycopg.rows import class_row, dict_row

T = TypeVar("T")
Parameters: TypeAlias = Mapping[str, Any] | None

_BLOCK = re.compile(r"^-- name: (?P<name>\w+)\n-- (?P<contract>.+)\n(?P<text>(?:(?!^-- name:).*\n)+)", re.MULTILINE)


@functools.cache
def queries(subject: str) -> dict[str, LiteralString]:
    """Return the queries of one subject by name.

    The text belongs to this package, so it is a literal for the driver's type checks.
    """
    folder = resources.files("energy_forecast.database") / "sql" / "queries"
    source = (folder / f"{subject}.sql").read_text("utf-8")
    found = {block["name"]: cast(LiteralString, block["text"].strip()) for block in _BLOCK.finditer(source)}
    if len(found) != source.count("-- name:"):
        raise AssertionError(f"queries/{subject}.sql has a block without a line of contract")
    return found


def dict_rows(
    connection: psycopg.Connection[Any], query: LiteralString, parameters: Parameters = None
) -> list[dict[str, Any]]:
    """Return the rows of a query as dictionaries."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()


def object_rows(
    connection: psycopg.Connection[Any],
    kind: type[T],
    query: LiteralString,
    parameters: Parameters = None,
) -> list[T]:
    """Return the rows of a query as objects of a class whose fields are the columns."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query, parameters).fetchall()


def one_row(
    connection: psycopg.Connection[Any], query: LiteralString, parameters: Parameters = None
) -> tuple[Any, ...]:
    """Return the first row of a query that always has one."""
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise AssertionError("the query returns a row")
    return tuple(row)
