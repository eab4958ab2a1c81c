"""Models of other packages: found by their entry point, refused when they are none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from energy_forecast.errors import UnknownModelError
from energy_forecast.forecasting import fit, load, model_by_name, model_names
from energy_forecast.forecasting.registry import _loaded

from .conftest import PUNE, START, assert_well_formed, make_record

Install = Callable[[str, str], None]

FLAT = '''
from energy_forecast.forecasting.fitting import Calibrated
from energy_forecast.forecasting.models.naive import Naive

class Fortnight(Calibrated):
    """Repeats the same hour of two weeks before."""
    def __init__(self):
        method = Naive(14, 28 * 24)
        method.name = "fortnight"
        super().__init__(method)

broken = object()
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution beside a module on the path, as pip would."""

    def put(name: str, value: str) -> None:
        (tmp_path / "fortnight_model.py").write_text(FLAT)
        info = tmp_path / "fortnight_model-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fortnight-model\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[energy_forecast.models]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "fortnight_model", raising=False)
        _loaded.cache_clear()

    return put


def test_an_installed_packages_model_is_fitted_kept_and_forecasts(install: Install) -> None:
    own = model_names()
    install("fortnight", "fortnight_model:Fortnight")
    assert model_names() == [*own, "fortnight"]
    record = make_record(PUNE, 44)
    at = START + timedelta(days=40)
    model = fit("fortnight", PUNE, *record.before(at), at=at)
    again = load("fortnight", model.save())
    made = again.forecast(*record.before(at), record.weather.clear(), issued_at=at, horizon_hours=48)
    assert_well_formed(made.frame, at, 48)
    kwh = dict(record.load.iter_rows())
    assert made.frame["predicted"][0] == kwh[at - timedelta(days=14)]


@pytest.mark.parametrize("value", ["fortnight_model:broken", "fortnight_model:absent", "no_such_module:Model"])
def test_what_is_no_model_is_refused_by_name_and_place(install: Install, value: str) -> None:
    install("fortnight", value)
    with pytest.raises(UnknownModelError, match="fortnight"):
        model_by_name("fortnight")


def test_no_package_can_take_a_name_of_ours(install: Install) -> None:
    install("ensemble", "fortnight_model:Fortnight")
    assert model_names().count("ensemble") == 1
    assert model_by_name("ensemble").kind == "ensemble"
