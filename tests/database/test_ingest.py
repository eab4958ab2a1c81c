"""Loading files into a database: what is stored, what is refused, and that the counts add up."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_forecast.database import Database
from energy_forecast.database.connection import Role
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import DatabaseError, IngestError
from energy_forecast.ingest import Report, import_cities, load_files, load_table, reading
from energy_forecast.ingest.bulk import strategy
from energy_forecast.settings import Settings

CITIES = """name,latitude,longitude,timezone
Berlin,52.52,13.40,Europe/Berlin
Delhi,28.61,77.21,Asia/Kolkata
Lord Howe,-31.55,159.08,Australia/Lord_Howe
"""


@pytest.fixture(autouse=True, params=["staged", "new months beside"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every load both ways: what it does must not depend on its size."""
    monkeypatch.setattr(strategy, "PARTITION_LOAD_ROWS", 0 if request.param != "staged" else 10**9)


@dataclass
class Place:
    """A database with three cities, and a folder for files."""

    database: Database
    folder: Path
    files: int = 0

    def write(self, text: str) -> Path:
        self.files += 1
        path = self.folder / f"file{self.files}.csv"
        path.write_text(text, newline="")
        return path

    def load(self, *texts: str, kind: str = "consumption", **options: Any) -> Report:
        report = load_files(self.database, kind, [self.write(text) for text in texts], **options)
        assert report.read == report.inserted + report.corrected + report.unchanged + report.rejected
        ledger = self.rows(
            "SELECT read, inserted, corrected, unchanged, rejected, jsonb_array_length(files),"
            " (SELECT count(*) FROM ops.rejected_rows WHERE batch_id = id AND NOT cell_only),"
            " (SELECT count(*) FROM ops.rejected_rows WHERE batch_id = id AND cell_only), cells_left_empty"
            " FROM ops.ingest_batches WHERE id = %s",
            report.batch,
        )
        counts = (report.read, report.inserted, report.corrected, report.unchanged, report.rejected)
        cells = report.cells_left_empty
        assert ledger == [(*counts, len(texts), report.rejected, cells, cells)]
        assert sum(reason.count for reason in report.reasons if not reason.cell_only) == report.rejected
        return report

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.url) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            return connection.execute(query, parameters).fetchall()

    def load_of(self, city: str = "Berlin") -> dict[datetime, Decimal]:
        found = self.rows(
            "SELECT timestamp, consumption_kwh FROM energy_consumption JOIN cities c ON c.id = city_id"
            " WHERE name = %s ORDER BY timestamp",
            city,
        )
        return dict(found)

    def revisions(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT timestamp, consumption_kwh, available_at FROM energy_consumption_revisions ORDER BY 1, 3"
        )

    def rejected(self, report: Report) -> list[tuple[int, str | None, str]]:
        return self.rows(
            "SELECT line, column_name, reason FROM ops.rejected_rows WHERE batch_id = %s ORDER BY file, line",
            report.batch,
        )


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Place:
    (tmp_path / "cities.csv").write_text(CITIES)
    import_cities(database, tmp_path / "cities.csv")
    return Place(database, tmp_path)


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def own_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the loader's own zone and PGTZ, which must have no effect."""
    monkeypatch.setenv("TZ", request.param)
    monkeypatch.setenv("PGTZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def hourly(start: datetime, *values: float, city: str = "Berlin") -> str:
    lines = [f"{city},{start + timedelta(hours=n):%Y-%m-%dT%H:%M}Z,{value}" for n, value in enumerate(values)]
    return "city,timestamp,consumption_kwh\n" + "\n".join(lines) + "\n"


def one(value: object, available_at: str | None = None, timestamp: str = "2026-01-05T10:00Z") -> str:
    if available_at is None:
        return f"city,timestamp,consumption_kwh\nBerlin,{timestamp},{value}\n"
    return f"city,timestamp,consumption_kwh,available_at\nBerlin,{timestamp},{value},{available_at}\n"


JANUARY = at(2026, 1, 5)
TEN = at(2026, 1, 5, 10)


# The shape of a load


def test_rows_become_facts_known_from_the_end_of_their_interval(place: Place) -> None:
    report = place.load(hourly(JANUARY, 0, 12.5, 99999))
    assert (report.read, report.inserted) == (3, 3)
    assert place.rows(
        "SELECT timestamp, consumption_kwh, peak_demand_kw, interval_minutes, available_at FROM energy_consumption"
        " ORDER BY 1"
    ) == [
        (JANUARY + timedelta(hours=n), Decimal(value), None, 60, JANUARY + timedelta(hours=n + 1))
        for n, value in enumerate(("0.00", "12.50", "99999.00"))
    ], "zeros and spikes are facts"
    assert any("available when its interval has ended" in note for note in report.notes)


def test_the_same_file_twice_changes_nothing(place: Place) -> None:
    """Values are compared as they are stored: 10.005 is 10.01 there, and 10.01 the second time."""
    text = hourly(JANUARY, 10.005, 2.675, 1e-9, 7, -1, 3.999)
    place.load(text)
    before = place.rows("SELECT * FROM energy_consumption ORDER BY timestamp")
    again = place.load(text)
    assert (again.inserted, again.corrected, again.unchanged, again.rejected) == (0, 0, 5, 1)
    assert place.rows("SELECT * FROM energy_consumption ORDER BY timestamp") == before
    assert place.revisions() == []


def test_the_ledger_holds_the_files_and_the_moment_of_their_rows(place: Place) -> None:
    report = place.load(hourly(JANUARY, 1), hourly(JANUARY, 2, city="Delhi"))
    ((files, loaded_by_someone, same_moment),) = place.rows(
        "SELECT files, loaded_by <> '', created_at = ALL (SELECT created_at FROM energy_consumption)"
        " FROM ops.ingest_batches WHERE id = %s",
        report.batch,
    )
    assert loaded_by_someone
    assert same_moment
    assert [file["name"] for file in files] == list(report.files)
    assert all(re.fullmatch("[0-9a-f]{64}", file["sha256"]) and file["bytes"] > 0 for file in files)


def test_parquet_and_frames_say_the_same_as_csv(place: Place) -> None:
    """2.675 is a little less in binary; as a CSV's text and as a Parquet's number it becomes the same 2.68."""
    frame = pl.DataFrame(
        {
            "city": pl.Series(["Berlin"] * 4, dtype=pl.Categorical),
            "timestamp": pl.datetime_range(at(2026, 1, 5), at(2026, 1, 5, 3), "1h", time_unit="ns", eager=True),
            "consumption_kwh": [2.675, 1e3, 0.1, 5.0],
            "remark": ["x"] * 4,
        }
    )
    path = place.folder / "load.parquet"
    frame.with_columns(pl.col("timestamp").dt.convert_time_zone("Asia/Kolkata")).write_parquet(path)
    assert place.load(hourly(JANUARY, 2.675, 1000, 0.1, 5)).inserted == 4
    for report in (
        load_files(place.database, "consumption", [path]),
        load_table(place.database, "consumption", frame, name="frame"),
    ):
        assert (report.read, report.unchanged) == (4, 4)
        assert "columns ignored: remark" in report.notes[0]


def test_a_parquet_row_is_named_by_its_number_and_naive_times_follow_the_same_rule(place: Place) -> None:
    frame = pl.DataFrame(
        {
            "city": ["Berlin", "Nowhere", None, "Berlin", "Berlin"],
            "timestamp": [datetime(2026, 1, 5, hour) for hour in range(5)],  # noqa: DTZ001
            "consumption_kwh": [1.0, 2.0, 3.0, float("nan"), float("inf")],
        }
    )
    naive = load_table(place.database, "consumption", frame, name="frame")
    assert naive.rejected == 5
    report = load_table(place.database, "consumption", frame, name="frame", timezone="city")
    assert [(row.line, row.column) for row in report.rejected_examples] == [
        (2, "city"),
        (3, "city"),
        (4, "consumption_kwh"),
        (5, "consumption_kwh"),
    ]
    assert list(place.load_of()) == [at(2026, 1, 4, 23)]
    with pytest.raises(IngestError, match="type List"):
        load_table(place.database, "consumption", frame.with_columns(city=pl.lit([["x"]])), name="frame")


def test_nothing_of_a_batch_is_loaded_when_one_of_its_files_cannot_be_read(place: Place) -> None:
    good, bad = place.write(hourly(JANUARY, 1)), place.write("a;b\n")
    cut = place.folder / "cut.csv.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")
    for other in (bad, cut, place.folder / "missing.csv"):
        with pytest.raises(IngestError):
            load_files(place.database, "consumption", [good, other])
    assert place.load_of() == {}
    assert place.rows("SELECT kind FROM ops.ingest_batches WHERE kind <> 'cities'") == []


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("gas", {}, "'gas' not found"),
        ("consumption", {"timezone": "Middle/Earth"}, "'Middle/Earth' not found"),
        ("consumption", {"timezone": "localtime"}, "'localtime' not found"),
        ("consumption", {"interval_minutes": 45}, "divide"),
        ("weather-forecasts", {"interval_minutes": 60}, "no interval"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_in_one_line(
    place: Place, kind: str, options: dict[str, Any], words: str
) -> None:
    columns = "issued_at,temperature" if kind == "weather-forecasts" else "consumption_kwh"
    header = f"city,timestamp,{columns}\n"
    with pytest.raises(IngestError, match=words):
        load_files(place.database, kind, [place.write(header)], **options)


def test_a_server_that_is_gone_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(one(1))
    with pytest.raises(DatabaseError, match="Cannot connect"):
        load_files(Database(f"postgresql:///x?host={tmp_path}"), "consumption", [tmp_path / "file.csv"])


# What is refused


BAD_ROWS: list[tuple[str, str | None]] = [
    ("Berlin,infinity,1", "timestamp"),
    ("Berlin,now,1", "timestamp"),
    ("Berlin,epoch,1", "timestamp"),
    ("Berlin,tomorrow,1", "timestamp"),
    ("Berlin,10:00 IST,1", "timestamp"),
    ("Berlin,1767603600,1", "timestamp"),
    ("Berlin,2026-01-05,1", "timestamp"),
    ("Berlin,2026-01-05T10:00,1", "timestamp"),
    ("Berlin,2026-01-05T10:00:30Z,1", "timestamp"),
    ("Berlin,2026-01-05T10:00:00.5Z,1", "timestamp"),
    ("Berlin,1969-12-31T23:00Z,1", "timestamp"),
    ("Berlin,2126-01-05T10:00Z,1", "timestamp"),
    ("Berlin,,1", "timestamp"),
    ("Berlin,2026-01-05T10:00\x00Z,1", "timestamp"),
    ("Berlin,2026-01-05T10:00Z,", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,NaN", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,inf", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,-Infinity", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,1e400", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,0x1F", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,1_000", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,1 000", "consumption_kwh"),
    ('Berlin,2026-01-05T10:00Z,"1,5"', "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,\u0661", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z," + "0" * 100 + "1", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,-0.01", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,9999999999.995", "consumption_kwh"),
    ("Berlin,2026-01-05T10:00Z,1e10", "consumption_kwh"),
    ("Berlim,2026-01-05T10:00Z,1", "city"),
    (",2026-01-05T10:00Z,1", "city"),
    ("Ber\x00lin,2026-01-05T10:00Z,1", "city"),
    ("Berlin,2026-01-05T10:00Z", None),
    ("Berlin,2026-01-05T10:00Z,1,2", None),
    ('"Berlin,2026-01-05T10:00Z,1', None),
]


def test_rows_that_cannot_be_taken_are_kept_with_their_line_and_the_others_are_loaded(place: Place) -> None:
    """Every trap in one file, each between two good rows."""
    good = [f"Berlin,{JANUARY + timedelta(hours=n):%Y-%m-%dT%H:%M}Z,1\n" for n in range(len(BAD_ROWS) + 1)]
    text = good[0] + "".join(f"{row}\n{after}" for (row, _), after in zip(BAD_ROWS, good[1:], strict=True))
    report = place.load("city,timestamp,consumption_kwh\n" + text)
    rejected = place.rejected(report)
    assert [(line, column) for line, column, _ in rejected] == [
        (3 + 2 * n, column) for n, (_, column) in enumerate(BAD_ROWS)
    ]
    assert all(reason for _, _, reason in rejected)
    assert [row.reason for row in report.rejected_examples] == [reason for _, _, reason in rejected[:10]]
    assert report.inserted == len(good)
    assert set(place.load_of().values()) == {Decimal(1)}


def test_a_refused_row_is_kept_as_it_stood(place: Place) -> None:
    report = place.load("city,timestamp,consumption_kwh\nBerlin,now,\\u0000\x00\nx;y\n")
    assert place.rows("SELECT row_data FROM ops.rejected_rows WHERE batch_id = %s ORDER BY line", report.batch) == [
        ({"city": "Berlin", "timestamp": "now", "consumption_kwh": "\\u0000\\0"},),
        ({"text": "x;y"},),
    ]


def test_the_largest_values_that_fit_are_taken(place: Place) -> None:
    place.load("city,timestamp,consumption_kwh,peak_demand_kw\nBerlin,2026-01-05T10:00Z,9999999999.99,0\n")
    assert place.load_of() == {TEN: Decimal("9999999999.99")}


@given(st.lists(st.one_of(
    st.floats().map(repr), st.decimals().map(str), st.integers().map(str),
    st.text("-+0123456789.eE_xXaN ", max_size=70),
    st.text(st.characters(codec="utf-8", exclude_characters=',"\n\r'), max_size=20),
), min_size=1, max_size=30))  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
def test_whatever_stands_for_a_number_no_row_aborts_the_load(place: Place, texts: list[str]) -> None:
    """PostgreSQL accepts each accepted row, and the others are counted. Negative load is refused as a whole."""
    lines = [f"Berlin,{JANUARY + timedelta(hours=n):%Y-%m-%dT%H:%M}Z,{text}" for n, text in enumerate(texts)]
    refusal = ""
    try:
        assert place.load("city,timestamp,consumption_kwh\n" + "\n".join(lines) + "\n").read == len(texts)
    except IngestError as error:
        refusal = str(error)
    assert not refusal or "Net load is not supported" in refusal or "Consumption cannot be negative" in refusal


def test_rows_of_unknown_cities_are_summed_up_once_a_city(place: Place) -> None:
    rows = "".join(f"{city},2026-01-05T10:00Z,1\n" for city in ("Atlantis", "Atlantis", "Berlin", "Ys"))
    report = place.load("city,timestamp,consumption_kwh\n" + rows)
    (note,) = (note for note in report.notes if "Atlantis" in note)
    assert "'Atlantis' (2 rows)" in note
    assert "'Ys' (1 row)" in note
    assert "`add_city`" in note
    assert "`add_city`" in report.rejected_examples[0].reason


def test_a_name_that_is_nearly_that_of_a_city_is_told_which(place: Place) -> None:
    """Names are not guessed: the row is refused, with the name that may be meant."""
    report = place.load(hourly(JANUARY, 1, city="Berlim") + hourly(JANUARY, 1, city="Xyz").split("\n", 1)[1])
    assert [row.reason for row in report.rejected_examples] == [
        "city 'Berlim' not found; did you mean 'Berlin'? If not, add it: `add_city`, or `import_cities`",
        "city 'Xyz' not found; add it: `add_city`, or `import_cities`",
    ]
    assert any("'Berlim' (1 row; did you mean 'Berlin'?), 'Xyz' (1 row)" in note for note in report.notes)


def test_a_temperature_outside_its_range_costs_the_row_and_an_optional_value_only_itself(place: Place) -> None:
    rows = ["60,100,150,500", "-90,0,0,0", "60.01,,,", "-91,,,", ",,,", "1,101,,", "1,,151,", "1,,,-0.1", "1,x,,"]
    text = "city,timestamp,temperature,humidity,wind_speed,precipitation\n" + "".join(
        f"Berlin,{JANUARY + timedelta(hours=n):%Y-%m-%dT%H:%M}Z,{row}\n" for n, row in enumerate(rows)
    )
    report = place.load(text, kind="weather")
    assert (report.inserted, report.rejected, report.cells_left_empty, report.kept) == (6, 3, 4, 7)
    assert [column for _, column, _ in place.rejected(report)] == [
        "temperature", "temperature", "temperature", "humidity", "wind_speed", "precipitation", "humidity",
    ]  # fmt: skip
    stored = "SELECT temperature, humidity, wind_speed, precipitation FROM weather_data ORDER BY timestamp"
    assert place.rows(stored) == [
        (60, 100, 150, 500), (-90, 0, 0, 0), *[(1, None, None, None)] * 4,
    ]  # fmt: skip
    again = place.load(text, kind="weather")
    assert (again.unchanged, again.rejected, again.cells_left_empty) == (6, 3, 4), "it changes nothing"


def test_an_implausible_optional_value_leaves_what_is_stored(place: Place) -> None:
    """And its row still corrects the other values."""
    head = "city,timestamp,temperature,humidity,precipitation\nBerlin,2026-01-05T10:00Z,"
    place.load(head + "3,90,0\n", kind="weather")
    place.load(head + "4,101,-1\n", kind="weather")
    stored = "SELECT temperature, humidity, precipitation FROM weather_data"
    assert place.rows(stored) == [(4, 90, 0)]
    assert place.load(head + "4,-5,T\n", kind="weather").unchanged == 1
    assert place.rows(stored) == [(4, 90, 0)]


@pytest.mark.parametrize("kind", ["consumption", "weather-forecasts"])
def test_an_implausible_optional_value_costs_only_itself_in_every_kind(place: Place, kind: str) -> None:
    heads = {
        "consumption": "city,timestamp,consumption_kwh,peak_demand_kw\nBerlin,2026-01-05T{hour:02}:00Z,5,{value}\n",
        "weather-forecasts": "city,issued_at,timestamp,temperature,wind_speed\n"
        "Berlin,2026-01-05T00:00Z,2026-01-05T{hour:02}:00Z,5,{value}\n",
    }
    values = ["7", "-1", "NaN", "n/a", "1e30", "7,5", ""]
    head, row = heads[kind].split("\n")[:2]
    lines = [row.format(hour=hour, value=f'"{value}"') for hour, value in enumerate(values)]
    text = "\n".join([head, *lines]) + "\n"
    report = place.load(text, kind=kind)
    assert (report.inserted, report.rejected, report.cells_left_empty) == (7, 0, 5)
    stored = "SELECT peak_demand_kw FROM energy_consumption ORDER BY timestamp"
    if kind == "weather-forecasts":
        stored = "SELECT wind_speed FROM weather_forecasts ORDER BY timestamp"
    assert place.rows(stored) == [(7,), *[(None,)] * 6]
    assert place.load(text, kind=kind).unchanged == 7


def test_a_cell_of_a_row_that_is_refused_later_is_not_lost(place: Place) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = "".join(f"Berlin,{now - timedelta(hours=hour):%Y-%m-%dT%H:%M}Z,5,-1\n" for hour in (0, 1, 2))
    report = place.load("city,timestamp,consumption_kwh,peak_demand_kw\n" + rows)
    assert (report.inserted, report.rejected, report.cells_left_empty, report.kept) == (2, 1, 3, 4)


@pytest.mark.parametrize("most", [10, 15])
def test_keeps_the_first_rejected_rows_and_counts_the_others(
    place: Place, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows before cells, whether the client or the database refused them."""
    monkeypatch.setattr(reading, "settings", lambda: Settings(rejected_rows_kept=most))
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    early = [f"Berlin,{now - timedelta(minutes=minute):%Y-%m-%dT%H:%M}Z,5,1" for minute in range(0, 60, 15)]
    strange = [f"Berlin,2026-01-05T{hour:02}:{minute:02}Z,5,-1" for hour in range(2) for minute in range(0, 60, 15)]
    bad = [f"Berlin,2026-01-{day:02}T00:00,5,1" for day in range(1, 9)]
    lines = "\n".join([*strange, *bad, *early])
    text = f"city,timestamp,consumption_kwh,peak_demand_kw\n{lines}\n"
    report = load_files(place.database, "consumption", [place.write(text)], interval_minutes=15)
    assert (report.read, report.inserted + report.rejected, report.cells_left_empty) == (20, 20, 8)
    assert report.kept == most
    kept = dict(place.rows("SELECT cell_only, count(*) FROM ops.rejected_rows GROUP BY 1"))
    assert kept[False] == min(report.rejected, most)
    assert sum(one.count for one in report.reasons if one.column == "timestamp" and not one.cell_only) >= 8


def test_refuses_a_file_of_which_nothing_can_be_used_before_its_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressed file of some kilobytes can hold rows for hours."""
    monkeypatch.setattr(reading, "_MOST_WITHOUT_USE", 1000)
    with pytest.raises(IngestError, match=r"none of the first 1,500 rows can be used. The first: 1 fields"):
        place.load("city,timestamp,consumption_kwh\n" + "x\n" * 1500)
    assert place.rows("SELECT count(*) FROM ops.rejected_rows") == [(0,)]


def test_an_interval_that_has_not_ended_is_refused(place: Place) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    report = place.load(hourly(now - timedelta(hours=3), 1, 2, 3, 4, 5))
    assert (report.inserted, report.rejected) == (3, 2)
    assert {column for _, column, _ in place.rejected(report)} == {"timestamp"}


def test_available_at_before_the_end_or_in_the_future_is_refused(place: Place) -> None:
    text = "city,timestamp,consumption_kwh,available_at\n" + "".join(
        f"Berlin,2026-01-05T{hour:02d}:00Z,1,{moment}\n"
        for hour, moment in enumerate(["2026-01-05T00:59:59Z", "2126-01-01T00:00Z", "2026-01-05T03:00:00.5Z", "", "x"])
    )
    report = place.load(text)
    assert [(line, column) for line, column, _ in place.rejected(report)] == [
        (2, "available_at"),
        (3, "available_at"),
        (6, "available_at"),
    ]
    assert place.rows("SELECT available_at FROM energy_consumption ORDER BY timestamp") == [
        (datetime(2026, 1, 5, 3, 0, 0, 500_000, tzinfo=UTC),),
        (at(2026, 1, 5, 4),),
    ]


# Local time


@pytest.mark.usefixtures("own_zone")
def test_the_days_of_a_clock_change_have_23_24_and_25_hours(place: Place) -> None:
    """A day of a utility's file in local time: the hour that happened twice is told apart by its order."""

    def day(date: str, hours: list[int]) -> str:
        return "".join(f"Berlin,{date} {hour:02d}:00,{n}\n" for n, hour in enumerate(hours))

    text = "city,timestamp,consumption_kwh\n"
    text += day("2026-03-29", [0, 1, *range(3, 24)])
    text += day("2026-06-01", list(range(24)))
    text += day("2026-10-25", [0, 1, 2, *range(2, 24)])
    for zone in ("city", "Europe/Berlin"):
        report = place.load(text, timezone=zone)
        assert (report.read, report.rejected) == (72, 0)
        assert any("distinguished by their order in the file: 2" in note for note in report.notes)
    assert report.unchanged == 72
    expected = [at(2026, 3, 28, 23) + timedelta(hours=n) for n in range(23)]
    expected += [at(2026, 5, 31, 22) + timedelta(hours=n) for n in range(24)]
    expected += [at(2026, 10, 24, 22) + timedelta(hours=n) for n in range(25)]
    assert list(place.load_of()) == expected
    assert list(place.load_of().values())[-25:] == list(range(25)), "no value changed its place"


@pytest.mark.usefixtures("own_zone")
def test_zones_with_half_hours_are_read_right(place: Place) -> None:
    text = "city,timestamp,consumption_kwh\n" + "".join(f"Delhi,2026-03-29T{n:02d}:00,{n}\n" for n in range(24))
    assert place.load(text, timezone="city").inserted == 24
    assert list(place.load_of("Delhi")) == [at(2026, 3, 28, 18, 30) + timedelta(hours=n) for n in range(24)]
    # Half an hour that happens twice
    walls = ["00:30", "01:00", "01:30", "01:30", "02:00", "02:30"]
    text = "city,timestamp,consumption_kwh\n" + "".join(
        f"Lord Howe,2026-04-05T{wall},{n}\n" for n, wall in enumerate(walls)
    )
    assert place.load(text, timezone="city", interval_minutes=30).rejected == 0
    assert list(place.load_of("Lord Howe")) == [at(2026, 4, 4, 13, 30) + timedelta(minutes=30 * n) for n in range(6)]


REPEATED_HOURS: list[tuple[str, int, list[str]]] = [
    ("out of order before it", 2, ["01:00", "00:00", "02:00", "02:00", "03:00"]),
    ("out of order after it", 2, ["01:00", "02:00", "02:00", "04:00", "03:00"]),
    ("only one of the two", 1, ["01:00", "02:00", "03:00", "04:00"]),
    ("three of them", 3, ["01:00", "02:00", "02:00", "02:00", "03:00"]),
    ("backwards", 2, ["04:00", "03:00", "02:00", "02:00", "01:00", "00:00"]),
    ("nothing before it", 2, ["02:00", "02:00", "03:00", "04:00"]),
    ("nothing after it", 2, ["00:00", "01:00", "02:00", "02:00"]),
    ("not next to each other", 2, ["00:00", "01:00", "02:00", "03:00", "02:00", "04:00"]),
    ("every row doubled", 2, ["01:00", "01:00", "02:00", "02:00", "03:00", "03:00"]),
    ("pair by pair", 4, ["01:30", "02:00", "02:00", "02:30", "02:30", "03:00"]),
    ("one half hour missing", 3, ["01:30", "02:00", "02:30", "02:00", "03:00"]),
    ("both half hours twice, in order", 0, ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]),
]


def test_the_repeated_hour_is_refused_unless_its_order_is_unmistakable(place: Place) -> None:
    for words, refused, walls in REPEATED_HOURS:
        text = "city,timestamp,consumption_kwh\n" + "".join(f"Berlin,2025-10-26 {wall},5\n" for wall in walls)
        report = place.load(text, timezone="city")
        assert report.rejected == refused, words
        assert all("happened twice in Europe/Berlin" in reason for _, _, reason in place.rejected(report)), words


def test_cities_side_by_side_in_a_file_do_not_hide_the_order_of_one(place: Place) -> None:
    hours = [0, 1, 2, 2, 3, 4]
    text = "city,timestamp,consumption_kwh\n" + "".join(
        f"Berlin,2025-10-26 {hour:02d}:00,{n}\nDelhi,2025-10-26 {n:02d}:00,{n}\n" for n, hour in enumerate(hours)
    )
    report = place.load(text, timezone="city")
    assert (report.inserted, report.rejected) == (12, 0)


def test_the_skipped_hour_is_refused(place: Place) -> None:
    report = place.load(one(1, timestamp="2026-03-29 02:30"), timezone="city")
    assert "never happened in Europe/Berlin" in place.rejected(report)[0][2]


def test_a_naive_time_is_refused_with_the_option_that_says_how_to_read_it(place: Place) -> None:
    report = place.load(one(1, timestamp="2026-01-05 10:00"))
    assert "`timezone`" in place.rejected(report)[0][2]


# How long an interval is


def test_the_interval_is_the_most_common_gap(place: Place) -> None:
    """Gaps in the record and the rows' order do not mislead it."""
    for day, minutes in enumerate((60, 30, 15, 20, 5, 1)):
        start = JANUARY + timedelta(days=3 * day)
        moments = [start + timedelta(minutes=minutes * n) for n in range(40) if n not in (7, 8, 20)]
        rows = [f"Berlin,{moment:%Y-%m-%dT%H:%M}Z,1" for moment in moments]
        place.load("city,timestamp,consumption_kwh\n" + "\n".join(rows[::2] + rows[1::2][::-1]) + "\n")
        assert place.rows("SELECT DISTINCT interval_minutes FROM energy_consumption WHERE timestamp >= %s", start) == [
            (minutes,)
        ]


def test_each_city_has_its_own_interval(place: Place) -> None:
    rows = [f"Berlin,{JANUARY + timedelta(minutes=15 * n):%Y-%m-%dT%H:%M}Z,1" for n in range(9)]
    rows += [f"Delhi,{JANUARY + timedelta(minutes=30 * n):%Y-%m-%dT%H:%M}Z,1" for n in range(9)]
    place.load("city,timestamp,consumption_kwh\n" + "\n".join(rows) + "\n")
    found = place.rows("SELECT DISTINCT name, interval_minutes FROM energy_consumption JOIN cities c ON c.id = city_id")
    assert sorted(found) == [("Berlin", 15), ("Delhi", 30)]


def test_a_few_rows_take_the_interval_that_the_city_has(place: Place) -> None:
    rows = [f"Berlin,{JANUARY + timedelta(minutes=15 * n):%Y-%m-%dT%H:%M}Z,1" for n in range(40)]
    place.load("city,timestamp,consumption_kwh\n" + "\n".join(rows) + "\n")
    later = place.load(
        "city,timestamp,consumption_kwh\nBerlin,2026-01-06T00:00Z,1\nBerlin,2026-01-06T00:30Z,1\n"
        "Berlin,2026-01-06T01:00Z,1\n"
    )
    assert later.inserted == 3
    assert place.rows("SELECT DISTINCT interval_minutes FROM energy_consumption") == [(15,)]


def test_a_day_of_hours_for_a_city_of_quarters_is_noted(place: Place) -> None:
    """Its energy would count four times. A single corrected quarter here and there is usual."""
    place.load(HEADER + quarters(*(15 * n for n in range(200))))
    report = place.load(HEADER + quarters(*(60 * n for n in range(24)), value=4))
    assert report.corrected == 24
    assert any("The rows of Berlin are 60 minutes apart, but count as 15-minute values" in one for one in report.notes)
    assert place.load(HEADER + quarters(*(60 * n for n in range(24)), value=4), interval_minutes=60).corrected == 24
    few = place.load(HEADER + quarters(0, 60, 165, 300, 315, 420, value=3))
    assert not any("minutes apart" in one for one in few.notes)


def test_a_few_rows_closer_than_the_city_has_had_are_believed(place: Place) -> None:
    """Intervals of an hour that begin every quarter would overlap."""
    place.load(hourly(JANUARY, *range(30)))
    rows = "".join(f"Berlin,2026-02-01T00:{minute:02d}Z,1\n" for minute in (0, 15, 30, 45))
    place.load("city,timestamp,consumption_kwh\n" + rows)
    assert place.rows("SELECT DISTINCT interval_minutes FROM energy_consumption WHERE timestamp >= '2026-02-01Z'") == [
        (15,)
    ]


def test_an_interval_that_nothing_tells_is_an_hour_and_the_report_says_so(place: Place) -> None:
    report = place.load(one(1))
    assert place.rows("SELECT interval_minutes FROM energy_consumption") == [(60,)]
    assert any("Berlin" in note and "60 minutes are assumed" in note for note in report.notes)
    daily = place.load(one(1, timestamp="2026-01-06T00:00Z") + "Berlin,2026-01-07T00:00Z,2\n")
    assert daily.inserted == 2


def test_an_interval_that_the_user_gives_wins(place: Place) -> None:
    place.load(hourly(JANUARY, 1, 2, 3), interval_minutes=30)
    assert place.rows("SELECT DISTINCT interval_minutes, available_at - timestamp FROM energy_consumption") == [
        (30, timedelta(minutes=30))
    ]
    again = place.load(hourly(JANUARY, 1, 2, 3), interval_minutes=60)
    assert again.corrected == 3, "another length of the interval is a correction"
    assert place.load(hourly(JANUARY, 1, 2, 3), interval_minutes=60).unchanged == 3


# Within one load


def test_identical_rows_of_one_load_count_once(place: Place) -> None:
    report = place.load(one("5") + "Berlin,2026-01-05T11:00+01:00,5.00\nBerlin,2026-01-05T10:00Z,4.996\n", one(5))
    assert (report.read, report.inserted, report.unchanged) == (4, 1, 3)
    assert "Rows that repeat another row of this batch: 3." in report.notes


def test_rows_that_contradict_each_other_are_all_refused(place: Place) -> None:
    """Which one is right is not knowable: neither the first nor the last is better."""
    first = place.write(one(5) + "Berlin,2026-01-05T10:00Z,5\nBerlin,2026-01-05T10:00Z,6\nBerlin,2026-01-05T11:00Z,7\n")
    second = place.write(one(7))
    report = load_files(place.database, "consumption", [first, second])
    assert (report.inserted, report.rejected) == (1, 4)
    assert place.rejected(report) == [
        (2, None, "line 4 gives other values for the same city and timestamp"),
        (3, None, "line 4 gives other values for the same city and timestamp"),
        (4, None, "line 2 gives other values for the same city and timestamp"),
        (2, None, "line 2 of file1.csv gives other values for the same city and timestamp"),
    ]


def test_versions_with_their_own_moments_are_a_history(place: Place) -> None:
    """The newest is the value; the older ones can be read back as of their time."""
    text = one(7, "2026-01-07T00:00Z") + "".join(
        f"Berlin,2026-01-05T10:00Z,{value},2026-01-{day:02d}T00:00Z\n"
        for value, day in ((5, 6), (7, 8), (9, 12), (6, 9))
    )
    report = place.load(text)
    assert (report.inserted, report.unchanged) == (1, 4)
    assert place.load_of() == {TEN: Decimal(9)}
    assert [(value, moment.day) for _, value, moment in place.revisions()] == [(5, 6), (7, 7), (6, 9)]
    assert any("with a later available_at: 3." in note for note in report.notes)
    again = place.load(text)
    assert again.unchanged == 5
    assert len(place.revisions()) == 3
    known = place.rows(
        "SELECT day, (consumption_as_of(c.id, make_timestamptz(2026, 1, day, 0, 0, 0), %s, %s)).consumption_kwh"
        " FROM cities c, generate_series(6, 13) AS day WHERE name = 'Berlin'",
        JANUARY,
        at(2026, 1, 6),
    )
    assert known == [(6, 5), (7, 7), (8, 7), (9, 6), (10, 6), (11, 6), (12, 9), (13, 9)]


@given(st.permutations(range(5)), st.sets(st.integers(1, 4), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=8)
def test_versions_with_moments_end_the_same_in_whatever_order_and_files_they_come(
    place: Place, order: list[int], cuts: set[int]
) -> None:
    """What was known when does not depend on when a file was at hand."""
    # A key of its own for each example: version n says n, and is known from the day after the n-th
    (count,) = place.rows("SELECT count(*) FROM energy_consumption")[0]
    moment = JANUARY + timedelta(hours=count)
    lines = [f"Berlin,{moment:%Y-%m-%dT%H:%MZ},{n},{JANUARY + timedelta(days=10 + n):%Y-%m-%dT%H:%MZ}" for n in order]
    edges = [0, *sorted(cuts), 5]
    for first, end in itertools.pairwise(edges):
        place.load("city,timestamp,consumption_kwh,available_at\n" + "\n".join(lines[first:end]) + "\n")
    known = place.rows(
        "SELECT n, v.consumption_kwh FROM cities c, generate_series(-1, 5) AS n LEFT JOIN LATERAL"
        " consumption_as_of(c.id, %s + make_interval(days => 10 + n), %s, %s) v ON true WHERE c.name = 'Berlin'",
        JANUARY,
        moment,
        moment + timedelta(hours=1),
    )
    assert known == [(-1, None), (0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4)]


def test_versions_of_one_moment_or_of_none_are_no_history(place: Place) -> None:
    same = one(5, "2026-01-06T00:00Z") + "Berlin,2026-01-05T10:00Z,6,2026-01-06T01:00:00+01:00\n"
    assert place.load(same).rejected == 2
    some = one(5, "2026-01-06T00:00Z") + "Berlin,2026-01-05T10:00Z,6,\n"
    assert place.load(some).rejected == 2


# Against what is stored


def test_a_correction_keeps_the_old_value_and_counts_from_now(place: Place) -> None:
    """Nobody could know it earlier here, so no backtest may."""
    before = datetime.now(UTC)
    place.load(one(5))
    report = place.load(one(6))
    assert report.corrected == 1
    ((value, available_at, same),) = place.rows(
        "SELECT consumption_kwh, available_at, available_at = created_at FROM energy_consumption"
    )
    assert value == 6
    assert same
    assert before <= available_at <= datetime.now(UTC)
    assert place.revisions() == [(TEN, Decimal(5), at(2026, 1, 5, 11))]
    assert (
        "Corrections whose available_at is missing, or equals that of the corrected value: 1. "
        "They count as available from now."
    ) in report.notes


def test_a_correction_with_its_moment_counts_from_then(place: Place) -> None:
    place.load(one(5))
    assert place.load(one(6, "2026-01-20T00:00Z")).corrected == 1
    assert place.rows("SELECT consumption_kwh, available_at FROM energy_consumption") == [(6, at(2026, 1, 20))]


def test_a_corrected_value_can_be_given_the_moment_from_which_it_was_known(place: Place) -> None:
    """A history that was loaded in the wrong unit, and corrected, spoils no backtest for good."""
    place.load(one(5))
    assert place.load(one(5000)).corrected == 1
    for _ in range(2):
        report = place.load(one(5000, "2026-01-05T11:01Z"))
        assert (report.corrected, report.unchanged) == (0, 1)
        assert any("with a later available_at: 1." in note for note in report.notes)
    assert place.revisions() == [(TEN, Decimal(5), at(2026, 1, 5, 11)), (TEN, Decimal(5000), at(2026, 1, 5, 11, 1))]
    as_of = "SELECT consumption_kwh FROM cities c, consumption_as_of(c.id, %s, %s, %s) WHERE name = 'Berlin'"
    assert place.rows(as_of, at(2026, 1, 6), JANUARY, at(2026, 1, 6)) == [(5000,)]
    assert place.rows(as_of, at(2026, 1, 5, 11), JANUARY, at(2026, 1, 6)) == [(5,)]


def test_an_older_file_after_a_newer_one_does_not_win(place: Place) -> None:
    place.load(one(6, "2026-01-20T00:00Z"))
    for _ in range(2):
        report = place.load(one(5, "2026-01-10T00:00Z"))
        assert (report.corrected, report.unchanged) == (0, 1)
        assert any("with a later available_at: 1." in note for note in report.notes)
    assert place.load_of() == {TEN: Decimal(6)}
    assert place.revisions() == [(TEN, Decimal(5), at(2026, 1, 10))], "kept once"


def test_a_repeat_of_the_old_file_after_a_correction_does_not_win(place: Place) -> None:
    for value, counts in (
        (5, (1, 0, 0)),
        (6, (0, 1, 0)),
        (5, (0, 0, 1)),
        (6, (0, 0, 1)),
        (7, (0, 1, 0)),
        (5, (0, 0, 1)),
    ):
        report = place.load(one(value))
        assert (report.inserted, report.corrected, report.unchanged) == counts
    assert place.load_of() == {TEN: Decimal(7)}
    assert any("repeat a value that was corrected later: 1." in note for note in report.notes)
    assert place.load(one(5, "2026-02-01T00:00Z")).corrected == 0, "known before the correction was"


def test_two_files_that_claim_the_same_moment_do_not_take_turns(place: Place) -> None:
    moment = "2026-01-10T00:00Z"
    before = datetime.now(UTC) - timedelta(minutes=1)
    place.load(one(5, moment))
    assert place.load(one(6, moment)).corrected == 1
    assert place.load(one(5, moment)).unchanged == 1
    assert place.load_of() == {TEN: Decimal(6)}
    [(known,)] = place.rows("SELECT available_at FROM energy_consumption")
    assert known > before, "6 cannot have been known when 5 was; a backtest of that moment still sees 5"


def test_a_value_that_was_true_twice_is_kept_for_both_times(place: Place) -> None:
    """5, then 7, then 5 again, then 6: the third arrives last, and a backtest of its time needs it."""
    for value, day in ((5, 10), (7, 12), (6, 20), (5, 15)):
        place.load(one(value, f"2026-01-{day}T00:00Z"))
    assert [(value, moment.day) for _, value, moment in place.revisions()] == [(5, 10), (7, 12), (5, 15)]
    assert place.load_of() == {TEN: Decimal(6)}


def test_the_same_value_with_another_moment_changes_nothing(place: Place) -> None:
    place.load(one(5, "2026-01-10T00:00Z"))
    for moment in ("2026-01-08T00:00Z", "2026-01-20T00:00Z"):
        assert place.load(one(5, moment)).unchanged == 1
    assert place.rows("SELECT available_at FROM energy_consumption") == [(at(2026, 1, 10),)]
    assert place.revisions() == []


def test_a_value_that_returns_with_a_newer_moment_is_a_correction(place: Place) -> None:
    place.load(one(5, "2026-01-10T00:00Z"))
    place.load(one(6, "2026-01-11T00:00Z"))
    assert place.load(one(5, "2026-01-12T00:00Z")).corrected == 1


def test_an_empty_field_or_a_missing_column_never_wipes_a_value(place: Place) -> None:
    peak = "city,timestamp,consumption_kwh,peak_demand_kw\nBerlin,2026-01-05T10:00Z,5,{}\n"
    place.load(peak.format("9"))
    assert place.load(peak.format("")).unchanged == 1
    assert place.load(one(5)).unchanged == 1
    assert place.load(one(6)).corrected == 1
    assert place.rows("SELECT consumption_kwh, peak_demand_kw FROM energy_consumption") == [(6, 9)]
    assert place.load(peak.format("8").replace(",5,", ",6,")).corrected == 1


def test_a_value_that_was_not_known_before_is_a_correction(place: Place) -> None:
    place.load(one(5))
    text = "city,timestamp,consumption_kwh,peak_demand_kw\nBerlin,2026-01-05T10:00Z,5,9\n"
    assert place.load(text).corrected == 1
    assert place.load(text).unchanged == 1


def test_weather_is_corrected_as_consumption_is(place: Place) -> None:
    def weather(temperature: float, humidity: str = "") -> str:
        return f"city,timestamp,temperature,humidity\nDelhi,2026-01-05T10:00Z,{temperature},{humidity}\n"

    counts = [
        (report.inserted, report.corrected, report.unchanged)
        for report in (
            place.load(weather(*row), kind="weather") for row in ((20.0, "50"), (21.5,), (20.0,), (21.5, "50"))
        )
    ]
    assert counts == [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1)]
    assert place.rows("SELECT temperature, humidity, wind_speed FROM weather_data") == [(Decimal("21.5"), 50, None)]
    assert place.rows("SELECT temperature, humidity FROM weather_data_revisions") == [(20, 50)]
    older = "city,timestamp,temperature,available_at\nDelhi,2026-01-05T10:00Z,19,2026-01-05T12:00Z\n"
    assert place.load(older, kind="weather").unchanged == 1
    assert place.rows("SELECT count(*) FROM weather_data_revisions") == [(2,)]


def test_months_that_were_never_seen_get_partitions_and_no_others(place: Place) -> None:
    place.load(one(1, timestamp="1999-12-31T23:00Z") + "Berlin,2003-06-01T00:00Z,2\n")
    assert place.rows(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname < 'energy_consumption_y2020'"
        " AND relname LIKE 'energy\\_consumption\\_y%%' ORDER BY 1"
    ) == [("energy_consumption_y1999m12",), ("energy_consumption_y2003m06",)]


# Weather forecasts


def forecast(temperature: object, issued_at: str = "2026-01-05T00:00Z", timestamp: str = "2026-01-05T06:00Z") -> str:
    return f"city,issued_at,timestamp,temperature,humidity\nBerlin,{issued_at},{timestamp},{temperature},50\n"


def test_every_issue_of_a_forecast_stands_beside_the_others(place: Place) -> None:
    for hour in range(3):
        assert place.load(forecast(hour, f"2026-01-05T{hour:02d}:30:20Z"), kind="weather-forecasts").inserted == 1
    assert place.rows("SELECT temperature FROM weather_forecasts ORDER BY issued_at") == [(0,), (1,), (2,)]


def test_a_forecast_that_was_issued_is_never_changed(place: Place) -> None:
    place.load(forecast(1), kind="weather-forecasts")
    assert place.load(forecast("1.00"), kind="weather-forecasts").unchanged == 1
    report = place.load(forecast(2), kind="weather-forecasts")
    assert report.rejected == 1
    assert "a forecast that was issued is never changed" in report.rejected_examples[0].reason
    assert place.rows("SELECT temperature FROM weather_forecasts") == [(1,)]


def test_forecasts_may_be_of_the_future_but_not_issued_in_it_or_after_their_time(place: Place) -> None:
    now = datetime.now(UTC)
    soon = f"{now + timedelta(days=3):%Y-%m-%dT%H:00Z}"
    assert place.load(
        forecast(1, f"{now - timedelta(hours=1):%Y-%m-%dT%H:%MZ}", soon), kind="weather-forecasts"
    ).inserted
    for issued_at, timestamp, column in (
        (f"{now + timedelta(hours=1):%Y-%m-%dT%H:%MZ}", soon, "issued_at"),
        ("2026-01-05T06:00:01Z", "2026-01-05T06:00Z", "timestamp"),
        ("2026-01-05 05:00", "2026-01-05T06:00Z", "issued_at"),
        ("", "2026-01-05T06:00Z", "issued_at"),
    ):
        report = place.load(forecast(1, issued_at, timestamp), kind="weather-forecasts")
        assert [row.column for row in report.rejected_examples] == [column]


def test_forecasts_of_one_load_are_distinct_by_issue_and_contradictions_are_refused(place: Place) -> None:
    text = forecast(1) + "".join(
        f"Berlin,2026-01-05T0{issue}:00Z,2026-01-05T06:00Z,{value},50\n"
        for issue, value in ((1, 2), (1, 2), (2, 3), (2, 4))
    )
    report = place.load(text, kind="weather-forecasts")
    assert (report.inserted, report.unchanged, report.rejected) == (2, 1, 2)
    assert "the same city and timestamp and issued_at" in report.rejected_examples[0].reason


def test_local_forecasts_of_a_repeated_hour_are_told_apart_within_an_issue(place: Place) -> None:
    text = "city,issued_at,timestamp,temperature\n" + "".join(
        f"Berlin,2025-10-25 {issue:02d}:00,2025-10-26 {hour:02d}:00,{n}\n"
        for issue in (0, 6)
        for n, hour in enumerate([0, 1, 2, 2, 3])
    )
    report = place.load(text, kind="weather-forecasts", timezone="city")
    assert (report.inserted, report.rejected) == (10, 0)


@pytest.mark.parametrize(
    ("kind", "name", "reason", "remedy"),
    [
        ("weather", "temperature", "issued_at shows that its rows are forecasts", "ingest weather-forecasts FILE"),
        (
            "consumption",
            "consumption_kwh",
            "issued_at shows that its rows are forecasts",
            "of the load cannot be loaded",
        ),
        ("consumption", "predicted", "issued_at shows that its rows are forecasts", "remove the column"),
        ("consumption", "predicted", "predicted holds predictions", "Load the observed load"),
        ("weather-forecasts", "temperature", "no column issued_at", "ingest weather FILE"),
    ],
)
def test_refuses_forecasts_as_observations_and_vice_versa(
    place: Place, kind: str, name: str, reason: str, remedy: str
) -> None:
    """Forecasts of past hours would replace the observed values, as corrections. In a file of any form and a frame."""
    place.load("city,timestamp,temperature\nBerlin,2026-01-05T10:00Z,20\n", kind="weather")
    place.load(one(7, timestamp="2026-01-05T10:00Z"))
    issue = ["2026-01-05T00:00Z"] if "issued_at shows" in reason else []
    heads = ["city", *(["Issued_At "] if issue else []), "timestamp", name]
    frame = pl.DataFrame([["Berlin", *issue, "2026-01-05T10:00Z", "3"]], schema=heads, orient="row")
    path = place.folder / "some.csv"
    frame.write_csv(path)
    frame.write_parquet(path.with_suffix(".parquet"))
    loads: list[Callable[[], Report]] = [
        lambda: load_files(place.database, kind, [path]),
        lambda: load_files(place.database, kind, [path.with_suffix(".parquet")]),
        lambda: load_table(place.database, kind, frame, name="a frame"),
    ]
    for load in loads:
        with pytest.raises(IngestError, match=reason) as caught:
            load()
        assert remedy in str(caught.value)
    assert place.rows("SELECT temperature FROM weather_data") == [(20,)]
    assert place.rows("SELECT consumption_kwh FROM energy_consumption") == [(7,)]


# The loads around it


def test_files_of_one_name_are_told_apart_by_their_folder(place: Place) -> None:
    paths = []
    for year in ("2024", "2025"):
        (place.folder / year).mkdir()
        paths.append(place.folder / year / "load.csv")
        paths[-1].write_text(one("x"))
    report = load_files(place.database, "consumption", paths)
    assert [Path(row.file).parent.name for row in report.rejected_examples] == ["2024", "2025"]


def test_a_file_name_that_is_not_text_is_no_obstacle(place: Place) -> None:
    path = place.folder / "l\udcffoad.csv"
    path.write_text(one(1))
    assert load_files(place.database, "consumption", [path]).files == ("l\\xffoad.csv",)


def test_local_times_of_far_years_are_refused_like_others(place: Place) -> None:
    rows = "".join(f"Berlin,{year}-10-31T02:30,1\n" for year in ("0000", "0001", "1969", "2201", "9999"))
    assert place.load("city,timestamp,consumption_kwh\n" + rows, timezone="city").rejected == 5


def test_progress_tells_how_far_the_reading_is(place: Place) -> None:
    told: list[tuple[str, int, int | None, int]] = []
    place.load(hourly(JANUARY, *range(50)), progress=lambda *step: told.append(step))
    assert told[0][0] == "Reading file1.csv"
    assert any(done == total for _, done, total, _ in told)
    assert [label for label, _, total, _ in told if total is None] == ["Finding the intervals", "Writing"]
    assert told[-1][-1] == 50


def test_a_report_is_json(place: Place) -> None:
    report = json.loads(json.dumps(place.load(one("x")).as_dict()))
    assert {"batch", "read", "inserted", "corrected", "unchanged", "rejected", "notes"} <= report.keys()
    assert report["rejected_examples"][0]["line"] == 2


def test_a_report_writes_moments_as_all_documents_do(place: Place) -> None:
    touched = place.load(hourly(JANUARY, 1, 2)).as_dict()["touched"]
    assert touched == [{"city": "Berlin", "first": "2026-01-05T00:00:00Z", "last": "2026-01-05T01:00:00Z"}]


def test_every_query_of_ingest_is_sound(place: Place) -> None:
    """Each is prepared on the tables of a load: a misspelt column fails here, not in a user's night."""
    found = queries("staging") | queries("judging") | queries("merge")
    scripts = [
        name
        for name in found
        if name.endswith("_views") or name in ("create_staging", "index_staged", "analyze_staged", "analyze_spans")
    ]
    checked: list[str] = []
    for views in ("consumption_views", "weather_views"):
        with place.database.transaction(Role.INGEST, trial=True) as connection:
            connection.execute(found["create_staging"])
            connection.execute(found[views])
            connection.execute(found["index_staged"])
            connection.execute(found["judge_repeated"])
            for name, statement in found.items():
                if name not in scripts and name != "judge_repeated" and "COPY" not in statement:
                    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
                    numbered = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", statement)  # noqa: B023
                    text = numbered.replace("%%", "%")
                    if not text.startswith("CREATE"):
                        connection.execute(f"PREPARE one AS {text}")
                        connection.execute("DEALLOCATE one")
                    checked.append(name)
    assert len(checked) > 40


def test_a_meter_that_changed_its_interval_within_a_file_is_not_misread(place: Place) -> None:
    """Hourly values taken for half-hourly ones would be half of an hour, and drop out of every forecast."""
    first = datetime(2026, 8, 1, tzinfo=UTC)
    times = [first + timedelta(hours=i) for i in range(48)]
    times += [first + timedelta(days=2, minutes=30 * i) for i in range(96)]
    lines = [f"Berlin,{time:%Y-%m-%dT%H:%MZ},100" for time in times]
    header = "city,timestamp,consumption_kwh"
    report = place.load("\n".join([header, *lines]) + "\n")
    assert (report.inserted, report.rejected) == (96, 48)
    assert "60 minutes apart" in report.rejected_examples[0].reason
    report = place.load("\n".join([header, *lines[:48]]) + "\n")
    assert (report.inserted, report.rejected) == (48, 0)


@pytest.mark.parametrize("minutes", [5, 15, 30])
def test_a_few_rows_closer_than_the_rest_are_not_taken_for_hours(place: Place, minutes: int) -> None:
    """Taken for hours, four quarters would be 240 minutes of an hour."""
    first = datetime(2026, 8, 1, tzinfo=UTC)
    times = [first + timedelta(hours=i) for i in range(100)]
    times += [first + timedelta(hours=100, minutes=minutes * i) for i in range(40)]
    lines = [f"Berlin,{time:%Y-%m-%dT%H:%MZ},100" for time in times]
    header = "city,timestamp,consumption_kwh"
    report = place.load("\n".join([header, *lines]) + "\n")
    assert (report.inserted, report.rejected) == (100, 40)
    assert f"{minutes} minutes apart" in report.rejected_examples[0].reason
    report = place.load("\n".join([header, *lines[100:]]) + "\n")
    assert (report.inserted, report.rejected) == (40, 0)


# Intervals that overlap


def quarters(*minutes: int, start: datetime = JANUARY, city: str = "Berlin", value: float = 5) -> str:
    """Rows at so many minutes after the start, in the order given."""
    return "".join(f"{city},{start + timedelta(minutes=each):%Y-%m-%dT%H:%MZ},{value}\n" for each in minutes)


HEADER = "city,timestamp,consumption_kwh\n"


@pytest.mark.parametrize("order", ["by time", "newest first", "at random", "last"])
def test_a_row_off_the_hours_of_a_city_is_refused_and_the_hours_beside_it_stay(place: Place, order: str) -> None:
    """Taken for an hour, the value of 05:17 would be counted in two of them."""
    minutes = [60 * hour for hour in range(30)]
    match order:
        case "by time":
            minutes.insert(6, 317)
        case "newest first":
            minutes = sorted([*minutes, 317], reverse=True)
        case "at random":
            minutes = [*minutes[1::2], 317, *minutes[::2][::-1]]
        case _:
            minutes.append(317)
    report = place.load(HEADER + quarters(*minutes))
    assert (report.inserted, report.rejected) == (30, 1)
    assert place.rejected(report) == [
        (
            minutes.index(317) + 2,
            "timestamp",
            "overlaps the interval of 2026-01-05 05:00Z, which has 60 minutes; the other rows of Berlin do not begin at"
            " this minute",
        )
    ]
    assert place.load_of() == {JANUARY + timedelta(hours=hour): Decimal("5.00") for hour in range(30)}
    assert place.load(HEADER + quarters(*minutes)).unchanged == 30


@pytest.mark.parametrize("phase", [0, 17, 30])
def test_rows_that_all_begin_at_one_minute_overlap_nothing(place: Place, phase: int) -> None:
    rows = quarters(*(60 * hour + phase for hour in range(30)))
    assert place.load(HEADER + rows).inserted == 30


def test_a_short_stretch_of_a_finer_interval_is_refused_whole(place: Place) -> None:
    """Its first row begins on the hour, but is the value of a quarter."""
    finer = [300 + 15 * n for n in range(8)]
    hours = [60 * hour for hour in range(30) if not 5 <= hour < 7]
    report = place.load(HEADER + quarters(*sorted(hours + finer)))
    assert (report.inserted, report.rejected) == (28, 8)
    assert "if these rows, 15 minutes apart, are of another interval" in report.rejected_examples[0].reason
    assert JANUARY + timedelta(hours=5) not in place.load_of()
    assert JANUARY + timedelta(hours=7) in place.load_of()


def test_a_value_on_the_half_hour_leaves_open_what_the_hour_before_it_is(place: Place) -> None:
    report = place.load(HEADER + quarters(*sorted([*(60 * hour for hour in range(30)), 330])))
    assert (report.inserted, report.rejected) == (29, 2)
    assert [line for line, _, _ in place.rejected(report)] == [7, 8]


def test_where_no_minute_is_the_usual_one_both_are_refused(place: Place) -> None:
    """Hours that begin at :00 and then at :20: the two that overlap contradict each other."""
    before, after = [60 * hour for hour in range(10)], [560 + 60 * hour for hour in range(10)]
    report = place.load(HEADER + quarters(*before, *after))
    assert (report.inserted, report.rejected) == (18, 2)
    assert "it is unknown which of the two is wrong" in report.rejected_examples[0].reason


def test_a_few_rows_are_told_by_what_is_stored(place: Place) -> None:
    place.load(HEADER + quarters(*(60 * hour for hour in range(30))))
    report = place.load(HEADER + quarters(1800, 1817))
    assert (report.inserted, report.rejected) == (1, 1)
    assert report.rejected_examples[0].line == 3


def test_an_interval_that_the_user_gives_may_not_overlap_either(place: Place) -> None:
    report = place.load(HEADER + quarters(*(60 * hour for hour in range(9)), 317), interval_minutes=60)
    assert (report.inserted, report.rejected) == (9, 1)


def test_only_the_city_with_the_odd_row_loses_it(place: Place) -> None:
    hours = [60 * hour for hour in range(30)]
    report = place.load(HEADER + quarters(*hours, city="Delhi") + quarters(*sorted([*hours, 317])))
    assert (report.inserted, report.rejected) == (60, 1)


def test_rows_at_random_of_a_finer_record_keep_its_interval(place: Place) -> None:
    """A file of corrections holds rows here and there: its commonest gap is chance."""
    places = [12 * turn + place for turn in range(160) for place in (0, 2, 4, 5, 8)]
    first = place.load(HEADER + quarters(*(10 * n for n in range(2000))))
    assert first.inserted == 2000
    report = place.load(HEADER + quarters(*(10 * n for n in places), value=6))
    assert (report.corrected, report.rejected) == (len(places), 0)
    assert place.rows("SELECT DISTINCT interval_minutes FROM energy_consumption") == [(10,)]


def test_weather_between_the_hours_of_a_station_is_refused_and_irregular_weather_taken(place: Place) -> None:
    """Temperatures are not added up: a station that reports when it likes still tells the weather of its hours."""
    header = "city,timestamp,temperature\n"
    hours = [60 * hour for hour in range(30)]
    report = place.load(header + quarters(*sorted([*hours, 317])), kind="weather")
    assert (report.inserted, report.rejected) == (30, 1)
    report = place.load(header + quarters(*(40 * n for n in range(60)), city="Delhi"), kind="weather")
    assert (report.inserted, report.rejected) == (60, 0)


# What retention would take


def test_rows_older_than_they_are_kept_for_are_told_with_what_keeps_them(place: Place) -> None:
    """A history of five years must not vanish in a night without a word."""
    keep = "UPDATE ops.retention_policies SET keep = %s WHERE table_name = 'energy_consumption'"
    with psycopg.connect(place.database.url, autocommit=True) as connection:
        connection.execute(keep, ["2 years"])
    since = place.rows("SELECT date_trunc('month', now() - interval '2 years', 'UTC')")[0][0].astimezone(UTC)
    rows = hourly(since - timedelta(hours=3), *range(5))
    told = [note for note in place.load(rows).notes if "retention" in note]
    assert told == [
        f"Rows from before {since:%Y-%m-%d} UTC: 3. They are older than the retention of energy_consumption (2 years)."
        " The next maintenance run removes them."
        " To keep them: energy-forecast retention keep energy_consumption forever"
    ]
    due = place.rows("SELECT sum(row_count)::int FROM ops.retention_due(true) WHERE table_name = 'energy_consumption'")
    assert due == [(3,)], "what was told is what goes"
    with psycopg.connect(place.database.url, autocommit=True) as connection:
        connection.execute(keep, [None])
    assert not [note for note in place.load(rows).notes if "retention" in note]


def test_rows_within_what_is_kept_are_not_told_of(place: Place) -> None:
    with psycopg.connect(place.database.url, autocommit=True) as connection:
        connection.execute("UPDATE ops.retention_policies SET keep = '2 years' WHERE table_name = 'energy_consumption'")
    since = place.rows("SELECT date_trunc('month', now() - interval '2 years', 'UTC')")[0][0].astimezone(UTC)
    assert not [note for note in place.load(hourly(since, 1, 2, 3)).notes if "retention" in note]
