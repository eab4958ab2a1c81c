"""The part of the weather forecast in an error, by the installed command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.ingest import import_cities, load_table
from servers import CommandLine
from synthetic import frames, write_cities

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
AT = FIRST + timedelta(days=42)
END = AT + timedelta(days=2)
STAMP = "%Y-%m-%dT%H:%M:%SZ"
EXPLAIN = ("forecast", "explain", "Berlin", "--at", AT.strftime(STAMP))


def document(command_line: CommandLine, *arguments: str | Path) -> Any:
    return json.loads(command_line.run(*arguments, "--json").stdout)


def test_error_is_split_once_load_and_weather_are_known(
    database: Database, command_line: CommandLine, tmp_path: Path
) -> None:
    """Berlin heats: a weather forecast that is 4 degrees too cold makes the load forecast too high."""
    import_cities(database, write_cities(tmp_path / "cities.csv"))
    load, weather = frames(FIRST, END, ("Berlin",))
    # As much as a large city: quantiles are stored with seven digits
    load = load.with_columns(pl.col("consumption_kwh") * 100)
    past = pl.col("timestamp") < AT.strftime(STAMP)
    forecast = weather.filter(~past).with_columns(
        pl.col("temperature") - 4, pl.lit((AT - timedelta(hours=6)).strftime(STAMP)).alias("issued_at")
    )
    for kind, frame in (
        ("consumption", load.filter(past)),
        ("weather", weather.filter(past)),
        ("weather-forecasts", forecast),
    ):
        load_table(database, kind, frame, name=kind)
    pipelines.train(database, models=["linear", "naive-168"], cities=["Berlin"], until=AT)
    horizon = timedelta(hours=48)
    pipelines.forecast(database, cities=["Berlin"], model="linear", at=AT, horizon=horizon)
    first = document(command_line, *EXPLAIN)
    assert (first["error"], first["differing_hours"]) == (None, 0)

    load_table(database, "consumption", load.filter(~past), name="actual")
    unknown = document(command_line, *EXPLAIN)["error"]
    assert "no observed weather" in unknown["statement"]
    assert unknown["parts"] is None
    assert [row["weather_kwh"] for row in unknown["hours"]] == [None] * 48
    assert "ingest weather FILE" in " ".join(command_line.run(*EXPLAIN).stderr.split())

    # Observed weather of all hours but the last six
    load_table(database, "weather", weather.filter(~past).head(42), name="observed")
    error = document(command_line, *EXPLAIN)["error"]
    parts = error["parts"]
    assert (error["statement"], parts["hours"]) == (None, 42)
    assert "6 of 48 hours with load are left out" in error["notes"][0]
    assert parts["temperature_error"] == pytest.approx(-4)
    assert 15 < parts["weather_percent"] < 130
    assert parts["weather_kwh"] + parts["model_kwh"] == pytest.approx(parts["absolute_error_kwh"])
    assert parts["mape_with_observed"] < 0.95 * parts["mape"]
    for row in error["hours"][:42]:
        assert row["weather_kwh"] + row["model_kwh"] == pytest.approx(row["predicted"] - row["actual"])
    page = tmp_path / "why.html"
    printed = command_line.run(*EXPLAIN, "--plot", page)
    assert "caused by the weather forecast" in printed.stdout
    assert f"caused {parts['weather_percent']:.0f} % of the absolute error" in " ".join(printed.stdout.split())
    assert "Error and its causes" in page.read_text()

    # The same part of the hours with the largest errors of a score
    pipelines.score(database)
    score = document(command_line, "score", "explain", "--city", "Berlin", "--lead", "24")
    by_hour = {row["timestamp"]: row["weather_kwh"] for row in error["hours"]}
    assert len(score["worst"]) == 10
    for row in score["worst"]:
        expected = by_hour[row["timestamp"]]
        assert row["weather_kwh"] == (None if expected is None else pytest.approx(expected, abs=0.1))
    assert score["worst_error"]["hours"] == sum(by_hour[row["timestamp"]] is not None for row in score["worst"])
    assert score["worst_error"]["weather_percent"] > 10
    told = command_line.run("score", "explain", "--city", "Berlin", "--lead", "24").stdout
    assert "The error of the weather forecast caused" in told

    # Forecasts without the error of a weather forecast
    pipelines.forecast(database, cities=["Berlin"], model="naive-168", at=AT, horizon=horizon)
    repeated = document(command_line, *EXPLAIN, "--model", "naive-168")["error"]
    assert "did not use weather" in repeated["statement"]
    pipelines.backtest(
        database,
        models=["linear"],
        cities=["Berlin"],
        first=AT,
        end=AT + timedelta(hours=1),
        horizon=horizon,
        weather="actual",
    )
    perfect = document(command_line, *EXPLAIN, "--purpose", "backtest")["error"]
    assert "used observed weather" in perfect["statement"]
    assert perfect["parts"] is None
    told = command_line.run("score", "explain", "--city", "Berlin", "--purpose", "backtest").stdout
    assert "A dash: no part is caused by a weather forecast, because the forecast used observed weather." in told

    # The errors of simulated weather forecasts are separated too
    pipelines.backtest(
        database,
        models=["linear"],
        cities=["Berlin"],
        first=AT,
        end=AT + timedelta(hours=1),
        horizon=timedelta(hours=24),
        weather="simulated",
    )
    simulated = document(command_line, *EXPLAIN, "--purpose", "backtest")
    assert (simulated["weather"], simulated["differing_hours"]) == ("simulated", 0)
    assert simulated["error"]["parts"]["temperature_absolute_error"] > 0.1
    score = document(command_line, "score", "explain", "--city", "Berlin", "--purpose", "backtest")
    assert score["weather"] == "simulated"
    assert score["worst_error"]["hours"] == len(score["worst"])
