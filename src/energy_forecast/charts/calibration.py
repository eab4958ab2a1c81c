"""Charts of calibration: reliability diagram, histogram between the quantiles, and the table of a certificate."""

from __future__ import annotations

from itertools import pairwise

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Field, Grid
from energy_forecast.charts.svg import Axis, Band, Bars, Line, Plot, Points, Rule, value_axis

_TENS = [10.0 * step for step in range(11)]


def reliability_plot(reliability: pl.DataFrame, city: str) -> Plot:
    """Return the share of actuals at or below each quantile, against its level; of one city.

    The band is the 90 % confidence interval of the share, which is known from 28 days on.
    """
    level = [100 * x for x in reliability["level"]]
    observed = [100 * x for x in reliability["observed"]]
    low, high = ([None if x is None else 100 * x for x in reliability[name]] for name in ("lower", "upper"))
    is_known = reliability["lower"].is_not_null().any()
    return Plot(
        f"Reliability diagram of {city}: share of actuals at or below each quantile, in percent.",
        [
            *([Band("90 % confidence interval", level, low, high, "band80")] if is_known else []),
            Line("ideal", [0, 100], [0, 100], "muted", dashed=True, width=1.5),
            Line("observed", level, observed, "forecast", width=2.5),
            Points(
                "",
                level,
                observed,
                "forecast",
                [
                    f"{x:.0f} % quantile: {y:.1f} % of actuals are at or below it"
                    for x, y in zip(level, observed, strict=True)
                ],
            ),
        ],
        x=Axis(0, 100, "Level of the quantile, %", _TENS),
        y=Axis(0, 100, "Actuals at or below it, %"),
        height=300,
    )


def histogram_plot(reliability: pl.DataFrame, city: str) -> Plot:
    """Return the share of actuals between adjacent quantiles; of one city."""
    edges = [0.0, *(100 * x for x in reliability["level"]), 100.0]
    observed = [0.0, *(100 * x for x in reliability["observed"]), 100.0]
    shares = [high - low for low, high in pairwise(observed)]
    axis = value_axis("Actuals between adjacent quantiles, %", shares, [5.0], zero=True)
    return Plot(
        f"Histogram of {city}: share of actuals between adjacent quantiles, in percent.",
        [
            Bars(
                "actuals",
                edges[:-1],
                [edge - 0.5 for edge in edges[1:]],
                [0.0] * len(shares),
                shares,
                "band50",
                [
                    f"between the quantiles {low:.0f} and {high:.0f} %: {share:.1f} % of actuals"
                    for (low, high), share in zip(pairwise(edges), shares, strict=True)
                ],
            ),
            Rule(5, "ideal: 5 %", is_vertical=False),
        ],
        x=Axis(0, 100, "Between quantiles, %", _TENS),
        y=axis,
        height=200,
    )


def certificate_grid(certificate: pl.DataFrame, city: str) -> Grid:
    """Return the rows of a certificate as a table; of one city."""
    fields = [
        Field("Part", is_text=True),
        Field("Interval", "%"),
        Field("Covers", "%"),
        Field("90 % confidence", "%"),
        Field("Hours"),
        Field("Days"),
        Field("Verdict", is_text=True),
    ]
    rows = [
        [
            "all" if row["part"] == "city" else row["group"],
            f"{100 * row['nominal']:.0f}",
            f"{100 * row['coverage']:.1f}",
            UNKNOWN if row["lower"] is None else f"{100 * row['lower']:.1f} to {100 * row['upper']:.1f}",
            f"{row['hours']:,}",
            f"{row['days']:,}",
            row["verdict"],
        ]
        for row in certificate.iter_rows(named=True)
    ]
    return Grid(f"coverage in {city}", fields, rows, is_shown=True)
