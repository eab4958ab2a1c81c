"""Costs of statements from pg_stat_statements."""

from __future__ import annotations

from dataclasses import dataclass
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


class SortKey(StrEnum):
    """The figure by which statements are sorted."""

    TOTAL = "total"
    MEAN = "mean"
    CALLS = "calls"
    ROWS = "rows"
    READS = "reads"


@dataclass(frozen=True)
class StatementCost:
    """The cost of a statement.

    Args:
        query: its text in one line, without comments; every value in it is a placeholder such as $1.
        role_names: the roles that ran it.
        calls: number of calls.
        total_ms: milliseconds of all calls, without planning.
        mean_ms: mean milliseconds per call.
        max_ms: milliseconds of the longest call.
        row_count: number of rows returned or changed.
        blocks_read: number of 8 kB blocks read from outside shared_buffers.
        blocks_hit: number of 8 kB blocks found in shared_buffers.
        share: share of the time of all statements of this database, from 0 to 1; None if they took no time.
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
    """The costliest statements, the costliest first; `complete` is whether their texts could be read."""

    statements: list[StatementCost]
    complete: bool


def costliest_statements(database: Database, *, by: SortKey = SortKey.TOTAL, limit: int = 10) -> StatementCosts:
    """Return the costliest statements of this database since the last reset of the statistics, at most `limit`.

    Statements whose text has values are left out: COPY, DDL, and statements prepared before the last reset.

    Raises:
        DatabaseError: the server has no statistics, this database cannot show them, or the login may not read them.
    """
    statements = queries("query_stats")
    with database.reading() as connection:
        counts, shows, complete = connection.execute(statements["statistics"]).fetchone() or (False, False, False)
        if not counts:
            raise DatabaseError("The server does not record the cost of statements.", hint=_PRELOAD)
        if not shows:
            raise DatabaseError("This database cannot show the cost of statements.", hint=_CREATE)
        with connection.cursor(row_factory=class_row(StatementCost)) as cursor:
            found = cursor.execute(statements["worst"], {"by": by, "limit": limit}).fetchall()
    return StatementCosts(found, complete)
