"""Page for a certificate: one HTML file that opens without a network, with the cards of the live view."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from energy_forecast.charts.cards import Card
from energy_forecast.charts.certificate import coverage_card, reliability_card, sharpness_card, verdict_sentence
from energy_forecast.charts.errors import left_out
from energy_forecast.charts.pages import offline_page
from energy_forecast.pipelines import CoverageReport
from energy_forecast.pipelines.labels import PURPOSE_LABELS, condition_label


def certificate_page(found: CoverageReport) -> str:
    """Return a page with the cards of each city."""
    cards = []
    for (city,), rows in found.reliability.group_by("city", maintain_order=True):
        used = found.conditions.get(str(city))
        conditions = [f"Backtests {condition_label(used['weather'], used['assumptions'])}."] if used else []
        certificate = found.rows.filter(pl.col("city") == city)
        coverage = coverage_card(str(city), certificate)
        sentence = f"{verdict_sentence(certificate, found.model)} {coverage.sentence}"
        cards += [
            _of_city(str(city), replace(coverage, sentence=sentence, notes=[*coverage.notes, *conditions])),
            _of_city(str(city), reliability_card(str(city), rows)),
            _of_city(str(city), sharpness_card(certificate)),
        ]
    notes = [
        f"Based on {PURPOSE_LABELS[found.purpose]}. Verdict: {found.verdict}.",
        *left_out(found.lacking),
    ]
    return offline_page(f"Calibration of {found.model}", cards, notes=notes)


def _of_city(city: str, card: Card) -> Card:
    return replace(card, title=f"{city}: {card.title}")
