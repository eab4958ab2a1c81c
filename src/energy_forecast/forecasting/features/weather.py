"""Weather features: at the target hour, before it, and on the days that it is compared with.

None uses weather after the target, so the end of a weather forecast changes no hour before it.
"""

from __future__ import annotations

import numpy as np

from energy_forecast.forecasting.features.samples import Samples, running_sums, window_mean
from energy_forecast.forecasting.types import Floats, Ints

SMOOTHED_HOURS = (6, 24, 72, 240)
LAGGED_HOURS = (1, 2, 3)


def weather_columns(samples: Samples, *, lag_days: dict[str, Ints]) -> dict[str, Floats]:
    """Return the features by name, each [n]: degrees Celsius, percent, m/s, mm; NaN where unknown."""
    weather, at = samples.view.history.weather, samples.position
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
        then = samples.days_before(days) - samples.view.history.start
        mean = window_mean(sums, then + 1, 24, 0.0)
        # Unknown weather of the other day is imputed by that of the target
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
    """Return the extreme of the 24 hours that end with each index."""
    begin, end = int(at.min()) - 23, int(at.max()) + 1
    part = values[begin:end]
    # Windows are doubled up to 16, and two overlapping ones make 24: four passes instead of 23
    reach, width = part, 1
    while width < 16:
        reach, width = of(reach[: len(reach) - width], reach[width:]), 2 * width
    return np.asarray(of(reach[at - begin - 23], reach[at - begin - 15]), float)
