"""Charts of the highest load of a day: the probability that it exceeds a threshold, and that of its hour."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Fact, Field, Grid
from energy_forecast.charts.clock import Clock, day_text, seconds_of
from energy_forecast.charts.svg import Axis, Band, Bars, Line, Mark, Plot, Points, time_axis, value_axis
from energy_forecast.charts.units import energy_unit


def peak_sentence(risk: pl.DataFrame, hours: pl.DataFrame, clock: Clock) -> str:
    """Return how sure the peak of a day is, in one or two sentences."""
    first = risk.row(0, named=True)
    unit = energy_unit(float(risk["threshold_kwh"].max()))  # type: ignore[arg-type]
    name = day_text(first["day"])
    if first["day_peak"] is None:
        peak = hours.sort("predicted", "timestamp", descending=[True, False]).row(0, named=True)
        return (
            f"{name}: the highest forecast is {unit.text(peak['predicted'])} {unit.name} per hour, from "
            f"{clock.hour(peak['timestamp'])}. Past forecasts do not show yet how the errors of hours are related, "
            "so only bounds of the probability are known."
        )
    likely = hours.sort("probability", "timestamp", descending=[True, False]).row(0, named=True)
    return (
        f"{name}: the highest load is {unit.text(first['day_peak'])} {unit.name} per hour (median), and between "
        f"{unit.text(first['day_peak_low'])} and {unit.text(first['day_peak_high'])} {unit.name} with 90 % "
        "probability. "
        f"It is most likely in the hour from {clock.hour(likely['timestamp'])} ({100 * likely['probability']:.0f} %)."
    )


def peak_card(risk: pl.DataFrame, hours: pl.DataFrame, clock: Clock, data: str) -> Card:
    """Return the charts of a day.

    Args:
        risk, hours: rows of one day of the readings `peak_risk` and `peak_hours`.
        clock: of the city.
        data: URL of `peak_risk`.
    """
    day: date = risk["day"][0]
    unit = energy_unit(float(risk["threshold_kwh"].max()))  # type: ignore[arg-type]
    sentence = peak_sentence(risk, hours, clock)
    thresholds = [value / unit.kwh for value in risk["threshold_kwh"]]
    percent = {
        name: [None if share is None else 100 * share for share in risk[name]]
        for name in ("probability", "at_least", "at_most")
    }
    hints = [
        f"above {unit.text(row['threshold_kwh'])} {unit.name}: {_share(row['probability'])}"
        for row in risk.iter_rows(named=True)
    ]
    marks: list[Mark] = [
        Band("bounds for any relation of errors", thresholds, percent["at_least"], percent["at_most"], "band90")
    ]
    if risk["probability"].is_not_null().any():
        marks.append(Line("probability", thresholds, percent["probability"], "forecast"))
        marks.append(Points("", thresholds, percent["probability"], "forecast", hints))
    x = Axis(min(thresholds), max(thresholds), f"Threshold, {unit.name} per hour")
    exceeded = Plot(
        f"Probability that the highest load of {day_text(day)} exceeds a threshold.",
        marks,
        x,
        Axis(0, 100, "Probability that the peak is higher, %"),
        has_legend=True,
    ).markup()
    figures = [exceeded]
    if hours["probability"].is_not_null().any():
        starts = seconds_of(hours["timestamp"].to_list())
        shares = [100 * share for share in hours["probability"]]
        labels = [f"{clock.hour(at)}: {share:.0f} %" for at, share in zip(hours["timestamp"], shares, strict=True)]
        ends = [at + 3600 for at in starts]
        bars = Bars("hour of the peak", starts, ends, [0.0] * len(shares), shares, "band50", labels)
        axis = time_axis(clock, hours["timestamp"][0], hours["timestamp"][-1] + timedelta(hours=1), 12)
        hour = Plot(
            f"Probability of each hour of {day_text(day)} to have the highest load.",
            [bars],
            axis,
            value_axis("Probability of the hour, %", shares, zero=True),
            height=140,
        )
        figures.append(hour.markup())
    rows = []
    for row in risk.iter_rows(named=True):
        range_of = f"{_share(row['at_least'])} to {_share(row['at_most'])}"
        rows.append([unit.text(row["threshold_kwh"]), _share(row["probability"]), range_of])
    fields = [Field("Threshold", f"{unit.name} per hour"), Field("Probability of more"), Field("Bounds")]
    facts = []
    first = risk.row(0, named=True)
    if first["day_peak"] is not None:
        interval = f"90 %: {unit.text(first['day_peak_low'])} to {unit.text(first['day_peak_high'])} {unit.name}"
        facts.append(Fact("Highest load", f"{unit.text(first['day_peak'])} {unit.name}", interval))
    return Card(
        title=f"Peak of {day_text(day)}",
        sentence=sentence,
        figures=figures,
        table=Grid(f"probabilities of the peak of {day_text(day)}", fields, rows),
        data=data,
        facts=facts,
    )


def _share(share: float | None) -> str:
    if share is None:
        return UNKNOWN
    return "under 1 %" if 0 < share < 0.005 else "over 99 %" if 0.995 < share < 1 else f"{100 * share:.0f} %"
