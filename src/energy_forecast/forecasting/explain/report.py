"""Understanding one day of a forecast: what drove it, what the weather did, and the past days most like it.

What the weather did is asked of the model itself: the same forecast once more, under another temperature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.history import build_history, hour_number
from energy_forecast.forecasting.explain.contributions import RECENT_ERRORS, USUAL
from energy_forecast.forecasting.features.calendar import HALF_REST, REST, WORKDAY, holiday_name
from energy_forecast.forecasting.features.samples import Past
from energy_forecast.forecasting.types import City, Explaining, FittedModel, Forecast, Ints, Repeating
from energy_forecast.local_times import to_local

DAY_KINDS = {WORKDAY: "workday", HALF_REST: "Saturday", REST: "Sunday or holiday"}
# How far from a day of the year the weather still counts as that of its season, days
SEASON_DAYS = 15
_FEWEST_USUAL = 7
SHIFTS = tuple(range(-10, 11, 2))
SIMILAR = 5
# A day is as unlike for ten days' distance in the year as for a degree of difference at every hour
_DEGREES_A_DAY = 0.1
_RECENT_DAYS = 365


@dataclass(frozen=True)
class WeatherEffect:
    """What the weather did over `hours` hours: mean temperatures, the forecast under the usual, and what it adds."""

    hours: int
    temperature: float
    usual_temperature: float
    usual_kwh: float
    added_kwh: float

    @property
    def percent(self) -> float:
        """What it adds, of the forecast under the usual weather."""
        return 100 * self.added_kwh / self.usual_kwh


@dataclass(frozen=True)
class Explanation:
    """One local day of a forecast. Energies are kWh in the hour, temperatures degrees Celsius.

    hours: timestamp, predicted, q05 .. q95, temperature (as known at the issue), usual_temperature, usual_weather (the
        forecast under the usual temperature); null where there is none.
    drivers: see drivers.drivers_of; None where the model cannot tell.
    repeats: timestamp, repeated_from, repeated_kwh: the load that a naive model repeats, see Repeating.repeats; None
        for any other.
    response: shift (degrees), temperature (mean of the day), mean_kwh: the day's forecast with every hour ahead so much
        warmer or colder; empty without weather.
    past_days: day, kind (of DAY_KINDS), temperature, mean_kwh: the days of the last year, to see the response in.
    made: timestamp, predicted, q05 .. q95: the whole forecast, made once more.
    holiday: the name of the public holiday that the day is; None for any other day.
    similar: day, distance (degrees), temperature (mean), kwh (list, at the hours of `hours`), total_kwh, scaled_kwh
        (the total at the present level): the past days most like this one, the most similar first.
    """

    day: date
    kind: str
    made: pl.DataFrame
    hours: pl.DataFrame
    drivers: pl.DataFrame | None
    repeats: pl.DataFrame | None
    response: pl.DataFrame
    past_days: pl.DataFrame
    similar: pl.DataFrame
    holiday: str | None = None

    @property
    def kind_words(self) -> str:
        """The kind of the day for people: a holiday by its name."""
        return self.kind.removesuffix(" or holiday") if self.holiday is None else f"holiday ({self.holiday})"

    @property
    def total_kwh(self) -> float:
        """The day's forecast."""
        return float(self.hours["predicted"].to_numpy().sum())

    @property
    def weather_effect(self) -> WeatherEffect | None:
        """What the weather did to the day; None where no weather was known, or no usual one."""
        both = self.hours.drop_nulls("usual_weather")
        if both.is_empty():
            return None
        names = ("temperature", "usual_temperature", "usual_weather", "predicted")
        temperature, usual, under, predicted = (both[name].to_numpy() for name in names)
        return WeatherEffect(
            both.height,
            float(temperature.mean()),
            float(usual.mean()),
            float(under.sum()),
            float((predicted - under).sum()),
        )

    def moved(self, move: Callable[[pl.DataFrame], pl.DataFrame]) -> Explanation:
        """With the timestamps of its hours moved."""
        drivers = None if self.drivers is None else move(self.drivers)
        repeats = None
        if self.repeats is not None:
            sources = move(self.repeats.select(timestamp="repeated_from"))["timestamp"]
            repeats = move(self.repeats).with_columns(sources.alias("repeated_from"))
        return replace(self, made=move(self.made), hours=move(self.hours), drivers=drivers, repeats=repeats)


@dataclass(frozen=True)
class Asked:
    """What a forecast was made from: see FittedModel.forecast."""

    load: pl.DataFrame
    weather: pl.DataFrame
    weather_ahead: pl.DataFrame
    issued_at: datetime
    horizon_hours: int


