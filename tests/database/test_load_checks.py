"""The queue of checks after a load: it holds what a load changed, and its flags are those of single checks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from energy_forecast.database import Database, history
from energy_forecast.database.cities import all_cities
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Role
from energy_forecast.database.quality import last_before, take_checks
from energy_forecast.forecasting.data.quality_report import STEP_DELAY, Finding, find_in_load, find_in_weather
from energy_forecast.ingest import load_table
from energy_forecast.ingest.bulk import strategy
from energy_forecast.pipelines import CheckReport, check_load, check_pending
from servers import Server

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 300
Span = tuple[datetime, datetime]


@dataclass
class Place:
    """A database in which each test has cities of its own."""

    database: Database
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def cities(self, count: int) -> list[str]:
        names = [f"City {next(self.numbers)}" for _ in range(count)]
        with psycopg.connect(self.database.url) as connection:
            for name in names:
                connection.execute(
                    "INSERT INTO cities (name, latitude, longitude, timezone) VALUES (%s, 50, 8, 'Europe/Berlin')",
                    [name],
                )
        return names

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.url) as connection:
            return connection.execute(statement, parameters).fetchall()

    def pending(self, names: Sequence[str]) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT c.name, first_timestamp, last_timestamp FROM ops.pending_checks JOIN cities c ON c.id = city_id"
            " WHERE c.name = ANY (%s) ORDER BY c.name, first_timestamp",
            list(names),
        )

    def flags(self, name: str) -> set[tuple[Any, ...]]:
        return set(
            self.rows(
                "SELECT kind, first_timestamp, last_timestamp, hours, factor, left_out FROM ops.quality_flags"
                " JOIN cities c ON c.id = city_id WHERE c.name = %s",
                name,
            )
        )


@pytest.fixture(scope="module")
def place(server: Server, template: str) -> Iterator[Place]:
    with server.copy_of(template) as database:
        yield Place(database)


def series(minutes: int, begin: int, seed: int, kind: str) -> pl.DataFrame:
    """Return a year with faults of all kinds: timestamp and value."""
    rng = np.random.default_rng(seed)
    n = DAYS * 1440 // minutes
    times = [START + timedelta(minutes=begin + minutes * i) for i in range(n)]
    hour = np.arange(n) * minutes / 60
    values = 100 * (1 + 0.3 * np.sin(hour / 24 * 2 * np.pi)) * rng.normal(1, 0.03, n)
    kept = np.ones(n, bool)
    for at in rng.integers(0, n, 12):
        length = int(rng.integers(1, 8 * 1440 // minutes))
        match rng.integers(0, 6):
            case 0:
                kept[at : at + length] = False
            case 1:
                values[at : at + length] = 0
            case 2:
                values[at : at + 3] *= 8
            case 3:
                values[at : at + length] = values[at]
            case 4:
                values[at : at + length] *= 1000
            case _:
                values[at:] *= 1.6
    if kind == "weather":
        values = np.clip(values / 20, -60, 45)
    column = {"consumption": "consumption_kwh", "weather": "temperature"}[kind]
    return pl.DataFrame({"timestamp": times, column: values.round(2)}).filter(pl.Series(kept))


class Reference:
    """The check of one range of one city, by the readers of training and doctor, with the flags in memory."""

    def __init__(self, database: Database, kind: str, name: str) -> None:
        self.database, self.kind, self.flags = database, kind, set[Finding]()
        with database.transaction(Role.INGEST) as connection:
            self.city: UUID = next(city.id for city in all_cities(connection) if city.name == name)

    def check(self, first: datetime, last: datetime) -> None:
        begin, end = first - timedelta(days=60), last + timedelta(days=60)
        with self.database.transaction(Role.INGEST) as connection:
            now = database_now(connection)
            (before,) = last_before(connection, self.kind, [(self.city, first)])
            if before is not None and before < begin:
                begin = before - timedelta(days=60)
            bounds: dict[str, Any] = {"as_of": now, "first": begin, "end": end}
            bounds["phase"] = history.phase_as_of(connection, self.city, now)
            if self.kind == "consumption":
                found = find_in_load(*history.load_and_overlaps_as_of(connection, self.city, **bounds))
            else:
                found = find_in_weather(history.weather_as_of(connection, self.city, **bounds))
        span = (first - timedelta(days=28), last + timedelta(days=30))

        def held(one: Finding) -> bool:
            return one.first <= span[1] and one.last >= (first - STEP_DELAY if one.kind == "level" else span[0])

        new = [one for one in found if held(one)]
        self.flags = {
            old
            for old in self.flags
            if not held(old)
            and not any(n.kind == old.kind and old.first <= n.last and old.last >= n.first for n in new)
        } | set(new)

    def rows(self) -> set[tuple[Any, ...]]:
        return {(one.kind, one.first, one.last, one.hours, one.factor, one.left_out) for one in self.flags}


def merged(spans: Sequence[Span]) -> list[Span]:
    """Return the bounds of spans that are less than 58 days apart."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first - found[-1][1] <= timedelta(days=58):
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


