"""The phrase that states on which weather and load a backtest is based."""

from __future__ import annotations

from typing import Any

import pytest

from energy_forecast.pipelines.labels import condition_label


@pytest.mark.parametrize(
    ("weather", "assumptions", "phrase"),
    [
        ("forecast", {"load_delay_minutes": 2160, "load_delay_source": "city"}, ", load known after 36 h"),
        ("forecast", {"load_delay_minutes": 0, "load_delay_source": "stated"}, ", load known by its available_at"),
        ("forecast", {"load_delay_minutes": 0, "load_delay_source": "option"}, "of that moment"),
        (
            "simulated",
            {"weather_errors": {"wind_speed": [1.0], "temperature": [2.0], "source": "file", "lead_hours": [0.0]}},
            ", file errors of temperature, wind speed",
        ),
    ],
)
def test_label_states_delay_and_columns(weather: str, assumptions: dict[str, Any], phrase: str) -> None:
    assert condition_label(weather, assumptions).endswith(phrase)
