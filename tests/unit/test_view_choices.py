"""The purpose that a page of scores begins with."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from energy_forecast.errors import EnergyForecastError
from energy_forecast.web.state import Purpose, State
from energy_forecast.web.views.choices import read_purpose


def state(purpose: Purpose = "live", chosen: str | None = None) -> State:
    query = {} if chosen is None else {"purpose": chosen}
    return State(query, [], None, datetime(2026, 5, 1, tzinfo=UTC), False, purpose)


@pytest.mark.parametrize(
    ("counts", "purpose"),
    [
        ({"live": 500, "replay": 900, "backtest": 900}, "live"),
        # Live forecasts of a few hours do not hide months of backtests
        ({"live": 5, "replay": 0, "backtest": 900}, "backtest"),
        ({"live": 5, "replay": 3, "backtest": 0}, "live"),
        ({"live": 0, "replay": 3, "backtest": 0}, "replay"),
        ({"live": 0, "replay": 0, "backtest": 0}, "live"),
    ],
)
def test_first_purpose_with_a_day_of_pairs_is_shown(counts: dict[str, int], purpose: str) -> None:
    assert read_purpose(state(), lambda one: counts[one], int) == (purpose, counts[purpose])


def test_purpose_of_the_url_is_shown_although_it_is_empty() -> None:
    counts = {"live": 500, "replay": 0, "backtest": 900}
    assert read_purpose(state(chosen="replay"), lambda one: counts[one], int) == ("replay", 0)
    with pytest.raises(EnergyForecastError, match="`purpose` is 'x'"):
        read_purpose(state(chosen="x"), lambda one: counts[one], int)


def test_clock_of_a_replay_begins_with_replays() -> None:
    counts = {"live": 500, "replay": 500, "backtest": 900}
    assert read_purpose(state("replay"), lambda one: counts[one], int)[0] == "replay"
