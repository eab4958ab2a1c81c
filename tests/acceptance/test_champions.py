"""Backtests compared, the better model promoted, a score explained: by the installed command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from energy_forecast.database import Database
from servers import CommandLine, Server
from synthetic import frames, write_cities

# Up to now, since a champion serves from its promotion on
LAST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
FIRST = LAST - timedelta(days=120)


@pytest.fixture(scope="module")
def backtested_template(
    server: Server, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Yield a database with backtests of three models over 25 days, and the file of pairs."""
    folder = tmp_path_factory.mktemp("backtested")
    consumption, weather = frames(FIRST, LAST)
    consumption.write_parquet(folder / "consumption.parquet")
    weather.write_parquet(folder / "weather.parquet")
    with server.copy_of(template) as database:
        command_line = CommandLine.on(database, folder / "home")
        command_line.run("city", "import", write_cities(folder / "cities.csv"))
        command_line.run("ingest", "consumption", folder / "consumption.parquet")
        command_line.run("ingest", "weather", folder / "weather.parquet")
        command_line.run(
            *("backtest", "--model", "naive-24,naive-168,vanilla", "--weather", "actual"),
            *("--from", (LAST - timedelta(days=27)).isoformat(), "--to", (LAST - timedelta(days=2)).isoformat()),
            *("--output", folder / "pairs.parquet"),
        )
        yield database.name, str(folder / "pairs.parquet")


@pytest.fixture
def database(server: Server, backtested_template: tuple[str, str]) -> Iterator[Database]:
    with server.copy_of(backtested_template[0]) as copy:
        yield copy


def document(command_line: CommandLine, *arguments: str | Path, status: int = 0) -> Any:
    return json.loads(command_line.run(*arguments, "--json", status=status).stdout)


def test_two_models_are_compared_on_the_pairs_that_both_have(
    command_line: CommandLine, backtested_template: tuple[str, str], tmp_path: Path
) -> None:
    plot = tmp_path / "comparison.html"
    found = document(command_line, "backtest", "compare", "vanilla", "naive-168", "--plot", plot)["comparisons"]
    outside = (
        pl.read_parquet(backtested_template[1])
        .with_columns((pl.col("actual") - pl.col("predicted")).abs().alias("error"))
        .group_by("city", "model", "issued_at")
        .agg(pl.col("error").mean())
        .group_by("city", "model")
        .agg(pl.col("error").mean())
    )
    expected = {(city, model): error for city, model, error in outside.iter_rows()}
    assert {one["city"] for one in found} == {"Berlin", "Pune"}
    for one in found:
        assert one["issues"] == 25
        assert one["pairs"] == 25 * 24
        assert one["mae_kwh"]["mean_a"] == pytest.approx(expected[one["city"], "vanilla"])
        assert one["mae_kwh"]["mean_b"] == pytest.approx(expected[one["city"], "naive-168"])
        assert one["better"] == "vanilla"
    swapped = document(command_line, "backtest", "compare", "naive-168", "vanilla")["comparisons"]
    assert {one["better"] for one in swapped} == {"vanilla"}
    assert "Berlin" in plot.read_text()
    shown = command_line.run("backtest", "compare", "vanilla", "naive-168").stdout
    assert f"{LAST - timedelta(days=27):%Y-%m-%d} to {LAST - timedelta(days=3):%Y-%m-%d}" in shown
    conditions = "with observed weather (as if the weather forecast were perfect), load known 1 h after its interval"
    assert f"Backtests {conditions} (assumed)." in shown
    refused = command_line.run("backtest", "compare", "vanilla", "gradient-boosting", status=1).stderr
    assert "have 0 common backtest issues" in refused


