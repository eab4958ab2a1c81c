"""Point-in-time inputs: everything about a city that was known at a moment, as `forecasting` needs it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import polars as pl

from energy_forecast.database import history
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection
from energy_forecast.errors import NotEnoughDataError
from energy_forecast.forecasting import City, ForecastInput
from energy_forecast.forecasting.data.quality_report import faulty_rows
from energy_forecast.forecasting.data.weather_errors import simulate_forecast
from energy_forecast.pipelines.assumptions import NO_ASSUMPTIONS, Assumptions

Weather = Literal["actual", "simulated", "forecast", "none"]

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
ACTUALS: dict[str, pl.DataType] = {
    "timestamp": pl.Datetime("us", "UTC"),
    "consumption_kwh": pl.Float64(),
    "left_out": pl.Boolean(),
}
# Faulty hours of a year are found from the data of the year, of this span before it, and of this span after it
_DAYS_BEFORE = timedelta(days=90)
_DAYS_AFTER = timedelta(days=8)
# The minimum age of a month that retention thins
_NEVER_THINNED = timedelta(days=90)


@dataclass(frozen=True)
class HourShift:
    """Shift of hours that begin past the full UTC hour, as those of a meter with local hours in a half-hour zone.

    The shift is forward, so an hour that begins at half past keeps its local hour and its local day.

    phase: minutes past the full UTC hour.
    """

    phase: int

    @property
    def offset(self) -> timedelta:
        """The time added to reach the full UTC hour."""
        return timedelta(minutes=(60 - self.phase) % 60)

    def to_full_hours(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the frame with its timestamps on full UTC hours."""
        return frame.with_columns(pl.col("timestamp") + self.offset) if self.phase else frame

    def to_city_hours(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the frame with its timestamps at the real start of the hours of the city."""
        return frame.with_columns(pl.col("timestamp") - self.offset) if self.phase else frame


@dataclass(frozen=True)
class AsOfData:
    """Data of a city that was known at `at`. All frames are hourly, and `shift` moved them to full UTC hours.

    load: timestamp, consumption_kwh.
    weather, weather_ahead: timestamp, temperature, humidity, wind_speed, precipitation; `weather_ahead` is of the hours
        from `at` on.
    weather_is_observed: whether `weather_ahead` is observed weather.
    """

    at: datetime
    shift: HourShift
    load: pl.DataFrame
    weather: pl.DataFrame
    weather_ahead: pl.DataFrame
    weather_is_observed: bool = False

    def forecast_input(self, hours: int) -> ForecastInput:
        """Return the input of a forecast of so many hours, issued at `at`."""
        issued_at = self.at + self.shift.offset
        return ForecastInput(self.load, self.weather, self.weather_ahead, issued_at, hours, self.weather_is_observed)


def read_as_of(
    connection: Connection,
    city: StoredCity,
    *,
    at: datetime,
    first: datetime = BEGINNING,
    horizon_hours: int = 0,
    weather: Weather = "forecast",
    actual_as_of: datetime | None = None,
    recorded_by: datetime | None = None,
    assumptions: Assumptions = NO_ASSUMPTIONS,
) -> AsOfData:
    """Read the data from `first` on that was known at `at`.

    Args:
        horizon_hours: number of hours from `at` on for which to read weather.
        weather: source of the weather of those hours. `actual` uses later observations, as of `actual_as_of`;
            `simulated` adds the errors of `assumptions` to them.
        recorded_by: leave out rows that were recorded later, even if their source claims an earlier time.
        assumptions: of a backtest. Load of the last `load_delay` is left out, as if it had not arrived.

    Raises:
        NotEnoughDataError: retention removed weather forecasts that were known at `at`.
    """
    phase = history.phase_as_of(connection, city.id, at)
    shift = HourShift(phase)
    end = at + timedelta(hours=horizon_hours + 1)
    read: dict[str, Any] = {"phase": phase, "recorded_by": recorded_by}
    load = history.load_as_of(connection, city.id, as_of=at, first=first, end=at, **read)
    if assumptions.load_delay:
        load = load.filter(pl.col("timestamp") + timedelta(hours=1) <= at - assumptions.load_delay)
    past_weather = history.weather_as_of(connection, city.id, as_of=at, first=first, end=at, **read)
    ahead = past_weather.clear()
    # Start one hour earlier: the hour that contains `at` may not be over
    ahead_first = at - timedelta(hours=1)
    if horizon_hours and weather == "forecast":
        ahead = history.weather_forecast_as_of(connection, city.id, as_of=at, first=ahead_first, end=end, **read)
        _require_untouched(connection, city, ahead, _hours_from(at, horizon_hours, phase), at)
    elif horizon_hours and weather in ("actual", "simulated"):
        if actual_as_of is None:
            raise ValueError("observed weather requires `actual_as_of`")
        ahead = history.weather_as_of(connection, city.id, as_of=actual_as_of, first=ahead_first, end=end, **read)
    load, past_weather, ahead = (shift.to_full_hours(frame) for frame in (load, past_weather, ahead))
    if weather == "simulated":
        ahead = _simulated(ahead, city, at + shift.offset, assumptions)
    return AsOfData(at, shift, load, past_weather, ahead, weather_is_observed=weather == "actual")


def _simulated(observed: pl.DataFrame, city: StoredCity, issued_at: datetime, assumptions: Assumptions) -> pl.DataFrame:
    """Return a weather forecast for the hours from the issue time on, simulated from observed weather."""
    if assumptions.weather is None:
        raise ValueError("simulated weather requires its errors")
    return simulate_forecast(
        observed,
        assumptions.weather.errors,
        latitude=city.latitude,
        longitude=city.longitude,
        issued_at=issued_at,
        seed=assumptions.weather.seed,
    )


def _hours_from(at: datetime, count: int, phase: int) -> list[datetime]:
    """Return the START of so many hours from `at` on, UTC; hours begin `phase` minutes past the full hour."""
    first = at.astimezone(UTC).replace(minute=phase, second=0, microsecond=0)
    first += timedelta(hours=first < at)
    return [first + timedelta(hours=number) for number in range(count)]


def _require_untouched(
    connection: Connection, city: StoredCity, ahead: pl.DataFrame, hours: list[datetime], at: datetime
) -> None:
    """Raise if the weather forecasts of some hours are missing because retention thinned them."""
    if hours[0] > datetime.now(UTC) - _NEVER_THINNED:
        return
    known = set(ahead["timestamp"])
    missing = [hour for hour in hours if hour not in known]
    if not missing:
        return
    thinned = history.thinned_weather_forecasts(
        connection, city.id, first=missing[0], end=missing[-1] + timedelta(hours=1)
    )
    if thinned is not None:
        raise NotEnoughDataError(
            f"The weather forecasts of {thinned.range_start:%Y-%m} with lead times of {thinned.kept_lead_hours} h and "
            f"more were removed by retention on {thinned.removed_at:%Y-%m-%d}. So the weather known at "
            f"{at:%Y-%m-%d %H:%M} for {city.name} is incomplete.",
            hint=f"Use less than {thinned.kept_lead_hours} hours, or a later time of issue.",
        )


def actual_load(
    connection: Connection,
    city: StoredCity,
    *,
    as_of: datetime,
    first: datetime,
    end: datetime,
    recorded_by: datetime | None = None,
) -> pl.DataFrame:
    """Read the observed load from `first` to before `end` for scoring, by the hours of the city.

    Args:
        as_of: the time by which the values were available.
        recorded_by: leave out rows that were recorded later, even if their source claims an earlier time.

    Returns:
        timestamp, consumption_kwh (null in a faulty hour), left_out (true in a faulty hour). Unknown hours have no row.
    """
    phase = history.phase_as_of(connection, city.id, as_of)
    years = range(first.astimezone(UTC).year, (end - timedelta(microseconds=1)).astimezone(UTC).year + 1)
    parts = [pl.DataFrame(schema=ACTUALS)]
    # By calendar years for any requested span: a score and its explanation must agree on every hour
    for year in years:
        load = load_of_year(connection, city, year, as_of=as_of, phase=phase, recorded_by=recorded_by)
        parts.append(load.filter(pl.col("timestamp") >= first, pl.col("timestamp") < end))
    return pl.concat(parts)


def load_of_year(
    connection: Connection,
    city: StoredCity,
    year: int,
    *,
    as_of: datetime,
    phase: int,
    recorded_by: datetime | None = None,
) -> pl.DataFrame:
    """Read the observed load of a calendar year (UTC) for scoring; see `actual_load`.

    Args:
        phase: the minute past the UTC hour at which the city's hours begin.
    """
    first, end = read_for_year(year)
    known = history.load_as_of(
        connection, city.id, as_of=as_of, first=first, end=end, phase=phase, recorded_by=recorded_by
    )
    checked = known.with_columns(pl.Series("left_out", faulty_rows(known), pl.Boolean)).filter(
        pl.col("timestamp") >= first + _DAYS_BEFORE, pl.col("timestamp") < end - _DAYS_AFTER
    )
    return checked.with_columns(pl.when(~pl.col("left_out")).then("consumption_kwh").alias("consumption_kwh"))


def read_for_year(year: int) -> tuple[datetime, datetime]:
    """Return the span of the load that determines the faulty hours of a calendar year (UTC): start and end."""
    return datetime(year, 1, 1, tzinfo=UTC) - _DAYS_BEFORE, datetime(year + 1, 1, 1, tzinfo=UTC) + _DAYS_AFTER


def forecasting_city(city: StoredCity) -> City:
    """Return the city as `forecasting` describes it."""
    return City(
        name=city.name,
        latitude=city.latitude,
        longitude=city.longitude,
        timezone=city.timezone,
        country_code=city.country_code,
        subdivision=city.subdivision,
    )
