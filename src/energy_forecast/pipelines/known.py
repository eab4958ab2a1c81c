"""Everything about a city that could be known at a moment, in the form that the pure part takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import polars as pl

from energy_forecast.database import history
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection
from energy_forecast.forecasting import City
from energy_forecast.forecasting.quality import faulty_rows

Weather = Literal["actual", "forecast", "none"]

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
ACTUALS: dict[str, pl.DataType] = {
    "timestamp": pl.Datetime("us", "UTC"),
    "consumption_kwh": pl.Float64(),
    "left_out": pl.Boolean(),
}
# Whether an hour of a year is faulty is judged by the year, by this much before it, and by this much after it
_JUDGED_BY = timedelta(days=90)
_JUDGED_UNTIL = timedelta(days=8)


@dataclass(frozen=True)
class HourShift:
    """Moves hours that begin past the full UTC hour (a meter that counts local hours in a half-hour zone) onto it.

    Forward, not back: an hour that begins at half past keeps its local hour and its local day.
    """

    phase: int

    @property
    def by(self) -> timedelta:
        return timedelta(minutes=(60 - self.phase) % 60)

    def onto(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with its timestamps on full UTC hours."""
        return frame.with_columns(pl.col("timestamp") + self.by) if self.phase else frame

    def back(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with its timestamps where the city's hours really begin."""
        return frame.with_columns(pl.col("timestamp") - self.by) if self.phase else frame


@dataclass(frozen=True)
class Known:
    """What was known of a city at `at`. All frames are hourly and on full UTC hours, moved there by `shift`.

    load: timestamp, consumption_kwh. weather and weather_ahead: timestamp, temperature, humidity, wind_speed,
    precipitation; `weather_ahead` stands for the hours from `at` on.
    """

    at: datetime
    shift: HourShift
    load: pl.DataFrame
    weather: pl.DataFrame
    weather_ahead: pl.DataFrame


def known_at(
    connection: Connection,
    city: StoredCity,
    *,
    at: datetime,
    first: datetime = BEGINNING,
    horizon_hours: int = 0,
    weather: Weather = "forecast",
    actual_as_of: datetime | None = None,
    recorded_by: datetime | None = None,
) -> Known:
    """Read what was known at `at` of the time from `first` on.

    Args:
        horizon_hours: for how many hours from `at` on weather is wanted.
        weather: which weather stands for those hours. `actual` borrows from the future, as of `actual_as_of`.
        recorded_by: leave out what was recorded later, even if its source claims an earlier moment.
    """
    phase = history.phase_as_of(connection, city.id, at)
    shift = HourShift(phase)
    end = at + timedelta(hours=horizon_hours + 1)
    read: dict[str, Any] = {"phase": phase, "recorded_by": recorded_by}
    load = history.load_as_of(connection, city.id, as_of=at, first=first, end=at, **read)
    past_weather = history.weather_as_of(connection, city.id, as_of=at, first=first, end=at, **read)
    ahead = past_weather.clear()
    # From a little before: the hour in which `at` lies may still be under way
    ahead_first = at - timedelta(hours=1)
    if horizon_hours and weather == "forecast":
        ahead = history.weather_forecast_as_of(connection, city.id, as_of=at, first=ahead_first, end=end, **read)
    elif horizon_hours and weather == "actual":
        if actual_as_of is None:
            raise ValueError("actual weather needs actual_as_of")
        ahead = history.weather_as_of(connection, city.id, as_of=actual_as_of, first=ahead_first, end=end, **read)
    return Known(at, shift, shift.onto(load), shift.onto(past_weather), shift.onto(ahead))


def actual_load(
    connection: Connection,
    city: StoredCity,
    *,
    as_of: datetime,
    first: datetime,
    end: datetime,
    recorded_by: datetime | None = None,
) -> pl.DataFrame:
    """Actuals to score against, by the city's own hours from `first` to before `end`.

    Args:
        as_of: the moment by which the values were available.
        first, end: bounds of the hours.
        recorded_by: leave out what was recorded later, even if its source claims an earlier moment.

    Returns:
        timestamp, consumption_kwh (null where the hour is faulty), left_out (whether it is). Hours that are not known
        have no row.
    """
    phase = history.phase_as_of(connection, city.id, as_of)
    years = range(first.astimezone(UTC).year, (end - timedelta(microseconds=1)).astimezone(UTC).year + 1)
    parts = [pl.DataFrame(schema=ACTUALS)]
    for year in years:
        # By calendar years, whatever span is asked for: a score and its explanation must judge an hour alike
        begin, stop = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        known = history.load_as_of(
            connection,
            city.id,
            as_of=as_of,
            first=begin - _JUDGED_BY,
            end=stop + _JUDGED_UNTIL,
            phase=phase,
            recorded_by=recorded_by,
        )
        judged = known.with_columns(pl.Series("left_out", faulty_rows(known), pl.Boolean)).filter(
            pl.col("timestamp") >= max(begin, first), pl.col("timestamp") < min(stop, end)
        )
        parts.append(judged.with_columns(pl.when(~pl.col("left_out")).then("consumption_kwh").alias("consumption_kwh")))
    return pl.concat(parts)


def pure_city(city: StoredCity) -> City:
    """The city as the pure part knows it."""
    return City(
        name=city.name,
        latitude=city.latitude,
        longitude=city.longitude,
        timezone=city.timezone,
        country_code=city.country_code,
        subdivision=city.subdivision,
    )
