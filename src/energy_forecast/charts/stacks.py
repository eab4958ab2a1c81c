"""Bars of hours that are stacked from zero."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from energy_forecast.charts.cards import UNKNOWN
from energy_forecast.charts.clock import Clock
from energy_forecast.charts.svg import Bars
from energy_forecast.charts.units import EnergyUnit

# Seconds of an hour that its bar leaves free on each side
_GAP = 180


def stacked(
    parts: Sequence[tuple[str, Sequence[float | None], str]], starts: Sequence[float], unit: EnergyUnit, clock: Clock
) -> list[Bars]:
    """Return bars of one hour, positive parts upwards and negative ones downwards from zero.

    Args:
        parts: name, values in the unit, and colour.
        starts: of the hours, seconds since 1970. Every hour has its own place, so a day may have 23 or 25.
    """
    up, down = [0.0] * len(starts), [0.0] * len(starts)
    bars = []
    for name, values, colour in parts:
        low: list[float | None] = []
        high: list[float | None] = []
        labels = []
        for place, value in enumerate(values):
            pile = up if (value or 0) >= 0 else down
            low.append(None if value is None else pile[place])
            pile[place] += value or 0
            high.append(None if value is None else pile[place])
            hour = clock.hour(datetime.fromtimestamp(starts[place], clock.rules))
            shown = UNKNOWN if value is None else unit.signed(value * unit.kwh)
            labels.append(f"{hour} {name}: {shown} {unit.name}")
        bars.append(
            Bars(name, [x + _GAP for x in starts], [x + 3600 - _GAP for x in starts], low, high, colour, labels)
        )
    return bars
