"""Print a SHA-256 digest of the forecasts of each model, to compare two checkouts on one machine.

The data of the four cities is clean and synthetic: with weather, without weather, with a short history, and with more
than three years. After a change that must not affect forecasts the output is the same:

    python benchmarks/forecast_digests.py > before.txt
    python benchmarks/forecast_digests.py | diff before.txt -

Digests of two machines may differ: the last bits of a matrix product depend on the processor.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from energy_forecast.forecasting import City, ForecastInput, fit, load_model, model_names

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import synthetic

AT = datetime(2025, 6, 12, 7, 20, tzinfo=UTC)
HORIZON = 72
# Training on three years takes minutes
QUICK = ("naive-24", "naive-168", "vanilla", "linear")


@dataclass(frozen=True)
class Case:
    """A city with the length of its history, with or without weather."""

    name: str
    city: City
    days: int
    weather: bool
    models: tuple[str, ...]


def cases() -> list[Case]:
    """Return the cases to print."""
    all_models = tuple(model_names())
    berlin, pune = (
        City(name, latitude, longitude, zone, country, part)
        for name, (latitude, longitude, zone, country, part) in synthetic.CITIES.items()
    )
    return [
        Case("with weather", berlin, 160, True, all_models),
        Case("without weather", pune, 110, False, all_models),
        Case("short history", berlin, 21, True, all_models),
        Case("three years", berlin, 3 * 365 + 40, True, QUICK),
    ]


def frames(case: Case) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return load and weather of a case, up to the end of the horizon."""
    first = AT.replace(minute=0) - timedelta(days=case.days)
    times = synthetic.hours(first, AT + timedelta(hours=HORIZON + 2))
    seed = list(synthetic.CITIES).index(case.city.name)
    warmth = synthetic.temperature(times, seed)
    kwh = synthetic.load(times, warmth, case.city.timezone, seed, 50_000)
    stamp = pl.Series("timestamp", times, pl.Datetime("us", "UTC"))
    weather = pl.DataFrame(
        [
            stamp,
            pl.Series("temperature", warmth),
            pl.Series("humidity", (95 - 2 * warmth).clip(0, 100)),
            *(pl.Series(name, [None] * len(times), pl.Float64) for name in ("wind_speed", "precipitation")),
        ]
    )
    return pl.DataFrame([stamp, pl.Series("consumption_kwh", kwh)]), weather if case.weather else weather.clear()


def main() -> None:
    """Print a line per case and model: the digest of frame and features, and of the artifact."""
    for case in cases():
        consumption, weather = frames(case)
        early, late = pl.col("timestamp") < AT, pl.col("timestamp") >= AT
        known = (consumption.filter(early), weather.filter(early))
        # The weather forecast ends before the horizon
        ahead = weather.filter(late).head(48)
        for name in case.models:
            artifact = fit(name, case.city, *known, at=AT).to_bytes()
            made = load_model(name, artifact).predict(ForecastInput(*known, ahead, AT, HORIZON))
            digest = hashlib.sha256()
            for frame in (made.frame, made.features):
                digest.update(frame.write_json().encode())
            print(f"{case.name} | {name} | {digest.hexdigest()} | {hashlib.sha256(artifact).hexdigest()}", flush=True)


if __name__ == "__main__":
    main()
