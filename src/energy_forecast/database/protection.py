"""Compare the catalog objects that protection depends on with those that this program creates.

`expected_catalog.tsv` is a snapshot of a new database, one line per object, written by `make docs`. It is the same on
PostgreSQL 15 to 18. Each query of `queries/protection.sql` returns the same lines for one kind of object. Partitions,
users and logins differ between databases; the query `anomaly` checks them by rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries

State = dict[str, Any]
Snapshot = dict[tuple[str, str], State]

# Label of each kind in the sentences of a fault
_KINDS = {
    "schema": "Schema",
    "relation": "Relation",
    "column": "Column",
    "constraint": "Constraint",
    "index": "Index",
    "trigger": "Trigger",
    "rule": "Rule",
    "policy": "Policy",
    "function": "Function",
    "object": "Object",
    "extension": "Extension",
    "event_trigger": "Event trigger",
    "privilege": "Privilege",
    "closed_function": "Function",
    "role": "Role",
    "membership": "Membership",
}
_PLATFORM_ROLES = ("owner", "app", "ingest", "forecaster", "operator", "auditor", "api", "recorder", "loader")
# Settings that disable protection or redirect names
_PARAMETERS = (
    "session_replication_role",
    "row_security",
    "event_triggers",
    "search_path",
    "role",
    "session_authorization",
    "session_preload_libraries",
    "local_preload_libraries",
    "dynamic_library_path",
    "allow_system_table_mods",
    "lo_compat_privileges",
)
_PARAMETERS_OF_QUERIES = {
    "roles": [f"energy_forecast_{name}" for name in _PLATFORM_ROLES],
    "parameters": list(_PARAMETERS),
}
# Created only by superusers; missing in a database that no superuser has upgraded
_OF_SUPERUSERS = ("energy_forecast_recorder", "energy_forecast_loader", "audit_ddl_func", "pg_read_all_data")
_REPAIR = "Run: energy-forecast db upgrade"
_UNCHANGEABLE = "Compare it with docs/reference/tables.md and change it back."


@dataclass(frozen=True)
class Fault:
    """A difference between a database and the expected catalog.

    Args:
        kind: the object's kind, as in expected_catalog.tsv.
        name: the object's name.
        message: a sentence without full stop: the object and the difference.
        remedy: a sentence with the remedy.
        repairable: whether an upgrade by a superuser repairs it.
        verdict: missing, unknown or different.
        expected: the expected state; empty if the object is not expected.
    """

    kind: str
    name: str
    message: str
    remedy: str
    repairable: bool
    verdict: str
    expected: str


def snapshot_lines(connection: Connection) -> list[str]:
    """Return the state of a database as the lines of expected_catalog.tsv."""
    with _plain_names(connection):
        found = _snapshot(connection)
    return sorted(
        f"{kind}\t{name}\t{json.dumps(state, sort_keys=True, ensure_ascii=False)}"
        for (kind, name), state in found.items()
    )


def expected_lines() -> list[str]:
    """Return the lines of expected_catalog.tsv."""
    return (resources.files("energy_forecast.database") / "expected_catalog.tsv").read_text("utf-8").splitlines()


def ddl_is_audited(connection: Connection) -> bool:
    """Return whether schema changes are audited in this database, or were in the past."""
    return connection.execute(queries("protection")["ddl_was_audited"], {}).fetchone() == (True,)


def faults(connection: Connection) -> list[Fault]:
    """Return every difference between the database and the expected catalog, in a fixed order."""
    with _plain_names(connection):
        found = _snapshot(connection)
        anomalies = connection.execute(queries("protection")["anomaly"], _PARAMETERS_OF_QUERIES).fetchall()
    expected = {}
    for line in expected_lines():
        kind, name, state = line.split("\t", 2)
        expected[kind, name] = json.loads(state)
    by_superuser = ddl_is_audited(connection)
    faults = []
    for key in sorted(found.keys() | expected.keys()):
        fault = _fault(*key, found.get(key), expected.get(key))
        if fault is not None and (by_superuser or not _only_by_superusers(fault, found.get(key))):
            faults.append(fault)
    faults += [
        Fault("anomaly", name, f"{name} {fault}", remedy.rstrip(".") + ".", repairable, "different", "{}")
        for name, fault, remedy, repairable in anomalies
    ]
    return faults


def repair(connection: Connection, known: Sequence[Fault]) -> None:
    """Repair the faults that the routines do not repair: owners, privileges, roles, settings, policies.

    Statements that the login may not run are skipped, and their faults remain.
    """
    facts = _PARAMETERS_OF_QUERIES | {
        "kinds": [fault.kind for fault in known],
        "names": [fault.name for fault in known],
        "verdicts": [fault.verdict for fault in known],
        "states": [fault.expected for fault in known],
    }
    with _plain_names(connection):
        statements = [row[0] for row in connection.execute(queries("protection")["repairs"], facts).fetchall()]
        for statement in statements:
            try:
                with connection.transaction():
                    # While audit entries wait to be chained, their table cannot be altered
                    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                continue


def record_repairs(connection: Connection, repaired: Sequence[Fault]) -> None:
    """Write the repaired faults into ops.repairs, and so into the audit log."""
    connection.execute(queries("protection")["record_repairs"], {"faults": [fault.message for fault in repaired]})


@contextmanager
def _plain_names(connection: Connection) -> Iterator[None]:
    """Make the server print qualified names: with only the catalog in the search path, no name can be hidden."""
    statements = queries("protection")
    [before] = connection.execute(statements["search_path"]).fetchone() or ["pg_catalog"]
    connection.execute(statements["set_search_path"], {"path": "pg_catalog"})
    yield
    connection.execute(statements["set_search_path"], {"path": before})


def _snapshot(connection: Connection) -> Snapshot:
    return {
        (kind, name): state
        for kind in _KINDS
        for name, state in connection.execute(queries("protection")[kind], _PARAMETERS_OF_QUERIES).fetchall()
    }


def _fault(kind: str, name: str, found: State | None, expected: State | None) -> Fault | None:
    if found == expected:
        return None
    label = _KINDS[kind]
    state = json.dumps(expected or {})
    if kind == "closed_function" and expected is None:
        return None  # Revoking more of the server's functions is harmless
    if kind == "relation":
        label = str((found or expected or {}).get("kind", label)).capitalize()
    if expected is None:
        message, repairable = _unknown(kind, label, name, found or {})
        return Fault(kind, name, message, _removal(kind, name, found or {}, repairable), repairable, "unknown", state)
    if found is None:
        repairable = kind in _BY_ROUTINES or (kind == "relation" and expected["kind"] == "view")
        return Fault(
            kind,
            name,
            _missing(kind, label, name, expected),
            f"{_REPAIR}." if repairable else _making(kind, name, expected),
            repairable,
            "missing",
            state,
        )
    differing = sorted(aspect for aspect in found.keys() | expected.keys() if found.get(aspect) != expected.get(aspect))
    repairable = kind in _BY_ROUTINES or (
        kind in {"relation", "schema"}
        and (set(differing) <= {"owner", "row-level security"} or expected.get("kind") == "view")
    )
    changes = "; ".join(f"{a} is {_shown(found.get(a))} instead of {_shown(expected.get(a))}" for a in differing)
    return Fault(
        kind,
        name,
        f"{_privilege(name)} is not the expected one: {changes}"
        if kind == "privilege"
        else f"{label} {name} was altered: {changes}",
        f"{_REPAIR}." if repairable else _making(kind, name, expected),
        repairable,
        "different",
        state,
    )


# Kinds that an upgrade repairs: by applying the routines again, or by a statement of the query `repairs`
_BY_ROUTINES = {
    "trigger",
    "policy",
    "function",
    "event_trigger",
    "privilege",
    "closed_function",
    "role",
    "membership",
}


def _unknown(kind: str, label: str, name: str, state: State) -> tuple[str, bool]:
    match kind:
        case "privilege":
            return f"{_privilege(name)} was granted by hand: {state['privileges']}", True
        case "membership":
            member, _, group = name.partition(" in ")
            return f"Role {member} was made a member of {group}", True
        case "policy":
            return f"Policy {name} does not belong to this program: {_described(state)}", True
        case "object":
            return f"{name[:1].upper()}{name[1:]} does not belong to this program", False
        case "trigger" | "rule":
            return f"{label} {name} does not belong to this program: {state['definition']}", False
        case _:
            return f"{label} {name} does not belong to this program", False


def _removal(kind: str, name: str, state: State, repairable: bool) -> str:
    if repairable:
        return f"{_REPAIR}."
    thing, _, table = name.partition(" on ")
    statement = {
        "trigger": f"DROP TRIGGER {thing} ON {table}",
        "rule": f"DROP RULE {thing} ON {table}",
        "constraint": f"ALTER TABLE {table} DROP CONSTRAINT {thing}",
        "index": f"DROP INDEX {name}",
        "function": f"DROP ROUTINE {name}",
        "event_trigger": f"DROP EVENT TRIGGER {name}",
        "extension": f"DROP EXTENSION {name}",
        "relation": f"DROP {state.get('kind', '')} {name}".upper().replace(name.upper(), name),
    }.get(kind)
    if kind == "object" and not name.startswith(("default privileges", "large object")):
        statement = f"DROP {name}"
    if statement is None:
        return "Find out who made it, and remove it."
    return f"If it is not yours, run: {statement}."


def _missing(kind: str, label: str, name: str, expected: State) -> str:
    match kind:
        case "closed_function":
            return f"Everybody may call the server's function {name}, which is only for {expected['only for']}"
        case "privilege":
            return f"{_privilege(name)} is missing: {expected['privileges']}"
        case "membership":
            member, _, group = name.partition(" in ")
            return f"Role {member} is not a member of {group}"
        case _:
            return f"{label} {name} is missing"


def _making(kind: str, name: str, expected: State) -> str:
    thing, _, table = name.partition(" on ")
    match kind:
        case "constraint":
            return f"Run: ALTER TABLE {table} ADD CONSTRAINT {thing} {expected['definition']}."
        case "index":
            return f"Run: {expected['definition']}."
        case "extension":
            return f"Let a superuser run: CREATE EXTENSION {name} SCHEMA {expected['schema']}."
        case _:
            return _UNCHANGEABLE


def _privilege(name: str) -> str:
    thing, _, grantee = name.rpartition(" to ")
    return f"The privilege of {grantee} on {thing}"


def _described(state: State) -> str:
    return ", ".join(f"{aspect} {_shown(value)}" for aspect, value in sorted(state.items()))


def _shown(value: object) -> str:
    match value:
        case None | False:
            return "no"
        case True:
            return "yes"
        case _:
            return str(value)


def _only_by_superusers(fault: Fault, found: State | None) -> bool:
    """Return whether the only cause of a fault is that no superuser has upgraded the database."""
    if fault.verdict == "unknown":
        return False
    if fault.kind in {"event_trigger", "closed_function"}:
        return True
    if fault.kind == "role" and found is not None:
        return set(json.loads(fault.expected).items()) - set(found.items()) == {("bypassrls", True)}
    return any(mark in text for mark in _OF_SUPERUSERS for text in (fault.name, fault.expected))


def sentences(known: Sequence[Fault]) -> Iterator[str]:
    """Yield the faults as sentences with their remedies."""
    for fault in known:
        yield f"{fault.message}. {fault.remedy}"
