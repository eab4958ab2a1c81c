"""Files whose numbers can be read but mean something else: refused with advice, or read as the user says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.errors import IngestError
from energy_forecast.ingest import Report, import_cities, load_files, load_table
from energy_forecast.ingest.bulk import strategy
from energy_forecast.operations.export import export
from servers import Server

START = datetime(2026, 1, 5, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


@dataclass
class Place:
    """A database, where each test has cities of its own."""

    database: Database
    folder: Path
    numbers: Iterator[int]

    def city(self, latitude: float = 52.5, timezone: str = "Europe/Berlin") -> str:
        name = f"City {next(self.numbers)}"
        file = self.folder / "city.csv"
        file.write_text(f"name,latitude,longitude,timezone\n{name},{latitude},13.4,{timezone}\n")
        import_cities(self.database, file)
        return name

    def load(self, rows: Sequence[tuple[Any, ...]], column: str = "consumption_kwh", **options: Any) -> Report:
        """Load rows of city, timestamp, value and further columns, each given as text."""
        kind = "weather" if column == "temperature" else "consumption"
        names = ["city", "timestamp", column, *options.pop("columns", ())]
        frame = pl.DataFrame([[str(cell) for cell in row] for row in rows], schema=names, orient="row")
        return load_table(self.database, kind, frame, name="file", **options)

    def stored(self, city: str, columns: str = "timestamp, consumption_kwh, interval_minutes") -> list[tuple[Any, ...]]:
        table = "weather_data" if "temperature" in columns else "energy_consumption"
        with psycopg.connect(self.database.url) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            return connection.execute(
                f"SELECT {columns} FROM {table} JOIN cities c ON c.id = city_id"  # noqa: S608
                " WHERE c.name = %s ORDER BY timestamp",
                [city],
            ).fetchall()


def everything(database: Database, kind: str) -> list[tuple[Any, ...]]:
    values = {"consumption": "consumption_kwh, peak_demand_kw", "weather": "temperature, humidity"}[kind]
    table = {"consumption": "energy_consumption", "weather": "weather_data"}[kind]
    with psycopg.connect(database.url) as connection:
        return connection.execute(
            f"SELECT c.name, timestamp, {values}, available_at, interval_minutes FROM {table}"  # noqa: S608
            " JOIN cities c ON c.id = city_id ORDER BY 1, 2"
        ).fetchall()


@pytest.fixture(scope="module")
def place(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with server.copy_of(template) as database:
        yield Place(database, tmp_path_factory.mktemp("files"), itertools.count())


@pytest.fixture(params=["staged", "new months beside"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of a load."""
    monkeypatch.setattr(strategy, "PARTITION_LOAD_ROWS", 0 if request.param != "staged" else 10**9)


def stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M}Z"


def usual(place: int) -> object:
    return 100 + 7 * (place % 5)


def every(minutes: int, count: int, city: str, value: Callable[[int], object] = usual) -> list[Any]:
    return [(city, stamp(START + timedelta(minutes=minutes * n)), value(n)) for n in range(count)]


def test_notes_that_24_00_is_the_end_of_a_day(place: Place) -> None:
    """A file that has no clock change proves nothing, but whoever writes 24:00 seldom means a start."""
    city = place.city()
    rows = [
        (city, f"2026-01-05{sign}{hour:02}:00", usual(hour)) for hour, sign in zip(range(1, 25), "T " * 12, strict=True)
    ]
    report = place.load(rows, timezone="city")
    assert any("24:00, the end of a day: 1." in note and "`label` set to end" in note for note in report.notes)
    for label in ("start", "end"):
        assert not any("24:00" in note for note in place.load(rows, timezone="city", label=label).notes)
    assert not any("24:00" in note for note in place.load(every(60, 24, place.city())).notes)


@pytest.mark.parametrize(
    ("zone", "place_of_it", "fixed"), [("CET", "Europe/Paris", "Etc/GMT-1"), ("WET", "Europe/Lisbon", "Etc/GMT")]
)
def test_asks_which_clock_an_abbreviation_means(place: Place, zone: str, place_of_it: str, fixed: str) -> None:
    """tzdata gives CET summer time, PostgreSQL and many files do not: an hour in summer."""
    rows = [(place.city(), "2026-07-01T00:00", 1)]
    with pytest.raises(IngestError, match=f"Time zone '{zone}' is ambiguous.*{place_of_it}.*{fixed} "):
        place.load(rows, timezone=zone)
    assert place.load(rows, timezone=fixed).inserted == 1


