"""Splitting CSV files: one broken line costs one row, and every row knows its line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_forecast.errors import IngestError
from energy_forecast.ingest.readers import csv as csv_reader
from energy_forecast.ingest.reading import open_source

REQUIRED, OPTIONAL = ("a", "b"), ("c",)


def pieces_of(path: Path) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """All rows (line, then the columns in the order a, b, c), and all broken lines (line, reason, text)."""
    source = open_source(path, path.name, REQUIRED, OPTIONAL)
    pieces = list(source.pieces())
    rows = pl.concat([piece.rows for piece in pieces])
    order = [name for name in (*REQUIRED, *OPTIONAL) if name in source.columns]
    broken = pl.concat([piece.broken for piece in pieces]).sort("line")
    assert pieces[-1].done == source.size
    return rows.select("line", *order).rows(), broken.select("line", "reason", "text").rows()


def split(tmp_path: Path, content: bytes | str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    path = tmp_path / "file.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return pieces_of(path)


def error_of(path: Path) -> str:
    with pytest.raises(IngestError) as caught:
        pieces_of(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param("a,b\n1,2\n3,4\n", [(2, "1", "2"), (3, "3", "4")], id="plain"),
        pytest.param("a,b\n1,2", [(2, "1", "2")], id="no line feed at the end"),
        pytest.param("a,b\r\n1,2\r\n", [(2, "1", "2")], id="Windows"),
        pytest.param("\ufeffa,b\n1,2\n", [(2, "1", "2")], id="byte order mark"),
        pytest.param("b,x,a\n1,2,3\n", [(2, "3", "1")], id="order is free, others are left out"),
        pytest.param(" A ,B\n1,2\n", [(2, "1", "2")], id="capitals and blanks in the header"),
        pytest.param('"a","b"\n"1","2"\n', [(2, "1", "2")], id="everything quoted"),
        pytest.param("a,b\n\n1,2\n   \n\r\n3,4\n\n", [(3, "1", "2"), (6, "3", "4")], id="empty lines"),
        pytest.param("\n\na,b\n1,2\n", [(4, "1", "2")], id="empty lines before the header"),
        pytest.param('a,b\n"1,5",2\n', [(2, "1,5", "2")], id="a comma in quotes"),
        pytest.param('a,b\n"say ""hi""",2\n', [(2, 'say "hi"', "2")], id="a quote in quotes"),
        pytest.param('a,b\n"x\ny",2\n3,4\n', [(2, "x\ny", "2"), (4, "3", "4")], id="a line feed in quotes"),
        pytest.param('a,b\n"x\n5,6\ny",2\n3,4\n', [(2, "x\n5,6\ny", "2"), (5, "3", "4")], id="a row inside quotes"),
        pytest.param("a,b\n,\n", [(2, "", "")], id="nothing said"),
        pytest.param('a,b\n"",2\n', [(2, "", "2")], id="nothing said in quotes"),
        pytest.param("a,b\n1\x00,2\n", [(2, "1\x00", "2")], id="NUL"),
        pytest.param("a,b\n\x0b1,\x1c2\u2028\n", [(2, "\x0b1", "\x1c2\u2028")], id="what Python takes for line ends"),
        pytest.param('a,b\n"\u2028,",2\n', [(2, "\u2028,", "2")], id="the same in quotes"),
        pytest.param("a,b,c\n1,2,3\n", [(2, "1", "2", "3")], id="an optional column"),
        pytest.param("a,b\n", [], id="a header and no rows"),
    ],
)
def test_good_files_are_split_as_they_are_meant(tmp_path: Path, content: str, rows: list[tuple[object, ...]]) -> None:
    assert split(tmp_path, content) == (rows, [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1", "1 fields where the header has 2"),
        (b"1,2,3", "3 fields where the header has 2"),
        (b"1,2,", "3 fields where the header has 2"),
        (b'"1,2",3,4', "3 fields where the header has 2"),
        (b'"1,2', "a quote is opened and not closed"),
        (b'1,"2', "a quote is opened and not closed"),
        (b'"1"x,2', "not CSV: ',' expected after '\"'"),
        (b"1,\xff", "not UTF-8 text"),
        (b"1,\xed\xa0\x80", "not UTF-8 text"),
        (b'"1,\xff', "not UTF-8 text"),
    ],
)
def test_a_broken_line_costs_itself_only(tmp_path: Path, line: bytes, reason: str) -> None:
    """The rows before and after it are loaded, with the lines that an editor shows."""
    rows, broken = split(tmp_path, b"a,b\n1,2\n" + line + b'\n3,4\n"5","6"\n7,8\n')
    assert rows == [(2, "1", "2"), (4, "3", "4"), (5, "5", "6"), (6, "7", "8")]
    assert [(number, why) for number, why, _ in broken] == [(3, reason)]


def test_two_stray_quotes_do_not_swallow_the_rows_between_them(tmp_path: Path) -> None:
    rows, broken = split(tmp_path, 'a,b\n"1,2\n3,4\n5,6\n"7,8\n9,10\n')
    assert rows == [(3, "3", "4"), (4, "5", "6"), (6, "9", "10")]
    assert [line for line, _, _ in broken] == [2, 5]


