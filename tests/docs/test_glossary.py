"""The glossary's terms are those that the documents use, and the command line uses no other word for them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def rows() -> list[tuple[str, list[str]]]:
    """Each term, and the words that are not used for it."""
    found = []
    for line in (DOCS / "glossary.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "term":
            found.append((cells[0], [word for word in cells[2].split(", ") if word]))
    return found


def uses(text: str, term: str) -> bool:
    """Whether a text has the term as a word, singular or plural."""
    return re.search(rf"(?<!\w){re.escape(term.strip('`'))}s?(?!\w)", text, re.IGNORECASE) is not None


@pytest.fixture(scope="module")
def documents() -> str:
    return "\n".join(path.read_text() for path in sorted(DOCS.rglob("*.md")) if path.name != "glossary.md")


def test_every_term_is_used(documents: str) -> None:
    terms = [term for cell, _ in rows() for term in cell.split(", ")]
    assert len(terms) > 30
    assert [term for term in terms if not uses(documents, term)] == []


def test_help_of_commands_uses_no_other_word() -> None:
    """The reference of commands is generated from the help texts."""
    commands = (DOCS / "reference" / "commands.md").read_text()
    assert [word for _, words in rows() for word in words if uses(commands, word)] == []
