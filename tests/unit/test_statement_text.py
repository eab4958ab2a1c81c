"""What is left of a statement's text when its values are taken out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_forecast.database.query_stats import without_values


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        pytest.param("SELECT $1,  $2\nFROM t1", "SELECT $1, $2 FROM t1", id="placeholders and names with digits stay"),
        pytest.param("SELECT 'it''s', 1.5, .5, -2e10, 7", "SELECT ?, ?, ?, -?, ?", id="texts and numbers"),
        pytest.param(r"SELECT E'a\'b', U&'x', b'01', x", "SELECT ?, ?, ?, x", id="texts with a letter before"),
        pytest.param("DO $$ a 'b $$; SELECT $x$ $$ $x$", "DO ?; SELECT ?", id="texts between dollars"),
        pytest.param("SELECT a -- 'b\n, c /* d ' */ FROM e", "SELECT a , c FROM e", id="comments"),
        pytest.param('SELECT "a 1 \'b" FROM "c""2"', 'SELECT "a 1 \'b" FROM "c""2"', id="names in quotes"),
        pytest.param("SELECT 'a FROM b", "SELECT ?", id="a text that is not closed hides the rest"),
        pytest.param("SELECT $$a FROM b", "SELECT ?", id="and so does one between dollars"),
        pytest.param("ALTER ROLE anna PASSWORD 'x'", "ALTER ROLE anna PASSWORD ?", id="a password"),
        pytest.param("FETCH 100 FROM c1", "FETCH ? FROM c1", id="a count"),
    ],
)
def test_values_are_left_out(written: str, shown: str) -> None:
    assert without_values(written) == shown


@given(st.text(), st.text())
def test_a_text_is_hidden_whatever_is_in_it(before: str, value: str) -> None:
    """Whatever the literal holds, and whatever other literal stands before it."""
    quoted = [text.replace("'", "''").replace("\\", "") for text in (before, value)]
    assert without_values(f"COPY (SELECT '{quoted[0]}', '{quoted[1]}') TO STDOUT") == "COPY (SELECT ?, ?) TO STDOUT"
