"""The project's own prose: plain technical English, measured by words that technical documentation does not need."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Each has a plain substitute: report, fix, again, next to, trained, is, depends on, observations
UNUSUAL = re.compile(
    r"\b(?:what (?:is|was|it|they|a|the|came|has|had|would|could|comes|stands|one|no)|sa(?:y|ys|id|ying)|tells?|told"
    r"|beside|stands?|stood|lies?|lay|learnt|mend(?:s|ed|ing)?|anew|of late|once more|brought|borne|bears?|she|hers?"
    r"|herself|whatever|whoever|hangs? on)\b",
    re.IGNORECASE,
)
MOST_PER_10_000 = 10.0
MOST_DOCSTRINGS_WITHOUT_VERB = 0.15
# First words of a docstring that are certainly no imperative verb
NO_VERB = re.compile(
    r"the|a|an|what|whether|how|which|who|whom|as|of|one|all|every|each|those|where|when|by|whatever|why|kwh|rows|values"
    r"|names|its|this|that|from|for|no|in|some|so|at|more|none|under|after|before|like"
)


def tracked(*patterns: str) -> list[Path]:
    """Return the files of the checkout; none without a git repository, as in an archive."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", *patterns], check=False, capture_output=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def python_texts(source: str) -> Iterator[str]:
    """Docstrings, messages (strings of four words or more) and comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(" ") >= 3:
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def sql_texts(source: str) -> Iterator[str]:
    """Comments and COMMENT ON texts."""
    yield from re.findall(r"--\s*(.*)", source)
    yield from re.findall(r"/\*(.*?)\*/", source, re.DOTALL)
    yield from re.findall(r"IS\s+'((?:[^']|'')*)'", source)


def prose(path: Path) -> str:
    """Return the prose of a file: no code."""
    source = path.read_text()
    match path.suffix:
        case ".py":
            return "\n".join(python_texts(source))
        case ".sql":
            return "\n".join(sql_texts(source))
        case _:
            return "\n".join(line for line in source.splitlines() if not line.startswith("    "))


@pytest.fixture(scope="module")
def files() -> list[Path]:
    found = [path for path in tracked("*.py", "*.sql", "*.md", "Makefile") if ROOT / "tests" not in path.parents]
    if not found:
        pytest.skip("This is no git checkout.")
    return found


def test_uses_few_unusual_words(files: list[Path]) -> None:
    """The limit is that of well-written open source: psycopg, procrastinate and OpenSTEF are below it."""
    unusual: Counter[str] = Counter()
    words = 0
    for path in files:
        text = prose(path)
        words += len(re.findall(r"[A-Za-z']+", text))
        unusual[str(path.relative_to(ROOT))] = len(UNUSUAL.findall(text))
    rate = 10_000 * unusual.total() / words
    assert rate <= MOST_PER_10_000, f"{rate:.1f} unusual words per 10,000; most: {unusual.most_common(10)}"


def test_docstrings_of_functions_begin_with_a_verb(files: list[Path]) -> None:
    first_words = [
        first[1].lower()
        for path in files
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (first := re.match(r"\W*([A-Za-z']+)", ast.get_docstring(node) or ""))
    ]
    without = [word for word in first_words if NO_VERB.fullmatch(word)]
    assert len(without) <= MOST_DOCSTRINGS_WITHOUT_VERB * len(first_words), Counter(without).most_common(10)
