"""Plugins: found by their entry point, rejected if invalid."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_forecast.errors import ModelFaultError, UnknownModelError
from energy_forecast.forecasting import Forecast, ForecastInput, fit, load_model, model_by_name, model_names
from energy_forecast.forecasting.registry import _loaded

from .conftest import PUNE, START, assert_well_formed, make_record

Install = Callable[[str, str], None]

FLAT = '''
from energy_forecast.forecasting import FittedForecaster
from energy_forecast.forecasting.conformal.training import ConformalForecaster
from energy_forecast.forecasting.models.naive import Naive

class Fortnight(ConformalForecaster):
    """A model that repeats the same hour of two weeks before."""
    def __init__(self):
        super().__init__(Naive("fortnight", 14, 28 * 24))

broken = object()

class Faulty(Fortnight):
    """A model whose forecasts are changed by `fault`."""
    fault = staticmethod(lambda made: made)
    def fit(self, data):
        fitted = super().fit(data)
        class Fit(FittedForecaster):
            name, parameters, history_days = fitted.name, fitted.parameters, fitted.history_days
            def to_bytes(self):
                return fitted.to_bytes()
            def predict(self, data):
                return Faulty.fault(fitted.predict(data))
        return Fit()

class Failing(Fortnight):
    def fit(self, data):
        raise KeyError("boom")
'''
HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "own-model.md"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a module and its distribution on the path, as pip does."""

    def put(name: str, value: str) -> None:
        (tmp_path / "fortnight_model.py").write_text(FLAT)
        (tmp_path / "lastweeks.py").write_text(HOWTO.read_text().split("```python\n")[1].split("```")[0])
        info = tmp_path / "fortnight_model-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fortnight-model\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[energy_forecast.models]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "fortnight_model", raising=False)
        _loaded.cache_clear()

    return put


def test_plugin_is_fitted_stored_and_forecasts(install: Install) -> None:
    own = model_names()
    install("fortnight", "fortnight_model:Fortnight")
    assert model_names() == [*own, "fortnight"]
    record = make_record(PUNE, 44)
    at = START + timedelta(days=40)
    model = fit("fortnight", PUNE, *record.before(at), at=at)
    again = load_model("fortnight", model.to_bytes())
    made = again.predict(ForecastInput(*record.before(at), record.weather.clear(), at, 48))
    assert_well_formed(made.frame, at, 48)
    kwh = dict(record.load.iter_rows())
    assert made.frame["predicted"][0] == kwh[at - timedelta(days=14)]


@pytest.mark.parametrize("value", ["fortnight_model:broken", "fortnight_model:absent", "no_such_module:Model"])
def test_rejects_invalid_plugin(install: Install, value: str) -> None:
    install("fortnight", value)
    with pytest.raises(UnknownModelError, match="fortnight"):
        model_by_name("fortnight")


def test_plugin_cannot_replace_built_in_model(install: Install) -> None:
    install("ensemble", "fortnight_model:Fortnight")
    assert model_names().count("ensemble") == 1
    assert model_by_name("ensemble").kind == "ensemble"


def test_example_of_the_howto_is_valid(install: Install) -> None:
    """The code of the page is run for a city without weather, at an issue time inside an hour."""
    install("lastweeks", "lastweeks:LastWeeks")
    record = make_record(PUNE, 60)
    at = START + timedelta(days=50, minutes=20)
    model = fit("lastweeks", PUNE, *record.before(at), at=at)
    again = load_model("lastweeks", model.to_bytes())
    made = again.predict(ForecastInput(*record.before(at), record.weather.clear(), at, 168))
    assert_well_formed(made.frame, at + timedelta(minutes=40), 168)
    assert again.to_bytes() == model.to_bytes()
    actual = made.frame.join(record.load, on="timestamp")
    assert (actual["consumption_kwh"] / actual["predicted"] - 1).abs().mean() < 0.2  # type: ignore[operator]


def test_plugin_exception_names_its_package(install: Install) -> None:
    install("fortnight", "fortnight_model:Failing")
    record = make_record(PUNE, 44)
    with pytest.raises(ModelFaultError, match=r"'fortnight' of the package fortnight-model failed in fit: KeyError"):
        fit("fortnight", PUNE, record.load, record.weather, at=START + timedelta(days=40))


def test_plugin_must_return_a_fitted_forecaster(install: Install) -> None:
    install("fortnight", "fortnight_model:Failing")
    model = model_by_name("fortnight")
    sys.modules["fortnight_model"].Failing.fit = lambda _self, data: data
    record = make_record(PUNE, 10)
    with pytest.raises(ModelFaultError, match="it returned a TrainingInput, not a FittedForecaster"):
        fit(model, PUNE, record.load, record.weather, at=START + timedelta(days=9))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda made: replace(made, frame=made.frame.drop("q50")), "no column q50"),
        (lambda made: replace(made, frame=made.frame.head(47)), "48 requested hours"),
        (lambda made: replace(made, frame=made.frame.with_columns(q05=pl.lit(math.nan))), "NaN"),
        (lambda made: replace(made, frame=made.frame.with_columns(q05=pl.lit(-1.0))), "negative"),
        (lambda made: replace(made, frame=made.frame.with_columns(q05=pl.col("q95") + 1)), "not in order"),
        (lambda made: replace(made, stale_hours=None), "stale_hours is None"),
        (lambda made: replace(made, weather_hours=-1), "weather_hours is -1"),
        (lambda made: replace(made, notes="no weather"), "notes is not a list"),
        (lambda made: made.frame, "failed in predict: AttributeError"),
    ],
)
def test_rejects_invalid_plugin_forecast(install: Install, fault: Callable[[Forecast], object], message: str) -> None:
    install("fortnight", "fortnight_model:Faulty")
    record = make_record(PUNE, 44)
    at = START + timedelta(days=40)
    model = fit("fortnight", PUNE, *record.before(at), at=at)
    known = (*record.before(at), record.weather.clear())
    assert model.predict(ForecastInput(*known, at, 48)).frame.height == 48
    sys.modules["fortnight_model"].Faulty.fault = staticmethod(fault)
    with pytest.raises(ModelFaultError, match=message):
        model.predict(ForecastInput(*known, at, 48))
