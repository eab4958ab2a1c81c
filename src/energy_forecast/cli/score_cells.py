"""Format scores as cells of a table, for all commands that print them."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

from energy_forecast.cli.console import echo


class Purpose(StrEnum):
    """The purpose of a run."""

    LIVE = "live"
    REPLAY = "replay"
    BACKTEST = "backtest"


# Narrow: a table of scores must fit a terminal of 80 columns. Energies are MWh in an hour.
SCORE_COLUMNS = ["MAPE %", "MAE", "RMSE", "R2", "pinball", "cover %", "skill"]
SCORE_LEGEND = (
    "MAE, RMSE, pinball: MWh in an hour. cover %: share inside the 90 % interval. skill: over naive-168, by MAE."
)


def by_city(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return rows of scores by city, the smallest error first."""
    cities = sorted({row["city"] for row in rows})
    return {name: sorted((r for r in rows if r["city"] == name), key=lambda r: r["mae_kwh"]) for name in cities}


def echo_left_out(hours: dict[str, int]) -> None:
    """Print the number of hours by city that no score includes because their actual is faulty."""
    for city, count in hours.items():
        echo(f"Left out because of faulty actuals: {count:,} hours of {city}. For a list: energy-forecast doctor data")


def score_cells(row: dict[str, Any]) -> list[str | None]:
    """Return the cells for SCORE_COLUMNS."""

    def cell(name: str, form: str, factor: float = 1) -> str | None:
        value = row[name]
        return None if value is None else format(value * factor, form)

    def energy(name: str) -> str:
        """Format MWh with four digits."""
        megawatt_hours = row[name] / 1000
        return f"{megawatt_hours:.{max(0, min(3, 3 - math.floor(math.log10(max(megawatt_hours, 1e-3)))))}f}"

    return [
        cell("mape", ".2f"),
        energy("mae_kwh"),
        energy("rmse_kwh"),
        cell("r2_score", ".3f"),
        energy("pinball_kwh"),
        cell("coverage_90", ".1f", 100),
        cell("skill_naive_168", "+.2f"),
    ]
