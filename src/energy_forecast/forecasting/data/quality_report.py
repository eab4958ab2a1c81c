"""What is wrong with a city's record, in words for people: the faults that cleaning leaves out, and what it leaves in.

A finding is a run of hours of one kind. Faulty hours are left out of training and scores; a gap has nothing to leave
out; hours of a new level are kept, since the city may have grown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from energy_forecast.forecasting.data.faults import KINDS, find_faults, plausible_weather, runs
from energy_forecast.forecasting.data.history import timestamps
from energy_forecast.forecasting.types import Flags, Floats, Ints

_HOUR = 3_600_000_000
_WORDS = dict(zip(KINDS[1:], ("zero", "spike", "dip", "stuck", "unit"), strict=True))
# A new level is a step of 30 % that 12 of 14 days show against the same days two weeks before. Between cities whose
# heating ends and begins, 25 % would be found every other year.
LEVEL_STEP = 1.3
_LEVEL_DAYS = 14
_LEVEL_SHARE = 0.85
# How long after its day a new level may be found first
LEVEL_DELAY = timedelta(days=_LEVEL_DAYS + 2)


@dataclass(frozen=True)
class Finding:
    """A run of hours of one kind.

    series: consumption or weather. kind: gap, overlap, zero, spike, dip, stuck, unit or level. first, last: START of
    the first and the last hour, UTC. hours: how many. factor: how many times the usual, for level and unit. left_out:
    whether training and scores leave the hours out.
    """

    series: str
    kind: str
    first: datetime
    last: datetime
    hours: int
    factor: float | None
    left_out: bool


def faulty_rows(load: pl.DataFrame) -> Flags:
    """Which rows of a load (timestamp, consumption_kwh, hourly, sorted) are faulty, [n]."""
    _, values, places = _grid(load, "consumption_kwh")
    return np.asarray(find_faults(values).where[places], bool)


def find_in_load(load: pl.DataFrame, overlaps: pl.Series | None = None) -> list[Finding]:
    """Findings in a load (timestamp, consumption_kwh, hourly, sorted), by time: all that was known at one moment.

    Args:
        overlaps: START of the hours that are not in the load because their intervals overlap, UTC, sorted.
    """
    found = [] if overlaps is None or overlaps.is_empty() else _overlapping(overlaps)
    if load.is_empty():
        return found
    phase = load["timestamp"][0].minute
    begin, values, _ = _grid(load, "consumption_kwh")
    faults = find_faults(values)
    missing = np.isnan(values)
    if overlaps is not None:
        places = _hours(overlaps) - begin
        missing[places[(places >= 0) & (places < len(missing))]] = False
    found += _as_findings("consumption", "gap", begin, missing, phase)
    usual = float(np.median(values[np.isfinite(values) & ~faults.where])) if not faults.where.all() else np.nan
    # A load that is usually zero has no usual size
    ratio = np.divide(values, usual, out=np.full_like(values, np.nan), where=usual > 0)
    for number, name in enumerate(KINDS):
        if number:
            found += _as_findings("consumption", _WORDS[name], begin, faults.kinds == number, phase, ratio)
    clean = np.where(faults.where, np.nan, values)
    for at, factor in level_steps(clean):
        moment = _moment(begin + at, phase)
        found.append(Finding("consumption", "level", moment, moment, 1, factor, left_out=False))
    return sorted(found, key=lambda one: (one.first, one.kind))


def _overlapping(overlaps: pl.Series) -> list[Finding]:
    hours = _hours(overlaps)
    where = np.zeros(hours[-1] - hours[0] + 1, bool)
    where[hours - hours[0]] = True
    return _as_findings("consumption", "overlap", int(hours[0]), where, overlaps[0].minute)


def find_in_weather(weather: pl.DataFrame) -> list[Finding]:
    """Gaps in a record of weather (timestamp, temperature, hourly, sorted), by time.

    Hours whose temperature no place has had are gaps; so are up to three hours in a row, although models bridge them.
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


def level_steps(load: Floats) -> list[tuple[int, float]]:
    """Where a load (kWh, hourly, NaN where unknown) went to another level and stayed there: place and factor."""
    days = len(load) // 24
    if days < 2 * _LEVEL_DAYS:
        return []
    by_day = load[: 24 * days].reshape(days, 24)
    known = np.isfinite(by_day)
    total, n = np.where(known, by_day, 0.0).sum(axis=1), known.sum(axis=1)
    mean = np.divide(total, n, out=np.full(days, np.nan), where=(n >= 18) & (total > 0))
    # Each day against the one two weeks before: the same weekday, whose step is the same on all 14 days
    change = np.full(days, np.nan)
    change[_LEVEL_DAYS:] = np.log(mean[_LEVEL_DAYS:] / mean[:-_LEVEL_DAYS])
    window = np.lib.stride_tricks.sliding_window_view(change, _LEVEL_DAYS)
    seen = np.isfinite(window).sum(axis=1)
    up, down = (window > np.log(LEVEL_STEP)).sum(axis=1), (window < -np.log(LEVEL_STEP)).sum(axis=1)
    step = (seen >= _LEVEL_DAYS - 4) & (np.maximum(up, down) >= np.ceil(_LEVEL_SHARE * seen))
    found = []
    for first, end in zip(*runs(step), strict=True):
        # Of neighbours that all show it, the day on which it was clearest
        size = np.array([abs(np.nanmedian(window[day])) + np.nanmin(np.abs(window[day])) for day in range(first, end)])
        day = int(first + np.argmax(size))
        found.append((24 * day, round(float(np.exp(np.nanmedian(window[day]))), 3)))
    return found


def _grid(frame: pl.DataFrame, column: str) -> tuple[int, Floats, Ints]:
    """The number of the first hour, the values of all hours from it on (NaN where none), and where each row is."""
    if frame.is_empty():
        return 0, np.empty(0), np.empty(0, np.int64)
    hours = _hours(frame["timestamp"])
    begin = int(hours[0])
    values = np.full(int(hours[-1]) - begin + 1, np.nan)
    values[hours - begin] = frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return begin, values, np.asarray(hours - begin, np.int64)


def _hours(moments: pl.Series) -> Ints:
    """The number of the UTC hour in which each of n moments lies, [n]."""
    return np.asarray(moments.dt.epoch("us").to_numpy() // _HOUR, np.int64)


def _as_findings(
    series: str, kind: str, begin: int, where: Flags, phase: int, ratio: Floats | None = None
) -> list[Finding]:
    found = []
    for first, end in zip(*runs(where), strict=True):
        factor = float(np.median(ratio[first:end])) if ratio is not None and kind == "unit" else None
        found.append(
            Finding(
                series,
                kind,
                _moment(begin + int(first), phase),
                _moment(begin + int(end) - 1, phase),
                int(end - first),
                factor,
                left_out=kind != "gap",
            )
        )
    return found


def _moment(hour: int, phase: int) -> datetime:
    moment: datetime = timestamps(np.array([hour]))[0]
    return moment + timedelta(minutes=phase)
