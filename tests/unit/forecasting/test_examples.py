"""The examples in the docstrings of the public functions run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["", ".registry", ".data.resample"])
def test_docstring_examples_run(module: str) -> None:
    found = doctest.testmod(import_module(f"energy_forecast.forecasting{module}"))
    assert found.attempted
    assert not found.failed