def test_a_champion_needs_evidence_serves_its_city_and_can_be_taken_back(
    command_line: CommandLine, database: Database
) -> None:
    at = (LAST - timedelta(days=1)).isoformat()
    refused = document(command_line, "model", "promote", "naive-24", "--city", "Berlin", status=1)["cities"][0]
    assert refused["outcome"] == "refused"
    assert "worse than naive-168" in refused["reason"]
    assert "not show that it is better" in command_line.run("model", "promote", "naive-24", status=1).stderr
    command_line.run("model", "promote", "naive-24", "--city", "Berlin", "--force", status=1)
    untrained = command_line.run("model", "promote", "vanilla", "--version", "99", status=1).stderr
    assert "vanilla version 99 was not trained for Berlin" in untrained
    assert "model show vanilla" in untrained
    assert "It has no champion" in command_line.run("model", "rollback", status=1).stderr

    promoted = document(command_line, "model", "promote", "vanilla")["cities"]
    assert [(one["city"], one["outcome"]) for one in promoted] == [("Berlin", "promoted"), ("Pune", "promoted")]
    assert all(row["mae_kwh"]["p_value"] < 0.05 for one in promoted for row in one["evidence"])
    assert all("with observed weather" in one["reason"] for one in promoted)
    assert all(row["versions"] == [one["version"]] for one in promoted for row in one["evidence"])
    command_line.run("train", "--model", "vanilla", "--city", "Pune")
    (newer,) = document(command_line, "model", "promote", "vanilla", "--city", "Pune")["cities"]
    tested = promoted[1]["version"]
    assert f"The backtests are of version {tested}; version {newer['version']} was promoted" in newer["reason"]
    command_line.run("model", "promote", "naive-24", "--city", "Berlin", "--force", "--reason", "a trial")
    served = document(command_line, "forecast", "--horizon", "3h")["forecasts"]
    assert {(one["city"], one["model"]) for one in served} == {("Berlin", "naive-24"), ("Pune", "vanilla")}
    # Then there was no champion, so the platform chose by itself
    earlier = document(command_line, "forecast", "--horizon", "3h", "--at", at, "--city", "Berlin")["forecasts"]
    assert earlier[0]["model"] != "naive-24"
    assert {one["chosen_as"] for one in served} == {"champion"}

    with psycopg.connect(database.url) as connection:
        (between,) = connection.execute(
            "SELECT created_at FROM model_promotions ORDER BY created_at LIMIT 1"
        ).fetchone() or (None,)
    then = document(command_line, "model", "history", "Berlin", "--at", between.isoformat())["champions"]
    assert [row["model"] for row in then] == ["vanilla"]
    document(command_line, "model", "rollback", "--city", "Berlin")
    history = document(command_line, "model", "history", "Berlin")["champions"]
    assert [(row["model"], row["end"] is None) for row in history] == [
        ("vanilla", True),
        ("naive-24", False),
        ("vanilla", False),
    ]
    # Once more goes further back, not to and fro: there was nothing before vanilla
    assert "no champion before vanilla" in command_line.run("model", "rollback", "--city", "Berlin", status=1).stderr
    for name in ("naive-24", "naive-168"):
        command_line.run("model", "promote", name, "--city", "Berlin", "--force", "--reason", "another trial")
    back = [document(command_line, "model", "rollback", "--city", "Berlin")["cities"][0]["model"] for _ in range(2)]
    assert back == ["naive-24", "vanilla"]
    assert "no champion before vanilla" in command_line.run("model", "rollback", "--city", "Berlin", status=1).stderr
    with psycopg.connect(database.url) as connection:
        active = connection.execute("SELECT DISTINCT name FROM models WHERE is_active AND name = 'vanilla'").fetchall()
        assert active == [("vanilla",)]
        # Past the triggers that end the champion before and that refuse a moment of the past
        connection.execute("SET session_replication_role = replica")
        connection.execute("ALTER TABLE model_promotions DISABLE TRIGGER created_at_is_now")
        connection.execute("ALTER TABLE model_promotions DISABLE TRIGGER model_promotions_end")
        with pytest.raises(psycopg.errors.ExclusionViolation):
            connection.execute(
                "INSERT INTO model_promotions (city_id, model_id, during, created_at, reason, evidence, is_forced)"
                " SELECT city_id, model_id, during, created_at, 'x', '[]', true"
                " FROM model_promotions WHERE NOT upper_inf(during) LIMIT 1"
            )


def test_evidence_with_the_weather_that_came_counts_only_where_there_is_no_other(command_line: CommandLine) -> None:
    """It looks ahead. What decides is the backtest that does not, although the other was made last."""

    def backtest(weather: str, first_day: int) -> None:
        first = (LAST - timedelta(days=first_day)).isoformat()
        command_line.run(
            *("backtest", "--model", "naive-24,naive-168,vanilla", "--weather", weather, "--city", "Berlin"),
            *("--from", first, "--to", (LAST - timedelta(days=2)).isoformat()),
        )

    backtest("none", 27)
    backtest("actual", 3)
    # Forced, since what is looked at is the evidence, whatever it says: without its weather vanilla may well lose
    promote = ("model", "promote", "vanilla", "--city", "Berlin", "--force", "--reason", "a trial")
    evidence = document(command_line, *promote)["cities"][0]["evidence"]
    assert {row["weather"] for row in evidence} == {"none"}
    assert not any("with observed weather" in row["verdict"] for row in evidence)


