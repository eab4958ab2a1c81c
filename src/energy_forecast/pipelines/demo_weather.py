"""Weather forecasts for the demo. They are made, not real: the recorded temperature plus simulated errors.

The sample has no archived weather forecasts. The errors are those of `simulate_forecast`: without bias, the sum of two
autoregressive processes of first order (60 % of the variance decays with 8 hours, 40 % with 48 hours), with a root mean
square error of 1.2 degrees Celsius at the issue and 2.3 three days ahead. They depend only on the city and the time of
issue, so the same issue always has the same values.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from energy_forecast.forecasting.data.weather_errors import DEFAULT_WEATHER_ERRORS, simulate_forecast
from energy_forecast.sources.sample import SampleCity

MADE = (
    "The weather forecasts are made, not real: the recorded temperature plus simulated errors of 1.2 °C at the issue "
    "to 2.3 °C three days ahead (root mean square)."
)
EVERY, HORIZON = timedelta(hours=6), timedelta(hours=72)
_SEED = 20


def weather_forecasts(part: SampleCity, first: datetime, last: datetime) -> pl.DataFrame:
    """Return the weather forecasts that are issued in a span, both ends included.

    Args:
        part: a city with recorded temperature.
        first, last: UTC. An issue is at each sixth full hour.

    Returns:
        `issued_at`, `timestamp` (UTC, start of the hour) and `temperature` (degrees Celsius).
    """
    assert part.weather is not None
    hourly = (
        pl.concat([part.weather, part.ahead.select("timestamp", "temperature")])
        .group_by_dynamic("timestamp", every="1h")
        .agg(pl.col("temperature").mean())
    )
    errors = DEFAULT_WEATHER_ERRORS.only(["temperature"])
    issues = []
    seconds = int(EVERY.total_seconds())
    issue = datetime.fromtimestamp(-(-first.timestamp() // seconds) * seconds, UTC)
    while issue <= last:
        ahead = hourly.filter(pl.col("timestamp") >= issue, pl.col("timestamp") < issue + HORIZON)
        made = simulate_forecast(
            ahead, errors, latitude=part.latitude, longitude=part.longitude, issued_at=issue, seed=_SEED
        )
        issues.append(made.select(pl.lit(issue).alias("issued_at"), "timestamp", "temperature"))
        issue += EVERY
    return pl.concat(issues) if issues else hourly.clear().select(pl.lit(first).alias("issued_at"), pl.all())
