"""The transaction of a batch, its temporary tables, and the tables that become partitions at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from psycopg import sql

from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.named_queries import one_row, queries

# Each new month holds about six locks until the end; a server has 6,400 by default
_MOST_MONTHS = 400


@dataclass(frozen=True)
class LoadTarget:
    """The destination of one kind of rows.

    Args:
        kind: the kind's name in the ledger.
        table: the partitioned table.
        subject: the prefix of the kind's queries.
        key: description of the columns that, with the city, identify a row.
        values: the value columns in the order of value_1 to value_4.
        corrects: whether a stored value may be replaced.
        adds_up: whether values are amounts, which overlapping intervals would count twice.
    """

    kind: str
    table: str
    subject: str
    key: str
    values: tuple[str, ...]
    corrects: bool = False
    adds_up: bool = False


@dataclass(frozen=True)
class Retention:
    """How long rows are retained.

    Args:
        span: the retention period as text, such as 2 years.
        since: START of the first month, UTC, that retention does not remove now.
    """

    span: str
    since: datetime


@dataclass(frozen=True)
class Staged:
    """The staged rows of a batch.

    Args:
        row_count: number of rows.
        months: their UTC months.
        first: their first timestamp; None without rows.
        last: their last timestamp; None without rows.
        is_fraction: whether they are so few of the batch's rows that a search by key costs less than a join.
    """

    row_count: int
    months: Sequence[datetime]
    first: datetime | None
    last: datetime | None
    is_fraction: bool = False


@contextmanager
def batch_transaction(database: Database, kind: str) -> Iterator[Connection]:
    """Run the one transaction of a batch as the role that loads facts. Batches of one kind run one at a time.

    The transaction begins after every earlier batch of the kind has been committed, so its now() is later than theirs.
    Nothing is left on the connection at its end.

    Raises:
        DatabaseError: the server cannot be reached, or a statement failed.
    """
    named, parameters = queries("staging"), {"kind": kind}
    while True:
        with database.transaction(Role.INGEST) as connection:
            if one_row(connection, named["try_lock"], parameters) == (False,):
                connection.execute(named["wait_for_lock"], parameters)
            # A batch may have ended between the start of this transaction and its lock
            elif one_row(connection, named["is_newest"], parameters) == (True,):
                yield connection
                return


def clock_and_retention(connection: Connection, table: str) -> tuple[datetime, Retention | None]:
    """Return the database's clock, UTC, and the retention of a table's rows; None for unlimited retention."""
    now, span, since = one_row(connection, queries("staging")["server_clock"], {"table": table})
    return now.astimezone(UTC), None if since is None else Retention(span, since.astimezone(UTC))


def create_staging(
    connection: Connection, target: LoadTarget, files: Sequence[str], cities: Sequence[tuple[UUID, str]] = ()
) -> None:
    """Create the temporary tables of a batch, and the views of the stored rows that it may replace.

    Args:
        files: the names of its files, which are numbered by position, from 0.
        cities: id and name of the cities of its rows, which are numbered by position, from 0.
    """
    named = queries("staging")
    connection.execute(named["create_staging"])
    if target.corrects and target.values:
        connection.execute(named[f"{target.subject}_views"])
    connection.execute(named["add_files"], {"names": list(files)})
    connection.execute(
        named["add_cities"], {"ids": [city for city, _ in cities], "names": [name for _, name in cities]}
    )


def copy_rows(connection: Connection, target: LoadTarget, data: bytes) -> None:
    """Stage rows: binary COPY in the column order of the kind's `_copy` query."""
    _copy(connection, f"{target.subject}_copy", [data])


def copy_rejected(connection: Connection, data: Iterable[bytes]) -> None:
    """Stage rejected rows and empty cells as CSV.

    Columns: file number, line, column, reason, the row as JSON, whether only a cell was left empty, and true.
    """
    _copy(connection, "rejected_copy", data)


def _copy(connection: Connection, name: str, data: Iterable[bytes]) -> None:
    with connection.cursor() as cursor, cursor.copy(queries("staging")[name]) as copy:
        for block in data:
            copy.write(block)


def begin_months(
    connection: Connection, target: LoadTarget, months: Sequence[datetime], begun: int = 0
) -> dict[datetime, str] | None:
    """Create a table in ops for each month that does not exist and has ended.

    No other session creates partitions until the transaction ends, so that these months remain new.

    Args:
        begun: number of tables that the transaction has created before.

    Returns:
        The tables by month; None if there are too many months.
    """
    named = queries("staging")
    connection.execute(named["lock_partitions"])
    wanted = {"table": target.table, "months": list(months)}
    new = [month for (month,) in connection.execute(named["new_months"], wanted)]
    if len(new) + begun > _MOST_MONTHS:
        return None
    created = connection.execute(named["begin_months"], {"table": target.table, "months": new}).fetchall()
    return {month.astimezone(UTC): name for month, name in created}


def copy_month(connection: Connection, target: LoadTarget, name: str, data: bytes) -> int:
    """Copy rows into the table of a month and return their number.

    Args:
        name: the table's name in ops.
        data: binary COPY of id, city, timestamp, values, available_at and minutes of the interval.
    """
    columns = ("id", "city_id", "timestamp", *target.values, "available_at", "interval_minutes")
    statement = sql.SQL("COPY ops.{} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            copy.write(data)
        return cursor.rowcount


def attach_months(connection: Connection, target: LoadTarget, months: Mapping[datetime, str]) -> None:
    """Attach the filled tables as partitions: create keys and audit entries first, then attach all at once."""
    if months:
        named = queries("staging")
        connection.execute(named["attach_months"], {"table": target.table, "months": sorted(months)})
