"""Page for a comparison of two models: one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from energy_forecast.charts.figures import Figure, Section, line, paragraph, write_figures
from energy_forecast.charts.units import energy_unit
from energy_forecast.pipelines import Comparison
from energy_forecast.pipelines.promote import verdict


def write_comparison_page(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write the page, all at once.

    Args:
        comparisons: comparisons of the same two models, for at least one city.
    """
    first = comparisons[0]
    write_figures(
        path,
        [Section(one.city, [_errors(one)], _verdict(one)) for one in comparisons],
        title=f"{first.model_a} and {first.model_b}",
        notes=[
            "Mean absolute error of each issue, and the cumulative difference. If the difference falls, "
            f"{first.model_a} is better. A steady fall shows that it is always better; a single step, that it was "
            "lucky once."
        ],
    )


def _verdict(one: Comparison) -> str:
    return paragraph(f"{verdict(one)}. Weather of the target hours: {one.weather}.")


def _errors(one: Comparison) -> Figure:
    unit = energy_unit(max(one.mae.mean_a, one.mae.mean_b))
    issued = [f"{moment:%Y-%m-%d %H:%M}" for moment in one.losses["issued_at"]]
    mae_a, mae_b = ((one.losses[name] / unit.kwh) for name in ("mae_a", "mae_b"))

    hover = "%{x|%Y-%m-%d %H:%M}Z: %{y:.3~g}<extra>%{fullData.name}</extra>"

    def losses(name: str, values: pl.Series, colour: str, axis: str) -> dict[str, Any]:
        return line(name, issued, values.to_list(), colour, width=1.5, yaxis=axis, hovertemplate=hover)

    return Figure(
        f"Errors in {one.city}",
        [
            losses(one.model_b, mae_b, "--muted", "y"),
            losses(one.model_a, mae_a, "--forecast", "y"),
            losses("cumulative difference", (mae_a - mae_b).cum_sum(), "--past", "y2"),
        ],
        {
            "hovermode": "x unified",
            "legend": {"orientation": "h", "y": 1.08},
            "xaxis": {"anchor": "y2"},
            "yaxis": {
                "domain": [0.45, 1],
                "rangemode": "tozero",
                "title": {"text": f"MAE, {unit.name}", "standoff": 8},
            },
            "yaxis2": {"domain": [0, 0.36], "title": {"text": f"cumulative, {unit.name}", "standoff": 8}},
        },
    )
