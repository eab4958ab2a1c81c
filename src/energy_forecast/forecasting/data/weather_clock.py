"""Detection of shifted weather timestamps, from the hour of the daily peak by year.

The warmest hour of the day follows the sun. If it moves by half an hour from one year to another, the weather service
may have changed its timestamps, and a model that was trained on the old ones gets the new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.history import hour_numbers
from energy_forecast.forecasting.types import Floats

# Per quarter of a year; the hour of the peak is then accurate to about 0.15 h
_FEWEST_DAYS = 60
_SMALLEST = 1e-9
# In the US cities, years with unchanged timestamps differ by up to 0.3 h
_USUAL_HOURS = 0.3
DRIFT_HOURS = 0.4
# Timestamps shift by half hours or hours; a smaller shift may be the weather of the years, or another station
_LIKELY_HOURS = 0.8


@dataclass(frozen=True)
class WeatherClock:
    """Shift of the daily peak by year, hours, for weather and load. The peak is that of the first harmonic.

    A shift is relative to the median of all years for each quarter. A year with too few known days is left out.
    """

    weather: dict[int, float]
    load: dict[int, float]

    @property
    def timestamp_drift(self) -> float:
        """Return the shift in hours from the first to the last two years, by medians."""
        if len(self.weather) < 2:
            return 0.0
        first, last = ([self.weather[year] for year in part] for part in self._ends())
        return round(float(np.median(last) - np.median(first)), 2)

    @property
    def has_drifted(self) -> bool:
        """Return whether the shift is at least DRIFT_HOURS."""
        return abs(self.timestamp_drift) >= DRIFT_HOURS

    def __str__(self) -> str:
        shift, way = abs(self.timestamp_drift), "earlier" if self.timestamp_drift < 0 else "later"
        first, last = (" and ".join(map(str, part)) for part in self._ends())
        shifted = "have probably shifted" if shift >= _LIKELY_HOURS else "may have shifted, which is uncertain"
        return (
            f"the daily temperature peak is {shift:.1f} h {way} in {last} than in {first}. "
            f"Years with unchanged timestamps differ by up to {_USUAL_HOURS:g} h, so the weather "
            f"timestamps {shifted}. Check whether the weather service changed its time zone, the label of its hours "
            "(start or end) or its station between these years. If it did, load the weather again with one clock."
        )

    def _ends(self) -> tuple[list[int], list[int]]:
        """Return the first and the last one or two years."""
        years = sorted(self.weather)
        end = min(2, len(years) // 2)
        return years[:end], years[-end:]


def weather_clock(load: pl.DataFrame, weather: pl.DataFrame) -> WeatherClock:
    """Return the shifts of hourly load (timestamp, consumption_kwh) and weather (timestamp, temperature)."""
    return WeatherClock(_by_year(weather, "temperature"), _by_year(load, "consumption_kwh"))


def _by_year(frame: pl.DataFrame, column: str) -> dict[int, float]:
    if frame.is_empty() or column not in frame.columns:
        return {}
    hours = hour_numbers(frame["timestamp"])
    first_day = int(hours[0]) // 24
    grid = np.full(24 * (int(hours[-1]) // 24 - first_day + 1), np.nan)
    grid[hours - 24 * first_day] = frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    by_day = grid.reshape(-1, 24)
    basis = np.exp(2j * np.pi * np.arange(24) / 24)
    harmonic = by_day @ basis
    # Each day has the same weight, so that one heat wave does not dominate a quarter
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
        # Relative to the first one, since hours of the day are circular
        shifts = _wrapped(np.array([peak[number] - peak[same[0]] for number in same]))
        for number, later in zip(same, shifts - np.median(shifts), strict=True):
            by_year.setdefault(1970 + number // 4, []).append(float(later))
    return {year: round(float(np.median(values)), 2) for year, values in sorted(by_year.items())}


def _wrapped(hours: Floats) -> Floats:
    return np.asarray((hours + 12) % 24 - 12, float)
