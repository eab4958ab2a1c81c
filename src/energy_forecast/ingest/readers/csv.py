"""Read CSV files: comma, UTF-8, quotes as in RFC 4180, in pieces of several megabytes.

A reader for clean files stops at the first invalid line or repairs it silently. This one splits the lines first and
the fields after, in bulk if no line of a piece is special. So an invalid line costs one row, and every row has its
line number. A block without quotes, in which every line has as many fields as the header, needs neither and is split by
polars.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import polars as pl

from energy_forecast.errors import IngestError
from energy_forecast.ingest.readers.source import BROKEN_SCHEMA, Columns, Piece, find_columns, shortened

_BLOCK = 8 << 20
# No row of numbers is this long: it is another kind of file, and to continue would fill the memory
_LONGEST_LINE = 1 << 20
# A quoted field may span lines; one that is never closed must not consume the file
_MOST_LINES = 64
# Each is parsed separately, which is slow
_MOST_UNQUOTED = 100_000
# Every field either without quotes or plainly quoted, with no comma or quote inside
_PLAIN = r'^(?:"[^",]*"|[^",]*)(?:,(?:"[^",]*"|[^",]*))*$'


class CsvSource:
    """A CSV file, gzipped or not."""

    def __init__(
        self, path: Path, facts: Mapping[str, Any], required: Sequence[str], optional: Sequence[str], *, gzipped: bool
    ) -> None:
        self.name = str(facts["name"])
        self.size = int(facts["bytes"])
        self.facts = facts
        self._path = path
        self._gzipped = gzipped
        header = self._header()
        self._found: Columns = find_columns(self.name, header, required, optional, hint=_header_hint(header, required))
        self.columns = tuple(self._found.places)
        self.ignored = self._found.ignored

    def _header(self) -> list[str]:
        with self._path.open("rb") as raw:
            start = self._read(self._stream(raw), _LONGEST_LINE)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise IngestError(f"{self.name}: the text is UTF-16.", hint="Save it as UTF-8.")
        text = start.removeprefix(b"\xef\xbb\xbf")
        if not text.strip():
            raise IngestError(f"{self.name}: the file is empty.", hint="Nothing was loaded.")
        self._header_lines = 0
        for line in text.split(b"\n"):
            self._header_lines += 1
            if line.strip():
                break
        try:
            header = line.rstrip(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise IngestError(f"{self.name}: the first line is not UTF-8 text.", hint="Save it as UTF-8.") from error
        if "\x00" in header or len(line) >= _LONGEST_LINE // 2:
            raise IngestError(f"{self.name}: this is not a CSV file.", hint="CSV, .csv.gz and Parquet can be read.")
        if "\r" in header:
            raise IngestError(
                f"{self.name}: lines end with a carriage return alone.",
                hint="Save it with line feeds (Unix or Windows).",
            )
        try:
            return next(csv.reader([header], strict=True))
        except csv.Error as error:
            raise IngestError(f"{self.name}: the first line is not CSV ({error}).") from error

    def _stream(self, raw: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if self._gzipped else raw

    def _read(self, stream: IO[bytes], size: int) -> bytes:
        try:
            return stream.read(size)
        except EOFError as error:
            raise IngestError(
                f"{self.name}: the gzip file is cut off.", hint="Copy it again; nothing was loaded."
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise IngestError(
                f"{self.name}: the gzip file is damaged ({error}).", hint="Nothing was loaded."
            ) from error
        except OSError as error:
            raise IngestError(f"{self.name}: cannot be read ({error.strerror or error}).") from error

    def pieces(self) -> Iterator[Piece]:
        """Yield the rows in pieces; the header is line 1."""
        with self._path.open("rb") as raw:
            stream = self._stream(raw)
            rest, line, header = b"", 1, self._header_lines
            while True:
                block = self._read(stream, _BLOCK)
                data = rest + block
                if line == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")
                cut = data.rfind(b"\n") + 1 if block else len(data)
                if len(data) - cut > _LONGEST_LINE:
                    raise IngestError(
                        f"{self.name}: a line has more than a megabyte.", hint="Check that this is a CSV file."
                    )
                text = data[:cut]
                plain = None if header else self._plain_rows(text, line)
                if plain is not None:
                    yield Piece(shortened(plain), pl.DataFrame(schema=BROKEN_SCHEMA), raw.tell())
                    line, rest = line + plain.height, data[cut:]
                    continue
                # Millions of empty lines are dropped at once, unless a quoted field may hold them
                lines = self._lines(text if header or b'"' in text else text.rstrip(b"\r\n"), line)
                skipped = min(header, lines.height)
                lines, header = lines.slice(skipped), header - skipped
                piece, unfinished = self._split(lines, raw.tell(), final=not block)
                yield piece
                if not block:
                    return
                line += data.count(b"\n", 0, cut) - unfinished
                for _ in range(unfinished):
                    cut = data.rfind(b"\n", 0, cut - 1) + 1
                rest = data[cut:]

    def _plain_rows(self, data: bytes, first: int) -> pl.DataFrame | None:
        """Return the rows of a block if each is one line with all fields and without quotes; None if not."""
        count = data.count(b"\n")
        # If the commas are as many as expected, a line with too few needs one with too many, which polars refuses
        if data.count(b",") != count * (self._found.count - 1) or not data.endswith(b"\n"):
            return None
        if b'"' in data or b"\r" in data or data.startswith(b"\xef\xbb\xbf"):
            return None
        schema = {f"field {place}": pl.String for place in range(self._found.count)}
        try:
            # polars must not meet bytes that are no text
            data.decode("utf-8")
            fields = pl.read_csv(data, has_header=False, quote_char=None, schema=schema)
        except (UnicodeDecodeError, pl.exceptions.PolarsError):
            return None
        if fields.height != count:
            return None
        rows = fields.select(
            pl.col(f"field {place}").fill_null("").alias(name) for name, place in self._found.places.items()
        )
        return rows.select(pl.int_range(first, first + count, dtype=pl.Int64).alias("line"), pl.all())

    def _lines(self, data: bytes, first: int) -> pl.DataFrame:
        """Return every line with its number; lines that are not UTF-8 are decoded with escapes and marked."""
        try:
            text = data.decode("utf-8")
            lines = pl.Series("text", [text.removesuffix("\n")], dtype=pl.String).str.split("\n").explode()
            damaged = pl.repeat(False, len(lines), eager=True)
        except UnicodeDecodeError:
            cells = data.removesuffix(b"\n").split(b"\n")
            lines = pl.Series("text", [cell.decode("utf-8", "backslashreplace") for cell in cells], dtype=pl.String)
            damaged = pl.Series([not _is_utf8(cell) for cell in cells])
        return pl.DataFrame({"text": lines.str.strip_suffix("\r")}).with_columns(
            pl.int_range(first, first + len(lines), dtype=pl.Int64).alias("line"), damaged.alias("damaged")
        )

    def _split(self, lines: pl.DataFrame, done: int, *, final: bool) -> tuple[Piece, int]:
        """Return rows and broken lines, and the number of lines at the end of a row that is not yet complete."""
        end: int = lines["line"][-1] + 1 if lines.height else 0
        careful, broken, stop = pl.DataFrame(schema=self._schema()), pl.DataFrame(schema=BROKEN_SCHEMA), end
        readable = lines.filter(~pl.col("damaged"))
        if readable["text"].str.contains('"', literal=True).any():
            careful, broken, readable, stop = self._split_quoted(readable, end, final=final)
        damaged = lines.filter(pl.col("damaged") & (pl.col("line") < stop))
        readable = readable.filter(pl.col("text").str.strip_chars() != "")
        commas = pl.col("text").str.count_matches(",", literal=True)
        ragged = readable.filter(commas != self._found.count - 1).select(
            "line",
            pl.format("{} fields where the header has {}", commas + 1, self._found.count).alias("reason"),
            "text",
            pl.lit(None, pl.String).alias("column"),
        )
        if ragged.height:
            readable = readable.filter(commas == self._found.count - 1)
        fields = readable["text"].str.split_exact(",", self._found.count - 1).struct
        rows = pl.DataFrame(
            [readable["line"], *(fields[place].alias(name) for name, place in self._found.places.items())]
        )
        if careful.height:
            rows = pl.concat([rows, careful]).sort("line")
        damaged = damaged.select(
            "line", pl.lit("not UTF-8 text").alias("reason"), "text", pl.lit(None, pl.String).alias("column")
        )
        return Piece(shortened(rows), shortened(pl.concat([damaged, broken, ragged])), done), end - stop

    def _schema(self) -> dict[str, Any]:
        return {"line": pl.Int64, **dict.fromkeys(self._found.places, pl.String)}

    def _split_quoted(
        self, lines: pl.DataFrame, end: int, *, final: bool
    ) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, int]:
        """Return rows with special quoting, broken lines, the other lines without quotes, and the line to resume at."""
        texts, numbers = lines["text"], lines["line"]
        rows: list[tuple[Any, ...]] = []
        broken: list[tuple[int, str, str, None]] = []
        taken: set[int] = set()
        stop = end
        for place in (~texts.str.contains(_PLAIN)).arg_true():
            if place in taken:
                continue
            fields, used, fault = _record(texts, place, self._found.count)
            if fields is None and used > 1 and not final:
                stop = numbers[place]
                break
            if fields is None:
                broken.append((numbers[place], fault, texts[place], None))
                if len(broken) > _MOST_UNQUOTED:
                    raise IngestError(
                        f"{self.name}: in more than {_MOST_UNQUOTED:,} lines the quotes are not closed.",
                        hint="Check that this is a CSV file.",
                    )
                taken.add(place)
            else:
                rows.append((numbers[place], *(fields[at] for at in self._found.places.values())))
                taken.update(range(place, place + used))
        left = (
            lines.with_row_index("place")
            .filter((pl.col("line") < stop) & ~pl.col("place").is_in(sorted(taken)))
            .with_columns(pl.col("text").str.replace_all('"', "", literal=True))
            .drop("place")
        )
        return (
            pl.DataFrame(rows, schema=self._schema(), orient="row"),
            pl.DataFrame(broken, schema=BROKEN_SCHEMA, orient="row"),
            left,
            stop,
        )


def _record(texts: pl.Series, place: int, count: int) -> tuple[list[str] | None, int, str]:
    """Return the row that begins at a line: its fields and number of lines; or None, with the fault.

    None with more than one line means that the quotes do not end within the available lines.
    """
    record, fault = texts[place], ""
    for used in range(1, _MOST_LINES + 1):
        if record.count('"') % 2 == 0:
            try:
                fields = next(csv.reader([line + "\n" for line in record.split("\n")], strict=True))
            except (csv.Error, StopIteration) as error:
                return None, 1, f"not CSV: {error}" if used == 1 else "a quote is opened and not closed"
            if len(fields) == count:
                return fields, used, ""
            return (
                None,
                1,
                f"{len(fields)} fields where the header has {count}"
                if used == 1
                else ("a quote is opened and not closed"),
            )
        fault = "a quote is opened and not closed"
        if place + used >= len(texts):
            return None, 2, fault
        record += "\n" + texts[place + used]
    return None, 1, fault


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _header_hint(header: Sequence[str], required: Sequence[str]) -> str:
    for sign, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if any(sign in cell for cell in header):
            return f"The first line is separated by {name}; separate it by commas."
    return f"Name the columns in the first line: {', '.join(required)}."
