"""The house: data flows one way, and a folder imports only from folders below it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import energy_forecast

PACKAGE = Path(energy_forecast.__file__).parent
# From the roof to the ground; "" is the modules of the package itself
FLOORS = ["cli", "web", "operations", "pipelines", "forecasting", "ingest", "sources", "database", "postgres", ""]
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def floor_of(module: Path) -> str:
    return module.parts[0] if len(module.parts) > 1 else ""


def imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((PACKAGE / module).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_folder_imports_only_from_folders_below_it(module: Path) -> None:
    own = FLOORS.index(floor_of(module))
    for name in imports(module):
        parts = name.split(".")
        if parts[0] != "energy_forecast" or len(parts) < 2:
            continue
        target = parts[1] if parts[1] in FLOORS else ""
        assert FLOORS.index(target) >= own, f"{module} imports {name}, which is above it"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_only_the_database_folder_imports_the_driver(module: Path) -> None:
    drivers = {name.split(".")[0] for name in imports(module)} & {"psycopg", "sqlalchemy", "alembic"}
    assert not drivers or floor_of(module) == "database"


def test_forecasting_is_pure() -> None:
    """Frames in, frames out: what it cannot reach cannot leak into it."""
    outside = {"socket", "urllib", "http", "subprocess", "time", "requests", "httpx", "pathlib", "os"}
    for module in (m for m in MODULES if floor_of(m) == "forecasting"):
        names = set(imports(module))
        assert not {name.split(".")[0] for name in names} & outside, module
        own = {name for name in names if name.startswith("energy_forecast.")}
        allowed = tuple(f"energy_forecast.{name}" for name in ("forecasting", "errors", "local_times", "zones"))
        assert all(name.startswith(allowed) for name in own), module
        source = (PACKAGE / module).read_text("utf-8")
        assert "datetime.now" not in source, module
        assert "utcnow" not in source, module


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_python_holds_no_sql(module: Path) -> None:
    """Statements stand in queries/*.sql; Python composes identifiers only."""
    if module.parts[0] == "database" and module.name == "migrate.py":
        return  # runs before any schema is there
    for node in ast.walk(ast.parse((PACKAGE / module).read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.split()
            assert words[:1] != ["SELECT"], f"{module}:{node.lineno}"
            assert words[:2] not in (["INSERT", "INTO"], ["DELETE", "FROM"], ["CREATE", "TABLE"]), (
                f"{module}:{node.lineno}"
            )


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_only_the_pinned_rules_convert_times(module: Path) -> None:
    """A second source of zone rules, such as polars' own, would give other local times than the first."""
    if module.name == "zones.py" and len(module.parts) == 1:
        return
    source = (PACKAGE / module).read_text("utf-8")
    assert not re.search(r"ZoneInfo\(|available_timezones|ZoneInfo\.from_file", source), module
    for call in re.findall(r"(?:convert|replace)_time_zone\(([^)]*)\)", source):
        assert call in ('"UTC"', "None"), f"{module} converts by the rules of polars"


def test_every_package_folder_is_in_the_house() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(FLOORS) - {""}


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    """They are imported by the commands that need them: `--help`, or a typo, must not wait for them."""
    heavy = "{'polars', 'numpy', 'xgboost', 'alembic', 'sqlalchemy', 'plotly', 'holidays'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import energy_forecast.cli.app, sys; print(sorted({heavy} & set(sys.modules)))"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"
