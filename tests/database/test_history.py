"""History by the hour, as the program adds it up, beside what PostgreSQL makes of the same values."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

import polars as pl
import psycopg
import pytest

from energy_forecast.database import Database, Role
from energy_forecast.database.history import (
    load_as_of,
    weather_as_of,
    weather_forecast_as_of,
    weather_vintages_as_of,
)
from servers import Server

CITY = UUID("aaaaaaaa-0000-4000-8000-000000000001")
FIRST = datetime(2024, 1, 10, tzinfo=UTC)
END = FIRST + timedelta(days=40)
AS_OF = FIRST + timedelta(days=35)
ORIGIN: LiteralString = "date_bin('1 hour', timestamp, timestamptz '2000-01-01Z' + make_interval(mins => %(phase)s))"
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture(scope="module")
def known(server: Server, template: str) -> Iterator[Database]:
    """Load a city by ten minutes with holes; some values corrected twice, once after AS_OF; weather with holes too."""
    drawn = random.Random(7)
    moments = [FIRST + timedelta(minutes=10 * place) for place in range(40 * 144)]
    loads = [
        (CITY, moment, drawn.choice((drawn.randrange(10**12), drawn.randrange(10**5), 0)), moment + TEN_MINUTES)
        for moment in moments
        if drawn.random() < 0.99
    ]
    weather = [
        (
            CITY,
            moment,
            drawn.randrange(-999, 4000),
            *(None if drawn.random() < 0.6 else drawn.randrange(4999) for _ in "hwp"),
        )
        for moment in moments
    ]
    with server.copy_of(template) as database:
        with psycopg.connect(database.url) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, 'Pune', 18, 73, %s)",
                (CITY, "Asia/Kolkata"),
            )
            for table in ("energy_consumption", "weather_data", "weather_forecasts"):
                cursor.execute("SELECT ensure_month_partitions(%s, %s, %s)", (table, FIRST, END))
            cursor.executemany(
                "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at, interval_minutes)"
                " VALUES (%s, %s, %s::numeric / 100, %s, 10)",
                loads,
            )
            cursor.executemany(
                "INSERT INTO weather_data (city_id, timestamp, temperature, humidity, wind_speed, precipitation,"
                " available_at, interval_minutes) SELECT c, t, d::numeric / 100, h::numeric / 100, w::numeric / 100,"
                " p::numeric / 100, t + interval '10 minutes', 10"
                " FROM (VALUES (%s::uuid, %s::timestamptz, %s::int, %s::int, %s::int, %s::int)) x (c, t, d, h, w, p)",
                weather,
            )
            cursor.execute(
                "INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature, humidity, wind_speed,"
                " precipitation) SELECT city_id, timestamp, %s, temperature, humidity, wind_speed, precipitation"
                " FROM weather_data",
                (FIRST,),
            )
            for days in (20, 36):
                connection.commit()
                cursor.execute(
                    "UPDATE energy_consumption SET consumption_kwh = consumption_kwh / 3, available_at = %(at)s"
                    " WHERE extract(minute FROM timestamp) = 20 AND timestamp < %(at)s - interval '10 days'",
                    {"at": FIRST + timedelta(days=days)},
                )
        yield database


@pytest.mark.parametrize("phase", [0, 30, 50])
def test_hours_are_the_sums_that_postgresql_makes_to_the_bit(known: Database, phase: int) -> None:
    """Whole hundredths have one sum, and it is exact."""
    span = {"city": CITY, "as_of": AS_OF, "first": FIRST, "end": END, "phase": phase}
    with known.transaction(Role.FORECASTER) as connection:
        found = load_as_of(connection, CITY, as_of=AS_OF, first=FIRST, end=END, phase=phase)
        wanted = connection.execute(
            f"SELECT {ORIGIN}, sum(consumption_kwh)::float8"  # noqa: S608
            " FROM consumption_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s)"
            " GROUP BY 1 HAVING sum(interval_minutes) = 60 ORDER BY 1",
            span,
        ).fetchall()
    assert found.rows() == wanted
    # Most hours are whole, and some are not
    assert 35 * 24 * 0.8 < found.height < 35 * 24


@pytest.mark.parametrize("phase", [0, 30])
@pytest.mark.parametrize("source", ["weather_as_of", "weather_forecast_as_of"])
def test_weather_is_the_mean_of_what_is_known_and_rain_its_sum(known: Database, source: str, phase: int) -> None:
    read = {"weather_as_of": weather_as_of, "weather_forecast_as_of": weather_forecast_as_of}[source]
    span = {"city": CITY, "as_of": AS_OF, "first": FIRST, "end": END, "phase": phase}
    with known.transaction(Role.FORECASTER) as connection:
        found = read(connection, CITY, as_of=AS_OF, first=FIRST, end=END, phase=phase)
        wanted = connection.execute(
            f"SELECT {ORIGIN}, avg(temperature)::float8, avg(humidity)::float8, avg(wind_speed)::float8,"  # noqa: S608
            f" sum(precipitation)::float8 FROM {source}(%(city)s, %(as_of)s, %(first)s, %(end)s)"
            " GROUP BY 1 ORDER BY 1",
            span,
        ).fetchall()
    assert [row[0] for row in found.rows()] == [row[0] for row in wanted]
    for mine, theirs in zip(found.rows(), wanted, strict=True):
        for one, other in zip(mine[1:], theirs[1:], strict=True):
            assert (one is None) == (other is None)
            assert one is None or math.isclose(one, other, rel_tol=1e-15, abs_tol=0)
        assert mine[4] == theirs[4], "a sum of hundredths is exact"
    assert any(row[2] is None for row in wanted), "an hour without any value"


@pytest.mark.parametrize("phase", [0, 30])
def test_vintages_are_the_first_of_each_day_known_at_a_time(known: Database, phase: int) -> None:
    """Training sees no later issue and no hour after its cutoff, and each hour is the mean of its own vintage."""
    city = UUID(int=1 + phase)
    as_of = FIRST + timedelta(days=3, hours=7)
    with psycopg.connect(known.url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, %s, 15, 73, 'UTC')",
            (city, f"Goa {phase}"),
        )
        # Four issues a day, each for 48 h by half hours; the temperature is the number of the issue
        cursor.execute(
            "INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature, humidity)"
            " SELECT %s, at + h * interval '30 minutes', at, n, CASE WHEN h %% 2 = 1 THEN 40 END"
            " FROM generate_series(0, 19) n, LATERAL (SELECT %s + n * interval '6 hours' AS at) i,"
            " generate_series(0, 95) h",
            (city, FIRST + timedelta(hours=3)),
        )
    with known.transaction(Role.FORECASTER) as connection:
        found = weather_vintages_as_of(connection, city, as_of=as_of, first=FIRST, phase=phase)
        later = weather_vintages_as_of(connection, city, as_of=as_of, first=FIRST + timedelta(days=1), phase=phase)
    issues = found.group_by("issued_at", maintain_order=True).agg(pl.len(), pl.col("temperature").unique().first())
    # Phase 30: the first half hour of a vintage is in the hour before
    more = phase // 30
    begun = [FIRST + timedelta(days=day, hours=3) for day in range(4)]
    assert issues["issued_at"].to_list() == begun
    assert issues["len"].to_list() == [48 + more, 48 + more, 28 + more, 4 + more]
    assert issues["temperature"].to_list() == [0, 4, 8, 12]
    assert found.filter(pl.col("timestamp") >= as_of).is_empty()
    assert found["timestamp"][1].minute == phase
    assert found["humidity"].drop_nulls().unique().to_list() == [40]
    assert later["issued_at"].unique(maintain_order=True).to_list() == begun[1:]


def test_a_city_without_rows_has_no_hours(known: Database) -> None:
    with known.transaction(Role.FORECASTER) as connection:
        for read in (load_as_of, weather_as_of, weather_forecast_as_of):
            found = read(connection, UUID(int=0), as_of=AS_OF, first=FIRST, end=END, phase=30)
            assert found.height == 0
            assert found.columns[0] == "timestamp"