@given(
    kind=st.sampled_from(["consumption", "consumption", "weather"]),
    shape=st.sampled_from([(60, 0), (60, 30), (30, 0)]),
    seed=st.integers(0, 10_000),
    cuts=st.sets(st.integers(1, DAYS - 1), min_size=1, max_size=5),
    data=st.data(),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=5,
    # An example takes seconds, and shrinking it minutes
    phases=[Phase.generate],
)
def test_flags_are_those_of_single_checks(
    place: Place, kind: str, shape: tuple[int, int], seed: int, cuts: set[int], data: st.DataObject
) -> None:
    """Checks that wait, are merged and run for several cities at once give the flags of single checks in time order."""
    names = place.cities(2)
    frames = {name: series(*shape, seed + number, kind) for number, name in enumerate(names)}
    references = {name: Reference(place.database, kind, name) for name in names}
    waiting: dict[str, list[Span]] = {name: [] for name in names}
    bounds = [0, *sorted(cuts), DAYS]
    for first, end in data.draw(st.permutations(list(itertools.pairwise(bounds)))):
        parts = []
        for name, frame in frames.items():
            days = (pl.col("timestamp") - START).dt.total_days()
            part = frame.filter((days >= first) & (days < end))
            if part.height:
                parts.append(part.insert_column(0, pl.Series("city", [name] * part.height)))
                waiting[name].append((part["timestamp"][0], part["timestamp"][-1]))
        if parts:
            # A stated unit is not refused
            unit = {"consumption": "energy=kWh", "weather": "temperature=C"}[kind]
            load_table(place.database, kind, pl.concat(parts), name="part", interval_minutes=shape[0], units=[unit])
        if data.draw(st.booleans()):
            continue
        check_all(place, kind, names, references, waiting)
    check_all(place, kind, names, references, waiting)
    for name in names:
        assert place.flags(name) == references[name].rows()
        assert place.pending([name]) == []


def check_all(
    place: Place,
    kind: str,
    names: Sequence[str],
    references: dict[str, Reference],
    waiting: dict[str, list[Span]],
) -> None:
    """Check what waits, and each of its ranges alone in the reference."""
    for name in names:
        for first, last in merged(waiting[name]):
            references[name].check(first, last)
        waiting[name] = []
    found = check_pending(place.database, kind, names=names)
    assert (found.pending, found.failed) == (0, {})


def hourly(name: str, first: datetime, count: int, value: float = 100) -> pl.DataFrame:
    times = [first + timedelta(hours=i) for i in range(count)]
    values = [value + i % 24 for i in range(count)]
    return pl.DataFrame({"city": [name] * count, "timestamp": times, "consumption_kwh": values})


@pytest.mark.parametrize("most", [0, 10**9])
def test_only_changed_rows_wait(place: Place, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """A file that repeats a month with one new and one corrected row has two hours to check, in one city."""
    monkeypatch.setattr(strategy, "PARTITION_LOAD_ROWS", most)
    names = place.cities(2)
    month = pl.concat([hourly(name, START, 24 * 20) for name in names])
    report = load_table(place.database, "consumption", month, name="month")
    end = START + timedelta(hours=24 * 20 - 1)
    assert place.pending(names) == [(name, START, end) for name in sorted(names)]
    steps: list[str] = []
    unchecked = check_pending(
        place.database, "consumption", names=names, seconds=0, progress=lambda *step: steps.append(str(step))
    )
    assert (unchecked, steps) == (CheckReport(pending=2), ["('Checking for faults', 2, 2)"])
    assert check_load(place.database, report) == CheckReport(checked=2)

    later = pl.concat([month, hourly(names[0], end + timedelta(hours=1), 1)])
    at = end - timedelta(hours=5)
    is_corrected = (pl.col("city") == names[0]) & (pl.col("timestamp") == at)
    later = later.with_columns(pl.when(is_corrected).then(777.0).otherwise("consumption_kwh").alias("consumption_kwh"))
    load_table(place.database, "consumption", later, name="again")
    assert place.pending(names) == [(names[0], at, end + timedelta(hours=1))]
    load_table(place.database, "consumption", later, name="the same")
    assert len(place.pending(names)) == 1


def test_a_limit_of_time_leaves_checks_that_go_on(place: Place) -> None:
    """The longest waiting cities come first; the others stay in the queue, and each is checked once."""
    names = place.cities(12)
    for name in names:
        load_table(place.database, "consumption", hourly(name, START, 48), name=name)
    none = check_pending(place.database, "consumption", names=names, seconds=0.0)
    assert none == CheckReport(pending=12)
    some = check_pending(place.database, "consumption", names=names, seconds=0.05)
    assert some.checked + some.pending == 12
    assert [name for name, _, _ in place.pending(names)] == sorted(names[some.checked :])
    assert check_pending(place.database, "consumption", names=names).checked == some.pending
    assert place.pending(names) == []


def test_a_city_that_is_checked_elsewhere_waits(place: Place) -> None:
    """Two checks of one city at once could store the flags of older data last."""
    names = place.cities(2)
    load_table(place.database, "consumption", pl.concat([hourly(name, START, 48) for name in names]), name="two")
    with place.database.transaction(Role.INGEST) as connection:
        ((city,),) = place.rows("SELECT id FROM cities WHERE name = %s", names[0])
        assert len(take_checks(connection, "consumption", [city])) == 1
        assert check_pending(place.database, "consumption", names=names) == CheckReport(checked=1, pending=1)
    assert check_pending(place.database, "consumption", names=names) == CheckReport(checked=1)
