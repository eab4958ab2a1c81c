"""Check loaded data: find gaps, faults and level changes in the ranges that batches changed, and store them as flags.

A batch queues its ranges in ops.pending_checks. After a load, its cities are checked as long as a tenth of the load's
time lasts; the others wait for `check_pending`, the step `checks` of maintenance.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from energy_forecast.database import quality as stored
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.history import hourly_load, hourly_weather
from energy_forecast.database.quality import CityRange, Flag, FlagSpan, KnownValues, PendingCheck, WaitingCity
from energy_forecast.errors import ConnectionLostError, DatabaseError
from energy_forecast.forecasting.data.quality_report import STEP_DELAY, Finding, find_in_load, find_in_weather
from energy_forecast.ingest import Report, load_files, load_table
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.quality import FindingSummary, summed
from energy_forecast.progress import Progress, silent

CHECKED_SERIES = ("consumption", "weather")
# After a load, checks take a tenth of its time, or this many seconds, which are enough for a small file
SHARE_OF_LOAD = 0.1
LEAST_SECONDS = 0.2

# Data before the checked range: 28 days of reference, and 28 more to detect a level change
_BEFORE = timedelta(days=60)
# Corrected hours are the reference of this much later data, whose flags are also replaced
_AFTER = timedelta(days=30)
_HOUR = timedelta(hours=1)
# Later data also affects an hour: the first four weeks are compared with each other, another unit takes three days
_REFERENCE = timedelta(days=28)
# Ranges closer than this replace flags of the same hours, so they are checked as one
_APART = _REFERENCE + _AFTER
# The load of this time before the last value determines the start of a city's hours, see load_phase_as_of()
_PHASE_SPAN = 672 * 3_600_000_000
_MINUTE = 60_000_000
# City-hours in memory at a time, at most; 300 MB of five-minute values
_MOST_HOURS = 200_000
# Cities of the first transaction, which measures the pace; and its assumed pace, seconds for an hour of a city
_FIRST_CITIES = 8
_PACE = 1.5e-6


@dataclass(frozen=True)
class CheckReport:
    """Result of checks. Each city with a pending check is in one of the counts or in `failed`.

    checked: number of cities.
    pending: number of cities whose check waits.
    warned: findings in the checked ranges.
    failed: the reason for each city that could not be checked. Its check remains in the queue.
    """

    checked: int = 0
    pending: int = 0
    warned: list[FindingSummary] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def pending_note(self) -> str:
        """Return the numbers of checked and waiting cities in a sentence, and how to check the waiting ones."""
        return (
            f"Cities checked for faults: {self.checked:,}; waiting: {self.pending:,}. To check them: energy-forecast "
            "maintain checks"
        )


@dataclass(frozen=True)
class _Work:
    """The checks of a city whose ranges are judged as one: `first` and `last` are the bounds of all of them."""

    city: WaitingCity
    checks: list[PendingCheck]
    first: datetime
    last: datetime

    @property
    def begin(self) -> datetime:
        """Return the start of the values that are needed."""
        return self.first - _BEFORE

    @property
    def end(self) -> datetime:
        """Return the end of the values that are needed."""
        return self.last + 2 * _AFTER

    @property
    def levels_from(self) -> datetime:
        """Return the time since which level changes count: they need two weeks of data."""
        return self.first - STEP_DELAY

    @property
    def flags(self) -> FlagSpan:
        """Return the span whose flags are replaced."""
        return FlagSpan(self.city.id, self.first - _REFERENCE, self.last + _AFTER, self.levels_from)

    @property
    def reported(self) -> FlagSpan:
        """Return the span whose findings are reported. An hour earlier, because it may have begun at any minute."""
        return FlagSpan(self.city.id, self.first - 2 * _HOUR, self.last + _HOUR, self.levels_from)


@dataclass
class _Outcome:
    """The result for some cities. unfinished: cities with another pending range."""

    checked: list[WaitingCity] = field(default_factory=list)
    unfinished: list[WaitingCity] = field(default_factory=list)
    warned: list[FindingSummary] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def load_and_check(
    database: Database,
    dataset: str,
    source: Sequence[Path] | pl.DataFrame,
    *,
    check: bool | None = None,
    progress: Progress = silent,
    name: str = "frame",
    **options: Any,
) -> tuple[Report, CheckReport]:
    """Load files or a frame as one batch, and check what it changed.

    Args:
        check: True checks all its cities, False none. None checks as many as a tenth of the load's time allows.
        name: the name of a frame in messages and in the ledger.
        options: timezone, interval_minutes, label, units and author, as in `load_files`.

    Raises:
        IngestError: nothing could be loaded.
        DatabaseError: the database is unreachable or refused the batch; nothing was loaded.
    """

    def step(what: str, done: int, total: int | None, rows: int) -> None:
        progress(what, done, total or done, rows)

    began = time.monotonic()
    if isinstance(source, pl.DataFrame):
        report = load_table(database, dataset, source, name=name, progress=step, **options)
    else:
        report = load_files(database, dataset, source, progress=step, **options)
    seconds = max(LEAST_SECONDS, SHARE_OF_LOAD * (time.monotonic() - began))
    limit = {True: None, False: 0.0, None: seconds}[check]
    return report, check_load(database, report, seconds=limit, progress=progress)


def check_load(
    database: Database, report: Report, *, seconds: float | None = None, progress: Progress = silent
) -> CheckReport:
    """Check the cities of a batch, as `check_pending`.

    If the database is unreachable, every city has failed: the batch is stored, so nothing is raised.
    """
    if report.kind not in CHECKED_SERIES or not report.touched:
        return CheckReport()
    names = [name for name, _, _ in report.touched]
    try:
        return check_pending(database, report.kind, names=names, seconds=seconds, progress=progress)
    except DatabaseError as error:
        return CheckReport(failed=dict.fromkeys(names, str(error)))


def waiting_checks(database: Database) -> tuple[int, datetime | None]:
    """Return the number of cities with pending checks, and the time since which the first one waits."""
    with database.transaction(Role.OPERATOR, read_only=True) as connection:
        return stored.count_waiting(connection)


def check_pending(
    database: Database,
    series: str,
    *,
    names: Sequence[str] | None = None,
    seconds: float | None = None,
    progress: Progress = silent,
) -> CheckReport:
    """Check the cities with pending checks of a series, the longest waiting first, and store the flags.

    No value changes. A failure in one city does not affect the others.

    Args:
        names: only these cities.
        seconds: stop before this time is exceeded, by the pace so far; None checks all.

    Raises:
        DatabaseError: the database is unreachable.
    """
    began = time.monotonic()
    with database.transaction(Role.INGEST) as connection:
        waiting = stored.waiting_cities(connection, series, names)
    left, done = deque(waiting), _Outcome()
    pace, most = _PACE, len(waiting) if seconds is None else _FIRST_CITIES
    while left:
        remaining = None if seconds is None else seconds - (time.monotonic() - began)
        chosen = _next(left, most, _MOST_HOURS if remaining is None else min(_MOST_HOURS, remaining / pace))
        if not chosen:
            if remaining is not None:
                break
            chosen = [left.popleft()]
        progress("Checking for faults", len(done.checked) + len(done.failed), len(waiting))
        started = time.monotonic()
        try:
            found = _check_cities(database, series, chosen)
        except ConnectionLostError as error:
            done.failed |= {city.name: str(error) for city in [*chosen, *left]}
            break
        pace, most = (time.monotonic() - started) / sum(map(_hours, chosen)), len(waiting)
        done.checked += found.checked
        done.warned += found.warned
        done.failed |= found.failed
        left.extend(found.unfinished)
    progress("Checking for faults", len(waiting), len(waiting))
    pending = len(waiting) - len(done.checked) - len(done.failed)
    return CheckReport(len(done.checked), pending, done.warned, done.failed)


def _hours(city: WaitingCity) -> float:
    """Return the hours of the values that a check reads, at most."""
    return city.hours + (_BEFORE + 2 * _AFTER) / _HOUR


def _next(left: deque[WaitingCity], most: int, hours: float) -> list[WaitingCity]:
    """Remove and return the first cities, at most so many cities and hours."""
    chosen: list[WaitingCity] = []
    while left and len(chosen) < most and (hours := hours - _hours(left[0])) >= 0:
        chosen.append(left.popleft())
    return chosen


def _check_cities(database: Database, series: str, cities: Sequence[WaitingCity]) -> _Outcome:
    """Check a range of each city in one transaction; if that fails, each city in a transaction of its own."""
    names = ", ".join(city.name for city in cities)
    found = attempt(f"Check {names}", partial(_check_together, database, series, cities))
    if not isinstance(found, Failed):
        return found
    if len(cities) == 1:
        return _Outcome(failed={cities[0].name: found.reason})
    total = _Outcome()
    for city in cities:
        one = _check_cities(database, series, [city])
        total.checked += one.checked
        total.unfinished += one.unfinished
        total.warned += one.warned
        total.failed |= one.failed
    return total


def _check_together(database: Database, series: str, cities: Sequence[WaitingCity]) -> _Outcome:
    outcome = _Outcome()
    with database.transaction(Role.INGEST) as connection:
        checks = stored.take_checks(connection, series, [city.id for city in cities])
        by_id = {city.id: city for city in cities}
        work = []
        for city, own in groupby(checks, lambda one: one.city):
            first, *more = _merged(by_id[city], list(own))
            work.append(first)
            (outcome.unfinished if more else outcome.checked).append(by_id[city])
        if not work:
            return outcome
        now = database_now(connection)
        known = _known(connection, series, work, now)
        phases = _phases(connection, series, work, known, now)
        flags, finished = [], []
        for one, values, phase in zip(work, known, phases, strict=True):
            found = attempt(f"Check {one.city.name}", partial(_find, series, values, phase))
            if isinstance(found, Failed):
                outcome.failed[one.city.name] = found.reason
                continue
            finished.append(one)
            flags += [_flag(one, fault) for fault in found if _holds(one.flags, fault)]
            outcome.warned += summed(one.city.name, [fault for fault in found if _holds(one.reported, fault)])
        stored.replace_flags(connection, series, [one.flags for one in finished], flags)
        stored.finish_checks(connection, series, [check for one in finished for check in one.checks])
    outcome.checked = [city for city in outcome.checked if city.name not in outcome.failed]
    outcome.unfinished = [city for city in outcome.unfinished if city.name not in outcome.failed]
    return outcome


def _merged(city: WaitingCity, checks: Sequence[PendingCheck]) -> list[_Work]:
    """Return the checks of a city, ordered by time, as ranges that replace flags of different hours."""
    merged: list[_Work] = []
    for check in checks:
        if merged and check.first - merged[-1].last <= _APART:
            last = merged.pop()
            merged.append(_Work(city, [*last.checks, check], last.first, max(last.last, check.last)))
        else:
            merged.append(_Work(city, [check], check.first, check.last))
    return merged


def _known(connection: Connection, series: str, work: Sequence[_Work], now: datetime) -> list[KnownValues]:
    """Return the values that each check needs."""
    ranges: list[CityRange] = [(one.city.id, one.begin, one.end) for one in work]
    known = stored.known_values(connection, series, ranges, as_of=now)
    # Without values before the range, the gap is longer than the reference: start before the gap
    alone = [
        place
        for place, (one, values) in enumerate(zip(work, known, strict=True))
        if not len(values.times) or values.times[0] >= _microseconds(one.first)
    ]
    if alone:
        before_times = stored.last_before(
            connection, series, [(work[place].city.id, work[place].first) for place in alone]
        )
        longer = {
            place: (work[place].city.id, before - _BEFORE, work[place].end)
            for place, before in zip(alone, before_times, strict=True)
            if before is not None and before < work[place].begin
        }
        if longer:
            again = stored.known_values(connection, series, list(longer.values()), as_of=now)
            for place, values in zip(longer, again, strict=True):
                known[place] = values
    return known


def _phases(
    connection: Connection, series: str, work: Sequence[_Work], known: Sequence[KnownValues], now: datetime
) -> list[int]:
    """Return the minute past the UTC hour at which the hours of each city begin."""
    phases = [
        _phase_of(values) if series == "consumption" and one.end >= now and _spans_phase(one, values) else None
        for one, values in zip(work, known, strict=True)
    ]
    unknown = [place for place, phase in enumerate(phases) if phase is None]
    if unknown:
        found = stored.phases_as_of(connection, [work[place].city.id for place in unknown], now)
        for place, phase in zip(unknown, found, strict=True):
            phases[place] = phase
    return [phase for phase in phases if phase is not None]


def _spans_phase(work: _Work, known: KnownValues) -> bool:
    """Return whether values until now are all those that determine the start of a city's hours."""
    return len(known.times) > 0 and known.times[-1] - _PHASE_SPAN >= _microseconds(work.begin)


def _phase_of(known: KnownValues) -> int:
    """Return the phase as load_phase_as_of(): the most common one of 28 days, of equally common ones the smallest."""
    late = known.times >= known.times[-1] - _PHASE_SPAN
    minute = known.times[late] // _MINUTE % 60
    return int(np.argmax(np.bincount(np.where(known.minutes[late] == 60, minute, 0))))


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _find(series: str, known: KnownValues, phase: int) -> list[Finding]:
    if (np.diff(known.times) <= 0).any():
        raise ValueError("the values are out of order")
    if series == "consumption":
        return find_in_load(*hourly_load(known.times, known.values, known.minutes, phase))
    return find_in_weather(hourly_weather(known.times, {"temperature": known.values}, phase))


def _holds(span: FlagSpan, found: Finding) -> bool:
    return found.first <= span.last and found.last >= (span.levels_from if found.kind == "level" else span.first)


def _flag(work: _Work, found: Finding) -> Flag:
    # The batch after which the fault was found: the last one of the range
    batch: UUID = work.checks[-1].batch
    return Flag(work.city.id, found.kind, found.first, found.last, found.hours, found.factor, found.left_out, batch)
