"""Measure what synthetic cities cost by the hour: time, WAL and disk; and print the model of a year.

    .venv/bin/python benchmarks/scale.py [--cities 100] [--hours 3] [--score-every 1] [--weather] [--database URL]
    .venv/bin/python benchmarks/scale.py --model

Each simulated hour is loaded (one value a city, by the loader with its checks), forecast (one run of all cities, 48
hours ahead, by `add_runs`; the values are synthetic, because storage is measured, not the models), and scored; then
the checks that wait and the hourly totals are updated. With --weather, the observed weather of the hour is
loaded too, and at 0, 6, 12 and 18 UTC a weather forecast of 48 hours.
Prints for each step the wall-clock seconds, the CPU seconds of this program and of the server, and the bytes of WAL;
then the bytes of each table with its indexes, the share of HOT updates, and the constants of the model as measured.

With --database, a superuser's URL on this machine, the hours continue those of an earlier run with the same cities, so
that a week can be measured in pieces. Otherwise the database is new, and dropped at the end.

--model prints the tables of docs/decisions/scale.md, which follow from CONSTANTS.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import forecasting
import measuring
import numpy as np
import polars as pl
import psycopg

from energy_forecast.database import Database, Role
from energy_forecast.database.forecasts import NewForecast, NewRun, add_runs
from energy_forecast.database.migrate import upgrade
from energy_forecast.database.models import NewArtifact, add_version
from energy_forecast.forecasting import QUANTILE_COLUMNS, QUANTILE_LEVELS
from energy_forecast.operations.maintenance import maintain
from energy_forecast.pipelines import load_and_check, score

HORIZON = 48
# The first simulated hour is so long ago, and the first value so much longer
BEGIN_DAYS = 40
HISTORY_DAYS = 9
MODEL = "naive-168"

# Bytes with indexes, and CPU seconds on one core. docs/decisions/scale.md has the conditions of each
CONSTANTS = {
    "energy_consumption": 160,
    "weather_data": 180,
    "weather_forecasts": 186,
    "prediction_vintages": 101,
    "predictions": 433,
    "hours": 24 * 31 * 127 + 24 * 30 * 146,
    "artifact": 1_076_320,
    "audit": 48,
    "wal_hour": 950 + 1_100 + 2_550 + 12_000 + 4_000 + 150,
    "forecast": 0.052,
    "forecast_5_minutes": 0.095,
    "hour": 0.031,
    "training": 44.0,
}
HOURS = 8760
TRAININGS = 4
WEATHER_ISSUES = 4 * 365


def disk(minutes: int) -> dict[str, float]:
    """Return the bytes that a city needs for a year, by table, with values of a length in minutes."""
    return {
        "energy_consumption": HOURS * 60 / minutes * CONSTANTS["energy_consumption"],
        "weather_data": HOURS * CONSTANTS["weather_data"],
        "weather_forecasts": WEATHER_ISSUES * HORIZON * CONSTANTS["weather_forecasts"],
        "prediction_vintages": HOURS * HORIZON * CONSTANTS["prediction_vintages"],
        "predictions": HOURS * CONSTANTS["predictions"],
        "model_artifacts": TRAININGS * CONSTANTS["artifact"],
        "hourly totals": CONSTANTS["hours"],
        "audit_log": HOURS * CONSTANTS["audit"],
    }


def print_model() -> None:
    """Print the tables of the page."""
    columns = {minutes: disk(minutes) for minutes in (60, 5)}
    print("| MB a city and year | hourly | 5 minutes |\n|---|---|---|")
    for table in columns[60]:
        print(f"| {table} | " + " | ".join(f"{column[table] / 1e6:,.1f}" for column in columns.values()) + " |")
    print("| all | " + " | ".join(f"{sum(column.values()) / 1e6:,.0f}" for column in columns.values()) + " |")
    print(
        "\n| cities | disk a year, GB | load, GB | WAL a year, TB | cores on average | one full training, CPU hours |"
    )
    print("|---|---|---|---|---|---|")
    for cities in (100, 1_000, 10_000, 100_000):
        whole = [cities * sum(column.values()) / 1e9 for column in columns.values()]
        load = [cities * column["energy_consumption"] / 1e9 for column in columns.values()]
        wal = cities * HOURS * CONSTANTS["wal_hour"] / 1e12
        cores = [cities * (CONSTANTS["hour"] + CONSTANTS[name]) / 3600 for name in ("forecast", "forecast_5_minutes")]
        print(
            f"| {cities:,} | {whole[0]:,.0f} / {whole[1]:,.0f} | {load[0]:,.1f} / {load[1]:,.1f} | {wal:,.2f} |"
            f" {cores[0]:,.3f} / {cores[1]:,.3f} | {cities * CONSTANTS['training'] / 3600:,.0f} |"
        )


class Simulation:
    """Synthetic cities whose hours pass one by one."""

    def __init__(self, database: Database, cities: int) -> None:
        self.database = database
        self._random = np.random.default_rng(13)
        self._size = self._random.uniform(500, 5000, cities)
        with psycopg.connect(database.url) as connection:
            if connection.execute("SELECT count(*) FROM cities").fetchone() == (0,):
                self._fill(connection, cities)
            names = connection.execute("SELECT id, name FROM cities ORDER BY name").fetchall()
            at, self.model = connection.execute(
                "SELECT max(r.issued_at), m.id FROM models m LEFT JOIN forecast_runs r ON true GROUP BY m.id"
            ).fetchone() or (None, None)
        assert len(names) == cities, f"the database has {len(names)} cities"
        self.ids, self.names = [city for city, _ in names], [name for _, name in names]
        self.at = at or _begin() - timedelta(hours=1)

    def _fill(self, connection: psycopg.Connection[Any], cities: int) -> None:
        """Write the cities with days of history, and a model version."""
        begin = _begin()
        first = begin - timedelta(days=HISTORY_DAYS)
        connection.execute("SET LOCAL synchronous_commit = off")
        for table in ("energy_consumption", "weather_data", "weather_forecasts", "prediction_vintages"):
            connection.execute(
                "SELECT ensure_month_partitions(%s, %s, %s)", (table, first, begin + timedelta(days=BEGIN_DAYS))
            )
        connection.execute(
            "INSERT INTO cities (name, latitude, longitude, timezone)"
            " SELECT 'City ' || lpad(n::text, 6, '0'), 50, 8, 'Europe/Berlin' FROM generate_series(1, %s) n",
            (cities,),
        )
        connection.execute(
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
            " SELECT c.id, t, s.size * (1 + 0.3 * sin(extract(hour FROM t) / 24 * 6.2832)) * (0.95 + 0.1 * random()),"
            " t + interval '1 hour' FROM unnest(%s::float8[]) WITH ORDINALITY AS s (size, n)"
            " JOIN cities c ON c.name = 'City ' || lpad(s.n::text, 6, '0'),"
            " generate_series(%s::timestamptz, %s, '1 hour') t ORDER BY c.id, t",
            (self._size.tolist(), first, begin - timedelta(hours=2)),
        )
        connection.commit()
        with self.database.transaction(Role.FORECASTER) as forecaster:
            ids = [city for (city,) in connection.execute("SELECT id FROM cities")]
            artifacts = [NewArtifact(city, b"synthetic", bytes(32), {}) for city in ids]
            add_version(
                forecaster, name=MODEL, kind="baseline", parameters={}, trained_until=first, artifacts=artifacts
            )
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
        connection.autocommit = False

    def values(self, hours: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the load of each city in hours of the day [n], kWh, [cities, n]."""
        curve = 1 + 0.3 * np.sin(hours / 24 * 2 * np.pi)
        noise = self._random.uniform(0.95, 1.05, (len(self.ids), len(hours)))
        return np.round(self._size[:, None] * curve * noise, 2)

    def load(self) -> None:
        """Load the value of the hour that has just ended."""
        start = self.at - timedelta(hours=1)
        frame = pl.DataFrame(
            {"city": self.names, "timestamp": [start] * len(self.names), "consumption_kwh": self._now(start)},
        )
        report, _ = load_and_check(self.database, "consumption", frame)
        assert report.inserted == len(self.names), report

    def _now(self, start: datetime) -> np.ndarray[Any, Any]:
        return self.values(np.array([start.hour]))[:, 0]

    def weather(self) -> None:
        """Load the observed weather of the hour, and every six hours a weather forecast."""
        start = self.at - timedelta(hours=1)
        degrees = np.round(self._random.normal(10, 5, len(self.names)), 1)
        columns = {"city": self.names, "timestamp": [start] * len(self.names), "temperature": degrees}
        load_and_check(self.database, "weather", pl.DataFrame(columns | {"humidity": 60.0, "wind_speed": 3.0}))
        if self.at.hour % 6:
            return
        hours = pl.DataFrame({"timestamp": [self.at + timedelta(hours=n) for n in range(HORIZON)]})
        frame = pl.DataFrame({"city": self.names}).join(hours, how="cross")
        degrees = np.round(self._random.normal(10, 5, frame.height), 1)
        load_and_check(
            self.database,
            "weather-forecasts",
            frame.with_columns(
                pl.lit(self.at).alias("issued_at"),
                pl.Series("temperature", degrees),
                humidity=60.0,
                wind_speed=3.0,
                precipitation=0.0,
            ),
        )

    def run(self) -> NewRun:
        """Return a run with a forecast of each city."""
        times = [self.at + timedelta(hours=n) for n in range(HORIZON)]
        predicted = self.values(np.array([when.hour for when in times]))
        spread = 1 + np.linspace(-0.15, 0.15, len(QUANTILE_LEVELS))
        forecasts = []
        for city, values in zip(self.ids, predicted, strict=True):
            quantiles = dict(zip(QUANTILE_COLUMNS, np.outer(spread, values), strict=True))
            forecasts.append(NewForecast(city, pl.DataFrame({"timestamp": times, "predicted": values, **quantiles})))
        now = datetime.now(UTC)
        return NewRun(
            model_id=self.model,
            purpose="replay",
            issued_at=self.at,
            horizon=timedelta(hours=HORIZON),
            weather="none",
            quantile_levels=QUANTILE_LEVELS,
            started_at=now,
            finished_at=now,
            forecasts=forecasts,
        )

    def issue(self, run: NewRun) -> None:
        """Store a run and make it the current forecast."""
        with self.database.transaction(Role.FORECASTER) as connection:
            add_runs(connection, [run])


