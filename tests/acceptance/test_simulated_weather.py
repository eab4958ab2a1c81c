"""Backtests with simulated weather forecasts, by the installed command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psycopg
import pytest

from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.forecasting.data.weather_errors import DEFAULT_WEATHER_ERRORS
from servers import CommandLine, Server
from synthetic import frames, write_cities

FIRST, LAST = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 5, 1, tzinfo=UTC)
SPAN = ("--from", "2025-04-01T22:00Z", "--to", "2025-04-29T22:00Z")
BACKTEST = ("backtest", "--model", "vanilla,naive-168", *SPAN)
SIMULATED = (*BACKTEST, "--weather", "simulated")


def write_vintages(weather: pl.DataFrame, days: range, celsius: float, path: Path) -> None:
    """Write weather forecasts of 49 hours, issued at the beginning of these days, with temperature errors of a size."""
    rng = np.random.default_rng(0)
    vintages = [
        weather[24 * day : 24 * day + 49].with_columns(
            pl.lit(weather["timestamp"][24 * day]).alias("issued_at"),
            (pl.col("temperature") + pl.Series(rng.normal(0, celsius, 49))).round(2),
        )
        for day in days
    ]
    pl.concat(vintages).write_csv(path)


@pytest.fixture(scope="module")
def loaded_template(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield a database with two cities, of which Berlin has 20 days of weather forecasts with an RMSE of 5 degrees."""
    folder = tmp_path_factory.mktemp("loaded")
    consumption, weather = frames(FIRST, LAST)
    consumption.write_parquet(folder / "consumption.parquet")
    weather.write_parquet(folder / "weather.parquet")
    write_vintages(weather.filter(pl.col("city") == "Berlin"), range(20, 40), 5, folder / "forecasts.csv")
    with server.copy_of(template) as database:
        command_line = CommandLine.on(database, folder / "home")
        command_line.run("city", "import", write_cities(folder / "cities.csv"))
        command_line.run("ingest", "consumption", folder / "consumption.parquet")
        command_line.run("ingest", "weather", folder / "weather.parquet")
        command_line.run("ingest", "weather-forecasts", folder / "forecasts.csv")
        yield database.name


@pytest.fixture
def database(server: Server, loaded_template: str) -> Iterator[Database]:
    with server.copy_of(loaded_template) as copy:
        yield copy


def errors_of(folder: Path, celsius: float) -> Path:
    path = folder / f"errors-{celsius}.csv"
    # As a spreadsheet writes it
    path.write_text(f'"lead_hours","temperature"\r\n0,{celsius}\r\n48,{2 * celsius}\r\n', encoding="utf-8-sig")
    return path


def document(command_line: CommandLine, *arguments: str | Path, status: int = 0) -> Any:
    return json.loads(command_line.run(*arguments, "--json", status=status).stdout)


def mape(found: Any, city: str, model: str) -> float:
    (score,) = [row for row in found["scores"] if (row["city"], row["model"]) == (city, model)]
    return float(score["mape"])


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_larger_weather_errors_give_larger_errors(
    command_line: CommandLine, database: Database, tmp_path: Path
) -> None:
    """The run and its scores have the errors with which they were made, and the report shows them."""
    actual = document(command_line, *BACKTEST, "--weather", "actual")
    small = document(command_line, *SIMULATED, "--weather-error", errors_of(tmp_path, 0.5))
    large = document(command_line, *SIMULATED, "--weather-error", errors_of(tmp_path, 6))
    assert actual["weather"] == "actual"
    assert small["weather"] == "simulated"
    for city in ("Berlin", "Pune"):
        of_vanilla = [mape(found, city, "vanilla") for found in (actual, small, large)]
        assert of_vanilla[0] < of_vanilla[2]
        assert of_vanilla[1] < of_vanilla[2]
        assert mape(actual, city, "naive-168") == mape(large, city, "naive-168")
    used = {"source": "file", "seed": 0, "lead_hours": [0, 48], "temperature": [6, 12]}
    assert large["assumptions"]["Berlin"]["weather_errors"] == used
    for table in ("forecast_runs", "forecast_scores"):
        kept = dict(rows(database, f"SELECT weather, max(assumptions ->> 'weather_errors') FROM {table} GROUP BY 1"))  # noqa: S608
        assert kept["actual"] is None
        assert kept["simulated"] is not None
    performance = command_line.run("query", "model-performance").stdout
    assert "Assumptions 3: load known 1 h after its interval (assumed)" in performance
    for size in ("0.8", "9.0"):
        assert f"file errors of temperature (temperature {size} °C after 24 h)" in performance
    shown = command_line.run(*SIMULATED, "--weather-error", errors_of(tmp_path, 6)).stdout
    assert "weather of the target hours: simulated" in shown
    assert "Errors of the simulated weather forecasts: file, temperature 9.0 after 24 h, 12.0 after 48 h" in shown


