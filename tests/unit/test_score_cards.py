"""Cards of the skill and of the calibration: what they state is what the rows have."""

from __future__ import annotations

import re

import polars as pl
import pytest

from energy_forecast.charts.cards import Link
from energy_forecast.charts.certificate import coverage_card, reliability_card, sharpness_card, verdict_sentence
from energy_forecast.charts.lead_times import lead_card, lead_sentence
from energy_forecast.forecasting.evaluation.coverage import coverage_certificate, reliability
from energy_forecast.forecasting.evaluation.leads import errors_by_lead
from unit.forecasting.test_coverage import pairs as covered
from unit.forecasting.test_leads import pairs

HOSTILE = '"><script>alert(1)</script>'


def test_models_are_compared_on_common_pairs() -> None:
    rows = errors_by_lead(pl.concat([pairs("linear"), pairs("mlp", 3, seed=2)]))
    common = rows.filter(pairs="common", lead_start_hours=24)
    errors = {row["model"]: row["mape"] for row in common.iter_rows(named=True)}
    sentence = lead_sentence(rows)
    for model, error in errors.items():
        assert f"{model} {error:.1f} %" in sentence
    assert "on the same 36 pairs" in sentence
    card = lead_card(rows, title="Errors", conditions="", data=None, url=lambda model, start: f"/pairs/{model}/{start}")
    assert card.table is not None
    assert {row[2].text for row in card.table.rows if isinstance(row[2], Link)} == {"9", "18", "36"}
    assert "/pairs/linear/24" in {row[2].url for row in card.table.rows if isinstance(row[2], Link)}
    assert any("the 144 pairs" in note and "linear 240, mlp 144" in note for note in card.notes)


def test_models_without_common_pairs_are_not_compared() -> None:
    """The reader must not take the lower line for the better model."""
    later = pairs("mlp", seed=2).with_columns(pl.col("issued_at", "timestamp") + pl.duration(days=30))
    rows = errors_by_lead(pl.concat([pairs("linear"), later]))
    assert "different pairs, so the models cannot be compared" in lead_sentence(rows)
    card = lead_card(rows, title="Errors", conditions="", data=None, url=None)
    assert any("do not compare the models" in note for note in card.notes)


def test_one_model_is_compared_with_last_week() -> None:
    rows = errors_by_lead(pairs("linear"))
    card = lead_card(rows, title="Errors", conditions="", data=None, url=None)
    assert any(note.startswith("One model has forecasts") for note in card.notes)
    assert "linear is better than last week's load at all 7 lead times." in lead_sentence(rows)
    assert len(card.figures) == 2


def test_unknown_skill_has_no_chart() -> None:
    rows = errors_by_lead(pairs("linear").with_columns(pl.lit(None, pl.Float64).alias("reference")))
    assert len(lead_card(rows, title="Errors", conditions="", data=None, url=None).figures) == 1
    assert "not known whether this is better" in lead_sentence(rows)


def test_hostile_names_are_text() -> None:
    rows = errors_by_lead(pairs(HOSTILE))
    card = lead_card(rows, title="Errors", conditions="", data=None, url=None)
    assert all("<script" not in figure for figure in card.figures)
    assert all("&lt;script" in figure for figure in card.figures)


@pytest.mark.parametrize(("width", "verdict"), [(1.0, "passed"), (0.8, "failed"), (1.3, "failed")])
def test_verdict_is_stated_in_words(width: float, verdict: str) -> None:
    certificate = coverage_certificate(covered(366, width))
    sentence = verdict_sentence(certificate, "linear")
    assert ("rely on it" in sentence) == (verdict == "passed")
    assert ("too narrow" in sentence) == (width < 1)
    assert ("too wide" in sentence) == (width > 1)
    card = coverage_card("Ulm", certificate)
    assert card.facts[0].detail == verdict
    assert card.facts[0].level == {"passed": "good", "failed": "bad"}[verdict]
    assert any("Failed:" in note and "energy-forecast train" in note for note in card.notes)
    assert card.table is not None
    assert len(card.table.rows) == certificate.height


def test_few_days_have_no_band() -> None:
    few = covered(12, 1.0)
    certificate, observed = coverage_certificate(few), reliability(few)
    assert observed["lower"].is_null().all()
    card = reliability_card("Ulm", observed)
    assert any("needs 28 days" in note for note in card.notes)
    assert "90 % confidence interval" not in card.figures[0]
    assert "not enough data for a verdict" in verdict_sentence(certificate, "linear")
    assert {fact.level for fact in coverage_card("Ulm", certificate).facts} == {"warning"}


def test_band_of_the_reliability_holds_the_ideal() -> None:
    """Of 19 levels of a calibrated forecast, nearly all have the level inside their 90 % interval."""
    observed = reliability(covered(366, 1.0))
    inside = observed.filter(pl.col("level").is_between("lower", "upper")).height
    assert inside >= 16
    narrow = reliability(covered(366, 0.8))
    assert narrow.filter(pl.col("level").is_between("lower", "upper")).height <= 8
    assert "90 % confidence interval" in reliability_card("Ulm", observed).figures[0]


def test_width_grows_with_the_quantiles() -> None:
    certificate = coverage_certificate(covered(366, 1.0))
    widths = {row["nominal"]: row["width_kwh"] for row in certificate.filter(part="city").iter_rows(named=True)}
    assert widths == pytest.approx({0.5: 0.5, 0.8: 0.8, 0.9: 0.9})
    card = sharpness_card(certificate)
    assert re.search(r"0\.9\d* kWh wide", card.sentence)
