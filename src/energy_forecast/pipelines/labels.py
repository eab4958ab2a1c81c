"""Labels of run purposes and weather sources for users. The database stores the short names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from energy_forecast.pipelines.assumptions import Assumptions
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


# Sources of a load delay that was not requested
DELAY_SOURCES = {"city": "setting of the city", "measured": "median of its live forecasts", "assumed": "assumed"}


def condition_label(weather: str, assumptions: dict[str, Any]) -> str:
    """Return the weather of the target hours and the assumptions of runs as a phrase."""
    return ", ".join(part for part in (WEATHER_LABELS[weather], assumptions_label(assumptions)) if part)


def assumptions_label(stored: dict[str, Any]) -> str:
    """Return the assumptions of runs as a phrase; empty for runs without any."""
    if not stored:
        return ""
    known = Assumptions.of(stored)
    if known.load_delay_source == "stated":
        label = "load known by its available_at"
    else:
        hours = known.load_delay / timedelta(hours=1)
        label = f"load known {hours:g} h after its interval" if hours else "load known at the end of its interval"
        if known.load_delay_source in DELAY_SOURCES:
            label += f" ({DELAY_SOURCES[known.load_delay_source]})"
    if known.weather is not None:
        errors = known.weather.errors
        # The database stores the columns in another order
        columns = ", ".join(name.replace("_", " ") for name in WEATHER_RANGES if name in errors.columns)
        size = float(errors.at("temperature", 24))
        label += f", {known.weather.source} errors of {columns} (temperature {size:.1f} °C after 24 h)"
    return label


def different_labels(documents: Sequence[dict[str, Any]]) -> list[str]:
    """Return `assumptions_label` of each of some different assumptions, with a number if two have the same phrase.

    The phrase states the size of the errors at one lead time only, so two tables of errors may share it.
    """
    phrases = [assumptions_label(one) for one in documents]
    return [
        f"{phrase}, table of errors {phrases[: place + 1].count(phrase)}" if phrases.count(phrase) > 1 else phrase
        for place, phrase in enumerate(phrases)
    ]
