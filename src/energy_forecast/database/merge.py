"""Merge the staged rows of a batch into their table, and record the batch in the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection
from energy_forecast.database.judging import Intervals, Judged
from energy_forecast.database.named_queries import one_row, queries
from energy_forecast.database.staging import LoadTarget


@dataclass(frozen=True)
class RevisedIntervals:
    """Stored values of a city whose provisional interval was corrected.

    Args:
        city_no: the number of the city.
        minutes: the new length of their intervals.
        row_count: number of values.
        first: the first timestamp, UTC.
        last: the last timestamp, UTC.
    """

    city_no: int
    minutes: int
    row_count: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Merged:
    """The result of a merge. Counts of rows.

    Args:
        inserted: keys that were not stored.
        corrected: keys whose stored value was replaced.
        corrected_now: corrected keys without available_at, which are available from now.
        older: rows older than the stored row or than another row of the batch; stored as history.
        repeats: rows with a value that was superseded before.
        rejected: column, reason without its values, and number of the rows that the database rejected; and one reason
            with its values.
        examples: the first rejected rows: file, line, column, reason.
        revised: stored values, not of this batch, whose provisional interval was corrected.
    """

    inserted: int
    corrected: int
    corrected_now: int
    older: int
    repeats: int
    rejected: tuple[tuple[str | None, str, int, str], ...]
    examples: tuple[tuple[str, int, str | None, str], ...]
    revised: tuple[RevisedIntervals, ...] = ()


def merge(connection: Connection, target: LoadTarget, judged: Judged, intervals: Intervals) -> Merged:
    """Insert and correct rows, and store older versions as history."""
    named = queries("merge")
    staged = judged.staged
    verdicts: dict[str, tuple[int, int]] = {}
    inserted = corrected = 0
    if staged.first is not None:
        connection.execute(named["ensure_months"], {"table": target.table, "months": list(staged.months)})
        # Bounds of the rows let the planner skip the other months
        bounds = {"first": staged.first, "last": staged.last}
        if not target.corrects:
            for rejecting in ("reject_changed_forecasts", "reject_thinned_forecasts"):
                connection.execute(named[rejecting], {"values": list(target.values), **bounds})
            inserted = connection.execute(named["weather_forecasts_insert"]).rowcount
        else:
            is_known = judged.older > 0 or one_row(connection, named["any_stored"], bounds) == (True,)
            if is_known:
                verdicts, corrected = _correct(connection, target, judged, intervals, bounds)
            (inserted,) = one_row(connection, named["insert_staged"], {"kind": target.kind, "only_new": is_known})
    revised = _revise_intervals(connection, target, intervals) if target.corrects else ()
    return Merged(
        inserted=inserted,
        corrected=corrected,
        corrected_now=verdicts.get("correction", (0, 0))[1],
        older=verdicts.get("older", (0, 0))[0],
        repeats=verdicts.get("repeat", (0, 0))[0],
        rejected=tuple(connection.execute(named["rejected_reasons"]).fetchall()),
        examples=tuple(connection.execute(named["rejected_examples"], {"limit": 10}).fetchall()),
        revised=revised,
    )


def _correct(
    connection: Connection, target: LoadTarget, judged: Judged, intervals: Intervals, bounds: Mapping[str, object]
) -> tuple[dict[str, tuple[int, int]], int]:
    """Judge the rows against the stored ones, store older versions and correct; return verdicts and corrected rows."""
    named = queries("merge")
    if judged.staged.is_fraction:
        connection.execute(named["set_joins"], {"joins": "off"})
    connection.execute(named["judge_differing"], {"interval_given": intervals.given is not None, **bounds})
    connection.execute(named["add_older_versions"])
    verdicts = {verdict: (rows, without) for verdict, rows, without in connection.execute(named["count_differing"])}
    connection.execute(named["remove_stored_versions"])
    connection.execute(named[f"{target.subject}_store_older"])
    corrected = connection.execute(named[f"{target.subject}_correct"]).rowcount
    if judged.staged.is_fraction:
        connection.execute(named["set_joins"], {"joins": "on"})
    return verdicts, corrected


def _revise_intervals(connection: Connection, target: LoadTarget, intervals: Intervals) -> tuple[RevisedIntervals, ...]:
    """Correct stored intervals that were provisional, and record which ones still are."""
    named, kind = queries("merge"), {"kind": target.kind}
    revised: tuple[RevisedIntervals, ...] = ()
    if intervals.given is None:
        revised = tuple(RevisedIntervals(*row) for row in connection.execute(named["provisional_values"], kind))
    for one in revised:
        connection.execute(
            named[f"{target.subject}_revise_intervals"],
            {"city_no": one.city_no, "first": one.first, "last": one.last},
        )
    connection.execute(named["remove_provisional"], kind)
    connection.execute(named["record_provisional"], kind)
    return revised


def record_batch(
    connection: Connection,
    kind: str,
    *,
    batch: UUID,
    files: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    reasons: Sequence[Mapping[str, Any]],
    most_kept: int,
    **counts: int,
) -> int:
    """Write the ledger entry and the quarantine, the last step of a batch.

    Args:
        batch: id of the batch.
        files: description of each file.
        notes: remarks on the batch.
        reasons: column, reason, count and cell_only of the rejected rows and empty cells.
        most_kept: maximum number of rows and cells in the quarantine.
        counts: read, inserted, corrected, unchanged, rejected, cells_left_empty.

    Returns:
        The number of rows and cells stored.
    """
    named = queries("merge")
    described = {
        "files": Jsonb([dict(file) for file in files]),
        "notes": Jsonb(list(notes)),
        "reasons": Jsonb([dict(reason) for reason in reasons]),
    }
    connection.execute(named["record_batch"], {"batch": batch, "kind": kind, **described, **counts})
    connection.execute(named["drop_views"])
    if not counts["rejected"] and not counts["cells_left_empty"]:
        return 0
    parameters = {"batch": batch, "kind": kind, "limit": most_kept}
    return connection.execute(named["record_rejected"], parameters).rowcount
