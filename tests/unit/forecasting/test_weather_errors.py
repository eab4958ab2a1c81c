"""Errors of weather forecasts: the default, the simulation, the file and the estimation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.errors import EnergyForecastError
from energy_forecast.forecasting.data.history import hour_number
from energy_forecast.forecasting.data.weather_errors import (
    DEFAULT_WEATHER_ERRORS,
    WeatherErrors,
    error_paths,
    estimate_weather_errors,
    read_weather_errors,
    simulate_forecast,
)
from energy_forecast.forecasting.types import Floats

BALTIMORE, PHILADELPHIA, HOUSTON = (39.29, -76.61), (39.95, -75.17), (29.76, -95.37)
FIRST = datetime(2023, 1, 1, 5, tzinfo=UTC)


def paths(
    place: tuple[float, float] = BALTIMORE,
    *,
    issues: int = 1000,
    hours: int = 49,
    seed: int = 0,
    errors: WeatherErrors = DEFAULT_WEATHER_ERRORS,
) -> dict[str, Floats]:
    times = hour_number(FIRST) + 24 * np.arange(issues)
    return error_paths(errors, latitude=place[0], longitude=place[1], issues=times, hours=hours, seed=seed)


def observed(hours: int = 48, first: datetime = FIRST) -> pl.DataFrame:
    columns = {"temperature": 20.0, "humidity": 97.0, "wind_speed": 0.5, "precipitation": 0.0}
    times = [first + timedelta(hours=number) for number in range(hours)]
    return pl.DataFrame(
        {"timestamp": times, **{name: [value] * hours for name, value in columns.items()}}
    ).with_columns(pl.col("timestamp").dt.cast_time_unit("us"))


def forecast_from(weather: pl.DataFrame, errors: WeatherErrors) -> pl.DataFrame:
    return simulate_forecast(weather, errors, latitude=BALTIMORE[0], longitude=BALTIMORE[1], issued_at=FIRST)


def test_errors_have_given_size_by_lead_time() -> None:
    """The standard error of 1,000 issues is 2.2 %."""
    found = paths()
    for lead, rmse in ((0, 1.2), (12, 1.45), (24, 1.7), (48, 2.0)):
        assert np.sqrt((found["temperature"][:, lead] ** 2).mean()) == pytest.approx(rmse, rel=0.07)
        assert abs(found["temperature"][:, lead].mean()) < 0.1 * rmse
    assert np.sqrt((found["humidity"][:, 24] ** 2).mean()) == pytest.approx(10, rel=0.07)
    assert np.sqrt((found["wind_speed"][:, 24] ** 2).mean()) == pytest.approx(1.5, rel=0.07)
    rain = found["precipitation"][:, 24]
    assert (rain > 0).all()
    assert rain.mean() == pytest.approx(1.0, rel=0.07)
    assert np.log(rain).std() == pytest.approx(0.7, rel=0.07)


def test_errors_are_correlated_along_lead_time() -> None:
    found = paths(errors=DEFAULT_WEATHER_ERRORS.only(["temperature"]))["temperature"]
    for hours in (1, 6, 24):
        expected = 0.6 * np.exp(-hours / 8) + 0.4 * np.exp(-hours / 48)
        for lead in (0, 24):
            actual = np.corrcoef(found[:, lead], found[:, lead + hours])[0, 1]
            assert actual == pytest.approx(expected, abs=0.08)


def test_issues_and_columns_are_independent() -> None:
    found = paths(hours=25)
    temperature = found["temperature"][:, 24]
    assert abs(np.corrcoef(temperature[1:], temperature[:-1])[0, 1]) < 0.1
    assert abs(np.corrcoef(temperature, found["humidity"][:, 24])[0, 1]) < 0.1


def test_near_cities_have_similar_errors() -> None:
    """Without it, the total of many cities would have a smaller error than it has with a real forecast."""
    errors = DEFAULT_WEATHER_ERRORS.only(["temperature"])
    here, near, far = (
        paths(place, hours=25, errors=errors)["temperature"][:, 24] for place in (BALTIMORE, PHILADELPHIA, HOUSTON)
    )
    assert np.corrcoef(here, near)[0, 1] == pytest.approx(np.exp(-144 / 600), abs=0.1)
    assert abs(np.corrcoef(here, far)[0, 1]) < 0.15


def test_error_depends_only_on_seed_issue_place_and_column() -> None:
    """A forecast can be computed again, whichever other cities, issues, columns and hours a run has."""
    alone = paths(issues=1, hours=48)
    again = paths(issues=5, hours=168)
    for name, path in alone.items():
        assert (path[0] == again[name][0, :48]).all()
    only = paths(issues=1, hours=48, errors=DEFAULT_WEATHER_ERRORS.only(["temperature", "wind_speed"]))
    assert list(only) == ["temperature", "wind_speed"]
    assert (only["wind_speed"] == alone["wind_speed"]).all()
    assert (paths(issues=1, hours=48, seed=1)["temperature"] != alone["temperature"]).all()
    assert (again["temperature"][1] != again["temperature"][0]).all()


def test_simulated_forecast_is_observed_weather_plus_error() -> None:
    frame = observed(first=FIRST - timedelta(hours=3), hours=51)
    made = forecast_from(frame, DEFAULT_WEATHER_ERRORS)
    assert made["timestamp"].to_list() == frame["timestamp"].to_list()[3:]
    errors = paths(issues=1, hours=48)
    assert made["temperature"].to_numpy() == pytest.approx(20 + errors["temperature"][0], abs=0.00501)
    # In the physical range, and no rain without observed rain
    assert made["humidity"].max() == 100
    assert made["wind_speed"].min() == 0
    assert (made["precipitation"] == 0).all()
    only = forecast_from(frame, DEFAULT_WEATHER_ERRORS.only(["temperature"]))
    assert (only["temperature"] == made["temperature"]).all()
    assert only["humidity"].null_count() == only.height
    # An unknown hour remains unknown, and does not shift the others
    gap = frame.with_row_index().with_columns(pl.when(pl.col("index") != 20).then("temperature")).drop("index")
    with_gap = forecast_from(gap, DEFAULT_WEATHER_ERRORS)["temperature"]
    assert with_gap.is_null().to_list() == [number == 17 for number in range(48)]
    assert with_gap[18:].equals(made["temperature"][18:])


def test_file_keeps_the_model() -> None:
    text = DEFAULT_WEATHER_ERRORS.to_csv()
    assert text.splitlines()[1] == "0,1.2,8,1.2,0.5"
    assert read_weather_errors(text.splitlines(), "errors.csv") == DEFAULT_WEATHER_ERRORS
    only = read_weather_errors(["Temperature, lead_hours", "1.5,0", "", "2.5,48"], "errors.csv")
    assert only == WeatherErrors((0.0, 48.0), {"temperature": (1.5, 2.5)})
    # Linear between the lead times, constant outside
    assert only.at("temperature", np.array([0.0, 12.0, 100.0])).tolist() == [1.5, 1.75, 2.5]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "errors.csv, line 1: the header is not one of weather errors: no line."),
        (["lead_hours,humidity", "0,1"], "line 1: the header is not one of weather errors: lead_hours, humidity."),
        (["lead_hours,temperature,clouds", "0,1,1"], "line 1: the header"),
        (["lead_hours,temperature"], "errors.csv has no weather errors."),
        (["lead_hours,temperature", "0,1", "24"], "errors.csv, line 3: 1 values for 2 columns."),
        (["lead_hours,temperature", "0,1", "24,warm"], "errors.csv, line 3: temperature is 'warm'."),
        (["lead_hours,temperature", "0,1", "24,-1"], "errors.csv, line 3: temperature is '-1'."),
        (["lead_hours,temperature", "0,1", "24,nan"], "errors.csv, line 3: temperature is 'nan'."),
        (["lead_hours,temperature", "24,1", "24,2"], "errors.csv, line 3: lead_hours 24 is not later than 24."),
        (["lead_hours,temperature", "0," + "1" * 200_000], "errors.csv, line 2: field larger than"),
    ],
)
def test_rejects_file_with_its_line(lines: list[str], message: str) -> None:
    with pytest.raises(EnergyForecastError, match=r".") as caught:
        read_weather_errors(lines, "errors.csv")
    assert message in caught.value.message
    assert caught.value.hint


def vintages(errors: WeatherErrors, days: int, hours: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One weather forecast a day with simulated errors, and the observed weather."""
    true = observed(24 * days + hours)
    made = [
        simulate_forecast(
            true.filter(pl.col("timestamp") < issued_at + timedelta(hours=hours)),
            errors,
            latitude=BALTIMORE[0],
            longitude=BALTIMORE[1],
            issued_at=issued_at,
        ).with_columns(pl.lit(issued_at).dt.cast_time_unit("us").alias("issued_at"))
        for issued_at in (FIRST + timedelta(days=number) for number in range(days))
    ]
    return pl.concat(made), true


