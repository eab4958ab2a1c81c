"""Rows taken back from a restored copy, as they are: what was recorded when stays recorded then."""

from __future__ import annotations

from typing import LiteralString, cast

import psycopg

from energy_forecast.database.connection import Database, database_error
from energy_forecast.database.create import as_login
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import DatabaseError


def tables_to_dump(database: Database, table: str) -> list[str]:
    """A table and its partitions, quoted; nothing where there is no such table."""
    with as_login(database) as connection:
        found = connection.execute(queries("recovery")["table_with_partitions"], {"table": table}).fetchall()
    return [name for (name,) in found]


def copy_city(source: Database, target: Database, table: str, city: str) -> tuple[int, int]:
    """Replaces a city's rows of one table by those of a copy, in one transaction.

    The rows are put back, not corrected: they keep the moment of their recording, and no revision is kept of the
    damaged ones. So the triggers that would see to both are disabled for the while, which the audit log tells, as it
    does of the removal.

    Returns:
        How many rows went, and how many came.

    Raises:
        DatabaseError: the table has no cities, there is no such city, or the login does not own the table.
    """
    parameters = {"table": table, "city": city}
    statement = queries("recovery")["copy_city_statements"]
    out, into = source.administrator.connect(), target.administrator.connect()
    try:
        there = out.execute(statement, parameters).fetchone()
        here = into.execute(statement, parameters).fetchone()
        if there is None or here is None:
            where = "the copy" if there is None else "this database"
            raise DatabaseError(f"In {where} there is no table {table!r} of cities, or no city {city!r}.")
        if there != here:
            raise DatabaseError(f"The city {city!r} or the columns of {table!r} are others in the copy.")
        remove, read, write, tidy = (cast(LiteralString, one) for one in here)
        with into.transaction():
            triggers = into.execute(queries("recovery")["trigger_statements"], {"table": table}).fetchall()
            for disable, _ in triggers:
                into.execute(cast(LiteralString, disable))
            gone = into.execute(remove).rowcount
            with out.cursor() as reader, into.cursor() as writer:
                with reader.copy(read) as rows, writer.copy(write) as put:
                    for block in rows:
                        put.write(block)
                came = writer.rowcount
            if tidy is not None:
                # What was corrected since stands in the table again: its next correction will keep it
                into.execute(tidy)
            for _, enable in triggers:
                into.execute(cast(LiteralString, enable))
        into.commit()
        return gone, came
    except psycopg.Error as error:
        raise database_error(error) from error
    finally:
        out.close()
        into.close()