def test_simulated_forecast_can_be_computed_again(
    command_line: CommandLine, database: Database, tmp_path: Path
) -> None:
    """The explanation reads the weather by the stored errors, and its model gives the stored forecast."""
    command_line.run(*SIMULATED, "--weather-error", errors_of(tmp_path, 6), "--city", "Berlin")
    found = pipelines.explain_forecast(database, "Berlin", model="vanilla", purposes=["backtest"])
    assert found.run["weather"] == "simulated"
    assert found.differing_hours == 0
    # The errors of the simulated weather are a part of the error
    assert found.error is not None
    assert found.error.parts is not None
    again = document(command_line, "score", "explain", "--model", "vanilla", "--purpose", "backtest")
    assert again["differing"] == []
    assert again["assumptions"]["weather_errors"]["temperature"] == [6, 12]


def test_resume_does_not_mix_errors(command_line: CommandLine, database: Database, tmp_path: Path) -> None:
    count = "SELECT count(*) FROM forecast_runs"
    resumed = (*SIMULATED, "--city", "Berlin", "--resume", "--weather-error")
    first = document(command_line, *resumed, errors_of(tmp_path, 0.5))
    ((runs,),) = rows(database, count)
    assert document(command_line, *resumed, errors_of(tmp_path, 0.5))["scores"] == first["scores"]
    assert rows(database, count) == [(runs,)]
    other = document(command_line, *resumed, errors_of(tmp_path, 6))
    assert mape(other, "Berlin", "vanilla") > mape(first, "Berlin", "vanilla")
    assert rows(database, count) == [(2 * runs,)]
    # The comparison and the certificate take the last errors only, which were used last
    compared = document(command_line, "backtest", "compare", "vanilla", "naive-168")["comparisons"][0]
    assert compared["weather"] == "simulated"
    assert compared["assumptions"]["weather_errors"]["temperature"] == [6, 12]
    # 28 days are not enough for a verdict
    certified = ("score", "certificate", "--model", "vanilla", "--purpose", "backtest", "--allow-partial")
    conditions = document(command_line, *certified)["conditions"]
    assert conditions["Berlin"]["weather"] == "simulated"
    assert conditions["Berlin"]["assumptions"] == compared["assumptions"]


def test_comparison_refuses_backtests_with_other_conditions(command_line: CommandLine) -> None:
    """Two models that were backtested under different conditions have no common result, and the message names both."""
    only = ("--city", "Berlin", *SPAN)
    command_line.run("backtest", "--model", "naive-24", *only, "--load-delay", "30h")
    command_line.run("backtest", "--model", "naive-168", *only)
    for command in (("backtest", "compare", "naive-24", "naive-168"), ("model", "promote", "naive-24")):
        refused = " ".join(command_line.run(*command, "--city", "Berlin", status=1).stderr.split())
        assert "have no backtests for Berlin with the same weather and assumptions" in refused
        assert "The last ones of naive-24 are without weather, load known 30 h after its interval." in refused
        assert "The last ones of naive-168 are without weather, load known 1 h after its interval (assumed)" in refused


