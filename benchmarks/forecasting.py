"""Measure the cost of training and forecasting: the models alone, and with reading and writing the database.

    .venv/bin/python benchmarks/forecasting.py [FOLDER] [--cities 1000] [--processes N] [--history-days 1825]

FOLDER holds cities.csv, consumption.csv[.gz] and weather.csv[.gz] in the platform's import format; the
default is the sample of the demo. Three steps are timed, in wall-clock seconds, in CPU seconds of this program and its
processes (on a shared machine only these are comparable), and in CPU seconds of the server:

train     `train` of the ensemble for each city of the folder, from at most --history-days of history.
model     forecasts for --cities copies of those cities, 48 hours ahead, from frames in memory: the reference.
forecast  the same with `forecast`: input read from the database, run and predictions written to it.

Prints the table as CSV. The server is that of ENERGY_FORECAST_TEST_DATABASE_URL, or an embedded one.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import measuring
import polars as pl
import psycopg
import skill
from psycopg import sql

import energy_forecast  # noqa: F401 - before numpy: with two threads its small systems take many times as long
from energy_forecast import forecasting as fc
from energy_forecast.database import Database, Role
from energy_forecast.database.models import NewArtifact, add_version, newest_artifact
from energy_forecast.pipelines import forecast, train
from energy_forecast.pipelines.parallel import Step, each, usable_processors

HORIZON = 48
BACK_DAYS = 140


@dataclass(frozen=True)
class Frames:
    """The input of a forecast of one city."""

    artifact: bytes
    load: pl.DataFrame
    weather: pl.DataFrame
    ahead: pl.DataFrame
    at: datetime


def issue(frames: Frames) -> float:
    """Read the model and forecast."""
    model = fc.load_model("ensemble", frames.artifact)
    made = model.predict(fc.ForecastInput(frames.load, frames.weather, frames.ahead, frames.at, HORIZON))
    return float(made.frame["predicted"].sum())


def issue_all(work: tuple[Frames, int], _step: Step) -> float:
    """Forecast copies of a city, one after the other."""
    frames, copies = work
    return sum(issue(frames) for _ in range(copies))


def cpu() -> float:
    """Return the CPU seconds of this process and its finished children."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def memory_mb() -> int:
    """Return the peak memory of one process, MB."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in both) // 1024


@dataclass
class Measured:
    """One line of the table. step: train, model or forecast, in the column `what`."""

    step: str
    wall: float
    cpu: float
    server: float

    def row(self, count: int) -> str:
        """Return the line of the CSV table; `count` is the number of cities."""
        return f"{self.step},{count},{self.wall:.2f},{self.cpu:.2f},{self.server:.2f}"


def measure(step: str, database: Database, work: Callable[[], object]) -> Measured:
    """Return the times of `work`."""
    before, server, began = cpu(), measuring.server_seconds(database.url), time.perf_counter()
    work()
    wall = time.perf_counter() - began
    return Measured(step, wall, cpu() - before, measuring.server_seconds(database.url) - server)


def fill(
    database: Database,
    cities: list[tuple[fc.City, pl.DataFrame, pl.DataFrame]],
    copies: int,
    first: datetime,
    at: datetime,
) -> dict[str, list[UUID]]:
    """Write `copies` cities, and return their ids by kind.

    The first city of each kind gets its history from `first` on, the others the days that a forecast reads. All get a
    weather forecast for the hours from `at` on.
    """
    ids: dict[str, list[UUID]] = {}
    with psycopg.connect(database.url) as connection:
        connection.execute("SET synchronous_commit = off")
        for table in ("energy_consumption", "weather_data", "weather_forecasts", "prediction_vintages"):
            connection.execute("SELECT ensure_month_partitions(%s, %s, %s)", (table, first, at + timedelta(days=40)))
        connection.execute("CREATE TEMPORARY TABLE load (timestamp timestamptz, kwh numeric)")
        connection.execute(
            "CREATE TEMPORARY TABLE weather (timestamp timestamptz, t numeric, h numeric, w numeric, p numeric)"
        )
        for kind, (city, load, weather) in enumerate(cities):
            own = ids.setdefault(city.name, [])
            for number in range(copies // len(cities) + (kind < copies % len(cities))):
                own.append(uuid4())
                connection.execute(
                    "INSERT INTO cities (id, name, latitude, longitude, timezone, country_code, subdivision)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                    (
                        *(own[-1], f"{city.name} {number + 1}", city.latitude, city.longitude, city.timezone),
                        *(city.country_code, city.subdivision),
                    ),
                )
            connection.execute("TRUNCATE load, weather")
            with connection.cursor().copy("COPY load FROM STDIN") as copy:
                for row in load.filter(pl.col("timestamp") >= first, pl.col("timestamp") < at).iter_rows():
                    copy.write_row(row)
            with connection.cursor().copy("COPY weather FROM STDIN") as copy:
                ahead = at + timedelta(hours=HORIZON + 2)
                for row in weather.filter(pl.col("timestamp") >= first, pl.col("timestamp") < ahead).iter_rows():
                    copy.write_row(row)
            for which, since in ((own[:1], first), (own[1:], at - timedelta(days=BACK_DAYS))):
                parameters = {"ids": which, "since": since, "at": at}
                connection.execute(
                    "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
                    " SELECT c, timestamp, kwh, timestamp + interval '1 hour' FROM load, unnest(%(ids)s::uuid[]) c"
                    " WHERE timestamp >= %(since)s AND kwh >= 0 ORDER BY c, timestamp",
                    parameters,
                )
                connection.execute(
                    "INSERT INTO weather_data (city_id, timestamp, temperature, humidity, wind_speed, precipitation,"
                    " available_at) SELECT c, timestamp, t, h, w, p, timestamp + interval '1 hour'"
                    " FROM weather, unnest(%(ids)s::uuid[]) c"
                    " WHERE timestamp >= %(since)s AND timestamp < %(at)s ORDER BY c, timestamp",
                    parameters,
                )
            connection.execute(
                "INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature, humidity, wind_speed,"
                " precipitation) SELECT c, timestamp, %(at)s, t, h, w, p FROM weather, unnest(%(ids)s::uuid[]) c"
                " WHERE timestamp >= %(at)s ORDER BY c, timestamp",
                {"ids": own, "at": at},
            )
            connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
    return ids


def give_models(database: Database, ids: dict[str, list[UUID]], at: datetime) -> dict[str, bytes]:
    """Store the model of the first city for its copies too, and return the artifacts by kind."""
    artifacts = {}
    with database.transaction(Role.FORECASTER) as connection:
        new = []
        for name, own in ids.items():
            found = newest_artifact(connection, name="ensemble", city=own[0], at=at)
            assert found is not None
            artifacts[name] = found.artifact
            new += [NewArtifact(city, found.artifact, bytes(32), found.training_facts) for city in own]
        add_version(connection, name="ensemble", kind="ensemble", parameters={}, trained_until=at, artifacts=new)
    return artifacts


def main() -> None:
    """Measure the three steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cities", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=usable_processors())
    parser.add_argument("--history-days", type=int, default=5 * 365)
    arguments = parser.parse_args()
    found = list(skill.cities(arguments.folder, []) if arguments.folder else skill.sample())
    at = min(load.select(pl.col("timestamp").max()).item() for _, load, _ in found).astimezone(UTC) - timedelta(days=3)
    first = at - timedelta(days=arguments.history_days)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], check=False, capture_output=True, text=True
    ).stdout.strip()
    print(
        f"# {datetime.now(UTC):%Y-%m-%d %H:%M}Z, {', '.join(skill.versions())}, commit {commit}; {platform.machine()},"
        f" {usable_processors()} processors, load {os.getloadavg()[0]:.1f}; {arguments.processes} processes,"
        f" history {arguments.history_days} days"
    )
    print("what,cities,wall s,cpu s,server cpu s", flush=True)
    with measuring.server() as server, measuring.database(server) as url:
        database = Database(url)
        ids = fill(database, found, max(arguments.cities, len(found)), first, at)
        names = [f"{city.name} 1" for city, _, _ in found]
        learn = partial(train, database, models=["ensemble"], cities=names, until=at, processes=arguments.processes)
        print(measure("train", database, learn).row(len(names)), flush=True)

        artifacts = give_models(database, ids, at)
        work = []
        for city, load, weather in found:
            past = (pl.col("timestamp") >= at - timedelta(days=135)) & (pl.col("timestamp") < at)
            frames = Frames(
                artifacts[city.name],
                load.filter(past),
                weather.filter(past),
                weather.filter(pl.col("timestamp") >= at, pl.col("timestamp") < at + timedelta(hours=HORIZON + 1)),
                at,
            )
            work += [(frames, len(ids[city.name]) // 4)] * 4 + [(frames, len(ids[city.name]) % 4)]

        def alone() -> None:
            with closing(
                each(
                    issue_all,
                    work,
                    name=lambda _item: "forecast",
                    processes=arguments.processes,
                    steps=lambda _done, _words: None,
                )
            ) as results:
                list(results)

        count = sum(len(own) for own in ids.values())
        model = measure("model", database, alone)
        print(model.row(count), flush=True)
        whole = measure(
            "forecast",
            database,
            lambda: forecast(
                database, model="ensemble", at=at, horizon=timedelta(hours=HORIZON), processes=arguments.processes
            ),
        )
        print(whole.row(count), flush=True)
        print(
            f"# forecast / model: wall {whole.wall / model.wall:.2f}, cpu with the server's"
            f" {(whole.cpu + whole.server) / model.cpu:.2f}; largest process"
            f" {memory_mb()} MB"
        )
        with psycopg.connect(database.url) as connection:
            for table, rows in (("prediction_vintages", count), ("predictions", count * HORIZON)):
                row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
                assert row == (rows,), (table, row)


if __name__ == "__main__":
    main()
