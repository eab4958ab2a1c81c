"""Quality report of a city's record: faults, gaps, overlaps and step changes.

A finding is a run of hours of one kind. Faulty hours are left out of training and scores. Hours after a step change are
used, since the city may have grown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.faults import KINDS, find_faults, plausible_weather, runs
from energy_forecast.forecasting.data.history import hour_numbers, timestamps
from energy_forecast.forecasting.types import Flags, Floats, Ints

# A step change is a change of 30 % in 12 of 14 days relative to the same days two weeks before. In cities with heating,
# a limit of 25 % would find one every other year.
STEP_FACTOR = 1.3
_STEP_DAYS = 14
_STEP_SHARE = 0.85
# Time from a step change to its earliest detection
STEP_DELAY = timedelta(days=_STEP_DAYS + 2)


@dataclass(frozen=True)
class Finding:
    """A run of hours of one kind.

    series: consumption or weather.
    kind: gap, overlap, zero, spike, dip, stuck, unit or level (a step change).
    first, last: START of the first and the last hour, UTC.
    hours: the number of hours.
    factor: the ratio to the median, for unit, or of the step, for level.
    left_out: whether training and scores leave the hours out.
    """

    series: str
    kind: str
    first: datetime
    last: datetime
    hours: int
    factor: float | None
    left_out: bool


def faulty_rows(load: pl.DataFrame) -> Flags:
    """Return which rows of a load (timestamp, consumption_kwh, hourly, sorted) are faulty, [n]."""
    _, values, places = _grid(load, "consumption_kwh")
    return np.asarray(find_faults(values).where[places], bool)


def find_in_load(load: pl.DataFrame, overlaps: pl.Series | None = None) -> list[Finding]:
    """Return the findings in a load (timestamp, consumption_kwh, hourly, sorted) known at one time, by time.

    Args:
        overlaps: START of the hours that were excluded from the load because their intervals overlap, UTC, sorted.
    """
    found = [] if overlaps is None or overlaps.is_empty() else _overlapping(overlaps)
    if load.is_empty():
        return found
    minute = load["timestamp"][0].minute
    begin, values, _ = _grid(load, "consumption_kwh")
    faults = find_faults(values)
    missing = np.isnan(values)
    if overlaps is not None:
        places = hour_numbers(overlaps) - begin
        missing[places[(places >= 0) & (places < len(missing))]] = False
    found += _as_findings("consumption", "gap", begin, missing, minute)
    median = float(np.median(values[np.isfinite(values) & ~faults.where])) if not faults.where.all() else np.nan
    # No factor for a load whose median is zero
    ratio = np.divide(values, median, out=np.full_like(values, np.nan), where=median > 0)
    for number, name in enumerate(KINDS):
        if number:
            found += _as_findings("consumption", name, begin, faults.kinds == number, minute, ratio)
    clean = np.where(faults.where, np.nan, values)
    for at, factor in step_changes(clean):
        moment = _moment(begin + at, minute)
        found.append(Finding("consumption", "level", moment, moment, 1, factor, left_out=False))
    return sorted(found, key=lambda one: (one.first, one.kind))


def _overlapping(overlaps: pl.Series) -> list[Finding]:
    hours = hour_numbers(overlaps)
    where = np.zeros(hours[-1] - hours[0] + 1, bool)
    where[hours - hours[0]] = True
    return _as_findings("consumption", "overlap", int(hours[0]), where, overlaps[0].minute)


def find_in_weather(weather: pl.DataFrame) -> list[Finding]:
    """Return the gaps in weather (timestamp, temperature, hourly, sorted), by time.

    Impossible temperatures count as gaps, and so do short gaps that models fill by interpolation.
    """
    if weather.is_empty():
        return []
    begin, values, _ = _grid(weather, "temperature")
    return _as_findings(
        "weather",
        "gap",
        begin,
        np.isnan(plausible_weather("temperature", values)),
        weather["timestamp"][0].minute,
    )


def step_changes(load: Floats) -> list[tuple[int, float]]:
    """Return index and factor of lasting step changes of a load (kWh, hourly, NaN where unknown)."""
    days = len(load) // 24
    if days < 2 * _STEP_DAYS:
        return []
    by_day = load[: 24 * days].reshape(days, 24)
    known = np.isfinite(by_day)
    total, n = np.where(known, by_day, 0.0).sum(axis=1), known.sum(axis=1)
    mean = np.divide(total, n, out=np.full(days, np.nan), where=(n >= 18) & (total > 0))
    # Each day relative to two weeks before: the same weekday, and a step shows on all 14 days
    change = np.full(days, np.nan)
    change[_STEP_DAYS:] = np.log(mean[_STEP_DAYS:] / mean[:-_STEP_DAYS])
    window = np.lib.stride_tricks.sliding_window_view(change, _STEP_DAYS)
    seen = np.isfinite(window).sum(axis=1)
    up, down = (window > np.log(STEP_FACTOR)).sum(axis=1), (window < -np.log(STEP_FACTOR)).sum(axis=1)
    step = (seen >= _STEP_DAYS - 4) & (np.maximum(up, down) >= np.ceil(_STEP_SHARE * seen))
    found = []
    for first, end in zip(*runs(step), strict=True):
        # Of adjacent days with a step, the one with the largest
        size = np.array([abs(np.nanmedian(window[day])) + np.nanmin(np.abs(window[day])) for day in range(first, end)])
        day = int(first + np.argmax(size))
        found.append((24 * day, round(float(np.exp(np.nanmedian(window[day]))), 3)))
    return found


def _grid(frame: pl.DataFrame, column: str) -> tuple[int, Floats, Ints]:
    """Return the number of the first hour, values of all hours from it on (NaN if missing), and each row's index."""
    if frame.is_empty():
        return 0, np.empty(0), np.empty(0, np.int64)
    hours = hour_numbers(frame["timestamp"])
    begin = int(hours[0])
    values = np.full(int(hours[-1]) - begin + 1, np.nan)
    # A null becomes NaN
    values[hours - begin] = frame[column].cast(pl.Float64).to_numpy()
    return begin, values, np.asarray(hours - begin, np.int64)


def _as_findings(
    series: str, kind: str, begin: int, where: Flags, minute: int, ratio: Floats | None = None
) -> list[Finding]:
    found = []
    for first, end in zip(*runs(where), strict=True):
        factor = float(np.median(ratio[first:end])) if ratio is not None and kind == "unit" else None
        found.append(
            Finding(
                series,
                kind,
                _moment(begin + int(first), minute),
                _moment(begin + int(end) - 1, minute),
                int(end - first),
                factor,
                left_out=kind != "gap",
            )
        )
    return found


def _moment(hour: int, minute: int) -> datetime:
    moment: datetime = timestamps(np.array([hour]))[0]
    return moment + timedelta(minutes=minute)
