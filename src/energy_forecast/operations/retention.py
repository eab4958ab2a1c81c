"""Retention: the policies, and the removal of expired data, month by month."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from energy_forecast.database import maintenance as stored
from energy_forecast.database.connection import Database, Role
from energy_forecast.errors import EnergyForecastError
from energy_forecast.event_log import log_run
from energy_forecast.progress import Progress, silent

# Each attempt in the database lasts about five seconds if the table is in use
_ATTEMPTS = 3
_PAUSE = 2.0
_UNITS = {"d": "days", "mo": "months", "y": "years"}


@dataclass(frozen=True)
class Removal:
    """An expired month of a table and its outcome.

    outcome: due (a dry run), dropped, deleted, kept (scores refer to its vintages), gone (removed by another process),
        or busy.

    Rows and bytes are None if they were not counted.
    """

    table_name: str
    partition_name: str | None
    range_start: datetime
    range_end: datetime
    outcome: str
    row_count: int | None
    byte_count: int | None
    revision_count: int | None
    detail: str | None


def due_removals(database: Database) -> list[Removal]:
    """Return the removals that `remove_expired` would make, with rows and bytes. Nothing is changed."""
    with database.transaction(Role.OPERATOR) as connection:
        stored.read_only(connection)
        return [
            _removal(
                due,
                outcome="kept" if due["score_count"] else "due",
                row_count=due["row_count"],
                byte_count=due["byte_count"],
                revision_count=due["revision_count"],
                detail=f"{due['score_count']} stored scores refer to it" if due["score_count"] else None,
            )
            for due in stored.retention_due(connection, counted=True)
        ]


@log_run("retention", lambda removals: {"months": len(removals), **Counter(one.outcome for one in removals)})
def remove_expired(database: Database, run: UUID, progress: Progress = silent) -> list[Removal]:
    """Remove expired data. Each month is one transaction with its own rows in the ledger.

    A table that is in use is tried three times, and then left for the next run. The other tables continue.
    """
    with database.transaction(Role.OPERATOR) as connection:
        due = stored.retention_due(connection, counted=False)
    removals: list[Removal] = []
    busy: set[str] = set()
    for number, month in enumerate(due):
        progress(f"Removing old {month['table_name']}", number, len(due))
        if month["table_name"] in busy:
            removals.append(_removal(month, outcome="busy", detail="skipped, because an earlier month was in use"))
            continue
        removals.append(_removal(month, **_taken(database, month, run)))
        if removals[-1].outcome == "busy":
            busy.add(month["table_name"])
    progress("Retention", len(due), len(due))
    return removals


def _taken(database: Database, month: dict[str, Any], run: UUID) -> dict[str, Any]:
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE)
        with database.transaction(Role.OPERATOR) as connection:
            result = stored.apply_retention(connection, month, run)
        if result["outcome"] != "busy":
            return result
    return result | {"detail": f"in use by backends {result['detail']}" if result["detail"] else "in use"}


def _removal(month: dict[str, Any], **values: Any) -> Removal:
    nothing = {"row_count": None, "byte_count": None, "revision_count": None, "detail": None}
    where = {key: month[key] for key in ("table_name", "partition_name", "range_start", "range_end")}
    return Removal(**where, **(nothing | values))


def policies(database: Database) -> list[dict[str, Any]]:
    """Return the policy of each table (`keep` is None for forever), and the removals so far."""
    with database.transaction(Role.OPERATOR) as connection:
        return stored.policies(connection)


def keep(database: Database, table: str, span: str) -> dict[str, Any]:
    """Set the retention of a table, and return the changed policy.

    Args:
        span: such as 730d, 18mo, 2y, or forever.

    Raises:
        EnergyForecastError: the table has no policy, or the span is invalid or below 90 days.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})\s*(d|mo|y)", span)
    if found is None and span != "forever":
        raise EnergyForecastError(f"{span!r} is not a time span.", hint="Use for example 730d, 18mo, 2y, or forever.")
    if found is not None and not 90 <= int(found[1]) * {"d": 1, "mo": 30, "y": 365}[found[2]] <= 36500:
        raise EnergyForecastError(
            f"{span} is not between 90 days and 100 years.",
            hint="Training, baselines and the hourly view need months of history. Use forever to keep everything.",
        )
    with database.transaction(Role.OPERATOR) as connection:
        changed = stored.set_policy(connection, table, None if found is None else f"{found[1]} {_UNITS[found[2]]}")
    if changed is None:
        raise EnergyForecastError(f"{table!r} has no retention policy.", hint="See: energy-forecast retention list")
    return changed


def ledger(database: Database, *, limit: int) -> list[dict[str, Any]]:
    """Return the removals, newest first."""
    with database.transaction(Role.OPERATOR) as connection:
        return stored.ledger(connection, limit=limit)
