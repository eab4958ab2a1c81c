"""Report on one day of a forecast: contributions, weather effect, and the most similar past days.

The weather effect is the difference to a forecast by the same model for another temperature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.history import build_history, hour_number
from energy_forecast.forecasting.explain.contributions import BASELINE, RECENT_ERRORS
from energy_forecast.forecasting.features.calendar import HALF_REST, REST, WORKDAY, holiday_name
from energy_forecast.forecasting.features.samples import HistoryView
from energy_forecast.forecasting.types import City, FittedForecaster, Forecast, ForecastInput, Ints
from energy_forecast.local_times import to_local

DAY_KINDS = {WORKDAY: "workday", HALF_REST: "Saturday", REST: "Sunday or holiday"}
# Days before and after a day of the year whose weather belongs to its season
SEASON_DAYS = 15
_FEWEST_FOR_CLIMATOLOGY = 7
SHIFTS = tuple(range(-10, 11, 2))
SIMILAR = 5
# Ten days of distance in the year count as much as one degree of difference at every hour
_DEGREES_A_DAY = 0.1
_RECENT_DAYS = 365


@dataclass(frozen=True)
class WeatherEffect:
    """The effect of the weather on `hours` hours: mean temperatures, forecast at the normal ones, and difference."""

    hours: int
    temperature: float
    normal_temperature: float
    normal_kwh: float
    added_kwh: float

    @property
    def percent(self) -> float:
        """Return the difference as a percentage of the forecast at the normal temperature."""
        return 100 * self.added_kwh / self.normal_kwh


@dataclass(frozen=True)
class Explanation:
    """One local day of a forecast. Energies are kWh in the hour, temperatures degrees Celsius.

    reissued: timestamp, predicted, q05 .. q95: the whole forecast, computed again.
    hours: timestamp, predicted, q05 .. q95, temperature (as known at the issue), normal_temperature (climatological),
        predicted_at_normal (the forecast at the climatological temperature); null if unknown.
    contributions: see contributions.contributions_of; None if the model does not provide them.
    repeated_hours: timestamp, repeated_from, repeated_kwh: the load that a naive model repeats; None for other models.
    response: shift (degrees), temperature (mean of the day), mean_kwh: the day's forecast with every hour ahead warmer
        or colder by the shift; empty without weather.
    past_days: day, kind (of DAY_KINDS), temperature, mean_kwh: the days of the last year, as context of the response.
    similar: day, distance (degrees), temperature (mean), kwh (list, at the hours of `hours`), total_kwh, scaled_kwh
        (the total at the present level): the most similar past days, the most similar first.
    holiday: the name of the public holiday on this day; None for other days.
    """

    day: date
    kind: str
    reissued: pl.DataFrame
    hours: pl.DataFrame
    contributions: pl.DataFrame | None
    repeated_hours: pl.DataFrame | None
    response: pl.DataFrame
    past_days: pl.DataFrame
    similar: pl.DataFrame
    holiday: str | None = None

    @property
    def kind_label(self) -> str:
        """Return the kind of the day for display, a holiday with its name."""
        return self.kind.removesuffix(" or holiday") if self.holiday is None else f"holiday ({self.holiday})"

    @property
    def total_kwh(self) -> float:
        """Return the sum of the day's forecast."""
        return float(self.hours["predicted"].to_numpy().sum())

    @property
    def weather_effect(self) -> WeatherEffect | None:
        """Return the effect of the weather on the day; None without weather or without a climatology."""
        both = self.hours.drop_nulls("predicted_at_normal")
        if both.is_empty():
            return None
        names = ("temperature", "normal_temperature", "predicted_at_normal", "predicted")
        temperature, climatology, at_climatology, predicted = (both[name].to_numpy() for name in names)
        return WeatherEffect(
            both.height,
            float(temperature.mean()),
            float(climatology.mean()),
            float(at_climatology.sum()),
            float((predicted - at_climatology).sum()),
        )

    def moved(self, move: Callable[[pl.DataFrame], pl.DataFrame]) -> Explanation:
        """Return the explanation with moved timestamps."""
        contributions = None if self.contributions is None else move(self.contributions)
        repeated = None
        if self.repeated_hours is not None:
            sources = move(self.repeated_hours.select(timestamp="repeated_from"))["timestamp"]
            repeated = move(self.repeated_hours).with_columns(sources.alias("repeated_from"))
        return replace(
            self,
            reissued=move(self.reissued),
            hours=move(self.hours),
            contributions=contributions,
            repeated_hours=repeated,
        )