def test_estimation_finds_errors_of_service() -> None:
    """Four months of a better service that gives the temperature only, for two days."""
    better = WeatherErrors((0.0, 48.0), {"temperature": (0.6, 1.0)})
    found = estimate_weather_errors(*vintages(better, 120, 49))
    assert found is not None
    assert found.columns == ("temperature",)
    # The default counts for 30 of 150 days: the errors are between, near to their own
    for lead, own, usual in ((6.0, 0.65, 1.325), (24.0, 0.8, 1.7), (42.0, 0.95, 1.925)):
        assert own * 0.95 < found.at("temperature", np.array([lead]))[0] < (2 * own + usual) / 3
    # Lead times without pairs follow the ratio of the others
    assert found.at("temperature", np.array([120.0]))[0] == pytest.approx(3.1 * 0.6, rel=0.15)


def test_estimation_shrinks_few_days_towards_default() -> None:
    forecasts, true = vintages(WeatherErrors((0.0,), {"temperature": (6.0,)}), 40, 49)
    ratios = []
    for days in (40, 20):
        part = forecasts.filter(pl.col("issued_at") < FIRST + timedelta(days=days))
        found = estimate_weather_errors(part, true)
        assert found is not None
        ratios.append(found.at("temperature", np.array([24.0]))[0] / 1.7)
    assert 6.0 / 1.7 > ratios[0] > ratios[1] > 1.0
    few = forecasts.filter(pl.col("issued_at") < FIRST + timedelta(days=13))
    assert estimate_weather_errors(few, true) is None
    assert estimate_weather_errors(forecasts.clear(), true) is None


def test_estimation_takes_default_for_column_that_is_not_observed() -> None:
    """A service may give a column that the stations do not measure, and the other way round."""
    forecasts, true = vintages(DEFAULT_WEATHER_ERRORS, 20, 25)
    found = estimate_weather_errors(forecasts, true.drop("humidity"))
    assert found is not None
    assert found.rmse["humidity"] == DEFAULT_WEATHER_ERRORS.rmse["humidity"]
    assert found.rmse["temperature"] != DEFAULT_WEATHER_ERRORS.rmse["temperature"]
    without = estimate_weather_errors(forecasts.drop("humidity"), true)
    assert without is not None
    assert "humidity" not in without.columns
