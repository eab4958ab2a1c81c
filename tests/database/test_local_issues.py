"""Backtests that issue at a local time of each city's days, across a change of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.errors import EnergyForecastError
from energy_forecast.ingest import import_cities, load_table
from energy_forecast.pipelines.issue_times import issue_times
from energy_forecast.zones import zone

FIRST, END = datetime(2025, 10, 24, 20, tzinfo=UTC), datetime(2025, 10, 28, 20, tzinfo=UTC)
CITIES = {"Berlin": "Europe/Berlin", "Pune": "Asia/Kolkata", "Boston": "America/New_York"}


def test_issue_times_keep_the_local_time_and_count_local_days() -> None:
    local = [
        moment.astimezone(zone("Europe/Berlin")).isoformat()
        for moment in issue_times(FIRST, END, timedelta(days=2), at_local=time(0), zone="Europe/Berlin")
    ]
    assert local == ["2025-10-25T00:00:00+02:00", "2025-10-27T00:00:00+01:00"]
    assert issue_times(FIRST, END, timedelta(days=1)) == [FIRST + timedelta(days=n) for n in range(4)]
    with pytest.raises(EnergyForecastError, match="number of days"):
        issue_times(FIRST, END, timedelta(hours=12), at_local=time(0))
    with pytest.raises(EnergyForecastError, match=r"No day .* local time 12:00"):
        issue_times(FIRST, FIRST + timedelta(hours=2), timedelta(days=1), at_local=time(12))


def test_each_city_is_issued_at_its_own_midnight(database: Database, tmp_path: Path) -> None:
    """With fits between; a score of uneven moments is computed again from its own pairs."""
    path = tmp_path / "cities.csv"
    rows = "".join(f"{name},10,10,{name_of_zone}\n" for name, name_of_zone in CITIES.items())
    path.write_text(f"name,latitude,longitude,timezone\n{rows}")
    import_cities(database, path)
    hours = pl.datetime_range(FIRST - timedelta(days=40), END + timedelta(days=2), "1h", eager=True, time_zone="UTC")
    for name in CITIES:
        kwh = 100.0 + hours.dt.hour().cast(pl.Float64) + 3.0 * hours.dt.weekday()
        load = pl.DataFrame({"city": [name] * len(hours), "timestamp": hours, "consumption_kwh": kwh})
        load_table(database, "consumption", load, name="load", interval_minutes=60)
    report = pipelines.backtest(
        database,
        models=["naive-24"],
        first=FIRST,
        end=END,
        at_local=time(0),
        refit=timedelta(days=2),
        cities=list(CITIES),
    )
    issued = report.pairs.select("city", "issued_at").unique()
    for name, name_of_zone in CITIES.items():
        local = [moment.astimezone(zone(name_of_zone)) for moment in sorted(issued.filter(city=name)["issued_at"])]
        assert [moment.time() for moment in local] == [time(0)] * 4
        assert [moment.date() for moment in local] == [local[0].date() + timedelta(days=n) for n in range(4)]
        found = pipelines.explain_score(database, city=name, purpose="backtest", lead_start=0)
        assert found.differing == []
        assert found.pairs.height == found.stored["pair_count"]
