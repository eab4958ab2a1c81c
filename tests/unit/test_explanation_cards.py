"""The cards of an explained forecast: hours of days of 23 and 25 hours, parts that add up, hostile names, answers."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import polars as pl
import pytest

from energy_forecast.charts.clock import Clock
from energy_forecast.charts.error_parts import error_card, error_sentence, of_hours
from energy_forecast.charts.explanation import explanation_cards, explanation_page
from energy_forecast.charts.stacks import stacked
from energy_forecast.charts.units import energy_unit
from energy_forecast.pipelines.weather_share import ExplainedError
from offline_pages import BERLIN, PLAIN, explained

LONG, SHORT = date(2025, 10, 26), date(2025, 3, 30)
CLOCK = Clock(BERLIN.timezone)


@pytest.mark.parametrize(("day", "hours"), [(LONG, 25), (SHORT, 23), (PLAIN, 24)])
def test_every_hour_of_the_day_has_a_bar_of_each_group(day: date, hours: int) -> None:
    """On the day of 25 hours, 02:00 comes twice: two bars, with the same time but the other offset of the zone."""
    found = explained(day)
    card = next(one for one in explanation_cards(found) if one.title.startswith("Contributions"))
    bars = re.findall(r'<rect x="([\d.]+)"[^>]*><title>(\d\d:\d\d) ([^:<]+):', card.figures[0])
    by_name: dict[str, list[tuple[str, str]]] = {}
    for x, hour, name in bars:
        by_name.setdefault(name, []).append((x, hour))
    assert len(by_name) == 7
    assert {len({x for x, _ in places}) for places in by_name.values()} == {hours}
    times = [hour for _, hour in by_name["all others"]]
    assert times.count("02:00") == {25: 2, 23: 0, 24: 1}[hours]
    effects = found.explanation.hours.join(found.forecast, on="timestamp", how="semi")
    assert effects.height == hours


def test_stacked_parts_of_one_sign_are_on_each_other() -> None:
    starts = [datetime(2025, 5, 10, tzinfo=UTC).timestamp()]
    up, other, down = stacked(
        [("a", [3.0], "forecast"), ("b", [2.0], "past"), ("c", [-4.0], "gold")], starts, energy_unit(1.0), CLOCK
    )
    assert (up.y0, up.y1, other.y0, other.y1) == ([0.0], [3.0], [3.0], [5.0])
    assert (down.y0, down.y1) == ([0.0], [-4.0])
    assert down.labels == ["02:00 c: \N{MINUS SIGN}4.00 kWh"]


def test_page_has_the_cards_in_their_order() -> None:
    html = explanation_page(explained(PLAIN))
    titles = re.findall(r"<h2[^>]*>([^<]+)</h2>", html)
    assert titles == [
        "Error and its causes",
        "Contributions of the inputs, Sat 10 May 2025",
        "Forecast and load",
        "Effect of the weather, Sat 10 May 2025",
        "Response to the temperature",
        "Most similar past days to Sat 10 May 2025",
    ]


def test_sentence_answers_whether_the_weather_caused_the_error() -> None:
    found = explained(PLAIN)
    assert found.error is not None
    of_day = of_hours(found.error, found.explanation.hours["timestamp"])
    assert of_day.hours.height == 24
    parts = of_day.parts
    assert parts is not None
    sentence = error_sentence(of_day, PLAIN)
    assert sentence.startswith("Sat 10 May: the forecast was ")
    assert "because of the weather forecast: " in sentence or "The weather forecast is the cause" in sentence
    assert "holiday" in error_sentence(of_day, PLAIN, "Whit Monday")


@pytest.mark.parametrize(
    ("weather", "answer"),
    [
        (-50.0, "even reduced"),
        (5.0, "Hardly because"),
        (25.0, "Only in part because"),
        (50.0, "About half because"),
        (90.0, "Mostly because"),
        (150.0, "is the cause"),
    ],
)
def test_answer_follows_the_share_of_the_weather(weather: float, answer: str) -> None:
    hours = pl.DataFrame(
        {
            "timestamp": pl.Series([datetime(2025, 5, 10, 10, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC")),
            "actual": [1000.0],
            "predicted": [1100.0],
            "error_kwh": [100.0],
            "weather_kwh": [weather],
            "model_kwh": [100.0 - weather],
            "weather_percent": [weather],
            "temperature_error": [1.5],
        }
    )
    error = of_hours(ExplainedError(hours, None, None, []), hours["timestamp"])
    sentence = error_sentence(error, PLAIN)
    assert sentence.startswith("Sat 10 May: the forecast was 100 kWh (10.0 %) too high over 1 hour.")
    assert answer in sentence
    card = error_card(error, CLOCK)
    assert card.table is not None
    assert card.table.rows[0][0] == "Sat 10 May, 12:00"
    assert card.facts[3].value == "1.5 °C too warm"


def test_error_without_weather_states_why_it_has_no_parts() -> None:
    hours = explained(PLAIN).error
    assert hours is not None
    whole = ExplainedError(hours.hours, None, "The forecast did not use weather.", [])
    assert error_sentence(whole, PLAIN).endswith("The forecast did not use weather.")
    assert error_card(whole, CLOCK).sentence == "The forecast did not use weather."
