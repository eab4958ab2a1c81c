"""`export` writes files that `ingest` takes back, and says which forecast was live."""

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

LAST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
FIRST = LAST - timedelta(days=30)
CORRECTED = LAST - timedelta(days=10)


@pytest.fixture(scope="module")
def loaded(
    server: Server, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[CommandLine, Database]]:
    """Thirty days of two cities until now; one value was corrected ten days ago; forecasts of now."""
    folder = tmp_path_factory.mktemp("data")
    with server.copy_of(template) as database:
        command_line = CommandLine.on(database, folder / "home")
        consumption, weather = frames(FIRST, LAST)
        command_line.run("city", "import", write_cities(folder / "cities.csv"))
        consumption.write_csv(folder / "consumption.csv")
        weather.write_parquet(folder / "weather.parquet")
        command_line.run("ingest", "consumption", folder / "consumption.csv")
        command_line.run("ingest", "weather", folder / "weather.parquet")
        stamp = FIRST.strftime("%Y-%m-%dT%H:%M:%SZ")
        (folder / "corrected.csv").write_text(
            "city,timestamp,consumption_kwh,peak_demand_kw,available_at\n"
            f"Pune,{stamp},1.25,7.5,{(CORRECTED + timedelta(microseconds=5)).isoformat().replace('+00:00', 'Z')}\n"
        )
        command_line.run("ingest", "consumption", folder / "corrected.csv", "--interval", "60")
        command_line.run("train", "--model", "naive-24")
        command_line.run("train", "--model", "naive-168", "--until", CORRECTED.isoformat())
        command_line.run("forecast", "--model", "naive-24", "--horizon", "24h")
        command_line.run("forecast", "--model", "naive-168", "--at", CORRECTED.isoformat(), "--horizon", "24h")
        yield command_line, database


def document(command_line: CommandLine, *arguments: str | Path) -> Any:
    return json.loads(command_line.run(*arguments, "--json").stdout)


