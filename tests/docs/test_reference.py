"""docs/reference says what is true."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import energy_forecast
from energy_forecast.database import Database
from energy_forecast.database.catalog import describe_tables
from energy_forecast.ingest.datasets import DATASETS, Dataset

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_program_says(generate: ModuleType, database: Database) -> None:
    """Mend it with `make docs`."""
    for name, text in generate.pages(database).items():
        assert (DOCS / name).read_text("utf-8") == text, name


def test_every_table_is_in_a_diagram(database: Database) -> None:
    diagrams = (DOCS / "database_schema.md").read_text("utf-8")
    drawn = {
        name for names in re.findall(r"<!-- diagram: (?!relations)(.*?) -->", diagrams) for name in names.split(", ")
    }
    assert drawn == {table.name for table in describe_tables(database)}


def test_every_public_name_is_in_the_python_reference() -> None:
    page = (DOCS / "reference" / "python.md").read_text("utf-8")
    documented = set(re.findall(r"^::: energy_forecast\.(\w+)$", page, re.MULTILINE))
    assert {name for name in energy_forecast.__all__ if name != "__version__"} <= documented


def test_every_command_has_an_example(generate: ModuleType) -> None:
    sections = generate.commands().split("\n## ")[1:]
    assert len(sections) >= 19
    for section in sections:
        assert "```\nenergy-forecast" in section or '```\npsql "$(energy-forecast' in section, section


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: str(dataset.name))
def test_command_names_columns_of_its_files(generate: ModuleType, dataset: Dataset) -> None:
    (section,) = re.findall(
        rf"^## energy-forecast ingest {dataset.name}\n(.*?)^```", generate.commands(), re.MULTILINE | re.DOTALL
    )
    required, optional = section.split("Optional:")
    assert all(name in required for name in dataset.required)
    assert all(name in optional for name in dataset.optional)


def test_an_option_with_an_opposite_shows_both(generate: ModuleType) -> None:
    assert "`--check`, `--no-check`" in generate.commands()
