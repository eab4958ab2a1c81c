"""Examine the data of cities: find gaps, faults and level changes, and summarize them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import polars as pl

from energy_forecast.database import history
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Database, Role
from energy_forecast.forecasting.data.load_clock import LoadClock, load_clock
from energy_forecast.forecasting.data.quality_report import Finding, find_in_load, find_in_weather
from energy_forecast.forecasting.data.weather_clock import WeatherClock, weather_clock
from energy_forecast.pipelines.as_of import BEGINNING, HourShift, forecasting_city
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.progress import Progress, silent

_MOST_RUNS = 3


@dataclass(frozen=True)
class Stretch:
    """`hours` consecutive hours that start at `first`, UTC."""

    first: datetime
    hours: int


@dataclass(frozen=True)
class FindingSummary:
    """Summary of one kind of finding in a city: `hours` in `runs` runs, from `first` to `last` (start of hours, UTC).

    longest: up to three longest runs, by time.
    """

    city: str
    series: str
    kind: str
    first: datetime
    last: datetime
    hours: int
    runs: int
    factor: float | None
    left_out: bool
    longest: tuple[Stretch, ...]

    def __str__(self) -> str:
        where = f"{self.first:%Y-%m-%d %H:%M}"
        if self.last != self.first:
            where += f" to {self.last:%Y-%m-%d %H:%M}"
        if self.kind == "level":
            often = f", and {self.runs - 1} more" if self.runs > 1 else ""
            step = f"level change by a factor of {self.factor:.2f}"
            return f"{self.city}: {step}, from {where} UTC{often}; still used"
        hours = "1 hour" if self.hours == 1 else f"{self.hours:,} hours"
        runs = f" in {self.runs:,} runs" if self.runs > 1 else ""
        factor = "" if self.factor is None else f" (about {self.factor:,.3g} times the expected load)"
        used = "; left out of training and scores" if self.left_out else ""
        found = f"{self.city}: {_LABELS[self.series, self.kind]}{factor}, {hours}{runs}, {where} UTC{used}"
        if self.runs == 1:
            return found
        longest = ", ".join(f"{run.first:%Y-%m-%d %H:%M} ({run.hours:,} h)" for run in self.longest)
        return f"{found}; the longest at {longest}" if self.runs > len(self.longest) else f"{found}; at {longest}"


_LABELS = {
    ("consumption", "gap"): "missing load",
    ("consumption", "overlap"): "overlapping intervals",
    ("consumption", "zero"): "zero or negative values",
    ("consumption", "spike"): "spikes",
    ("consumption", "dip"): "dips",
    ("consumption", "stuck"): "a stuck meter",
    ("consumption", "unit"): "wrong unit",
    ("weather", "gap"): "missing temperature",
}


def summed(city: str, found: Sequence[Finding]) -> list[FindingSummary]:
    """Return the findings in a city by kind."""
    kinds = dict.fromkeys((one.series, one.kind) for one in found)
    kept = []
    for series, kind in kinds:
        own = [one for one in found if (one.series, one.kind) == (series, kind)]
        kept.append(
            FindingSummary(
                city=city,
                series=series,
                kind=kind,
                first=own[0].first,
                last=own[0].first if kind == "level" else max(one.last for one in own),
                hours=sum(one.hours for one in own),
                runs=len(own),
                factor=own[0].factor,
                left_out=own[0].left_out,
                longest=_longest(own),
            )
        )
    return kept


def _longest(found: Sequence[Finding]) -> tuple[Stretch, ...]:
    chosen = sorted(found, key=lambda one: -one.hours)[:_MOST_RUNS]
    return tuple(Stretch(one.first, one.hours) for one in sorted(chosen, key=lambda one: one.first))


@dataclass(frozen=True)
class CityQuality:
    """Quality of the known data of a city: findings by time, summaries by kind, and the clocks of weather and load."""

    city: str
    load_hours: int
    weather_hours: int
    findings: list[Finding]
    summed: list[FindingSummary]
    clock: WeatherClock
    load_clock: LoadClock


@dataclass(frozen=True)
class QualityReport:
    """Result of an examination. `failed` maps a city to the reason."""

    cities: list[CityQuality]
    failed: dict[str, str]


def examine_quality(database: Database, *, cities: Sequence[str] = (), progress: Progress = silent) -> QualityReport:
    """Examine all known data of cities (all if none is named) without writing anything.

    A failure in one city does not affect the others: see isolation.attempt.

    Raises:
        UnknownCityError: a name is unknown.
        DatabaseError: the database refused the request.
    """
    examined: list[CityQuality] = []
    failed: dict[str, str] = {}
    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection)
        chosen = cities_named(connection, cities)
    for number, city in enumerate(chosen):
        progress(f"Examining {city.name}", number, len(chosen))
        one = attempt(f"Examine {city.name}", partial(_examine_city, database, city, now))
        if isinstance(one, Failed):
            failed[city.name] = one.reason
        else:
            examined.append(one)
    progress("Examining", len(chosen), len(chosen))
    return QualityReport(examined, failed)


def _examine_city(database: Database, city: StoredCity, now: datetime) -> CityQuality:
    with database.transaction(Role.FORECASTER) as connection:
        phase = history.phase_as_of(connection, city.id, now)
        load, overlaps = history.load_and_overlaps_as_of(
            connection, city.id, as_of=now, first=BEGINNING, end=now, phase=phase
        )
        weather = history.weather_as_of(connection, city.id, as_of=now, first=BEGINNING, end=now, phase=phase)
    found = find_in_load(load, overlaps) + find_in_weather(weather)
    warm = weather.filter(pl.col("temperature").is_not_null()).height
    clock = weather_clock(load, weather)
    shift = HourShift(phase)
    of_load = load_clock(forecasting_city(city), shift.to_full_hours(load), shift.to_full_hours(weather))
    return CityQuality(city.name, load.height, warm, found, summed(city.name, found), clock, of_load)
