"""Nine cities of which four are broken in different ways: the other five get the same numbers as without the four."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg

from energy_forecast.database import Database
from servers import CommandLine, Server
from synthetic import hours, load, temperature

WHOLE = {
    "Berlin": (52.52, 13.405, "Europe/Berlin", "DE"),
    "Pune": (18.52, 73.86, "Asia/Kolkata", "IN"),
    "Denver": (39.74, -104.99, "America/Denver", "US"),
    "Lisbon": (38.72, -9.14, "Europe/Lisbon", "PT"),
    "Sydney": (-33.87, 151.21, "Australia/Sydney", "AU"),
}
BROKEN = {
    "Late weather": (59.91, 10.75, "Europe/Oslo", "NO"),
    "Only zeros": (48.86, 2.35, "Europe/Paris", "FR"),
    "Too large": (35.68, 139.69, "Asia/Tokyo", "JP"),
    "Unknown zone": (41.9, 12.5, "Europe/Rome", "IT"),
}
CITIES = WHOLE | BROKEN
FIRST = datetime(2025, 3, 10, tzinfo=UTC)
LAST = FIRST + timedelta(days=35)
AT = LAST - timedelta(days=4)
STAMP = "%Y-%m-%dT%H:%M:%SZ"
NO_ZONE = dict.fromkeys(("Unknown zone", "Late weather"), "is not in the rules of this program")
# Facts of a row that are not of the data: the database gives or measures them
ITS_OWN = ("model_id", "run", "id", "created_at", "actuals_as_of")
MODELS = "naive-168", "vanilla", "linear"


def files(folder: Path, names: list[str]) -> list[tuple[str, ...]]:
    """Write the data of cities. Returns the commands that load it."""
    folder.mkdir()
    times = hours(FIRST, LAST)
    stamps = [f"{time:{STAMP}}" for time in times]
    rows = [f"{name},{','.join(map(str, CITIES[name]))}" for name in names]
    (folder / "cities.csv").write_text("name,latitude,longitude,timezone,country_code\n" + "\n".join(rows) + "\n")
    consumption, weather, large = [], [], []
    for name in names:
        seed = list(CITIES).index(name)
        warmth = temperature(times, seed)
        kwh = load(times, warmth, CITIES[name][2], seed, 20_000 * (seed + 1)).round(2)
        one = pl.DataFrame({"city": name, "timestamp": stamps, "consumption_kwh": kwh, "temperature": warmth.round(2)})
        energy = one.drop("temperature")
        match name:
            case "Late weather":
                weather.append(one.slice(14 * 24))
            case "Only zeros":
                energy = energy.with_columns(consumption_kwh=pl.lit(0.0))
            case "Too large":
                quarters = [time + timedelta(minutes=15 * number) for time in times for number in range(4)]
                large = [f"{name},{time:{STAMP}},9{index % 90:02d}0000000" for index, time in enumerate(quarters)]
        if name != "Too large":
            consumption.append(energy)
        if name != "Late weather":
            weather.append(one)
    pl.concat(consumption).write_csv(folder / "consumption.csv")
    pl.concat(weather).drop("consumption_kwh").write_csv(folder / "weather.csv")
    commands: list[tuple[str, ...]] = [
        ("city", "import", str(folder / "cities.csv")),
        ("ingest", "consumption", str(folder / "consumption.csv")),
        ("ingest", "weather", str(folder / "weather.csv")),
    ]
    if large:
        (folder / "large.csv").write_text("city,timestamp,consumption_kwh\n" + "\n".join(large) + "\n")
        commands.append(("ingest", "consumption", str(folder / "large.csv")))
    return commands


def lose_zone(database: Database, city: str) -> None:
    """Store a time zone that PostgreSQL knows and this program does not."""
    with psycopg.connect(database.url) as connection:
        connection.execute("ALTER TABLE cities DROP CONSTRAINT IF EXISTS city_timezone_iana")
        connection.execute("UPDATE cities SET timezone = 'XYZ-1' WHERE name = %s", (city,))


def run_day(server: Server, template: str, folder: Path, broken: bool) -> dict[str, Any]:
    """Load the cities and run what is scheduled each day. Returns the documents by command."""
    at = f"{AT:{STAMP}}"
    span = ("--from", f"{AT - timedelta(days=2):{STAMP}}", "--to", at, "--at-local", "06:00")
    several = ("--processes", "2" if broken else "1")
    commands: list[tuple[str | Path, ...]] = [
        ("train", *(part for name in MODELS for part in ("--model", name)), "--until", at, *several),
        ("forecast", "--model", "linear", "--at", at, "--output", folder / "forecast.parquet", *several),
        ("backtest", "--model", ",".join(MODELS), *span, "--output", folder / "backtest.parquet", *several),
        ("score",),
    ]
    documents = {}
    with server.copy_of(template) as database:
        command_line = CommandLine.on(database, folder / "home")
        for preparation in files(folder, sorted(CITIES if broken else WHOLE)):
            command_line.run(*preparation)
        if broken:
            lose_zone(database, "Unknown zone")
        for command in commands:
            if broken and command[0] == "score":
                # A city with forecasts, which cannot be scored
                lose_zone(database, "Late weather")
            run = command_line.run(*command, "--json", status=3 if broken else 0)
            documents[str(command[0])] = json.loads(run.stdout)
    return documents


def of_whole(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the undamaged cities, without columns that differ between two databases."""
    return [{name: value for name, value in row.items() if name not in ITS_OWN} for row in rows if row["city"] in WHOLE]


def test_broken_cities_change_no_bit_of_the_others(server: Server, template: str, tmp_path: Path) -> None:
    """Not in training, forecasts, backtests and scores; each city that cannot be served is named, with the reason."""
    five_files, nine_files = tmp_path / "five", tmp_path / "nine"
    five = run_day(server, template, five_files, broken=False)
    nine = run_day(server, template, nine_files, broken=True)

    for command, key in (("train", "trained"), ("forecast", "forecasts"), ("backtest", "scores"), ("score", "scores")):
        expected = of_whole(five[command][key])
        assert {row["city"] for row in expected} == set(WHOLE)
        assert of_whole(nine[command][key]) == expected, command
    for name in ("forecast.parquet", "backtest.parquet"):
        written = pl.read_parquet(nine_files / name).filter(pl.col("city").is_in(list(WHOLE)))
        assert written.equals(pl.read_parquet(five_files / name)), name

    why = {"Only zeros": "too few hours", "Too large": "more than the database can store", **NO_ZONE}
    for command, cities in {
        "train": {"Only zeros", "Unknown zone"},
        "forecast": {"Only zeros", "Too large", "Unknown zone"},
        "backtest": {"Only zeros", "Too large", "Unknown zone"},
        "score": {"Late weather"},
    }.items():
        assert {one["city"] for one in nine[command]["failed"]} == cities, command
        for one in nine[command]["failed"]:
            assert why[one["city"]] in one["reason"]
    # Weather that begins inside the load is used from there on
    assert "Late weather" in {one["city"] for one in nine["forecast"]["forecasts"]}
    assert {one["model"] for one in nine["train"]["trained"] if one["city"] == "Late weather"} == set(MODELS)
