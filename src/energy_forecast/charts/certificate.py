"""Cards of the certificate: coverage by lead time and season, reliability, and the width of the intervals."""

from __future__ import annotations

import polars as pl

from energy_forecast.charts.calibration import certificate_grid, histogram_plot, reliability_plot
from energy_forecast.charts.cards import UNKNOWN, Card, Fact, Field, Grid
from energy_forecast.charts.svg import Axis, Bars, Line, Plot, Points, Rule, value_axis
from energy_forecast.charts.units import energy_unit
from energy_forecast.forecasting.evaluation.coverage import FAILED, FEWEST_DAYS, NOT_ENOUGH_DATA, PASSED

LEVELS = {PASSED: "good", FAILED: "bad", NOT_ENOUGH_DATA: "warning"}
_BANDS = {0.9: "band90", 0.8: "band80", 0.5: "band50"}
_COLOURS = {0.9: "forecast", 0.8: "violet", 0.5: "gold"}
MEANING = (
    "Passed: the intervals cover as often as they state, within the tolerance, and there is enough data to have seen a "
    "larger difference. Failed: the difference is larger than the tolerance, and chance does not explain it. Then do "
    "not rely on the stated probability: train again with newer data (energy-forecast train), look for faults in the "
    "load (energy-forecast doctor data), and test again. Not enough data: neither is shown; wait, or choose a longer "
    "window."
)


def verdict_sentence(certificate: pl.DataFrame, model: str) -> str:
    """Return how often the 90 % interval covered, and the verdict, in words."""
    row = certificate.filter(part="city", nominal=0.9).row(0, named=True)
    words = {
        PASSED: "so you can rely on it",
        FAILED: "so its stated probability is wrong",
        NOT_ENOUGH_DATA: "and there is not enough data for a verdict",
    }
    failed = certificate.filter(pl.col("verdict") == FAILED)
    others = failed.filter((pl.col("part") != "city") | (pl.col("nominal") != 0.9)).height
    more = f" {others} of the other {certificate.height - 1} verdicts failed." if others else ""
    direction = ""
    if row["verdict"] == FAILED:
        direction = " The intervals are too narrow." if row["coverage"] < row["nominal"] else " They are too wide."
    return (
        f"The load was inside the 90 % interval of {model} in {100 * row['coverage']:.1f} % of {row['hours']:,} "
        f"forecast hours on {row['days']:,} days, {words[row['verdict']]}.{direction}{more}"
    )


def reliability_card(city: str, reliability: pl.DataFrame, data: str | None = None) -> Card:
    """Return the share of loads below each quantile, and between neighbours.

    Args:
        city: its name.
        reliability: level, observed, lower, upper, hours, days, of the city.
        data: URL of these rows.
    """
    level = [100 * value for value in reliability["level"]]
    observed = [100 * value for value in reliability["observed"]]
    low, high = ([None if v is None else 100 * v for v in reliability[name]] for name in ("lower", "upper"))
    has_band = reliability["lower"].is_not_null().any()
    worst = max(zip(level, observed, strict=True), key=lambda pair: abs(pair[1] - pair[0]))
    sentence = (
        f"The largest difference is at the {worst[0]:.0f} % quantile: {worst[1]:.1f} % of loads are at or below it. "
        "A U shape below means that the intervals are too narrow, a hump that they are too wide, a slope that the "
        "forecast is biased."
    )
    notes = [
        "The band treats weeks as independent observations, because the errors of adjacent hours and days are similar."
    ]
    days = int(reliability["days"][0])
    if not has_band:
        notes = [f"The band needs {FEWEST_DAYS} days, and there are {days}."]
    rows = [
        (f"{a:.0f}", f"{b:.1f}", UNKNOWN if lo is None or hi is None else f"{lo:.1f} to {hi:.1f}")
        for a, b, lo, hi in zip(level, observed, low, high, strict=True)
    ]
    fields = [Field("Quantile", "%"), Field("Loads at or below", "%"), Field("90 % confidence", "%")]
    return Card(
        "Reliability of the quantiles",
        sentence,
        [reliability_plot(reliability, city).markup(), histogram_plot(reliability, city).markup()],
        Grid("Loads at or below each quantile", fields, rows),
        data,
        notes,
    )


