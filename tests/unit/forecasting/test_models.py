"""All models: no leaks, valid forecasts, determinism, and bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from energy_forecast.errors import ArtifactError, NotEnoughDataError, UnknownModelError
from energy_forecast.forecasting import City, FittedForecaster, ForecastInput, fit, load_model, model_names
from energy_forecast.forecasting.blas import one_blas_thread
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.serialization import pack, unpack
from energy_forecast.pipelines import usable_processors

from .conftest import BERLIN, FITTED_AT, MODELS, PUNE, START, Record, assert_well_formed, make_record

Fitted = Callable[[str], FittedForecaster]
ISSUED = FITTED_AT + timedelta(days=10, hours=7)


def issue(model: FittedForecaster, record: Record, issued: datetime = ISSUED, hours: int = 48, **frames: pl.DataFrame):  # type: ignore[no-untyped-def]
    past = record.before(issued)
    given = {"load": past[0], "weather": past[1], "weather_ahead": record.weather_from(issued), **frames}
    return model.predict(ForecastInput(given["load"], given["weather"], given["weather_ahead"], issued, hours))


def test_model_names_are_stable() -> None:
    assert model_names() == ["naive-24", "naive-168", "vanilla", "linear", "gradient-boosting", "ensemble"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("hours", [1, 24, 168])
def test_forecast_is_valid(name: str, hours: int, fitted: Fitted, berlin: Record) -> None:
    forecast = issue(fitted(name), berlin, hours=hours)
    assert_well_formed(forecast.frame, ISSUED, hours)
    assert forecast.weather_hours == (0 if name.startswith("naive") else hours)
    assert not any("No weather" in note or "last known load" in note for note in forecast.notes)


@pytest.mark.parametrize("name", MODELS)
def test_forecast_ignores_future_values(name: str, fitted: Fitted, berlin: Record) -> None:
    """Future values that leak into the input are not used."""
    honest = issue(fitted(name), berlin)
    late = pl.col("timestamp") >= ISSUED
    planted = berlin.load.with_columns(
        pl.when(late).then(99_999.0).otherwise("consumption_kwh").alias("consumption_kwh")
    )
    warm = berlin.weather.with_columns(pl.when(late).then(40.0).otherwise("temperature").alias("temperature"))
    leaky = issue(fitted(name), berlin, load=planted, weather=warm)
    assert leaky.frame.equals(honest.frame)


@pytest.mark.parametrize("name", MODELS)
def test_fit_ignores_future_values(name: str, fitted: Fitted, berlin: Record) -> None:
    late = pl.col("timestamp") >= FITTED_AT
    planted = berlin.load.with_columns(pl.when(late).then(9.0).otherwise("consumption_kwh").alias("consumption_kwh"))
    assert fit(name, BERLIN, planted, berlin.weather, at=FITTED_AT).to_bytes() == fitted(name).to_bytes()


@pytest.mark.parametrize("name", MODELS)
def test_model_survives_round_trip(name: str, fitted: Fitted, berlin: Record) -> None:
    model = fitted(name)
    again = load_model(name, model.to_bytes())
    assert again.to_bytes() == model.to_bytes()
    assert again.parameters == model.parameters
    assert issue(again, berlin).frame.equals(issue(model, berlin).frame)


@pytest.mark.parametrize("name", MODELS)
def test_older_history_changes_nothing(name: str, fitted: Fitted, berlin: Record) -> None:
    """Data older than `history_days` changes no bit."""
    model = fitted(name)
    oldest = ISSUED - timedelta(days=model.history_days)
    frames = [frame.filter(pl.col("timestamp") >= oldest) for frame in berlin.before(ISSUED)]
    assert issue(model, berlin, load=frames[0], weather=frames[1]).frame.equals(issue(model, berlin).frame)


def test_naive_models_repeat_day_and_week(fitted: Fitted, berlin: Record) -> None:
    kwh = dict(berlin.load.iter_rows())
    day, week = (issue(fitted(name), berlin, hours=168).frame for name in ("naive-24", "naive-168"))
    for i, (moment, one, other) in enumerate(zip(day["timestamp"], day["predicted"], week["predicted"], strict=True)):
        assert one == kwh[moment - timedelta(days=1 + i // 24)]
        assert other == kwh[moment - timedelta(days=7)]


@pytest.mark.parametrize("model", ["gradient-boosting", "ensemble"])
def test_trained_models_beat_baselines_and_cover(model: str, fitted: Fitted, berlin: Record) -> None:
    """The noise is 2 % of the load, so no model can be better than a MAPE of 0.02 * 0.8 = 1.6."""
    mape, inside = {}, []
    for name in ("naive-24", "naive-168", model):
        frames = [
            issue(fitted(name), berlin, FITTED_AT + timedelta(days=day, hours=5 * day % 24), 24).frame
            for day in range(1, 38)
        ]
        result = pl.concat(frames).join(berlin.load, on="timestamp")
        mape[name] = metrics.mape(result["consumption_kwh"], result["predicted"])
        inside.append(metrics.coverage(result["consumption_kwh"], result["q05"], result["q95"]))
    assert mape[model] < 0.85 * min(mape["naive-24"], mape["naive-168"])
    assert inside[-1] == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("name", ["vanilla", "linear", "gradient-boosting", "ensemble"])
def test_missing_weather_falls_back_with_note(name: str, fitted: Fitted, berlin: Record) -> None:
    none = issue(fitted(name), berlin, weather_ahead=berlin.weather.clear())
    assert_well_formed(none.frame, ISSUED, 48)
    assert none.weather_hours == 0
    assert "No weather is known for 48 of 48 hours" in none.notes[0]
    day = berlin.weather_from(ISSUED).head(24)
    some = issue(fitted(name), berlin, weather_ahead=day)
    assert some.weather_hours == 24
    whole = issue(fitted(name), berlin)
    assert some.frame.head(24).equals(whole.frame.head(24))
    # After the end of the weather its effect fades
    apart = (some.frame["predicted"] / none.frame["predicted"]).tail(24).to_numpy() - 1
    assert 0 < np.abs(np.diff(apart)).max() < 0.01
    assert np.abs(np.diff(apart))[-6:].max() < 1e-3
    for quantile in ("q05", "q95"):
        ratio = (some.frame[quantile] / none.frame[quantile]).tail(24).to_numpy()
        assert ratio == pytest.approx(1 + apart)


@pytest.mark.parametrize("name", MODELS)
def test_stale_load_widens_interval_with_note(name: str, fitted: Fitted, berlin: Record) -> None:
    fresh = issue(fitted(name), berlin, hours=24)
    stale = issue(fitted(name), berlin, hours=24, load=berlin.before(ISSUED - timedelta(hours=50))[0])
    assert_well_formed(stale.frame, ISSUED, 24)
    assert "50 hours before" in stale.notes[0]
    if name in ("gradient-boosting", "ensemble"):
        width = [(f.frame["q95"] - f.frame["q05"]).mean() for f in (fresh, stale)]
        assert width[1] > width[0]


@pytest.mark.parametrize("name", MODELS)
def test_forecasts_without_last_weeks_of_fit(name: str, fitted: Fitted, berlin: Record) -> None:
    """A meter may be found faulty for weeks after the model was trained on its load."""
    known = berlin.before(ISSUED - timedelta(days=40))[0]
    assert_well_formed(issue(fitted(name), berlin, load=known).frame, ISSUED, 48)


def test_rejects_empty_load(fitted: Fitted, berlin: Record) -> None:
    with pytest.raises(NotEnoughDataError, match="Berlin"):
        issue(fitted("naive-24"), berlin, load=berlin.load.clear())


@pytest.mark.parametrize("name", MODELS)
def test_three_weeks_are_enough(name: str) -> None:
    record = make_record(PUNE, 24, seed=4)
    at = START + timedelta(days=21)
    model = fit(name, record.city, *record.before(at), at=at)
    forecast = issue(model, record, at, 48)
    assert_well_formed(forecast.frame, at, 48)
    result = forecast.frame.join(record.load, on="timestamp")
    assert metrics.mape(result["consumption_kwh"], result["predicted"]) < 12


@pytest.mark.parametrize("name", MODELS)
def test_short_load_error_has_both_numbers(name: str) -> None:
    record = make_record(PUNE, 5)
    at = START + timedelta(days=5)
    with pytest.raises(NotEnoughDataError, match=r"Pune has 120 usable hours of load, and .* needs \d+ \(\d+ days\)"):
        fit(name, record.city, *record.before(at), at=at)


def test_unknown_model_error_lists_names() -> None:
    record = make_record(PUNE, 2)
    with pytest.raises(UnknownModelError, match="naive-168"):
        fit("prophet", record.city, record.load, record.weather, at=START)


@pytest.mark.parametrize("name", ["vanilla", "linear", "gradient-boosting", "ensemble"])
def test_forecasts_city_without_weather_and_holidays(name: str) -> None:
    city = City("nowhere", 0.0, 0.0, "Etc/UTC")
    record = make_record(city, 70, seed=2)
    draw = np.random.default_rng(0)
    holes = record.load.filter(pl.Series(draw.random(record.load.height) > 0.2))
    at = START + timedelta(days=60, hours=3)
    empty = record.weather.clear()
    model = fit(name, city, holes, empty, at=at)
    past = holes.filter(pl.col("timestamp") < at)
    forecast = model.predict(ForecastInput(past, empty, empty, at, 168))
    assert_well_formed(forecast.frame, at, 168)
    assert forecast.weather_hours == 0
    assert model.parameters["missing_hours"] > 200


@pytest.mark.parametrize("name", MODELS)
def test_spike_hardly_moves_forecast(name: str, fitted: Fitted, berlin: Record) -> None:
    clean = issue(fitted(name), berlin)
    when = ISSUED - timedelta(hours=30)
    spike = berlin.load.with_columns(
        pl.when(pl.col("timestamp") == when).then(1_000_000.0).otherwise("consumption_kwh").alias("consumption_kwh")
    )
    dirty = issue(fitted(name), berlin, load=spike.filter(pl.col("timestamp") < ISSUED))
    assert any("1 faulty hour of" in note for note in dirty.notes)
    change = (dirty.frame["predicted"] / clean.frame["predicted"] - 1).abs()
    assert change.median() < 0.02
    assert change.max() < 0.3


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("days", [24, 70])
def test_forecasts_after_stuck_meter(name: str, days: int) -> None:
    """Three days of a constant value up to the issue time."""
    record = make_record(PUNE, days + 3, seed=3)
    at = START + timedelta(days=days)
    stuck = pl.col("timestamp").is_between(at - timedelta(days=3), at, closed="left")
    load = record.load.with_columns(pl.when(stuck).then(1000.0).otherwise("consumption_kwh").alias("consumption_kwh"))
    record = record._replace(load=load)
    assert_well_formed(issue(fit(name, PUNE, *record.before(at), at=at), record, at).frame, at, 48)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("least", [0.0, 1e-9], ids=["zero", "near zero"])
def test_forecasts_nights_near_zero(name: str, least: float) -> None:
    """A site that is closed at night: its load then is nearly zero."""
    record = make_record(PUNE, 63, seed=3)
    at = START + timedelta(days=60)
    night = pl.col("timestamp").dt.convert_time_zone(PUNE.timezone).dt.hour() < 6
    load = record.load.with_columns(pl.when(night).then(least).otherwise("consumption_kwh").alias("consumption_kwh"))
    record = record._replace(load=load)
    frame = issue(fit(name, PUNE, *record.before(at), at=at), record, at).frame
    assert_well_formed(frame, at, 48)
    resting = frame.join(load, on="timestamp").filter(night)
    assert resting["predicted"].max() < 300


@pytest.mark.parametrize("name", MODELS)
def test_forecasts_constant_load(name: str) -> None:
    """All errors are zero: the interval has nearly no width, without a division by zero."""
    record = make_record(PUNE, 63, seed=3)
    at = START + timedelta(days=60)
    record = record._replace(load=record.load.with_columns(consumption_kwh=pl.lit(500.0)))
    frame = issue(fit(name, PUNE, *record.before(at), at=at), record, at).frame
    assert_well_formed(frame, at, 48)
    assert frame["predicted"].to_numpy() == pytest.approx(np.full(48, 500.0), rel=0.01)


def test_forecast_starts_with_next_full_hour(fitted: Fitted, berlin: Record) -> None:
    """At 07:30 the hour from 07:00 is in progress: targets begin at 08:00."""
    issued = ISSUED + timedelta(minutes=30)
    assert_well_formed(issue(fitted("vanilla"), berlin, issued).frame, ISSUED + timedelta(hours=1), 48)


@pytest.mark.parametrize("hours", [0, 169])
def test_rejects_horizon_out_of_range(hours: int, fitted: Fitted, berlin: Record) -> None:
    with pytest.raises(ValueError, match="horizon_hours"):
        issue(fitted("naive-24"), berlin, hours=hours)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:0], lambda b: b[:-20], lambda b: b[:60] + b"\x00\x01" + b[62:], lambda b: b"PK" + b]
)
def test_rejects_damaged_artifact(damage: Callable[[bytes], bytes], fitted: Fitted) -> None:
    with pytest.raises(ArtifactError):
        load_model("vanilla", damage(fitted("vanilla").to_bytes()))


def test_rejects_artifact_of_another_model(fitted: Fitted) -> None:
    with pytest.raises(ArtifactError, match="naive-24"):
        load_model("vanilla", fitted("naive-24").to_bytes())


def test_rejects_an_ensemble_without_residual_correction(fitted: Fitted) -> None:
    header, arrays = unpack(fitted("ensemble").to_bytes())
    older = {name: array for name, array in arrays.items() if not name.endswith("/residual_coefficients")}
    assert len(older) < len(arrays)
    with pytest.raises(ArtifactError) as refused:
        load_model("ensemble", pack(header, older))
    assert "train the model again" in str(refused.value.hint).lower()


def test_rejects_an_ensemble_of_an_older_layout(fitted: Fitted) -> None:
    header, arrays = unpack(fitted("ensemble").to_bytes())
    for state in header["variants"].values():
        state["n"] = state.pop("errors")
    with pytest.raises(ArtifactError) as refused:
        load_model("ensemble", pack(header, arrays))
    assert "train the model again" in str(refused.value.hint).lower()


def test_artifact_depends_on_content_only() -> None:
    arrays = {"b": np.arange(6.0).reshape(2, 3), "a": np.zeros(0)}
    header, back = unpack(pack({"x": 1}, arrays))
    assert header == {"x": 1}
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)
    assert pack({"x": 1}, arrays) == pack({"x": 1}, dict(reversed(arrays.items())))


FIT_WITH_NUMPY_FIRST = """
import numpy, sys
from datetime import datetime
from pathlib import Path
import polars, threadpoolctl
from energy_forecast.forecasting import City, fit

