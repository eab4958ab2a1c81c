"""The public Python API, on a real server: what a notebook does, with frames of polars, pandas and pyarrow."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

import energy_forecast as ef
from energy_forecast.database import Database
from energy_forecast.errors import (
    ArtifactError,
    IngestError,
    NotEnoughDataError,
    UnknownCityError,
    UnknownModelError,
)
from energy_forecast.forecasting import WeatherErrors
from energy_forecast.forecasting.ensemble.base_models import LinearMember
from energy_forecast.forecasting.ensemble.training import Ensemble
from energy_forecast.forecasting.models.naive import NAIVE_24, NAIVE_168
from energy_forecast.platform.client_runs import RequestedRuns
from energy_forecast.platform.forecast import Chart
from energy_forecast.platform.model import Model
from energy_forecast.platform.reader import Reader
from servers import CommandLine, Server

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOURS = 24 * 60


CITY = ef.City("Munich", 48.14, 11.58, "Europe/Berlin", "DE")
# An argument of the right type for each required parameter
VALID: dict[str, Any] = {
    "self": None,
    **dict.fromkeys(("name", "timezone", "dataset", "city", "models", "model"), "text"),
    **dict.fromkeys(("latitude", "longitude"), 1.5),
    **dict.fromkeys(("start", "end", "at", "issued_at"), NOW),
    **dict.fromkeys(("source", "load"), pl.DataFrame()),
    "data": b"",
    "timestamp": NOW,
    **dict.fromkeys(("run", "request", "score", "batch"), "00000000-0000-4000-8000-000000000000"),
    "path": "a.html",
}


def load_frame(city: str = "Munich", hours: int = HOURS) -> pl.DataFrame:
    """Hourly load with a daily shape that ends at NOW."""
    times = pl.datetime_range(
        NOW - timedelta(hours=hours), NOW, "1h", closed="left", time_unit="us", time_zone="UTC", eager=True
    )
    noise = np.random.default_rng(1).normal(0, 3_000, hours)
    kwh = 400_000 + 90_000 * np.sin(times.dt.hour().to_numpy() / 12 * np.pi) + noise
    return pl.DataFrame({"city": city, "timestamp": times, "consumption_kwh": kwh.round(1)})


@pytest.fixture
def db(database: Database) -> Iterator[ef.Platform]:
    with ef.connect(database.url) as platform:
        platform.add_city(
            "Munich", latitude=48.14, longitude=11.58, timezone="Europe/Berlin", country="DE", subdivision="Bavaria"
        )
        yield platform


@pytest.fixture
def loaded(db: ef.Platform) -> ef.Platform:
    db.ingest("consumption", load_frame())
    return db


def as_pandas(frame: pl.DataFrame) -> Any:
    """Return the frame as pandas users have it: local times as the index."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    columns = {name: frame[name].to_list() for name in frame.columns}
    times = pandas.to_datetime(columns.pop("timestamp")).tz_convert("Europe/Berlin")
    return pandas.DataFrame(columns, index=times.rename("timestamp"))


def as_pandas_table(frame: pl.DataFrame) -> Any:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.DataFrame({name: frame[name].to_list() for name in frame.columns})


def as_arrow(frame: pl.DataFrame) -> Any:
    local = frame.with_columns(pl.col("timestamp").dt.convert_time_zone("Europe/Berlin"))
    return pytest.importorskip("pyarrow", reason="pyarrow is not installed").table(local)


