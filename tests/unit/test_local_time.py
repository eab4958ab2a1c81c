"""Local days and months in Python: what features and scores call a day agrees with zoneinfo."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings

from energy_forecast import zones
from energy_forecast.forecasting import City
from energy_forecast.forecasting.features.calendar import build_calendar
from energy_forecast.pipelines.pairs import local_month
from zones import ZONES, zones_and_days


@settings(max_examples=150, deadline=None)
@given(zones_and_days())
def test_the_calendar_of_the_features_is_the_citys(drawn: tuple[str, date]) -> None:
    """Four days around a change of the clock, hour by hour."""
    zone, day = drawn
    first = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=1)
    city = City(name="Somewhere", latitude=0, longitude=0, timezone=zone, country_code=None, subdivision=None)
    calendar = build_calendar(city, int(first.timestamp()) // 3600, 96)
    local = [(first + timedelta(hours=n)).astimezone(zones.zone(zone)) for n in range(96)]
    assert list(calendar.day) == [(at.date() - date(1970, 1, 1)).days for at in local]
    assert list(calendar.hour) == [at.hour for at in local]
    assert list(calendar.weekday) == [at.weekday() for at in local]


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_has_twelve_months_of_scores(zone: str) -> None:
    """Whatever midnight a month begins at; or a score of half of it would stand beside one of the rest."""
    for year in range(2000, 2031):
        first = datetime(year, 1, 1, tzinfo=zones.zone(zone)).astimezone(UTC)
        end = datetime(year + 1, 1, 1, tzinfo=zones.zone(zone)).astimezone(UTC)
        times = pl.datetime_range(first, end, "30m", closed="left", eager=True, time_zone="UTC").alias("timestamp")
        months = local_month(times, zone)
        assert months.n_unique() == 12
        assert months.dt.month().unique().sort().to_list() == list(range(1, 13))
