"""The three common reports: recent consumption, consumption by temperature, performance of the models."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import dict_rows, queries

Rows = list[dict[str, Any]]


def _rows(connection: Connection, query: str, parameters: dict[str, Any]) -> Rows:
    return dict_rows(connection, queries("reports")[query], parameters)


def recent_consumption(connection: Connection, city: UUID, *, hours: int = 24, until: datetime | None = None) -> Rows:
    """Return the last hours of a city, including the current hour and hours without data.

    Args:
        hours: 1 to 87840.
        until: end of the report; None for now.

    Returns:
        hour (START, UTC), local_hour (city time, with its offset), total_consumption (kWh in the hour),
        peak_demand (kW), minutes_known: below 60 the hour is incomplete, above 60 its intervals overlap.
    """
    until = until or database_now(connection)
    return _rows(connection, "recent", {"city": city, "hours": hours, "until": until})


def recent_days(connection: Connection, city: UUID, *, hours: int = 168, until: datetime | None = None) -> Rows:
    """Return the whole local days that contain the last hours of a city.

    Returns:
        local_date, hours (23, 24, 25; 23.5 and 24.5 if the clock changes by half an hour), hours_known,
        total_consumption (kWh in the day), peak_demand (kW), is_complete (no interval is missing).
    """
    until = until or database_now(connection)
    days = connection.execute(
        queries("reports")["local_days"], {"city": city, "hours": hours, "until": until}
    ).fetchone()
    if days is None:
        return []
    return _rows(connection, "daily", {"city": city, "first_day": days[0], "last_day": days[1]})


def last_known(connection: Connection, city: UUID, *, until: datetime | None = None) -> datetime | None:
    """Return the START of the last stored interval of a city's consumption up to `until`, or None."""
    until = until or database_now(connection)
    row = connection.execute(queries("reports")["last_known"], {"city": city, "until": until}).fetchone()
    return None if row is None else row[0]


def weather_correlation(
    connection: Connection,
    city: UUID,
    *,
    days: int = 30,
    bin_width: Decimal = Decimal(1),
    until: datetime | None = None,
) -> Rows:
    """Return the mean consumption of a city's complete hours by temperature bin.

    Args:
        days: 1 to 3660, of 24 hours each.
        bin_width: 0.01 to 50 degrees Celsius.

    Returns:
        temperature, temperature_end (from, up to; degrees Celsius), avg_consumption (kWh in an hour), sample_count.
    """
    until = until or database_now(connection)
    return _rows(connection, "weather_correlation", {"city": city, "days": days, "bin": bin_width, "until": until})


def weather_correlation_inputs(
    connection: Connection, city: UUID, *, days: int = 30, until: datetime | None = None
) -> dict[str, Any]:
    """Return the basis of `weather_correlation`.

    Keys: hours, part_hours and hours_without_weather (both excluded), coefficient (Pearson's; None if undefined).
    """
    until = until or database_now(connection)
    return _rows(connection, "weather_correlation_inputs", {"city": city, "days": days, "until": until})[0]


def model_performance(connection: Connection, *, days: int = 7, until: datetime | None = None) -> Rows:
    """Return model versions by their scores of the last days, best first, over the cities that the user may see.

    Returns:
        name, version, purpose, weather, avg_mape (percent), avg_rmse and avg_mae (kWh in an hour), coverage_90 (share
        of actuals inside the 90 % interval), prediction_count (pairs of forecast and actual), city_count, assumptions
        (of backtests; otherwise empty).
    """
    until = until or database_now(connection)
    return _rows(connection, "model_performance", {"days": days, "until": until})
