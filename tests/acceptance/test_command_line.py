"""The installed command line, as a subprocess, on a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psycopg
import pytest

from energy_forecast.cli.app import COMMANDS
from energy_forecast.database import Database
from energy_forecast.database.schema import newest_version
from servers import CommandLine, Server
from synthetic import frames, write_cities

FIRST = datetime(2025, 3, 1, tzinfo=UTC)
LAST = datetime(2025, 7, 1, tzinfo=UTC)
AT = "2025-06-20T22:00:00Z"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four months of two cities, the clock changes of March inside."""
    folder = tmp_path_factory.mktemp("own-data")
    consumption, weather = frames(FIRST, LAST)
    consumption.write_csv(folder / "consumption.csv")
    weather.write_parquet(folder / "weather.parquet")
    return {
        "cities": write_cities(folder / "cities.csv"),
        "consumption": folder / "consumption.csv",
        "weather": folder / "weather.parquet",
    }


@pytest.fixture(scope="module")
def loaded_template(
    server: Server, template: str, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Yield the name of a database into which the files were loaded."""
    with server.copy_of(template) as database:
        command_line = CommandLine.on(database, tmp_path_factory.mktemp("home"))
        command_line.process("city", "import", files["cities"])
        command_line.process("ingest", "consumption", files["consumption"])
        command_line.process("ingest", "weather", files["weather"])
        yield database.name


@pytest.fixture
def loaded_database(server: Server, loaded_template: str) -> Iterator[Database]:
    with server.copy_of(loaded_template) as database:
        yield database


@pytest.fixture
def loaded(loaded_database: Database, tmp_path: Path) -> CommandLine:
    """Return the command line on a database with the two cities."""
    return CommandLine.on(loaded_database, tmp_path / "home")


def document(command_line: CommandLine, *arguments: str | Path) -> Any:
    """Return the one JSON document that a command prints."""
    return json.loads(command_line.run(*arguments, "--json").stdout)


def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url) as connection:
        return connection.execute(statement).fetchall()


def test_own_data_from_file_to_scored_forecast(loaded: CommandLine, loaded_database: Database, tmp_path: Path) -> None:
    """What a newcomer does with her own files, command by command."""
    assert "Berlin" in loaded.process("city", "list").stdout
    assert "2,928 intervals" in loaded.process("city", "show", "Pune").stdout
    assert "vanilla" in loaded.process("train", "--until", AT).stdout

    output, plot = tmp_path / "forecast.csv", tmp_path / "forecast.html"
    printed = loaded.process(
        "forecast", "--at", AT, "--horizon", "48h", "--model", "gradient-boosting", "--output", output, "--plot", plot
    )
    assert "Pune" in printed.stdout
    assert "gradient-boosting 1 (requested)" in printed.stdout
    assert "Europe/Berlin" in plot.read_text()
    written = pl.read_csv(output, try_parse_dates=True)
    assert written.height == 96
    assert written.columns[:5] == ["model", "city", "issued_at", "timestamp", "predicted"]
    assert rows(
        loaded_database, "SELECT count(*), count(DISTINCT run_id), count(confidence_lower) FROM predictions"
    ) == [(96, 1, 96)]
    assert rows(
        loaded_database,
        "SELECT count(*) FROM predictions p JOIN vintage_values v USING (run_id, city_id, timestamp, issued_at)"
        " WHERE confidence_level = 0.9 AND confidence_lower = round(v.quantiles[1]::float8::numeric, 2)"
        " AND confidence_upper = round(v.quantiles[19]::float8::numeric, 2)",
    ) == [(96,)]

    # As it was issued, made once more from what was known then; its parts add up to it
    why = tmp_path / "why.html"
    explained = document(loaded, "forecast", "explain", "Pune", "--plot", why)
    assert (explained["differing_hours"], explained["model"]) == (0, "gradient-boosting")
    total: dict[str, float] = defaultdict(float)
    for row in explained["contributions"]:
        total[row["timestamp"]] += row["contribution_kwh"]
    assert total == pytest.approx({row["timestamp"]: row["predicted"] for row in explained["hours"]}, abs=0.01)
    assert len(explained["similar"]) == 5
    assert "Forecast and load" in why.read_text()
    told = " ".join(loaded.run("forecast", "explain", "Pune", "--hour", "9").stdout.split())
    assert "contribution, MWh" in told
    assert "issued later for a past moment, " in told
    assert "Choose another --day" in loaded.run("forecast", "explain", "Pune", "--day", "2020-01-01", status=1).stderr

    scores = document(loaded, "score")
    assert scores["new"] == len(scores["scores"]) > 0
    assert {score["city"] for score in scores["scores"]} == {"Berlin", "Pune"}
    # Without weather ahead, in buckets of as few as six hours
    errors = [score["mape"] for score in scores["scores"]]
    assert 0 < max(errors) < 12, errors
    again = document(loaded, "score")
    assert (again["new"], again["hours"], again["scored_cities"], again["unchanged_cities"]) == (0, 0, 0, 2)
    everything = document(loaded, "score", "--all")
    assert (everything["new"], everything["hours"]) == (0, scores["hours"])
    assert {score["purpose"] for score in scores["scores"]} == {"replay"}, "it was made after the fact"
    assert rows(loaded_database, "SELECT count(*) FROM model_metrics WHERE mape < 12") == [(1,)]

    (performance,) = document(loaded, "query", "model-performance")["rows"]
    pairs = sum(score["pair_count"] for score in scores["scores"])
    assert (performance["purpose"], performance["prediction_count"], performance["city_count"]) == ("replay", pairs, 2)
    mean = sum(score["mape"] * score["pair_count"] for score in scores["scores"]) / pairs
    assert performance["avg_mape"] == pytest.approx(mean)
    assert performance["name"] == "gradient-boosting"

    # A value that is corrected after it was scored makes a new score; both recompute
    ((timestamp, kwh),) = rows(
        loaded_database,
        "SELECT e.timestamp, e.consumption_kwh FROM energy_consumption e JOIN cities c ON c.id = e.city_id"
        " WHERE c.name = 'Berlin' AND e.timestamp = (SELECT min(timestamp) FROM predictions WHERE city_id = c.id)",
    )
    corrected = tmp_path / "corrected.csv"
    corrected.write_text(f"city,timestamp,consumption_kwh\nBerlin,{timestamp.isoformat()},{kwh + 1000}\n")
    assert document(loaded, "ingest", "consumption", corrected)["corrected"] == 1
    summary = "Scored 1 new or changed hour of 1 city; no change in 1 other city. New scores: 1 of 3."
    assert summary in loaded.run("score").stdout
    old, new = rows(
        loaded_database,
        "SELECT s.id FROM forecast_scores s JOIN cities c ON c.id = s.city_id WHERE c.name = 'Berlin'"
        " AND s.lead_start_hours = 0 ORDER BY s.created_at",
    )
    before, after = (document(loaded, "score", "explain", str(id)) for (id,) in (old, new))
    assert before["differing"] == after["differing"] == []
    assert before["stored"]["mae_kwh"] != after["stored"]["mae_kwh"]
    assert before["stored"]["pair_digest"] != after["stored"]["pair_digest"]

    assert "gradient-boosting" in loaded.process("model", "list").stdout
    shown = document(loaded, "model", "show", "gradient-boosting")
    assert shown["trained_until"] == AT
    assert set(shown["cities"]) == {"Berlin", "Pune"}


def test_a_backtest_writes_every_pair_and_beats_the_naive_models(
    loaded: CommandLine, loaded_database: Database, tmp_path: Path
) -> None:
    output = tmp_path / "backtest.parquet"
    found = document(
        loaded,
        *(
            "backtest",
            "--model",
            "naive-168,gradient-boosting",
            "--from",
            "2025-06-01T22:00Z",
            "--to",
            "2025-06-08T22:00Z",
        ),
        *("--weather", "actual", "--output", output),
    )
    pairs = pl.read_parquet(output)
    levels = [f"q{5 * i:02d}" for i in range(1, 20)]
    assert pairs.columns == ["model", "city", "issued_at", "timestamp", "actual", "predicted", *levels]
    assert pairs.height == 2 * 2 * 7 * 24
    assert pairs["issued_at"].n_unique() == 7
    assert pairs["issued_at"].min() == datetime(2025, 6, 1, 22, tzinfo=UTC)
    quantiles = pairs.select(levels).to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()

    mape = {(s["city"], s["model"]): s["mape"] for s in found["scores"]}
    outside = (
        pairs.with_columns(((pl.col("actual") - pl.col("predicted")) / pl.col("actual")).abs().alias("error"))
        .group_by("city", "model")
        .agg(pl.col("error").mean() * 100)
    )
    for city, model, error in outside.iter_rows():
        assert mape[city, model] == pytest.approx(error), "the score is not that of the pairs"
    for city in ("Berlin", "Pune"):
        assert mape[city, "gradient-boosting"] < mape[city, "naive-168"]

    # Naive-168 can be said in SQL: the value a week before
    assert rows(
        loaded_database,
        "SELECT count(*) FROM vintage_values v JOIN models m ON m.id = v.model_id JOIN energy_consumption c"
        " ON c.city_id = v.city_id AND c.timestamp = v.timestamp - interval '168 hours'"
        " WHERE m.name = 'naive-168' AND abs(c.consumption_kwh - v.predicted_consumption) < 0.01",
    ) == [(2 * 7 * 24,)]
    assert rows(
        loaded_database, "SELECT count(*), count(DISTINCT purpose) FROM forecast_runs WHERE purpose = 'backtest'"
    ) == [(2 * 2 * 7, 1)]
    assert rows(loaded_database, "SELECT count(*) FROM predictions") == [(0,)]


@pytest.mark.parametrize("model", ["vanilla", "ensemble"])
def test_what_came_later_changes_no_forecast(
    loaded: CommandLine, server: Server, loaded_template: str, tmp_path: Path, model: str
) -> None:
    """Plants loads and temperatures after the issue time, and a correction that became known after it."""
    arguments = ("forecast", "--model", model, "--at", AT, "--horizon", "48h", "--city", "Berlin")
    honest = document(loaded, *arguments)["forecasts"][0]["hours"]
    planted = tmp_path / "planted.csv"
    after = [datetime(2025, 6, 20, 22, tzinfo=UTC) + timedelta(hours=i) for i in range(60)]
    planted.write_text(
        "city,timestamp,consumption_kwh,available_at\n"
        + "".join(f"Berlin,{t:%Y-%m-%dT%H:%M:%SZ},999999,{t + timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}\n" for t in after)
        + "".join(f"Berlin,2025-06-{day}T10:00:00Z,999999,2025-06-20T22:00:01Z\n" for day in (13, 18, 19, 20))
    )
    weather = tmp_path / "planted-weather.csv"
    weather.write_text(
        "city,timestamp,temperature,available_at\n"
        + "".join(f"Berlin,{t:%Y-%m-%dT%H:%M:%SZ},55,{t + timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}\n" for t in after)
    )
    forecasts = tmp_path / "planted-forecast.csv"
    forecasts.write_text(
        "city,issued_at,timestamp,temperature\n"
        + "".join(f"Berlin,2025-06-20T22:00:01Z,{t + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ},55\n" for t in after)
    )

    def plant(where: CommandLine) -> None:
        assert document(where, "ingest", "consumption", planted)["corrected"] == 64
        assert document(where, "ingest", "weather", weather, "--unit", "temperature=C")["corrected"] == 60
        assert document(where, "ingest", "weather-forecasts", forecasts, "--unit", "temperature=C")["inserted"] == 60

    plant(loaded)
    assert document(loaded, *arguments)["forecasts"][0]["hours"] == honest
    # Trained as of then from the planted history, where nothing was trained before
    with server.copy_of(loaded_template) as other:
        anew = CommandLine.on(other, tmp_path / "anew")
        plant(anew)
        assert document(anew, *arguments)["forecasts"][0]["hours"] == honest
    # And the plants are seen by who may see them
    later = document(loaded, *arguments[:4], "2025-06-24T22:00:00Z", *arguments[5:])["forecasts"][0]["hours"]
    assert later != honest


def test_another_city_changes_no_forecast(command_line: CommandLine, files: dict[str, Path], tmp_path: Path) -> None:
    command_line.run("city", "import", files["cities"])
    both = pl.read_csv(files["consumption"])
    for name in ("Berlin", "Pune"):
        both.filter(pl.col("city") == name).write_csv(tmp_path / f"{name}.csv")
    command_line.run("ingest", "consumption", tmp_path / "Berlin.csv")
    arguments = ("forecast", "--model", "gradient-boosting", "--at", AT, "--city", "Berlin")
    alone = document(command_line, *arguments)["forecasts"][0]["hours"]
    command_line.run("ingest", "consumption", tmp_path / "Pune.csv")
    command_line.run("train", "--until", AT, "--model", "gradient-boosting")
    assert document(command_line, *arguments)["forecasts"][0]["hours"] == alone


def test_a_city_with_three_weeks_and_no_weather_is_forecast(command_line: CommandLine, tmp_path: Path) -> None:
    command_line.run("city", "import", write_cities(tmp_path / "cities.csv"))
    consumption, _ = frames(FIRST, FIRST + timedelta(days=21), ("Pune",))
    consumption.write_csv(tmp_path / "young.csv")
    command_line.run("ingest", "consumption", tmp_path / "young.csv")
    issued = document(command_line, "forecast", "--city", "Pune", "--at", "2025-03-22T00:00Z")["forecasts"][0]
    assert len(issued["hours"]) == 48
    assert all(0 < hour["q05"] <= hour["predicted"] <= hour["q95"] < 300_000 for hour in issued["hours"])


def test_a_backtest_states_when_it_takes_load_for_known(command_line: CommandLine, tmp_path: Path) -> None:
    """A file without available_at makes every value known at the end of its interval, which no meter manages."""
    command_line.run("city", "import", write_cities(tmp_path / "cities.csv"))
    consumption, _ = frames(FIRST, FIRST + timedelta(days=21))
    berlin = tmp_path / "berlin.csv"
    consumption.filter(city="Berlin").write_csv(berlin)
    command_line.run("ingest", "consumption", berlin)
    late = pl.col("timestamp").str.to_datetime(time_zone="UTC").dt.offset_by("10h").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    consumption.filter(city="Pune").with_columns(late.alias("available_at")).write_csv(tmp_path / "pune.csv")
    command_line.run("ingest", "consumption", tmp_path / "pune.csv")
    backtest = ("backtest", "--model", "naive-24", "--from", "2025-03-18T00:00Z", "--to", "2025-03-21T00:00Z")

    assumed = command_line.run(*backtest, "--city", "Berlin")
    assert "Load is known 1 h after the end of its interval (assumed," in assumed.stdout
    known = command_line.run(*backtest, "--city", "Pune")
    assert "in the median 9.0 h after the end of its interval" in known.stdout
    assert "assumed" not in known.stdout + known.stderr
    both = document(command_line, *backtest)
    # A week before the first issue, and until the last one
    assert both["available_at"] == {
        "Berlin": {"values": 9 * 24, "at_interval_end": 9 * 24, "median_minutes": 0},
        "Pune": {"values": 9 * 24, "at_interval_end": 0, "median_minutes": 540},
    }
    assert both["assumptions"] == {
        "Berlin": {"load_delay_minutes": 60, "load_delay_source": "assumed"},
        "Pune": {"load_delay_minutes": 0, "load_delay_source": "stated"},
    }
    shown = command_line.run(*backtest)
    assert "Berlin: Load is known 1 h after" in shown.stdout
    assert "Pune: Load is known by its available_at" in shown.stdout

    command_line.run("city", "edit", "berlin", "--load-delay", "30h")
    assert "load is known 30 h after" in command_line.run("city", "show", "Berlin").stdout
    of_city = document(command_line, *backtest, "--city", "Berlin")["assumptions"]["Berlin"]
    assert of_city == {"load_delay_minutes": 1800, "load_delay_source": "city"}
    of_option = document(command_line, *backtest, "--city", "Berlin", "--load-delay", "0h")["assumptions"]["Berlin"]
    assert of_option == {"load_delay_minutes": 0, "load_delay_source": "option"}
    command_line.run("city", "edit", "Berlin", "--load-delay", "unknown")
    assert document(command_line, "city", "show", "Berlin")["city"]["load_delay"] is None
    command_line.run("city", "edit", "Berlin", "--load-delay", "31d", status=2)


def test_a_delay_of_load_hides_it_as_a_late_meter_does(command_line: CommandLine, tmp_path: Path) -> None:
    """Training and forecasts are equal to those of a city whose load has a later available_at."""
    consumption, weather = frames(FIRST, FIRST + timedelta(days=60), ("Berlin",))
    late = pl.col("timestamp").str.to_datetime(time_zone="UTC").dt.offset_by("10h").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    for name, frame in (("Prompt", consumption), ("Late", consumption.with_columns(late.alias("available_at")))):
        place = ("--latitude", "52.52", "--longitude", "13.405", "--timezone", "Europe/Berlin")
        command_line.run("city", "add", name, *place)
        for kind, values in (("consumption", frame), ("weather", weather)):
            values.with_columns(pl.lit(name).alias("city")).write_csv(tmp_path / f"{kind}.csv")
            command_line.run("ingest", kind, tmp_path / f"{kind}.csv")
    output = tmp_path / "pairs.parquet"
    span = ("--from", "2025-04-21T22:00Z", "--to", "2025-04-24T22:00Z", "--weather", "actual")
    backtest = ("backtest", "--model", "linear,naive-24", *span, "--output", output)

    def forecasts(city: str, *more: str) -> pl.DataFrame:
        command_line.run(*backtest, "--city", city, *more)
        return pl.read_parquet(output).drop("city")

    stated, prompt = forecasts("Late"), forecasts("Prompt", "--load-delay", "0h")
    assert forecasts("Prompt", "--load-delay", "9h").equals(stated)
    assert not prompt.equals(stated)
    # A delay beyond that of available_at counts, a shorter one does not
    assert forecasts("Late", "--load-delay", "5h").equals(stated)
    assert not forecasts("Late", "--load-delay", "20h").equals(stated)


def test_hourly_values_of_a_half_hour_zone_keep_their_hours(command_line: CommandLine, tmp_path: Path) -> None:
    """A meter in Pune that counts local hours starts them at half past, UTC; so do its forecasts."""
    command_line.run("city", "import", write_cities(tmp_path / "cities.csv"))
    half = timedelta(minutes=30)
    consumption, _ = frames(FIRST + half, FIRST + timedelta(days=60) + half, ("Pune",))
    consumption.write_csv(tmp_path / "pune.csv")
    command_line.run("ingest", "consumption", tmp_path / "pune.csv")
    hours = document(
        command_line,
        "forecast",
        "--model",
        "naive-168",
        "--city",
        "Pune",
        "--at",
        "2025-04-29T00:30Z",
        "--horizon",
        "24h",
    )["forecasts"][0]["hours"]
    assert hours[0]["timestamp"] == "2025-04-29T00:30:00Z"
    week_before = dict(consumption.select("timestamp", "consumption_kwh").iter_rows())
    assert hours[5]["predicted"] == pytest.approx(week_before["2025-04-22T05:30:00Z"])


def test_training_from_the_same_data_is_not_done_twice(loaded: CommandLine, loaded_database: Database) -> None:
    first = document(loaded, "train", "--model", "vanilla", "--until", AT)["trained"]
    again = document(loaded, "train", "--model", "vanilla", "--until", AT)["trained"]
    assert [t["reused"] for t in first + again] == [False, False, True, True]
    assert [t["version"] for t in again] == [t["version"] for t in first]
    assert rows(loaded_database, "SELECT count(*) FROM models") == [(1,)]


def test_a_killed_training_keeps_whole_cities_and_goes_on(
    loaded: CommandLine, loaded_database: Database, server: Server, loaded_template: str, tmp_path: Path
) -> None:
    """Also what several processes then learn is, to the byte, what one would have learnt."""
    arguments = ("train", "--model", "naive-24", "--model", "gradient-boosting", "--until", AT)
    artifacts = (
        "SELECT c.name, m.name, encode(a.sha256, 'hex') FROM model_artifacts a JOIN models m ON m.id = a.model_id"
        " JOIN cities c ON c.id = a.city_id ORDER BY 1, 2, m.version"
    )
    process = loaded.start(*arguments, "--processes", "1")
    assert process.stderr is not None
    for line in process.stderr:
        if "Trained naive-24 for Pune" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    left = rows(loaded_database, artifacts)
    assert [key[:2] for key in left] == [("Berlin", "gradient-boosting"), ("Berlin", "naive-24")]

    trained = document(loaded, *arguments, "--processes", "2")["trained"]
    assert [(t["city"], t["reused"]) for t in trained] == [("Berlin", True)] * 2 + [("Pune", False)] * 2
    several = rows(loaded_database, artifacts)
    assert several[:2] == left
    with server.copy_of(loaded_template) as other:
        CommandLine.on(other, tmp_path / "anew").run(*arguments, "--processes", "1")
        assert rows(other, artifacts) == several


def test_a_killed_backtest_goes_on_and_a_live_run_says_the_same(
    loaded: CommandLine, loaded_database: Database, server: Server, loaded_template: str, tmp_path: Path
) -> None:
    """Nothing that was done is done again; what comes out is what one run in several processes gives."""

    def backtest(name: str, *more: str) -> tuple[str, ...]:
        return (
            *("backtest", "--model", "vanilla,naive-24", "--from", "2025-06-01T22:00Z", "--to", "2025-06-08T22:00Z"),
            # As in the live run
            *("--load-delay", "0h", "--refit", "3d", "--output", str(tmp_path / f"{name}.parquet"), *more),
        )

    vintages = (
        "SELECT c.name, m.name, v.issued_at, v.timestamp, v.predicted_consumption, v.quantiles, v.run_id"
        " FROM vintage_values v JOIN models m ON m.id = v.model_id JOIN cities c ON c.id = v.city_id"
        " ORDER BY 1, 2, 3, 4"
    )
    process = loaded.start(*backtest("killed", "--processes", "1"))
    assert process.stderr is not None
    for line in process.stderr:
        if "Backtested Berlin" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    left = rows(loaded_database, vintages)
    assert left
    assert len(left) < 2 * 2 * 7 * 24

    resumed = document(loaded, *backtest("resumed", "--resume", "--processes", "2"))
    everything = rows(loaded_database, vintages)
    assert set(map(str, left)) <= set(map(str, everything)), "what was kept was not taken"
    assert len(everything) == 2 * 2 * 7 * 24, "something was done again"
    with server.copy_of(loaded_template) as other:
        anew = CommandLine.on(other, tmp_path / "anew")
        whole = document(anew, *backtest("whole", "--processes", "2"))
        assert [row[:-1] for row in rows(other, vintages)] == [row[:-1] for row in everything]
    assert pl.read_parquet(tmp_path / "resumed.parquet").equals(pl.read_parquet(tmp_path / "whole.parquet"))
    assert [s["mape"] for s in resumed["scores"]] == [s["mape"] for s in whole["scores"]]

    live = document(loaded, "forecast", "--model", "vanilla", "--at", "2025-06-07T22:00Z", "--horizon", "24h")
    for one in live["forecasts"]:
        said = pl.read_parquet(tmp_path / "whole.parquet").filter(
            model="vanilla", city=one["city"], issued_at=datetime(2025, 6, 7, 22, tzinfo=UTC)
        )
        for column in ("predicted", "q05", "q50", "q95"):
            assert said[column].to_list() == [hour[column] for hour in one["hours"]], column


def test_a_model_may_not_forecast_from_before_it_learned(loaded: CommandLine) -> None:
    """A version trained on June would leak June into a forecast issued in May."""
    loaded.run("train", "--model", "vanilla", "--until", AT)
    issued = document(loaded, "forecast", "--model", "vanilla", "--at", "2025-05-01T00:00Z", "--city", "Berlin")
    shown = document(loaded, "model", "show", "vanilla")
    assert issued["forecasts"][0]["version"] == shown["version"] == "2"
    assert shown["trained_until"] == "2025-05-01T00:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("forecast", "--city", "Atlantis"), "There is no city 'Atlantis'"),
        (("forecast", "--model", "crystal-ball", "--city", "Berlin"), "There is no model 'crystal-ball'"),
        (("forecast", "--at", "2999-01-01T00:00Z"), "--at is in the future"),
        (("forecast", "--at", "2025-03-01T12:00Z", "--city", "Berlin"), "usable hours"),
        (("city", "show", "Atlantis"), "There is no city 'Atlantis'"),
        (("city", "show", "berlim"), "Did you mean 'Berlin'?"),
        (("city", "add", "Berlin", "--latitude", "1", "--longitude", "1", "--timezone", "Europe/Berlin"), "already"),
        (("city", "add", "X", "--latitude", "95", "--longitude", "1", "--timezone", "Europe/Berlin"), "latitude"),
        (("city", "add", "X", "--latitude", "5", "--longitude", "1", "--timezone", "CET6"), "timezone"),
        (("ingest", "consumption", "nowhere.csv"), "nowhere.csv"),
        (("model", "show", "vanilla"), "Trained model 'vanilla' not found"),
        (("export", "predictions", "--model", "vanila", "--output", "x.csv"), "There is no model 'vanila'"),
        (("db", "up"), "ENERGY_FORECAST_DATABASE_URL"),
        (
            (
                "backtest",
                "--model",
                "vanilla",
                "--from",
                "2025-02-01T00:00Z",
                "--to",
                "2026-01-01T00:00Z",
                "--every",
                "1min",
            ),
            "--every",
        ),
        (("forecast", "--output", "nowhere/at/all.csv"), "Create it, or choose"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_failure_is_one_line_that_says_what(loaded: CommandLine, arguments: tuple[str, ...], says: str) -> None:
    failed = loaded.run(*arguments, status=1)
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert says in last
    assert failed.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("backtest", "--model", "vanilla", "--from", "2025-02-01T00:00Z", "--to", "2025-01-01T00:00Z"),
        ("forecast", "--at", "2025-01-01T00:00"),
        ("forecast", "--at", "2025-01-01"),
        ("forecast", "--at", "0001-01-01T00:00+05:00"),
        ("backtest", "--model", ",", "--from", AT, "--to", AT),
        ("forecast", "--horizon", "two days"),
        ("forecast", "--horizon", "200h"),
        ("backtest", "--model", "vanilla", "--from", AT, "--to", AT, "--horizon", "90min"),
        ("ingest", "weather", "weather.csv", "--interval", "7"),
        ("forecast", "--output", "forecast.xlsx"),
        ("backtest", "--model", "vanilla"),
        ("ingest", "consumption"),
        ("ingest", "rejected", "nonsense"),
        ("score", "explain", "--month", "2026-13"),
        ("score", "explain", "--lead", "7"),
        ("score", "explain", "Berlin"),
        ("backtest", "--model", "vanilla", "--from", AT, "--to", AT, "--weather", "perfect"),
    ],
    ids=" ".join,
)
def test_wrong_usage_has_its_own_status(command_line: CommandLine, arguments: tuple[str, ...]) -> None:
    assert "Usage" in command_line.run(*arguments, status=2).stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_installed_program_has_every_command(command_line: CommandLine, command: str) -> None:
    refused = command_line.process(command, "--no-such-option", status=2)
    assert "No such option" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("name", ["[bold]x[/nope]", ":x:", "[red]"])
def test_a_citys_name_is_text_and_no_markup(command_line: CommandLine, name: str) -> None:
    assert (
        name in command_line.run("city", "add", name, "--latitude", "1", "--longitude", "1", "--timezone", "UTC").stdout
    )
    assert name in command_line.run("city", "list").stdout
    assert name in command_line.run("city", "show", name).stdout
    assert name in command_line.run("forecast", "--city", name, status=1).stderr


def test_an_interrupted_command_says_so_in_one_line(loaded: CommandLine) -> None:
    process = loaded.start("train", "--model", "naive-24", "--model", "gradient-boosting", "--until", AT)
    assert process.stderr is not None
    for line in process.stderr:
        if "gradient-boosting" in line:
            break
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip().splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in stderr


def test_an_interrupted_backtest_says_how_to_go_on(loaded: CommandLine) -> None:
    span = ("--from", "2025-05-01T22:00Z", "--to", "2025-06-08T22:00Z")
    process = loaded.start("backtest", "--model", "vanilla", *span, "--every", "6h", "--processes", "1")
    assert process.stderr is not None
    for line in process.stderr:
        if "Backtesting" in line:
            break
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in stderr.splitlines()[-2]


def test_an_old_schema_on_a_server_that_is_not_ours_is_left_alone(empty_database: Database, tmp_path: Path) -> None:
    command_line = CommandLine(
        {"ENERGY_FORECAST_DATABASE_URL": empty_database.url, "ENERGY_FORECAST_HOME": str(tmp_path)}
    )
    assert "db upgrade" in command_line.run("city", "list", status=1).stderr
    assert f"version {newest_version()}" in command_line.run("db", "upgrade").stdout
    assert command_line.run("city", "list").stdout.startswith("No cities are stored")


def test_a_server_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    command_line = CommandLine(
        {
            "ENERGY_FORECAST_DATABASE_URL": f"postgresql://nobody@/none?host={tmp_path}",
            "ENERGY_FORECAST_HOME": str(tmp_path),
        }
    )
    stderr = command_line.run("city", "list", status=1).stderr
    assert stderr.startswith("Error: Cannot connect")
    assert len(stderr.splitlines()) == 1


def test_help_and_completion_need_no_server(tmp_path: Path) -> None:
    command_line = CommandLine({"ENERGY_FORECAST_DATABASE_URL": "", "ENERGY_FORECAST_HOME": str(tmp_path / "none")})
    assert "backtest" in command_line.run("--help").stdout
    assert "Example:" in command_line.run("backtest", "--help").stdout
    # From a shell: the program looks which one has called it
    program = Path(sys.executable).with_name("energy-forecast")
    called = subprocess.run(
        ["bash", "-c", f"{program} --show-completion; exit $?"],
        env=os.environ | command_line.environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "_ENERGY_FORECAST_COMPLETE" in called.stdout
    assert not (tmp_path / "none").exists()
