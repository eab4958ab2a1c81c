"""Conventions of the source that import-linter and Ruff cannot check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import energy_forecast
from energy_forecast.database.schema import folder, migrations

PACKAGE = Path(energy_forecast.__file__).parent
MODULES = {path.relative_to(PACKAGE): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string; values in an f-string are shown as {}."""
    parts: set[ast.AST] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts.update(node.values)
            yield node.lineno, "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.lineno, node.value


def test_python_has_no_sql() -> None:
    """Statements are in sql/queries/*.sql, where a test prepares them; Python composes identifiers only."""
    statement = re.compile(r"\s*(?:SELECT|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|CREATE\s+TABLE)\s")
    found = [
        f"{module}:{line}"
        for module, source in MODULES.items()
        if module.parts != ("database", "migrate.py")  # It runs before any schema exists
        for line, text in strings(source)
        if statement.match(text)
    ]
    assert found == []


def test_lower_packages_name_no_options() -> None:
    """Messages name parameters, such as `first`, which cli/option_names.py translates, or whole commands."""
    command = re.compile(r"\b(?:energy-forecast|pgbackrest|pip) .*")
    found = [
        f"{module}:{line}: {text}"
        for module, source in MODULES.items()
        if module.parts[0] not in {"cli", "web"}
        for line, text in strings(source)
        if re.search(r"[\s(]--[a-z]", command.sub("", text))
    ]
    assert found == []


def test_forecasting_reads_no_clock() -> None:
    """The time of issue is a parameter, so that a backtest computes the same as the live forecast."""
    clock = re.compile(r"\b(?:datetime|date)\.(?:now|utcnow|today)\b")
    found = [
        str(module) for module, source in MODULES.items() if module.parts[0] == "forecasting" and clock.search(source)
    ]
    assert found == []


def test_only_the_pinned_zone_rules_convert_times() -> None:
    """Other rules, such as those of polars or of the system, would give other local times."""
    found = [
        f"{module}: {call[0]}"
        for module, source in MODULES.items()
        if module.parts != ("zones.py",)
        for call in re.finditer(
            r"ZoneInfo\(|ZoneInfo\.from_file|available_timezones"
            r"|(?:convert|replace)_time_zone\((?!\"UTC\"\)|None\)).*",
            source,
        )
    ]
    assert found == []


def test_modules_are_named_by_their_subject() -> None:
    vague = {"utils", "util", "helpers", "common", "manager", "base", "misc"}
    assert [str(module) for module in MODULES if vague & {*module.parts[:-1], module.stem}] == []


def test_command_line_starts_without_heavy_libraries() -> None:
    """`--help` and a wrong command answer at once; commands import what they need, and no module of another command."""
    heavy = {"polars", "numpy", "xgboost", "jinja2", "holidays"}
    program = f"""
import sys
from typer.main import get_command
from energy_forecast.cli.app import app
commands = get_command(app).commands
before = set(sys.modules)
assert len(dict(commands)) == len(commands) > 10
print(sorted({heavy} & set(sys.modules)), sorted({{"psycopg", "energy_forecast.cli.db"}} & before))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[] []"


def test_migrations_have_no_holes() -> None:
    """A missing number would look like a lost file."""
    numbers = [migration.version for migration in migrations()]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_names_each_routine_file_after_its_object() -> None:
    """A reader finds the text of a function by its name, in the folder of its schema."""
    misnamed = []
    for schema in ("public", "ops"):
        (inside,) = (f for f in (folder() / "routines").iterdir() if f.name.endswith(f"{schema}_functions"))
        for file in inside.iterdir():
            prefix = r"(?:public\.)?" if schema == "public" else r"ops\."
            created = re.findall(rf"^CREATE OR REPLACE (?:FUNCTION|PROCEDURE) {prefix}(\w+)\(", file.read_text(), re.M)
            if created != [file.name.removesuffix(".sql")]:
                misnamed.append(file.name)
    # One text for the four functions of observed values and their revisions
    assert misnamed == ["audit_value_funcs.sql"]
