"""The error of a forecast is split into the part of the weather forecast and the part of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import FittedForecaster, ForecastInput
from energy_forecast.forecasting.explain.weather_share import error_parts, split_error, weather_share

from .conftest import FITTED_AT, Record

Fitted = Callable[[str], FittedForecaster]
AT = FITTED_AT + timedelta(days=3)
ONLY_TEMPERATURE = [pl.lit(None, pl.Float64).alias(name) for name in ("humidity", "wind_speed", "precipitation")]


def input_of(record: Record, ahead: pl.DataFrame) -> ForecastInput:
    # By the variant that trusts its weather: after 200 days alike, six degrees more look like an error of the forecast
    return ForecastInput(*record.before(AT), ahead, AT, 48, weather_is_observed=True)


def wrong(record: Record, degrees: float = 6.0) -> pl.DataFrame:
    """Return a weather forecast that is too warm."""
    return record.weather_from(AT).with_columns(pl.col("temperature") + degrees)


@pytest.mark.parametrize("name", ["ensemble", "linear"])
def test_part_of_weather_is_difference_to_forecast_with_observed_weather(
    berlin: Record, fitted: Fitted, name: str
) -> None:
    """Berlin cools in July, so a forecast that is 6 degrees too warm is too high; the model has the rest."""
    model, observed = fitted(name), berlin.weather_from(AT)
    data = input_of(berlin, wrong(berlin))
    share = weather_share(model, data, observed)
    issued, perfect = (model.predict(one).frame for one in (data, replace(data, weather_ahead=observed)))
    expected = issued["predicted"].to_numpy() - perfect["predicted"].to_numpy()
    assert share.hours["weather_kwh"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert share.hours["temperature_error"].to_numpy() == pytest.approx(6.0)
    assert share.hours["predicted"].to_numpy() == pytest.approx(issued["predicted"].to_numpy(), abs=1e-6)
    assert (share.used, share.added) == (True, [])

    hours = split_error(share.hours.join(berlin.load.rename({"consumption_kwh": "actual"}), on="timestamp"))
    error = hours["predicted"].to_numpy() - hours["actual"].to_numpy()
    assert (hours["weather_kwh"] + hours["model_kwh"]).to_numpy() == pytest.approx(error)
    parts = error_parts(hours)
    assert parts is not None
    assert parts.hours == 48
    assert parts.absolute_error_kwh == pytest.approx(np.abs(error).sum())
    assert parts.weather_kwh + parts.model_kwh == pytest.approx(parts.absolute_error_kwh)
    # The noise of the load is 2 %, and the wrong weather costs more
    assert parts.weather_percent is not None
    assert 50 < parts.weather_percent <= 130
    assert parts.mape_with_observed < 0.7 * parts.mape


def test_part_is_negative_if_weather_forecast_reduced_error() -> None:
    """The parts of two hours cancel: the weather increased one error and reduced the other."""
    frame = pl.DataFrame(
        {"actual": [100.0, 100.0], "predicted": [101.0, 99.0], "weather_kwh": [-4.0, -4.0], "temperature_error": 2.0}
    )
    parts = error_parts(split_error(frame))
    assert parts is not None
    assert (parts.absolute_error_kwh, parts.weather_kwh, parts.model_kwh) == (2.0, 0.0, 2.0)
    assert split_error(frame)["weather_percent"].to_list() == [-400.0, 400.0]
    assert [parts.mape, parts.mape_with_observed] == pytest.approx([1.0, 4.0])


@pytest.mark.parametrize(
    ("weather_kwh", "words"),
    [
        ([0.5, -0.25], "caused 38 % of the absolute error of these 2 hours, and the model the rest. MAPE"),
        ([-4.0, -4.0], "and the model the rest. In some of them the two errors offset each other. MAPE 1.00 %; with"),
        ([-4.0, 0.0], "reduced the absolute error of these 2 hours: it offset a part of the model's own error."),
        (
            [4.0, 0.0],
            "caused more than the absolute error of these 2 hours: the model's own error offset a part of it.",
        ),
    ],
)
def test_statement_is_true_if_errors_cancel(weather_kwh: list[float], words: str) -> None:
    frame = pl.DataFrame(
        {"actual": [100.0] * 2, "predicted": [101.0, 99.0], "weather_kwh": weather_kwh, "temperature_error": [2.0] * 2}
    )
    parts = error_parts(split_error(frame))
    assert parts is not None
    assert words in parts.statement
    # With observed weather the forecast is `predicted` minus the part
    again = [abs(e - w) for e, w in zip([1.0, -1.0], weather_kwh, strict=True)]
    assert parts.mape_with_observed == pytest.approx(sum(again) / 2)
    assert ("reduced" in parts.statement or "offset each other" in parts.statement) == (
        sum(again) > 2 and "caused more" not in parts.statement
    )


def test_hours_without_observation_or_weather_forecast_are_not_split(berlin: Record, fitted: Fitted) -> None:
    """Weather was forecast for 40 hours and is observed for 30: the others keep their input."""
    model, observed = fitted("linear"), berlin.weather_from(AT)
    data = input_of(berlin, wrong(berlin).head(40))
    share = weather_share(model, data, observed.head(30))
    assert share.hours["timestamp"].to_list() == observed["timestamp"].head(30).to_list()
    mixed = replace(data, weather_ahead=pl.concat([observed.head(30), wrong(berlin)[30:40]]))
    expected = model.predict(data).frame["predicted"] - model.predict(mixed).frame["predicted"]
    assert share.hours["weather_kwh"].to_numpy() == pytest.approx(expected.head(30).to_numpy())

    # Observations where no weather was forecast change nothing
    after = weather_share(model, data, observed)
    assert after.hours.height == 40
    nothing = weather_share(model, data, observed[40:])
    assert (nothing.hours.height, nothing.used) == (0, True)


def test_model_or_forecast_without_weather_has_no_part(berlin: Record, fitted: Fitted) -> None:
    observed = berlin.weather_from(AT)
    for name, ahead in (("linear", observed.clear()), ("naive-168", observed)):
        share = weather_share(fitted(name), input_of(berlin, ahead), observed)
        assert (share.hours.height, share.used) == (0, False)


def test_columns_that_were_not_forecast_are_named(berlin: Record, fitted: Fitted) -> None:
    """A forecast of the temperature only; one without observed humidity keeps that of the forecast."""
    model, observed = fitted("linear"), berlin.weather_from(AT)
    data = input_of(berlin, observed.with_columns(ONLY_TEMPERATURE))
    share = weather_share(model, data, observed)
    assert share.added == ["humidity", "wind_speed"]
    assert share.hours["weather_kwh"].abs().max() > 0  # type: ignore[operator]
    # The variant for weather forecasts was trained for a service of the temperature, and ignores other columns
    assert weather_share(model, replace(data, weather_is_observed=False), observed).added == []
    same = weather_share(model, input_of(berlin, observed), observed.with_columns(ONLY_TEMPERATURE))
    assert same.added == []
    assert same.hours["weather_kwh"].to_numpy() == pytest.approx(0.0, abs=1e-6)


def test_observations_of_every_third_hour_replace_hourly_forecast(berlin: Record, fitted: Fitted) -> None:
    """Hours between two observations are bridged as in a forecast, and not taken from the weather forecast."""
    model = fitted("linear")
    third = berlin.weather_from(AT).gather_every(3).head(16)
    data = input_of(berlin, wrong(berlin))
    share = weather_share(model, data, third)
    assert share.hours.height == 46
    mixed = replace(data, weather_ahead=pl.concat([third, wrong(berlin)[46:]]))
    expected = model.predict(data).frame["predicted"] - model.predict(mixed).frame["predicted"]
    assert share.hours["weather_kwh"].to_numpy() == pytest.approx(expected.head(46).to_numpy())
    # A weather forecast of every third hour is used for all hours too
    sparse = weather_share(model, input_of(berlin, wrong(berlin).gather_every(3).head(16)), berlin.weather_from(AT))
    assert sparse.hours.height == 46