def _begin() -> datetime:
    """Return the first simulated hour."""
    return (datetime.now(UTC) - timedelta(days=BEGIN_DAYS)).replace(minute=0, second=0, microsecond=0)


def timed(database: Database, step: str, at: datetime, work: Callable[[], object]) -> None:
    """Do the work and print its line."""
    with psycopg.connect(database.url, autocommit=True) as connection:

        def position() -> int:
            row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
            return int(row[0]) if row else 0

        wal, client, server = position(), forecasting.cpu(), measuring.server_seconds(database.url)
        began = time.perf_counter()
        work()
        wall = time.perf_counter() - began
        # The postmaster has the time of a backend only after it has noticed its end
        time.sleep(0.3)
        print(
            f"{at:%Y-%m-%d %H},{step},{wall:.2f},{forecasting.cpu() - client:.2f},"
            f"{measuring.server_seconds(database.url) - server:.2f},{(position() - wal) / 1e6:.2f}",
            flush=True,
        )


# Every table with rows: bytes with indexes and TOAST, and rows; for a partitioned table of all its partitions
SIZES = """
    SELECT coalesce(p.relname, c.relname) AS name, sum(pg_total_relation_size(c.oid))::bigint AS bytes,
           sum(s.n_live_tup)::bigint AS rows, sum(s.n_tup_upd)::bigint AS updates, sum(s.n_tup_hot_upd)::bigint AS hot
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_stat_user_tables s ON s.relid = c.oid
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
    WHERE n.nspname IN ('public', 'ops') AND c.relkind IN ('r', 'm')
    GROUP BY 1 HAVING sum(s.n_live_tup) > 0 ORDER BY bytes DESC"""


