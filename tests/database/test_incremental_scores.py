"""`score` computes only hours that changed, and its scores equal those of scoring everything again."""

# ruff: noqa: S608 - a table name of the database itself

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import numpy as np
import polars as pl
import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from energy_forecast.database import Database, Role
from energy_forecast.database import scores as stored_scores
from energy_forecast.database.cities import city_named
from energy_forecast.database.forecasts import NewForecast, NewRun, add_runs, ensure_partitions
from energy_forecast.forecasting import QUANTILE_COLUMNS, QUANTILE_LEVELS
from energy_forecast.pipelines import explain_score, pairs, score, wrong_scores
from energy_forecast.pipelines.score import ScoreReport
from servers import CommandLine, Server

CITIES = ("Munich", "Pune")
MODELS = [UUID(int=number) for number in (1, 2)]
BEGINNING = datetime(2025, 11, 1, tzinfo=UTC)
START = datetime(2025, 12, 28, tzinfo=UTC)
HOUR = timedelta(hours=1)


class World:
    """A database with load until a simulated time, which the scores use as the present."""

    def __init__(self, database: Database, now: datetime = START, seed: int = 0) -> None:
        self.database, self.now, self.random = database, now, np.random.default_rng(seed)

    def load(
        self, city: str, first: datetime, last: datetime, *, factor: float = 1.0, delay: timedelta = timedelta(0)
    ) -> None:
        """Load or correct the hours in [first, last], available after `delay` and not before now."""
        with self.database.transaction(Role.INGEST) as connection:
            connection.execute(
                "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
                " SELECT c.id, t, %(factor)s * (1000 + 300 * sin(extract(hour FROM t) / 4) + mod(%(seed)s"
                "  * extract(epoch FROM t)::bigint / 3600, 97)), greatest(t + interval '1 hour', %(known)s)"
                " FROM cities c, generate_series(%(first)s, %(last)s, interval '1 hour') t WHERE c.name = %(city)s"
                " ON CONFLICT (city_id, timestamp) DO UPDATE SET consumption_kwh = excluded.consumption_kwh,"
                "  available_at = greatest(excluded.available_at, energy_consumption.available_at)",
                {
                    "factor": factor,
                    "seed": int(self.random.integers(1, 10**6)),
                    "known": min(self.now, last + HOUR) + delay,
                    "first": first,
                    "last": last,
                    "city": city,
                },
            )

    def delete(self, city: str, first: datetime, last: datetime) -> None:
        with self.database.transaction(Role.OWNER) as connection:
            connection.execute(
                "DELETE FROM energy_consumption WHERE timestamp BETWEEN %s AND %s"
                " AND city_id = (SELECT id FROM cities WHERE name = %s)",
                (first, last, city),
            )

    def issue(self, issued_at: datetime, *, model: int = 0, hours: int = 48, cities: tuple[str, ...] = CITIES) -> None:
        """Store a replay. Its hours after now are those of a forecast that was stored in time."""
        self.store(issued_at, "replay", hours=hours, model=model, cities=cities)
        with psycopg.connect(self.database.url) as connection:
            # The trigger compares with the real time, which is later
            late = self.now - timedelta(minutes=45)
            connection.execute("DELETE FROM ops.hours_to_score WHERE has_new_forecasts AND first_hour > %s", (late,))
            connection.execute(
                "UPDATE ops.hours_to_score SET last_hour = least(last_hour, %s) WHERE has_new_forecasts", (late,)
            )

    def store(self, issued_at: datetime, purpose: str, *, hours: int, model: int, cities: tuple[str, ...]) -> None:
        """Store a run."""
        times = pl.datetime_range(issued_at, issued_at + (hours - 1) * HOUR, "1h", eager=True, time_zone="UTC")
        with self.database.transaction(Role.FORECASTER) as connection:
            ensure_partitions(connection, first=issued_at, last=issued_at)
            forecasts = []
            for city in cities:
                middle = self.random.uniform(700, 1700, hours).round(2)
                spread = np.sort(self.random.normal(0, 200, (hours, len(QUANTILE_COLUMNS))), axis=1)
                columns = {name: np.maximum(0, middle + spread[:, n]) for n, name in enumerate(QUANTILE_COLUMNS)}
                frame = pl.DataFrame({"timestamp": times, "predicted": middle, **columns})
                forecasts.append(NewForecast(city_named(connection, city).id, frame))
            run = NewRun(
                model_id=MODELS[model],
                purpose=purpose,
                issued_at=issued_at,
                horizon=timedelta(hours=hours),
                weather="none",
                quantile_levels=QUANTILE_LEVELS,
                started_at=issued_at,
                finished_at=issued_at,
                forecasts=forecasts,
            )
            add_runs(connection, [run])

    def score(self, **options: Any) -> ScoreReport:
        module = sys.modules["energy_forecast.pipelines.score"]
        with mock.patch.object(module, "database_now", return_value=self.now):
            report = score(self.database, **options)
        assert report.failed == {}
        return report

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.url) as connection:
            return connection.execute(statement).fetchall()

    def newest(self) -> list[tuple[Any, ...]]:
        """Return the newest score of each city, version, month and bucket."""
        return self.rows(
            "SELECT DISTINCT ON (s.city_id, model_id, date_trunc('month', period_start AT TIME ZONE timezone),"
            " lead_start_hours) s.city_id, model_id, period_start, period_end, lead_start_hours, pair_count,"
            " pair_digest, mape, mae_kwh, rmse_kwh, r2_score, pinball_kwh, coverage_90, width_90_kwh, skill_naive_168,"
            " by_hour::text FROM forecast_scores s JOIN cities c ON c.id = s.city_id ORDER BY s.city_id, model_id,"
            " date_trunc('month', period_start AT TIME ZONE timezone), lead_start_hours, s.created_at DESC"
        )

    def state(self) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        rows = self.rows("SELECT city_id, day, phase_minutes, actuals, sums FROM ops.scored_days")
        return {row[:2]: row[2:] for row in rows}

    def queue(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT c.name, first_hour, last_hour, has_new_forecasts FROM ops.hours_to_score h"
            " LEFT JOIN cities c ON c.id = h.city_id ORDER BY h.id"
        )

    def assert_as_all(self) -> None:
        """Assert that scoring everything again changes nothing."""
        newest, state = self.newest(), self.state()
        report = self.score(everything=True)
        assert report.new == 0
        assert self.newest() == newest
        # A day keeps its state if all its pairs were removed
        again = self.state()
        assert {day: state[day] for day in again} == again
        assert not any(state[day][2] for day in state.keys() - again.keys())