def explain(fitted: FittedModel, city: City, asked: Asked, day: date | None = None) -> Explanation:
    """Explains a forecast's hours of one local day; without a day, of the first that it has the most hours of.

    Args:
        asked: with the load and weather of all the past, for the usual weather and the similar days.

    Raises:
        ValueError: the forecast has no hour of that day.
    """
    made = _again(fitted, asked, asked.weather_ahead)
    wall = to_local(made.frame["timestamp"], city.timezone).dt.date()
    if day is None:
        counts = wall.value_counts().sort("count", "timestamp", descending=[True, False])
        day = counts["timestamp"][0]
    where = wall == day
    if not where.any():
        raise ValueError(f"the forecast has no hour of {day}")
    history = build_history(asked.load, asked.weather, asked.weather_ahead, issued_at=asked.issued_at, days=None)
    past = Past(city, history)
    targets = made.frame["timestamp"].filter(where).dt.epoch("s").to_numpy() // 3600
    at = targets - history.start
    temperature = history.weather["temperature"]

    usual = _usual_temperatures(past, hour_number(asked.issued_at), made.frame["timestamp"])
    hours = made.frame.filter(where).with_columns(pl.Series("temperature", temperature[at], nan_to_null=True))
    hours = hours.join(usual, on="timestamp", how="left")
    ahead = asked.weather_ahead.filter(pl.col("temperature").is_not_null()).join(usual, on="timestamp", how="left")
    # Weather may end before this day: then nothing of it can be told, whatever the other days had
    has_weather = made.weather_hours > 0 and not ahead.is_empty() and bool(np.isfinite(temperature[at]).any())
    then = pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC"), "usual_weather": pl.Float64})
    shifted = []
    if has_weather:
        normal = ahead.with_columns(pl.coalesce("usual_temperature", "temperature").alias("temperature"))
        then = _again(fitted, asked, normal.drop("usual_temperature")).frame.select(
            "timestamp", pl.col("predicted").alias("usual_weather")
        )
        for shift in SHIFTS:
            other = ahead.with_columns(pl.col("temperature") + shift).drop("usual_temperature")
            said = _again(fitted, asked, other).frame.filter(where)["predicted"].mean()
            shifted.append((float(shift), float(np.nanmean(temperature[at])) + shift, said))
    hours = hours.join(then, on="timestamp", how="left").with_columns(
        pl.when(pl.all_horizontal(pl.col("temperature", "usual_temperature").is_not_null()))
        .then("usual_weather")
        .alias("usual_weather")
    )
    what = (asked.load, asked.weather, asked.weather_ahead)
    drivers = repeats = None
    if isinstance(fitted, Explaining):
        drivers = fitted.drivers(*what, issued_at=asked.issued_at, horizon_hours=asked.horizon_hours)
    if isinstance(fitted, Repeating):
        repeats = fitted.repeats(*what, issued_at=asked.issued_at, horizon_hours=asked.horizon_hours)
    if drivers is not None:
        drivers = _closed(drivers, made.frame).join(hours.select("timestamp"), on="timestamp", how="semi")
    if repeats is not None:
        repeats = hours.select("timestamp", repeated_kwh="predicted").join(repeats, on="timestamp", how="left")
        repeats = repeats.select("timestamp", "repeated_from", "repeated_kwh")
    return Explanation(
        day,
        DAY_KINDS[int(past.calendar.kind[at[0]])],
        made.frame,
        hours,
        drivers,
        repeats,
        pl.DataFrame(
            shifted, schema={"shift": pl.Float64, "temperature": pl.Float64, "mean_kwh": pl.Float64}, orient="row"
        ),
        _past_days(past),
        _similar_days(past, at),
        holiday_name(city, day),
    )


def _again(fitted: FittedModel, asked: Asked, weather_ahead: pl.DataFrame) -> Forecast:
    """The forecast, under this weather; the history is cut to what the model looks at, which changes nothing."""
    recent = pl.col("timestamp") >= asked.issued_at - timedelta(days=fitted.history_days + 1)
    return fitted.forecast(
        asked.load.filter(recent),
        asked.weather.filter(recent),
        weather_ahead,
        issued_at=asked.issued_at,
        horizon_hours=asked.horizon_hours,
    )


