"""Rows generated in the server for the read benchmarks: cities, consumption, weather, and two years of forecasts.

Months of history are stored in the order of a load by city, the last six weeks in the order of hourly arrival. The
audit triggers and the foreign keys are off meanwhile, since only reads are measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from energy_forecast.database import Connection

WEATHER_DAYS = 90
ARRIVING_DAYS = 42
CITY = "00000000-0000-4000-8000-%s"
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


def city_id(number: int) -> str:
    """Return a city's id, from 1."""
    return CITY % f"{number:012d}"


def fill(url: str, *, cities: int, minutes: int, days: int, forecast_cities: int) -> None:
    """Fill a migrated database.

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
            _CONSUMPTION.format(loops=_BY_CITY if by_city else _BY_HOUR),  # type: ignore[arg-type]
            {"first": hours[0], "last": hours[1] - 1, "minutes": minutes},
        )
        start = stop


def _forecasts(connection: Connection, first: datetime, end: datetime, cities: int) -> None:
    """Insert one issue a day for 48 hours, recorded when issued; the last is the current forecast."""
    connection.execute(
        "INSERT INTO models (name, type, version, trained_until) VALUES ('ensemble', 'ensemble', '1', %s)", (first,)
    )
    connection.execute("ALTER TABLE forecast_runs DISABLE TRIGGER honest_clock")
    connection.execute(
        "INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"  # noqa: S608
        f" started_at, finished_at, created_at) SELECT m.id, 'live', t, '48 hours', 'none', {LEVELS}, 'succeeded',"
        " t, t, t FROM models m, generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour', '24 hours') t",
        (first, end),
    )
    connection.execute("ALTER TABLE forecast_runs ENABLE ALWAYS TRIGGER honest_clock")
    connection.execute(
        "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, timestamp, predicted_consumption,"
        " quantiles, quantile_count, created_at)"
        " SELECT r.id, c.id, r.model_id, r.issued_at, r.issued_at + make_interval(hours => h), 100 + h,"
        " ARRAY(SELECT 90.0 + h + q FROM generate_series(1, 19) q), 19, r.issued_at"
        " FROM (SELECT * FROM forecast_runs ORDER BY issued_at) r,"
        " (SELECT id FROM cities ORDER BY id LIMIT %s) c, generate_series(0, 47) h",
        (cities,),
    )
    connection.execute(
        "INSERT INTO predictions (id, city_id, model_id, timestamp, predicted_consumption, confidence_lower,"
        " confidence_upper, confidence_level, run_id, issued_at) SELECT DISTINCT ON (v.city_id, v.timestamp)"
        " v.city_id, v.city_id, v.model_id, v.timestamp, v.predicted_consumption, v.quantiles[1], v.quantiles[19], 0.9,"
        " v.run_id, v.issued_at FROM prediction_vintages v WHERE v.issued_at >= %s::timestamptz - interval '30 days'"
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
                sql.SQL("ALTER TABLE {} " + how + " TRIGGER {}").format(  # type: ignore[arg-type]
                    sql.Identifier(table), sql.Identifier(trigger)
                )
            )

    switch("DISABLE")
    connection.execute("SET session_replication_role = replica")
    try:
        yield
    finally:
        connection.execute("RESET session_replication_role")
        switch("ENABLE ALWAYS")
