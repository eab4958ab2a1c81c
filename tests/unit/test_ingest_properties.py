"""Whatever a reader accepts is what the writer of the file meant, and everything else is refused and counted.

A file is made of rows whose meaning is known. Each is written in a way that has one meaning, and has to be read as it,
or in one that has none or several, and has to be refused. Around them is the dirt that files have. To add a way of
writing, add it to TIMES, BAD_TIMES, VALUES or BAD_VALUES; to add dirt around the rows, add a field to Dirt.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_forecast.errors import IngestError
from energy_forecast.ingest.datasets import DATASETS
from energy_forecast.ingest.options import ReadOptions
from energy_forecast.ingest.plausibility import PlausibilityChecks
from energy_forecast.ingest.readers.parquet import FrameSource
from energy_forecast.ingest.readers.source import Source
from energy_forecast.ingest.reading import open_source
from energy_forecast.ingest.report import Quarantine
from energy_forecast.ingest.validate import Validator

CITIES = {
    "Berlin": "Europe/Berlin",
    "Pune": "Asia/Kolkata",
    "São Paulo": "America/Sao_Paulo",
    "Kathmandu": "Asia/Kathmandu",
    "Lord Howe, NSW": "Australia/Lord_Howe",
}
KIND = DATASETS["consumption"]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEADER = ["city", "timestamp", "consumption_kwh"]
Meaning = tuple[str, datetime, int]
QUICK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


@dataclass(frozen=True)
class Row:
    """Cells as written, what the writer meant, and whether they say so; if not, the row has to be refused."""

    cells: list[str]
    meaning: Meaning
    certain: bool


def read(source: Source, zone: str | None) -> tuple[Counter[Meaning], Quarantine, int]:
    """Return the accepted rows of a source, the rejected ones, and the number of rows."""
    quarantine = Quarantine(1_000)
    cities = [(UUID(int=number), name, zone) for number, (name, zone) in enumerate(CITIES.items())]
    reading = ReadOptions(timezone=zone)
    validator = Validator(KIND, cities, reading, NOW, quarantine, PlausibilityChecks(KIND, [], reading))
    names = list(CITIES)
    accepted: Counter[Meaning] = Counter()
    count = 0
    for piece in source.pieces():
        count += piece.rows.height + piece.broken.height
        rows, entries = validator.check("file", piece, None)
        assert entries.height <= quarantine.most
        for row in rows.iter_rows(named=True):
            accepted[names[row["city_no"]], row["timestamp"].astimezone(UTC), row["consumption_kwh"]] += 1
    return accepted, quarantine, count


# Times that have one meaning, written from an instant in a zone
TIMES: dict[str, Callable[[datetime, str], str]] = {
    "Z": lambda t, _: f"{t:%Y-%m-%dT%H:%MZ}",
    "seconds": lambda t, _: f"{t:%Y-%m-%d %H:%M:%S.000+00}",
    "own offset": lambda t, zone: t.astimezone(ZoneInfo(zone)).isoformat(),
    "other offset": lambda t, _: t.astimezone(timezone(timedelta(hours=-3, minutes=-30))).isoformat(" ", "minutes"),
    "basic": lambda t, _: f"{t:%Y%m%dT%H%MZ}",
    "lower case": lambda t, _: f"{t:%Y-%m-%dt%H:%M:%Sz}",
    "UTC": lambda t, _: f"{t:%Y-%m-%d %H:%M:%S} UTC",
    "GMT": lambda t, _: f"{t:%Y-%m-%dT%H:%M}GMT",
    "comma": lambda t, _: f"{t:%Y-%m-%dT%H:%M:%S},000Z",
    "midnight as 24:00": lambda t, _: (
        f"{t - timedelta(days=1):%Y-%m-%d}T24:00Z" if (t.hour, t.minute) == (0, 0) else f"{t:%Y-%m-%dT%H:%MZ}"
    ),
    "blanks": lambda t, _: f"  {t:%Y-%m-%dT%H:%M:%S+0000}\t",
}
# Times that have no meaning or several
BAD_TIMES: dict[str, Callable[[datetime], str]] = {
    "no offset": lambda t: f"{t:%Y-%m-%dT%H:%M}",
    "days first": lambda t: f"{t:%d/%m/%Y %H:%M}Z",
    "days first, dots": lambda t: f"{t:%d.%m.%Y %H:%M}",
    "epoch": lambda t: f"{t.timestamp():.0f}",
    "abbreviation": lambda t: f"{t:%Y-%m-%d %H:%M} CST",
    "twelve hours": lambda t: f"{t:%Y-%m-%d %I:%M %p}Z",
    "not whole minute": lambda t: f"{t:%Y-%m-%dT%H:%M}:00.000000001Z",
    "leap second": lambda t: f"{t:%Y-%m-%dT%H}:59:60Z",
    "past midnight": lambda t: f"{t:%Y-%m-%d}T24:01Z",
    "date alone": lambda t: f"{t:%Y-%m-%d}",
    "future": lambda t: (
        f"{t.replace(year=t.year + 60):%Y-%m-%dT%H:%MZ}" if (t.month, t.day) != (2, 29) else "2090-01-01T00:00Z"
    ),
    "empty": lambda _: "",
    "NUL": lambda t: f"{t:%Y-%m-%dT%H:%MZ}\x00",
}
VALUES: dict[str, Callable[[Decimal], str]] = {
    "plain": str,
    "exponent": lambda v: f"{v:E}",
    "zeros": lambda v: f"+00{v}000" if "." in str(v) else f"+00{v}.000",
    "blanks": lambda v: f" {v}\t",
}
BAD_VALUES: dict[str, Callable[[Decimal], str]] = {
    "decimal comma": lambda v: str(v).replace(".", ",") if "." in str(v) else f"{v},5",
    "thousands": lambda v: f"1,{v}",
    "thousands blank": lambda v: f"1 {v}",
    "thousands apostrophe": lambda v: f"1'{v}",
    "negative": lambda v: f"-{v + 1}",
    "unit": lambda v: f"{v} kWh",
    "not a number": lambda _: "NaN",
    "infinite": lambda _: "inf",
    "hexadecimal": lambda _: "0x10",
    "underscore": lambda v: f"1_{v}",
    "too large": lambda _: "1e300",
    "empty": lambda _: "",
    "other digits": lambda _: "\u0661\u0662",
    "long": lambda v: f"{v}" + "0" * 600,
    "minus": lambda _: "-",
}

FIRST_MINUTE = datetime(1990, 1, 1, tzinfo=UTC)
instants = st.integers(0, 36 * 365 * 24 * 60).map(lambda minutes: FIRST_MINUTE + timedelta(minutes=minutes))
midnights = instants.map(lambda t: t.replace(hour=0, minute=0))
amounts = st.decimals(0, 1_000_000, places=2) | st.integers(0, 999_999_999).map(Decimal)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Draw a row, valid or invalid."""
    city = draw(st.sampled_from(list(CITIES)))
    instant, amount = draw(instants | midnights), draw(amounts)
    meaning = (city, instant, int(amount * 100))
    fault = draw(st.sampled_from(["none"] * 4 + ["time", "value", "city"]))
    time = TIMES[draw(st.sampled_from(list(TIMES)))](instant, CITIES[city])
    value = VALUES[draw(st.sampled_from(list(VALUES)))](amount)
    if fault == "time":
        time = BAD_TIMES[draw(st.sampled_from(list(BAD_TIMES)))](instant)
    elif fault == "value":
        value = BAD_VALUES[draw(st.sampled_from(list(BAD_VALUES)))](amount)
    elif fault == "city":
        city = draw(st.sampled_from(["Paris", "", "Berlin ?", "Pune\x00", "x" * 700]))
    return Row([city, time, value], meaning, certain=fault == "none")


