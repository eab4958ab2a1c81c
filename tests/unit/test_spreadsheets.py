"""Text in CSV files: no cell is a formula, and nothing else changes."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_forecast.cli.output_files import write_frame
from energy_forecast.spreadsheets import guard_frame, guard_text

NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
SIGNS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\ufe66"]


@pytest.mark.parametrize("sign", SIGNS)
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(tmp_path: Path, sign: str) -> None:
    text = f"{sign}cmd|'/c calc'!A1"
    assert guard_text(text) == f"'{text}"
    write_frame(pl.DataFrame({"reason": [text], "kwh": [-1.5]}), tmp_path / "a.csv")
    cells = (tmp_path / "a.csv").read_bytes().decode().split("\n", 1)[1]
    assert cells.removeprefix('"').startswith("'")
    assert cells.rstrip("\n").endswith(",-1.5")


@pytest.mark.parametrize(
    "text", ["-5", "+5.25", "-1e-7", "12", "Pune", "", "Sao Paulo -3", "'=1", "2026-01-01T00:00:00Z"]
)
def test_numbers_keep_their_sign_and_other_texts_stay(text: str) -> None:
    assert guard_frame(pl.DataFrame({"a": [text, None]}))["a"].to_list() == [text, None]


@given(st.text(max_size=8))
def test_no_text_begins_like_a_formula_and_only_those_that_did_change(text: str) -> None:
    [guarded] = guard_frame(pl.DataFrame({"a": [text]}))["a"].to_list()
    assert guarded == (f"'{text}" if text[:1] in SIGNS or guard_text(text) != text else text) or NUMBER.fullmatch(text)
    assert guarded[:1] not in SIGNS or NUMBER.fullmatch(guarded)
