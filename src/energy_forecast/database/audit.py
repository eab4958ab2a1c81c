"""The audit log's chain, and what has to stand in the catalog for nothing to go unseen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from energy_forecast.database.connection import Connection, Role
from energy_forecast.database.named_queries import queries
from energy_forecast.database.schema import folder, superuser_sql

_LINKS_AT_ONCE = 10_000
_FUNCTIONS = (
    *("audit_trigger_func", "audit_batch_func", "audit_attached_func"),
    *("audit_consumption_func", "audit_weather_func"),
    *("audit_block_query", "audit_batch_query"),
    *("chain_audit_entries", "audit_entry_text", "stamp_audit_entry"),
    *("check_current_forecasts", "check_new_run", "check_new_vintages", "check_prompt_commit", "vintage_counts"),
    *(
        "refuse",
        "acting_role",
        "correct_value",
        "keep_consumption_revision",
        "keep_weather_revision",
        "touch_created_at",
        "touch_updated_at",
    ),
)
_EVENT_TRIGGERS = ("energy_forecast_audit_ddl", "energy_forecast_audit_drop")
_RECORDER_POLICY = "policy public.audit_log recorder"
_RECORDER = "energy_forecast_recorder"
_LOADER = "energy_forecast_loader"


@dataclass(frozen=True)
class Head:
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


def chain_head(connection: Connection) -> Head | None:
    """The end of the chain; None when not even its beginning is there."""
    row = connection.execute(queries("audit")["head"]).fetchone()
    return None if row is None or row[0] is None else Head(bytes(row[0]), row[1], bytes(row[2]))


def place(connection: Connection) -> tuple[str, str]:
    """The server's own number and the database's name."""
    row = connection.execute(queries("audit")["place"]).fetchone()
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


def unchained(connection: Connection) -> tuple[int, list[str]]:
    """How many entries no link holds, and the first of them in words."""
    rows = connection.execute(queries("audit")["unchained"]).fetchall()
    return (rows[0][0] if rows else 0), [
        f"{action} on {table} of {at:%Y-%m-%d %H:%MZ}" for *_, table, action, at in rows
    ]


def standing_guards(connection: Connection) -> list[str]:
    """The triggers, rules and policies of the platform's tables, but for partitions; a line each, in one order."""
    connection.execute(queries("audit")["plain_names"])
    return sorted(
        f"{kind} {table} {name}\t{'firm' if firm else 'weak'}\t{' '.join(definition.split())}"
        for kind, table, name, firm, definition in connection.execute(queries("audit")["guards"]).fetchall()
    )


def expected_guards() -> list[str]:
    """The same lines of a database that this program has made. `make docs` writes them from one."""
    return (folder() / "guards.txt").read_text("utf-8").splitlines()


def missing_guards(connection: Connection) -> list[str]:
    """What is not as this program made it, each in a sentence: triggers, rules and policies that are missing, altered,
    disabled or of somebody else, and functions with another body, setting or owner."""
    standing, expected = (
        {head: rest for head, *rest in (line.split("\t", 2) for line in lines)}
        for lines in (standing_guards(connection), expected_guards())
    )
    faults = []
    for head in expected.keys() | standing.keys():
        kind, table, name = head.split(" ", 2)
        if head == _RECORDER_POLICY and head not in standing:
            continue  # No superuser has upgraded here; where event triggers stand, they refuse everything without it
        if head not in standing:
            faults.append(f"The {kind} {name} on {table} is missing")
        elif head not in expected:
            faults.append(f"The {kind} {name} on {table} is not of this program")
        elif standing[head][1] != expected[head][1]:
            faults.append(f"The {kind} {name} on {table} is not that of this program: {standing[head][1]}")
        elif standing[head] != expected[head]:
            faults.append(f"The {kind} {name} on {table} is disabled, or not enabled always")
    faults.sort()
    faults += [fault for (fault,) in connection.execute(queries("audit")["partition_guards"]).fetchall()]
    texts = {name: (folder() / "routines" / "functions" / f"{name}.sql").read_text("utf-8") for name in _FUNCTIONS}
    wanted = {name: (text, str(Role.OWNER)) for name, text in texts.items()}
    # Where no superuser has upgraded it belongs to the owner, and switches nothing off
    [by_owner] = connection.execute(queries("audit")["bulk_insert_by_owner"]).fetchone() or [False]
    wanted["insert_staged"] = superuser_sql(), str(Role.OWNER) if by_owner else _LOADER
    return faults + _other_functions(connection, wanted)


def _other_functions(connection: Connection, wanted: dict[str, tuple[str, str]]) -> list[str]:
    """Those that are not as their files say: by name the file's text and the owner."""
    rows = connection.execute(queries("audit")["functions"], {"names": list(wanted)}).fetchall()
    found = {name: rest for name, *rest in rows}
    faults = [f"There are two functions {n}" for n in found if sum(row[0] == n for row in rows) > 1]
    for name, (text, owner) in wanted.items():
        made = re.search(rf"FUNCTION (?:public\.|ops\.)?{name}\((.*?)AS (\$\w*\$)(.*?)\2", text, re.DOTALL)
        assert made is not None
        settings = re.findall(r"\bSET (\w+) (?:=|TO) ('[^']*'|[^\n]+?)(?= SET |\n)", made[1])
        settled = "; ".join(f"{key}={value.strip(chr(39))}".lower() for key, value in settings) or None
        if found.get(name) != [made[3], "SECURITY DEFINER" in made[1], settled, owner]:
            faults.append(f"The function {name} is not that of this program")
    return faults


def missing_event_triggers(connection: Connection) -> tuple[bool, list[str]]:
    """Whether changes of the schema are audited here, or ever were, and what is wrong with that in sentences."""
    connection.execute(queries("audit")["plain_names"])
    found = {name: rest for name, *rest in connection.execute(queries("audit")["event_triggers"]).fetchall()}
    faults = [
        f"The event trigger {name} is missing, disabled or altered"
        for name in _EVENT_TRIGGERS
        if found.get(name) != [True, "public.audit_ddl_func"]
    ]
    faults += _other_functions(connection, {"audit_ddl_func": (superuser_sql(), _RECORDER)})
    there = bool(found) or connection.execute(queries("audit")["ddl_was_audited"]).fetchone() == (True,)
    return there, faults


def nothing_to_mend(connection: Connection) -> bool:
    """Whether every guard is in its place, the event triggers too where the login could make them."""
    can_make_events = connection.execute(queries("audit")["is_superuser"]).fetchone() == (True,)
    return not missing_guards(connection) and not (can_make_events and missing_event_triggers(connection)[1])
