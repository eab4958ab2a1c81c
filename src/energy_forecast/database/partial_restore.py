"""Copy rows back from a restored copy unchanged, with their original recording times."""

from __future__ import annotations

from typing import LiteralString, cast

from energy_forecast.database.connection import Database
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import DatabaseError

# The user names a table as in psql
_PUBLIC: LiteralString = "SET LOCAL search_path = public"


def tables_to_dump(database: Database, table: str) -> list[str]:
    """Return a table and its partitions, quoted; empty if the table does not exist."""
    with database.administrator.transaction(None) as connection:
        connection.execute(_PUBLIC)
        found = connection.execute(queries("recovery")["table_with_partitions"], {"table": table}).fetchall()
    return [name for (name,) in found]


def copy_city(source: Database, target: Database, table: str, city: str) -> tuple[int, int]:
    """Replace a city's rows of one table by those of a copy, in one transaction.

    The rows are restored, not corrected: they keep their recording times, and the damaged rows get no revision. So the
    triggers for both are disabled during the copy. The audit log records this, the removal and the restored rows. The
    next `score` computes all hours of the city.

    Returns:
        The numbers of rows removed and inserted.

    Raises:
        DatabaseError: the table has no cities, the city does not exist, or the login does not own the table.
    """
    parameters = {"table": table, "city": city}
    statement = queries("recovery")["copy_city_statements"]
    with source.administrator.transaction(None) as reading, target.administrator.transaction(None) as writing:
        reading.execute(_PUBLIC)
        writing.execute(_PUBLIC)
        in_source = reading.execute(statement, parameters).fetchone()
        in_target = writing.execute(statement, parameters).fetchone()
        if in_source is None or in_target is None:
            where = "The copy" if in_source is None else "This database"
            raise DatabaseError(f"{where} has no table {table!r} with cities, or no city {city!r}.")
        if in_source != in_target:
            raise DatabaseError(f"The city {city!r} or the columns of {table!r} differ in the copy.")
        delete, read, write, delete_revisions = (cast(LiteralString, one) for one in in_target)
        triggers = writing.execute(queries("recovery")["trigger_statements"], {"table": table}).fetchall()
        for disable, _ in triggers:
            writing.execute(cast(LiteralString, disable))
        removed = writing.execute(delete).rowcount
        with reading.cursor() as reader, writing.cursor() as writer:
            with reader.copy(read) as rows, writer.copy(write) as output:
                for block in rows:
                    output.write(block)
            inserted = writer.rowcount
        if delete_revisions is not None:
            # Delete revisions of values that are current again: their next correction creates the revision
            writing.execute(delete_revisions)
        for _, enable in triggers:
            writing.execute(cast(LiteralString, enable))
        writing.execute(queries("recovery")["score_again"], {"city": city})
    return removed, inserted


def score_again(database: Database) -> None:
    """Let the next `score` compute all hours of all cities, because no trigger saw the rows of a restored table."""
    if tables_to_dump(database, "ops.hours_to_score"):
        with database.administrator.transaction(None) as connection:
            connection.execute(queries("recovery")["score_again"], {"city": None})
