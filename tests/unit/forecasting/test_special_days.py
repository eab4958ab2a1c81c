"""Effects of special days on the load, measured by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting import City, ForecastInput, fit
from energy_forecast.forecasting.data.history import build_history, hour_number
from energy_forecast.forecasting.features.calendar import REST, WORKDAY, build_calendar, day_names
from energy_forecast.forecasting.features.special_days import SpecialDays, measure_special_days
from energy_forecast.forecasting.models.weather_fallback import read_forecaster

from .conftest import BERLIN, START, Record, make_record

DAYS = 800
WOMENS_DAY, BRIDGE, MAY_DAY = date(2023, 3, 8), date(2023, 5, 19), date(2023, 5, 1)


def number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


@pytest.fixture(scope="module")
def record() -> Record:
    """Berlin works on Women's Day, a public holiday, and rests on the Friday after Ascension Day."""
    whole = make_record(BERLIN, DAYS)
    factors = dict.fromkeys([date(2021, 5, 14), date(2022, 5, 27), date(2021, 5, 1), date(2022, 5, 1)], 0.8)
    local = whole.load["timestamp"].dt.convert_time_zone(BERLIN.timezone).dt.date()
    factor = pl.Series([factors.get(day, 1.0) for day in local])
    return whole._replace(load=whole.load.with_columns(pl.col("consumption_kwh") * factor))


def measured(record: Record, load: pl.DataFrame | None = None) -> SpecialDays:
    load = record.load if load is None else load
    history = build_history(load, record.weather, record.weather.clear(), issued_at=START + timedelta(DAYS), days=None)
    calendar = build_calendar(record.city, history.start, len(history.load))
    return measure_special_days(record.city, calendar, history)


@pytest.mark.parametrize(
    ("day", "name", "role"),
    [
        (date(2021, 11, 25), "Thanksgiving Day", "holiday"),
        (date(2021, 11, 26), "bridge of Thanksgiving Day", "bridge"),
        (date(2021, 11, 24), "eve of Thanksgiving Day", "eve"),
        (date(2021, 4, 2), "Good Friday", "other"),
        (date(2021, 7, 5), "Independence Day", "holiday"),
        (date(2021, 12, 24), "12-24", "season"),
        (date(2021, 1, 5), "01-05", "season"),
    ],
)
def test_special_days_have_names_of_all_categories(day: date, name: str, role: str) -> None:
    """Good Friday is not a public holiday in Illinois; a day off that is observed later has the name of the holiday."""
    chicago = City("Chicago", 41.9, -87.6, "America/Chicago", "US", "IL")
    assert day_names(chicago, number(day), number(day)) == {number(day): (name, role)}


def test_ordinary_days_and_unknown_countries_have_no_names() -> None:
    assert day_names(BERLIN, number(date(2021, 6, 8)), number(date(2021, 6, 12))) == {}
    assert day_names(replace(BERLIN, country_code="XX"), number(date(2021, 1, 1)), number(date(2021, 12, 31))) == {}


def test_holiday_is_day_on_which_load_rests(record: Record) -> None:
    """Next year's calendar follows the load of the years before, and not the list of the library."""
    found = measured(record)
    start = hour_number(datetime(2023, 3, 1, tzinfo=UTC))
    calendar = found.applied(build_calendar(BERLIN, start, 24 * 90), BERLIN)

    at = {day: int(np.flatnonzero(calendar.day == number(day))[12]) for day in (WOMENS_DAY, BRIDGE, MAY_DAY)}
    holiday, kind, effect = calendar.holiday, calendar.kind, calendar.special_day_effect
    assert (holiday[at[WOMENS_DAY]], kind[at[WOMENS_DAY]]) == (0, WORKDAY)
    assert (holiday[at[BRIDGE]], kind[at[BRIDGE]]) == (1, REST)
    assert (holiday[at[MAY_DAY]], kind[at[MAY_DAY]]) == (1, REST)
    assert effect[at[WOMENS_DAY]] == pytest.approx(0, abs=0.03)
    # Two occurrences, and a prior that is nearer to zero
    assert effect[at[BRIDGE]] == pytest.approx(2 / 3 * np.log(0.8), abs=0.04)
    # Both occurrences were at a weekend, and count for half of this Monday's effect
    assert effect[at[MAY_DAY]] < np.log(0.85)


def test_measured_day_does_not_count_for_itself(record: Record) -> None:
    """Otherwise a model would trust the effects more in training than it can on a future day."""
    later = record.load["timestamp"].dt.convert_time_zone(BERLIN.timezone).dt.date() == date(2022, 5, 27)
    changed = record.load.with_columns(pl.col("consumption_kwh") * pl.when(later).then(0.9).otherwise(1.0))
    before, after = measured(record), measured(record, changed)

    def effects(one: SpecialDays) -> list[float]:
        days = [number(day) for day in (date(2022, 5, 27), date(2021, 5, 14), BRIDGE)]
        return [one.expected(BERLIN, day, day)[0][0] for day in days]

    own, other, future = np.array(effects(after)) - np.array(effects(before))
    # Only the mean of its role, a weak prior, contains the day itself
    assert abs(own) < 0.25 * abs(other)
    assert other < -0.03
    assert future < -0.02


def test_both_days_of_holiday_do_not_count_for_each_other() -> None:
    """The effects of two days in a row are alike, and a forecast does not know the first one either."""
    eid = [number(date(2021, 5, 13)), number(date(2021, 5, 14))]
    days, name = np.array(eid), np.zeros(2, np.int64)
    one = SpecialDays(("Eid al-Fitr",), {}, -0.2, days, name, np.array([-0.3, -0.3]))
    tetouan = City("Tetouan", 35.6, -5.4, "Africa/Casablanca", "MA")
    assert not one.expected(tetouan, *eid)[1].any()
    later = number(date(2022, 5, 2))
    assert one.expected(tetouan, later, later)[0][0] == pytest.approx(-0.2)


def test_unmeasured_name_has_effect_of_its_role(record: Record) -> None:
    """A holiday that is new, or that a later version of the library names differently, does no harm."""
    found = measured(record)
    names = tuple(f"renamed {name}" for name in found.names)
    effect, other_measured, _ = replace(found, names=names).expected(BERLIN, number(BRIDGE), number(BRIDGE))
    assert effect.tolist() == [found.roles["bridge"]]
    assert not other_measured.any()


def test_short_history_has_no_effects() -> None:
    """With less than a year each name occurs once, so nothing differs from the library's list."""
    short = make_record(BERLIN, 300)
    assert not measured(short).names


def test_forecast_of_holiday_follows_load_of_earlier_years(record: Record) -> None:
    """The stored model forecasts Women's Day as the workday that it is, and not as a Sunday, 15 % lower."""
    at = datetime(2023, 3, 7, 23, tzinfo=UTC)
    stored = fit("linear", record.city, *record.before(at), at=at).to_bytes()
    model = read_forecaster("linear", stored)
    assert model.special_days.names
    made = model.predict(ForecastInput(*record.before(at), record.weather_from(at), at, 24)).frame
    pairs = made.join(record.load, on="timestamp")
    assert pairs["predicted"].sum() == pytest.approx(pairs["consumption_kwh"].sum(), rel=0.02)


def test_rejects_damaged_special_days(record: Record) -> None:
    found = measured(record)
    with pytest.raises(ArtifactError, match="special days"):
        replace(found, effect=found.effect[1:]).check()
