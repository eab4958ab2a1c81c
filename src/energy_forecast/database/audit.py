"""The audit log's chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries

_LINKS_AT_ONCE = 10_000


@dataclass(frozen=True)
class ChainEnd:
    """The end of a chain.

    Args:
        chain: the hash of the chain's beginning, which names it.
        sequence: place of the last entry; 0 when there is none.
        hash: of the last entry.
    """

    chain: bytes
    sequence: int
    hash: bytes


@dataclass(frozen=True)
class Link:
    """A link of the chain and the entry that it holds; `present` is False when the entry is gone."""

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
    """The end of the chain; None when not even its beginning is there."""
    row = connection.execute(queries("audit")["chain_end"]).fetchone()
    return None if row is None or row[0] is None else ChainEnd(bytes(row[0]), row[1], bytes(row[2]))


def server_identity(connection: Connection) -> tuple[str, str]:
    """The server's own number and the database's name."""
    row = connection.execute(queries("audit")["server_identity"]).fetchone()
    assert row is not None
    return str(row[0]), str(row[1])


def links(connection: Connection, until: int) -> Iterator[Link]:
    """The links after the beginning up to a place, in order; read in pieces, so memory does not grow with the chain."""
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
    """How many entries no link holds, and the first of them in words."""
    rows = connection.execute(queries("audit")["unchained_entries"]).fetchall()
    return (rows[0][0] if rows else 0), [
        f"{action} on {table} of {at:%Y-%m-%d %H:%MZ}" for *_, table, action, at in rows
    ]
