"""The phrase that states on which weather and load a backtest is based."""

from __future__ import annotations

from typing import Any

import pytest

from energy_forecast.pipelines.labels import condition_label, different_labels


@pytest.mark.parametrize(
    ("weather", "assumptions", "phrase"),
    [
        (
            "forecast",
            {"load_delay_minutes": 2160, "load_delay_source": "city"},
            ", load known 36 h after its interval (setting of the city)",
        ),
        ("forecast", {"load_delay_minutes": 0, "load_delay_source": "stated"}, ", load known by its available_at"),
        (
            "forecast",
            {"load_delay_minutes": 0, "load_delay_source": "option"},
            ", load known at the end of its interval",
        ),
        ("forecast", {}, "of that moment"),
        (
            "simulated",
            {
                "load_delay_minutes": 60,
                "load_delay_source": "option",
                "weather_errors": {
                    "source": "file",
                    "seed": 0,
                    "lead_hours": [0.0, 48.0],
                    "wind_speed": [1.0, 1.0],
                    "temperature": [2.0, 4.0],
                },
            },
            ", load known 1 h after its interval, file errors of temperature, wind speed"
            " (temperature 3.0 °C after 24 h)",
        ),
    ],
)
def test_label_states_delay_and_columns(weather: str, assumptions: dict[str, Any], phrase: str) -> None:
    assert condition_label(weather, assumptions).endswith(phrase)


def test_different_assumptions_have_different_labels() -> None:
    """The same error after a day, and another one after two: a reader must not take them for one."""
    documents = [
        {
            "load_delay_minutes": 60,
            "load_delay_source": "option",
            "weather_errors": {"source": "file", "seed": 0, "lead_hours": [0.0, 24.0, 48.0], "temperature": errors},
        }
        for errors in ([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    ]
    labels = different_labels([*documents, {}])
    assert labels[0].endswith("table of errors 1")
    assert labels[1].endswith("table of errors 2")
    assert labels[2] == ""
