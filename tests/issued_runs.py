"""Issued forecasts with random errors of a known size, for tests that need many of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import NormalDist
from uuid import UUID, uuid4

import numpy as np
import polars as pl

from energy_forecast.database import Database
from energy_forecast.database.connection import Role
from energy_forecast.database.forecasts import NewForecast, NewRun, add_runs, ensure_partitions
from energy_forecast.forecasting.types import QUANTILE_COLUMNS, QUANTILE_LEVELS


def issue_noisy(
    database: Database,
    city: UUID,
    model: UUID,
    load: pl.DataFrame,
    moments: Sequence[datetime],
    *,
    size: float = 0.03,
    width: float = 1.0,
    horizon: int = 48,
    purpose: str = "replay",
    weather: str = "forecast",
    seed: int = 1,
) -> None:
    """Store forecasts with normal errors, which grow with the lead time.

    Args:
        load: timestamp, consumption_kwh: the truth; hours without it are forecast as the mean.
        moments: issue times.
        size: standard deviation of the errors after a day, as a share of the load.
        width: of the quantiles, 1 for those that are right.
    """
    draw = np.random.default_rng(seed)
    truth = dict(zip(load["timestamp"], load["consumption_kwh"], strict=True))
    mean = float(load["consumption_kwh"].mean())  # type: ignore[arg-type]
    runs = []
    for moment in moments:
        times = [moment + timedelta(hours=hour) for hour in range(horizon)]
        actual = np.array([truth.get(time, mean) for time in times])
        spread = size * np.sqrt((1 + np.arange(horizon)) / 24) * actual
        predicted = np.maximum(actual + spread * draw.standard_normal(horizon), 0)
        quantiles = {
            name: np.maximum(predicted + width * spread * NormalDist().inv_cdf(level), 0)
            for name, level in zip(QUANTILE_COLUMNS, QUANTILE_LEVELS, strict=True)
        }
        frame = pl.DataFrame({"timestamp": times, "predicted": predicted, **quantiles}).with_columns(
            pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
        )
        runs.append(
            NewRun(
                id=uuid4(),
                model_id=model,
                purpose=purpose,
                issued_at=moment,
                horizon=timedelta(hours=horizon),
                weather=weather,
                quantile_levels=QUANTILE_LEVELS,
                started_at=moment,
                finished_at=moment,
                forecasts=[NewForecast(city, frame)],
            )
        )
    with database.transaction(Role.FORECASTER) as connection:
        ensure_partitions(connection, first=min(moments), last=max(moments))
        add_runs(connection, runs)