@pytest.fixture(scope="module")
def loaded(server: Server, template: str) -> Iterator[str]:
    """Yield the name of a database with two cities, two model versions and eight weeks of load."""
    with server.copy_of(template) as database:
        with psycopg.connect(database.url) as connection:
            connection.execute(
                "INSERT INTO cities (name, latitude, longitude, timezone, country_code, subdivision) VALUES"
                " ('Munich', 48.1, 11.6, 'Europe/Berlin', 'DE', 'BY'), ('Pune', 18.5, 73.9, 'Asia/Kolkata', 'IN', NULL)"
            )
            for number, model in enumerate(MODELS):
                connection.execute(
                    "INSERT INTO models (id, name, type, version, trained_until)"
                    " VALUES (%s, 'linear', 'baseline', %s, '2025-01-01Z')",
                    (model, str(number + 1)),
                )
            for table in ("energy_consumption", "prediction_vintages"):
                connection.execute("SELECT ensure_month_partitions(%s, '2025-10-01Z', '2026-06-01Z')", (table,))
        world = World(database)
        for city in CITIES:
            world.load(city, BEGINNING, START - HOUR)
        yield database.name


@contextmanager
def world_on(server: Server, loaded: str, seed: int = 0) -> Iterator[World]:
    with server.copy_of(loaded) as database:
        yield World(database, seed=seed)


