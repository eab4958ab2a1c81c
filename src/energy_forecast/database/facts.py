"""Compare the stored facts with their checksums in the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries
from energy_forecast.progress import Progress

TABLES = (
    "energy_consumption",
    "energy_consumption_revisions",
    "weather_data",
    "weather_data_revisions",
    "weather_forecasts",
    "prediction_vintages",
)
# Tables with one log entry per row; the query changed_rows compares them
CONTROLLED = (
    "cities",
    "models",
    "model_artifacts",
    "user_city_access",
    "model_promotions",
    "forecast_runs",
    "ops.retention_policies",
    "ops.retraining_policies",
    "ops.repairs",
)
# Row count, and the sums of four 64-bit parts of the rows' SHA-256
Sums = tuple[Decimal, ...]
_NOTHING: Sums = (Decimal(0),) * 5


@dataclass(frozen=True)
class Difference:
    """A block of 30 days in which a table does not hold the rows that the audit log records.

    Args:
        table: the table's name.
        block: the first day of the block, UTC.
        stored: number of stored rows.
        recorded: number of rows that the log records.
    """

    table: str
    block: str
    stored: int
    recorded: int


def baseline(connection: Connection, table: str) -> tuple[datetime, bool] | None:
    """Return since when entries of a table have checksums, and whether it had rows before; None without checksums."""
    row = connection.execute(queries("audit")["baseline"], {"table": table}).fetchone()
    return None if row is None else (row[0], row[1])


def differences(connection: Connection, report: Progress) -> Iterator[Difference]:
    """Yield the blocks in which the stored facts differ from the log. Reads every row once, in bounded memory.

    Args:
        connection: a connection in a transaction with one snapshot.
        report: called with the number of partitions read.
    """
    spans = {table: _spans(connection, table) for table in TABLES}
    done, total = 0, sum(len(each) for each in spans.values())
    for table in TABLES:
        stored: dict[str, Sums] = {}
        for first, end in spans[table]:
            report("Comparing the facts with the audit log", done, total)
            found = connection.execute(queries("audit")[f"sums_of_{table}"], {"first": first, "end": end}).fetchall()
            for block, *sums in found:
                stored[block] = _added(stored.get(block, _NOTHING), sums)
            done += 1
        rows = connection.execute(queries("audit")["recorded_sums"], {"table": table}).fetchall()
        recorded: dict[str, Sums] = {block: tuple(sums) for block, *sums in rows}
        for block in sorted(stored.keys() | recorded.keys()):
            here, there = stored.get(block, _NOTHING), recorded.get(block, _NOTHING)
            if here != there:
                yield Difference(table, block, int(here[0]), int(there[0]))
    report("Comparing the facts with the audit log", total, total)


def changed_rows(connection: Connection) -> list[tuple[str, str, str]]:
    """Return the rows of controlled tables that differ from the log: table, key and description."""
    return [(str(t), str(k), str(d)) for t, k, d in connection.execute(queries("audit")["changed_rows"]).fetchall()]


def _spans(connection: Connection, table: str) -> list[tuple[datetime | None, datetime | None]]:
    found = [tuple(row) for row in connection.execute(queries("audit")["fact_ranges"], {"table": table}).fetchall()]
    # Unbounded ranges could overlap, so the table is then read as a whole
    return found if found and all(None not in span for span in found) else [(None, None)]


def _added(one: Sums, other: list[Decimal]) -> Sums:
    return tuple(a + b for a, b in zip(one, other, strict=True))
