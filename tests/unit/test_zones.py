"""The rules of the time zones: one source for every conversion, equal to zoneinfo moment by moment."""

# ruff: noqa: DTZ001 - local times, as clocks show them
from __future__ import annotations

import io
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_forecast.errors import ZoneError
from energy_forecast.ingest.timestamps import SKIPPED, TWICE, parse_timestamps
from energy_forecast.local_times import to_local, to_utc, to_utc_first
from energy_forecast.zones import daily_instants, instant_at, offsets, zone, zone_names

NAMES = sorted(zone_names())
# 1 to 9990, or near a change of the zone
SECONDS = st.integers(-62_000_000_000, 253_000_000_000)


def independent(name: str) -> ZoneInfo:
    """Python's own reader of the pinned file."""
    return ZoneInfo.from_file(io.BytesIO(files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()), name)


@st.composite
def zones_and_moments(draw: st.DrawFn) -> tuple[str, list[datetime]]:
    name = draw(st.sampled_from(NAMES))
    changes = offsets(name).starts[1:]
    near = (
        st.builds(lambda at, by: at + by, st.sampled_from(changes), st.integers(-90_000, 90_000))
        if changes
        else SECONDS
    )
    seconds = draw(st.lists(st.one_of(SECONDS, near, st.integers(0, 4_200_000_000)), min_size=1, max_size=30))
    return name, [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value) for value in seconds]


@settings(max_examples=400, deadline=None)
@given(zones_and_moments())
def test_columns_are_converted_as_zoneinfo_converts(drawn: tuple[str, list[datetime]]) -> None:
    """Both ways, with times that happen twice or never, in every zone and century."""
    name, moments = drawn
    rules = independent(name)
    walls = [moment.astimezone(rules).replace(tzinfo=None, fold=0) for moment in moments]
    assert to_local(pl.Series(moments, dtype=pl.Datetime("us", "UTC")), name).to_list() == walls
    # Half an hour later, so that skipped times are among them
    walls += [wall + timedelta(minutes=30) for wall in walls]
    first, second = to_utc(pl.Series(walls), name)
    assert first.to_list() == [wall.replace(tzinfo=rules, fold=0).astimezone(UTC) for wall in walls]
    assert second.to_list() == [wall.replace(tzinfo=rules, fold=1).astimezone(UTC) for wall in walls]
    exists = [at.astimezone(rules).replace(tzinfo=None, fold=0) == wall for at, wall in zip(first, walls, strict=True)]
    assert to_utc_first(pl.Series(walls), name).is_not_null().to_list() == exists


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_nulls_units_and_empty_columns_are_kept(unit: str) -> None:
    moments = pl.Series("t", [datetime(2026, 7, 1), None], dtype=pl.Datetime(unit, "UTC"))  # type: ignore[arg-type]
    assert to_local(moments, "Europe/Berlin").to_list() == [datetime(2026, 7, 1, 2), None]
    assert to_local(moments.clear(), "Europe/Berlin").is_empty()
    first, second = to_utc(to_local(moments, "Europe/Berlin"), "Europe/Berlin")
    assert first.to_list() == second.to_list() == [datetime(2026, 7, 1, tzinfo=UTC), None]


@pytest.mark.parametrize(
    ("name", "utc"),
    [("Africa/Casablanca", 8), ("America/Edmonton", 14), ("America/Vancouver", 15), ("Europe/Berlin", 7)],
)
def test_local_times_are_read_by_the_rules_of_2026(name: str, utc: int) -> None:
    """Morocco, Alberta and British Columbia keep one offset from autumn 2026 on; older rules are an hour off."""
    read = parse_timestamps(pl.Series(["2026-11-25T08:00"]), pl.Series([name]))
    assert read["instant"].to_list() == [datetime(2026, 11, 25, utc, tzinfo=UTC)]
    assert to_local(read["instant"], name).to_list() == [datetime(2026, 11, 25, 8)]
    assert datetime(2026, 11, 25, utc, tzinfo=UTC).astimezone(zone(name)).hour == 8


