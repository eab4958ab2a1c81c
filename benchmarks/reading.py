"""Measure how long a user waits for reads of one city among the rows of a thousand.

    .venv/bin/python benchmarks/reading.py [--cities 1000] [--days 730] [--times 300] [--database NAME]

The reads are query 1 of the guide (the last 24 hours), an hourly profile, and query 2 (30 days with the weather), each
as the platform sends it, by a user behind row-level security (granted 20 cities) and by the owner. The reference is the
same SQL, taken from the catalog, in a schema `alone` whose tables hold one city only: no partitions, no policies, the
same key. Then the latest forecast of a city, and the forecast that was live at a moment of the last two years, are
compared with a row read by its primary key. Platform and reference alternate, over connections that stay open; the
city changes each time, so that some pages are not in the cache. The results are the reader's wall-clock time and the
CPU time of the server process: on a shared machine only CPU time is comparable.

By default a database is created and filled (105 million rows, 20 GB). With --database an existing filled one is used
and kept.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import LiteralString, cast
from uuid import UUID, uuid4

import measuring
import psycopg
import rows
from measuring import percentile, timed
from psycopg import sql
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Connection
from energy_forecast.database.named_queries import queries

GRANTED = 20
FUNCTIONS = (
    "local_time",
    "city_hour_phase",
    "consumption_from_values",
    "consumption_by_hour",
    "consumption_with_temperature",
    "recent_consumption",
    "weather_correlation",
)
VIEWS = ("city_hourly_consumption", "hour_of_day_profile")
BY_KEY: LiteralString = "SELECT * FROM cities WHERE id = %(city)s"
# Each query with its reference
QUESTIONS: dict[str, tuple[LiteralString, LiteralString]] = {
    name: (statement, reference or statement)
    for name, statement, reference in (
        ("recent", cast(LiteralString, queries("reports")["recent"]), None),
        ("profile", "SELECT * FROM hour_of_day_profile WHERE city_id = %(city)s ORDER BY local_time", None),
        ("weather", cast(LiteralString, queries("reports")["weather_correlation"]), None),
        (
            "latest forecast",
            "SELECT timestamp, model_id, predicted_consumption, confidence_lower, confidence_upper, issued_at"
            " FROM predictions WHERE city_id = %(city)s AND timestamp >= %(until)s ORDER BY timestamp",
            BY_KEY,
        ),
        (
            "forecast as of",
            "SELECT * FROM forecast_as_of(%(city)s, %(moment)s, %(moment)s,"
            " %(moment)s::timestamptz + interval '24 hours')",
            BY_KEY,
        ),
    )
}
# Limits of a read: ratio to the reference, and milliseconds at the 99th percentile
GOALS = {
    "recent": (1.2, 10.0),
    "profile": (1.2, 10.0),
    "weather": (1.3, None),
    "latest forecast": (None, 5.0),
    "forecast as of": (None, 5.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cities", type=int, default=1000)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--database")
    options = parser.parse_args()
    with measuring.server() as server, _filled(server, options) as url:
        found = measure(url, options.times)
    heads = [name for name in found[0] if name not in ("partitions", "rows")]
    print("".join(f"{name:<16}" if name == "what" else f"{name:>14}" for name in heads))
    for row in found:
        print("".join(f"{row[name]!s:<16}" if name == "what" else f"{row[name]!s:>14}" for name in heads))
    measuring.record("reading", [{"times": options.times} | row for row in found])


@contextmanager
def _filled(server: str, options: argparse.Namespace) -> Iterator[str]:
    if options.database:
        yield make_conninfo(server, dbname=options.database)
        return
    with measuring.database(server) as url:
        rows.fill(
            url,
            cities=options.cities,
            minutes=options.minutes,
            days=options.days,
            forecast_cities=min(100, options.cities),
        )
        yield url


def measure(url: str, times: int) -> list[dict[str, object]]:
    """Return a row per query and reader."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        facts = connection.execute(
            "SELECT count(*), sum(c.reltuples)::bigint FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'energy_consumption'::regclass"
        ).fetchone()
        assert facts is not None
        cities = [
            row[0]
            for row in connection.execute(
                "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM cities) c WHERE n %% 5 = 1"
                " ORDER BY n LIMIT %s",
                (GRANTED,),
            )
        ]
        _copy_alone(connection, cities[0])
        person = f"reader_{uuid4().hex[:8]}"
        connection.execute(
            sql.SQL("CREATE ROLE {0} LOGIN; GRANT energy_forecast_app TO {0}").format(sql.Identifier(person))
        )
        try:
            connection.execute(
                "INSERT INTO user_city_access (user_id, city_id) SELECT %s, unnest(%s::uuid[])", (person, cities)
            )
            found: list[dict[str, object]] = []
            for who, role in (("person", person), ("owner", "energy_forecast_owner")):
                found += _ask(url, role, who, cities, times)
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(person)))
            connection.execute("DROP SCHEMA alone CASCADE")
    return [{"partitions": facts[0], "rows": facts[1]} | row for row in found]