def explain(fitted: FittedForecaster, city: City, data: ForecastInput, day: date | None = None) -> Explanation:
    """Explain the hours of one local day of a forecast.

    Args:
        data: with the whole history of load and weather, for climatology and similar days.
        day: by default the first of the days with the most hours.

    Raises:
        ValueError: the forecast has no hour of that day.
    """
    made = _reforecast(fitted, data, data.weather_ahead)
    wall = to_local(made.frame["timestamp"], city.timezone).dt.date()
    if day is None:
        counts = wall.value_counts().sort("count", "timestamp", descending=[True, False])
        day = counts["timestamp"][0]
    where = wall == day
    if not where.any():
        raise ValueError(f"the forecast has no hour of {day}")
    history = build_history(data.load, data.weather, data.weather_ahead, issued_at=data.issued_at, days=None)
    view = HistoryView(city, history)
    targets = made.frame["timestamp"].filter(where).dt.epoch("s").to_numpy() // 3600
    at = targets - history.start
    temperature = history.weather["temperature"]

    climatology = _climatology(view, hour_number(data.issued_at), made.frame["timestamp"])
    hours = made.frame.filter(where).with_columns(pl.Series("temperature", temperature[at], nan_to_null=True))
    hours = hours.join(climatology, on="timestamp", how="left")
    ahead = data.weather_ahead.filter(pl.col("temperature").is_not_null()).join(climatology, on="timestamp", how="left")
    # No weather effect if the weather ends before this day
    has_weather = made.weather_hours > 0 and not ahead.is_empty() and bool(np.isfinite(temperature[at]).any())
    then = pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC"), "predicted_at_normal": pl.Float64})
    shifted = []
    if has_weather:
        replaced = ahead.with_columns(pl.coalesce("normal_temperature", "temperature").alias("temperature"))
        then = _reforecast(fitted, data, replaced.drop("normal_temperature")).frame.select(
            "timestamp", pl.col("predicted").alias("predicted_at_normal")
        )
        for shift in SHIFTS:
            other = ahead.with_columns(pl.col("temperature") + shift).drop("normal_temperature")
            mean = _reforecast(fitted, data, other).frame.filter(where)["predicted"].mean()
            shifted.append((float(shift), float(np.nanmean(temperature[at])) + shift, mean))
    hours = hours.join(then, on="timestamp", how="left").with_columns(
        pl.when(pl.all_horizontal(pl.col("temperature", "normal_temperature").is_not_null()))
        .then("predicted_at_normal")
        .alias("predicted_at_normal")
    )
    contributions, repeated = fitted.contributions(data), fitted.repeated_hours(data)
    if contributions is not None:
        contributions = _closed(contributions, made.frame).join(hours.select("timestamp"), on="timestamp", how="semi")
    if repeated is not None:
        repeated = hours.select("timestamp", repeated_kwh="predicted").join(repeated, on="timestamp", how="left")
        repeated = repeated.select("timestamp", "repeated_from", "repeated_kwh")
    return Explanation(
        day,
        DAY_KINDS[int(view.calendar.kind[at[0]])],
        made.frame,
        hours,
        contributions,
        repeated,
        pl.DataFrame(
            shifted, schema={"shift": pl.Float64, "temperature": pl.Float64, "mean_kwh": pl.Float64}, orient="row"
        ),
        _past_days(view),
        _similar_days(view, at),
        holiday_name(city, day),
    )


def _reforecast(fitted: FittedForecaster, data: ForecastInput, weather_ahead: pl.DataFrame) -> Forecast:
    """Return the forecast for other weather. Uses the last days of the history only, which gives the same forecast."""
    return fitted.predict(replace(data.recent(fitted.history_days + 1), weather_ahead=weather_ahead))