@pytest.fixture
def world(server: Server, loaded: str) -> Iterator[World]:
    with world_on(server, loaded) as made:
        yield made


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["issue", "replay", "load", "late", "correct", "spike", "delete", "hour", "day", "weeks", "move", "score"]
        ),
        st.sampled_from(CITIES),
        st.integers(0, 1),
        # Hours before now, and length in hours
        st.integers(0, 24 * 50),
        st.integers(0, 60),
    ),
    min_size=4,
    max_size=16,
)


# To shrink a failure would take minutes
@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(steps=STEPS, seed=st.integers(0, 10**6))
def test_scores_equal_those_of_everything(
    server: Server, loaded: str, steps: list[tuple[str, str, int, int, int]], seed: int
) -> None:
    """Independent of what is issued, loaded, corrected or deleted in between, and of the times of scoring."""
    with world_on(server, loaded, seed) as world:
        world.score()
        world.issue(START)
        for kind, city, model, back, length in steps:
            first = world.now - back * HOUR
            last = first + length * HOUR
            match kind:
                case "issue":
                    world.issue(world.now, model=model)
                case "replay":
                    world.issue(first, model=model, cities=(city,))
                case "load":
                    for name in CITIES:
                        world.load(name, world.now - 72 * HOUR, world.now - HOUR)
                case "late":
                    world.load(city, world.now - length * HOUR, world.now - HOUR, delay=timedelta(hours=30))
                case "correct":
                    world.load(city, first, min(last, world.now - HOUR))
                case "spike":
                    world.load(city, first, min(first + length // 12 * HOUR, world.now - HOUR), factor=8)
                case "delete":
                    world.delete(city, first, last)
                case "hour":
                    world.now += HOUR
                    world.load(city, world.now - HOUR, world.now - HOUR)
                case "day":
                    world.now += timedelta(hours=24)
                case "weeks":
                    world.now += timedelta(days=18)
                case "move":
                    with world.database.transaction(Role.INGEST) as connection:
                        zone = "Asia/Kathmandu" if model else "America/New_York"
                        connection.execute("UPDATE cities SET timezone = %s WHERE name = %s", (zone, city))
                case "score":
                    world.score()
        world.score()
        world.assert_as_all()


def test_only_changed_hours_are_read_and_scored(world: World) -> None:
    """One more hour of one city: the other city has no query, and its hour is the only one whose forecasts are read."""
    for hours in range(0, 36, 6):
        world.issue(START - hours * HOUR)
    assert world.score().scored_cities == 2
    again = world.score()
    assert (again.scored_cities, again.unchanged_cities, again.hours, again.scores) == (0, 2, 0, [])
    assert repr(again) == "<Report of scores: 0 of 0 new, 0 hours of 0 cities>"
    world.now += HOUR
    world.load("Munich", START, START)
    read: list[tuple[Any, ...]] = []
    module = sys.modules["energy_forecast.pipelines.score_city"].stored_forecasts
    to_score = module.to_score

    def reading(*arguments: Any, **options: Any) -> Any:
        read.append((options["first"], options["end"]))
        return to_score(*arguments, **options)

    with mock.patch.object(module, "to_score", reading):
        report = world.score()
    assert read == [(START, START + HOUR)]
    assert (report.scored_cities, report.unchanged_cities, report.hours) == (1, 1, 1)
    assert {row["city"] for row in report.scores} == {"Munich"}
    world.assert_as_all()


def test_month_is_local(world: World) -> None:
    """January in Munich begins at 23:00 UTC of December."""
    first = datetime(2025, 12, 31, 22, tzinfo=UTC)
    world.now = first + 2 * HOUR
    world.load("Munich", START, first + HOUR)
    world.issue(first, hours=2, cities=("Munich",))
    rows = world.score().scores
    assert [(row["month"], f"{row['period_start']:%m-%d %H}") for row in rows] == [
        ("2025-12", "12-31 22"),
        ("2026-01", "12-31 23"),
    ]


def test_correction_changes_its_scores_and_those_of_the_week_after(world: World) -> None:
    """Also the skill, whose reference is the load of a week before; and if the first value is restored."""
    issued = START - timedelta(days=3)
    world.issue(issued, hours=24, cities=("Munich",))
    world.load("Munich", issued, issued)
    assert world.score().new == 2
    (first_score,) = world.rows("SELECT mae_kwh FROM forecast_scores WHERE lead_start_hours = 0")
    with psycopg.connect(world.database.url) as connection:
        kwh = connection.execute(
            "SELECT consumption_kwh FROM energy_consumption WHERE timestamp = %s"
            " AND city_id = (SELECT id FROM cities WHERE name = 'Munich')",
            (issued,),
        ).fetchone()

    def correct(at: datetime, amount: Any) -> list[dict[str, Any]]:
        world.now += HOUR
        with world.database.transaction(Role.INGEST) as connection:
            connection.execute(
                "UPDATE energy_consumption SET consumption_kwh = %s, available_at = %s WHERE timestamp = %s"
                " AND city_id = (SELECT id FROM cities WHERE name = 'Munich')",
                (amount, world.now, at),
            )
        return world.score().scores

    assert kwh is not None
    corrected = correct(issued, kwh[0] + 100)
    assert [(row["lead_start_hours"], row["pair_count"]) for row in corrected] == [(0, 6)]
    assert [row["mae_kwh"] for row in correct(issued, kwh[0])] == [first_score[0]]
    before = world.newest()
    (reference,) = correct(issued - timedelta(days=7), kwh[0] + 50)
    assert reference["skill_naive_168"] != before[0][-2]
    assert reference["mae_kwh"] == first_score[0]
    assert len(world.rows("SELECT FROM forecast_scores WHERE lead_start_hours = 0")) == 4
    world.assert_as_all()
    assert wrong_scores(world.database) == []
    assert explain_score(world.database, city="Munich").differing == []


def test_value_available_later_is_scored_then(world: World) -> None:
    """`available_at` may be in the future; the hour must not be forgotten until then."""
    world.issue(START)
    world.now += 3 * HOUR
    world.load("Munich", START, START, delay=timedelta(hours=5))
    assert world.score().new == 0
    assert world.score().scored_cities == 1
    world.now += 6 * HOUR
    assert world.score().new == 1
    assert world.queue() == []


def test_month_filled_before_it_is_attached_is_scored(world: World) -> None:
    """Its rows pass no trigger of the table."""
    month = datetime(2025, 8, 1, tzinfo=UTC)
    world.issue(month + timedelta(days=9), cities=("Pune",))
    world.score()
    with world.database.transaction(Role.INGEST) as connection:
        table = connection.execute("SELECT ops.begin_month('energy_consumption', %s)", (month,)).fetchone()
        assert table is not None
        connection.execute(
            f"INSERT INTO ops.{table[0]} (id, city_id, timestamp, consumption_kwh, available_at)"
            " SELECT gen_random_uuid(), c.id, t, 1000 + mod(extract(epoch FROM t)::bigint / 3600, 97),"
            " t + interval '1 hour' FROM cities c, generate_series(%s, %s, interval '1 hour') t",
            (month, month + timedelta(days=20)),
        )
        connection.execute("SELECT ops.attach_months('energy_consumption', %s)", ([month],))
    assert [row[0] for row in world.queue()] == [None]
    report = world.score()
    assert (report.new, report.hours) == (3, 48)
    world.assert_as_all()


def test_value_of_an_attached_month_that_is_available_later_stays_in_the_queue(world: World) -> None:
    """Also if all hours of all cities are scored at the same time, as in a new database."""
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=60)
    month = month.replace(day=1)
    world.issue(START)
    world.score()
    with psycopg.connect(world.database.url) as connection:
        connection.execute("SELECT ensure_month_partitions('energy_consumption', %s, %s)", (month, month))
        connection.execute(
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
            " SELECT id, %s, 1, now() + interval '1 day' FROM cities WHERE name = 'Pune'",
            (month,),
        )
        connection.execute("DELETE FROM ops.hours_to_score")
        connection.execute(
            "INSERT INTO ops.hours_to_score (first_hour, last_hour) VALUES (%s, %s + interval '1 month'), (NULL, NULL)",
            (month, month),
        )
        connection.execute("SELECT ops.assign_hours_to_score()")
    assert world.rows(
        "SELECT name, known_at > now() FROM ops.hours_to_score h JOIN cities c ON c.id = h.city_id ORDER BY name"
    ) == [("Munich", False), ("Pune", True)]


@pytest.mark.parametrize("table", ["prediction_vintages", "ops.scored_days"])
def test_rows_that_were_copied_back_are_scored(server: Server, world: World, tmp_path: Path, table: str) -> None:
    """No trigger sees restored vintages, and a restored state is older than the scores."""
    world.issue(START - 24 * HOUR)
    world.score()
    with server.copy_of(world.database.name) as copy:
        with psycopg.connect(world.database.url) as connection:
            connection.execute("ALTER TABLE prediction_vintages DISABLE TRIGGER append_only")
            connection.execute("DELETE FROM prediction_vintages")
            connection.execute("ALTER TABLE prediction_vintages ENABLE ALWAYS TRIGGER append_only")
        world.load("Munich", START - 20 * HOUR, START - HOUR, factor=1.3)
        world.issue(START - 30 * HOUR)
        world.score()
        line = CommandLine.on(world.database, tmp_path / "home")
        line.run("recovery", "copy-back", table, "--from", copy.url, "--city", "Munich")
    assert world.score().scored_cities == 1
    world.assert_as_all()


def test_removed_load_leaves_its_scores_as_they_are(world: World) -> None:
    """Retention drops months; from the remaining hours of a local month another score would result."""
    world.issue(datetime(2025, 11, 30, 12, tzinfo=UTC))
    world.score()
    before = world.newest()
    with psycopg.connect(world.database.url) as connection:
        connection.execute("UPDATE ops.retention_policies SET keep = '90 days' WHERE table_name = 'energy_consumption'")
        outcome = connection.execute("SELECT outcome FROM ops.drop_month('energy_consumption_y2025m11')").fetchone()
    assert outcome == ("dropped",)
    assert world.score(everything=True).new == 0
    world.load("Munich", datetime(2025, 12, 1, 3, tzinfo=UTC), datetime(2025, 12, 1, 3, tzinfo=UTC), factor=1.1)
    assert world.score().new == 0
    assert world.newest() == before


@pytest.mark.parametrize(
    ("purpose", "age", "queued"),
    [
        ("live", timedelta(0), False),
        ("live", timedelta(minutes=50), True),
        ("replay", timedelta(hours=50), True),
        ("backtest", timedelta(hours=50), False),
    ],
)
def test_only_forecasts_of_hours_that_are_over_are_queued(
    world: World, purpose: str, age: timedelta, queued: bool
) -> None:
    """The others are scored when their load arrives, and backtests by themselves."""
    world.now = datetime.now(UTC)
    with psycopg.connect(world.database.url) as connection:
        connection.execute("DELETE FROM ops.hours_to_score")
        for month in (world.now - timedelta(days=3), world.now):
            connection.execute("SELECT ensure_month_partitions('prediction_vintages', %s, %s)", (month, month))
    world.store(world.now - age, purpose, hours=48, model=0, cities=("Pune",))
    assert [row[0] for row in world.queue()] == (["Pune"] if queued else [])


def test_processes_do_not_change_scores(world: World) -> None:
    world.issue(START - 24 * HOUR)
    with mock.patch.object(sys.modules["energy_forecast.pipelines.score"], "_TOGETHER", 1):
        report = world.score(processes=2)
    assert {row["city"] for row in report.scores} == set(CITIES)
    world.assert_as_all()


def test_load_during_a_score_is_scored_by_the_next(world: World) -> None:
    """Between reading and storing, a correction commits; the stored scores are those before, and its row stays."""
    world.issue(START - 24 * HOUR)
    corrected = START - 20 * HOUR
    add_scores = stored_scores.finish_hours

    def correct_first(*arguments: Any, **options: Any) -> bool:
        thread = threading.Thread(target=world.load, args=("Munich", corrected, corrected), kwargs={"factor": 1.2})
        thread.start()
        thread.join()
        return add_scores(*arguments, **options)

    with mock.patch.object(stored_scores, "finish_hours", correct_first):
        assert world.score().new > 0
    assert {row[:3] for row in world.queue()} == {("Munich", corrected, corrected)}
    assert world.score().hours == 1
    world.assert_as_all()


def test_two_scores_at_once_store_each_hour_once(world: World) -> None:
    """The second finds that the hours were scored meanwhile and stores nothing, so no older state replaces a newer."""
    world.issue(START - 24 * HOUR)
    finish_hours = stored_scores.finish_hours
    inner: list[ScoreReport] = []

    def score_first(*arguments: Any, **options: Any) -> bool:
        if not inner:
            inner.append(mock.sentinel.running)
            world.load("Munich", START - 20 * HOUR, START - 20 * HOUR, factor=1.2)
            thread = threading.Thread(target=lambda: inner.append(world.score()))
            thread.start()
            thread.join()
        return finish_hours(*arguments, **options)

    with mock.patch.object(stored_scores, "finish_hours", score_first):
        assert world.score().new == 0
    assert inner[1].new > 0
    assert world.queue() == []
    world.assert_as_all()


KILLED = """
import os, signal, sys
from energy_forecast.database import Database
from energy_forecast.database import scores
from energy_forecast.pipelines import score
def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    setattr(scores, sys.argv[2], die)
    score(Database(sys.argv[1]))
"""


@pytest.mark.parametrize("function", ["finish_hours", "store_days", "add_scores", "add_metrics"])
def test_score_killed_at_any_moment_loses_nothing(world: World, function: str) -> None:
    """Before, between and after the parts of the transaction that stores the scores."""
    world.issue(START - 24 * HOUR)
    state, queue = world.state(), world.queue()
    killed = subprocess.run([sys.executable, "-c", KILLED, world.database.url, function], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert world.state() == state
    assert {row for row in queue if row[0] is not None} <= set(world.queue())
    assert world.rows("SELECT FROM forecast_scores") == world.rows("SELECT FROM model_metrics") == []
    assert world.score().new > 0
    world.assert_as_all()


def test_failing_city_keeps_its_hours(world: World) -> None:
    """A fault in one city does not stop the others; the next score repeats it alone."""
    world.issue(START - 24 * HOUR)
    module = sys.modules["energy_forecast.pipelines.score_city"]
    score_hours = pairs.score_hours

    def fail(sums: Any, city: Any) -> dict[str, Any]:
        if city.name == "Munich":
            raise ValueError("broken")
        return score_hours(sums, city)

    with mock.patch.object(module, "score_hours", fail):
        report = score(world.database)
    assert list(report.failed) == ["Munich"]
    assert {row["city"] for row in report.scores} == {"Pune"}
    assert {row[0] for row in world.queue()} == {"Munich"}
    assert {row["city"] for row in world.score().scores} == {"Munich"}
