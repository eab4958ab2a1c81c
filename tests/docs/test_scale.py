"""The tables of the scale page are those that the benchmark computes from its constants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_tables_of_the_model() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "scale.py", "--model"], check=True, capture_output=True, text=True
    ).stdout
    assert printed in (ROOT / "docs" / "decisions" / "scale.md").read_text()