def coverage_card(city: str, certificate: pl.DataFrame, data: str | None = None) -> Card:
    """Return the coverage of the 90, 80 and 50 % intervals by lead time and season, and the certificate.

    Args:
        city: its name.
        certificate: rows of `coverage_certificate` of the city.
        data: URL of these rows.
    """
    groups = certificate.select("part", "group").unique(maintain_order=True).rows()
    # The city, then lead times, then seasons
    groups.sort(key=lambda one: ("city", "lead", "season").index(one[0]))
    place = {one: float(number) for number, one in enumerate(groups)}
    marks: list[Bars | Points | Rule] = []
    for number, (nominal, colour) in enumerate(_BANDS.items()):
        rows = certificate.filter(nominal=nominal).to_dicts()
        x = [place[row["part"], row["group"]] + 0.3 + 0.2 * number for row in rows]
        labels = [
            f"{name_of(row)}: the {100 * nominal:.0f} % interval covers {100 * row['coverage']:.1f} %, {row['verdict']}"
            for row in rows
        ]
        low, high = ([None if row[name] is None else 100 * row[name] for row in rows] for name in ("lower", "upper"))
        edges = [value - 0.07 for value in x], [value + 0.07 for value in x]
        marks += [
            Bars(f"{100 * nominal:.0f} % interval", *edges, low, high, colour, labels),
            Rule(100 * nominal, f"{100 * nominal:.0f} %", is_vertical=False),
            Points("", x, [100 * row["coverage"] for row in rows], "ink", labels),
        ]
    bounds = [None if value is None else 100 * value for name in ("lower", "upper") for value in certificate[name]]
    figure = Plot(
        "Coverage of the 90, 80 and 50 % intervals by lead time and season, with confidence intervals.",
        marks,
        Axis(
            0,
            len(groups),
            "All hours, lead times and seasons",
            [v + 0.5 for v in place.values()],
            [_short(*one) for one in groups],
        ),
        value_axis("Covered, %", [40.0, 100.0], [100 * v for v in certificate["coverage"]], bounds),
    )
    facts = [
        Fact(
            f"{100 * row['nominal']:.0f} % interval",
            f"covers {100 * row['coverage']:.1f} %",
            row["verdict"],
            LEVELS[row["verdict"]],
        )
        for row in certificate.filter(part="city").sort("nominal", descending=True).iter_rows(named=True)
    ]
    counts = {verdict: certificate.filter(verdict=verdict).height for verdict in (PASSED, FAILED, NOT_ENOUGH_DATA)}
    sentence = "Verdicts: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) + "."
    return Card(
        "Certificate: coverage by lead time and season",
        sentence,
        [figure.markup()],
        certificate_grid(certificate, city),
        data,
        [
            MEANING,
            f"Points are the observed coverage, bars its 90 % confidence interval, which needs {FEWEST_DAYS} days.",
        ],
        facts,
    )


def sharpness_card(certificate: pl.DataFrame, data: str | None = None) -> Card:
    """Return the mean width of the intervals by lead time: of two that cover as stated, the narrower is better."""
    rows = certificate.filter(part="lead")
    groups = rows["group"].unique(maintain_order=True).to_list()
    unit = energy_unit(max(certificate["width_kwh"].to_list()))
    place = {group: number + 0.5 for number, group in enumerate(groups)}
    marks: list[Line | Points] = []
    for nominal, colour in _COLOURS.items():
        part = rows.filter(nominal=nominal)
        x = [place[group] for group in part["group"]]
        y = unit.numbers(part["width_kwh"].to_list())
        labels = [
            f"{group}: {unit.text(kwh)} {unit.name}"
            for group, kwh in zip(part["group"], part["width_kwh"], strict=True)
        ]
        marks += [
            Line(f"{100 * nominal:.0f} % interval", x, y, colour, dashed=nominal == 0.8),
            Points("", x, y, colour, labels),
        ]
    values = unit.numbers(rows["width_kwh"].to_list())
    figure = Plot(
        "Mean width of the 90, 80 and 50 % intervals by lead time.",
        marks,
        Axis(0, max(len(groups), 1), "Lead time", list(place.values()), groups),
        value_axis(f"Width, {unit.name} in an hour", values, zero=True),
        height=180,
        has_legend=True,
    )
    whole = certificate.filter(part="city", nominal=0.9)["width_kwh"][0]
    fields = [
        Field("Lead time", is_text=True),
        *(Field(f"{100 * nominal:.0f} % interval", unit.name) for nominal in _COLOURS),
    ]
    table = [
        (group, *(unit.text(rows.filter(group=group, nominal=nominal)["width_kwh"][0]) for nominal in _COLOURS))
        for group in groups
    ]
    return Card(
        "Sharpness: width of the intervals",
        f"The 90 % interval is {unit.text(whole)} {unit.name} wide on average. Of two models whose intervals cover "
        "as they state, the one with the narrower intervals is more useful.",
        [figure.markup()],
        Grid("Mean width of the intervals", fields, table),
        data,
    )


def name_of(row: dict[str, object]) -> str:
    """Return the name of a part of a certificate."""
    return "all hours" if row["part"] == "city" else str(row["group"])


def _short(part: str, group: str) -> str:
    return "all" if part == "city" else group.replace("-", "\N{EN DASH}")