@dataclass(frozen=True)
class Dirt:
    """What surrounds the rows of a CSV file."""

    bom: bool
    ending: str
    quoted: bool
    packed: bool
    header: list[str]
    extra: int
    blank_lines: bool
    ragged: list[str]


dirt = st.builds(
    Dirt,
    bom=st.booleans(),
    ending=st.sampled_from(["\n", "\r\n"]),
    quoted=st.booleans(),
    packed=st.booleans(),
    header=st.sampled_from([HEADER, [name.upper() for name in HEADER], [f" {name} " for name in HEADER]]),
    extra=st.integers(0, 40),
    blank_lines=st.booleans(),
    ragged=st.lists(
        # With more fields than the longest header
        st.sampled_from(
            ["Berlin", f"Berlin,2026-01-01T00:00Z,1{44 * ','}x", "Berlin;2026-01-01T00:00Z;1", "\xff\xfe,1,2"]
        ),
        max_size=2,
    ),
)


def write_csv(path: Path, written: list[Row], dirt: Dirt) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=dirt.ending, quoting=csv.QUOTE_ALL if dirt.quoted else csv.QUOTE_MINIMAL)
    more = [f"other {number}" for number in range(dirt.extra)]
    writer.writerow([*dirt.header, *more])
    for row in written:
        if dirt.blank_lines:
            text.write(dirt.ending)
        writer.writerow([*row.cells, *("x" for _ in more)])
    content = text.getvalue().encode()
    # As Latin-1, so that one of them is not UTF-8
    content += b"".join((line + dirt.ending).encode("latin-1") for line in dirt.ragged)
    content = (b"\xef\xbb\xbf" if dirt.bom else b"") + content
    path.write_bytes(gzip.compress(content) if dirt.packed else content)


@given(st.lists(rows(), min_size=1, max_size=12), dirt)
@QUICK
def test_a_csv_file_is_read_as_it_was_meant(tmp_path: Path, written: list[Row], dirt: Dirt) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, written, dirt)
    accepted, quarantine, count = read(open_source(path, "a.csv", KIND.required, KIND.optional), None)
    assert accepted == Counter(row.meaning for row in written if row.certain)
    assert count == len(written) + len(dirt.ragged) == accepted.total() + quarantine.row_count
    assert sum(reason.count for reason in quarantine.reasons()) == quarantine.row_count


