"""Measure the probabilities that the highest load of a day exceeds a threshold, against the loads that came.

    .venv/bin/python benchmarks/peaks.py FILE.csv

FILE is written by `energy-forecast backtest --at-local 00:00 --horizon 24h --output FILE.csv`. For each local day, the
relation of the errors is estimated from the 60 days before it, as the reading `peak_risk` does. The thresholds are the
quantiles of the scenarios of the day at 10, 25, 50, 75 and 90 %, so that a method is not helped by thresholds that are
never or always exceeded. Compared are scenarios with the estimated relation, independent hours, and the highest
probability of a single hour. Printed are, by city, the days, the Brier score of each method (lower is better), and how
often the peak was above a threshold that the scenarios exceed with 10, 25, 50, 75 and 90 % probability.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import polars as pl

from energy_forecast.forecasting import QUANTILE_COLUMNS, QUANTILE_LEVELS
from energy_forecast.forecasting.scenarios import bounds_of_peak, decay_hours, ranks, scenarios
from energy_forecast.forecasting.types import Floats

LEVELS = np.array(QUANTILE_LEVELS)
SHARES = (0.9, 0.75, 0.5, 0.25, 0.1)
PAST, FEWEST = 60, 10
# Hours in which the correlation of independent hours falls: nothing is left after one
INDEPENDENT = 0.05


def days_of(path: Path) -> dict[str, list[tuple[Floats, Floats]]]:
    """Return the whole days by city: quantiles [24, levels] and loads [24]."""
    found: dict[str, list[tuple[Floats, Floats]]] = {}
    frame = pl.read_csv(path, try_parse_dates=True).drop_nulls("actual").sort("city", "issued_at", "timestamp")
    for (city, _), own in frame.group_by("city", "issued_at", maintain_order=True):
        if own.height == 24:
            found.setdefault(str(city), []).append((own.select(QUANTILE_COLUMNS).to_numpy(), own["actual"].to_numpy()))
    return found


def measure(days: list[tuple[Floats, Floats]]) -> dict[str, float]:
    """Return the scores of one city."""
    paths = np.array([ranks(quantiles, LEVELS, actual) for quantiles, actual in days])
    squares: dict[str, list[float]] = {"related": [], "independent": [], "highest_hour": []}
    exceeded: dict[float, list[bool]] = {share: [] for share in SHARES}
    decays = []
    for place, (quantiles, actual) in enumerate(days):
        decay = decay_hours(paths[max(0, place - PAST) : place]) if place >= FEWEST else None
        if decay is None:
            continue
        decays.append(decay)
        peaks = scenarios(quantiles, LEVELS, decay).max(axis=1)
        alone = scenarios(quantiles, LEVELS, INDEPENDENT).max(axis=1)
        # Halfway between the methods, so that the thresholds favour none
        thresholds = np.quantile(np.concatenate([peaks, alone]), [1 - share for share in SHARES])
        single, _ = bounds_of_peak(quantiles, LEVELS, thresholds)
        for number, threshold in enumerate(thresholds):
            is_above = float(actual.max() > threshold)
            squares["related"].append((float((peaks > threshold).mean()) - is_above) ** 2)
            squares["independent"].append((float((alone > threshold).mean()) - is_above) ** 2)
            squares["highest_hour"].append((float(single[number]) - is_above) ** 2)
        for share in SHARES:
            exceeded[share].append(bool(actual.max() > np.quantile(peaks, 1 - share)))
    found = {"days": float(len(decays)), "decay_hours": float(np.median(decays))}
    found |= {f"brier_{name}": float(np.mean(values)) for name, values in squares.items()}
    return found | {f"above_{round(100 * share)}": float(np.mean(values)) for share, values in exceeded.items()}


def main() -> None:
    """Print a row for each city."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    rows = [{"city": city} | measure(days) for city, days in days_of(parser.parse_args().file).items()]
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()})


if __name__ == "__main__":
    main()
