"""Readings of stored facts: cities, load and weather."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Literal

import polars as pl

from energy_forecast.database.cities import StoredCity, all_cities, city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.readings import rows_of
from energy_forecast.errors import EnergyForecastError
from energy_forecast.pipelines.as_of import read_as_of
from energy_forecast.readings.spans import span_of
from energy_forecast.tables import UTC_TIME, Schema, Table

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
    "interval_minutes": pl.Int32,
    "minutes_known": pl.Int32,
    "available_at": UTC_TIME,
}
REVISIONS: Schema = {
    "timestamp": UTC_TIME,
    "consumption_kwh": pl.Float64,
    "peak_demand_kw": pl.Float64,
    "interval_minutes": pl.Int32,
    "available_at": UTC_TIME,
    "recorded_at": UTC_TIME,
    "superseded_at": UTC_TIME,
}
_QUANTITIES: Schema = dict.fromkeys(("temperature", "humidity", "wind_speed", "precipitation"), pl.Float64)
WEATHER: Schema = {
    "timestamp": UTC_TIME,
    "interval_end": UTC_TIME,
    **_QUANTITIES,
    "interval_minutes": pl.Int32,
    "available_at": UTC_TIME,
}
WEATHER_FORECAST: Schema = {"timestamp": UTC_TIME, "interval_end": UTC_TIME, "issued_at": UTC_TIME, **_QUANTITIES}
HISTORY: Schema = {"timestamp": UTC_TIME, "consumption_kwh": pl.Float64, **_QUANTITIES}
_DEFAULT_SPAN = timedelta(days=7)


def cities(connection: Connection) -> Table:
    """Return the cities that the reader may see, sorted by name."""
    rows = [
        (one.name, one.latitude, one.longitude, one.timezone, one.country_code, one.subdivision)
        for one in all_cities(connection)
    ]
    return Table(pl.DataFrame(rows, schema=CITIES, orient="row"))


def consumption(
    connection: Connection,
    city: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    day: date | None = None,
    as_of: datetime | None = None,
    resolution: Literal["interval", "hour", "day"] = "interval",
) -> Table:
    """Return the load of a city as known at a time, by default of the last seven days.

    With `resolution` hour or day, `minutes_known` below `interval_minutes` means that values are missing. An interval
    belongs to the hour or local day in which it starts.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the span is empty or too long.
    """
    place, known_at, first, last = _asked(connection, city, start, end, day, as_of)
    parameters = {
        "city": place.id,
        "zone": place.timezone,
        "as_of": known_at,
        "first": first,
        "end": last,
        "resolution": resolution,
    }
    query = "consumption" if resolution == "interval" else "consumption_by_period"
    frame = rows_of(connection, query, parameters, CONSUMPTION)
    return Table(frame, _facts(place, first, last, known_at) | {"resolution": resolution})


def revisions(
    connection: Connection,
    city: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    day: date | None = None,
) -> Table:
    """Return all versions of the load of a city whose values were corrected, by interval and time of recording.

    Intervals with one version have no row. The present version has no `superseded_at`.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the span is empty or too long.
    """
    place, now, first, last = _asked(connection, city, start, end, day, None)
    frame = rows_of(connection, "revisions", {"city": place.id, "first": first, "end": last}, REVISIONS)
    return Table(frame, _facts(place, first, last, now))


def weather(
    connection: Connection,
    city: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    day: date | None = None,
    as_of: datetime | None = None,
) -> Table:
    """Return the observed weather of a city as known at a time, by default of the last seven days.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the span is empty or too long.
    """
    place, known_at, first, last = _asked(connection, city, start, end, day, as_of)
    parameters = {"city": place.id, "as_of": known_at, "first": first, "end": last}
    return Table(rows_of(connection, "weather", parameters, WEATHER), _facts(place, first, last, known_at))


def weather_forecast(
    connection: Connection,
    city: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    day: date | None = None,
    as_of: datetime | None = None,
) -> Table:
    """Return the last weather forecast issued by a time for each hour, by default for the seven days after that time.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the span is empty or too long.
    """
    place, known_at, first, last = _asked(connection, city, start, end, day, as_of, ahead=True)
    parameters = {"city": place.id, "as_of": known_at, "first": first, "end": last}
    frame = rows_of(connection, "weather_forecast", parameters, WEATHER_FORECAST)
    return Table(frame, _facts(place, first, last, known_at))


def history(
    connection: Connection,
    city: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    day: date | None = None,
    as_of: datetime | None = None,
) -> Table:
    """Return the hourly load and weather of a city as the models see them: the values known at a time.

    Hours with missing intervals have no load. By default these are the last seven days.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the span is empty or too long.
    """
    place, known_at, first, last = _asked(connection, city, start, end, day, as_of)
    known = read_as_of(connection, place, at=known_at, first=first)
    both = known.load.join(known.weather, on="timestamp", how="full", coalesce=True).sort("timestamp")
    frame = known.shift.to_city_hours(both).filter(pl.col("timestamp") < last)
    return Table(frame.select(*HISTORY), _facts(place, first, last, known_at))


def _asked(
    connection: Connection,
    city: str,
    start: datetime | None,
    end: datetime | None,
    day: date | None,
    as_of: datetime | None,
    *,
    ahead: bool = False,
) -> tuple[StoredCity, datetime, datetime, datetime]:
    """Return the city, the time by which values must be known, and the span."""
    place = city_named(connection, city)
    now = database_now(connection)
    if as_of is not None and as_of > now:
        raise EnergyForecastError(
            f"`as_of` is in the future: {as_of:%Y-%m-%dT%H:%MZ}.", hint="Leave it out for the present state."
        )
    known_at = as_of or now
    default = (known_at, known_at + _DEFAULT_SPAN) if ahead else (known_at - _DEFAULT_SPAN, known_at)
    return place, known_at, *span_of(start, end, day=day, zone=place.timezone, default=default)


def _facts(place: StoredCity, first: datetime, last: datetime, known_at: datetime) -> dict[str, Any]:
    return {"city": place.name, "timezone": place.timezone, "start": first, "end": last, "as_of": known_at}