def test_a_score_is_recomputed_from_its_pairs_to_the_last_digit(
    command_line: CommandLine, database: Database, tmp_path: Path
) -> None:
    output = tmp_path / "pairs.csv"
    for city in ("Berlin", "Pune"):
        for model in ("naive-24", "naive-168", "vanilla"):
            found = document(
                command_line, "score", "explain", "--city", city, "--model", model, "--lead", "0", "--output", output
            )
            assert found["differing"] == []
            assert found["stored"] == found["recomputed"]
    pairs = pl.read_csv(output)
    assert pairs.height == found["stored"]["pair_count"]
    assert (pairs["actual"] - pairs["predicted"]).abs().mean() == pytest.approx(found["stored"]["mae_kwh"])

    # The same by weekday type and local hour, counted once more from the pairs
    local = pl.col("timestamp").str.to_datetime(time_zone="UTC").dt.convert_time_zone("Asia/Kolkata")
    mine = pairs.filter(local.dt.weekday() == 6, local.dt.hour() == int(found["stored"]["by_hour"][0]["local_hour"]))
    with psycopg.connect(database.url) as connection:
        connection.execute("SET ROLE energy_forecast_forecaster")
        parts = connection.execute(
            "SELECT day_type, local_hour, pair_count, mae_kwh, bias_kwh FROM forecast_scores_by_hour"
            " WHERE score_id = %s ORDER BY 1, 2",
            (found["id"],),
        ).fetchall()
    assert sum(part[2] for part in parts) == pairs.height
    assert {part[0] for part in parts} == {"workday", "saturday", "sunday_or_holiday"}
    assert sum(part[2] * part[3] for part in parts) / pairs.height == pytest.approx(found["stored"]["mae_kwh"])
    error = mine["predicted"] - mine["actual"]
    saturday = next(p for p in parts if p[:2] == ("saturday", found["stored"]["by_hour"][0]["local_hour"]))
    assert saturday[2:] == (mine.height, pytest.approx(error.abs().mean()), pytest.approx(error.mean()))

    # Another backtest of the same version, at some of the same moments, is scored by itself
    identifier = found["id"]
    command_line.run(
        *("backtest", "--model", "vanilla", "--weather", "actual", "--city", "Pune", "--every", "36h"),
        *("--from", (LAST - timedelta(days=27)).isoformat(), "--to", (LAST - timedelta(days=2)).isoformat()),
    )
    other = document(command_line, "score", "explain", "--city", "Pune", "--model", "vanilla", "--lead", "0")
    assert other["id"] != identifier
    assert other["stored"]["pair_count"] < found["stored"]["pair_count"]
    assert other["differing"] == document(command_line, "score", "explain", identifier)["differing"] == []

    # A later correction of an actual leaves the score as it was; a change from outside does not
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "UPDATE energy_consumption SET consumption_kwh = consumption_kwh + 500, available_at = now()"
            " WHERE timestamp = (SELECT period_start + interval '30 minutes' FROM forecast_scores WHERE id = %s)"
            " OR timestamp = (SELECT period_start FROM forecast_scores WHERE id = %s)",
            (identifier, identifier),
        )
    assert document(command_line, "score", "explain", identifier)["differing"] == []
    with psycopg.connect(database.url) as connection:
        # As only who owns the server could
        connection.execute("ALTER TABLE prediction_vintages DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE prediction_vintages v SET predicted_consumption[1] = v.predicted_consumption[1] + 500"
            " FROM forecast_scores s WHERE s.id = %s AND v.city_id = s.city_id AND v.model_id = s.model_id"
            " AND v.first_timestamp = s.period_start",
            (identifier,),
        )
    changed = command_line.run("score", "explain", identifier, status=1)
    assert "differs in pair_digest" in changed.stderr
    assert "There is no city 'Nowhere'" in command_line.run("score", "explain", "--city", "Nowhere", status=1).stderr
    assert "No stored score matches" in command_line.run("score", "explain", "--month", "2001-01", status=1).stderr


def test_a_city_that_cannot_be_examined_costs_no_other(command_line: CommandLine, database: Database) -> None:
    """Errors and certificate count by the city's clock; here PostgreSQL knows the zone, and the program does not."""
    asked = ("--model", "vanilla", "--purpose", "backtest", "--json")
    before = json.loads(command_line.run("score", "errors", *asked).stdout)
    with psycopg.connect(database.url) as connection:
        connection.execute("ALTER TABLE cities DROP CONSTRAINT city_timezone_iana")
        connection.execute("UPDATE cities SET timezone = 'IST-5:30' WHERE name = 'Pune'")
    run = command_line.run("score", "errors", *asked, status=3)
    errors = json.loads(run.stdout)
    assert "1 of 2 cities was not examined" in run.stderr
    assert errors["rows"] == [row for row in before["rows"] if row["city"] == "Berlin"]
    for found in (errors, document(command_line, "score", "certificate", *asked[:-1], status=3)):
        assert {row["city"] for row in found["rows"]} == {"Berlin"}
        assert [one["city"] for one in found["failed"]] == ["Pune"]
        assert "IST-5:30" in found["failed"][0]["reason"]


