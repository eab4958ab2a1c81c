"""What runs and their weather are called where people read of them; the database has the short names."""

from __future__ import annotations

PURPOSE_WORDS = {
    "forecast": "forecasts issued in time",
    "replay": "forecasts made later, as if then",
    "backtest": "backtests",
}
ISSUED_WORDS = {"forecast": "issued in time", "replay": "made later, as if then", "backtest": "a backtest"}
WEATHER_WORDS = {
    "forecast": "with the weather forecasts of that moment",
    "actual": "with the weather that came, as if forecast perfectly",
    "none": "without weather",
}
