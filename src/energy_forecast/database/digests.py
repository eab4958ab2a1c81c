"""Row counts, digests, objects and roles of a database, to compare two databases."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString, cast

from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.named_queries import one_row, queries
from energy_forecast.errors import DatabaseError
from energy_forecast.progress import Progress, silent

Tables = dict[str, dict[str, Any]]
Objects = dict[str, dict[str, str]]


@dataclass(frozen=True)
class StoredRole:
    """A role of the platform, or a member of one, without its password."""

    name: str
    attributes: str
    comment: str | None
    member_of: list[str]


@contextmanager
def operator_snapshot(database: Database) -> Iterator[Connection]:
    """Open one snapshot as the operator, who must see every row of every table, for the duration of the block.

    Raises:
        DatabaseError: the operator does not see every row, so a copy would silently lack some.
    """
    with database.transaction(Role.OPERATOR, one_snapshot=True, read_only=True) as connection:
        # A policy that would hide rows then raises an error
        connection.execute("SET LOCAL row_security = off")
        # A digest reads whole tables; a limit that a DBA set for users does not apply
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        if connection.execute(queries("backup")["may_see_all"]).fetchone() != (True, True):
            raise DatabaseError(
                f"The role {Role.OPERATOR} does not see every row, so a backup would lack some.",
                hint=f"Let a superuser run: ALTER ROLE {Role.OPERATOR} BYPASSRLS; "
                f"GRANT pg_read_all_data TO {Role.OPERATOR}",
            )
        yield connection


def export_snapshot(connection: Connection) -> str:
    """Return the identifier of this transaction's snapshot, for pg_dump."""
    return str(_one(connection, "export_snapshot")[0])


def table_digests(connection: Connection, report: Progress = silent) -> Tables:
    """Return the row count and digest of every table, by its qualified name. Reads every row, in bounded memory."""
    found = connection.execute(queries("backup")["tables"]).fetchall()
    facts: Tables = {}
    for number, (name, statement) in enumerate(found):
        report("Counting and digesting every table", number, len(found))
        row = connection.execute(cast(LiteralString, statement)).fetchone()
        if row is None:
            raise AssertionError("an aggregate returns a row")
        facts[name] = {"rows": row[0], "digest": row[1]}
    report("Counting and digesting every table", len(found), len(found))
    return facts


def object_digests(connection: Connection) -> Objects:
    """Return a short hash of the definition of every object of the schema, by kind and identity."""
    found: Objects = {}
    for kind, identity, definition in connection.execute(queries("backup")["objects"]):
        digest = hashlib.sha256((definition or "").encode()).hexdigest()[:16]
        found.setdefault(kind, {})[identity] = digest
    return found


def stored_roles(connection: Connection) -> list[StoredRole]:
    """Return the platform's roles and their members, without superusers."""
    return [StoredRole(*row) for row in connection.execute(queries("backup")["roles"])]


def locale_settings(connection: Connection) -> dict[str, str | None]:
    """Return the encoding and collation settings of the database."""
    names = ("encoding", "provider", "collate", "ctype", "locale")
    return dict(zip(names, _one(connection, "database_locale"), strict=True))


def table_differences(recorded: Tables, found: Tables) -> list[str]:
    """Return sentences on the differences between the tables of two databases; empty if they are equal."""
    lines = [f"table {name} is missing" for name in sorted(recorded.keys() - found.keys())]
    lines += [f"table {name} is not in the record" for name in sorted(found.keys() - recorded.keys())]
    for name in sorted(recorded.keys() & found.keys()):
        before, after = recorded[name], found[name]
        if before["rows"] != after["rows"]:
            lines.append(f"table {name} has {after['rows']} rows instead of {before['rows']}")
        elif before["digest"] != after["digest"]:
            lines.append(f"table {name} has other values in its {after['rows']} rows")
    return lines


def object_differences(recorded: Objects, found: Objects, *, definitions: bool) -> list[str]:
    """Return sentences on the differences between the objects of two databases.

    Args:
        definitions: whether to compare definitions as well; their text depends on the major version.
    """
    lines = []
    for kind in sorted(recorded.keys() | found.keys()):
        before, after = recorded.get(kind, {}), found.get(kind, {})
        lines += [f"{kind} {identity} is missing" for identity in sorted(before.keys() - after.keys())]
        lines += [f"{kind} {identity} is not in the record" for identity in sorted(after.keys() - before.keys())]
        if definitions:
            same = before.keys() & after.keys()
            lines += [
                f"{kind} {identity} has another definition"
                for identity in sorted(same)
                if _differ(before, after, identity)
            ]
    return lines


def _differ(before: Mapping[str, str], after: Mapping[str, str], identity: str) -> bool:
    return before[identity] != after[identity]


def _one(connection: Connection, name: str) -> tuple[Any, ...]:
    return one_row(connection, queries("backup")[name])
