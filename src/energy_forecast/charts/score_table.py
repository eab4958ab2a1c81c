"""Format the table of scores as HTML."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import polars as pl

from energy_forecast.charts.units import EnergyUnit, energy_unit

UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class _Column:
    """A score: `below` is its unit, None for an energy; the smallest `distance` of a city is the best."""

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
        # A minus sign as wide as a digit, so that columns line up.
        return text.replace("-", "\N{MINUS SIGN}")


def _lower(value: float) -> float:
    return value


def _higher(value: float) -> float:
    return -value


COLUMNS = (
    _Column("mape", "MAPE", "%", 1, 2, _lower),
    _Column("mae", "MAE", None, 1, 0, _lower),
    _Column("rmse", "RMSE", None, 1, 0, _lower),
    _Column("r2", "R²", "at most 1", 1, 3, _higher),
    _Column("pinball", "Pinball loss", None, 1, 0, _lower),
    _Column("coverage_90", "Coverage", "of 90\N{NO-BREAK SPACE}%, in %", 100, 1, lambda value: abs(value - 0.9)),
    _Column("skill_naive_168", "Skill", "over naive-168, %", 100, 1, _higher),
)

NOTE = (
    "Forecasts against observed load. MAPE, MAE, RMSE and pinball loss: lower is better. Coverage: share of observed "
    "values inside the 90\N{NO-BREAK SPACE}% interval; it should be 90. Skill: the share of the MAE of naive-168 (the "
    "same hour last week) that the model saves. Bold: best of the group."
)


def score_table(scores: pl.DataFrame) -> str:
    """Return a table with one row for each city and model, in the frame's order, the best of each city in bold.

    Args:
        scores: city, model, n (values scored), mape (percent), mae, rmse, pinball (kWh in the forecast's interval),
            r2, coverage_90, skill_naive_168 (shares). Null or NaN if unknown.
    """
    scores = scores.with_columns(pl.col(column.name).cast(pl.Float64).fill_nan(None) for column in COLUMNS)
    energies = [v for c in COLUMNS if c.below is None for v in scores[c.name].drop_nulls() if v > 0]
    # Chosen by the smallest, so that it has three significant figures.
    unit = energy_unit(min(energies, default=math.nan))
    head = "".join(f'<th scope="col">{c.title}<small>{c.below or unit.name}</small></th>' for c in COLUMNS)
    bodies = "".join(_body(str(city), rows, unit) for (city,), rows in scores.group_by("city", maintain_order=True))
    return (
        f'<p class="small muted" id="scores-note">{NOTE}</p>'
        '<div class="scroll" tabindex="0" role="group" aria-label="Scores"><table aria-describedby="scores-note">'
        f'<thead><tr><th scope="col" class="text">Model</th><th scope="col">Scored<small>values</small></th>{head}</tr>'
        f"</thead>{bodies}</table></div>"
    )


def _body(city: str, rows: pl.DataFrame, unit: EnergyUnit) -> str:
    best = {}
    for column in COLUMNS:
        known = [column.distance(value) for value in rows[column.name].drop_nulls()]
        if rows.height > 1 and known:
            best[column.name] = min(known)
    lines = [f'<tr><th scope="rowgroup" colspan="{len(COLUMNS) + 2}" class="text city">{escape(city)}</th></tr>']
    for row in rows.iter_rows(named=True):
        cells = ""
        for column in COLUMNS:
            value = row[column.name]
            text = column.text(value, unit)
            is_best = value is not None and best.get(column.name) == column.distance(value)
            cells += f"<td><strong>{text}</strong></td>" if is_best else f"<td>{text}</td>"
        count = UNKNOWN if row["n"] is None else f"{row['n']:,}"
        lines.append(f'<tr><th scope="row" class="text">{escape(str(row["model"]))}</th><td>{count}</td>{cells}</tr>')
    return f"<tbody>{''.join(lines)}</tbody>"
