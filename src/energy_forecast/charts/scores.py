"""The table of scores, with the best of each group."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Best, Card, Cell, Field, Grid
from energy_forecast.charts.units import EnergyUnit, energy_unit


@dataclass(frozen=True)
class _Column:
    """A score: `below` is its unit, None for an energy; the smallest `distance` of a group is the best."""

    name: str
    title: str
    below: str | None
    scale: float
    digits: int
    distance: Callable[[float], float]

    def text(self, value: float | None, unit: EnergyUnit) -> str:
        if value is None:
            return UNKNOWN
        text = unit.text(value) if self.below is None else f"{value * self.scale:,.{self.digits}f}"
        # A minus sign as wide as a digit, so that columns line up
        return text.replace("-", "\N{MINUS SIGN}")


def _lower(value: float) -> float:
    return value


def _higher(value: float) -> float:
    return -value


_COLUMNS = (
    _Column("mape", "MAPE", "%", 1, 2, _lower),
    _Column("mae", "MAE", None, 1, 0, _lower),
    _Column("rmse", "RMSE", None, 1, 0, _lower),
    _Column("r2", "R²", "at most 1", 1, 3, _higher),
    _Column("pinball", "Pinball loss", None, 1, 0, _lower),
    _Column("coverage_90", "Coverage", "of 90\N{NO-BREAK SPACE}%, in %", 100, 1, lambda value: abs(value - 0.9)),
    _Column("skill_naive_168", "Skill", "over naive-168, %", 100, 1, _higher),
)

_NOTE = (
    "Forecasts against observed load. MAPE, MAE, RMSE and pinball loss: lower is better. Coverage: share of observed "
    "values inside the 90\N{NO-BREAK SPACE}% interval; it should be 90. Skill: the share of the MAE of naive-168 (the "
    "same hour last week) that the model saves. Bold: best of the group."
)


def score_card(scores: pl.DataFrame) -> Card:
    """Return a table with one row for each group and model, in the order of the frame, the best of each group bold.

    Args:
        scores: city (the name of the group), model, n (values scored), mape (percent), mae, rmse, pinball (kWh in the
            interval of the forecast), r2, coverage_90, skill_naive_168 (shares). Null or NaN if unknown. Without rows,
            the card reports that nothing has been scored.
    """
    if scores.is_empty():
        return Card("Scores", "No forecast has been scored yet.")
    scores = scores.with_columns(pl.col(column.name).cast(pl.Float64).fill_nan(None) for column in _COLUMNS)
    energies = [v for c in _COLUMNS if c.below is None for v in scores[c.name].drop_nulls() if v > 0]
    # Chosen by the smallest, so that it has three significant figures
    unit = energy_unit(min(energies, default=math.nan))
    rows: list[list[Cell]] = []
    for (group,), members in scores.group_by("city", maintain_order=True):
        rows += [[str(group)], *_rows(members, unit)]
    fields = [
        Field("Model", is_text=True),
        Field("Scored", "values"),
        *(Field(column.title, column.below or unit.name) for column in _COLUMNS),
    ]
    return Card("Scores", _sentence(scores), table=Grid("scores", fields, rows, is_shown=True), notes=[_NOTE])


def _rows(members: pl.DataFrame, unit: EnergyUnit) -> list[list[Cell]]:
    """Return the rows of a group."""
    best = {}
    for column in _COLUMNS:
        known = [column.distance(value) for value in members[column.name].drop_nulls()]
        if members.height > 1 and known:
            best[column.name] = min(known)
    rows = []
    for row in members.iter_rows(named=True):
        cells: list[Cell] = [str(row["model"]), UNKNOWN if row["n"] is None else f"{row['n']:,}"]
        for column in _COLUMNS:
            value = row[column.name]
            text = column.text(value, unit)
            is_best = value is not None and best.get(column.name) == column.distance(value)
            cells.append(Best(text) if is_best else text)
        rows.append(cells)
    return rows


def _sentence(scores: pl.DataFrame) -> str:
    known = scores.filter(pl.col("mape").is_not_null())
    if known.is_empty():
        return f"{scores.height:,} scores; the MAPE is unknown."
    best = known.sort("mape").row(0, named=True)
    return f"Smallest error: MAPE {best['mape']:,.2f} % of {best['model']}, {best['city']}."
