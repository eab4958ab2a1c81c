"""Errors of issued forecasts: the pairs of a city over a span of hours, and one forecast for each hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any, Literal

import polars as pl

from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection
from energy_forecast.database.vintages import scorable_values
from energy_forecast.forecasting import QUANTILE_LEVELS
from energy_forecast.local_times import to_local
from energy_forecast.pipelines.as_of import actual_load
from energy_forecast.pipelines.pairs import join_actuals
from energy_forecast.zones import instant_at

Issue = Literal["day-ahead", "newest", "all"]


def issued_pairs(
    connection: Connection,
    city: StoredCity,
    *,
    first: datetime,
    end: datetime,
    as_of: datetime,
    models: Sequence[str] | None = None,
    purpose: str | None = None,
    weather: str | None = None,
    assumptions: dict[str, Any] | None = None,
) -> pl.DataFrame:
    """Return the forecasts of hours from `first` to before `end` whose load was known at `as_of`, and is not faulty.

    Args:
        models, purpose, weather, assumptions: as in `scorable_values`.

    Returns:
        The columns of `scorable_values`, `actual` and `reference` (naive-168; null if unknown), kWh in the hour.
    """
    issued = scorable_values(
        connection,
        city=city.id,
        first=first,
        end=end,
        as_of=as_of,
        levels=QUANTILE_LEVELS,
        models=models,
        purpose=purpose,
        weather=weather,
        assumptions=assumptions,
    )
    if issued.is_empty():
        return issued.with_columns(*(pl.lit(None, pl.Float64).alias(name) for name in ("actual", "reference")))
    # A week before is at another offset after a clock change
    load = actual_load(connection, city, as_of=as_of, first=first - timedelta(days=8), end=min(end, as_of))
    return join_actuals(issued, load, city.timezone).filter(pl.col("actual").is_not_null()).drop("left_out")


def one_issue(pairs: pl.DataFrame, issue: Issue, timezone: str) -> pl.DataFrame:
    """Return the pairs of one forecast for each hour, or of all, in the order of time and issue.

    Args:
        pairs: issued_at, timestamp and other columns, of one model.
        issue: `day-ahead` is the newest forecast that was issued before the local day of the hour began, `newest` the
            newest one, `all` each of them.
        timezone: the IANA zone of the local day.
    """
    ordered = pairs.sort("timestamp", "issued_at", maintain_order=True)
    if issue == "all":
        return ordered
    if issue == "day-ahead":
        ordered = ordered.filter(pl.col("issued_at") < day_starts(ordered["timestamp"], timezone))
    return ordered.unique("timestamp", keep="last", maintain_order=True)


def day_starts(times: pl.Series, timezone: str) -> pl.Series:
    """Return the begin (UTC) of the local day of each time."""
    days = to_local(times, timezone).dt.date()
    begins = {day: instant_at(timezone, datetime.combine(day, time())) for day in days.unique()}
    return days.replace_strict(begins, return_dtype=times.dtype)