# Distances that no interval has


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("minutes", "count"), [(1440, 30), (1440, 3), (180, 40), (90, 12), (120, 3), (10080, 5), (45, 20), (61, 10)]
)
def test_refuses_rows_at_a_distance_that_no_interval_has(place: Place, minutes: int, count: int) -> None:
    city = place.city()
    with pytest.raises(IngestError, match=f"{city} are {minutes:,} minutes apart.*`interval_minutes` to 60"):
        place.load(every(minutes, count, city))
    assert place.stored(city) == []


def test_refuses_months_as_hours(place: Place) -> None:
    city = place.city()
    rows = [(city, f"2025-{month:02d}-01T00:00Z", 700_000) for month in range(1, 13)]
    with pytest.raises(IngestError, match=r"40,320 minutes apart or more, at uneven distances|minutes apart"):
        place.load(rows)


def test_refuses_a_stretch_of_days_in_hours(place: Place) -> None:
    city = place.city()
    days = [(city, stamp(START + timedelta(days=10 + n)), 2400 + n % 3) for n in range(10)]
    with pytest.raises(IngestError, match="1,440 minutes apart"):
        place.load(every(60, 200, city) + days)


def test_accepts_such_rows_if_the_user_states_the_interval(place: Place) -> None:
    city = place.city()
    assert place.load(every(1440, 30, city), interval_minutes=60).inserted == 30


def test_accepts_holes_and_single_rows(place: Place) -> None:
    city = place.city()
    rows = [row for n, row in enumerate(every(60, 400, city)) if n % 50 < 30 or n == 45]
    assert place.load(rows).inserted == len(rows)
    assert place.load(every(1440, 1, place.city())).inserted == 1
    assert place.load([(city, stamp(START + timedelta(hours=n)), 9) for n in (3, 71, 204)]).corrected == 3


def test_refuses_days_over_stored_hours(place: Place) -> None:
    city = place.city()
    place.load(every(60, 400, city))
    with pytest.raises(IngestError, match="1,440 minutes apart"):
        place.load([(city, stamp(START + timedelta(days=n)), 2400 + n) for n in range(10)])


# Ends of intervals


def hours_of(days: Sequence[tuple[int, int, int]], minutes: int = 60) -> list[datetime]:
    """Return the starts of all intervals of local days in New York, UTC."""
    starts = []
    for day in days:
        moment = datetime(*day, tzinfo=NEW_YORK).astimezone(UTC)
        end = (datetime(*day, tzinfo=NEW_YORK) + timedelta(days=1)).astimezone(UTC)
        while moment < end:
            starts.append(moment)
            moment += timedelta(minutes=minutes)
    return starts


SPRING = [(2026, 3, 7), (2026, 3, 8), (2026, 3, 9)]
AUTUMN = [(2025, 11, 1), (2025, 11, 2), (2025, 11, 3)]