def test_errors_are_measured_if_city_has_enough_weather_forecasts(command_line: CommandLine) -> None:
    """Berlin's forecasts, with the temperature only, have three times the default error; Pune has none."""
    found = document(command_line, *SIMULATED)["assumptions"]
    berlin, pune = found["Berlin"]["weather_errors"], found["Pune"]["weather_errors"]
    assert berlin["source"] == "measured"
    assert set(berlin) == {"source", "seed", "lead_hours", "temperature"}
    assert 1.7 < berlin["temperature"][1] < 5
    assert pune == {"source": "default", "seed": 0} | DEFAULT_WEATHER_ERRORS.settings()
    default = document(command_line, *SIMULATED, "--weather-error", "default", "--weather-columns", "temperature")
    assert set(default["assumptions"]["Berlin"]["weather_errors"]) == set(berlin)
    refused = document(command_line, *SIMULATED, "--weather-error", "measured", status=3)
    assert {one["city"] for one in refused["failed"]} == {"Pune"}
    assert "fewer than 14 days from 2023-04-02 to the first issue time, 2025-04-01." in refused["failed"][0]["reason"]


def test_measured_errors_are_those_known_at_first_issue(command_line: CommandLine, tmp_path: Path) -> None:
    """Worse weather forecasts that are issued during the backtest change neither its errors nor its forecasts."""
    berlin = (*SIMULATED, "--weather-error", "measured", "--city", "Berlin")
    before = document(command_line, *berlin)
    _, weather = frames(FIRST, LAST, ("Berlin",))
    write_vintages(weather, range(91, 116), 12, tmp_path / "later.csv")
    command_line.run("ingest", "weather-forecasts", tmp_path / "later.csv")
    after = document(command_line, *berlin)
    assert after["assumptions"] == before["assumptions"]
    assert [row["mape"] for row in after["scores"]] == [row["mape"] for row in before["scores"]]
    # A backtest that begins after them has their size
    later = ("backtest", "--model", "vanilla", "--from", "2025-04-27T22:00Z", "--to", "2025-04-29T22:00Z")
    measured = document(command_line, *later, "--weather", "simulated", "--city", "Berlin")["assumptions"]["Berlin"]
    known = before["assumptions"]["Berlin"]["weather_errors"]
    assert measured["weather_errors"]["temperature"][1] > known["temperature"][1] + 1


def test_refuses_wrong_options(command_line: CommandLine, tmp_path: Path) -> None:
    for options, message in (
        (("--weather-error", "default"), "It requires --weather simulated."),
        (("--weather", "actual", "--weather-columns", "temperature"), "It requires --weather simulated."),
        (("--weather", "simulated", "--weather-columns", "humidity"), "It must include temperature."),
        (("--weather", "simulated", "--weather-columns", "temperature,clouds"), "'clouds' is not one of temperature"),
    ):
        assert message in " ".join(command_line.run(*BACKTEST, *options, status=2).stderr.replace("│", " ").split())
    missing = command_line.run(*SIMULATED, "--weather-error", tmp_path / "none.csv", status=1).stderr
    assert "none.csv cannot be read: No such file" in missing
    wrong = errors_of(tmp_path, 1)
    wrong.write_text("lead_hours,temperature\n0,1\n24,warm\n")
    refused = command_line.run(*SIMULATED, "--weather-error", wrong, status=1).stderr
    assert "errors-1.csv, line 3: temperature is 'warm'" in refused


def test_live_runs_cannot_have_simulated_weather(database: Database) -> None:
    """The columns are the contract of every reader: simulated weather is not evidence of a forecast in use."""
    insert = (
        "INSERT INTO forecast_runs (model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
        " started_at, finished_at, assumptions)"
        " VALUES (gen_random_uuid(), {}, now(), '24h', {}, '{{0.5}}', 'succeeded', now(), now(), {})"
    )
    errors = "'{\"weather_errors\": {}}'"
    for purpose, weather, assumptions in (
        ("'live'", "'simulated'", errors),
        ("'backtest'", "'simulated'", "'{}'"),
        ("'replay'", "'forecast'", "'{\"load_delay_minutes\": 60}'"),
    ):
        with psycopg.connect(database.url) as connection, pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(insert.format(purpose, weather, assumptions).encode())