def threads():
    return [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]

folder = Path(sys.argv[1])
before = threads()
load, weather = (polars.read_parquet(folder / name) for name in ("load", "weather"))
city = City("Berlin", 52.52, 13.4, "Europe/Berlin", "DE", "BE")
model = fit("vanilla", city, load, weather, at=datetime.fromisoformat(sys.argv[2]))
(folder / "artifact").write_bytes(model.to_bytes())
print(before, threads())
"""


@pytest.mark.skipif(usable_processors() < 2, reason="BLAS uses at most one thread a processor")
def test_fit_uses_one_blas_thread(fitted: Fitted, berlin: Record, tmp_path: Path) -> None:
    """Several threads add in another order, so that the same data gave another model."""
    for name, frame in zip(("load", "weather"), berlin.before(FITTED_AT), strict=True):
        frame.write_parquet(tmp_path / name)
    command = [sys.executable, "-c", FIT_WITH_NUMPY_FIRST, str(tmp_path), FITTED_AT.isoformat()]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[2] [2]\n"
    assert (tmp_path / "artifact").read_bytes() == fitted("vanilla").to_bytes()


def test_overlapping_limits_restore_the_blas_threads() -> None:
    """The first of several threads to end must not lift the limit of the others."""
    both_inside, first_ended = Barrier(2), Event()

    def limited(last: bool) -> list[int]:
        with one_blas_thread:
            both_inside.wait(10)
            if last:
                first_ended.wait(10)
            return blas_threads()

    with threadpool_limits(2, "blas"), ThreadPoolExecutor(2) as pool:
        last = pool.submit(limited, True)
        pool.submit(limited, False).result()
        first_ended.set()
        assert last.result() == [1]
        assert blas_threads() == [2]


def blas_threads() -> list[int]:
    """Return the number of threads of numpy's library; other packages may bring more libraries."""
    return [one["num_threads"] for one in threadpool_info() if "numpy" in one["filepath"]]


