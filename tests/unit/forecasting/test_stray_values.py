"""A value far from all others in time must not prevent training."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from energy_forecast.forecasting import City, ForecastInput, fit
from synthetic import hours, load, temperature

AT = datetime(2025, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize("model", ["naive-24", "naive-168", "vanilla", "linear", "gradient-boosting", "ensemble"])
def test_stray_old_value_leaves_training_data(model: str) -> None:
    times = hours(datetime(2025, 3, 1, tzinfo=UTC), AT)
    warmth = temperature(times, 0)
    kwh = load(times, warmth, "Europe/Berlin", 0, 50_000)
    stamp = pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
    known = pl.DataFrame(
        {"timestamp": [datetime(2023, 1, 1, tzinfo=UTC), *times], "consumption_kwh": [900.0, *kwh]}
    ).with_columns(stamp)
    weather = pl.DataFrame({"timestamp": times, "temperature": warmth}).with_columns(
        stamp, *(pl.lit(None, pl.Float64).alias(name) for name in ("humidity", "wind_speed", "precipitation"))
    )
    fitted = fit(model, City("Berlin", 52.5, 13.4, "Europe/Berlin", "DE"), known, weather, at=AT)
    made = fitted.predict(ForecastInput(known, weather, weather.clear(), AT, 24))
    assert np.allclose(made.frame["predicted"].to_numpy().mean(), kwh[-168:].mean(), rtol=0.1)
