"""Features of the weather at a target hour, of the weather that led to it, and of that on the days it is compared with.

All look back from the target, never ahead of it, so that the end of a weather forecast changes no hour before it.
"""

from __future__ import annotations

import numpy as np

from energy_forecast.forecasting.features.samples import Rows, running_sums, window_mean
from energy_forecast.forecasting.types import Floats, Ints

SMOOTHED_HOURS = (6, 24, 72, 240)
LAGGED_HOURS = (1, 2, 3)


def weather_columns(rows: Rows, *, lag_days: dict[str, Ints]) -> dict[str, Floats]:
    """The features by name, each [n]: degrees Celsius, percent, m/s, mm; NaN where unknown."""
    weather, at = rows.past.history.weather, rows.position
    temperature = weather["temperature"]
    sums = running_sums(temperature)
    columns = {"temperature": temperature[at]}
    for hours in LAGGED_HOURS:
        columns[f"temperature_{hours}h_ago"] = _filled(temperature[at - hours], columns["temperature"])
    for hours in SMOOTHED_HOURS:
        columns[f"temperature_mean_{hours}h"] = window_mean(sums, at + 1, hours, 0.0)
    columns["temperature_max_24h"] = _extreme(temperature, at, np.fmax)
    columns["temperature_min_24h"] = _extreme(temperature, at, np.fmin)
    for name, days in lag_days.items():
        then = rows.days_before(days) - rows.past.history.start
        mean = window_mean(sums, then + 1, 24, 0.0)
        # Where the other day's weather is not known, it is taken to have been the same.
        columns[f"temperature_{name}_lag"] = _filled(temperature[then], columns["temperature"])
        columns[f"temperature_mean_24h_{name}_lag"] = _filled(mean, columns["temperature_mean_24h"])
    humidity_sums = running_sums(weather["humidity"])
    columns["humidity"] = weather["humidity"][at]
    columns["humidity_mean_24h"] = window_mean(humidity_sums, at + 1, 24, 0.0)
    columns["wind_speed"] = weather["wind_speed"][at]
    columns["precipitation_6h"] = window_mean(running_sums(weather["precipitation"]), at + 1, 6, 0.0)
    return columns


def _filled(values: Floats, other: Floats) -> Floats:
    return np.where(np.isfinite(values), values, other)


def _extreme(values: Floats, at: Ints, of: np.ufunc) -> Floats:
    """The extreme of the 24 hours up to and with each position."""
    begin, end = int(at.min()) - 23, int(at.max()) + 1
    part = values[begin:end]
    # Doubling windows: 24 = 16 + 8 overlapping ones, four passes instead of 23.
    reach, width = part, 1
    while width < 16:
        reach, width = of(reach[: len(reach) - width], reach[width:]), 2 * width
    return np.asarray(of(reach[at - begin - 23], reach[at - begin - 15]), float)
