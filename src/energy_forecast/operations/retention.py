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

    outcome: due (a dry run), dropped, deleted, thinned, kept (scores refer to its vintages), gone (removed by another
        process), or busy.
    kept_lead_hours: rows with a shorter lead time stay; None if all rows are removed.

    Rows and bytes are None if they were not counted.
    """

    table_name: str
    partition_name: str | None
    range_start: datetime
    range_end: datetime
    kept_lead_hours: int | None
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
    where = {key: month[key] for key in ("table_name", "partition_name", "range_start", "range_end", "kept_lead_hours")}
    return Removal(**where, **(nothing | values))


def policies(database: Database) -> list[dict[str, Any]]:
    """Return the policy of each table (`keep` and `thin_after` are None for never), and the removals so far."""
    with database.transaction(Role.OPERATOR) as connection:
        return stored.policies(connection)


def keep(database: Database, table: str, span: str, *, scored: bool | None = None) -> dict[str, Any]:
    """Set the retention of a table, and return the changed policy.

    Args:
        span: such as 730d, 18mo, 2y, or forever.
        scored: only for prediction_vintages: whether months to which scores refer stay. None changes nothing.

    Raises:
        EnergyForecastError: the table has no policy, or the span is invalid or below 90 days.
    """
    interval = _interval(span, "forever")
    if scored is not None and table != "prediction_vintages":
        raise EnergyForecastError(f"Scores do not refer to {table}.", hint="Leave out `scored`.")
    with database.transaction(Role.OPERATOR) as connection:
        changed = stored.set_policy(connection, table, interval, scored)
    if changed is None:
        raise EnergyForecastError(f"{table!r} has no retention policy.", hint="See: energy-forecast retention list")
    return changed


def thin(database: Database, table: str, *, after: str, keep: int | None) -> dict[str, Any]:
    """Set the age from which a table keeps only short lead times, and return the changed policy.

    Args:
        after: such as 400d, 18mo, 1y, or never.
        keep: rows with a lead time below this number of hours stay; None only with never.

    Raises:
        EnergyForecastError: the table cannot be thinned, the span is invalid or below 90 days, or `keep` is missing.
    """
    interval = _interval(after, "never")
    if (interval is None) != (keep is None):
        raise EnergyForecastError(
            "`keep` is missing." if keep is None else f"`keep` is {keep}, but `after` is never.",
            hint="Set `after` to an age and `keep` to hours; or only `after` to never.",
        )
    with database.transaction(Role.OPERATOR) as connection:
        changed = stored.set_thinning(connection, table, interval, keep)
    if changed is None:
        raise EnergyForecastError(f"{table!r} cannot be thinned.", hint="Only weather_forecasts can be thinned.")
    return changed


def _interval(span: str, unlimited: str) -> str | None:
    """Return a span such as 18mo as a PostgreSQL interval; None for the word for unlimited."""
    found = re.fullmatch(r"([1-9]\d{0,4})\s*(d|mo|y)", span)
    if found is None and span != unlimited:
        raise EnergyForecastError(
            f"{span!r} is not a time span.", hint=f"Use for example 730d, 18mo, 2y, or {unlimited}."
        )
    if found is None:
        return None
    if not 90 <= int(found[1]) * {"d": 1, "mo": 30, "y": 365}[found[2]] <= 36500:
        raise EnergyForecastError(
            f"{span} is not between 90 days and 100 years.",
            hint=f"Training, baselines and the hourly view need months of history. Use {unlimited} to keep everything.",
        )
    return f"{found[1]} {_UNITS[found[2]]}"


def ledger(database: Database, *, limit: int) -> list[dict[str, Any]]:
    """Return the removals, newest first."""
    with database.transaction(Role.OPERATOR) as connection:
        return stored.ledger(connection, limit=limit)
