"""Plausible ranges of weather, as in the constraints of the database: files, tables and models use the same."""

from __future__ import annotations

# Lowest and highest value: degrees Celsius, percent, m/s, mm
WEATHER_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (-90, 60),
    "humidity": (0, 100),
    "wind_speed": (0, 150),
    "precipitation": (0, 500),
}
