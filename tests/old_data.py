"""A database with more history than the retention policies keep."""

from __future__ import annotations

from typing import Any

import psycopg

from energy_forecast.database import Database

Connection = psycopg.Connection[Any]


def fill_old(database: Database) -> None:
    """Two cities with 28 months of values every six hours, corrections of the oldest; forecasts, two of them scored."""
    with psycopg.connect(database.url) as connection:
        for statement in (
            "UPDATE ops.retention_policies SET keep = '2 years' WHERE keep IS NULL",
            "INSERT INTO cities (name, latitude, longitude, timezone) VALUES ('Mumbai', 19, 72.9, 'Asia/Kolkata'),"
            " ('Berlin', 52.5, 13.4, 'Europe/Berlin')",
            "SELECT ensure_month_partitions(t, now() - interval '28 months', now()) FROM"
            " unnest(ARRAY['energy_consumption', 'weather_data', 'weather_forecasts', 'prediction_vintages']) t",
            "CREATE TEMPORARY TABLE hours AS SELECT c.id AS city_id, h AS hour FROM cities c, generate_series("
            "date_trunc('month', now() - interval '28 months', 'UTC'), now() - interval '1 hour', '6 hours') h",
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
            " SELECT city_id, hour, extract(epoch FROM hour)::bigint % 997, hour + interval '1 hour' FROM hours",
            "INSERT INTO weather_data (city_id, timestamp, temperature, available_at)"
            " SELECT city_id, hour, 20, hour + interval '1 hour' FROM hours",
            # Ten corrections for each city, all in the oldest month
            "UPDATE energy_consumption SET consumption_kwh = consumption_kwh + 1"
            " WHERE timestamp < date_trunc('month', now() - interval '28 months', 'UTC') + interval '60 hours'",
            "INSERT INTO models (name, type, version, trained_until)"
            " VALUES ('naive-168', 'baseline', '1', now() - interval '29 months')",
            # One issue in each of the three oldest months, and one of yesterday
            "INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
            " started_at, finished_at) SELECT m.id, 'replay', i, '48 hours', 'none', '{0.1,0.9}', 'succeeded', now(),"
            " now() FROM models m, unnest(ARRAY["
            " date_trunc('month', now() - interval '28 months', 'UTC') + interval '20 days',"
            " date_trunc('month', now() - interval '27 months', 'UTC') + interval '20 days',"
            " date_trunc('month', now() - interval '26 months', 'UTC') + interval '20 days',"
            " date_trunc('hour', now() - interval '1 day', 'UTC')]) i",
            "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
            " interval_minutes, quantile_count, predicted_consumption, quantiles) SELECT r.id, c.id, r.model_id,"
            " r.issued_at, r.issued_at, r.issued_at + interval '47 hours', 60, 2, array_fill(100::float8, ARRAY[48]),"
            " array_fill(100::real, ARRAY[96]) FROM forecast_runs r, cities c",
            "INSERT INTO model_metrics (model_id, timestamp, mape) SELECT id, t, 3 FROM models,"
            " unnest(ARRAY[now() - interval '13 months', now()]) t",
            # A score of what was issued in the second of these months, for lead times of 6 to 24 hours
            "INSERT INTO forecast_scores (model_id, city_id, purpose, weather, period_start, period_end,"
            " lead_start_hours, lead_end_hours, pair_count, pair_digest, mae_kwh, rmse_kwh, pinball_kwh, coverage_90,"
            " width_90_kwh, actuals_as_of) SELECT r.model_id, c.id, 'replay', 'none', r.issued_at + interval '6 hours',"
            " r.issued_at + interval '24 hours', 6, 24, 18, 'x', 1, 1, 1, 0.9, 2, now() FROM forecast_runs r, cities c"
            " WHERE c.name = 'Berlin' AND r.issued_at = date_trunc('month', now() - interval '27 months', 'UTC')"
            " + interval '20 days'",
        ):
            if statement.startswith("UPDATE"):
                # What was changed before anybody saw it is no revision
                connection.commit()
            connection.execute(statement)


def counts(connection: Connection) -> dict[str, int]:
    """Rows of every table and partition."""
    names = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'm')"
        " AND relnamespace IN ('public'::regnamespace, 'ops'::regnamespace) ORDER BY 1"
    ).fetchall()
    return {name: n for (name,) in names for (n,) in connection.execute(f"SELECT count(*) FROM {name}")}  # noqa: S608
