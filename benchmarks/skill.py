"""Measure the skill of the models on real data: fit before a period, forecast the period, print the scores as CSV.

    python benchmarks/skill.py [FOLDER] [--from 2023-01-01 --to 2024-01-01 | --last-fifth] [--city NAME]...

FOLDER holds cities.csv, consumption.csv[.gz] and weather.csv[.gz] in the platform's import format; the
default is the sample of the demo. Forecasts are issued at local midnight, every fifth day by default. With --weather
actual the models get the observed weather of the target hours, as in other benchmarks; this is better than any weather
forecast. With --weather simulated they get the temperature only, with the errors of weather forecasts by lead time.
Peers (see peers.py) are included if they are installed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import peers
import polars as pl

from energy_forecast import forecasting as fc
from energy_forecast.forecasting.data.weather_errors import DEFAULT_WEATHER_ERRORS, simulate_forecast
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.hours import REPORT_LEADS
from energy_forecast.local_times import to_local
from energy_forecast.sources.sample import load_sample
from energy_forecast.zones import instant_at

WEATHER = ("temperature", "humidity", "wind_speed", "precipitation")


def read(folder: Path, name: str) -> pl.DataFrame:
    """Return one file of the folder, with UTC timestamps."""
    path = next(path for path in (folder / f"{name}.csv.gz", folder / f"{name}.csv") if path.exists())
    frame = pl.read_csv(path, infer_schema_length=None)
    if "timestamp" in frame.columns:
        frame = frame.with_columns(
            pl.col("timestamp").str.to_datetime(time_unit="us", time_zone="UTC"),
            pl.col(r"^(temp|hum|wind|prec).*$").cast(pl.Float64),
        )
    return frame


def sample() -> Iterator[tuple[fc.City, pl.DataFrame, pl.DataFrame]]:
    """Return each city of the sample, with load and weather."""
    for part in load_sample(now=None):
        city = fc.City(part.name, part.latitude, part.longitude, part.timezone, part.country_code, part.subdivision)
        weather = pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC"), "temperature": pl.Float64})
        weather = (weather if part.weather is None else part.weather).with_columns(
            pl.lit(None, pl.Float64).alias(name) for name in WEATHER[1:]
        )
        yield city, fc.hourly(part.consumption), fc.hourly(weather)


def cities(folder: Path, wanted: list[str]) -> Iterator[tuple[fc.City, pl.DataFrame, pl.DataFrame]]:
    """Return each city of the folder, with hourly load and weather."""
    consumption, weather = read(folder, "consumption"), read(folder, "weather")
    weather = weather.with_columns(pl.lit(None, pl.Float64).alias(c) for c in WEATHER if c not in weather.columns)
    for row in read(folder, "cities").iter_rows(named=True):
        city = fc.City(**row)
        if wanted and city.name not in wanted:
            continue
        load = fc.hourly(consumption.filter(city=city.name).select("timestamp", "consumption_kwh"))
        yield city, load, fc.hourly(weather.filter(city=city.name).select("timestamp", *WEATHER))


def period(arguments: argparse.Namespace, city: fc.City, load: pl.DataFrame) -> tuple[date, date]:
    """Return the local days at which the tested period begins and ends."""
    if not arguments.last_fifth:
        return arguments.begin, arguments.end
    local = to_local(load["timestamp"], city.timezone).dt.date()
    first, last = local.min(), local.max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    return first + timedelta(days=int(0.8 * (last - first).days)), last


def between(frame: pl.DataFrame, begin: datetime, end: datetime) -> pl.DataFrame:
    """Return the rows of [begin, end)."""
    return frame.filter(pl.col("timestamp") >= begin, pl.col("timestamp") < end)


def local_midnight(day: date, city: fc.City) -> datetime:
    """Return the UTC time at which a local day begins."""
    return instant_at(city.timezone, datetime(day.year, day.month, day.day))  # noqa: DTZ001


def plausible(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the pairs between a quarter of the median and four times it; others are faults of the meter."""
    middle = pairs["consumption_kwh"].median()
    return pairs.filter(pl.col("consumption_kwh").is_between(pl.lit(middle) / 4, pl.lit(middle) * 4))


def scores_of(pairs: pl.DataFrame) -> dict[str, float | int]:
    """Return the scores of forecasts with their `consumption_kwh`, for one line of the table."""
    pairs = plausible(pairs)
    actual = pairs["consumption_kwh"].to_numpy()
    quantiles = pairs.select(fc.QUANTILE_COLUMNS).to_numpy()
    return {
        "hours": pairs.height,
        "MAPE": metrics.mape(actual, pairs["predicted"].to_numpy()),
        "pinball %": 100 * metrics.pinball(actual, quantiles) / float(np.mean(actual)),
        "cover 90": metrics.coverage(actual, quantiles[:, 0], quantiles[:, -1]),
        "cover 80": metrics.coverage(actual, quantiles[:, 1], quantiles[:, -2]),
        "cover 50": metrics.coverage(actual, quantiles[:, 4], quantiles[:, -5]),
        "width %": 100 * float(np.mean(quantiles[:, -1] - quantiles[:, 0]) / np.mean(actual)),
    }


def coverage_by_lead(pairs: pl.DataFrame, horizon: int) -> dict[str, float]:
    """Return the coverage of the 90 % interval by bucket of lead times."""
    lead = (pl.col("timestamp") - pl.col("issued_at")).dt.total_hours()
    found = {}
    for low, high in REPORT_LEADS:
        part = plausible(pairs).filter(lead >= low, lead < high)
        if low < horizon and part.height:
            inside = (pl.col("consumption_kwh") >= pl.col("q05")) & (pl.col("consumption_kwh") <= pl.col("q95"))
            found[f"{low}-{high} h"] = float(part.select(inside.mean()).item())
    return found


