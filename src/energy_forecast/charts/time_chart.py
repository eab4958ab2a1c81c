"""Large charts over time: the data as JSON, drawn in the browser by charts.js with uPlot."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from markupsafe import Markup

from energy_forecast.charts.clock import Clock

# Characters that could end the element of a script, or are no text in JSON within HTML
_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


@dataclass(frozen=True)
class Trace:
    """A line of a chart.

    Args:
        name: in the legend.
        values: one for each time; None leaves a gap.
        colour: a variable of style.css.
        is_dashed: of the line.
    """

    name: str
    values: pl.Series
    colour: str
    is_dashed: bool = False


@dataclass(frozen=True)
class Interval:
    """The area between two quantiles of a chart."""

    name: str
    low: pl.Series
    high: pl.Series
    colour: str


@dataclass(frozen=True)
class Panel:
    """One chart above another, with the same times.

    Args:
        title: of the y axis, with the unit.
        unit: of the values.
        digits: decimals of the values.
        traces, intervals: what is drawn.
        height: pixels.
    """

    title: str
    unit: str
    digits: int
    traces: Sequence[Trace]
    intervals: Sequence[Interval] = ()
    height: int = 320


@dataclass(frozen=True)
class TimeMark:
    """A vertical line at a time, with a label."""

    moment: datetime
    label: str


@dataclass(frozen=True)
class Frame:
    """One of several forecasts that a slider shows in turn.

    Args:
        label: shown next to the slider.
        issued_at: marked in the chart.
        first: place of the first value in the times of the chart.
        predicted, low, high: values of consecutive times.
    """

    label: str
    issued_at: datetime
    first: int
    predicted: pl.Series
    low: pl.Series
    high: pl.Series


@dataclass(frozen=True)
class TimeChart:
    """Panels over the same times.

    Args:
        name: of the chart, unique on the page: a refreshed chart keeps its zoom.
        sentence: what it shows, for screen readers.
        clock: of the city.
        times: ascending.
        panels: from top to bottom.
        marks: lines across the panels.
        frames: forecasts that a slider shows in turn in the last trace and the last interval of the first panel; the
            chart begins with the last one.
    """

    name: str
    sentence: str
    clock: Clock
    times: pl.Series
    panels: Sequence[Panel]
    marks: Sequence[TimeMark] = ()
    frames: Sequence[Frame] = ()

    def markup(self) -> Markup:
        """Return the chart as HTML: an element for charts.js, and its data."""
        return Markup(
            '<div class="time-chart" id="chart-{0}" role="group" aria-roledescription="chart" aria-label="{1}" '
            'tabindex="0"><script type="application/json">{2}</script>{3}<ul class="legend"></ul>'
            '<p class="readout" aria-live="polite"></p><div class="panels" aria-hidden="true"></div>'
            '<p class="without-script">The chart needs JavaScript. The table has its values.</p></div>'
        ).format(self.name, self.sentence, json_text(self._data()), self._player())

    def _player(self) -> Markup:
        if not self.frames:
            return Markup("")
        return Markup(
            '<div class="player"><button type="button">Play</button>'
            '<input type="range" min="0" max="{0}" value="{0}" aria-label="Time of issue"><output></output></div>'
        ).format(len(self.frames) - 1)

    def _data(self) -> dict[str, Any]:
        first, last = self.times[0], self.times[-1]
        return {
            "zone": self.clock.name,
            "offsets": self.clock.offsets(first, last),
            "x": [round(moment.timestamp()) for moment in self.times],
            "marks": [{"x": round(one.moment.timestamp()), "label": one.label} for one in self.marks],
            "frames": [
                {
                    "label": one.label,
                    "issued": round(one.issued_at.timestamp()),
                    "first": one.first,
                    "predicted": _numbers(one.predicted),
                    "low": _numbers(one.low),
                    "high": _numbers(one.high),
                }
                for one in self.frames
            ],
            "panels": [
                {
                    "title": panel.title,
                    "unit": panel.unit,
                    "digits": panel.digits,
                    "height": panel.height,
                    "intervals": [
                        {
                            "name": one.name,
                            "colour": one.colour,
                            "low": _numbers(one.low),
                            "high": _numbers(one.high),
                        }
                        for one in panel.intervals
                    ],
                    "traces": [
                        {
                            "name": one.name,
                            "colour": one.colour,
                            "dashed": one.is_dashed,
                            "values": _numbers(one.values),
                        }
                        for one in panel.traces
                    ],
                }
                for panel in self.panels
            ],
        }


def _numbers(values: pl.Series) -> list[float | None]:
    """Return values with six significant figures; None for missing ones."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.6g}") for v in values]


def json_text(data: Any) -> Markup:
    """Return data as JSON for the inside of an element of a script: no text in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_ESCAPES))