def print_sizes(database: Database, cities: int) -> None:
    """Print the bytes of each table, and a row and a city of them."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("ANALYZE")
        runs = connection.execute("SELECT count(*) FROM forecast_runs").fetchone()
        rows = connection.execute(SIZES).fetchall()
    issued = (runs[0] if runs else 0) * cities * HORIZON
    print("table,bytes,rows,bytes a row,bytes a city,updates,HOT share")
    for name, size, count, updates, hot in rows:
        share = f"{hot / updates:.4f}" if updates else ""
        print(f"{name},{size},{count},{size / count:.0f},{size / cities:.0f},{updates},{share}")
        if name == "prediction_vintages" and issued:
            print(f"# {name}: {size / issued:.1f} bytes a forecast value, model {CONSTANTS[name]}")
        elif name in CONSTANTS:
            print(f"# {name}: {size / count:.0f} bytes a row, model {CONSTANTS[name]}")


@contextmanager
def opened(url: str | None) -> Iterator[Database]:
    """Yield the database of a URL with an upgraded schema, or a new one."""
    if url is not None:
        upgrade(Database(url))
        yield Database(url)
        return
    with measuring.server() as server, measuring.database(server) as new:
        yield Database(new)


def main() -> None:
    """Simulate hours and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cities", type=int, default=100)
    parser.add_argument("--hours", type=int, default=3)
    parser.add_argument("--score-every", type=int, default=1, help="hours; 0: never")
    parser.add_argument("--weather", action="store_true")
    parser.add_argument("--database")
    parser.add_argument("--model", action="store_true")
    arguments = parser.parse_args()
    if arguments.model:
        print_model()
        return
    facts = measuring.machine()
    print("# " + ", ".join(f"{name} {value}" for name, value in facts.items()) + f", {arguments.cities} cities")
    print("hour,step,wall s,client CPU s,server CPU s,WAL MB")
    with opened(arguments.database) as database:
        simulation = Simulation(database, arguments.cities)
        for _ in range(arguments.hours):
            simulation.at += timedelta(hours=1)
            at = simulation.at
            timed(database, "load", at, simulation.load)
            if arguments.weather:
                timed(database, "weather", at, simulation.weather)
            run = simulation.run()
            timed(database, "issue", at, partial(simulation.issue, run))
            if arguments.score_every and at.hour % arguments.score_every == 0:
                timed(database, "score", at, lambda: score(database))
            timed(database, "maintain", at, lambda: maintain(database, ["checks", "refresh"]))
        print_sizes(database, arguments.cities)


if __name__ == "__main__":
    main()
