"""Whether the clocks of load and weather stay together: at which time of day each has its peak, year by year.

The warmest time of day follows the sun, which keeps its time. Where it moves by half an hour from one year to another,
the weather's source has changed how it stamps its hours, and a model learnt from one clock is given another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from energy_forecast.forecasting.types import Floats

_HOUR = 3_600_000_000
# Of a quarter of a year; its time of day is known to about 0.15 h then
_FEWEST_DAYS = 60
_SMALLEST = 1e-9
# Between the US cities, years whose clock nobody has touched differ by up to 0.3 h
DRIFT_HOURS = 0.4


@dataclass(frozen=True)
class WeatherClock:
    """By year, how much later than usual for the season the day's first harmonic peaked, hours: weather's and load's.

    "Usual" is the median of all years of each quarter. A year that too few days are known of has no number.
    """

    weather: dict[int, float]
    load: dict[int, float]

    @property
    def drift(self) -> float:
        """How many hours later the weather's day is at the end than at the beginning, by medians of two years each."""
        years = sorted(self.weather)
        if len(years) < 2:
            return 0.0
        end = min(2, len(years) // 2)
        late, early = ([self.weather[year] for year in part] for part in (years[-end:], years[:end]))
        return round(float(np.median(late) - np.median(early)), 2)

    @property
    def drifts(self) -> bool:
        return abs(self.drift) >= DRIFT_HOURS

    def __str__(self) -> str:
        years = sorted(self.weather)
        return (
            f"the weather's day is {abs(self.drift):.1f} hours {'earlier' if self.drift < 0 else 'later'} "
            f"in {years[-1]} than in {years[0]}: its clock has moved, and a model learns from both"
        )


def weather_clock(load: pl.DataFrame, weather: pl.DataFrame) -> WeatherClock:
    """The clocks of a load (timestamp, consumption_kwh) and a record of weather (timestamp, temperature), hourly."""
    return WeatherClock(_by_year(weather, "temperature"), _by_year(load, "consumption_kwh"))


def _by_year(frame: pl.DataFrame, column: str) -> dict[int, float]:
    if frame.is_empty() or column not in frame.columns:
        return {}
    hours = frame["timestamp"].dt.epoch("us").to_numpy() // _HOUR
    first_day = int(hours[0]) // 24
    grid = np.full(24 * (int(hours[-1]) // 24 - first_day + 1), np.nan)
    grid[hours - 24 * first_day] = frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    by_day = grid.reshape(-1, 24)
    turn = np.exp(2j * np.pi * np.arange(24) / 24)
    harmonic = by_day @ turn
    # A day's size says nothing of its time: one heat wave must not stand for a quarter
    size = np.abs(harmonic)
    known = size > _SMALLEST
    harmonic = np.divide(harmonic, size, out=np.zeros_like(harmonic), where=known)
    months = (first_day + np.arange(len(by_day))).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    quarter = months // 3
    peak: dict[int, float] = {}
    for number in np.unique(quarter[known]):
        own = harmonic[known & (quarter == number)]
        if len(own) >= _FEWEST_DAYS:
            peak[int(number)] = float(np.angle(own.sum()) * 12 / np.pi)
    by_year: dict[int, list[float]] = {}
    for season in range(4):
        same = [number for number in peak if number % 4 == season]
        if len(same) < 2:
            continue
        # Around the first, since times of day go in a circle
        apart = _around(np.array([peak[number] - peak[same[0]] for number in same]))
        for number, later in zip(same, apart - np.median(apart), strict=True):
            by_year.setdefault(1970 + number // 4, []).append(float(later))
    return {year: round(float(np.median(values)), 2) for year, values in sorted(by_year.items())}


def _around(hours: Floats) -> Floats:
    return np.asarray((hours + 12) % 24 - 12, float)
