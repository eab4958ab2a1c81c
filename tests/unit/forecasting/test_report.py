"""Explanations: contributions add up to the forecast, and each is correct."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import City, FittedForecaster, ForecastInput
from energy_forecast.forecasting.explain.contributions import BASELINE, group_of
from energy_forecast.forecasting.explain.report import contribution_totals, explain
from energy_forecast.forecasting.features.calendar import holiday_name
from energy_forecast.zones import zone as rules_of

from .conftest import FITTED_AT, Record

Fitted = Callable[[str], FittedForecaster]
AT = FITTED_AT + timedelta(days=3)


def input_of(record: Record, *, warmer: float = 0.0, weather: bool = True) -> ForecastInput:
    load, past = record.before(AT)
    ahead = record.weather_from(AT).with_columns(pl.col("temperature") + warmer)
    # Observed: after two hundred days alike, eight degrees more look like an error of the weather forecast
    return ForecastInput(load, past, ahead if weather else ahead.clear(), AT, 48, weather_is_observed=True)


@pytest.mark.parametrize("weather", [True, False], ids=["weather", "no weather"])
@pytest.mark.parametrize("name", ["ensemble", "linear", "gradient-boosting"])
def test_contributions_add_up_to_forecast(berlin: Record, fitted: Fitted, name: str, weather: bool) -> None:
    """Contributions are those of the whole ensemble with weights and corrections, not of one member."""
    model, data = fitted(name), input_of(berlin, weather=weather)
    found = model.contributions(data)
    made = model.predict(data)
    assert found is not None
    total = found.group_by("timestamp").agg(pl.col("contribution_kwh").sum()).sort("timestamp")
    assert total["contribution_kwh"].to_numpy() == pytest.approx(made.frame["predicted"].to_numpy(), rel=1e-9)
    assert any(driver.startswith("temperature") for driver in found["input_group"]) == weather


def test_temperature_changes_contributions_effect_and_response(berlin: Record, fitted: Fitted) -> None:
    """Berlin cools above 18 degrees: more load in July for each degree."""
    model = fitted("ensemble")
    usual, hot = (explain(model, berlin.city, input_of(berlin, warmer=degrees)) for degrees in (0.0, 8.0))
    contributions = [one.contributions for one in (usual, hot) if one.contributions is not None]
    assert len(contributions) == 2
    temperature = pl.col("input_group").str.starts_with("temperature")
    before, after = (frame.filter(temperature)["contribution_kwh"].to_numpy().sum() for frame in contributions)
    # Only the temperature was changed, so its contributions have nearly all of the effect
    assert hot.total_kwh > 1.02 * usual.total_kwh
    assert after - before == pytest.approx(hot.total_kwh - usual.total_kwh, rel=0.15)
    base = [frame.filter(pl.col("input_group") == BASELINE)["contribution_kwh"].to_numpy() for frame in contributions]
    assert base[0] == pytest.approx(base[1], rel=0.02), "the usual day is another one"
    assert hot.weather_effect is not None
    shift = hot.hours["normal_temperature"].to_numpy() - hot.hours["temperature"].to_numpy()
    assert hot.weather_effect.temperature - hot.weather_effect.normal_temperature == pytest.approx(-shift.mean())
    assert hot.weather_effect.added_kwh == pytest.approx(
        hot.total_kwh - hot.hours["predicted_at_normal"].to_numpy().sum()
    )
    assert hot.weather_effect.percent > 2.5
    response = hot.response
    # Eight degrees colder than eight degrees warmer is the original forecast
    assert response.filter(pl.col("shift") == -8)["mean_kwh"][0] == pytest.approx(usual.total_kwh / 24, rel=1e-3)
    assert response.filter(pl.col("shift") == 0)["mean_kwh"][0] == pytest.approx(hot.total_kwh / 24)


def test_weather_effect_of_partly_known_day(berlin: Record, fitted: Fitted) -> None:
    model, whole = fitted("linear"), input_of(berlin)
    zone = rules_of(berlin.city.timezone)
    tomorrow = (AT + timedelta(days=1)).astimezone(zone).date()
    cut = AT + timedelta(hours=24)
    short = replace(whole, weather_ahead=whole.weather_ahead.filter(pl.col("timestamp") < cut))
    partly = explain(model, berlin.city, short, tomorrow)
    known = partly.hours.filter(pl.col("temperature").is_not_null())
    assert 0 < known.height < partly.hours.height
    assert partly.weather_effect is not None
    assert partly.weather_effect.hours == known.height
    assert partly.weather_effect.temperature == pytest.approx(known["temperature"].mean())

    last = (AT + timedelta(hours=47)).astimezone(zone).date()
    short = replace(whole, weather_ahead=whole.weather_ahead.filter(pl.col("timestamp") < AT + timedelta(hours=6)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = explain(model, berlin.city, short, last)
    assert none.weather_effect is None
    assert none.response.is_empty()


def test_similar_days_have_same_kind_and_temperature(berlin: Record, fitted: Fitted) -> None:
    found = explain(fitted("naive-168"), berlin.city, input_of(berlin))
    assert found.contributions is None, "it has no features to tell apart"
    local = pl.col("timestamp").dt.convert_time_zone(berlin.city.timezone)
    hours = berlin.load.join(berlin.weather, on="timestamp").with_columns(local.dt.date().alias("day"))
    today = hours.filter(pl.col("day") == found.day)["temperature"].to_numpy()
    assert found.similar["distance"].is_sorted()
    assert found.similar["day"].max() < found.day  # type: ignore[operator]
    for row in found.similar.iter_rows(named=True):
        that = hours.filter(pl.col("day") == row["day"])
        assert (row["day"].weekday() >= 5) == (found.day.weekday() >= 5)
        assert row["kwh"] == pytest.approx(that["consumption_kwh"].to_list())
        apart = float(np.sqrt(np.mean((that["temperature"].to_numpy() - today) ** 2)))
        season = abs(row["day"].timetuple().tm_yday - found.day.timetuple().tm_yday)
        assert row["distance"] == pytest.approx(apart + 0.1 * season)


def test_kind_label_names_holiday(berlin: Record, fitted: Fitted) -> None:
    """26 July 2021 was a Monday; Christmas has an English name; a country without holidays has none."""
    found = explain(fitted("naive-168"), berlin.city, input_of(berlin))
    assert (found.holiday, found.kind_label) == (None, "workday")
    rest = replace(found, kind="Sunday or holiday")
    assert rest.kind_label == "Sunday"
    assert replace(rest, holiday="Christmas Day").kind_label == "holiday (Christmas Day)"
    assert holiday_name(berlin.city, date(2021, 12, 25)) == "Christmas Day"
    # A holiday in Berlin and in no other state
    assert holiday_name(berlin.city, date(2021, 3, 8)) == "Women's Day"
    assert holiday_name(replace(berlin.city, subdivision="BY"), date(2021, 3, 8)) is None
    assert holiday_name(berlin.city, date(2021, 12, 27)) is None
    assert holiday_name(replace(berlin.city, country_code=None), date(2021, 12, 25)) is None
    assert holiday_name(replace(berlin.city, country_code="XX"), date(2021, 12, 25)) is None
    chicago = City("Chicago", 41.9, -87.6, "America/Chicago", "US", "IL")
    assert holiday_name(chicago, date(2026, 11, 26)) == "Thanksgiving Day"


def test_rejects_day_outside_forecast(berlin: Record, fitted: Fitted) -> None:
    with pytest.raises(ValueError, match="no hour of"):
        explain(fitted("naive-168"), berlin.city, input_of(berlin), (AT - timedelta(days=5)).date())


def test_features_are_grouped_by_kind(berlin: Record, fitted: Fitted) -> None:
    found = explain(fitted("ensemble"), berlin.city, input_of(berlin)).contributions
    assert found is not None
    assert contribution_totals(found)["input_group"][0] == BASELINE
    assert group_of("temperature_mean_24h_week_lag") == "temperature on the days compared with"
    assert group_of("temperature_mean_24h") == "temperature of the days before"
    assert group_of("is_holiday") == group_of("day_lag_kind") == "weekday and holidays"
    assert group_of("load_last_3h_over_7d_before") == "load of the last hours and weeks"


def test_naive_model_reports_repeated_hours(berlin: Record, fitted: Fitted) -> None:
    """A missing hour is taken from the week before, as in the forecast; one missing in all weeks is the level."""
    load, weather = berlin.before(AT)
    days = [AT + timedelta(hours=hour) for hour in (5, 9)]
    lost = [days[0] - timedelta(days=7), *(days[1] - timedelta(days=7 * week) for week in range(1, 5))]
    holed = load.filter(~pl.col("timestamp").is_in(lost))
    data = ForecastInput(holed, weather, weather.clear(), AT, 24)
    found = explain(fitted("naive-168"), berlin.city, data)
    assert found.contributions is None
    assert found.repeated_hours is not None
    source = dict(zip(found.repeated_hours["timestamp"], found.repeated_hours["repeated_from"], strict=True))
    known = dict(zip(load["timestamp"], load["consumption_kwh"], strict=True))
    assert source[days[0]] == days[0] - timedelta(days=14)
    assert source[days[1]] is None
    level = holed.tail(168 - 2)["consumption_kwh"].mean()
    for row in found.repeated_hours.iter_rows(named=True):
        expected = level if row["repeated_from"] is None else known[row["repeated_from"]]
        assert row["repeated_kwh"] == pytest.approx(expected)
    moved = found.moved(lambda frame: frame.with_columns(pl.col("timestamp") - timedelta(minutes=30))).repeated_hours
    assert moved is not None
    assert (moved["timestamp"] - moved["repeated_from"]).equals(
        found.repeated_hours["timestamp"] - found.repeated_hours["repeated_from"]
    )
    assert moved["timestamp"][0] == found.repeated_hours["timestamp"][0] - timedelta(minutes=30)


@pytest.mark.parametrize("name", ["ensemble", "linear"])
def test_other_models_report_no_repeated_hours(berlin: Record, fitted: Fitted, name: str) -> None:
    assert explain(fitted(name), berlin.city, input_of(berlin)).repeated_hours is None
