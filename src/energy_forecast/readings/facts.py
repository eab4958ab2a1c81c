"""Readings of stored facts: cities, load and weather."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from energy_forecast.database.cities import all_cities, city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import EnergyForecastError
from energy_forecast.tables import UTC_TIME, Schema, Table

# The longest span of one answer; longer ones are read in parts
LONGEST_SPAN = timedelta(days=3700)
_DEFAULT_SPAN = timedelta(days=7)
CITIES: Schema = {
    "city": pl.String,
    **dict.fromkeys(("latitude", "longitude"), pl.Float64),
    **dict.fromkeys(("timezone", "country_code", "subdivision"), pl.String),
}
CONSUMPTION: Schema = {
    "timestamp": UTC_TIME,
    "interval_end": UTC_TIME,
    "consumption_kwh": pl.Float64,
    "peak_demand_kw": pl.Float64,
    "interval_minutes": pl.Int16,
    "available_at": UTC_TIME,
}


def cities(connection: Connection) -> Table:
    """Return the cities that the reader may see, sorted by name."""
    rows = [
        (one.name, one.latitude, one.longitude, one.timezone, one.country_code, one.subdivision)
        for one in all_cities(connection)
    ]
    return Table(pl.DataFrame(rows, schema=CITIES, orient="row"))


def span_of(start: datetime | None, end: datetime | None, as_of: datetime) -> tuple[datetime, datetime]:
    """Return a span of at most LONGEST_SPAN, by default the seven days before `as_of`.

    Raises:
        EnergyForecastError: it is empty or too long.
    """
    last = end or as_of
    first = start or last - _DEFAULT_SPAN
    if last <= first:
        raise EnergyForecastError(f"`end` must be later than `start`: {last.isoformat()}.")
    if last - first > LONGEST_SPAN:
        raise EnergyForecastError(
            f"The span is {(last - first).days} days long, and may have {LONGEST_SPAN.days}.", hint="Read it in parts."
        )
    return first, last


def consumption(
    connection: Connection,
    city: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
) -> Table:
    """Return the load of a city in the intervals as they are stored, as known at a time.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the span is empty or too long.
    """
    place = city_named(connection, city)
    known_at = as_of or database_now(connection)
    first, last = span_of(start, end, known_at)
    parameters = {"city": place.id, "as_of": known_at, "first": first, "end": last}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries("readings")["consumption"], parameters).fetchall()
    facts = {"city": place.name, "timezone": place.timezone, "start": first, "end": last, "as_of": known_at}
    return Table(pl.DataFrame(rows, schema=CONSUMPTION, orient="row"), facts)
