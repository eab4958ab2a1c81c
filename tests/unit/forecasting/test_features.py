"""Features: no future data, local time, and the same bits live as in a backtest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import City
from energy_forecast.forecasting.conformal.model import HISTORY_DAYS
from energy_forecast.forecasting.data.history import build_history, hour_number, timestamps
from energy_forecast.forecasting.features.calendar import HALF_REST, REST, WORKDAY, build_calendar, sun_elevation
from energy_forecast.forecasting.features.matrix import feature_matrix
from energy_forecast.forecasting.features.samples import HistoryView, Samples

from .conftest import BERLIN, PUNE, START, Record, make_record


def samples_at(record: Record, issued: datetime, leads: range, days: int | None) -> Samples:
    history = build_history(record.load, record.weather, record.weather, issued_at=issued, days=days)
    origin = hour_number(issued)
    targets = np.array([origin + lead for lead in leads])
    return Samples(HistoryView(record.city, history), np.full(len(targets), origin), targets)


def test_live_features_equal_backtest_features(berlin: Record) -> None:
    """A live model gets 92 days; backtest and training get years, and hours after the origin."""
    issued = START + timedelta(days=150, hours=5)
    live = samples_at(berlin, issued, range(168), HISTORY_DAYS)
    whole = build_history(
        berlin.load, berlin.weather, berlin.weather.clear(), issued_at=START + timedelta(days=240), days=None
    )
    backtest = Samples(HistoryView(berlin.city, whole), live.origins, live.targets)
    one, other = feature_matrix(live, weather=True), feature_matrix(backtest, weather=True)
    assert one.names == other.names
    for name in one.names:
        assert np.array_equal(one[name], other[name], equal_nan=True), name
    assert np.array_equal(live.level, backtest.level)


def test_load_features_ignore_origin_and_later(berlin: Record) -> None:
    issued = START + timedelta(days=100)
    history = build_history(*berlin[1:], berlin.weather.clear(), issued_at=START + timedelta(days=240), days=None)
    origin = hour_number(issued)
    targets = np.arange(origin, origin + 168)
    before = feature_matrix(Samples(HistoryView(berlin.city, history), np.full(168, origin), targets), weather=True)
    history.load[origin - history.start :] *= 7.0
    after = feature_matrix(Samples(HistoryView(berlin.city, history), np.full(168, origin), targets), weather=True)
    assert np.array_equal(before.values, after.values, equal_nan=True)


def test_history_drops_rows_after_issue_time(berlin: Record) -> None:
    issued = START + timedelta(days=50, minutes=30)
    history = build_history(berlin.load, berlin.weather, berlin.weather, issued_at=issued, days=None)
    cut = hour_number(issued) - history.start
    assert not np.isfinite(history.load[cut:]).any()
    assert np.isfinite(history.load[cut - 1])
    assert np.isfinite(history.weather["temperature"][cut + 100])


def test_lag_keeps_local_hour_across_clock_change() -> None:
    """On 2021-03-28 Berlin skips an hour: noon one day before is 23 hours back, not 24."""
    record = make_record(BERLIN, 120)
    noon = datetime(2021, 3, 28, 10, tzinfo=UTC)
    rows = samples_at(record, noon - timedelta(hours=3), range(3, 4), None)
    assert rows.days_before(np.array([1]))[0] == hour_number(datetime(2021, 3, 27, 11, tzinfo=UTC))
    assert rows.view.calendar.hour[rows.position][0] == 12


@pytest.mark.parametrize(("day", "hours"), [("2021-03-28", 23), ("2021-10-31", 25), ("2021-06-01", 24)])
def test_local_day_has_23_to_25_hours(day: str, hours: int) -> None:
    first = hour_number(datetime.fromisoformat(day).replace(tzinfo=UTC)) - 12
    calendar = build_calendar(BERLIN, first, 60)
    wanted = (datetime.fromisoformat(day) - datetime(1970, 1, 1)).days  # noqa: DTZ001
    assert (calendar.day == wanted).sum() == hours


def test_half_hour_zone_has_local_hours() -> None:
    """00:00Z is 05:30 in Pune: the hour that begins then is counted as hour 5."""
    calendar = build_calendar(PUNE, hour_number(START), 24)
    assert calendar.hour.tolist() == [*range(5, 24), *range(5)]


def test_holidays_by_country_and_subdivision() -> None:
    """Women's day, 2021-03-08, is a holiday in Berlin and not in Munich."""
    first = hour_number(datetime(2021, 3, 7, 11, tzinfo=UTC))
    munich = City("Munich", 48.1, 11.6, "Europe/Berlin", "DE", "BY")
    berlin, other = build_calendar(BERLIN, first, 48), build_calendar(munich, first, 48)
    assert berlin.eve[0]
    assert berlin.holiday[24]
    assert berlin.morrow[47]
    assert berlin.kind[24] == REST
    assert not other.holiday.any()
    assert other.kind[24] == WORKDAY


