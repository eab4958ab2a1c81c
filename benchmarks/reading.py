"""Measure how long a user waits for reads of one city among the rows of a thousand.

    .venv/bin/python benchmarks/reading.py [--cities 1000] [--days 730] [--times 300] [--database NAME]

The reads are the last 24 hours, an hourly profile, and 30 days with the weather, each
as the platform sends it, by a user behind row-level security (granted 20 cities) and by the owner. The reference is the
same SQL, taken from the catalog, in a schema `alone` whose tables hold one city only: no partitions, no policies, the
same key. Then the latest forecast of a city, and the forecast that was live at a moment of the last two years, are
compared with a row read by its primary key. Platform and reference alternate, over connections that stay open; the
city changes each time, so that some pages are not in the cache. The results are the reader's wall-clock time and the
CPU time of the server process: on a shared machine only CPU time is comparable.

By default a database is created and filled (105 million rows, 20 GB): months of history in the order of a load by city,
the last six weeks in the order of hourly arrival. With --database an existing filled one is used and kept.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import LiteralString
from uuid import UUID, uuid4

import measuring
import psycopg
from measuring import percentile, timed
from psycopg import sql
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Connection
from energy_forecast.database.named_queries import queries

WEATHER_DAYS = 90
ARRIVING_DAYS = 42
LEVELS = "'{0.05,0.1,0.15,0.2,0.25,0.3,0.35,0.4,0.45,0.5,0.55,0.6,0.65,0.7,0.75,0.8,0.85,0.9,0.95}'"

# The loops run in this order without a sort, since each inner loop needs a value of the outer loop
_HOUR = "timestamptz '2000-01-01 00:00:00+00' + make_interval(hours => h)"
_CONSUMPTION = f"""
    WITH cities AS MATERIALIZED (SELECT id, row_number() OVER (ORDER BY id) * 7919 AS n FROM cities ORDER BY id)
    INSERT INTO energy_consumption (id, city_id, timestamp, consumption_kwh, peak_demand_kw, available_at,
        interval_minutes)
    SELECT id, id, t, value, value, t + make_interval(mins => %(minutes)s), %(minutes)s
    FROM {{loops}},
    LATERAL (SELECT t, ((n + extract(epoch FROM t)::bigint / 600 * 104729) %% 99991)::integer AS value
             FROM (SELECT {_HOUR} + make_interval(mins => %(minutes)s * k) AS t
                   FROM generate_series((n * 0)::integer, 60 / %(minutes)s - 1 + h * 0) k OFFSET 0) i) v"""  # noqa: S608
_BY_CITY = "cities, LATERAL (SELECT h FROM generate_series(%(first)s + (n * 0)::integer, %(last)s) h OFFSET 0) s"
_BY_HOUR = "generate_series(%(first)s, %(last)s) h, LATERAL (SELECT id, n FROM cities WHERE n > h * 0 OFFSET 0) s"

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
        ("recent", queries("reports")["recent"], None),
        ("profile", "SELECT * FROM hour_of_day_profile WHERE city_id = %(city)s ORDER BY local_time", None),
        ("weather", queries("reports")["weather_correlation"], None),
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
    """Measure the queries and print the table."""
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
        fill(
            url,
            cities=options.cities,
            minutes=options.minutes,
            days=options.days,
            forecast_cities=min(100, options.cities),
        )
        yield url


def fill(url: str, *, cities: int, minutes: int, days: int, forecast_cities: int) -> None:
    """Fill a migrated database, without audit triggers and foreign keys, since only reads are measured.

    Args:
        minutes: length of the consumption intervals; weather is hourly.
        days: of consumption, up to now; forecasts are issued once a day for 48 hours in this period.
        forecast_cities: number of cities with forecasts.
    """
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    first = end - timedelta(days=days)
    arriving = max(first, end - timedelta(days=ARRIVING_DAYS))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(
            "INSERT INTO cities (id, name, latitude, longitude, timezone)"
            " SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'City ' || n, 50, 10,"
            " (ARRAY['Europe/Berlin', 'Asia/Kolkata', 'America/New_York'])[n %% 3 + 1] FROM generate_series(1, %s) n",
            (cities,),
        )
        weather = max(first, end - timedelta(days=WEATHER_DAYS))
        for table, since in (
            ("energy_consumption", first),
            ("weather_data", weather),
            ("prediction_vintages", first),
        ):
            connection.execute("SELECT ensure_month_partitions(%s, %s, %s)", (table, since, end))
        with _unwatched(connection, "energy_consumption", "weather_data", "prediction_vintages", "predictions"):
            _consumption(connection, first, arriving, minutes, by_city=True)
            _consumption(connection, arriving, end, minutes, by_city=False)
            connection.execute(
                "INSERT INTO weather_data (id, city_id, timestamp, temperature, available_at)"
                " SELECT c.id, c.id, t, 10 + 9 * sin(extract(epoch FROM t) / 13751), t + interval '1 hour'"
                " FROM (SELECT id FROM cities ORDER BY id) c,"
                " generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour', '1 hour') t",
                (weather, end),
            )
            _forecasts(connection, first, end, forecast_cities)
        # The changes that the triggers would have recorded
        connection.execute(
            "INSERT INTO ops.changed_consumption SELECT id, date_trunc('hour', now() - interval '31 days', 'UTC'),"
            " 'infinity' FROM cities"
        )
        connection.execute("SELECT ops.refresh_hours()")
        connection.execute("VACUUM (ANALYZE)")


def _consumption(connection: Connection, first: datetime, end: datetime, minutes: int, *, by_city: bool) -> None:
    """Insert month by month, in the order of cities or of hours."""
    start = first
    while start < end:
        stop = min(end, (start.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0))
        hours = [int((moment - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds()) // 3600 for moment in (start, stop)]
        connection.execute(
            _CONSUMPTION.format(loops=_BY_CITY if by_city else _BY_HOUR),
            {"first": hours[0], "last": hours[1] - 1, "minutes": minutes},
        )
        start = stop


def _forecasts(connection: Connection, first: datetime, end: datetime, cities: int) -> None:
    """Insert one issue a day for 48 hours, recorded when issued; the last is the current forecast."""
    connection.execute(
        "INSERT INTO models (name, type, version, trained_until) VALUES ('ensemble', 'ensemble', '1', %s)", (first,)
    )
    connection.execute("ALTER TABLE forecast_runs DISABLE TRIGGER created_at_is_now")
    connection.execute(
        "INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"  # noqa: S608
        f" started_at, finished_at, created_at) SELECT m.id, 'live', t, '48 hours', 'none', {LEVELS}, 'succeeded',"
        " t, t, t FROM models m, generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour', '24 hours') t",
        (first, end),
    )
    connection.execute("ALTER TABLE forecast_runs ENABLE ALWAYS TRIGGER created_at_is_now")
    # One array for all cities and issues: what is measured is reading
    connection.execute(
        "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
        " interval_minutes, quantile_count, predicted_consumption, quantiles, created_at)"
        " SELECT r.id, c.id, r.model_id, r.issued_at, r.issued_at, r.issued_at + interval '47 hours', 60, 19,"
        " ARRAY(SELECT 100.0 + h FROM generate_series(0, 47) h ORDER BY h), ARRAY(SELECT 90.0 + h + q"
        " FROM generate_series(0, 47) h, generate_series(1, 19) q ORDER BY h, q), r.issued_at"
        " FROM (SELECT * FROM forecast_runs ORDER BY issued_at) r, (SELECT id FROM cities ORDER BY id LIMIT %s) c",
        (cities,),
    )
    connection.execute(
        "INSERT INTO predictions (id, city_id, model_id, timestamp, predicted_consumption, confidence_lower,"
        " confidence_upper, confidence_level, run_id, issued_at) SELECT DISTINCT ON (v.city_id, v.timestamp)"
        " v.city_id, v.city_id, v.model_id, v.timestamp, v.predicted_consumption, v.quantiles[1], v.quantiles[19], 0.9,"
        " v.run_id, v.issued_at FROM vintage_values v WHERE v.issued_at >= %s::timestamptz - interval '30 days'"
        " ORDER BY v.city_id, v.timestamp, v.issued_at DESC",
        (end,),
    )


@contextmanager
def _unwatched(connection: Connection, *tables: str) -> Iterator[None]:
    """Disable audit triggers and foreign keys meanwhile."""
    triggers = connection.execute(
        "SELECT t.tgrelid::regclass::text, t.tgname FROM pg_trigger t WHERE t.tgrelid = ANY (%s::regclass[])"
        " AND NOT t.tgisinternal AND t.tgenabled = 'A'",
        (list(tables),),
    ).fetchall()

    def switch(how: str) -> None:
        for table, trigger in triggers:
            connection.execute(
                sql.SQL("ALTER TABLE {} " + how + " TRIGGER {}").format(sql.Identifier(table), sql.Identifier(trigger))
            )

    switch("DISABLE")
    connection.execute("SET session_replication_role = replica")
    try:
        yield
    finally:
        connection.execute("RESET session_replication_role")
        switch("ENABLE ALWAYS")


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
    found: list[dict[str, object]] = []
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
        connection.execute(f"CREATE TABLE alone.{table} AS {rows_of_the_city}")
        if key:
            connection.execute(f"ALTER TABLE alone.{table} ADD PRIMARY KEY ({key})")
    city_alone = f"AS $$ SELECT ARRAY['{city}'::uuid] $$"
    connection.execute(f"CREATE FUNCTION alone.readable_cities() RETURNS uuid[] LANGUAGE sql STABLE {city_alone}")
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
        connection.execute(f"CREATE VIEW alone.{name} WITH (security_barrier) AS {_of_alone(row[0])}")
    connection.execute("RESET search_path")
    for table in ("cities", "energy_consumption", "weather_data", "hourly_consumption_rollup", "changed_consumption"):
        connection.execute(f"VACUUM (ANALYZE) alone.{table}")


def _of_alone(definition: str) -> str:
    return definition.replace("public.", "alone.").replace("ops.", "alone.")


if __name__ == "__main__":
    main()
