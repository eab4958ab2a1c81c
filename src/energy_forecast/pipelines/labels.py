"""Labels of run purposes and weather sources for users. The database stores the short names."""

from __future__ import annotations

PURPOSE_LABELS = {
    "live": "forecasts issued in time",
    "replay": "forecasts issued later for a past moment",
    "backtest": "backtests",
}
ISSUED_LABELS = {"live": "issued in time", "replay": "issued later for a past moment", "backtest": "a backtest"}
WEATHER_LABELS = {
    "forecast": "with the weather forecasts of that moment",
    "actual": "with observed weather (as if the weather forecast were perfect)",
    "none": "without weather",
}
