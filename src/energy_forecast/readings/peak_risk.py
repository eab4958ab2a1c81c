"""Readings of the highest load of a day: the probability that it exceeds a threshold, and that of its hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from energy_forecast.database.connection import Connection
from energy_forecast.errors import EnergyForecastError
from energy_forecast.local_times import to_local
from energy_forecast.readings.errors import errors
from energy_forecast.readings.forecasts import FORECAST, Purpose, live_forecast
from energy_forecast.tables import Schema, Table, quantile_level

if TYPE_CHECKING:
    from energy_forecast.forecasting.types import Floats

RISK: Schema = {
    "day": pl.Date,
    **dict.fromkeys(("threshold_kwh", "probability", "at_least", "at_most"), pl.Float64),
    **dict.fromkeys(("day_peak_low", "day_peak", "day_peak_high"), pl.Float64),
}
HOURS: Schema = {"day": pl.Date, **FORECAST, "probability": pl.Float64}
# Past days from which the relation of errors is estimated: fewer do not tell it, older ones are not read
_FEWEST_DAYS, _PAST = 10, timedelta(days=60)
_THRESHOLDS = 8


@dataclass(frozen=True)
class _Day:
    """A local day of the forecast. quantiles: [intervals, levels], kWh."""

    day: date
    frame: pl.DataFrame
    quantiles: Floats


def peak_risk(
    connection: Connection,
    city: str,
    *,
    as_of: datetime | None = None,
    model: str | None = None,
    purpose: Literal["live", "replay"] = "live",
    thresholds: Sequence[float] | None = None,
) -> Table:
    """Return the probabilities that the highest load of each local day of the forecast in use exceeds thresholds.

    They are computed from 4,000 scenarios: sample paths with the quantiles of the forecast, whose errors are related as
    those of the same model on past days. The fact `relation` names these days. With fewer than ten, `probability` is
    null; the bounds hold in any case. A day that the forecast covers in part counts with its covered intervals.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        NotEnoughDataError: no live forecast was issued in the eight days before.
        EnergyForecastError: the forecast has no quantiles.
    """
    return peak_tables(connection, city, as_of=as_of, model=model, purpose=purpose, thresholds=thresholds)[0]


def peak_hours(
    connection: Connection,
    city: str,
    *,
    as_of: datetime | None = None,
    model: str | None = None,
    purpose: Literal["live", "replay"] = "live",
) -> Table:
    """Return the probability of each interval of the forecast in use to have the highest load of its local day.

    It is the share of the scenarios of `peak_risk` in which it has; null with fewer than ten past days.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        NotEnoughDataError: no live forecast was issued in the eight days before.
        EnergyForecastError: the forecast has no quantiles.
    """
    return peak_tables(connection, city, as_of=as_of, model=model, purpose=purpose)[1]


def peak_tables(
    connection: Connection,
    city: str,
    *,
    as_of: datetime | None,
    model: str | None,
    purpose: Literal["live", "replay"],
    thresholds: Sequence[float] | None = None,
) -> tuple[Table, Table]:
    """Return the tables of `peak_risk` and `peak_hours`, from the same scenarios.

    Raises:
        UnknownCityError, NotEnoughDataError, EnergyForecastError: as `peak_risk`.
    """
    import numpy as np

    from energy_forecast.forecasting.scenarios import bounds_of_peak, scenarios

    table, days, levels, decay, facts = _prepared(connection, city, as_of, model, purpose)
    rows: list[dict[str, Any]] = []
    parts = []
    for one in days:
        paths = None if decay is None else scenarios(one.quantiles, levels, decay)
        peaks = None if paths is None else paths.max(axis=1)
        chosen = np.array(sorted(set(thresholds or _round_thresholds(one.quantiles, peaks))), float)
        low, high = bounds_of_peak(one.quantiles, levels, chosen)
        quantiles = (None,) * 3 if peaks is None else tuple(float(q) for q in np.quantile(peaks, (0.05, 0.5, 0.95)))
        for place, threshold in enumerate(chosen):
            rows.append(
                {
                    "day": one.day,
                    "threshold_kwh": float(threshold),
                    "probability": None if peaks is None else float((peaks > threshold).mean()),
                    "at_least": float(low[place]),
                    "at_most": float(high[place]),
                    "day_peak_low": quantiles[0],
                    "day_peak": quantiles[1],
                    "day_peak_high": quantiles[2],
                }
            )
        shares: list[float | None] = [None] * one.frame.height
        if paths is not None:
            shares = (np.bincount(paths.argmax(axis=1), minlength=one.frame.height) / len(paths)).tolist()
        probabilities = pl.Series("probability", shares, pl.Float64)
        parts.append(one.frame.with_columns(pl.lit(one.day).alias("day"), probabilities).select(*HOURS))
    all_facts = dict(table.facts) | facts
    return Table(pl.DataFrame(rows, schema=RISK), all_facts), Table(pl.concat(parts), all_facts)


def _prepared(
    connection: Connection,
    city: str,
    as_of: datetime | None,
    model: str | None,
    purpose: Literal["live", "replay"],
) -> tuple[Table, list[_Day], Floats, float | None, dict[str, Any]]:
    """Return the forecast, its days, its levels, the decay of the relation of errors, and how it was estimated."""
    import numpy as np

    table = live_forecast(connection, city, as_of=as_of, model=model, purpose=purpose)
    names = [name for name in table.frame.columns if quantile_level(name) is not None]
    if len(names) < 2:
        raise EnergyForecastError(f"The forecast of {table.facts['city']} has no quantiles.")
    levels = np.array([quantile_level(name) for name in names], float)
    local = to_local(table.frame["timestamp"], table.facts["timezone"]).dt.date().alias("day")
    days = [
        _Day(day, own, own.select(names).to_numpy())
        for (day,), own in table.frame.with_columns(local).group_by("day", maintain_order=True)
    ]
    decay, relation = _relation(connection, table, purpose)
    return table, days, levels, decay, {"decay_hours": decay, "relation": relation}


def _relation(connection: Connection, table: Table, purpose: Literal["live", "replay"]) -> tuple[float | None, str]:
    """Return the decay of the relation of errors, estimated from day-ahead forecasts of past days of the same model."""
    import numpy as np

    from energy_forecast.forecasting.scenarios import decay_hours, ranks

    facts = table.facts
    purposes: tuple[Purpose, ...] = ("live", "replay", "backtest")
    for one in (purpose, *(other for other in purposes if other != purpose)):
        found = errors(
            connection,
            facts["city"],
            model=facts["model"],
            purpose=one,
            start=facts["as_of"] - _PAST,
            end=facts["as_of"],
            as_of=facts["as_of"],
        ).frame
        if found.is_empty():
            continue
        names = [name for name in found.columns if quantile_level(name) is not None]
        levels = np.array([quantile_level(name) for name in names], float)
        local = to_local(found["timestamp"], facts["timezone"]).dt.date().alias("day")
        paths = [
            ranks(own.select(names).to_numpy(), levels, own["actual"].to_numpy())
            for _, own in found.with_columns(local).group_by("day", maintain_order=True)
            if own.height >= 12
        ]
        if len(paths) < _FEWEST_DAYS:
            continue
        width = max(len(path) for path in paths)
        padded = np.array([np.pad(path, (0, width - len(path)), constant_values=np.nan) for path in paths])
        return decay_hours(padded), f"{len(paths)} days of {one} forecasts of {facts['model']}, day-ahead"
    return None, f"fewer than {_FEWEST_DAYS} past days of {facts['model']} have forecasts and load"


def _round_thresholds(quantiles: Floats, peaks: Floats | None) -> list[float]:
    """Return about eight round numbers over the range of the highest load."""
    import math

    import numpy as np

    low = float(np.quantile(peaks, 0.01)) if peaks is not None else float(quantiles[:, 0].max())
    high = float(np.quantile(peaks, 0.99)) if peaks is not None else float(quantiles[:, -1].max())
    rough = max((high - low) / _THRESHOLDS, 1e-6)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [number * step for number in range(math.floor(low / step), math.ceil(high / step) + 1)]
