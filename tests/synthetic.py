"""Made-up cities whose load follows clock, calendar and temperature, for tests that must not depend on real data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_forecast.zones import zone as rules_of

CITIES = {
    "Berlin": (52.52, 13.405, "Europe/Berlin", "DE", "BE"),
    "Pune": (18.52, 73.86, "Asia/Kolkata", "IN", "MH"),
}


def write_cities(path: Path) -> Path:
    rows = [f"{name},{','.join(map(str, facts))}" for name, facts in CITIES.items()]
    path.write_text("name,latitude,longitude,timezone,country_code,subdivision\n" + "\n".join(rows) + "\n")
    return path


def hours(first: datetime, last: datetime) -> list[datetime]:
    return [first + timedelta(hours=i) for i in range(int((last - first) / timedelta(hours=1)))]


def temperature(times: list[datetime], seed: int) -> NDArray[np.float64]:
    """Degrees Celsius: a year, a day, and weather that lasts."""
    noise = np.random.default_rng(seed).normal(0, 0.6, len(times))
    weather = np.zeros(len(times))
    for i in range(1, len(times)):
        weather[i] = 0.98 * weather[i - 1] + noise[i]
    day = np.array([t.timetuple().tm_yday for t in times])
    hour = np.array([t.hour for t in times])
    year = 12 - 9 * np.cos(2 * np.pi * day / 365)
    return np.asarray(year - 3 * np.cos(2 * np.pi * (hour - 3) / 24) + weather, float)


def load(times: list[datetime], warmth: NDArray[np.float64], zone: str, seed: int, scale: float) -> NDArray[np.float64]:
    """kWh in the hour."""
    local = [t.astimezone(rules_of(zone)) for t in times]
    hour = np.array([t.hour for t in local])
    weekend = np.array([t.weekday() >= 5 for t in local])
    shape = 1 + 0.25 * np.sin(2 * np.pi * (hour - 9) / 24) - 0.12 * weekend
    heat = 0.012 * np.maximum(0, 15 - warmth) + 0.02 * np.maximum(0, warmth - 22)
    noise = np.random.default_rng(seed + 1000).normal(0, 0.015, len(times))
    return np.asarray(scale * (shape + heat) * (1 + noise), float)


def frames(
    first: datetime, last: datetime, names: tuple[str, ...] = ("Berlin", "Pune")
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Consumption (city, timestamp, consumption_kwh) and weather (city, timestamp, temperature), hourly."""
    consumption, weather = [], []
    for name in names:
        seed = list(CITIES).index(name)
        times = hours(first, last)
        warmth = temperature(times, seed)
        kwh = load(times, warmth, CITIES[name][2], seed, 50_000 * (seed + 1))
        stamps = [t.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for t in times]
        city = [name] * len(times)
        consumption.append(pl.DataFrame({"city": city, "timestamp": stamps, "consumption_kwh": kwh.round(2)}))
        weather.append(pl.DataFrame({"city": city, "timestamp": stamps, "temperature": warmth.round(2)}))
    return pl.concat(consumption), pl.concat(weather)