@pytest.mark.parametrize("name", ["gradient-boosting", "ensemble"])
def test_parameters_compare_with_naive_168(name: str, fitted: Fitted) -> None:
    held_out = fitted(name).parameters["forecast_weather"]["held_out"]
    assert held_out["mape"] < 1.05 * held_out["naive_168_mape"]
    assert held_out["hours"] > 500


def test_note_if_worse_than_naive_168(fitted: Fitted, berlin: Record) -> None:
    model = fitted("naive-24")
    held_out = model.parameters["without_weather"]["held_out"]
    warned = any("worse than naive-168" in note for note in issue(model, berlin).notes)
    assert warned == (held_out["mape"] > held_out["naive_168_mape"])


def test_training_uses_the_last_five_years_only() -> None:
    """Memory and time do not grow with the record: seven years give the same forecast as their last five."""
    record = make_record(PUNE, 7 * 365)
    at = START + timedelta(days=7 * 365)
    load, weather = record.before(at)
    recent = pl.col("timestamp") >= at - timedelta(days=5 * 366)
    whole = fit("linear", PUNE, load, weather, at=at)
    last = fit("linear", PUNE, load.filter(recent), weather.filter(recent), at=at)
    data = ForecastInput(load, weather, weather.clear(), at, 48)
    assert whole.predict(data).frame.equals(last.predict(data).frame)
    assert whole.parameters["load_hours"] <= 5 * 366 * 24