def test_a_stray_quote_in_every_line_does_not_take_forever(tmp_path: Path) -> None:
    rows, broken = split(tmp_path, "a,b\n" + '"1,2\n' * 20_000)
    assert rows == []
    assert len(broken) == 20_000


def test_a_broken_line_is_kept_as_it_stands(tmp_path: Path) -> None:
    _, broken = split(tmp_path, b"a,b\n1,\xff2\nx;y\n")
    assert broken == [(2, "not UTF-8 text", "1,\\xff2"), (3, "1 fields where the header has 2", "x;y")]


_CELLS = st.text(st.sampled_from(list('abc",\n\r 1\x00é')), max_size=6)


@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), max_size=6), st.integers(20, 60), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_what_pythons_csv_module_writes_is_read_back_whatever_the_size_of_the_pieces(
    tmp_path: Path, rows: list[tuple[str, str, str]], block: int, everything_quoted: bool
) -> None:
    # A carriage return before a line's end belongs to the line end
    rows = [tuple(cell.replace("\r", "") for cell in row) for row in rows]  # type: ignore[misc]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL if everything_quoted else csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerows([("a", "b", "c"), *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "_BLOCK", block)
        found, broken = split(tmp_path, text.getvalue())
    assert broken == []
    assert [cells for _, *cells in found] == [list(row) for row in rows]


@given(st.binary(max_size=60), st.integers(10, 30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_any_bytes_give_the_same_whatever_the_size_of_the_pieces(tmp_path: Path, noise: bytes, block: int) -> None:
    """Where a piece ends must not decide what a row is. Every line is a row, part of one, broken or empty."""
    content = b"a,b\n1,2\n" + noise.replace(b"\x01", b'"').replace(b"\x02", b",").replace(b"\x03", b"\n") + b"\n3,4\n"
    whole = split(tmp_path, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "_BLOCK", block)
        assert split(tmp_path, content) == whole
    assert whole[0][0] == (2, "1", "2")


def test_a_quoted_field_that_never_ends_does_not_swallow_a_long_file(tmp_path: Path) -> None:
    """The quote is forgiven after some lines; what follows is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "_BLOCK", 100)
        rows, broken = split(tmp_path, 'a,b\n"1,2\n' + "3,4\n" * 1000)
    assert len(rows) == 1000
    assert [line for line, _, _ in broken] == [2]


def test_empty_lines_count_and_are_no_rows(tmp_path: Path) -> None:
    rows, broken = split(tmp_path, b"a,b\n1,2\n" + b"\r\n" * 4_500_000 + b"3,4\n")
    assert rows == [(2, "1", "2"), (4_500_003, "3", "4")]
    assert broken == []


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "named-badly.csv"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert pieces_of(path) == ([(2, "1", "2")], [])


def test_what_cannot_be_read_at_all_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    def file(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    packed = gzip.compress(b"a,b\n" + bytes(str(list(range(5000))), "ascii"))
    for path, words in {
        tmp_path / "missing.csv": "file not found",
        tmp_path: "a folder",
        file("empty.csv", b""): "is empty",
        file("blank.csv", b"\n \n\n"): "is empty",
        file("empty.csv.gz", gzip.compress(b"")): "is empty",
        file("cut.csv.gz", packed[:-30]): "cut off",
        file("start.csv.gz", packed[:5]): "cut off",
        file("flipped.csv.gz", packed[:40] + b"\x00\xff\x00" + packed[43:]): "damaged",
        file("trailing.csv.gz", packed + b"garbage"): "damaged",
        file("semicolon.csv", b"a;b\n1;2\n"): "semicolons",
        file("tab.csv", b"a\tb\n1\t2\n"): "tabs",
        file("other.csv", b"x,y\n1,2\n"): "no column a, b; found: x, y",
        file("twice.csv", b"a,A,b\n1,2,3\n"): "column a occurs twice",
        file("utf16.csv", "a,b\n1,2\n".encode("utf-16")): "UTF-16",
        file("latin.csv", "a,b,größe\n".encode("latin-1")): "not UTF-8",
        file("mac.csv", b"a,b\r1,2\r"): "carriage return",
        file("book.xlsx", b"PK\x03\x04rest"): "workbook",
        file("binary.csv", bytes(range(128)) * 10): "not a CSV file",
        file("long.csv", b"a,b\n" + b"1" * (20 << 20)): "more than a megabyte",
        file("broken.parquet", b"PAR1" + b"\x00" * 100): "Parquet",
        file("text.parquet", b"a,b\n1,2\n"): "Parquet",
    }.items():
        message = error_of(path)
        assert words in message
        assert path.name in message


def test_a_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    pl.DataFrame({"a": range(10_000), "b": range(10_000)}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "Parquet" in error_of(path)


def test_parquet_damaged_inside_is_refused_and_not_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "flipped.parquet"
    pl.DataFrame({"a": range(100_000), "b": range(100_000)}).write_parquet(path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:100] = b"\xff" * 96
    path.write_bytes(content)
    assert "Parquet" in error_of(path)
