"""Build the training set: each historical hour as a target at several lead times. Also its split for held-out tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.errors import NotEnoughDataError
from energy_forecast.forecasting.data.history import build_history
from energy_forecast.forecasting.data.weather_clock import weather_clock
from energy_forecast.forecasting.features.calendar import has_holidays
from energy_forecast.forecasting.features.matrix import FeatureMatrix, feature_matrix
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.features.special_days import measure_special_days
from energy_forecast.forecasting.hours import TRAINING_LEADS
from energy_forecast.forecasting.types import Floats, Ints, TrainingInput

# A day of targets in each bucket of lead times
FEWEST = 24 * len(TRAINING_LEADS)
_YEAR_HOURS = 8766
_SEASON_NEEDS_HOURS = 400 * 24
_LONGEST_LEAD = 191
_HALF_LIFE_YEARS = 3.0
# Five years: older hours would have less than a third of the weight, and memory and time would grow with the record
_MOST_DAYS = 5 * 366
_BLOCK_HOURS = 24 * 28
_BLOCKS = 5
_NO_WEATHER = pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC"), "temperature": pl.Float64})


def prepare_history(name: str, needed_hours: int, data: TrainingInput) -> tuple[HistoryView, dict[str, Any]]:
    """Return the history known at the time of the fit, and facts about it as plain JSON.

    Raises:
        NotEnoughDataError: fewer than `needed_hours` hours of load are known.
    """
    city = data.city
    since = pl.col("timestamp") >= data.at - timedelta(days=_MOST_DAYS)
    history = build_history(
        data.load.filter(since), data.weather.filter(since), _NO_WEATHER, issued_at=data.at, days=None
    )
    known = int(np.isfinite(history.load).sum())
    if known < needed_hours:
        raise NotEnoughDataError(
            f"{city.name} has {known} usable hours of load, and {name} needs {needed_hours} "
            f"({needed_hours // 24} days).",
            hint="Ingest more history, or choose a simpler model.",
        )
    plain = HistoryView(city, history)
    view = replace(plain, special_days=measure_special_days(city, plain.calendar, history))
    view.prepare()
    return view, {
        "city": city.name,
        "trained_until": data.at.isoformat(),
        "seed": data.seed,
        "load_hours": known,
        "missing_hours": history.known_until - history.first - known - history.faults.count,
        "faulty_hours": history.faults.by_kind,
        "weather_clock": vars(weather_clock(data.load, data.weather)),
        "holidays": has_holidays(city.country_code, city.subdivision),
    }


def holdout_cuts(known: Ints, long: int, held_out: int, until: int) -> list[int]:
    """Return the borders of the held-out parts as hour numbers.

    Args:
        known: the hours that can be trained and tested on, ascending.
        long, held_out: of a record of at least `long` hours, most of them known, the last `held_out` are held out. Of
            a shorter one, the parts from 55 and from 77.5 % of the known hours on.
        until: the end of the last part.
    """
    length = int(known[-1]) + 1 - int(known[0])
    border = int(known[-1]) + 1 - held_out
    before = int(np.searchsorted(known, border))
    if length >= long and len(known) >= length // 2 and before and min(before, len(known) - before) >= len(known) // 8:
        return [border, until]
    return [int(known[int(len(known) * share)]) for share in (0.55, 0.775)] + [until]


@dataclass(frozen=True)
class TrainingSet:
    """n samples to train on, oldest target first.

    share: [n] load of the target as a share of the level before the origin.
    weight: [n], half as much for a target that is three years older.
    block: [n], the part of time that a sample is left out with, of five: months in turn, or a fifth of a short history.
    season: whether the history is longer than a year, so that seasonal terms can be fitted.
    """

    samples: Samples
    matrix: FeatureMatrix
    share: Floats
    weight: Floats
    block: Ints
    season: bool

    def __len__(self) -> int:
        return len(self.share)

    def until(self, hour: int) -> TrainingSet:
        """Return the samples whose target is before hour number `hour`, with weights as of that hour.

        Raises:
            NotEnoughDataError: they are fewer than FEWEST.
        """
        n = int(np.searchsorted(self.samples.targets, hour))
        _check_enough(n, self.samples.view)
        targets = self.samples.targets[:n]
        first = self.samples.view.history.first
        return TrainingSet(
            self.samples.take(np.arange(n)),
            FeatureMatrix(self.matrix.names, self.matrix.values[:n]),
            self.share[:n],
            sample_weights(targets, hour),
            time_blocks(targets, first),
            hour - first >= _SEASON_NEEDS_HOURS,
        )


def _check_enough(n: int, view: HistoryView) -> None:
    if n < FEWEST:
        raise NotEnoughDataError(
            f"The load of {view.city.name} has too few hours to train on.",
            hint="Ingest more history, or choose a simpler model.",
        )


def sample_weights(targets: Ints, until: int) -> Floats:
    """Return the weight of each hour for a fit at hour number `until`: it halves every three years."""
    return np.asarray(0.5 ** ((until - targets) / (_HALF_LIFE_YEARS * _YEAR_HOURS)), float)


def time_blocks(targets: Ints, first: int) -> Ints:
    """Return the block of each hour, of five since hour number `first`: months in turn, or a fifth each."""
    length = int(targets.max()) + 1 - first
    return np.asarray((targets - first) // min(_BLOCK_HOURS, -(-length // _BLOCKS)) % _BLOCKS, np.int64)


def build_training_set(view: HistoryView, draw: np.random.Generator, *, weather: bool) -> TrainingSet:
    """Return every known hour as a target, once per bucket of lead times with a random lead inside the bucket.

    Raises:
        NotEnoughDataError: they are fewer than FEWEST.
    """
    history = view.history
    targets = np.arange(history.first + 24, history.known_until, dtype=np.int64)
    known = np.isfinite(history.load[targets - history.start])
    if weather:
        known &= np.isfinite(history.weather["temperature"][targets - history.start])
    targets = targets[known]
    lowest = (0, *TRAINING_LEADS.borders)
    highest = (*(border - 1 for border in TRAINING_LEADS.borders), _LONGEST_LEAD)
    leads = [draw.integers(low, high + 1, len(targets)) for low, high in zip(lowest, highest, strict=True)]
    lead = np.concatenate(leads)
    target = np.tile(targets, len(leads))
    order = np.argsort(target, kind="stable")
    samples = Samples(view, (target - lead)[order], target[order])
    # At least a week of load before the origin, and no target that a change of unit made extreme
    samples = samples.take(samples.origins >= history.first + min(168, (history.known_until - history.first) // 3))
    with np.errstate(invalid="ignore"):
        share = samples.actual / samples.level
    samples = samples.take(np.isfinite(share) & (share > 0.1) & (share < 6.0))
    _check_enough(len(samples), view)
    matrix, share = feature_matrix(samples, weather=weather), samples.actual / samples.level
    whole = TrainingSet(samples, matrix, share, np.empty(0), np.empty(0, np.int64), False)
    return whole.until(history.known_until)
