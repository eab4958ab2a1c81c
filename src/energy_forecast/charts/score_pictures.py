"""Pages for scores: errors by weekday and hour, and calibration. HTML files that open without a network."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from energy_forecast.charts.figures import Figure, Section, as_table, paragraph, write_figures
from energy_forecast.forecasting.evaluation.breakdown import WEEKDAYS
from energy_forecast.pipelines import CoverageReport, ErrorReport
from energy_forecast.pipelines.labels import PURPOSE_LABELS

UNKNOWN = "\N{EN DASH}"
# Steps instead of a gradient: Plotly prints on a cell in white or dark grey, and neither is readable on the blues
# between the fourth and the fifth
_HEAT = ("--card", "--band90", "--band80", "--band50", "--forecast", "--heat")
# A cell with fewer hours is not reported as the worst
_FEW = 5


def write_errors_page(path: Path, found: ErrorReport) -> None:
    """Write the page, all at once: a heat map and a table for each city."""
    write_figures(
        path,
        [_errors(str(city), rows) for (city,), rows in found.rows.group_by("city", maintain_order=True)],
        title=f"Errors of {found.model} by weekday and hour",
        notes=[
            f"Mean absolute percentage error of its {PURPOSE_LABELS[found.purpose]} by weekday and local hour. Public "
            "holidays are separate from their weekday.",
            *_left_out(found.lacking),
        ],
    )


def _left_out(cities: list[str]) -> list[str]:
    return [f"Left out, because no forecast has an actual: {', '.join(cities)}."] if cities else []


def _errors(city: str, rows: pl.DataFrame) -> Section:
    cells = {(row["weekday"], row["local_hour"]): row for row in rows.iter_rows(named=True)}
    days = [day for day in WEEKDAYS if any(at[0] == day for at in cells)]
    hours = list(range(24))

    def grid(name: str) -> list[list[float | None]]:
        return [[None if (day, h) not in cells else cells[day, h][name] for h in hours] for day in days]

    shown = [[_cell(cells.get((day, h))) for h in hours] for day in days]
    errors = grid("mape")
    known = sorted(value for line in errors for value in line if value is not None)
    # One extreme hour must not make all others pale; beyond the last colour Plotly uses its own colours
    top = known[int(0.98 * (len(known) - 1))] if known else 1.0
    heat = {
        "type": "heatmap",
        "x": hours,
        "y": days,
        "z": [[None if v is None else min(v, top) for v in line] for line in errors],
        "zmin": 0,
        "zmax": top,
        "colorscale": [
            [share, colour] for i, colour in enumerate(_HEAT) for share in (i / len(_HEAT), (i + 1) / len(_HEAT))
        ],
        "xgap": 2,
        "ygap": 2,
        "text": [[None if v is None else f"{v:.1f}" for v in line] for line in errors],
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "customdata": shown,
        "hovertemplate": "%{customdata}<extra></extra>",
        "colorbar": {"title": {"text": "MAPE %"}, "thickness": 12, "outlinewidth": 0},
    }
    layout = {
        "xaxis": {
            "title": {"text": "Local hour", "standoff": 8},
            "tickvals": hours,
            "showgrid": False,
            "zeroline": False,
        },
        "yaxis": {"autorange": "reversed", "showgrid": False, "zeroline": False},
        "margin": {"l": 90, "r": 12, "t": 12, "b": 48},
    }
    pairs = int(rows["pair_count"].sum())
    worst = max(cells.values(), key=lambda row: (row["pair_count"] >= _FEW, row["mape"] or 0))
    lead = paragraph(
        f"{pairs:,} hours. Largest error of a cell with at least {_FEW} hours: {worst['weekday']} at "
        f"{worst['local_hour']:02}:00, {worst['mape'] or 0:.2f} %."
    )
    table = [
        (
            f"{h:02}:00",
            *(
                UNKNOWN if (day, h) not in cells or cells[day, h]["mape"] is None else f"{cells[day, h]['mape']:.2f}"
                for day in days
            ),
        )
        for h in hours
    ]
    figure = Figure(f"Error by weekday and hour in {city}", [heat], layout)
    return Section(city, [figure], lead, as_table(["Hour", *days], table, name=f"MAPE % of {city}"))


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    mape = UNKNOWN if row["mape"] is None else f"{row['mape']:.2f} %"
    bias = row["bias_kwh"] / 1000
    return (
        f"{row['weekday']}, {row['local_hour']:02}:00<br>MAPE {mape}<br>MAE {row['mae_kwh'] / 1000:,.2f} MWh<br>"
        f"forecast too {'high' if bias > 0 else 'low'} by {abs(bias):,.2f} MWh<br>"
        f"90 % interval covers {100 * row['coverage_90']:.0f} %<br>{row['pair_count']} hours"
    )


def write_certificate_page(path: Path, found: CoverageReport) -> None:
    """Write the page, all at once: for each city a reliability diagram of the quantiles and its histogram."""
    verdict = f"Verdict: {found.verdict}."
    write_figures(
        path,
        [
            _calibration(str(city), rows, found)
            for (city,), rows in found.reliability.group_by("city", maintain_order=True)
        ],
        title=f"Calibration of {found.model}",
        notes=[
            f"Based on its {PURPOSE_LABELS[found.purpose]}. {verdict}",
            *_left_out(found.lacking),
        ],
    )


def _calibration(city: str, rows: pl.DataFrame, found: CoverageReport) -> Section:
    level, observed = rows["level"].to_list(), rows["observed"].to_list()
    hours = rows["hours"][0]
    percent = [100 * x for x in level]
    reliability = Figure(
        f"Nominal and observed levels in {city}",
        [
            {
                "type": "scatter",
                "mode": "lines",
                "name": "ideal",
                "x": [0, 100],
                "y": [0, 100],
                "line": {"color": "--muted", "dash": "dash", "width": 1.5},
                "hoverinfo": "skip",
            },
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "observed",
                "x": percent,
                "y": [100 * x for x in observed],
                "line": {"color": "--forecast", "width": 2.5},
                "marker": {"size": 7},
                "hovertemplate": "%{x:.0f} % quantile: %{y:.1f} % of actuals are below<extra></extra>",
            },
        ],
        {
            "showlegend": False,
            "xaxis": {"range": [0, 100], "title": {"text": "Level of the quantile, %", "standoff": 8}, "dtick": 10},
            "yaxis": {
                "range": [0, 100],
                "title": {"text": "Actuals at or below it, %", "standoff": 8},
                "dtick": 10,
            },
        },
        "half",
    )
    edges = [0.0, *level, 1.0]
    shares = [high - low for low, high in zip([0.0, *observed], [*observed, 1.0], strict=True)]
    histogram = Figure(
        f"Distribution of actuals between the quantiles in {city}",
        [
            {
                "type": "bar",
                "x": [100 * low for low in edges[:-1]],
                "width": [100 * (b - a) for a, b in pairwise(edges)],
                "offset": 0,
                "y": [100 * x for x in shares],
                "marker": {"color": "--band50", "line": {"color": "--card", "width": 1}},
                "customdata": [f"{100 * a:.0f} to {100 * b:.0f} %" for a, b in pairwise(edges)],
                "hovertemplate": "between the quantiles %{customdata}: %{y:.1f} % of actuals<extra></extra>",
            }
        ],
        {
            "showlegend": False,
            "bargap": 0,
            "xaxis": {"range": [0, 100], "title": {"text": "Between quantiles, %", "standoff": 8}, "dtick": 10},
            "yaxis": {"rangemode": "tozero", "title": {"text": "Actuals, %", "standoff": 8}},
            "shapes": [
                {
                    "type": "line",
                    "x0": 0,
                    "x1": 100,
                    "y0": 5,
                    "y1": 5,
                    "line": {"color": "--muted", "dash": "dash", "width": 1.5},
                }
            ],
        },
        "half",
    )
    lead = paragraph(
        f"{hours:,} hours. Left: the share of actuals below a quantile should equal its level (dashed line). Right: "
        "one in twenty should be between two neighbours. A U shape means that the intervals are too narrow, a hump too "
        "wide, a slope that the forecast is biased."
    )
    table = [
        (
            "all" if row["part"] == "city" else row["group"],
            f"{100 * row['nominal']:.0f}",
            f"{100 * row['coverage']:.1f}",
            UNKNOWN if row["lower"] is None else f"{100 * row['lower']:.1f} to {100 * row['upper']:.1f}",
            f"{row['hours']:,}",
            row["verdict"],
        )
        for row in found.rows.filter(pl.col("city") == city).iter_rows(named=True)
    ]
    head = ["Part", "Interval, %", "Covers, %", "90 % confidence, %", "Hours", "Verdict"]
    return Section(city, [reliability, histogram], lead, as_table(head, table, name=f"Coverage in {city}", shown=True))
