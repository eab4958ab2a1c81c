"""Parquet files: any zone is read as an instant, and no file makes the decoder print, panic or fill the memory."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_forecast.errors import EnergyForecastError, IngestError
from energy_forecast.ingest.readers import parquet, parquet_process
from energy_forecast.ingest.readers.parquet import FrameSource
from energy_forecast.ingest.readers.parquet_pages import row_groups
from energy_forecast.ingest.reading import open_source

REQUIRED = ("city", "timestamp", "consumption_kwh")
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def silence(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is printed, by Rust neither: no test here may leave a word on file descriptor 2."""
    yield
    assert capfd.readouterr().err == ""


def frame(count: int = 3, **columns: Any) -> pl.DataFrame:
    """`count` hourly rows, with columns replaced."""
    times = pl.Series([START + timedelta(hours=n) for n in range(count)], dtype=pl.Datetime("us", "UTC"))
    plain = {"city": ["Pune"] * count, "timestamp": times, "consumption_kwh": [float(n) for n in range(count)]}
    return pl.DataFrame(plain | columns)


def read(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of a file, and its broken rows."""
    pieces = list(open_source(path, path.name, REQUIRED, ()).pieces())
    return pl.concat(piece.rows for piece in pieces), pl.concat(piece.broken for piece in pieces)


def refusal_of(path: Path) -> str:
    with pytest.raises(IngestError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_zone(path: Path, zone: str, unit: str = "us") -> None:
    """Write a Parquet file whose Arrow schema names any zone, as Arrow itself does; polars refuses to write some."""
    times = frame()["timestamp"].dt.cast_time_unit(unit).dt.convert_time_zone("Europe/Berlin")  # type: ignore[arg-type]
    frame(timestamp=times).write_parquet(path)
    content = path.read_bytes()
    found = re.search(rb"ARROW:schema.*?([A-Za-z0-9+/=]{100,})", content, re.DOTALL)
    assert found is not None
    schema = base64.b64decode(found[1])
    place = schema.index(b"Europe/Berlin")
    named = zone.encode()
    schema = (
        schema[: place - 4]
        + len(named).to_bytes(4, "little")
        + named.ljust(13, b"\0")
        + schema[place + len("Europe/Berlin") :]
    )
    path.write_bytes(content.replace(found[1], base64.b64encode(schema)))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["+05:45", "-03:30", "+00:00", "+25:00", "Asia/Kolkata", "UTC", "GMT", "Mars/Phobos"])
def test_reads_moments_of_any_zone_as_the_instants_they_are(tmp_path: Path, zone: str, unit: str) -> None:
    """Parquet stores instants; the zone in its type only says how to show them."""
    with_zone(tmp_path / "a.parquet", zone, unit)
    rows, broken = read(tmp_path / "a.parquet")
    assert rows["timestamp"].to_list() == [START + timedelta(hours=n) for n in range(3)]
    assert not broken.height


@pytest.mark.parametrize("kept", ["us", "ns", "ms"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_sets_rows_aside_whose_moment_no_calendar_has(tmp_path: Path, zone: str | None, kept: Any) -> None:
    """polars panics when it prints or converts them, and its panics are no Exception."""
    extreme = [0, 2**63 - 1, -(2**63) + 1, None, 2**62, -(2**62)]
    times = pl.Series(extreme, dtype=pl.Int64).cast(pl.Datetime(kept, zone))
    frame(6, timestamp=times).write_parquet(tmp_path / "a.parquet")
    for rows, broken in (
        read(tmp_path / "a.parquet"),
        next((one.rows, one.broken) for one in FrameSource(frame(6, timestamp=times), "a", REQUIRED, ()).pieces()),
    ):
        assert rows.height + broken.height == 6
        assert rows["timestamp"].null_count() == 1
        if kept == "ns":
            assert not broken.height, "64 bits of nanoseconds reach from 1677 to 2262"
            continue
        assert broken["line"].to_list() == [2, 3, 5, 6]
        assert set(broken["column"]) == {"timestamp"}
        assert broken["reason"][0] == f"{2**63 - 1} {kept} since 1970 is not between the years 1 and 9999"


def test_a_nanosecond_after_the_minute_is_not_the_minute(tmp_path: Path) -> None:
    nanoseconds = pl.Series([60 * 10**9, 60 * 10**9 + 1, -1]).cast(pl.Datetime("ns", "UTC"))
    frame(timestamp=nanoseconds).write_parquet(tmp_path / "a.parquet")
    rows, _ = read(tmp_path / "a.parquet")
    assert rows["timestamp"].to_physical().to_list() == [60_000_000, 60_000_001, 0]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"timestamp": [1767225600, 1767229200, 1767232800]}, "column timestamp is of type Int64"),
        ({"timestamp": [START.date()] * 3}, "column timestamp is of type Date"),
        ({"timestamp": [[START]] * 3}, "column timestamp is of type List"),
        ({"timestamp": [timedelta(hours=1)] * 3}, "column timestamp is of type Duration"),
        ({"city": [{"name": "Pune"}] * 3}, "column city is of type Struct"),
        ({"city": [b"Pune"] * 3}, "column city is of type Binary"),
        ({"consumption_kwh": [True, False, True]}, "column consumption_kwh is of type Boolean"),
        ({"consumption_kwh": [START] * 3}, "column consumption_kwh is of type Datetime"),
        ({"consumption_kwh": [[1.0]] * 3}, "column consumption_kwh is of type List"),
        ({"CITY ": ["Pune"] * 3}, "column city occurs twice"),
    ],
)
def test_refuses_a_column_of_a_type_that_cannot_be_its(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    frame(**columns).write_parquet(tmp_path / "a.parquet")
    assert words in refusal_of(tmp_path / "a.parquet")


def test_takes_columns_of_every_type_that_can_be_theirs(tmp_path: Path) -> None:
    types: list[Any] = [pl.Int8, pl.UInt64, pl.Float32, pl.Float64, pl.Decimal(12, 2), pl.String]
    for kind in types:
        frame(consumption_kwh=pl.Series([1, 2, None]).cast(kind)).write_parquet(tmp_path / "a.parquet")
        rows, _ = read(tmp_path / "a.parquet")
        assert rows["consumption_kwh"].cast(pl.Float64).to_list() == [1, 2, None]
    types = [pl.Categorical, pl.Enum(["Pune"]), pl.String]
    for kind in types:
        frame(city=pl.Series(["Pune", "Pune", None]).cast(kind)).write_parquet(tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet")[0]["city"].to_list() == ["Pune", "Pune", None]
    frame(timestamp=pl.Series([None] * 3)).write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[0]["timestamp"].null_count() == 3
    frame(city=[float("nan"), float("inf"), None]).write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[0]["city"].to_list() == ["NaN", "inf", None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "a.parquet"
    frame(200).write_parquet(path, row_group_size=70)
    return path.read_bytes()


def test_refuses_a_file_that_is_cut_off_anywhere(whole: bytes, tmp_path: Path) -> None:
    for length in [*range(1, len(whole), 61), len(whole) - 1]:
        (tmp_path / "a.parquet").write_bytes(whole[:length])
        assert "this is not a whole Parquet file" in refusal_of(tmp_path / "a.parquet")


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_a_damaged_file_is_refused_or_read(whole: bytes, tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """polars panics on some of them. A file without checksums may also be damaged without a sign."""
    damaged = bytearray(whole)
    for place, byte in changes:
        damaged[place % len(whole)] = byte
    (tmp_path / "a.parquet").write_bytes(damaged)
    with suppress(IngestError):
        read(tmp_path / "a.parquet")


def test_a_panic_outside_of_an_exception_becomes_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever panics next: neither the exception nor the backtrace gets out."""

    def panics(_frame: pl.DataFrame, _start: int) -> None:
        pl.Series([2**63 - 1]).cast(pl.Datetime("us")).cast(pl.String)

    monkeypatch.setattr(parquet, "_piece", panics)
    with pytest.raises(IngestError, match="out-of-range"):
        list(FrameSource(frame(), "a", REQUIRED, ()).pieces())


def test_a_file_that_aborts_the_decoder_is_refused_and_the_next_one_is_read(whole: bytes, tmp_path: Path) -> None:
    """A count of definition levels that is damaged: polars then asks for 2 million terabytes, and Rust aborts."""
    damaged = bytearray(whole)
    damaged[661] = 255
    (tmp_path / "a.parquet").write_bytes(damaged)
    assert "its decoder was ended by signal 6" in refusal_of(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(whole)
    assert read(tmp_path / "b.parquet")[0].height == 200


def test_a_decoder_that_was_killed_between_files_is_started_again(whole: bytes, tmp_path: Path) -> None:
    """The next file has no part in it, and must not be refused."""
    (tmp_path / "a.parquet").write_bytes(whole)
    read(tmp_path / "a.parquet")
    _running().kill()
    _running().wait()
    assert read(tmp_path / "a.parquet")[0].height == 200


def test_a_decoder_that_is_killed_at_work_names_the_file_and_memory(whole: bytes, tmp_path: Path) -> None:
    """The system kills with signal 9 when memory runs out; the file need not be damaged."""
    path = tmp_path / "a.parquet"
    path.write_bytes(whole)
    read(path)
    _running().send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as reader:
        refused = reader.submit(refusal_of, path)
        wait([refused], timeout=0.2)
        parquet_process.stop_decoding()
        assert refused.result() == (
            "a.parquet: its decoder was ended by signal 9, perhaps because memory ran out. Write smaller row groups, "
            "such as 200,000 rows, or stop other programs."
        )
    assert read(path)[0].height == 200


@pytest.mark.parametrize("program", ["/bin/false", "/nonexistent/python"])
def test_a_decoder_that_cannot_start_is_no_fault_of_the_file(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """A watched folder would otherwise set every file aside."""
    (tmp_path / "a.parquet").write_bytes(whole)
    parquet_process._PROCESS.stop()
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(EnergyForecastError, match="did not start: ") as caught:
        read(tmp_path / "a.parquet")
    assert not isinstance(caught.value, IngestError)


def test_a_service_that_is_stopped_has_its_decoder_until_it_ends_itself(whole: bytes, tmp_path: Path) -> None:
    """systemd sends SIGTERM to all processes: the file in hand must not be refused because its decoder was first."""
    (tmp_path / "a.parquet").write_bytes(whole)
    read(tmp_path / "a.parquet")
    for number in (signal.SIGTERM, signal.SIGINT):
        _running().send_signal(number)
    before = _running()
    assert read(tmp_path / "a.parquet")[0].height == 200
    assert _running() is before


def test_decodes_where_warnings_are_errors(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(whole)
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", READ, str(tmp_path / "a.parquet")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("200 ")


def _running() -> subprocess.Popen[bytes]:
    running = parquet_process._PROCESS._running
    assert running is not None
    return running


def test_counts_the_pages_and_not_what_the_footer_says_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    frame(1000, city=[f"{n:0300}" for n in range(1000)]).write_parquet(path, row_group_size=300)
    groups = list(row_groups(path, ["city"]))
    assert [group.rows for group in groups] == [300, 300, 300, 100]
    assert [round(group.unpacked, -4) for group in groups] == [90_000, 90_000, 90_000, 30_000]
    assert all(group.unpacked < 10_000 for group in row_groups(path, ["consumption_kwh"]))


READ = """
import sys
from pathlib import Path
from energy_forecast.errors import IngestError
from energy_forecast.ingest.readers import parquet_process
from energy_forecast.ingest.reading import open_source
rows = 0
try:
    for piece in open_source(Path(sys.argv[1]), "bomb", ("city", "timestamp", "consumption_kwh"), ()).pieces():
        rows += piece.rows.height + piece.broken.height
except IngestError as error:
    print(error)
# Not ru_maxrss, which a child process has from its parent
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
# Of the decoder
running = parquet_process._PROCESS._running
status = Path(f"/proc/{running.pid}/status").read_text() if running else ""
peak = max([int(peak), *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
print(rows, peak >> 10)
"""


def _huge_cells(count: int) -> pl.Series:
    return pl.Series([f"{number:06}" + "x" * 1_000_000 for number in range(count)])


def _one_huge_cell() -> pl.DataFrame:
    cells = pl.Series(["x" * 1_000_000]).cast(pl.Categorical).new_from_index(0, 10_000)
    return frame(10_000, city=cells)


BOMBS = {
    # 2 kB on the disk, 10 GB if every row had its own copy
    "a huge category": (_one_huge_cell, None, 10_000),
    "a huge text": (_one_huge_cell, None, 10_000),
    "a huge row group": (lambda: frame(300, city=_huge_cells(300)), None, "has 286 MB unpacked"),
    "large row groups": (lambda: frame(400, city=_huge_cells(400)), 200, 400),
    "no values": (lambda: frame(1).clear().match_to_schema(frame(1).schema), None, 0),
}


@pytest.mark.parametrize("name", BOMBS)
def test_reads_or_refuses_a_file_in_bounded_memory(tmp_path: Path, name: str) -> None:
    make, group, outcome = BOMBS[name]
    path = tmp_path / "bomb.parquet"
    make().write_parquet(path, compression="zstd", row_group_size=group)
    if name == "a huge text":
        # Without Arrow's schema the categories are texts; polars writes texts only with a copy for every row
        path.write_bytes(path.read_bytes().replace(b"ARROW:schema", b"arrow:schema"))
    assert path.stat().st_size < 1 << 20
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    *words, last = done.stdout.splitlines()
    rows, megabytes = map(int, last.split())
    assert outcome in " ".join(words) if isinstance(outcome, str) else (rows, words) == (outcome, [])
    assert megabytes < 800
    assert done.stderr == ""