@pytest.mark.parametrize("kind", ["consumption", "weather"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_exported_file_loads_into_an_empty_database_as_the_same_rows(
    loaded: tuple[CommandLine, Database], server: Server, template: str, tmp_path: Path, kind: str, suffix: str
) -> None:
    command_line, database = loaded
    file = tmp_path / f"{kind}{suffix}"
    written = document(command_line, "export", kind, "--output", file)
    assert written == {"file": str(file), "rows": 2 * 30 * 24, "cities": 2}
    assert list(tmp_path.glob("*.part")) == []
    again = document(command_line, "ingest", kind, file)
    assert (again["unchanged"], again["read"]) == (written["rows"], written["rows"])
    with server.copy_of(template) as empty:
        other = CommandLine.on(empty, tmp_path / "home")
        other.run("city", "import", write_cities(tmp_path / "cities.csv"))
        taken = document(other, "ingest", kind, file)
        assert (taken["inserted"], taken["rejected"]) == (written["rows"], 0)
        table = {"consumption": "energy_consumption", "weather": "weather_data"}[kind]
        columns = {
            "consumption": "consumption_kwh, peak_demand_kw",
            "weather": "temperature, humidity, wind_speed, precipitation",
        }[kind]
        query = (
            f"SELECT c.name, timestamp, {columns}, available_at, interval_minutes FROM {table}"  # noqa: S608
            " JOIN cities c ON c.id = city_id ORDER BY 1, 2"
        )
        held = []
        for each in (database, empty):
            with psycopg.connect(each.url) as connection:
                held.append(connection.execute(query).fetchall())
        assert held[0] == held[1]


def test_as_of_gives_what_could_be_known_then(loaded: tuple[CommandLine, Database], tmp_path: Path) -> None:
    command_line, _ = loaded
    values = []
    for name, moment in (("before", CORRECTED - timedelta(hours=1)), ("after", CORRECTED + timedelta(hours=1))):
        file = tmp_path / f"{name}.csv"
        written = document(
            command_line, "export", "consumption", "--as-of", moment.isoformat(), "--city", "Pune", "--output", file
        )
        frame = pl.read_csv(file, try_parse_dates=True)
        assert frame.height == written["rows"] == (moment - FIRST) / timedelta(hours=1)
        assert frame["city"].unique().to_list() == ["Pune"]
        assert frame.select(pl.col("available_at").max()).item() <= moment
        values.append(frame.filter(pl.col("timestamp") == FIRST)["consumption_kwh"].item())
    assert values[0] > 1000
    assert values[1] == 1.25


def test_predictions_are_the_live_ones(loaded: tuple[CommandLine, Database], tmp_path: Path) -> None:
    """The replay of ten days ago is among the current predictions, but was never live."""
    command_line, _ = loaded
    now = tmp_path / "now.csv"
    document(command_line, "export", "predictions", "--output", now)
    current = pl.read_csv(now, try_parse_dates=True)
    assert set(current["model"]) == {"naive-24", "naive-168"}
    live = tmp_path / "live.parquet"
    document(command_line, "export", "predictions", "--as-of", datetime.now(UTC).isoformat(), "--output", live)
    frame = pl.read_parquet(live)
    assert set(frame["model"]) == {"naive-24"}
    ours = current.filter(pl.col("model") == "naive-24")
    assert frame.select(
        "city", "timestamp", "predicted_consumption", "confidence_lower", "confidence_upper"
    ).rows() == (
        ours.select("city", "timestamp", "predicted_consumption", "confidence_lower", "confidence_upper").rows()
    )
    assert frame.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert (frame["confidence_lower"] <= frame["confidence_upper"]).all()
    assert (frame["issued_at"] <= frame["recorded_at"]).all()
    then = document(
        command_line, "export", "predictions", "--as-of", (CORRECTED + timedelta(hours=1)).isoformat(), "--output", live
    )
    assert then["rows"] == 0
    assert pl.read_parquet(live).schema["predicted_consumption"] == pl.Float64


def test_from_and_to_bound_it_half_open(loaded: tuple[CommandLine, Database], tmp_path: Path) -> None:
    command_line, _ = loaded
    file = tmp_path / "day.csv"
    span = ("--from", CORRECTED.isoformat(), "--to", (CORRECTED + timedelta(days=1)).isoformat())
    assert document(command_line, "export", "weather", *span, "--output", file)["rows"] == 2 * 24


def test_what_cannot_be_exported_is_said_in_a_line(loaded: tuple[CommandLine, Database], tmp_path: Path) -> None:
    command_line, _ = loaded
    file = tmp_path / "x.csv"
    assert "Atlantis" in command_line.run("export", "weather", "--city", "Atlantis", "--output", file, status=1).stderr
    assert not file.exists()
    assert list(tmp_path.iterdir()) == []
    command_line.run("export", "weather", "--output", tmp_path / "x.xlsx", status=2)
    command_line.run(
        "export", "weather", "--from", "2026-01-02T00:00Z", "--to", "2026-01-01T00:00Z", "--output", file, status=2
    )
    refused = command_line.run("export", "weather", "--output", tmp_path / "no" / "x.csv", status=1)
    assert "not found. Create it" in refused.stderr


@pytest.mark.parametrize("days", [-3, 3])
def test_the_clients_clock_decides_nothing(loaded: tuple[CommandLine, Database], tmp_path: Path, days: int) -> None:
    """A forecast is issued, called live and recorded by the database's clock, and so scored by it."""
    command_line, database = loaded
    (tmp_path / "sitecustomize.py").write_text(
        "import datetime, time\n"
        f"shift, now = {days} * 86400, time.time\n"
        "time.time = lambda: now() + shift\n"
        "class Wrong(datetime.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None):\n"
        "        return datetime.datetime.fromtimestamp(time.time(), tz)\n"
        "real, datetime.datetime = datetime.datetime, Wrong\n"
    )
    wrong = CommandLine(command_line.environment | {"PYTHONPATH": str(tmp_path)})
    wrong.process("forecast", "--model", "naive-24", "--horizon", "24h")
    with psycopg.connect(database.url) as connection:
        row = connection.execute(
            "SELECT purpose, now() - issued_at < interval '5 minutes', now() - created_at < interval '5 minutes',"
            " now() - started_at BETWEEN make_interval(days => %s, mins => -5) AND make_interval(days => %s, mins => 5)"
            " FROM forecast_runs ORDER BY created_at DESC LIMIT 1",
            (-days, -days),
        ).fetchone()
    assert row == ("live", True, True, True)
