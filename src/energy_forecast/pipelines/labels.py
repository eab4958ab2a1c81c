"""What runs and their weather are called where people read of them; the database has the short names."""

from __future__ import annotations

PURPOSE_LABELS = {
    "forecast": "forecasts issued in time",
    "replay": "forecasts made later, as if then",
    "backtest": "backtests",
}
ISSUED_LABELS = {"forecast": "issued in time", "replay": "made later, as if then", "backtest": "a backtest"}
WEATHER_LABELS = {
    "forecast": "with the weather forecasts of that moment",
    "actual": "with the weather that came, as if forecast perfectly",
    "none": "without weather",
}