def _closed(drivers: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """The drivers with what the forecast was cut off at zero by, if it was: together they are the forecast."""
    total = drivers.group_by("timestamp").agg(pl.col("contribution_kwh").sum().alias("total"))
    gap = frame.join(total, on="timestamp").select("timestamp", (pl.col("predicted") - pl.col("total")).alias("gap"))
    is_last = pl.col("driver") == RECENT_ERRORS
    return (
        drivers.join(gap, on="timestamp", how="left")
        .with_columns(pl.when(is_last).then(pl.col("contribution_kwh") + pl.col("gap")).otherwise("contribution_kwh"))
        .drop("gap")
        .sort("timestamp", maintain_order=True)
    )


def _usual_temperatures(past: Past, cut: int, targets: pl.Series) -> pl.DataFrame:
    """The mean of the known temperatures at each target's local hour, 15 days around its day of the year in all years.

    Null where fewer than seven are known.
    """
    history, calendar = past.history, past.calendar
    known = history.weather["temperature"][: cut - history.start]
    hour, yearday = calendar.hour[: len(known)], calendar.yearday[: len(known)]
    good = np.isfinite(known)
    means = []
    for at in targets.dt.epoch("s").to_numpy() // 3600 - history.start:
        apart = np.abs(yearday - calendar.yearday[at])
        mine = known[good & (hour == calendar.hour[at]) & (np.minimum(apart, 365 - apart) <= SEASON_DAYS)]
        means.append(float(mine.mean()) if len(mine) >= _FEWEST_USUAL else None)
    return pl.DataFrame([targets.alias("timestamp"), pl.Series("usual_temperature", means, pl.Float64)])


def _past_days(past: Past) -> pl.DataFrame:
    """Whole local days of the last year with load and temperature, by day."""
    history, calendar = past.history, past.calendar
    end = history.known_until - history.start
    begin = max(history.first - history.start, end - 24 * _RECENT_DAYS)
    part = slice(begin, end)
    frame = pl.DataFrame(
        {
            "day": calendar.day[part],
            "kind": calendar.kind[part],
            "temperature": history.weather["temperature"][part],
            "mean_kwh": history.load[part],
        }
    )
    return (
        frame.filter(pl.col("temperature").is_not_nan() & pl.col("mean_kwh").is_not_nan())
        .group_by("day")
        .agg(pl.len().alias("hours"), pl.col("kind").first(), pl.col("temperature", "mean_kwh").mean())
        .filter(pl.col("hours") >= 23)
        .select(
            pl.col("day").cast(pl.Int32).cast(pl.Date),
            pl.col("kind").replace_strict(DAY_KINDS, return_dtype=pl.String),
            "temperature",
            "mean_kwh",
        )
        .sort("day")
    )


def _similar_days(past: Past, at: Ints) -> pl.DataFrame:
    """The past days of the same kind most like the hours at the positions `at`: in temperature, and in time of year.

    A day counts only when its load is known at all of these local hours.
    """
    history, calendar = past.history, past.calendar
    temperature = history.weather["temperature"]
    today = temperature[at]
    use_temperature = np.isfinite(today).all()
    first, last = int(calendar.day[history.first - history.start]), int(calendar.day[at[0]])
    level_now = float(past.mean_load(np.array([history.known_until]), 168, 0.0)[0])
    rows = []
    for days in range(1, last - first + 1):
        # The same local hour, though the clocks changed in between
        then = at - 24 * days
        if then[0] < 168:
            break
        then = then + calendar.offset[at] - calendar.offset[then]
        load = history.load[then]
        if calendar.kind[then[0]] != calendar.kind[at[0]] or not np.isfinite(load).all():
            continue
        level = float(past.mean_load(np.array([history.start + int(then[0])]), 168)[0])
        if not np.isfinite(level) or then.max() >= history.known_until - history.start:
            continue
        apart = abs(int(calendar.yearday[then[0]]) - int(calendar.yearday[at[0]]))
        season = _DEGREES_A_DAY * min(apart, 365 - apart)
        distance = season
        if use_temperature:
            if not np.isfinite(temperature[then]).all():
                continue
            distance = float(np.sqrt(np.mean((temperature[then] - today) ** 2))) + season
        mean = float(np.nanmean(temperature[then])) if np.isfinite(temperature[then]).any() else None
        rows.append(
            (
                date(1970, 1, 1) + timedelta(int(calendar.day[then[0]])),
                distance,
                mean,
                load.tolist(),
                float(load.sum()),
                float(load.sum() * level_now / level),
            )
        )
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "day": pl.Date,
        "distance": pl.Float64,
        "temperature": pl.Float64,
        "kwh": pl.List(pl.Float64),
        "total_kwh": pl.Float64,
        "scaled_kwh": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").sort("distance", "day").head(SIMILAR)


def driver_totals(drivers: pl.DataFrame) -> pl.DataFrame:
    """driver, contribution_kwh over all hours: the usual first, then what moved the day most."""
    total = drivers.group_by("driver").agg(pl.col("contribution_kwh").sum())
    return total.sort(pl.col("driver") != USUAL, -pl.col("contribution_kwh").abs(), "driver")