def ahead_of(kind: str, city: fc.City, observed: pl.DataFrame, issued: datetime) -> pl.DataFrame:
    """Return the weather of the target hours that a model gets."""
    if kind == "none":
        return observed.clear()
    if kind == "actual":
        return observed
    errors = DEFAULT_WEATHER_ERRORS.only(["temperature"])
    return simulate_forecast(
        observed, errors, latitude=city.latitude, longitude=city.longitude, issued_at=issued
    ).select(observed.columns)


def evaluate(
    arguments: argparse.Namespace, name: str, city: fc.City, load: pl.DataFrame, weather: pl.DataFrame
) -> Iterator[dict[str, object]]:
    """Fit one city and forecast it, and return a line of the table for each horizon and weather."""
    first, last = period(arguments, city, load)
    start = local_midnight(first, city)
    oldest = start - timedelta(days=arguments.history_days) if arguments.history_days else datetime(1, 1, 1, tzinfo=UTC)

    @cache
    def fitted(with_weather: bool) -> tuple[Any, float, float]:
        """Return the model, and the seconds and CPU seconds of its fit."""
        began = time.perf_counter(), time.process_time()
        fit = peers.PEERS.get(name, partial(fc.fit, name))
        seen = between(weather, oldest, start) if with_weather else weather.clear()
        model = fit(city, between(load, oldest, start), seen, at=start)
        return model, time.perf_counter() - began[0], time.process_time() - began[1]

    days = [first + timedelta(days=i) for i in range(0, (last - first).days, arguments.every)]
    for horizon in arguments.horizon:
        for kind in arguments.weather:
            # The platform's models need one fit for both; a library trained with temperature requires it
            model, fit_seconds, fit_cpu = fitted(name not in peers.PEERS or kind != "none")
            parts, seconds = [], []
            for day in days:
                issued = local_midnight(day, city)
                back, ahead = issued - timedelta(days=model.history_days), issued + timedelta(hours=horizon)
                weather_ahead = ahead_of(kind, city, between(weather, issued, ahead), issued)
                latest = issued - timedelta(hours=arguments.load_delay)
                known = between(load, max(back, oldest), latest), between(weather, max(back, oldest), issued)
                began_cpu = time.process_time()
                made = model.predict(fc.ForecastInput(*known, weather_ahead, issued, horizon, kind == "actual")).frame
                seconds.append(time.process_time() - began_cpu)
                parts.append(made.with_columns(pl.lit(issued).cast(pl.Datetime("us", "UTC")).alias("issued_at")))
            pairs = pl.concat(parts).join(load, on="timestamp", how="inner")
            if arguments.keep:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                pairs.write_parquet(arguments.keep / f"{city.name}-{name}-{horizon}h-{kind}.parquet")
            yield {
                "city": city.name,
                "model": name,
                "weather": kind,
                "horizon": horizon,
                **scores_of(pairs),
                **{f"cover {bucket}": share for bucket, share in coverage_by_lead(pairs, horizon).items()},
                "fit s": fit_seconds,
                "fit cpu s": fit_cpu,
                "issue cpu s": float(np.median(seconds)),
            }


def arguments_of(line: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--city", action="append", default=[])
    parser.add_argument(
        "--model", default=",".join([*fc.model_names(), *peers.installed()]), help="names, separated by commas"
    )
    parser.add_argument("--from", dest="begin", type=date.fromisoformat, default=date(2023, 1, 1))
    parser.add_argument("--to", dest="end", type=date.fromisoformat, default=date(2024, 1, 1))
    parser.add_argument("--last-fifth", action="store_true", help="test the last fifth of each record")
    parser.add_argument("--every", type=int, default=5, metavar="DAYS")
    parser.add_argument(
        "--horizon", type=lambda text: [int(hours) for hours in text.split(",")], default=[24], metavar="HOURS,..."
    )
    parser.add_argument(
        "--weather",
        type=lambda text: text.split(","),
        default=["actual"],
        metavar="KIND,...",
        help="actual, simulated, none",
    )
    parser.add_argument("--load-delay", type=int, default=0, metavar="HOURS", help="load is unknown for so long")
    parser.add_argument("--history-days", type=int, help="fit on this many days only")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write forecasts and actual values as Parquet")
    return parser.parse_args(line)


def versions() -> Iterator[str]:
    """Return name and version of each package that affects the results."""
    yield f"Python {sys.version.split()[0]}"
    for package in ("energy-forecast", "numpy", "xgboost-cpu", "holidays", *peers.PACKAGES):
        with suppress(PackageNotFoundError):
            yield f"{package} {version(package)}"


def main() -> None:
    """Print the table as CSV, each line as soon as it is computed."""
    arguments = arguments_of()
    columns: list[str] = []
    writer = csv.writer(sys.stdout)
    print(
        f"# {datetime.now(UTC).date().isoformat()}, {', '.join(versions())}; {' '.join(sys.argv[1:]) or 'the sample'}"
    )
    print(f"# Left out: {'; '.join(peers.left_out())}")
    found = cities(arguments.folder, arguments.city) if arguments.folder else sample()
    for city, load, weather in found:
        for name in arguments.model.split(","):
            for line in evaluate(arguments, name, city, load, weather):
                if list(line) != columns:
                    columns = list(line)
                    writer.writerow(columns)
                writer.writerow(f"{value:.4f}" if isinstance(value, float) else value for value in line.values())
                sys.stdout.flush()


if __name__ == "__main__":
    main()
