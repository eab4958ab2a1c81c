"""Runs as they are written: what stands in the tables is what was handed over, to the bit and to the hundredth."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import polars as pl
import psycopg

from energy_forecast.database import Database, Role
from energy_forecast.database.forecasts import NewForecast, NewRun, add_runs, ensure_partitions

# Not to the full second, and a moment that a double holds only nearly
AT = datetime(2024, 1, 15, 0, 0, 0, 123457, tzinfo=UTC)
CITIES = [UUID(int=1), UUID(int=2), UUID(int=2**128 - 1)]
MODEL = UUID(int=3)
LEVELS = (0.05, 0.5, 0.95)
HOURS = [datetime(2024, 1, 15, hour, tzinfo=UTC) for hour in (1, 2)]


def frame(*values: tuple[float, ...]) -> pl.DataFrame:
    """Two hours: predicted, then the three quantiles."""
    columns = ["predicted", "q05", "q50", "q95"]
    data = pl.DataFrame(list(values), schema=columns, orient="row")
    return data.insert_column(0, pl.Series("timestamp", HOURS, dtype=pl.Datetime("us", "UTC")))


def test_what_is_written_is_what_was_handed_over(database: Database) -> None:
    with psycopg.connect(database.url) as connection:
        for place, city in enumerate(CITIES):
            connection.execute(
                "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, %s, 1, 1, 'UTC')",
                (city, f"City {place}"),
            )
        connection.execute(
            "INSERT INTO models (id, name, type, version, trained_until) VALUES (%s, 'm', 'trees', '1', %s)",
            (MODEL, AT),
        )
    values = [(9_999_999_999.99, 0.1 + 0.2, 1e9 / 3, 9_999_990_000.0), (0.0, 0.0, 1e-40, 1.006)]
    run = NewRun(
        model_id=MODEL,
        purpose="replay",
        issued_at=AT,
        horizon=timedelta(hours=2),
        weather="none",
        quantile_levels=LEVELS,
        started_at=AT,
        finished_at=AT,
        forecasts=[NewForecast(city, frame(*values)) for city in CITIES],
    )
    with database.transaction(Role.FORECASTER) as connection:
        ensure_partitions(connection, first=AT, last=AT)
    with database.transaction(Role.FORECASTER) as connection:
        add_runs(connection, [run])

    with psycopg.connect(database.url) as connection:
        vintages = connection.execute(
            "SELECT city_id, timestamp, issued_at, run_id, model_id, predicted_consumption, quantiles::float8[]"
            " FROM vintage_values ORDER BY city_id, timestamp"
        ).fetchall()
        current = connection.execute(
            "SELECT city_id, timestamp, issued_at, run_id, predicted_consumption, confidence_lower, confidence_upper,"
            " confidence_level FROM predictions ORDER BY city_id, timestamp"
        ).fetchall()
    predicted = [Decimal("9999999999.99"), Decimal("0.00")]
    bounds = [(Decimal("0.30"), Decimal("9999989760.00")), (Decimal("0.00"), Decimal("1.01"))]
    single = [[struct.unpack("f", struct.pack("f", value))[0] for value in row[1:]] for row in values]
    assert vintages == [
        (city, moment, AT, run.id, MODEL, float(predicted[place]), single[place])
        for city in CITIES
        for place, moment in enumerate(HOURS)
    ]
    assert current == [
        (city, moment, AT, run.id, predicted[place], *bounds[place], Decimal("0.900"))
        for city in CITIES
        for place, moment in enumerate(HOURS)
    ]
