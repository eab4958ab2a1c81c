"""Forecasting libraries that users would pick instead, behind the same two calls as our models.

They come with the optional group `bench`: pip install 'energy-forecast[bench]'. Each gets what its documentation
suggests for hourly load: lags of days and weeks, calendar, temperature; intervals by its own conformal method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.forecasting import QUANTILE_COLUMNS, QUANTILE_LEVELS, City, Forecast
from energy_forecast.forecasting.contract import Floats

PACKAGES = ("mlforecast", "lightgbm", "statsforecast")
_WEEK = 168
_WINDOWS = 20
# Central intervals whose ends are our quantile levels
_COVERAGES = [round(100 * (1 - 2 * level)) for level in QUANTILE_LEVELS if level < 0.5]


def _regular(load: pl.DataFrame, days: int | None = None) -> pl.DataFrame:
    """An hourly frame without holes: libraries take no gaps. A gap is filled from a week before, then from nearby."""
    if days is not None:
        load = load.filter(pl.col("timestamp") >= load["timestamp"].max() - timedelta(days=days))
    full = load.upsample("timestamp", every="1h").select("timestamp", y="consumption_kwh")
    middle = full["y"].median()
    plausible = pl.col("y").is_between(pl.lit(middle) / 4, pl.lit(middle) * 4)
    return full.with_columns(pl.when(plausible).then("y")).with_columns(
        pl.col("y").fill_null(pl.col("y").shift(_WEEK)).forward_fill().backward_fill()
    )


def _with_inputs(times: pl.DataFrame, weather: pl.DataFrame, city: City) -> pl.DataFrame:
    """Calendar and temperature of hours, in UTC without a zone, as the libraries want it."""
    local = pl.col("timestamp").dt.convert_time_zone(city.timezone)
    if not weather.is_empty():
        times = times.join(weather.select("timestamp", "temperature"), on="timestamp", how="left").with_columns(
            pl.col("temperature").forward_fill().backward_fill().fill_null(0.0)
        )
    return times.with_columns(
        hour=local.dt.hour().cast(pl.Float64),
        weekday=local.dt.weekday().cast(pl.Float64),
        ds=pl.col("timestamp").dt.replace_time_zone(None),
        unique_id=pl.lit(city.name),
    ).drop("timestamp")


def _as_forecast(found: pl.DataFrame, model: str, first: datetime) -> Forecast:
    """Columns MODEL, MODEL-lo-90, MODEL-hi-90 .. as our quantiles."""
    values = {"predicted": found[model].to_numpy()}
    for level, column in zip(QUANTILE_LEVELS, QUANTILE_COLUMNS, strict=True):
        side = "lo" if level < 0.5 else "hi"
        name = f"{model}-{side}-{round(100 * abs(1 - 2 * level))}"
        values[column] = values["predicted"] if level == 0.5 else found[name].to_numpy()
    stacked = np.sort(np.stack([values[column] for column in QUANTILE_COLUMNS], axis=1), axis=1)
    times = [first + timedelta(hours=i) for i in range(len(stacked))]
    frame = pl.DataFrame(
        [
            pl.Series("timestamp", times, pl.Datetime("us", "UTC")),
            pl.Series("predicted", values["predicted"]),
            *(pl.Series(column, stacked[:, i]) for i, column in enumerate(QUANTILE_COLUMNS)),
        ]
    )
    return Forecast(frame, frame.select("timestamp"), 0)


@dataclass(frozen=True)
class _Recursive:
    """mlforecast: LightGBM on lags, calendar and temperature, fitted once, told the latest load at each issue.

    errors: [windows, 168], absolute ones of its cross-validation.
    """

    model: Any
    city: City
    with_weather: bool
    errors: Floats
    history_days: int = 40

    def forecast(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> Forecast:
        """The `horizon_hours` from `issued_at` on."""
        times = pl.DataFrame(
            {"timestamp": [issued_at + timedelta(hours=i) for i in range(horizon_hours)]},
            schema={"timestamp": pl.Datetime("us", "UTC")},
        )
        ahead = weather_ahead if self.with_weather else weather_ahead.clear()
        given = _with_inputs(times, ahead, self.city)
        recent = _with_inputs(_regular(load), weather if self.with_weather else weather.clear(), self.city)
        found = self.model.predict(horizon_hours, X_df=given, new_df=recent)
        for coverage in _COVERAGES:
            half = np.quantile(self.errors[:, :horizon_hours], coverage / 100, axis=0)
            found = found.with_columns(
                (pl.col("lightgbm") - half).alias(f"lightgbm-lo-{coverage}"),
                (pl.col("lightgbm") + half).alias(f"lightgbm-hi-{coverage}"),
            )
        return _as_forecast(found, "lightgbm", issued_at)


def _recursive(city: City, load: pl.DataFrame, weather: pl.DataFrame, *, at: datetime) -> _Recursive:  # noqa: ARG001
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    model = MLForecast(
        models={"lightgbm": LGBMRegressor(n_estimators=400, learning_rate=0.05, num_leaves=63, n_jobs=1, verbose=-1)},
        freq="1h",
        lags=[1, 2, 3, 24, 48, 72, 96, 120, 144, 168, 336],
        lag_transforms={1: [RollingMean(24), RollingMean(168)]},
    )
    frame = _with_inputs(_regular(load), weather, city)
    # The library's conformal intervals are not offered with new data: the same, by its cross-validation
    tried = model.cross_validation(
        frame, n_windows=_WINDOWS, h=_WEEK, step_size=60, refit=False, static_features=[]
    ).sort("cutoff", "ds")
    size = (tried["y"] - tried["lightgbm"]).abs().to_numpy().reshape(_WINDOWS, _WEEK)
    model.fit(frame, static_features=[])
    return _Recursive(model, city, not weather.is_empty(), size)


@dataclass(frozen=True)
class _Decomposed:
    """statsforecast: MSTL with daily and weekly season and ETS for the rest, on ten weeks, at each issue anew."""

    city: City
    history_days: int = 70

    def forecast(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,  # noqa: ARG002
        weather_ahead: pl.DataFrame,  # noqa: ARG002
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> Forecast:
        """The `horizon_hours` from `issued_at` on."""
        from statsforecast import StatsForecast
        from statsforecast.models import MSTL, AutoETS

        engine = StatsForecast([MSTL([24, _WEEK], trend_forecaster=AutoETS(model="ZZN"))], freq="1h")
        series = _with_inputs(_regular(load, 70), load.clear(), self.city).select("unique_id", "ds", "y")
        found = engine.forecast(h=horizon_hours, df=series, level=_COVERAGES)
        return _as_forecast(found, "MSTL", issued_at)


def _decomposed(city: City, load: pl.DataFrame, weather: pl.DataFrame, *, at: datetime) -> _Decomposed:  # noqa: ARG001
    return _Decomposed(city)


PEERS: dict[str, Callable[..., Any]] = {"mlforecast-lightgbm": _recursive, "statsforecast-mstl": _decomposed}


def installed() -> Iterator[str]:
    """The peers that can be asked here."""
    if find_spec("mlforecast") and find_spec("lightgbm"):
        yield "mlforecast-lightgbm"
    if find_spec("statsforecast"):
        yield "statsforecast-mstl"
