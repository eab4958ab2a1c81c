"""Errors of models by lead time: charts of the error and of the skill, and the table of the cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid, Link
from energy_forecast.charts.svg import Axis, Line, Plot, Points, Rule, value_axis
from energy_forecast.charts.units import EnergyUnit, energy_unit
from energy_forecast.forecasting.evaluation.leads import COMMON, OWN

# The lead times of a forecast for the next day, for the sentence
_DAY_AHEAD = 24
_COLOURS = ("forecast", "gold", "violet", "rose", "past", "temperature", "ink")


def shown_pairs(rows: pl.DataFrame) -> tuple[str, pl.DataFrame]:
    """Return which pairs are compared, `common` if there are any, and their rows.

    Args:
        rows: of `errors_by_lead`, with one purpose, weather and assumptions.
    """
    common = rows.filter(pairs=COMMON)
    return (OWN, rows.filter(pairs=OWN)) if common.is_empty() else (COMMON, common)


def lead_card(
    rows: pl.DataFrame, *, title: str, conditions: str, data: str | None, url: Callable[[str, int], str] | None
) -> Card:
    """Return the errors and the skill of models by lead time.

    Args:
        rows: of `errors_by_lead`, with one purpose, weather and assumptions.
        conditions: these, as a phrase.
        data: URL of the rows.
        url: returns the URL of the pairs of a model for the lead times from some hours on; None in a file.
    """
    which, shown = shown_pairs(rows)
    models = shown["model"].unique().sort().to_list()
    leads = shown.select("lead_start_hours", "lead_end_hours").unique().sort("lead_start_hours").rows()
    place = {start: number + 0.5 for number, (start, _) in enumerate(leads)}
    axis = Axis(0, len(leads), "Lead time, hours from issue to load", list(place.values()), _labels(leads))
    errors, skills = _marks(shown, models, place, "mape"), _marks(shown, models, place, "skill_naive_168")
    unit = energy_unit(max(rows["mean_consumption_kwh"].to_list()) / 20)
    figures = [
        Plot(
            f"Mean absolute percentage error by lead time of {', '.join(models)}.",
            errors,
            axis,
            value_axis("Error (MAPE), %", shown["mape"].to_list(), zero=True),
            has_legend=True,
        ).markup()
    ]
    if shown["skill_naive_168"].is_not_null().any():
        zero = Rule(0, "as good as last week", is_vertical=False)
        values = value_axis("Skill over naive-168", shown["skill_naive_168"].to_list(), zero=True)
        sentence = f"Skill over naive-168 by lead time of {', '.join(models)}; above zero is better than last week."
        figures.append(Plot(sentence, [zero, *skills], axis, values, has_legend=True).markup())
    grid = Grid(
        f"Errors by lead time, {which} pairs",
        _fields(unit.name),
        [_cells(row, unit, url) for row in shown.sort("lead_start_hours", "model").iter_rows(named=True)],
        is_shown=True,
    )
    sentence = (
        "Mean absolute percentage error, and skill: the part by which the error is smaller than that of last week's "
        "load at the same hour (naive-168). The number of pairs opens the pairs of forecast and load behind it."
    )
    return Card(title, sentence, figures, grid, data, [conditions, *_remarks(rows)])


def lead_sentence(rows: pl.DataFrame) -> str:
    """Return the errors a day ahead, the best model, and how far ahead it is better than last week."""
    which, shown = shown_pairs(rows)
    models = shown["model"].unique().to_list()
    counted = shown.group_by("lead_start_hours").agg(pl.len()).filter(pl.col("len") == len(models))["lead_start_hours"]
    starts = sorted((counted if len(counted) else shown["lead_start_hours"]).to_list())
    start = _DAY_AHEAD if _DAY_AHEAD in starts else starts[-1]
    at = shown.filter(lead_start_hours=start).sort("mape", nulls_last=True).to_dicts()
    errors = ", ".join(f"{row['model']} {_number(row['mape'], 1)} %" for row in at)
    pairs = f"the same {at[0]['pair_count']:,} pairs" if which == COMMON else f"{at[0]['pair_count']:,} pairs"
    if which == OWN and len(models) > 1:
        pairs = "different pairs, so the models cannot be compared"
    lead = f"{start} to {at[0]['lead_end_hours']} h ahead"
    best = shown.filter(model=at[0]["model"]).filter(pl.col("skill_naive_168").is_not_null())
    better = best.filter(pl.col("skill_naive_168") > 0)
    skill = "It is not known whether this is better than last week's load."
    if best.height and max(map(abs, best["skill_naive_168"].to_list())) < 0.005:
        skill = f"{at[0]['model']} is as accurate as last week's load."
    elif better.height == best.height > 0:
        skill = f"{at[0]['model']} is better than last week's load at all {best.height} lead times."
    elif best.height:
        skill = f"{at[0]['model']} is better than last week's load at {better.height} of {best.height} lead times."
    return f"Mean error {lead}: {errors}, on {pairs}. {skill}"


def _remarks(rows: pl.DataFrame) -> list[str]:
    """Return what the reader must know about the pairs."""
    which, shown = shown_pairs(rows)
    own = rows.filter(pairs=OWN).group_by("model").agg(pl.col("pair_count").sum()).sort("model").rows()
    if len(own) == 1:
        return ["One model has forecasts with these conditions, so it is compared with last week's load only."]
    counts = ", ".join(f"{model} {count:,}" for model, count in own)
    if which == OWN:
        return [
            f"The models have no issue time and hour in common. Each is shown on its own pairs ({counts}), and some "
            "hours are harder to forecast than others: do not compare the models by this chart."
        ]
    common = int(shown.group_by("model").agg(pl.col("pair_count").sum())["pair_count"][0])
    return [
        f"All models are compared on the {common:,} pairs of issue time and hour that each of them has. In all they "
        f"have: {counts}."
    ]


def _marks(shown: pl.DataFrame, models: Sequence[str], place: dict[int, float], name: str) -> list[Line | Points]:
    marks: list[Line | Points] = []
    for number, model in enumerate(models):
        part = shown.filter(model=model).sort("lead_start_hours")
        x = [place[start] for start in part["lead_start_hours"]]
        colour = _COLOURS[number % len(_COLOURS)]
        labels = [
            f"{model}, {row['lead_start_hours']} to {row['lead_end_hours']} h: MAPE {_number(row['mape'], 2)} %, skill "
            f"{_number(row['skill_naive_168'], 2)}, {row['pair_count']:,} pairs"
            for row in part.iter_rows(named=True)
        ]
        # Dashes tell models apart without colours
        marks += [
            Line(model, x, part[name].to_list(), colour, dashed=bool(number % 2)),
            Points("", x, part[name].to_list(), colour, labels),
        ]
    return marks


def _fields(unit: str) -> list[Field]:
    return [
        Field("Lead time", "h", is_text=True),
        Field("Model", is_text=True),
        Field("Pairs"),
        Field("MAPE", "%"),
        Field("MAE", f"{unit} in an hour"),
        Field("Forecast minus load", f"{unit} in an hour"),
        Field("90 % interval covers", "%"),
        Field("Skill", "over naive-168"),
    ]


def _labels(leads: Sequence[tuple[int, int]]) -> list[str]:
    return [f"{start}\N{EN DASH}{end}" for start, end in leads]


def _cells(row: dict[str, Any], unit: EnergyUnit, url: Callable[[str, int], str] | None) -> list[str | Link]:
    start, end = row["lead_start_hours"], row["lead_end_hours"]
    count = f"{row['pair_count']:,}"
    return [
        f"{start} to {end}",
        row["model"],
        count if url is None else Link(count, url(row["model"], start)),
        _number(row["mape"], 2),
        unit.text(row["mae_kwh"]),
        unit.signed(row["bias_kwh"]),
        f"{100 * row['coverage_90']:.0f}",
        _number(row["skill_naive_168"], 2),
    ]


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