@given(st.lists(st.tuples(st.sampled_from(list(CITIES)), instants), min_size=1, max_size=12))
@QUICK
def test_local_times_are_read_as_they_were_meant_or_refused(tmp_path: Path, meant: list[tuple[str, datetime]]) -> None:
    """A local time that happened twice is refused, since one row alone does not say which of the two it is."""
    lines = [f'"{city}",{instant.astimezone(ZoneInfo(CITIES[city])):%Y-%m-%dT%H:%M},1\n' for city, instant in meant]
    (tmp_path / "a.csv").write_text(",".join(HEADER) + "\n" + "".join(lines), encoding="utf-8")
    accepted, quarantine, count = read(open_source(tmp_path / "a.csv", "a", KIND.required, KIND.optional), "city")

    def happened_twice(city: str, instant: datetime) -> bool:
        local = instant.astimezone(ZoneInfo(CITIES[city]))
        return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()

    wanted = Counter((city, instant, 100) for city, instant in meant if not happened_twice(city, instant))
    assert accepted == wanted
    assert count == len(meant) == accepted.total() + quarantine.row_count


units: Any = st.sampled_from(["ms", "us", "ns"])
zones = st.sampled_from(["UTC", "Asia/Kathmandu", "America/Sao_Paulo", "Europe/Berlin", "Australia/Lord_Howe"])
kinds = st.sampled_from([pl.Float64, pl.Float32, pl.Int32, pl.UInt16, pl.Decimal(14, 2), pl.String])


typed_rows = st.lists(st.tuples(st.sampled_from(list(CITIES)), instants, st.integers(0, 60_000)), max_size=12)


@given(typed_rows, units, zones, kinds, st.booleans(), st.booleans())
@QUICK
def test_a_parquet_file_and_a_frame_are_read_as_they_were_meant(
    tmp_path: Path, meant: list[tuple[str, datetime, int]], unit: Any, zone: str, kind: Any, named: bool, as_file: bool
) -> None:
    moments = pl.Series([instant for _, instant, _ in meant], dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(
        {
            "other": pl.Series([[1]] * len(meant), dtype=pl.List(pl.Int64)),
            "Timestamp": moments.dt.cast_time_unit(unit).dt.convert_time_zone(zone),
            "consumption_kwh": pl.Series([amount for _, _, amount in meant], dtype=pl.Int64).cast(kind),
            "city": pl.Series([city for city, _, _ in meant], dtype=pl.String).cast(
                pl.Categorical if named else pl.String
            ),
        }
    )
    if as_file:
        frame.write_parquet(tmp_path / "a.parquet", row_group_size=5)
        source: Source = open_source(tmp_path / "a.parquet", "a", KIND.required, KIND.optional)
    else:
        source = FrameSource(frame, "a", KIND.required, KIND.optional)
    accepted, quarantine, count = read(source, None)
    assert accepted == Counter((city, instant, amount * 100) for city, instant, amount in meant)
    assert (count, quarantine.row_count) == (len(meant), 0)


LAYOUTS = {
    "a column for each city": ("timestamp,Berlin,Pune\n2026-01-01T00:00Z,1,2\n", "no column city, consumption_kwh"),
    "a column for each hour": ("city,date,00:00,01:00\nPune,2026-01-01,1,2\n", "no column timestamp, consumption_kwh"),
    "semicolons": ("city;timestamp;consumption_kwh\nPune;2026-01-01T00:00Z;1,5\n", "separated by semicolons"),
    "tabs": ("city\ttimestamp\tconsumption_kwh\nPune\t2026-01-01T00:00Z\t1\n", "separated by tabs"),
    "no header": ("Pune,2026-01-01T00:00Z,1\n", "found: Pune, 2026-01-01T00:00Z, 1"),
    "a title first": ("Load of Pune\n\ncity,timestamp,consumption_kwh\n", "found: Load of Pune"),
    "one line": ('{"city": "Pune"}', "no column city"),
    "a page": ("<!DOCTYPE html>\n<html></html>\n", "no column city"),
    "old line ends": ("city,timestamp,consumption_kwh\rPune,2026-01-01T00:00Z,1\r", "carriage return"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_another_layout_is_refused_once_with_the_columns_found_and_needed(tmp_path: Path, name: str) -> None:
    text, words = LAYOUTS[name]
    (tmp_path / "a.csv").write_text(text, newline="")
    with pytest.raises(IngestError) as caught:
        open_source(tmp_path / "a.csv", "a.csv", KIND.required, KIND.optional)
    message = str(caught.value)
    assert words in message
    if "no column" in message:
        assert "found: " in message
        assert "city, timestamp, consumption_kwh" in message or "separated by" in message
