"""The hash chain of the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import one_row, queries

_LINKS_AT_ONCE = 10_000


@dataclass(frozen=True)
class ChainEnd:
    """The end of a chain.

    Args:
        chain: the hash of the first link, which identifies the chain.
        sequence: the number of the last link; 0 if the chain has no entries.
        hash: the hash of the last link.
    """

    chain: bytes
    sequence: int
    hash: bytes


@dataclass(frozen=True)
class Link:
    """A link of the chain and its entry; `present` is False if the entry is missing."""

    sequence: int
    previous_hash: bytes
    hash: bytes
    present: bool
    text: str
    audit_id: UUID
    table_name: str | None
    action: str | None
    timestamp: datetime | None


def chain_end(connection: Connection) -> ChainEnd | None:
    """Return the end of the chain; None if even its first link is missing."""
    row = connection.execute(queries("audit")["chain_end"]).fetchone()
    return None if row is None or row[0] is None else ChainEnd(bytes(row[0]), row[1], bytes(row[2]))


def server_identity(connection: Connection) -> tuple[str, str]:
    """Return the system identifier of the server and the name of the database."""
    row = one_row(connection, queries("audit")["server_identity"])
    return str(row[0]), str(row[1])


def links(connection: Connection, until: int) -> Iterator[Link]:
    """Yield the links from 1 to `until` in order. They are read in batches, so memory does not grow with the chain."""
    after = 0
    while True:
        with connection.cursor(row_factory=class_row(Link), binary=True) as cursor:
            found = cursor.execute(
                queries("audit")["links"], {"after": after, "until": until, "limit": _LINKS_AT_ONCE}
            ).fetchall()
        yield from found
        if len(found) < _LINKS_AT_ONCE:
            return
        after = found[-1].sequence


def unchained_entries(connection: Connection) -> tuple[int, list[str]]:
    """Return the number of entries without a link, and descriptions of the first of them."""
    rows = connection.execute(queries("audit")["unchained_entries"]).fetchall()
    return (rows[0][0] if rows else 0), [
        f"{action} on {table} of {at:%Y-%m-%d %H:%MZ}" for *_, table, action, at in rows
    ]
