"""What the retraining policy names as due, on a real database with forecasts that went wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest

from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.errors import EnergyForecastError
from energy_forecast.pipelines import retrain
from servers import CommandLine
from synthetic import frames, write_cities


def due(database: Database) -> dict[str, list[str]]:
    """Return the first words of the reasons of each city."""
    return {
        one.city: [reason.partition(":")[0] for reason in one.reasons] for one in retrain.retraining_status(database)
    }


@pytest.mark.parametrize(
    ("pairs", "kept"),
    [
        pytest.param([("replay", "none", 1.0), ("live", "none", 2.0), ("replay", "none", 3.0)], [2.0], id="purpose"),
        pytest.param([("replay", "none", 1.0), ("replay", "none", 2.0)], [1.0, 2.0], id="replays only"),
        pytest.param(
            [("live", "forecast", 1.0), ("live", "none", 2.0), ("live", "forecast", 3.0)], [1.0, 3.0], id="weather"
        ),
        pytest.param([], [], id="none"),
    ],
)
def test_drift_is_measured_on_forecasts_of_one_kind(pairs: list[tuple[str, str, float]], kept: list[float]) -> None:
    schema = {"purpose": pl.String, "weather": pl.String, "predicted": pl.Float64}
    assert retrain.of_one_kind(pl.DataFrame(pairs, schema, orient="row"))["predicted"].to_list() == kept


def test_age_drift_and_lost_coverage_make_a_city_due_and_training_ends_it(
    database: Database, command_line: CommandLine, tmp_path: Path
) -> None:
    """Berlin uses half as much again since five days ago; Pune goes on as before."""
    today = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    changed = today - timedelta(days=5)
    consumption, _ = frames(today - timedelta(days=60), today)
    wild = (pl.col("city") == "Berlin") & (
        pl.col("timestamp").cast(pl.String).str.slice(0, 13) >= f"{changed:%Y-%m-%dT%H}"
    )
    assert 0 < consumption.filter(wild).height < 24 * 6
    consumption.with_columns(
        pl.when(wild).then(pl.col("consumption_kwh") * 1.5).otherwise(pl.col("consumption_kwh"))
    ).write_csv(tmp_path / "consumption.csv")
    command_line.run("city", "import", write_cities(tmp_path / "cities.csv"))
    command_line.run("ingest", "consumption", tmp_path / "consumption.csv")

    assert due(database) == {"Berlin": ["never trained"], "Pune": ["never trained"]}
    pipelines.train(database, models=["naive-168"], until=today - timedelta(days=12))
    pipelines.promote(database, "naive-168", reason="the only one there is", force=True)
    assert due(database) == {"Berlin": [], "Pune": []}
    for days in (4, 3, 2, 1):
        pipelines.forecast(database, model="naive-168", at=today - timedelta(days=days), horizon=timedelta(hours=24))

    berlin, pune = retrain.retraining_status(database)
    assert due(database) == {"Berlin": ["drift", "coverage"], "Pune": []}
    assert pune.mape is not None
    assert pune.held_out_mape is not None
    assert pune.mape < 1.5 * pune.held_out_mape
    assert berlin.hours == pune.hours == 4 * 24
    assert berlin.mape == pytest.approx(100 / 3, abs=5), "half as much again is a third too little"
    pipelines.forecast(database, model="naive-168", at=today - timedelta(days=1), horizon=timedelta(hours=24))
    assert [one.mape for one in retrain.retraining_status(database)] == [berlin.mape, pune.mape], "repeats count once"
    with psycopg.connect(database.url) as connection:
        connection.execute("UPDATE ops.retraining_policies SET window_days = 7 WHERE reason = 'drift'")
    pipelines.forecast(database, model="naive-168", at=today - timedelta(days=10), horizon=timedelta(hours=24))
    longer = retrain.retraining_status(database)
    assert [one.mape for one in longer] == [berlin.mape, pune.mape], "each policy has a window of its own"
    assert [one.hours for one in longer] == [5 * 24, 5 * 24]
    retrain.set_policy(database, "age", 10)
    assert due(database) == {"Berlin": ["age", "drift", "coverage"], "Pune": ["age"]}

    trained = json.loads(command_line.run("train", "--due", "--city", "Berlin", "--json").stdout)
    assert [(one["city"], one["model"], one["version"]) for one in trained["trained"]] == [("Berlin", "naive-168", "2")]
    assert len(trained["due"]["Berlin"]) == 3
    shown = json.loads(command_line.run("model", "due", "--json").stdout)
    assert [(one["city"], one["due"]) for one in shown] == [("Berlin", False), ("Pune", True)]
    command_line.run("model", "policy", "age", "never")
    assert due(database) == {"Berlin": [], "Pune": []}
    assert retrain.train_due(database).reports == []
    with pytest.raises(EnergyForecastError, match="not a reason"):
        retrain.set_policy(database, "mood", 1)
    with pytest.raises(EnergyForecastError, match="must be between 0 and 1"):
        retrain.set_policy(database, "coverage", 1.2)
    # What the program says is what the database checks
    with psycopg.connect(database.url) as connection:
        for reason, (_, least, most) in retrain.THRESHOLDS.items():
            for bound, outside in ((least, least - 0.1), (most, most + 0.1)):
                set_to = "UPDATE ops.retraining_policies SET threshold = %s WHERE reason = %s"
                connection.execute(set_to, (bound, reason))
                with pytest.raises(psycopg.errors.CheckViolation), connection.transaction():
                    connection.execute(set_to, (outside, reason))
        connection.rollback()
    # Whoever changes the policy is in the log
    with psycopg.connect(database.url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM audit_log WHERE table_name LIKE '%retraining_policies' AND action = 'UPDATE'"
        )
        assert found.fetchone() == (3,)