def test_certificate_and_errors_count_as_one_would_by_hand(
    command_line: CommandLine, backtested_template: tuple[str, str], tmp_path: Path
) -> None:
    pairs = pl.read_parquet(backtested_template[1]).filter(pl.col("model") == "vanilla")
    process = command_line.start("score", "certificate", "--model", "vanilla", "--purpose", "backtest", "--json")
    found = json.loads(process.communicate(timeout=120)[0])
    # Three weeks are too few for any verdict
    assert (process.returncode, found["verdict"], found["passed"]) == (3, "not enough data", False)
    accepted = document(
        command_line, *("score", "certificate", "--model", "vanilla", "--purpose", "backtest"), "--allow-partial"
    )
    assert accepted == found
    told = command_line.run("score", "certificate", "--model", "vanilla", "--purpose", "backtest", status=3)
    assert "not enough data" in told.stdout
    assert "Not enough data for a verdict on" in told.stderr
    for row in found["rows"]:
        if row["part"] == "city":
            low, high = {0.9: ("q05", "q95"), 0.8: ("q10", "q90"), 0.5: ("q25", "q75")}[row["nominal"]]
            own = pairs.filter((pl.col("city") == row["city"]) & pl.col("actual").is_not_null())
            assert row["hours"] == own.height
            inside = own.filter(pl.col("actual").is_between(pl.col(low), pl.col(high))).height
            assert row["coverage"] == pytest.approx(inside / own.height)
            assert (row["verdict"], row["passed"], row["lower"]) == ("not enough data", False, None)
    assert {row["group"] for row in found["rows"] if row["part"] == "lead"} == {"0-6 h", "6-24 h"}
    for row in found["reliability"]:
        own = pairs.filter((pl.col("city") == row["city"]) & pl.col("actual").is_not_null())
        below = own.filter(pl.col("actual") <= pl.col(f"q{round(100 * row['level']):02}")).height
        assert row["observed"] == pytest.approx(below / own.height)
    plot = tmp_path / "errors.html"
    asked = ("score", "errors", "--model", "vanilla", "--purpose", "backtest")
    errors = document(command_line, *asked, "--city", "Pune", "--plot", plot)["rows"]
    local = pl.col("timestamp").dt.convert_time_zone("Asia/Kolkata")
    mine = pairs.filter(pl.col("city") == "Pune", local.dt.weekday() == 6, local.dt.hour() == 9)
    (nine,) = (row for row in errors if (row["weekday"], row["local_hour"]) == ("Saturday", 9))
    assert nine["pair_count"] == mine.height
    assert nine["mae_kwh"] == pytest.approx((mine["actual"] - mine["predicted"]).abs().mean())
    whole = pairs.filter(pl.col("city") == "Pune")
    assert sum(row["pair_count"] for row in errors) == whole.height
    off = whole.select((pl.col("actual") - pl.col("predicted")).abs() / pl.col("actual")).mean().item()
    assert document(command_line, *asked, "--city", "Pune")["mape"]["Pune"] == pytest.approx(100 * off)
    assert "Errors of vanilla by weekday and hour" in plot.read_text()
    refused = command_line.run("score", "certificate", "--model", "vanilla", status=1).stderr
    assert "No forecast of vanilla with purpose 'live' has observed load yet" in refused


def test_backtest_takes_delay_of_load_from_live_forecasts(command_line: CommandLine, database: Database) -> None:
    """A city whose load arrives a day late must not be backtested as if it came at once."""
    span = ("--from", (LAST - timedelta(days=4)).isoformat(), "--to", (LAST - timedelta(days=2)).isoformat())
    backtest = ("backtest", "--model", "naive-24", *span)
    before = document(command_line, *backtest)["assumptions"]["Berlin"]
    assert before == {"load_delay_minutes": 60, "load_delay_source": "assumed"}
    with psycopg.connect(database.url) as connection:
        # Live runs with other times of recording cannot be inserted
        connection.execute("ALTER TABLE forecast_runs DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE forecast_runs SET purpose = 'live', weather = 'none', created_at = issued_at, assumptions = '{}',"
            " fallback_levels = jsonb_build_object('Berlin', jsonb_build_object('stale_hours',"
            " 20 + extract(day FROM issued_at)::integer % 3)) WHERE assumptions ->> 'load_delay_source' = 'assumed'"
        )
        connection.execute("ALTER TABLE forecast_runs ENABLE TRIGGER USER")
    found = document(command_line, *backtest)["assumptions"]
    assert found["Berlin"] == {"load_delay_minutes": 21 * 60, "load_delay_source": "measured"}
    assert found["Pune"] == before
