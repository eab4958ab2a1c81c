"""Windows of whole local days."""

from __future__ import annotations

from datetime import datetime, timedelta

from energy_forecast.readings.spans import day_span
from energy_forecast.web.state import State


def window_of(state: State, days: int) -> tuple[datetime, datetime]:
    """Return the begin of the local day `days` - 1 days before that of the page, and the time of the page."""
    today = state.clock.local(state.now).date()
    begin, _ = day_span(today - timedelta(days=days - 1), state.clock.zone)
    return begin, state.now
