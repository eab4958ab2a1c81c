"""The tutorial, the page of the daily routine and the notebook page, run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from energy_forecast.postgres import EmbeddedServer

DOCS = Path(__file__).parents[2] / "docs"
# A notebook prints the value of the last expression of a cell
NOTEBOOK = """
import ast, sys
import polars
polars.Config.set_tbl_width_chars(100)
names = {}
for cell in sys.stdin.read().split("\\0"):
    *body, last = ast.parse(cell).body
    shown = isinstance(last, ast.Expr)
    exec(compile(ast.Module(body if shown else [*body, last], []), "cell", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names) if shown else None
    print(repr(value) if value is not None else "", end="\\0")
"""


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """Return the language and the text of each block of a page."""
    text = (DOCS / page).read_text("utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(language, block) for language, block in found if language in languages]


@pytest.fixture
def environment(open_folder: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Make a folder with the project's .venv, and a new state folder."""
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    home = open_folder / tmp_path.name
    yield os.environ | {"ENERGY_FORECAST_HOME": str(home), "LC_ALL": "C.UTF-8"}
    EmbeddedServer(home).stop()


def run(program: list[str], text: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a program with a text on standard input to its end."""
    done = subprocess.run(
        program, input=text, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def is_alike(printed: str, shown: str) -> bool:
    """Return whether two texts are equal, up to spaces and 1 % of each number: processors round differently."""
    number = re.compile(r"-?\d[\d,]*\.\d+(?:e\d+)?")
    values = [[float(found.replace(",", "")) for found in number.findall(text)] for text in (printed, shown)]
    words = [number.sub("0", text).split() for text in (printed, shown)]
    return words[0] == words[1] and values[0] == pytest.approx(values[1], rel=0.01, abs=0.02)


def test_tutorial_runs_as_written(environment: dict[str, str], tmp_path: Path) -> None:
    """Every command succeeds, in order, in one shell and a new state folder."""
    script = "set -euo pipefail\n" + "\n".join(block for _, block in blocks("tutorial.md", "sh"))
    printed = run(["bash"], script, tmp_path, environment)
    assert printed.count("exit status 3") == 2
    assert re.search(r"^victoria_sample +promoted +ensemble", printed, re.MULTILINE)
    assert re.search(r"Read 19,\d{3} rows: 0 inserted, 0 corrected, 19,\d{3} unchanged, 0 rejected", printed)
    assert "PostgreSQL is down." in printed
    for page in ("victoria.html", "comparison.html", "weather.html"):
        assert "</svg>" in (tmp_path / page).read_text() or "time-chart" in (tmp_path / page).read_text()


def test_daily_routine_runs_as_written(environment: dict[str, str], tmp_path: Path) -> None:
    """Every command succeeds in order, for the city of the tutorial without its last day of load and weather."""
    before = """
        export PATH="$PWD/.venv/bin:$PATH"
        energy-forecast demo --export sample
        for name in consumption weather; do
            grep victoria sample/$name.csv > all
            (head -n 1 sample/$name.csv; head -n -48 all) > $name.csv
            (head -n 1 sample/$name.csv; tail -n 96 all) > day-of-$name.csv
        done
        mv day-of-consumption.csv load.csv
        grep -v england sample/cities.csv > cities.csv
        energy-forecast city import cities.csv
        energy-forecast ingest consumption consumption.csv
        energy-forecast ingest weather weather.csv
        mv day-of-weather.csv weather.csv
        energy-forecast train --model vanilla
        energy-forecast model promote vanilla --force --reason "A quick model"
    """
    page = "\n".join(block for _, block in blocks("howto/daily.md", "sh"))
    printed = run(["bash"], f"set -euo pipefail\n{before}\necho BEGIN\n{page}", tmp_path, environment)
    printed = " ".join(printed.split("BEGIN")[1].split())
    assert "Read 73 rows: 73 inserted" in printed
    assert printed.count("Read 96 rows: 48 inserted, 0 corrected, 48 unchanged, 0 rejected") == 2
    assert "vanilla 1 (champion) load and weather 48" in printed
    assert re.search(r"vanilla 1 \(champion\) 7[12] of 96 hours with weather", printed)
    assert (tmp_path / "forecast.csv").stat().st_size > 1000


def test_notebook_prints_what_the_page_shows(environment: dict[str, str], tmp_path: Path) -> None:
    """Each cell runs, and prints the block of text that follows it."""
    (_, export), *cells = blocks("howto/notebook.md", "sh", "python", "text")
    run(["bash"], f"export PATH=$PWD/.venv/bin:$PATH\n{export}", tmp_path, environment)
    code = [text for language, text in cells if language == "python"]
    printed = run([sys.executable, "-c", NOTEBOOK], "\0".join(code), tmp_path, environment).split("\0")[:-1]
    shown: list[str] = []
    for language, text in cells:
        if language == "python":
            shown.append("")
        else:
            shown[-1] = text
    for cell, page, output in zip(code, shown, printed, strict=True):
        assert is_alike(output, page), f"The cell prints another text:\n{cell}\n{output}"