def _ask(url: str, role: str, who: str, cities: list[UUID], times: int) -> list[dict[str, object]]:
    found = []
    with psycopg.connect(url, autocommit=True) as reader, psycopg.connect(url, autocommit=True) as alone:
        for connection in (reader, alone):
            connection.execute("SET timezone = 'UTC'")
        reader.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        alone.execute("SET search_path = alone")
        now = datetime.now(UTC)
        row = alone.execute("SELECT min(issued_at) FROM public.prediction_vintages").fetchone()
        assert row is not None
        # The first vintages of a city cover less than a day
        vintages = int((now - row[0]).total_seconds() / 3600) - 24

        def answer(
            connection: Connection, statement: LiteralString, city: UUID, number: int
        ) -> list[tuple[object, ...]]:
            moment = now - timedelta(hours=number * 7919 % vintages + 1)
            return connection.execute(
                statement, {"city": city, "until": now, "hours": 24, "days": 30, "bin": 1, "moment": moment}
            ).fetchall()

        for what, (statement, reference) in QUESTIONS.items():
            city = cities[0]
            if reference is statement and answer(reader, statement, city, 0) != answer(alone, statement, city, 0):
                raise SystemExit(f"Query '{what}' returned other rows than its reference.")
            if not answer(reader, statement, city, 30):
                raise SystemExit(f"Query '{what}' returned no rows.")
            ours, theirs = [], []
            for number in range(times):
                its_city = cities[number % len(cities)]
                ours.append(timed(reader, partial(answer, reader, statement, its_city, number)))
                theirs.append(timed(alone, partial(answer, alone, reference, city, number)))
            ratio_goal, p99_goal = GOALS[what]
            wall, reference_wall, cpu, reference_cpu = (
                [getattr(each, clock) * 1000 for each in measured]
                for clock in ("wall", "cpu")
                for measured in (ours, theirs)
            )
            found.append(
                {
                    "what": what,
                    "who": who,
                    "median ms": f"{statistics.median(wall):.2f}",
                    "p99 ms": f"{percentile(wall, 0.99):.2f}",
                    "reference ms": f"{statistics.median(reference_wall):.2f}",
                    "ratio": f"{statistics.median(wall) / statistics.median(reference_wall):.2f}",
                    "cpu ms": f"{statistics.median(cpu):.2f}",
                    "cpu p99": f"{percentile(cpu, 0.99):.2f}",
                    "reference cpu": f"{statistics.median(reference_cpu):.2f}",
                    "cpu ratio": f"{statistics.median(cpu) / statistics.median(reference_cpu):.2f}",
                    "goal": ratio_goal or "",
                    "p99 goal": p99_goal or "",
                }
            )
    return found


def _copy_alone(connection: Connection, city: UUID) -> None:
    """Create schema `alone`: tables with this city's rows only, and the same functions and views over them."""
    connection.execute("DROP SCHEMA IF EXISTS alone CASCADE")
    connection.execute("CREATE SCHEMA alone")
    for table, key in (
        ("cities", "id"),
        ("energy_consumption", "city_id, timestamp"),
        ("weather_data", "city_id, timestamp"),
        ("hourly_consumption_rollup", "city_id, hour"),
        ("changed_consumption", None),
    ):
        source = "ops.changed_consumption" if key is None else f"public.{table}"
        column = "id" if table == "cities" else "city_id"
        order = key or "city_id"
        rows_of_the_city = f"SELECT * FROM {source} WHERE {column} = '{city}' ORDER BY {order}"  # noqa: S608
        connection.execute(f"CREATE TABLE alone.{table} AS {rows_of_the_city}")  # type: ignore[arg-type]
        if key:
            connection.execute(f"ALTER TABLE alone.{table} ADD PRIMARY KEY ({key})")  # type: ignore[arg-type]
    city_alone = f"AS $$ SELECT ARRAY['{city}'::uuid] $$"
    connection.execute(
        f"CREATE FUNCTION alone.readable_cities() RETURNS uuid[] LANGUAGE sql STABLE {city_alone}"  # type: ignore[arg-type]
    )
    connection.execute(
        "CREATE FUNCTION alone.may_read_city(city uuid) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT true $$"
    )
    connection.execute("SET check_function_bodies = off")
    for name in FUNCTIONS:
        row = connection.execute("SELECT pg_get_functiondef(%s::regproc)", (name,)).fetchone()
        assert row is not None
        connection.execute(_of_alone(row[0]).replace("'public'", "'alone'"))
    connection.execute("SET search_path = pg_catalog")
    for name in VIEWS:
        row = connection.execute("SELECT pg_get_viewdef(%s::regclass)", (f"public.{name}",)).fetchone()
        assert row is not None
        connection.execute(f"CREATE VIEW alone.{name} WITH (security_barrier) AS {_of_alone(row[0])}")  # type: ignore[arg-type]
    connection.execute("RESET search_path")
    for table in ("cities", "energy_consumption", "weather_data", "hourly_consumption_rollup", "changed_consumption"):
        connection.execute(f"VACUUM (ANALYZE) alone.{table}")  # type: ignore[arg-type]


def _of_alone(definition: str) -> str:
    return definition.replace("public.", "alone.").replace("ops.", "alone.")


if __name__ == "__main__":
    main()
