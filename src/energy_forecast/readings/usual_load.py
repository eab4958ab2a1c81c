"""The reading of the usual load: how high the load is at this hour, on such a day, at this time of the year."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from energy_forecast.database.cities import city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.readings import rows_of
from energy_forecast.local_times import to_local
from energy_forecast.readings.facts import CONSUMPTION
from energy_forecast.readings.spans import span_of
from energy_forecast.tables import UTC_TIME, Schema, Table

USUAL: Schema = {
    **dict.fromkeys(("timestamp", "interval_end"), UTC_TIME),
    **dict.fromkeys(("usual_low", "usual_load", "usual_high"), pl.Float64),
    "hours": pl.Int64,
}
# Weeks before the span, and around the same days of earlier years, of which 52 weeks are one
_RECENT, _AROUND, _YEAR, _MOST_YEARS = timedelta(weeks=5), timedelta(weeks=2), timedelta(weeks=52), 4
# Fewer hours have no range
_FEWEST = 10
_LONGEST = timedelta(days=62)


def usual_load(
    connection: Connection,
    city: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
) -> Table:
    """Return the usual range of the hourly load of a city: the middle 80 % of the load at this hour of such days.

    Such days are of the same kind (Monday to Friday, Saturday, Sunday) in the five weeks before `start` and in the two
    weeks around the same days of up to four earlier years. The range is null if there are fewer than ten such hours. By
    default these are the coming seven days; a span may have up to 62 days.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the span is empty or too long.
    """
    place = city_named(connection, city)
    known_at = as_of or database_now(connection)
    first, last = span_of(start, end, day=None, zone=place.timezone, default=(known_at, known_at + timedelta(days=7)))
    last = min(last, first + _LONGEST)
    spans = [(first - _RECENT, first)]
    spans += [
        (first - _YEAR * years - _AROUND, min(last - _YEAR * years + _AROUND, first - _RECENT))
        for years in range(1, _MOST_YEARS + 1)
    ]
    parameters = {"city": place.id, "zone": place.timezone, "as_of": known_at, "resolution": "hour"}
    frames = [
        rows_of(connection, "consumption_by_period", parameters | {"first": since, "end": until}, CONSUMPTION)
        for since, until in spans
    ]
    seen = pl.concat(frames).filter(pl.col("minutes_known") == pl.col("interval_minutes"))
    # The hours of the load all begin at the same minute, which in some zones is not a full hour of UTC
    phase = timedelta(minutes=int(seen["timestamp"].dt.minute().item(0)) if seen.height else 0)
    begin = (first - phase).replace(minute=0, second=0, microsecond=0) + phase
    times = pl.datetime_range(begin, last, "1h", closed="left", time_unit="us", time_zone="UTC", eager=True)
    hours = pl.DataFrame({"timestamp": times})
    ranges = (
        _kinds(seen, place.timezone)
        .group_by("kind", "hour")
        .agg(
            pl.col("consumption_kwh").quantile(0.1, "linear").alias("usual_low"),
            pl.col("consumption_kwh").median().alias("usual_load"),
            pl.col("consumption_kwh").quantile(0.9, "linear").alias("usual_high"),
            pl.len().cast(pl.Int64).alias("hours"),
        )
        .filter(pl.col("hours") >= _FEWEST)
    )
    found = _kinds(hours, place.timezone).join(ranges, on=["kind", "hour"], how="left", maintain_order="left")
    found = found.with_columns((pl.col("timestamp") + timedelta(hours=1)).alias("interval_end"))
    years = sum(1 for frame in frames[1:] if frame.height)
    earlier = f" and around the same days of {years} earlier {'year' if years == 1 else 'years'}" if years else ""
    facts = {
        "city": place.name,
        "timezone": place.timezone,
        "start": first,
        "end": last,
        "as_of": known_at,
        "description": "Usual range: the middle 80 % of the load at the same hour of such days (Monday to Friday, "
        f"Saturday, Sunday) in the five weeks before{earlier}.",
    }
    return Table(found.select(*USUAL), facts)


def _kinds(frame: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Return the frame with the local hour and the kind of day of each row."""
    local = to_local(frame["timestamp"], zone)
    # Monday to Friday are 5
    kind = local.dt.weekday().clip(5).alias("kind")
    return frame.with_columns(kind, local.dt.hour().alias("hour"))
