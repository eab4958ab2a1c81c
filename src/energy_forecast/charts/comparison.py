"""Comparison of two models: their errors by issue time, and the cumulative difference."""

from __future__ import annotations

from collections.abc import Sequence

from energy_forecast.charts.cards import Card, Field, Grid, Link
from energy_forecast.charts.clock import Clock, seconds_of
from energy_forecast.charts.pages import offline_page
from energy_forecast.charts.svg import Line, Plot, Rule, time_axis, value_axis
from energy_forecast.charts.units import energy_unit
from energy_forecast.pipelines import Comparison
from energy_forecast.pipelines.labels import condition_label
from energy_forecast.pipelines.promote import verdict


def comparison_page(comparisons: Sequence[Comparison]) -> str:
    """Return a page with a card for each city, which opens without a network.

    Args:
        comparisons: comparisons of the same two models, for at least one city.
    """
    first = comparisons[0]
    return offline_page(f"{first.model_a} and {first.model_b}", [comparison_card(one) for one in comparisons])


def comparison_card(
    one: Comparison, *, title: str | None = None, data: str | None = None, links: Sequence[Link] = ()
) -> Card:
    """Return the errors of two models in a city by issue time, and their cumulative difference.

    Args:
        one: the comparison.
        title: the heading; None: the name of the city.
        data: URL of the same data.
        links: to other views.
    """
    unit = energy_unit(max(one.mae.mean_a, one.mae.mean_b))
    clock = Clock(one.timezone)
    issued = one.losses["issued_at"].to_list()
    seconds = seconds_of(issued)
    mae_a, mae_b = (unit.numbers(one.losses[name]) for name in ("mae_a", "mae_b"))
    difference = one.losses["mae_a"] - one.losses["mae_b"]
    total = unit.numbers(difference.cum_sum())
    x = time_axis(clock, issued[0], issued[-1])
    errors = Plot(
        f"Mean absolute error of each issue in {one.city}.",
        [
            Line(one.model_b, seconds, mae_b, "muted", width=1.5),
            Line(one.model_a, seconds, mae_a, "forecast", width=1.5),
        ],
        x=x,
        y=value_axis(f"MAE, {unit.name} in an hour", mae_a, mae_b, zero=True),
    )
    cumulative = Plot(
        f"Cumulative difference of the errors in {one.city}.",
        [Line("cumulative difference", seconds, total, "past"), Rule(0, is_vertical=False)],
        x=x,
        y=value_axis(f"Sum of {one.model_a} minus {one.model_b}, {unit.name}", total, zero=True),
        height=160,
    )
    fields = [
        Field("Issued", clock.name, is_text=True),
        Field("Hours"),
        *(Field(f"MAE {name}", unit.name) for name in (one.model_a, one.model_b)),
        Field("Difference", unit.name),
    ]
    rows = [
        [
            clock.text(row["issued_at"]),
            f"{row['hours']:,}",
            unit.text(row["mae_a"]),
            unit.text(row["mae_b"]),
            unit.signed(row["mae_a"] - row["mae_b"]),
        ]
        for row in one.losses.iter_rows(named=True)
    ]
    return Card(
        title=one.city if title is None else title,
        sentence=f"{one.city}: {verdict(one)}.",
        figures=[errors.markup(), cumulative.markup()],
        table=Grid(f"errors by issue time in {one.city}", fields, rows),
        data=data,
        notes=[
            f"If the cumulative difference falls, {one.model_a} is better. A steady fall shows that it is always "
            "better; a single step, that it was lucky once.",
            f"Backtests {condition_label(one.weather, one.assumptions)}.",
        ],
        links=links,
    )
