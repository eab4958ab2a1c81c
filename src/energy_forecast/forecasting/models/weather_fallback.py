"""Forecasting with two heads: one for the hours whose weather is known, one for all others. What both models share."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from energy_forecast.errors import NotEnoughDataError
from energy_forecast.forecasting.data.history import build_history, timestamps
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.types import (
    LONGEST_HORIZON_HOURS,
    QUANTILE_COLUMNS,
    City,
    Flags,
    Floats,
    Forecast,
)

_STALE_HOURS = 3


@dataclass(frozen=True)
class Said:
    """What one head says of its hours, kWh.

    predicted: [n]. quantiles: [n, len(QUANTILE_COLUMNS)], in any order. leading: the values of the leading features.
    """

    predicted: Floats
    quantiles: Floats
    leading: dict[str, Floats]


@dataclass(frozen=True)
class LaidOut:
    """The hours to be forecast, out of what is known; `use_weather` [n] says which the head with weather serves."""

    past: Past
    rows: Rows
    use_weather: Flags

    def parts(self) -> list[tuple[str, Flags]]:
        """The heads that serve any hour, each with its hours."""
        both = (("weather", self.use_weather), ("plain", ~self.use_weather))
        return [(kind, where) for kind, where in both if where.any()]

    def each_part(self, told: Callable[[str, Past, Rows, Flags], pl.DataFrame | None]) -> pl.DataFrame | None:
        """What the heads tell of their hours, one below the other; None where none of them can."""
        found = [told(kind, self.past, self.rows, where) for kind, where in self.parts()]
        known = [one for one in found if one is not None]
        return pl.concat(known) if known else None


def lay_out(
    city: City,
    heads: Collection[str],
    load: pl.DataFrame,
    weather: pl.DataFrame,
    weather_ahead: pl.DataFrame,
    *,
    issued_at: datetime,
    horizon_hours: int,
    history_days: int,
) -> LaidOut:
    """See FittedModel.forecast and forecast_with_heads."""
    if not 1 <= horizon_hours <= LONGEST_HORIZON_HOURS:
        raise ValueError(f"horizon_hours is {horizon_hours}, not 1 to {LONGEST_HORIZON_HOURS}")
    history = build_history(load, weather, weather_ahead, issued_at=issued_at, days=history_days)
    past = Past(city, history)
    if not np.isfinite(history.load).any():
        raise NotEnoughDataError(
            f"No usable load of {city.name} is known in the {history_days} days before {issued_at:%Y-%m-%d %H:%M} UTC."
        )
    begin = math.ceil(issued_at.astimezone(UTC).timestamp() / 3600)
    targets = np.arange(begin, begin + horizon_hours, dtype=np.int64)
    rows = Rows(past, np.full(horizon_hours, history.known_until, np.int64), targets)
    with_weather = np.isfinite(history.weather["temperature"][rows.position])
    return LaidOut(past, rows, with_weather & ("weather" in heads))


def forecast_with_heads(
    city: City,
    heads: Collection[str],
    load: pl.DataFrame,
    weather: pl.DataFrame,
    weather_ahead: pl.DataFrame,
    *,
    issued_at: datetime,
    horizon_hours: int,
    history_days: int,
    say: Callable[[str, Past, Rows, Flags], Said],
    remark: Callable[[str], str | None],
) -> Forecast:
    """See FittedModel.forecast.

    Args:
        heads: those that were learnt: "plain", and "weather" where weather could be learnt from.
        say: called with a head, what is known, the rows of ALL hours, and which of them are the head's own.
        remark: a last note on what the head named is worth; None for none.
    """
    laid = lay_out(
        city,
        heads,
        load,
        weather,
        weather_ahead,
        issued_at=issued_at,
        horizon_hours=horizon_hours,
        history_days=history_days,
    )
    past, rows, use_weather = laid.past, laid.rows, laid.use_weather
    targets = rows.targets
    predicted = np.empty(horizon_hours)
    quantiles = np.empty((horizon_hours, len(QUANTILE_COLUMNS)))
    leading: list[pl.DataFrame] = []
    for kind, where in laid.parts():
        said = say(kind, past, rows, where)
        predicted[where], quantiles[where] = said.predicted, said.quantiles
        leading.append(
            pl.DataFrame(
                [
                    timestamps(targets[where]),
                    *(pl.Series(name, values, nan_to_null=True) for name, values in said.leading.items()),
                ]
            )
        )
    predicted = np.maximum(predicted, 0.0)
    quantiles = np.maximum(np.sort(quantiles, axis=1), 0.0)
    frame = pl.DataFrame(
        [
            timestamps(targets),
            pl.Series("predicted", predicted),
            *(pl.Series(name, quantiles[:, i]) for i, name in enumerate(QUANTILE_COLUMNS)),
        ]
    )
    usual = {name: int((where[rows.position] & use_weather).sum()) for name, where in past.history.usual.items()}
    usual = {name: n for name, n in usual.items() if n}
    notes = _notes(past, int(targets[0]), use_weather, heads, usual)
    last = remark("weather" if use_weather.any() else "plain")
    features = pl.concat(leading, how="diagonal").sort("timestamp")
    notes += [] if last is None else [last]
    stale = int(targets[0]) - past.history.known_until
    ends = int(np.flatnonzero(use_weather)[-1]) + 1 if use_weather.any() else horizon_hours
    weather_ends = frame["timestamp"][ends] if ends < horizon_hours else None
    return Forecast(frame, features, int(use_weather.sum()), notes, stale, weather_ends, usual)


def _notes(past: Past, begin: int, use_weather: Flags, heads: Collection[str], usual: Mapping[str, int]) -> list[str]:
    notes = []
    stale = begin - past.history.known_until
    if stale >= _STALE_HOURS:
        notes.append(f"The last known load is {stale} hours before the first hour forecast.")
    if "weather" in heads and not use_weather.all():
        n = int((~use_weather).sum())
        notes.append(f"No weather is known for {n} of {len(use_weather)} hours; they are forecast without it.")
    if usual:
        lacking = ", ".join(f"{name.replace('_', ' ')} for {n}" for name, n in usual.items())
        notes.append(
            f"Of {int(use_weather.sum())} hours with weather, not known is {lacking}: what is usual at that hour and "
            "temperature stands in."
        )
    if past.history.faults.count:
        kinds = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in past.history.faults.by_kind.items() if n)
        count = past.history.faults.count
        notes.append(f"{count} faulty hour{'' if count == 1 else 's'} of recent load left out ({kinds}).")
    return notes