def end_label(start: datetime, minutes: int, style: str) -> str:
    """Return the end of an interval: by the local clock, or the local start plus the interval."""
    length = timedelta(minutes=minutes)
    if style == "clock":
        return f"{(start + length).astimezone(NEW_YORK):%Y-%m-%d %H:%M}"
    return f"{start.astimezone(NEW_YORK).replace(tzinfo=None) + length:%Y-%m-%d %H:%M}"


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("minutes", [60, 15, 5])
@pytest.mark.parametrize("style", ["start plus interval", "clock"])
@pytest.mark.parametrize("days", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_reads_labels_of_interval_ends(place: Place, minutes: int, style: str, days: Any) -> None:
    """On the days of the clock changes too, in both ways to write the end of the hour before the change."""
    city = place.city(timezone="America/New_York")
    # Neighbours tell the repeated hour from the order of the file
    starts = hours_of(days, minutes)
    rows = [(city, end_label(start, minutes, style), 100 + 7 * (n % 9)) for n, start in enumerate(starts)]
    report = place.load(rows, timezone="city", label="end")
    assert (report.inserted, report.rejected) == (len(starts), 0)
    assert place.stored(city) == [(start, 100 + 7 * (n % 9), minutes) for n, start in enumerate(starts)]


@pytest.mark.parametrize("minutes", [60, 15])
@pytest.mark.parametrize("days", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_refuses_ends_that_the_clock_changes_prove(place: Place, minutes: int, days: Any) -> None:
    city = place.city(timezone="America/New_York")
    starts = hours_of(days, minutes)
    rows = [(city, end_label(start, minutes, "start plus interval"), 100 + start.hour) for start in starts]
    with pytest.raises(IngestError, match=r"ENDS of intervals: on 202[56].*`label` to end"):
        place.load(rows, timezone="city")
    assert place.stored(city) == []


@pytest.mark.parametrize("days", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_accepts_starts_at_clock_changes(place: Place, days: Any) -> None:
    city = place.city(timezone="America/New_York")
    starts = hours_of(days)
    rows = [(city, f"{start.astimezone(NEW_YORK):%Y-%m-%d %H:%M}", 100 + start.hour) for start in starts]
    assert place.load(rows, timezone="city").inserted == len(starts)
    assert [row[0] for row in place.stored(city)] == starts


def test_an_end_counts_as_available_from_itself(place: Place) -> None:
    city = place.city()
    ends = [START + timedelta(minutes=15 * n) for n in range(40)]
    rows = [(city, stamp(end), 5 + n % 3, stamp(end + timedelta(minutes=10))) for n, end in enumerate(ends)]
    assert place.load(rows, columns=["available_at"], label="end").inserted == 40
    found = place.stored(city, "timestamp, interval_minutes, available_at, consumption_kwh")
    assert found[0][:3] == (START - timedelta(minutes=15), 15, START + timedelta(minutes=10))


def test_needs_the_interval_of_an_end_that_shows_none(place: Place) -> None:
    city = place.city()
    with pytest.raises(IngestError, match="`interval_minutes`, for example to 15"):
        place.load([(city, stamp(START), 5)], label="end")
    place.load([(city, stamp(START), 5)], label="end", interval_minutes=30)
    assert place.stored(city) == [(START - timedelta(minutes=30), 5, 30)]


def test_reads_weather_at_interval_ends(place: Place) -> None:
    city = place.city()
    place.load([(city, stamp(START + timedelta(hours=n)), n % 5) for n in range(30)], "temperature", label="end")
    assert place.stored(city, "timestamp, temperature")[0] == (START - timedelta(hours=1), 0)


# Units


def test_converts_units_exactly(place: Place) -> None:
    city = place.city()
    rows = [(city, stamp(START + timedelta(minutes=15 * n)), f"1.{n:03d}", f"0.00{n}5") for n in range(30)]
    place.load(rows, columns=["peak_demand_kw"], units=["energy=kw", "power=MW"])
    found = place.stored(city, "consumption_kwh, peak_demand_kw, interval_minutes, timestamp")
    # Half away from zero, from the number as written
    for n, (kwh, kw, minutes, _) in enumerate(found):
        quarter = Decimal(f"1.{n:03d}") / 4
        assert kwh == quarter.quantize(Decimal("0.01"), "ROUND_HALF_UP")
        assert kw == (Decimal(f"0.00{n}5") * 1000).quantize(Decimal("0.01"), "ROUND_HALF_UP")
        assert minutes == 15
    city = place.city()
    place.load([(city, stamp(START), "1.23456")], units=["energy=MWh"])
    assert place.stored(city)[0][1] == Decimal("1234.56")


def test_temperatures_are_converted_before_their_range_is_checked(place: Place) -> None:
    city = place.city(latitude=30)
    summer = datetime(2026, 7, 1, tzinfo=UTC)
    rows = [(city, stamp(summer + timedelta(hours=n)), 68 + n % 30) for n in range(48)]
    rows.append((city, stamp(summer - timedelta(hours=1)), 200))
    report = place.load(rows, "temperature", units=["temperature=F"])
    assert (report.inserted, report.rejected) == (48, 1)
    assert "if read as F" in report.rejected_examples[0].reason
    assert place.stored(city, "temperature")[:2] == [(Decimal("20.00"),), (Decimal("20.56"),)]


@pytest.mark.parametrize("unit", ["temperature=F", "energy=J", "energy", "speed=kmh", "=", "energy=kWh=kWh"])
def test_refuses_unknown_units_with_the_list(place: Place, unit: str) -> None:
    with pytest.raises(IngestError, match=r"not found\. Choose from: energy=kWh\|Wh\|MWh"):
        place.load([("x", stamp(START), 1)], units=[unit])


def weather(city: str, month: int, low: float, high: float, hours: int = 72) -> list[Any]:
    first = datetime(2026, month, 3, tzinfo=UTC)
    middle, half = (low + high) / 2, (high - low) / 2
    return [
        (city, stamp(first + timedelta(hours=n)), round(middle - half * math.cos(2 * math.pi * n / 24), 1))
        for n in range(hours)
    ]


@pytest.mark.parametrize(
    ("latitude", "month", "low", "high", "unit"),
    [
        (41.9, 1, 14, 34, "F"),  # Chicago, winter
        (41.9, 7, 64, 88, "F"),  # ... summer
        (41.9, 4, 40, 61, "F"),  # ... spring
        (60.2, 2, 18, 30, "F"),  # Helsinki
        (-33.9, 7, 46, 60, "F"),  # Sydney, winter
        (1.3, 6, 77, 88, "F"),  # Singapore
        (52.5, 1, 268, 276, "K"),
        (-23.7, 1, 295, 314, "K"),
    ],
)
def test_asks_for_the_unit_of_temperatures_that_cannot_be(
    place: Place, latitude: float, month: int, low: float, high: float, unit: str
) -> None:
    city = place.city(latitude=latitude)
    with pytest.raises(IngestError, match=f"of {city} look like .*`units` to temperature={unit}"):
        place.load(weather(city, month, low, high), "temperature")
    assert place.stored(city, "temperature, timestamp") == []
    assert place.load(weather(city, month, low, high), "temperature", units=[f"temperature={unit}"]).inserted == 72


@pytest.mark.parametrize(
    ("latitude", "month", "low", "high"),
    [
        (33.4, 7, 33, 49),  # Phoenix
        (36.5, 7, 39, 53),  # Death Valley
        (62.0, 1, -61, -48),  # Yakutsk
        (-27.6, 1, 28, 50),  # Oodnadatta
        (13.5, 4, 29, 45),  # Niamey
        (34.1, 1, 14, 31),  # Los Angeles, Santa Ana
        (41.9, 3, 12, 27),  # Chicago, March 2012
        (50.2, 7, 25, 49),  # Lytton
        (0.0, 1, 23, 34),
    ],
)
def test_accepts_extreme_weather(place: Place, latitude: float, month: int, low: float, high: float) -> None:
    city = place.city(latitude=latitude)
    assert place.load(weather(city, month, low, high), "temperature").inserted == 72


def test_holds_temperatures_against_the_stored_ones(place: Place) -> None:
    """14 degrees may be in January, but not if -10 is stored of the same weeks, which are 14 degrees Fahrenheit."""
    city = place.city(latitude=45)
    place.load(weather(city, 1, -14, -6), "temperature")
    rows = [(city, stamp(START + timedelta(hours=n)), 10 + n % 9) for n in range(48)]
    with pytest.raises(IngestError, match=r"Fahrenheit: their mean is 13\.8, and -10\.0 is stored"):
        place.load(rows, "temperature")


def test_asks_for_the_unit_of_humidities_that_are_fractions(place: Place) -> None:
    """0.65 may be a percentage, but never of a whole day."""
    city = place.city()
    rows = [(*row, 0.4 + n % 7 / 10) for n, row in enumerate(weather(city, 1, -3, 5, 24))]
    with pytest.raises(IngestError, match=f"humidities of {city} look like fractions: none of 24 .*humidity=fraction"):
        place.load(rows, "temperature", columns=["humidity"])
    options: dict[str, Any] = {"columns": ["humidity"], "units": ["humidity=fraction"]}
    assert place.load(rows, "temperature", **options).inserted == 24
    assert place.stored(city, "temperature, humidity")[:2] == [
        (Decimal("-3.00"), Decimal("40.00")),
        (Decimal("-2.90"), Decimal("50.00")),
    ]


@pytest.mark.parametrize("humidity", [lambda _: 0, lambda _: "", lambda n: 1 + n % 2])
def test_accepts_humidities_that_are_low_or_missing(place: Place, humidity: Callable[[int], object]) -> None:
    rows = [(*row, humidity(n)) for n, row in enumerate(weather(place.city(), 1, -3, 5, 24))]
    assert place.load(rows, "temperature", columns=["humidity"]).inserted == 24


def test_weather_forecasts_are_asked_for_their_unit_too(place: Place) -> None:
    city = place.city(latitude=41.9)
    frame = pl.DataFrame(weather(city, 1, 14, 34), schema=["city", "timestamp", "temperature"], orient="row")
    frame = frame.with_columns(pl.lit("2026-01-02T00:00Z").alias("issued_at"))
    with pytest.raises(IngestError, match="`units` to temperature=F"):
        load_table(place.database, "weather-forecasts", frame, name="file")
    assert load_table(place.database, "weather-forecasts", frame, name="file", units=["temperature=F"]).inserted == 72


@pytest.mark.parametrize(("factor", "unit"), [(0.001, "MWh"), (1000, "Wh"), (1e-6, "GWh")])
def test_asks_for_the_unit_of_loads_far_from_the_stored_ones(place: Place, factor: float, unit: str) -> None:
    city = place.city()
    place.load(every(15, 500, city, lambda n: 1e6 + 2e5 * (n % 7)))
    later = START + timedelta(days=10)
    rows = [(city, stamp(later + timedelta(hours=n)), 4 * (1e6 + 2e5 * (n % 7)) * factor) for n in range(30)]
    with pytest.raises(IngestError, match=f"of {city} are about .*`units`, for example to energy={unit}"):
        place.load(rows)
    assert place.load(rows, units=["energy=kWh"]).inserted == 30


def test_accepts_a_city_that_grows_and_intervals_that_change(place: Place) -> None:
    city = place.city()
    place.load(every(60, 500, city, lambda n: 1000 + 100 * (n % 7)))
    later = START + timedelta(days=30)
    rows = [(city, stamp(later + timedelta(minutes=5 * n)), 5 * (80 + 8 * (n % 7))) for n in range(300)]
    assert place.load(rows).inserted == 300


# Net load, registers, tiny and huge values


def test_refuses_net_load_once(place: Place) -> None:
    city = place.city()
    with pytest.raises(IngestError, match=r"file: 1 of 3 values of .* the first in line 2 \(-100 kWh\)\. Net load"):
        place.load([(city, stamp(START + timedelta(hours=n)), value) for n, value in enumerate((80, -100, 60))])
    days = [(city, stamp(START + timedelta(hours=n)), 50 - 60 * (10 <= n % 24 <= 14)) for n in range(240)]
    with pytest.raises(IngestError, match="50 of 240 values"):
        place.load(days)
    assert place.stored(city) == []


def test_names_a_number_that_stands_for_a_missing_value(place: Place) -> None:
    """A file of gross consumption with -999 has no net load, and the advice for net load would not help."""
    city = place.city()
    rows = [
        (name, moment, -999 if n % 40 == 5 else value) for n, (name, moment, value) in enumerate(every(60, 100, city))
    ]
    with pytest.raises(
        IngestError, match=rf"3 of 100 values of {city} are -999 kWh, the first in line 6\..*missing value"
    ):
        place.load(rows)
    assert place.stored(city) == []


def test_a_stray_negative_value_costs_its_row(place: Place) -> None:
    city = place.city()
    rows = every(60, 300, city)
    rows[40] = (city, rows[40][1], -1)
    report = place.load(rows)
    assert (report.inserted, report.rejected) == (299, 1)
    assert "net load is not supported" in report.rejected_examples[0].reason


def register(start: float, gain: float, restart: int) -> Callable[[int], object]:
    return lambda n: round((start if n < restart else 0) + gain * (n % restart + (n % 24 >= 12)), 2)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("minutes", "count", "start", "gain", "restart"),
    [
        (60, 72, 1_000_000, 1000, 10**9),
        (60, 24, 5_000_000, 800, 10**9),
        (15, 96, 731_204.5, 12.25, 10**9),
        (60, 100, 0, 1000, 10**9),
        (60, 300, 99_000, 10, 100),  # rolls over
        (60, 24 * 10, 0, 500, 24),  # begins again each day
        (15, 96 * 8, 0, 500, 96),
    ],
)
def test_names_the_readings_of_a_register(
    place: Place, minutes: int, count: int, start: float, gain: float, restart: int
) -> None:
    city = place.city()
    rows = every(minutes, count, city, register(start, gain, restart))
    with pytest.raises(IngestError, match=f"values of {city} look like readings of a meter's register.*differences"):
        place.load(rows)
    # The unit of the numbers does not tell what they are
    with pytest.raises(IngestError, match=r"register.*convert the values to kWh and set `units` to energy=kWh"):
        place.load(rows, units=["energy=Wh"])
    assert place.stored(city) == []
    assert place.load(rows, units=["energy=kWh"]).inserted == count


def test_mean_powers_are_no_register(place: Place) -> None:
    rows = every(60, 100, place.city(), register(0, 1000, 10**9))
    assert place.load(rows, units=["energy=kW"]).inserted == 100


def test_accepts_rising_mornings_and_flat_loads(place: Place) -> None:
    for minutes, count, value in (
        (15, 40, lambda n: 100 + 20 * n),
        (60, 24, lambda n: 100 + 10 * n),
        (60, 200, lambda n: 100 + (n > 50) + (n > 90)),
        (60, 240, lambda n: 100 + n % 24),
    ):
        assert place.load(every(minutes, count, place.city(), value)).inserted == count


def test_reports_values_that_rounding_takes(place: Place) -> None:
    city = place.city()
    report = place.load(every(60, 40, city, lambda n: (0.004, 0.012, 0.06, 1)[n % 4]))
    assert any(f"{city} (20, of which 10 are stored as 0.00)" in note for note in report.notes)
    assert not any("two decimals" in note for note in place.load(every(60, 40, place.city())).notes)


def test_reports_hourly_sums_that_no_forecast_can_store(place: Place) -> None:
    city = place.city()
    report = place.load(every(15, 40, city, lambda n: 3e9 + n % 2))
    advice = "`units`, for example energy=Wh"
    assert any(f"{city} (12,000,000,004 kWh)" in note and advice in note for note in report.notes)
    report = place.load(every(60, 40, place.city(), lambda n: 3e9 + n % 2))
    assert not any("no forecast" in note for note in report.notes)


# Intervals that rows state, and those that are only provisional


@pytest.mark.usefixtures("way")
def test_honours_the_interval_that_a_row_states(place: Place) -> None:
    city = place.city()
    rows = [(city, "2026-01-05T00:00Z", 5, 30), (city, "2026-01-05T00:30Z", 5, 30), (city, "2026-01-05T01:00Z", 9, "")]
    report = place.load([*rows, (city, "2026-01-05T02:00Z", 9, 7)], columns=["interval_minutes"])
    assert [minutes for _, _, minutes in place.stored(city)] == [30, 30, 30]
    assert [(row.column, row.line) for row in report.rejected_examples] == [("interval_minutes", 4)]
    again = place.load([(city, "2026-01-05T00:00Z", 5, 60)], columns=["interval_minutes"])
    assert (again.corrected, place.stored(city)[0][2]) == (1, 60)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_export_comes_back_unchanged(server: Server, template: str, tmp_path: Path, suffix: str) -> None:
    """Mixed intervals, overlaps, holes, late values and corrections: the same rows in a new database."""
    cities = tmp_path / "cities.csv"
    cities.write_text("name,latitude,longitude,timezone\nA,41,-87,America/Chicago\nB,52,13,Europe/Berlin\n")
    held: list[Any] = []
    for number in range(2):
        with server.copy_of(template) as database:
            import_cities(database, cities)
            if not number:
                first = Place(database, tmp_path, itertools.count())
                first.load(every(30, 672, "A"))
                later = START + timedelta(days=14)
                first.load([("A", stamp(later + timedelta(minutes=5 * n)), 0.5 + n % 3) for n in range(900)])
                first.load([("B", "2026-01-05T00:00Z", 5)])
                first.load([("B", "2026-01-07T00:17Z", 5), ("B", "2026-01-07T00:40Z", 6)], interval_minutes=60)
                first.load([("A", stamp(START), 5, "2026-03-01T00:00:00.000001Z")], columns=["available_at"])
                mild = [("A", stamp(START + timedelta(hours=3 * n)), n % 4) for n in range(50)]
                first.load(mild, "temperature", interval_minutes=20)
                for kind in ("consumption", "weather"):
                    export(database, kind, tmp_path / f"{kind}{suffix}")
            for kind in ("consumption", "weather"):
                report = load_files(database, kind, [tmp_path / f"{kind}{suffix}"])
                assert (report.unchanged, report.inserted) == ((0, report.read) if number else (report.read, 0))
            held.append([everything(database, kind) for kind in ("consumption", "weather")])
    assert held[0] == held[1]


@given(
    minutes=st.sampled_from([60, 30, 20, 15, 10, 5]),
    holes=st.sets(st.integers(1, 39), max_size=8),
    cuts=st.sets(st.integers(1, 39), max_size=12),
    begin=st.sampled_from([0, 15, 30]),
    zeros=st.integers(0, 30),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=5)
def test_parts_of_a_series_end_as_the_whole(
    place: Place, minutes: int, holes: set[int], cuts: set[int], begin: int, zeros: int
) -> None:
    """Values, intervals and flags do not depend on how a series is divided into files."""
    ends = []
    for parts in (set(), cuts):
        city = place.city()
        moments = [START + timedelta(minutes=begin + minutes * n) for n in range(40)]
        values = [0 if zeros <= n < zeros + 6 else usual(n) for n in range(40)]
        rows = [(city, stamp(moments[n]), values[n]) for n in range(40) if n not in holes]
        bounds = [0, *sorted(cut for cut in parts if cut < len(rows)), len(rows)]
        for first, last in itertools.pairwise(bounds):
            report = place.load(rows[first:last])
            assert report.rejected == 0
            pipelines.check_load(place.database, report)
        with psycopg.connect(place.database.url) as connection:
            flags = connection.execute(
                "SELECT kind, first_timestamp, last_timestamp, hours FROM ops.quality_flags"
                " JOIN cities c ON c.id = city_id WHERE c.name = %s ORDER BY 1, 2",
                [city],
            ).fetchall()
        ends.append((place.stored(city), flags))
    assert ends[0] == ends[1]


def test_a_revised_interval_is_known_from_now_on(place: Place) -> None:
    """A forecast of before used the value as an hour; what it knew then must stay what it was."""
    city = place.city()
    place.load([(city, stamp(START), 50)])
    report = place.load([(city, stamp(START + timedelta(minutes=30)), 50)])
    assert any("that it is 30 minutes" in note for note in report.notes)
    assert [minutes for _, _, minutes in place.stored(city)] == [30, 30]
    with psycopg.connect(place.database.url) as connection:
        then = connection.execute(
            "SELECT interval_minutes FROM consumption_as_of((SELECT id FROM cities WHERE name = %s), %s, %s, %s)",
            [city, START + timedelta(hours=1), START, START + timedelta(minutes=30)],
        ).fetchall()
    assert then == [(60,)]


def test_a_stated_interval_ends_the_doubt(place: Place) -> None:
    city = place.city()
    place.load([(city, stamp(START), 50)])
    place.load([(city, stamp(START + timedelta(hours=1)), 50)], interval_minutes=60)
    place.load([(city, stamp(START + timedelta(minutes=minutes)), 50) for minutes in (120, 150)])
    assert [minutes for _, _, minutes in place.stored(city)] == [60, 60, 30, 30]


@pytest.mark.parametrize(("begin", "minutes"), [(30, 15), (15, 30), (0, 60), (45, 60)])
def test_loads_that_begin_at_any_minute_are_judged(place: Place, begin: int, minutes: int) -> None:
    """A run of zeros that goes on over loads is one flag, wherever they begin."""
    city = place.city()
    count = 24 * 60 // minutes
    for day in range(14):
        first = START + timedelta(days=day, minutes=begin)
        moments = [first + timedelta(minutes=minutes * n) for n in range(count)]
        rows = [(city, stamp(at), 0 if day > 9 and at.hour in (22, 23, 0, 1) else 50 + at.hour) for at in moments]
        report = place.load(rows)
        pipelines.check_load(place.database, report)
    with psycopg.connect(place.database.url) as connection:
        overlapping = connection.execute(
            "SELECT a.kind FROM ops.quality_flags a JOIN ops.quality_flags b USING (city_id, series, kind)"
            " JOIN cities c ON c.id = a.city_id WHERE c.name = %s AND a.first_timestamp < b.first_timestamp"
            " AND a.last_timestamp >= b.first_timestamp",
            [city],
        ).fetchall()
    assert overlapping == []
