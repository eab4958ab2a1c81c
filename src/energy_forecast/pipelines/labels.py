"""Labels of run purposes and weather sources for users. The database stores the short names."""

from __future__ import annotations

from typing import Any

from energy_forecast.weather_ranges import WEATHER_RANGES

PURPOSE_LABELS = {
    "live": "forecasts issued in time",
    "replay": "forecasts issued later for a past moment",
    "backtest": "backtests",
}
ISSUED_LABELS = {"live": "issued in time", "replay": "issued later for a past moment", "backtest": "a backtest"}
WEATHER_LABELS = {
    "forecast": "with the weather forecasts of that moment",
    "actual": "with observed weather (as if the weather forecast were perfect)",
    "simulated": "with simulated weather forecasts (observed weather plus random errors)",
    "none": "without weather",
}


def condition_label(weather: str, assumptions: dict[str, Any]) -> str:
    """Return the weather of the target hours and the assumptions of runs as a phrase."""
    label = WEATHER_LABELS[weather]
    if assumptions.get("load_delay_minutes"):
        label += f", load known after {assumptions['load_delay_minutes'] / 60:g} h"
    elif assumptions.get("load_delay_source") == "stated":
        label += ", load known by its available_at"
    if (errors := assumptions.get("weather_errors")) is not None:
        columns = ", ".join(name.replace("_", " ") for name in WEATHER_RANGES if name in errors)
        label += f", {errors['source']} errors of {columns}"
    return label
