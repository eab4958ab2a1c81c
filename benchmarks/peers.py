"""Other forecasting libraries, with the interface of the platform's models.

The optional group `bench` installs them. Each is configured as its documentation suggests for hourly load: lags of days
and weeks, calendar, temperature. Intervals are conformal, from forecasts of held-out weeks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.forecasting import QUANTILE_COLUMNS, QUANTILE_LEVELS, City, Forecast, ForecastInput
from energy_forecast.forecasting.types import Floats
from energy_forecast.local_times import to_local

PACKAGES = ("mlforecast", "lightgbm", "statsforecast", "skforecast", "scikit-learn", "prophet")
_WEEK = 168
_WINDOWS = 20
_STEP_HOURS = 60
_LAGS = [1, 2, 3, 24, 48, 72, 96, 120, 144, 168, 336]
# Central intervals whose bounds are the quantiles of the platform
_COVERAGES = [round(100 * (1 - 2 * quantile)) for quantile in QUANTILE_LEVELS if quantile < 0.5]


def _last(load: pl.DataFrame) -> datetime:
    """Return the last timestamp."""
    last: datetime = load.select(pl.col("timestamp").max()).item()
    return last


def _regular(load: pl.DataFrame, days: int | None = None, until: datetime | None = None) -> pl.DataFrame:
    """Return an hourly frame without gaps up to `until`, since the libraries do not accept gaps.

    A gap is filled from the week before, then from the nearest hour.
    """
    if until is not None and _last(load) < until - timedelta(hours=1):
        last = pl.DataFrame({"timestamp": [until - timedelta(hours=1)], "consumption_kwh": [None]}, schema=load.schema)
        load = pl.concat([load, last])
    if days is not None:
        load = load.filter(pl.col("timestamp") >= _last(load) - timedelta(days=days))
    full = load.upsample("timestamp", every="1h").select("timestamp", y="consumption_kwh")
    middle = full["y"].median()
    plausible = pl.col("y").is_between(pl.lit(middle) / 4, pl.lit(middle) * 4)
    return full.with_columns(pl.when(plausible).then("y")).with_columns(
        pl.col("y").fill_null(pl.col("y").shift(_WEEK)).forward_fill().backward_fill()
    )


def _with_inputs(times: pl.DataFrame, weather: pl.DataFrame, city: City) -> pl.DataFrame:
    """Return calendar and temperature of hours, in UTC without a zone, as the libraries require."""
    local = to_local(times["timestamp"], city.timezone)
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
    """Return the columns MODEL, MODEL-lo-90, MODEL-hi-90 .. as a Forecast."""
    values = {"predicted": found[model].to_numpy()}
    for quantile, column in zip(QUANTILE_LEVELS, QUANTILE_COLUMNS, strict=True):
        side = "lo" if quantile < 0.5 else "hi"
        name = f"{model}-{side}-{round(100 * abs(1 - 2 * quantile))}"
        values[column] = values["predicted"] if quantile == 0.5 else found[name].to_numpy()
    stacked = np.sort(np.stack([values[column] for column in QUANTILE_COLUMNS], axis=1), axis=1)
    times = [first + timedelta(hours=i) for i in range(len(stacked))]
    frame = pl.DataFrame(
        [
            pl.Series("timestamp", times, pl.Datetime("us", "UTC")),
            pl.Series("predicted", values["predicted"]),
            *(pl.Series(column, stacked[:, i]) for i, column in enumerate(QUANTILE_COLUMNS)),
        ]
    )
    return Forecast(frame, 0)


def _next_hour(issued_at: datetime) -> datetime:
    """Return the first full hour at or after the issue; local midnight of a half-hour zone is inside an hour."""
    return issued_at + (-timedelta(minutes=issued_at.minute, seconds=issued_at.second)) % timedelta(hours=1)


def _hours_from(first: datetime, n: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"timestamp": [first + timedelta(hours=i) for i in range(n)]}, schema={"timestamp": pl.Datetime("us", "UTC")}
    )


@dataclass(frozen=True)
class _Recursive:
    """A library's model on lags, calendar and temperature, fitted once, with the latest load at each issue.

    predict_load: returns the prediction for a frame of inputs, from a frame of the latest load (see _with_inputs), kWh.
    errors: [windows, 168], absolute errors on its last weeks of a model that was not trained on them: the libraries do
        not provide conformal intervals for new data.
    """

    predict_load: Callable[[pl.DataFrame, pl.DataFrame], Floats]
    city: City
    with_weather: bool
    errors: Floats
    history_days: int = 40

    def predict(self, data: ForecastInput) -> Forecast:
        """Return the forecast; see FittedForecaster.predict."""
        issued_at = _next_hour(data.issued_at)
        seen, ahead = data.weather, data.weather_ahead
        if not self.with_weather:
            seen, ahead = seen.clear(), ahead.clear()
        recent = _with_inputs(_regular(data.load, until=issued_at), seen, self.city)
        predicted = self.predict_load(
            recent, _with_inputs(_hours_from(issued_at, data.horizon_hours), ahead, self.city)
        )
        columns = {"model": predicted}
        for coverage in _COVERAGES:
            half = np.quantile(self.errors[:, : data.horizon_hours], coverage / 100, axis=0)
            columns |= {f"model-lo-{coverage}": predicted - half, f"model-hi-{coverage}": predicted + half}
        return _as_forecast(pl.DataFrame(columns), "model", issued_at)


def _lightgbm() -> Any:
    from lightgbm import LGBMRegressor

    return LGBMRegressor(n_estimators=400, learning_rate=0.05, num_leaves=63, n_jobs=1, verbose=-1)


def _mlforecast(city: City, load: pl.DataFrame, weather: pl.DataFrame, *, at: datetime) -> _Recursive:  # noqa: ARG001
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    model = MLForecast(
        models={"lightgbm": _lightgbm()},
        freq="1h",
        lags=_LAGS,
        lag_transforms={1: [RollingMean(24), RollingMean(_WEEK)]},
    )
    frame = _with_inputs(_regular(load), weather, city)
    tested = model.cross_validation(
        frame, n_windows=_WINDOWS, h=_WEEK, step_size=_STEP_HOURS, refit=False, static_features=[]
    ).sort("cutoff", "ds")
    size = (tested["y"] - tested["lightgbm"]).abs().to_numpy().reshape(_WINDOWS, _WEEK)
    model.fit(frame, static_features=[])

    def predict_load(recent: pl.DataFrame, given: pl.DataFrame) -> Floats:
        return np.asarray(model.predict(given.height, X_df=given, new_df=recent)["lightgbm"].to_numpy(), float)

    return _Recursive(predict_load, city, not weather.is_empty(), size)


def _skforecast(
    estimator: Callable[[], Any],
    city: City,
    load: pl.DataFrame,
    weather: pl.DataFrame,
    *,
    at: datetime,  # noqa: ARG001
) -> _Recursive:
    from skforecast.preprocessing import RollingFeatures
    from skforecast.recursive import ForecasterRecursive

    def trained(frame: pl.DataFrame) -> Any:
        rolling = RollingFeatures(stats=["mean", "mean"], window_sizes=[24, _WEEK])
        model = ForecasterRecursive(estimator(), lags=_LAGS, window_features=rolling)
        model.fit(y=_indexed(frame)["y"], exog=_exogenous(frame), store_in_sample_residuals=False)
        return model

    def predicted(model: Any, recent: pl.DataFrame, given: pl.DataFrame) -> Floats:
        last = _indexed(recent)["y"].iloc[-model.window_size :]
        return np.asarray(model.predict(steps=given.height, last_window=last, exog=_exogenous(given)), float)

    frame = _with_inputs(_regular(load), weather, city)
    ends = [frame.height - _WEEK - _STEP_HOURS * i for i in range(_WINDOWS)]
    tested = trained(frame[: min(ends)])
    size = [
        np.abs(predicted(tested, frame[:end], frame[end : end + _WEEK]) - frame["y"][end : end + _WEEK].to_numpy())
        for end in ends
    ]
    model = trained(frame)
    return _Recursive(partial(predicted, model), city, not weather.is_empty(), np.stack(size))


def _indexed(frame: pl.DataFrame) -> Any:
    return frame.drop("unique_id").to_pandas().set_index("ds").asfreq("h")


def _exogenous(frame: pl.DataFrame) -> Any:
    """Return one-hot hour and weekday, for linear models, and piecewise linear temperature."""
    known = frame.select(
        "ds",
        "unique_id",
        *((pl.col("hour") == i).cast(pl.Float64).alias(f"hour_{i}") for i in range(24)),
        *((pl.col("weekday") == i).cast(pl.Float64).alias(f"weekday_{i}") for i in range(1, 8)),
    )
    if "temperature" in frame.columns:
        temperature = frame["temperature"]
        known = known.with_columns(temperature, warm=(temperature - 18).clip(0), cold=(15 - temperature).clip(0))
    return _indexed(known)


def _ridge() -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), Ridge(1.0))


@dataclass(frozen=True)
class _Prophet:
    """Prophet: trend, seasons, holidays and temperature, on the last 90 days, fitted again at each issue.

    Fitted once before a year, its trend diverged: its error was 25 to 80 % on Baltimore and Tucson.
    """

    city: City
    with_weather: bool
    history_days: int = 90

    def predict(self, data: ForecastInput) -> Forecast:
        """Return the forecast; see FittedForecaster.predict."""
        issued_at = _next_hour(data.issued_at)
        from prophet import Prophet

        model = Prophet(uncertainty_samples=300)
        if self.city.country_code:
            model.add_country_holidays(self.city.country_code)
        if self.with_weather:
            model.add_regressor("temperature")
        seen, ahead = data.weather, data.weather_ahead
        if not self.with_weather:
            seen, ahead = seen.clear(), ahead.clear()
        known = _with_inputs(_regular(data.load, until=issued_at), seen, self.city)
        given = _with_inputs(_hours_from(issued_at, data.horizon_hours), ahead, self.city)
        model.fit(known.drop("unique_id").to_pandas())
        drawn = model.predictive_samples(given.drop("unique_id").to_pandas())["yhat"]
        columns = {"model": np.median(drawn, axis=1)}
        for coverage in _COVERAGES:
            for side, sign in (("lo", -1), ("hi", 1)):
                columns[f"model-{side}-{coverage}"] = np.quantile(drawn, 0.5 + sign * coverage / 200, axis=1)
        return _as_forecast(pl.DataFrame(columns), "model", issued_at)


def _prophet(city: City, load: pl.DataFrame, weather: pl.DataFrame, *, at: datetime) -> _Prophet:  # noqa: ARG001
    return _Prophet(city, not weather.is_empty())


@dataclass(frozen=True)
class _Decomposed:
    """statsforecast: MSTL with daily and weekly season and ETS for the rest, on ten weeks, fitted at each issue."""

    city: City
    history_days: int = 70

    def predict(self, data: ForecastInput) -> Forecast:
        """Return the forecast; see FittedForecaster.predict."""
        issued_at = _next_hour(data.issued_at)
        from statsforecast import StatsForecast
        from statsforecast.models import MSTL, AutoETS

        engine = StatsForecast([MSTL([24, _WEEK], trend_forecaster=AutoETS(model="ZZN"))], freq="1h")
        series = _with_inputs(_regular(data.load, 70), data.load.clear(), self.city).select("unique_id", "ds", "y")
        found = engine.forecast(h=data.horizon_hours, df=series, level=_COVERAGES)
        return _as_forecast(found, "MSTL", issued_at)


def _decomposed(city: City, load: pl.DataFrame, weather: pl.DataFrame, *, at: datetime) -> _Decomposed:  # noqa: ARG001
    return _Decomposed(city)


PEERS: dict[str, Callable[..., Any]] = {
    "mlforecast-lightgbm": _mlforecast,
    "skforecast-lightgbm": partial(_skforecast, _lightgbm),
    "skforecast-ridge": partial(_skforecast, _ridge),
    "prophet": _prophet,
    "statsforecast-mstl": _decomposed,
}
_NEEDED = {
    "mlforecast-lightgbm": ("mlforecast", "lightgbm"),
    "skforecast-lightgbm": ("skforecast", "lightgbm"),
    "skforecast-ridge": ("skforecast",),
    "prophet": ("prophet",),
    "statsforecast-mstl": ("statsforecast",),
}


def installed() -> Iterator[str]:
    """Return the peers that are installed."""
    for name, packages in _NEEDED.items():
        if all(find_spec(package) for package in packages):
            yield name


def left_out() -> Iterator[str]:
    """Return each peer that is not installed, with the reason."""
    for name, packages in _NEEDED.items():
        missing = [package for package in packages if not find_spec(package)]
        if missing:
            yield f"{name} ({', '.join(missing)} not installed)"
    # Version 4 requires Python 3.12; 3.4 requires holidays 0.21, which is too old for the platform
    yield "OpenSTEF (no version can be installed with the platform on Python 3.11)"
