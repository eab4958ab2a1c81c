"""Check ingested data: find gaps, faults and level changes in the ingested time range, and store them as flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

from energy_forecast.database import history
from energy_forecast.database.cities import StoredCity, all_cities, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.quality import last_before, replace_flags
from energy_forecast.errors import DatabaseError
from energy_forecast.forecasting.data.quality_report import STEP_DELAY, Finding, find_in_load, find_in_weather
from energy_forecast.forecasting.data.weather_clock import WeatherClock, weather_clock
from energy_forecast.ingest import Report, load_files, load_table
from energy_forecast.pipelines.as_of import BEGINNING
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.progress import Progress, silent

# Data before the checked range: 28 days of reference, and 28 more to detect a level change
_BEFORE = timedelta(days=60)
# Corrected hours are the reference of this much later data, whose flags are also replaced
_AFTER = timedelta(days=30)
_HOUR = timedelta(hours=1)
# Later data also affects an hour: the first four weeks are compared with each other, another unit takes three days
_REFERENCE = timedelta(days=28)
# City-hours. Reading back and checking takes 5 to 10 microseconds each. For half a million that is at least the time of
# a COPY of as many rows, so the check of ten million rows would take longer than their ingest
LARGE = 500_000
_LATEST = timedelta(days=90)
_MOST_RUNS = 3
_SERIES = ("consumption", "weather")


@dataclass(frozen=True)
class _Span:
    """The range in which findings count. Level changes count from earlier on, because they need two weeks of data."""

    first: datetime
    last: datetime
    levels_from: datetime

    def holds(self, one: Finding) -> bool:
        return one.first <= self.last and one.last >= (self.levels_from if one.kind == "level" else self.first)


@dataclass(frozen=True)
class Stretch:
    """`hours` consecutive hours that start at `first`, UTC."""

    first: datetime
    hours: int


@dataclass(frozen=True)
class FindingSummary:
    """Summary of one kind of finding in a city: `hours` in `runs` runs, from `first` to `last` (start of hours, UTC).

    longest: up to three longest runs, by time.
    """

    city: str
    series: str
    kind: str
    first: datetime
    last: datetime
    hours: int
    runs: int
    factor: float | None
    left_out: bool
    longest: tuple[Stretch, ...]

    def __str__(self) -> str:
        where = f"{self.first:%Y-%m-%d %H:%M}"
        if self.last != self.first:
            where += f" to {self.last:%Y-%m-%d %H:%M}"
        if self.kind == "level":
            often = f", and {self.runs - 1} more" if self.runs > 1 else ""
            step = f"level change by a factor of {self.factor:.2f}"
            return f"{self.city}: {step}, from {where} UTC{often}; still used"
        hours = "1 hour" if self.hours == 1 else f"{self.hours:,} hours"
        runs = f" in {self.runs:,} runs" if self.runs > 1 else ""
        factor = "" if self.factor is None else f" (about {self.factor:,.3g} times the expected load)"
        used = "; left out of training and scores" if self.left_out else ""
        found = f"{self.city}: {_LABELS[self.series, self.kind]}{factor}, {hours}{runs}, {where} UTC{used}"
        if self.runs == 1:
            return found
        longest = ", ".join(f"{run.first:%Y-%m-%d %H:%M} ({run.hours:,} h)" for run in self.longest)
        return f"{found}; the longest at {longest}" if self.runs > len(self.longest) else f"{found}; at {longest}"


_LABELS = {
    ("consumption", "gap"): "missing load",
    ("consumption", "overlap"): "overlapping intervals",
    ("consumption", "zero"): "zero or negative values",
    ("consumption", "spike"): "spikes",
    ("consumption", "dip"): "dips",
    ("consumption", "stuck"): "a stuck meter",
    ("consumption", "unit"): "wrong unit",
    ("weather", "gap"): "missing temperature",
}


@dataclass(frozen=True)
class QualityCheck:
    """Result of a check by city.

    what: the checked part: all, last 90 days, or nothing.
    failed: the reason for each city that could not be checked.
    """

    what: str
    warned: list[FindingSummary]
    failed: dict[str, str] = field(default_factory=dict)


def load_and_check(
    database: Database,
    dataset: str,
    source: Sequence[Path] | pl.DataFrame,
    *,
    check: bool | None = None,
    progress: Progress = silent,
    **options: Any,
) -> tuple[Report, QualityCheck]:
    """Load files or a frame as one batch, and check what it changed.

    Args:
        check: as `whole` of check_quality.
        options: timezone, interval_minutes, label and units, as in `load_files`.

    Raises:
        IngestError: nothing could be loaded.
        DatabaseError: the database is unreachable or refused the batch; nothing was loaded.
    """

    def step(what: str, done: int, total: int | None, rows: int) -> None:
        progress(what, done, total or done, rows)

    if isinstance(source, pl.DataFrame):
        report = load_table(database, dataset, source, name="frame", progress=step, **options)
    else:
        report = load_files(database, dataset, source, progress=step, **options)
    return report, check_quality(database, report, whole=check, progress=progress)


def check_quality(
    database: Database, report: Report, *, whole: bool | None = None, progress: Progress = silent
) -> QualityCheck:
    """Check the cities and time ranges of an ingest report, and store the flags.

    No value changes. One city is in memory at a time.

    Args:
        whole: True checks the whole ranges, False nothing. None checks them if they have at most LARGE hours in all
            cities, and otherwise the last 90 days of each city.

    Returns:
        The result. If the database refused, every city has failed: the batch is stored, so nothing is raised.
    """
    series = report.kind if report.kind in _SERIES else None
    if whole is False or series is None or not report.inserted + report.corrected:
        return QualityCheck("nothing", [])
    try:
        return _check_batch(database, report, series, whole, progress)
    except DatabaseError as error:
        return QualityCheck("nothing", [], {name: str(error) for name, _, _ in report.touched})


def _check_batch(
    database: Database, report: Report, series: str, whole: bool | None, progress: Progress
) -> QualityCheck:
    size = sum((last - first) / timedelta(hours=1) for _, first, last in report.touched)
    latest = whole is None and size > LARGE
    warned: list[FindingSummary] = []
    with database.transaction(Role.INGEST) as connection:
        cities = {city.name: city for city in all_cities(connection)}
        now = database_now(connection)
    failed: dict[str, str] = {}
    for number, (name, first, last) in enumerate(report.touched):
        progress(f"Checking {name}", number, len(report.touched))
        begin = max(first, last - _LATEST) if latest else first
        check = partial(_check_city, database, cities[name], series, begin, last, now, UUID(report.batch))
        found = attempt(f"Check {name}", check)
        if isinstance(found, Failed):
            failed[name] = found.reason
        else:
            warned += found
    progress("Checking", len(report.touched), len(report.touched))
    return QualityCheck(f"last {_LATEST.days} days" if latest else "all", warned, failed)


def _check_city(
    database: Database, city: StoredCity, series: str, begin: datetime, last: datetime, now: datetime, batch: UUID
) -> list[FindingSummary]:
    """Check a time range of a city, and store the flags."""
    # One transaction for each city: two ingests of the same cities block each other for one city only
    with database.transaction(Role.INGEST) as connection:
        # One hour earlier: it may have begun at any minute
        span = _Span(begin - 2 * _HOUR, last + _HOUR, begin - STEP_DELAY)
        later = _Span(begin - _REFERENCE, last + _AFTER, span.levels_from)
        found = _findings(connection, city, series, first=begin, last=last, now=now)
        replace_flags(
            connection,
            city.id,
            series,
            **vars(later),
            batch=batch,
            flags=[vars(one) for one in found if later.holds(one)],
        )
    return _summed(city.name, [one for one in found if span.holds(one)])


def _findings(
    connection: Connection, city: StoredCity, series: str, *, first: datetime, last: datetime, now: datetime
) -> list[Finding]:
    """Return the findings in a range, using the data before and after it."""
    begin = first - _BEFORE
    before = last_before(connection, city.id, series, first)
    if before is not None and before < begin:
        # The gap is longer than the reference: start before the gap
        begin = before - _BEFORE
    return _find(connection, city, series, first=begin, end=last + 2 * _AFTER, now=now)


def _find(
    connection: Connection, city: StoredCity, series: str, *, first: datetime, end: datetime, now: datetime
) -> list[Finding]:
    phase = history.phase_as_of(connection, city.id, now)
    if series == "consumption":
        return find_in_load(
            *history.load_and_overlaps_as_of(connection, city.id, as_of=now, first=first, end=end, phase=phase)
        )
    return find_in_weather(history.weather_as_of(connection, city.id, as_of=now, first=first, end=end, phase=phase))


def _summed(city: str, found: Sequence[Finding]) -> list[FindingSummary]:
    kinds = dict.fromkeys((one.series, one.kind) for one in found)
    summed = []
    for series, kind in kinds:
        own = [one for one in found if (one.series, one.kind) == (series, kind)]
        summed.append(
            FindingSummary(
                city=city,
                series=series,
                kind=kind,
                first=own[0].first,
                last=own[0].first if kind == "level" else max(one.last for one in own),
                hours=sum(one.hours for one in own),
                runs=len(own),
                factor=own[0].factor,
                left_out=own[0].left_out,
                longest=_longest(own),
            )
        )
    return summed


def _longest(found: Sequence[Finding]) -> tuple[Stretch, ...]:
    chosen = sorted(found, key=lambda one: -one.hours)[:_MOST_RUNS]
    return tuple(Stretch(one.first, one.hours) for one in sorted(chosen, key=lambda one: one.first))


@dataclass(frozen=True)
class CityQuality:
    """Quality of the known data of a city: findings by time, summaries by kind, and the clock of its weather."""

    city: str
    load_hours: int
    weather_hours: int
    findings: list[Finding]
    summed: list[FindingSummary]
    clock: WeatherClock


@dataclass(frozen=True)
class QualityReport:
    """Result of an examination. `failed` maps a city to the reason."""

    cities: list[CityQuality]
    failed: dict[str, str]


def examine_quality(database: Database, *, cities: Sequence[str] = (), progress: Progress = silent) -> QualityReport:
    """Examine all known data of cities (all if none is named) without writing anything.

    A failure in one city does not affect the others: see isolation.attempt.

    Raises:
        UnknownCityError: a name is unknown.
        DatabaseError: the database refused the request.
    """
    examined: list[CityQuality] = []
    failed: dict[str, str] = {}
    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection)
        chosen = cities_named(connection, cities)
    for number, city in enumerate(chosen):
        progress(f"Examining {city.name}", number, len(chosen))
        one = attempt(f"Examine {city.name}", partial(_examine_city, database, city, now))
        if isinstance(one, Failed):
            failed[city.name] = one.reason
        else:
            examined.append(one)
    progress("Examining", len(chosen), len(chosen))
    return QualityReport(examined, failed)


def _examine_city(database: Database, city: StoredCity, now: datetime) -> CityQuality:
    with database.transaction(Role.FORECASTER) as connection:
        phase = history.phase_as_of(connection, city.id, now)
        load, overlaps = history.load_and_overlaps_as_of(
            connection, city.id, as_of=now, first=BEGINNING, end=now, phase=phase
        )
        weather = history.weather_as_of(connection, city.id, as_of=now, first=BEGINNING, end=now, phase=phase)
    found = find_in_load(load, overlaps) + find_in_weather(weather)
    warm = weather.filter(pl.col("temperature").is_not_null()).height
    clock = weather_clock(load, weather)
    return CityQuality(city.name, load.height, warm, found, _summed(city.name, found), clock)