def _closed(contributions: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the contributions such that they add up to the forecast, which may have been raised to zero."""
    total = contributions.group_by("timestamp").agg(pl.col("contribution_kwh").sum().alias("total"))
    gap = frame.join(total, on="timestamp").select("timestamp", (pl.col("predicted") - pl.col("total")).alias("gap"))
    is_last = pl.col("input_group") == RECENT_ERRORS
    return (
        contributions.join(gap, on="timestamp", how="left")
        .with_columns(pl.when(is_last).then(pl.col("contribution_kwh") + pl.col("gap")).otherwise("contribution_kwh"))
        .drop("gap")
        .sort("timestamp", maintain_order=True)
    )


def _climatology(view: HistoryView, cut: int, targets: pl.Series) -> pl.DataFrame:
    """Return the mean temperature at each target's local hour, 15 days around its day of the year in all years.

    It is null if fewer than seven are known.
    """
    history, calendar = view.history, view.calendar
    known = history.weather["temperature"][: cut - history.start]
    hour, yearday = calendar.hour[: len(known)], calendar.yearday[: len(known)]
    good = np.isfinite(known)
    means = []
    for at in targets.dt.epoch("s").to_numpy() // 3600 - history.start:
        distance = np.abs(yearday - calendar.yearday[at])
        same = known[good & (hour == calendar.hour[at]) & (np.minimum(distance, 365 - distance) <= SEASON_DAYS)]
        means.append(float(same.mean()) if len(same) >= _FEWEST_FOR_CLIMATOLOGY else None)
    return pl.DataFrame([targets.alias("timestamp"), pl.Series("normal_temperature", means, pl.Float64)])


def _past_days(view: HistoryView) -> pl.DataFrame:
    """Return the complete local days of the last year, with load and temperature."""
    history, calendar = view.history, view.calendar
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


def _similar_days(view: HistoryView, at: Ints) -> pl.DataFrame:
    """Return the past days of the same kind that are most similar to the hours at the indexes `at`.

    Similarity is by temperature and time of year. A day counts only if its load is known at all of these local hours.
    """
    history, calendar = view.history, view.calendar
    temperature = history.weather["temperature"]
    today = temperature[at]
    use_temperature = np.isfinite(today).all()
    first, last = int(calendar.day[history.first - history.start]), int(calendar.day[at[0]])
    level_now = float(view.mean_load(np.array([history.known_until]), 168, 0.0)[0])
    samples = []
    for days in range(1, last - first + 1):
        # The same local hour, even if the clocks changed in between
        then = at - 24 * days
        if then[0] < 168:
            break
        then = then + calendar.offset[at] - calendar.offset[then]
        load = history.load[then]
        if calendar.kind[then[0]] != calendar.kind[at[0]] or not np.isfinite(load).all():
            continue
        level = float(view.mean_load(np.array([history.start + int(then[0])]), 168)[0])
        # Without a load in the week before, the day has no scale
        if not level > 0 or then.max() >= history.known_until - history.start:
            continue
        season_days = abs(int(calendar.yearday[then[0]]) - int(calendar.yearday[at[0]]))
        season = _DEGREES_A_DAY * min(season_days, 365 - season_days)
        distance = season
        if use_temperature:
            if not np.isfinite(temperature[then]).all():
                continue
            distance = float(np.sqrt(np.mean((temperature[then] - today) ** 2))) + season
        mean = float(np.nanmean(temperature[then])) if np.isfinite(temperature[then]).any() else None
        samples.append(
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
    return pl.DataFrame(samples, schema=schema, orient="row").sort("distance", "day").head(SIMILAR)


def contribution_totals(contributions: pl.DataFrame) -> pl.DataFrame:
    """Return input_group and contribution_kwh over all hours: the baseline first, then the largest contributions."""
    total = contributions.group_by("input_group").agg(pl.col("contribution_kwh").sum())
    return total.sort(pl.col("input_group") != BASELINE, -pl.col("contribution_kwh").abs(), "input_group")
