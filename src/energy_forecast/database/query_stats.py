"""What statements cost, as the server counts it (pg_stat_statements), without the values that stand in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from psycopg.rows import class_row

from energy_forecast.database.connection import Database
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import DatabaseError

_PRELOAD = (
    "Set shared_preload_libraries = 'pg_stat_statements' (Debian: package postgresql-contrib), restart the server, "
    "then run: energy-forecast db upgrade"
)
_CREATE = "Let a superuser run: energy-forecast db upgrade"

# Statements are kept with $1 in place of their values, but COPY, DDL and whatever was prepared before the last reset
# are kept as they were written. What is recognised in the order given: a comment, text in quotes or dollars, a name in
# quotes, a word or placeholder, a number. A quote that is never closed hides all that follows.
_PARTS = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))"
    r"|(?P<text>[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)|(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z)"
    r"|\$(?P<tag>[A-Za-z_]\w*|)\$.*?(?:\$(?P=tag)\$|\Z))"
    r'|(?P<name>"(?:[^"]|"")*(?:"|\Z))'
    r"|(?P<word>\$\d+|[^\W\d][\w$]*)"
    r"|(?P<number>\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)",
    re.DOTALL,
)


class SortKey(StrEnum):
    """What the worst statements have most of."""

    TOTAL = "total"
    MEAN = "mean"
    CALLS = "calls"
    ROWS = "rows"
    READS = "reads"


@dataclass(frozen=True)
class StatementCost:
    """What a statement has cost.

    Args:
        query: its text in one line; every value in it is `?` or a placeholder such as $1.
        role_names: who ran it.
        calls: how often.
        total_ms: milliseconds of all calls together, without planning.
        mean_ms: milliseconds of one call.
        max_ms: milliseconds of the longest call.
        row_count: rows that it gave, or changed.
        blocks_read: blocks of 8 kB that were not in shared_buffers.
        blocks_hit: blocks that were.
        share: of the time of all statements of this database, from 0 to 1; None when they took no time.
    """

    query: str
    role_names: list[str]
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float
    row_count: int
    blocks_read: int
    blocks_hit: int
    share: float | None


@dataclass(frozen=True)
class StatementCosts:
    """The worst statements of this database, the worst first; `complete` is whether every text could be read."""

    statements: list[StatementCost]
    complete: bool


def costliest_statements(database: Database, *, by: SortKey = SortKey.TOTAL, limit: int = 10) -> StatementCosts:
    """The statements of this database that cost the most since the server began to count, in at most `limit` rows.

    Raises:
        DatabaseError: the server does not count, this database cannot show it, or the login may not read it.
    """
    statements = queries("query_stats")
    with database.reading() as connection:
        counts, shows, complete = connection.execute(statements["statistics"]).fetchone() or (False, False, False)
        if not counts:
            raise DatabaseError("The server does not count what statements cost.", hint=_PRELOAD)
        if not shows:
            raise DatabaseError("This database cannot show what statements cost.", hint=_CREATE)
        with connection.cursor(row_factory=class_row(StatementCost)) as cursor:
            found = cursor.execute(statements["worst"], {"by": by, "limit": limit}).fetchall()
    return StatementCosts([replace(cost, query=without_values(cost.query)) for cost in found], complete)


def without_values(query: str) -> str:
    """A statement in one line, without its comments, and with `?` in place of every value."""

    def part(found: re.Match[str]) -> str:
        if found["comment"]:
            return " "
        return "?" if found["text"] or found["number"] else found[0]

    return " ".join(_PARTS.sub(part, query).split())