def test_exports_ten_names() -> None:
    assert (
        ef.__all__
        == dir(ef)
        == [
            "City",
            "Client",
            "EnergyForecastError",
            "Forecast",
            "Platform",
            "__version__",
            "connect",
            "fit",
            "load_model",
            "models",
        ]
    )
    for name in ef.__all__:
        assert getattr(ef, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = ef.conect


def test_import_changes_nothing() -> None:
    """A notebook keeps its environment, and waits for no library until it uses a name."""
    code = (
        "import os, sys; before = dict(os.environ), set(sys.modules); import energy_forecast; "
        "print(before[0] == dict(os.environ), sorted({'polars', 'numpy', 'psycopg', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "True []"


@pytest.mark.parametrize("convert", [pl.DataFrame, as_pandas, as_arrow], ids=["polars", "pandas", "pyarrow"])
def test_ingests_frames_of_each_library_alike(db: ef.Platform, convert: Callable[[pl.DataFrame], Any]) -> None:
    frame = load_frame().with_columns(
        pl.when(pl.int_range(pl.len()) % 2 == 0).then(500_000.0).alias("peak_demand_kw"),
    )
    report = db.ingest("consumption", convert(frame))
    assert (report.read, report.inserted, report.rejected) == (HOURS, HOURS, 0)
    again = db.ingest("consumption", frame)
    assert (again.unchanged, again.corrected) == (HOURS, 0), "each library gives the same values"
    assert_frame_equal(db.history("Munich").select("timestamp", "consumption_kwh"), frame.select(pl.nth(1, 2)))


def test_ingests_files_like_the_command_line(db: ef.Platform, tmp_path: Path) -> None:
    frame = load_frame()
    frame.head(100).write_csv(tmp_path / "a.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    frame.tail(-100).write_parquet(tmp_path / "b.parquet")
    report = db.ingest("consumption", [tmp_path / "a.csv", str(tmp_path / "b.parquet")])
    assert (report.inserted, report.files) == (HOURS, ("a.csv", "b.parquet"))
    mwh = frame.head(1).with_columns(pl.col("consumption_kwh") / 1000)
    assert db.ingest("consumption", mwh, units={"energy": "MWh"}).unchanged == 1


def test_reports_rejected_rows_and_found_faults(db: ef.Platform) -> None:
    kwh = pl.col("consumption_kwh")
    row = pl.int_range(pl.len())
    frame = load_frame().with_columns(
        pl.when(row == 5).then(pl.lit("Munch")).otherwise("city").alias("city"),
        pl.when(row.is_between(800, 805)).then(0.0).otherwise(kwh).alias("consumption_kwh"),
    )
    report = db.ingest("consumption", frame)
    assert (report.inserted, report.rejected) == (HOURS - 1, 1)
    shown = repr(report)
    assert shown.startswith("<Report of consumption: 1,440 read, 1,439 inserted, 0 corrected, 0 unchanged, 1 rejected>")
    assert "zero or negative values, 6 hours" in shown
    assert "Munch" in shown
    assert "Munch" in report.rejected_examples[0].reason
    assert any("zero or negative values, 6 hours" in note for note in report.notes), report.notes
    assert not any("zero" in note for note in db.ingest("consumption", frame, check=False).notes)
    with pytest.raises(IngestError, match="All 3 rows were rejected, and nothing was loaded"):
        db.ingest("consumption", load_frame("Hamburg", 3))
    with pytest.raises(IngestError, match="`source` is of type dict, which is no frame"):
        db.ingest("consumption", {"city": ["Munich"]})  # type: ignore[arg-type]
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    with pytest.raises(IngestError, match=r"`source` cannot be read: .*more than one"):
        db.ingest("consumption", pandas.DataFrame([["Munich", "Ulm"]], columns=["city", "city"]))


def test_trains_once_for_the_same_data(loaded: ef.Platform) -> None:
    first, again = (loaded.train("Munich", models=["naive-24"], until=NOW) for _ in range(2))
    assert [(one.city, one.model, one.version, one.reused) for one in first.trained] == [
        ("Munich", "naive-24", "1", False)
    ]
    assert again.trained[0].reused
    with pytest.raises(NotEnoughDataError):
        loaded.train(until=NOW - timedelta(days=59), models="linear")


def test_forecasts_like_the_command_line(loaded: ef.Platform, command_line: CommandLine) -> None:
    """Both call the same functions, so an hour has the same values in both."""
    made = loaded.forecast("munich", model="naive-168", horizon=timedelta(hours=24), at="2026-06-01T02:00+02:00")
    assert (made.city, made.model, made.issued_at, made.frame.height) == ("Munich", "naive-168", NOW, 24)
    assert made.history["timestamp"].max() == NOW - timedelta(hours=1)
    arguments = ("--city", "Munich", "--model", "naive-168", "--at", NOW.isoformat(), "--horizon", "24h", "--json")
    printed = json.loads(command_line.run("forecast", *arguments).stdout)["forecasts"][0]
    hours = pl.DataFrame(printed["hours"]).with_columns(
        pl.col("timestamp").str.to_datetime(time_unit="us", time_zone="UTC")
    )
    assert_frame_equal(hours, made.frame)
    assert repr(made).startswith("<Forecast of Munich by naive-168, issued at 2026-06-01 00:00Z: 24 hours, ")


def test_forecast_converts_to_each_library(loaded: ef.Platform) -> None:
    made = loaded.forecast("Munich", model="naive-168", at=NOW)
    assert made.to_polars() is made.frame
    assert_frame_equal(pl.DataFrame(made), made.frame)
    pytest.importorskip("pandas", reason="pandas is not installed")
    as_pandas = made.to_pandas()
    assert list(as_pandas.columns) == made.frame.columns
    assert as_pandas["timestamp"][0] == NOW
    assert as_pandas["q95"].tolist() == made.frame["q95"].to_list()
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert made.to_arrow().equals(pyarrow.table(made))
    assert made.to_arrow()["predicted"].to_pylist() == made.frame["predicted"].to_list()


def test_plot_shows_offline(loaded: ef.Platform, tmp_path: Path) -> None:
    chart = loaded.forecast("Munich", model="naive-168", at=NOW).plot()
    chart.save(tmp_path / "munich.html")
    page = (tmp_path / "munich.html").read_text("utf-8")
    assert len(page.encode()) < 300_000
    assert '<h2 id="card-1">Munich</h2>' in page
    assert ">Scores<" not in page
    assert "<script src=" not in page
    shown = chart._repr_html_()
    assert shown.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    with pytest.raises(ef.EnergyForecastError, match="Cannot write `path` "):
        chart.save(tmp_path / "munich.html" / "x.html")


def test_backtests_and_scores(loaded: ef.Platform) -> None:
    found = loaded.backtest(
        ["naive-24", "naive-168"], start=NOW - timedelta(days=4), end=NOW, at_local="00:00", every="1d"
    )
    assert found.failed == {}
    assert found.pairs["issued_at"].n_unique() == 4
    assert sorted(found.scores["model"]) == ["naive-168", "naive-24"]
    assert found.scores["purpose"].unique().to_list() == ["backtest"]
    assert found.assumptions["Munich"] == {"load_delay_minutes": 60, "load_delay_source": "assumed"}
    assert found.weather_hours["Munich"] == {"forecast": 96, "with_weather": 0}
    stored = loaded.scores("Munich", purpose="backtest")
    assert stored.columns == [*found.scores.columns, "score_id", "recorded_at"]
    assert set(found.scores["mape"]) <= set(stored["mape"])
    # A replay whose first 24 hours have actuals, the last two of them in June of the city
    loaded.forecast("Munich", model="naive-24", at=NOW - timedelta(days=1))
    assert loaded.score().new == 3
    assert loaded.scores(purpose="replay")["lead_start_hours"].to_list() == [0, 6]
    assert loaded.scores().height == stored.height + 2
    assert loaded.scores(purpose="live").is_empty()


def test_history_shows_only_what_was_known(loaded: ef.Platform) -> None:
    first = NOW - timedelta(hours=3)
    corrected = (
        load_frame().tail(3).with_columns(pl.col("consumption_kwh") + 1, available_at=pl.lit(NOW + timedelta(days=1)))
    )
    assert loaded.ingest("consumption", corrected).corrected == 3
    before = loaded.history("Munich", first, as_of=NOW)
    after = loaded.history("Munich", first, NOW, as_of=NOW + timedelta(days=2))
    assert (after["consumption_kwh"] - before["consumption_kwh"]).to_list() == [1, 1, 1]
    assert loaded.history("Munich", first, NOW - timedelta(hours=1), as_of=NOW).height == 2
    assert before.columns == [
        "timestamp", "consumption_kwh", "temperature", "humidity", "wind_speed", "precipitation"
    ]  # fmt: skip


def test_model_without_database_gives_the_same_forecast(loaded: ef.Platform) -> None:
    city, frame = loaded.cities()[0], load_frame()
    assert (city.name, city.country_code, city.subdivision) == ("Munich", "DE", "BY")
    model = ef.fit("naive-168", city, frame, at=NOW)
    made = model.predict(frame, issued_at=NOW, horizon="48h")
    served = loaded.forecast("Munich", model="naive-168", at=NOW)
    assert_frame_equal(made.frame.with_columns(pl.col("predicted").round(2)), served.frame, abs_tol=0.01)
    assert_frame_equal(made.history, served.history)
    data = model.to_bytes()
    assert data == ef.fit("naive-168", city, frame, at=NOW.isoformat()).to_bytes()
    restored = ef.load_model(data)
    assert (restored.city, restored.parameters) == (city, model.parameters)
    assert_frame_equal(restored.predict(frame, issued_at=NOW).frame, made.frame)
    assert "Munich" in made.plot().html
    with pytest.raises(ArtifactError, match="`data` is not a model that to_bytes"):
        ef.load_model(b"{}")
    with pytest.raises(ArtifactError):
        ef.load_model(data[:-1])
    with pytest.raises(UnknownModelError, match="'naive-25'"):
        ef.fit("naive-25", city, frame, at=NOW)


def test_fits_an_ensemble_of_own_members() -> None:
    own = Ensemble([LinearMember(), NAIVE_24, NAIVE_168], name="own")
    load = load_frame()
    model = ef.fit(own, ef.City("Munich", 48.14, 11.58, "Europe/Berlin", "DE"), load, at=NOW)
    made = model.predict(load, issued_at=NOW)
    data = model.to_bytes()
    assert_frame_equal(ef.load_model(data, own).predict(load, issued_at=NOW).frame, made.frame)
    with pytest.raises(UnknownModelError, match="'own'"):
        ef.load_model(data)


def test_model_uses_weather_of_any_library() -> None:
    """A pandas frame has its times in local time, and lacks the optional columns."""
    city = ef.City("Munich", 48.14, 11.58, "Europe/Berlin", "DE")
    load = load_frame()
    weather = load.select("timestamp", temperature=10 + pl.col("timestamp").dt.hour() / 2)
    ahead = weather.with_columns(pl.col("timestamp") + timedelta(hours=HOURS)).head(48)
    model = ef.fit("vanilla", city, as_pandas(load), as_pandas(weather), at=NOW)
    made = model.predict(load, weather, ahead, issued_at=NOW)
    assert made.weather_hours == 48
    assert_frame_equal(made.temperature.tail(48), ahead)


def test_intervals_follow_the_expected_errors_of_weather_forecasts() -> None:
    city = ef.City("Munich", 48.14, 11.58, "Europe/Berlin", "DE")
    load = load_frame()
    warmth = 10 + np.random.default_rng(1).normal(0, 4, load.height)
    weather = load.select("timestamp").with_columns(pl.Series("temperature", warmth))
    follows = load.with_columns(pl.col("consumption_kwh") + pl.Series(warmth) * 3_000)
    ahead = weather.with_columns(pl.col("timestamp") + timedelta(hours=HOURS)).head(24)
    large = WeatherErrors((0.0,), {"temperature": (8.0,)})
    width = {}
    for errors in (None, large):
        model = ef.fit("linear", city, follows, weather, at=NOW, weather_errors=errors)
        for observed in (False, True):
            frame = model.predict(follows, weather, ahead, issued_at=NOW, weather_is_observed=observed).frame
            width[errors is large, observed] = float((frame["q95"] - frame["q05"]).to_numpy().mean())
    assert width[True, True] == width[False, True] < width[False, False] < width[True, False]


def test_errors_name_the_parameters_of_the_call(loaded: ef.Platform) -> None:
    """A Python caller must not read an option of the command line, nor a parameter of a lower layer."""
    naive = datetime(2026, 5, 1)  # noqa: DTZ001 - the error under test
    calls: dict[str, Callable[[], object]] = {
        "`at`: '2026-05-01T00:00:00' has no offset": lambda: loaded.forecast("Munich", at=naive),
        "`start`: '2026-05-01' has no offset": lambda: loaded.history("Munich", "2026-05-01"),
        "`as_of`: 'now' is not a time": lambda: loaded.history("Munich", as_of="now"),
        "`horizon`: '90min' is not a whole number of hours": lambda: loaded.forecast("Munich", horizon="90min"),
        "`every`: '1w' is not a span": lambda: loaded.backtest("naive-24", start=NOW, end=NOW, every="1w"),
        "`at_local`: '25:00' is not a local time": lambda: loaded.backtest(
            "naive-24", start=NOW, end=NOW, at_local="25:00"
        ),
        "`end` must be later than `start`": lambda: loaded.backtest("naive-24", start=NOW, end=NOW - timedelta(1)),
        "`until` is in the future": lambda: loaded.train("Munich", until="2100-01-01T00:00Z"),
        "`purpose`: 'forecast' not found": lambda: loaded.scores(purpose="forecast"),  # type: ignore[arg-type]
        "`country`: 'DEX' is not a country": lambda: loaded.add_city(
            "Ulm", latitude=48.4, longitude=10, timezone="Europe/Berlin", country="DEX"
        ),
        "`url` and `home` exclude each other": lambda: ef.connect("postgresql://x", home="y"),
        "The column timestamp of `load` is of type": lambda: ef.fit(
            "naive-24", loaded.cities()[0], load_frame().cast({"timestamp": pl.Datetime("us")}), at=NOW
        ),
        "`weather` has no column temperature": lambda: ef.fit(
            "naive-24", loaded.cities()[0], load_frame(), load_frame(), at=NOW
        ),
    }
    for message, call in calls.items():
        with pytest.raises(ef.EnergyForecastError) as caught:
            call()
        assert str(caught.value).startswith(message), str(caught.value)
        assert " --" not in str(caught.value)
    with pytest.raises(UnknownCityError, match="Did you mean 'Munich'"):
        loaded.forecast("Munch")


INHERITED: dict[Any, Any] = {ef.Platform: vars(Reader), ef.Client: vars(RequestedRuns)}


def public_calls() -> dict[str, Callable[..., object]]:
    """Return the functions and methods of the public API by their call, as docs/api_reference.md writes it."""
    owners = {"ef": ef, "db": ef.Platform, "client": ef.Client, "model": Model, "forecast": ef.Forecast, "chart": Chart}
    calls = {
        f"{owner}.{name}": getattr(found, name)
        for owner, found in owners.items()
        for name in (ef.__all__ if found is ef else {**vars(found), **INHERITED.get(found, {})})
        if not name.startswith("_")
    }
    return {name: call for name, call in calls.items() if inspect.isfunction(call)}


PARAMETERS = [
    (name, parameter)
    for name, call in public_calls().items()
    for parameter in inspect.signature(call).parameters
    if parameter != "self"
]


@pytest.mark.parametrize(("name", "wrong"), PARAMETERS, ids=[f"{name}-{one}" for name, one in PARAMETERS])
@pytest.mark.parametrize(
    "value", [object(), 1j, [1, None], {"a": 1}, pl.LazyFrame()], ids=lambda value: type(value).__name__
)
def test_rejects_arguments_of_another_type(name: str, wrong: str, value: object) -> None:
    """No function reads a wrong argument: it would fail later, with an error of another library."""
    call = public_calls()[name]
    required = [one.name for one in inspect.signature(call).parameters.values() if one.default is one.empty]
    given = {one: VALID[one] for one in required} | ({"city": CITY} if name == "ef.fit" else {}) | {wrong: value}
    with pytest.raises(ef.EnergyForecastError, match=rf"^`{wrong}`( is of type|: .* not found)") as caught:
        call(**given)
    assert caught.value.hint


def test_reference_lists_each_call() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api_reference.md").read_text("utf-8")
    for name, call in public_calls().items():
        signature = inspect.signature(call)
        parameters = [one.replace(annotation=one.empty) for one in signature.parameters.values() if one.name != "self"]
        written = str(signature.replace(parameters=parameters, return_annotation=signature.empty))
        owner, _, method = name.partition(".")
        owner = {"client": "db"}.get(owner, owner)
        assert (f"{owner}.{method}{written}" if owner in {"ef", "db", "model"} else f"{method}{written}") in page


def test_rejects_values_that_cannot_be_used(loaded: ef.Platform, tmp_path: Path) -> None:
    load = load_frame()
    model = ef.fit("naive-24", CITY, load, at=NOW)
    early = NOW - timedelta(days=7)
    calls: dict[str, Callable[[], object]] = {
        "`load` has rows of 'Ulm', and the model is of 'Munich'": lambda: model.predict(
            pl.concat([load, load_frame("Ulm")]), issued_at=NOW
        ),
        "`load` has more than one row of 2026-05-31T23:00:00": lambda: ef.fit(
            "naive-24", CITY, pl.concat([load, load.tail(1)]), at=NOW
        ),
        "A column of `load` is not numeric": lambda: ef.fit(
            "naive-24", CITY, load.with_columns(consumption_kwh=pl.lit("a lot")), at=NOW
        ),
        "`latitude` is of type str": lambda: ef.fit(
            "naive-24",
            ef.City("Munich", "north", 11.58, "Europe/Berlin"),  # type: ignore[arg-type]
            load,
            at=NOW,
        ),
        "timezone: ": lambda: ef.fit("naive-24", ef.City("Munich", 48.14, 11.58, "Mars"), load, at=NOW),
        "`seed` is negative": lambda: ef.fit("naive-24", CITY, load, at=NOW, seed=-1),
        "`members` is not a list of base models: []": lambda: Ensemble([]),
        "`members` is not a list of base models: ['linear']": lambda: Ensemble(["linear"]),  # type: ignore[list-item]
        "The name 'linear' belongs to a built-in model": lambda: ef.fit(Ensemble(name="linear"), CITY, load, at=NOW),
        "`end` must be later than `start`": lambda: loaded.history("Munich", NOW, early),
        "`as_of` is in the future": lambda: loaded.history("Munich", as_of="2100-01-01T00:00Z"),
        f"Cannot write `path` {tmp_path}/munich.png": lambda: Chart("", "").save(tmp_path / "munich.png"),
        f"Cannot write `path` {tmp_path}/no/munich.html": lambda: Chart("", "").save(tmp_path / "no" / "munich.html"),
        "There is no city 'Berlin'. See: Platform.cities()": lambda: loaded.forecast("Berlin"),
        "frame: no column city; found: timestamp, consumption_kwh. Name the columns: ": lambda: loaded.ingest(
            "consumption", load.drop("city")
        ),
        "`source` is of type LazyFrame": lambda: loaded.ingest("consumption", load.lazy()),  # type: ignore[arg-type]
    }
    for message, call in calls.items():
        with pytest.raises(ef.EnergyForecastError) as caught:
            call()
        assert str(caught.value).startswith(message), str(caught.value)
    notes = model.predict(load, issued_at=early).notes
    assert "The model was trained on data up to 2026-06-01 00:00Z, after the issue time." in notes
    with pytest.raises(ef.EnergyForecastError, match="Check `url`"):
        ef.connect("nonsense")


def test_closed_platform_holds_no_connection(database: Database, db: ef.Platform) -> None:
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    db.ingest("consumption", load_frame())
    db.forecast("Munich", model="naive-24", at=NOW)
    with pytest.raises(UnknownCityError):
        db.forecast("Nowhere")
    with psycopg.connect(database.url, autocommit=True) as connection:
        assert connection.execute(others).fetchone() == (1,), "an open one keeps its connections for the next call"
        db.close()
        db.close()
        until = time.monotonic() + 10
        while connection.execute(others).fetchone() != (0,):
            assert time.monotonic() < until
            time.sleep(0.02)
    assert repr(db) == "<Platform, closed>"
    with pytest.raises(ef.EnergyForecastError, match=r"This platform is closed. Call connect\(\) again"):
        db.cities()


def test_two_platforms_at_once(db: ef.Platform, server: Server, template: str) -> None:
    with server.copy_of(template) as other, ef.connect(other.url) as second:
        second.add_city("Oslo", latitude=59.91, longitude=10.75, timezone="Europe/Oslo", country="Norway")
        db.ingest("consumption", load_frame())
        second.ingest("consumption", load_frame("Oslo"))
        assert [city.name for city in db.cities()] == ["Munich"]
        assert [city.name for city in second.cities()] == ["Oslo"]
        assert_frame_equal(db.history("Munich"), second.history("Oslo"))
        assert repr(db) != repr(second)


def test_adding_a_city_again_changes_nothing(db: ef.Platform) -> None:
    added = db.add_city("munich", latitude=48.14, longitude=11.58, timezone="Europe/Berlin")
    assert added == db.cities()[0]
    assert (added.name, added.country_code, added.subdivision) == ("Munich", "DE", "BY")
    with pytest.raises(IngestError, match="Munich"):
        db.add_city("Munich", latitude=10, longitude=10, timezone="Asia/Tokyo")


def test_imports_cities_of_a_frame(db: ef.Platform) -> None:
    frame = pl.DataFrame(
        {
            "name": ["Munich", "Oslo", "Nowhere"],
            "latitude": [48.14, 59.91, 91.0],
            "longitude": [11.58, 10.75, 0.0],
            "timezone": ["Europe/Berlin", "Europe/Oslo", "UTC"],
            "country_code": ["DE", "NO", None],
        }
    )
    report = db.import_cities(as_pandas_table(frame))
    assert (report.inserted, report.unchanged, report.rejected) == (1, 1, 1)
    assert [city.name for city in db.cities()] == ["Munich", "Oslo"]
    with pytest.raises(IngestError, match="The only row was rejected"):
        db.import_cities(frame.tail(1))


def test_embedded_server_starts_on_connect(open_folder: Path) -> None:
    from energy_forecast.postgres import EmbeddedServer

    home = open_folder / "notebook"
    try:
        with ef.connect(home=home) as db:
            assert db.cities() == []
        assert EmbeddedServer(home).status().running, "the next program uses it"
    finally:
        EmbeddedServer(home).stop()