@pytest.mark.parametrize(
    ("country", "day", "holiday", "kind"),
    [
        pytest.param("CH", "2024-03-29", 24 / 27, REST, id="Good Friday, in most cantons"),
        pytest.param("GB", "2024-04-01", 3 / 4, REST, id="Easter Monday, but for Scotland"),
        pytest.param("UK", "2024-04-01", 3 / 4, REST, id="the same by another code"),
        pytest.param("DE", "2024-05-30", 7 / 17, HALF_REST, id="Corpus Christi, in some states"),
        pytest.param("GB", "2024-01-02", 0, WORKDAY, id="a day off in Scotland only"),
        pytest.param("DE", "2024-10-03", 1, REST, id="everywhere"),
    ],
)
def test_country_holiday_is_share_of_subdivisions(country: str, day: str, holiday: float, kind: int) -> None:
    """Germany's load on Corpus Christi 2024 was forecast 13 % too high: it is a holiday in seven of seventeen lists."""
    first = hour_number(datetime.fromisoformat(day).replace(tzinfo=UTC))
    calendar = build_calendar(City("all of it", 50.0, 8.0, "UTC", country, None), first - 24, 72)
    assert calendar.holiday[24:48] == pytest.approx(holiday)
    assert (calendar.kind[24:48] == kind).all()
    before = calendar.holiday[0]
    assert calendar.eve[0] == pytest.approx(holiday * (1 - before))


@pytest.mark.parametrize(
    ("country", "subdivision"),
    [(None, None), ("XX", None), ("DE", "nowhere")],
    ids=["none", "unknown", "no such state"],
)
def test_holidays_of_unknown_country_and_state(country: str | None, subdivision: str | None) -> None:
    city = City("somewhere", 0.0, 0.0, "UTC", country, subdivision)
    calendar = build_calendar(city, hour_number(datetime(2021, 12, 25, tzinfo=UTC)), 24)
    assert calendar.holiday.all() == (country == "DE")


def test_sun_elevation_equals_almanac() -> None:
    """At the June solstice Berlin's noon sun is 90 - 52.5 + 23.4 = 61 degrees high; at midnight it is below."""
    noon = hour_number(datetime(2021, 6, 21, 11, tzinfo=UTC))
    high, low = sun_elevation(BERLIN, np.array([noon, noon + 12]))
    assert np.degrees(np.arcsin(high)) == pytest.approx(60.9, abs=1.0)
    assert low < 0


def test_day_lags_are_latest_known_days(berlin: Record) -> None:
    """At lead 30 yesterday's same hour is not over: the first known day is two days back."""
    issued = START + timedelta(days=100)
    rows = samples_at(berlin, issued, range(30, 31), None)
    load = dict(zip(berlin.load["timestamp"].to_list(), berlin.load["consumption_kwh"].to_list(), strict=True))
    target = timestamps(rows.targets)[0]
    table = feature_matrix(rows, weather=False)
    assert table["load_known_day_1"][0] * rows.level[0] == pytest.approx(load[target - timedelta(days=2)])
    assert table["load_known_week_1"][0] * rows.level[0] == pytest.approx(load[target - timedelta(days=7)])
    week = berlin.load.filter(pl.col("timestamp").is_between(issued - timedelta(days=7), issued, closed="left"))
    assert rows.level[0] == pytest.approx(week["consumption_kwh"].mean(), rel=1e-5)


def test_temperature_windows_end_at_target(berlin: Record) -> None:
    issued = START + timedelta(days=100)
    rows = samples_at(berlin, issued, range(5, 6), None)
    target = timestamps(rows.targets)[0]
    past = berlin.weather.filter(pl.col("timestamp") <= target)["temperature"]
    table = feature_matrix(rows, weather=True)
    for hours in (6, 24, 72, 240):
        assert table[f"temperature_mean_{hours}h"][0] == pytest.approx(past.tail(hours).mean(), abs=1e-3)
    assert table["temperature_max_24h"][0] == pytest.approx(past.tail(24).max(), rel=1e-6)
    assert table["temperature_min_24h"][0] == pytest.approx(past.tail(24).min(), rel=1e-6)
