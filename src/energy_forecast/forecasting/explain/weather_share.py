"""Split the error of a forecast into the part of the weather forecast's error and the part of the model.

The forecast is computed again with observed weather in its hours and all other inputs unchanged. The difference to the
forecast as issued is the part of the weather; the rest of the error is the part of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.history import WEATHER_COLUMNS, build_history, hour_numbers, timestamps
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.models.weather_fallback import WeatherFallbackForecaster
from energy_forecast.forecasting.types import FittedForecaster, Floats, ForecastInput, Ints

# Days of observations with which gaps of the weather are bridged as in a forecast
_DAYS = 2


@dataclass(frozen=True)
class WeatherShare:
    """The parts of a forecast's error.

    hours: timestamp, predicted (the recomputed forecast), weather_kwh (`predicted` minus the forecast with observed
        weather), temperature_error (weather forecast minus observation, degrees Celsius): the hours of the forecast
        with forecast and observed weather.
    used: whether the forecast used weather at all.
    added: weather columns that the model uses, and that are observed but were not forecast.
    """

    hours: pl.DataFrame
    used: bool
    added: list[str]

    def moved(self, move: Callable[[pl.DataFrame], pl.DataFrame]) -> WeatherShare:
        """Return the same with moved timestamps."""
        return replace(self, hours=move(self.hours))


@dataclass(frozen=True)
class ErrorParts:
    """The error of hours of a forecast, and its parts. Each part is counted in the direction of the error of its hour.

    So the parts add up to the absolute error, and a part is negative if it reduced the error.

    hours: number of hours.
    error_kwh: sum of forecast minus actual.
    absolute_error_kwh: sum of the absolute errors of the hours.
    weather_kwh, model_kwh: the parts of absolute_error_kwh.
    mape, mape_with_observed: of the forecast and of the forecast with observed weather, %.
    temperature_error, temperature_absolute_error: mean of the weather forecast's error, degrees Celsius.
    """

    hours: int
    error_kwh: float
    absolute_error_kwh: float
    weather_kwh: float
    model_kwh: float
    mape: float
    mape_with_observed: float
    temperature_error: float
    temperature_absolute_error: float

    @property
    def weather_percent(self) -> float | None:
        """Return the share of the weather in the absolute error, %; None without an error."""
        return 100 * self.weather_kwh / self.absolute_error_kwh if self.absolute_error_kwh else None

    @property
    def statement(self) -> str:
        """Return the cause of the error in words. The two parts may have opposite directions, and offset each other."""
        percent, hours = self.weather_percent, "this hour" if self.hours == 1 else f"these {self.hours} hours"
        if percent is None:
            text = f"The forecast of {hours} has no error."
        elif percent < 0:
            text = (
                f"The error of the weather forecast reduced the absolute error of {hours}: it offset a part of the "
                "model's own error."
            )
        elif percent > 100:
            text = (
                f"The error of the weather forecast caused more than the absolute error of {hours}: the model's own "
                "error offset a part of it."
            )
        else:
            text = (
                f"The error of the weather forecast caused {percent:.0f} % of the absolute error of {hours}, and the "
                "model the rest."
            )
            if self.mape_with_observed > self.mape:
                text += " In some of them the two errors offset each other."
        if math.isfinite(self.mape):
            text += f" MAPE {self.mape:.2f} %; with observed weather {self.mape_with_observed:.2f} %."
        return text

    def as_dict(self) -> dict[str, float | None]:
        """Return the parts as JSON values."""
        return asdict(self) | {"weather_percent": self.weather_percent}


def weather_share(fitted: FittedForecaster, data: ForecastInput, observed: pl.DataFrame) -> WeatherShare:
    """Return the part of the weather in a forecast's error.

    Args:
        data: the input of the forecast.
        observed: observed weather of the forecast hours, in the columns of `data.weather_ahead`.
    """
    short = data.recent(fitted.history_days + 1)
    made = fitted.predict(short)
    targets = hour_numbers(made.frame["timestamp"])
    forecast = _temperature(data, data.weather_ahead, targets)
    used = np.isfinite(forecast) & (made.weather_hours > 0)
    seen = _temperature(data, observed, targets)
    both = used & np.isfinite(seen)
    split = timestamps(targets[both])
    ahead = data.weather_ahead.select("timestamp", *WEATHER_COLUMNS)
    replaced = (
        observed.filter(pl.col("timestamp").is_in(split.implode()), pl.col("temperature").is_not_null())
        .join(ahead, on="timestamp", how="left", suffix="_forecast")
        # A column that is not observed keeps its forecast
        .select("timestamp", *(pl.coalesce(name, f"{name}_forecast").alias(name) for name in WEATHER_COLUMNS))
    )
    kept = ahead.filter(~pl.col("timestamp").is_in(split.implode()))
    again = fitted.predict(replace(short, weather_ahead=pl.concat([kept, replaced]).sort("timestamp")))
    was = ahead.filter(pl.col("timestamp").is_in(timestamps(targets[used]).implode()))
    frame = made.frame.select(
        "timestamp",
        "predicted",
        weather_kwh=pl.col("predicted") - again.frame["predicted"],
        temperature_error=pl.Series(forecast - seen),
    ).filter(pl.Series(both))
    added = [name for name in _columns_used(fitted, data) if was[name].count() == 0 < replaced[name].count()]
    return WeatherShare(frame, bool(used.any()), added)


def _columns_used(fitted: FittedForecaster, data: ForecastInput) -> tuple[str, ...]:
    """Return the columns of `data.weather_ahead` that a model uses: of weather forecasts only those of its service."""
    if isinstance(fitted, WeatherFallbackForecaster) and not data.weather_is_observed:
        return fitted.weather_errors.columns
    return WEATHER_COLUMNS


def _temperature(data: ForecastInput, ahead: pl.DataFrame, targets: Ints) -> Floats:
    """Return the temperature of the target hours as a model uses it, with short gaps bridged; NaN if unknown."""
    near = data.recent(_DAYS)
    history = build_history(near.load, near.weather, ahead, issued_at=data.issued_at, days=_DAYS)
    return history.weather["temperature"][targets - history.start]


def split_error(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return pairs with error_kwh (predicted minus actual), model_kwh and weather_percent.

    `weather_kwh` and `model_kwh` add up to `error_kwh`. Unknown values are null.

    Args:
        pairs: actual, predicted, weather_kwh and other columns.
    """
    error = pl.col("predicted") - pl.col("actual")
    return pairs.with_columns(
        error_kwh=error,
        model_kwh=error - pl.col("weather_kwh"),
        weather_percent=pl.when(error != 0).then(100 * pl.col("weather_kwh") / error),
    )


def error_parts(hours: pl.DataFrame) -> ErrorParts | None:
    """Return the error of hours and its parts; None without hours.

    Args:
        hours: actual, predicted, weather_kwh, temperature_error. Rows with an unknown value are left out.
    """
    known = hours.drop_nulls(["actual", "weather_kwh"])
    if known.is_empty():
        return None
    names = ("actual", "predicted", "weather_kwh", "temperature_error")
    actual, predicted, weather, temperature = (known[name].to_numpy() for name in names)
    error = predicted - actual
    absolute = float(np.abs(error).sum())
    own = float((np.sign(error) * weather).sum())
    return ErrorParts(
        known.height,
        float(error.sum()),
        absolute,
        own,
        absolute - own,
        metrics.mape(actual, predicted),
        metrics.mape(actual, predicted - weather),
        float(temperature.mean()),
        float(np.abs(temperature).mean()),
    )
