"""Copy rows back from a restored copy unchanged, with their original recording times."""

from __future__ import annotations

from typing import LiteralString, cast

import psycopg

from energy_forecast.database.connection import Database, database_error
from energy_forecast.database.create import as_login
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import DatabaseError


def tables_to_dump(database: Database, table: str) -> list[str]:
    """Return a table and its partitions, quoted; empty if the table does not exist."""
    with as_login(database) as connection:
        found = connection.execute(queries("recovery")["table_with_partitions"], {"table": table}).fetchall()
    return [name for (name,) in found]


def copy_city(source: Database, target: Database, table: str, city: str) -> tuple[int, int]:
    """Replace a city's rows of one table by those of a copy, in one transaction.

    The rows are restored, not corrected: they keep their recording times, and the damaged rows get no revision. So the
    triggers for both are disabled during the copy. The audit log records this and the removal.

    Returns:
        The numbers of rows removed and inserted.

    Raises:
        DatabaseError: the table has no cities, the city does not exist, or the login does not own the table.
    """
    parameters = {"table": table, "city": city}
    statement = queries("recovery")["copy_city_statements"]
    out, into = source.administrator.connect(), target.administrator.connect()
    try:
        there = out.execute(statement, parameters).fetchone()
        here = into.execute(statement, parameters).fetchone()
        if there is None or here is None:
            where = "The copy" if there is None else "This database"
            raise DatabaseError(f"{where} has no table {table!r} with cities, or no city {city!r}.")
        if there != here:
            raise DatabaseError(f"The city {city!r} or the columns of {table!r} differ in the copy.")
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
                # Delete revisions of values that are current again: their next correction creates the revision
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
