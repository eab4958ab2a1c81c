"""Calibration: reliability diagram, histogram between the quantiles, and the coverage with its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid, Link
from energy_forecast.charts.errors import left_out
from energy_forecast.charts.pages import offline_page
from energy_forecast.charts.svg import Axis, Band, Bars, Line, Plot, Points, Rule, value_axis
from energy_forecast.pipelines import CoverageReport
from energy_forecast.pipelines.labels import PURPOSE_LABELS, condition_label

_TENS = [10.0 * step for step in range(11)]


def certificate_page(found: CoverageReport) -> str:
    """Return a page with a card for each city, which opens without a network."""
    cards = []
    for (city,), rows in found.reliability.group_by("city", maintain_order=True):
        used = found.conditions.get(str(city))
        conditions = [f"Backtests {condition_label(used['weather'], used['assumptions'])}."] if used else []
        certificate = found.rows.filter(pl.col("city") == city)
        cards.append(calibration_card(str(city), rows, certificate, notes=conditions))
    notes = [
        f"Based on {PURPOSE_LABELS[found.purpose]}. Verdict: {found.verdict}.",
        *left_out(found.lacking),
    ]
    return offline_page(f"Calibration of {found.model}", cards, notes=notes)


def calibration_card(
    city: str,
    reliability: pl.DataFrame,
    certificate: pl.DataFrame,
    *,
    title: str | None = None,
    data: str | None = None,
    notes: Sequence[str] = (),
    links: Sequence[Link] = (),
) -> Card:
    """Return the reliability diagram and the histogram of a city, with its certificate as the table.

    Args:
        city: its name.
        reliability: level, observed (shares) and hours of the city, as `reliability` returns them.
        certificate: as `coverage_certificate` returns it, of the city.
        title: the heading; None: the name of the city.
        data: URL of the same data.
        notes: below the charts.
        links: to other views.
    """
    hours = reliability["hours"][0]
    sentence = _sentence(city, certificate, hours)
    return Card(
        title=city if title is None else title,
        sentence=sentence,
        figures=[reliability_plot(reliability, city).markup(), histogram_plot(reliability, city).markup()],
        table=certificate_grid(certificate, city),
        data=data,
        notes=[
            "First chart: the share of actuals at or below a quantile should be its level (dashed line). Second chart: "
            "5 % should be between two adjacent quantiles. A U shape means that the intervals are too narrow, a hump "
            "that they are too wide, a slope that the forecast is biased.",
            *notes,
        ],
        links=links,
    )


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


def _sentence(city: str, certificate: pl.DataFrame, hours: int) -> str:
    total = certificate.filter((pl.col("part") == "city") & (pl.col("nominal") == 0.9))
    if total.is_empty():
        return f"{city}: {hours:,} hours."
    row = total.row(0, named=True)
    return (
        f"{city}: the 90 % interval covers {100 * row['coverage']:.1f} % of {hours:,} hours; verdict: {row['verdict']}."
    )