@settings(max_examples=200, deadline=None)
@given(zones_and_moments())
def test_the_reader_names_times_that_happen_twice_or_never(drawn: tuple[str, list[datetime]]) -> None:
    name, moments = drawn
    rules = independent(name)
    walls = [moment.astimezone(rules).replace(tzinfo=None, second=0) for moment in moments if moment.year >= 1971]
    text = pl.Series([f"{wall:%Y-%m-%dT%H:%M}" if wall.year > 999 else None for wall in walls], dtype=pl.String)
    read = parse_timestamps(text, pl.Series([name] * len(walls), dtype=pl.String))
    for wall, fault, instant in zip(walls, read["fault"], read["instant"], strict=True):
        early, late = (wall.replace(tzinfo=rules, fold=fold).astimezone(UTC) for fold in (0, 1))
        assert fault == (None if early == late else TWICE if early < late else SKIPPED)
        assert instant == (early if early == late else None)


def test_an_unknown_zone_is_named() -> None:
    for name in ("Europe/Munich", "../../etc/passwd", "/etc/localtime", ""):
        with pytest.raises(ZoneError, match="is not in the rules"):
            zone(name)


def test_a_time_on_the_clock_is_one_moment() -> None:
    """Twice: the first; never: the moment of the change."""
    assert instant_at("Europe/Berlin", datetime(2026, 10, 25, 2, 30)) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert instant_at("Europe/Berlin", datetime(2026, 3, 29, 2, 30)) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert instant_at("Australia/Lord_Howe", datetime(2026, 10, 4, 2, 15)) == datetime(2026, 10, 3, 15, 30, tzinfo=UTC)


@settings(max_examples=200, deadline=None)
@given(zones_and_moments(), st.times().map(lambda at: at.replace(second=0, microsecond=0)), st.integers(1, 40))
def test_daily_instants_are_one_a_local_day(drawn: tuple[str, list[datetime]], at: time, days: int) -> None:
    """Against a walk over every local day: 23 and 25 hours, skipped days and midnights included."""
    name, moments = drawn
    first = min(moments, key=lambda moment: abs(moment.year - 2000))
    if not 1000 < first.year < 9000:
        return
    rules = independent(name)
    end = first + timedelta(days=days)
    found = daily_instants(name, first, end, at)
    assert found == sorted(set(found))
    assert all(first <= moment < end for moment in found)
    for moment in found:
        local = moment.astimezone(rules)
        assert local.time() == at or (moment - timedelta(seconds=1)).astimezone(rules).utcoffset() != local.utcoffset()
    seen = {moment.astimezone(rules).date() for moment in found}
    assert len(seen) == len(found)
    day = first.astimezone(rules).date() + timedelta(days=1)
    while day < end.astimezone(rules).date():
        noon = datetime.combine(day, time(12)).replace(tzinfo=rules)
        if noon.astimezone(UTC).astimezone(rules).date() == day:
            assert day in seen
        day += timedelta(days=1)


def test_daily_instants_keep_the_local_hour() -> None:
    def found(name: str, first: date, days: int, at: time) -> list[str]:
        begin, end = (instant_at(name, datetime.combine(day, time())) for day in (first, first + timedelta(days=days)))
        return [f"{moment:%d %H:%M}" for moment in daily_instants(name, begin, end, at)]

    assert found("Europe/Berlin", date(2026, 3, 28), 3, time()) == ["27 23:00", "28 23:00", "29 22:00"]
    assert found("Europe/Berlin", date(2026, 10, 24), 3, time(2, 30)) == ["24 00:30", "25 00:30", "26 01:30"]
    assert found("Europe/Berlin", date(2026, 3, 28), 3, time(2, 30)) == ["28 01:30", "29 01:00", "30 00:30"]
    # Midnight was left out, came twice, and a day was skipped
    assert found("America/Sao_Paulo", date(2018, 11, 3), 2, time()) == ["03 03:00", "04 03:00"]
    assert found("America/Havana", date(2024, 11, 2), 3, time()) == ["02 04:00", "03 04:00", "04 05:00"]
    assert found("Pacific/Apia", date(2011, 12, 29), 3, time()) == ["29 10:00", "30 10:00"]
