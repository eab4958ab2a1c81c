"""Charts as SVG, written here, so that they need no script.

Text keeps its size and the marks take the width of the page: marks are drawn in a stretched inner picture, texts and
points at percentages of its width. Colours are variables of style.css.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TypeAlias

from markupsafe import Markup, escape

from energy_forecast.charts.clock import Clock

Number: TypeAlias = float | None
_WIDTH = 1000
_LEFT, _TOP, _BOTTOM = 60, 26, 40


@dataclass(frozen=True)
class Axis:
    """An axis.

    Args:
        low, high: its ends.
        title: with the unit.
        ticks: positions; None: round numbers.
        labels: of the ticks; None: the numbers. A line break puts the rest below.
    """

    low: float
    high: float
    title: str = ""
    ticks: Sequence[float] | None = None
    labels: Sequence[str] | None = None

    def share(self, value: float) -> float:
        """Return a position between 0 and 1."""
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def marked(self, most: int) -> list[tuple[float, str]]:
        """Return the ticks inside the axis, with their labels."""
        ticks = round_ticks(self.low, self.high, most) if self.ticks is None else self.ticks
        labels = number_labels(ticks) if self.labels is None else self.labels
        slack = (self.high - self.low) * 1e-9
        return [(t, x) for t, x in zip(ticks, labels, strict=True) if self.low - slack <= t <= self.high + slack]


@dataclass(frozen=True)
class Line:
    """A line; a missing value cuts it."""

    name: str
    x: Sequence[float]
    y: Sequence[Number]
    colour: str
    dashed: bool = False
    width: float = 2


@dataclass(frozen=True)
class Band:
    """The area between two lines; a missing value cuts it."""

    name: str
    x: Sequence[float]
    low: Sequence[Number]
    high: Sequence[Number]
    colour: str


@dataclass(frozen=True)
class Bars:
    """Rectangles from `y0` to `y1`.

    colours: one for all, or one for each.
    labels: shown at the pointer.
    """

    name: str
    x0: Sequence[float]
    x1: Sequence[float]
    y0: Sequence[Number]
    y1: Sequence[Number]
    colours: str | Sequence[str]
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Points:
    """Points.

    labels: shown at the pointer.
    """

    name: str
    x: Sequence[float]
    y: Sequence[Number]
    colour: str
    labels: Sequence[str] = ()
    radius: float = 4


@dataclass(frozen=True)
class Rule:
    """A straight line across the chart at one value of an axis."""

    value: float
    label: str = ""
    is_vertical: bool = True
    colour: str = "muted"


@dataclass(frozen=True)
class Cells:
    """Rectangles with a text inside, such as those of a heat map.

    texts: inside; empty ones are left out.
    labels: shown at the pointer.
    """

    name: str
    x0: Sequence[float]
    x1: Sequence[float]
    y0: Sequence[float]
    y1: Sequence[float]
    colours: Sequence[str]
    texts: Sequence[str] = ()
    labels: Sequence[str] = ()
    urls: Sequence[str] = ()


Mark: TypeAlias = Line | Band | Bars | Points | Rule | Cells


@dataclass(frozen=True)
class Plot:
    """A chart.

    Args:
        sentence: what it shows, for screen readers.
        marks: from the back to the front.
        x, y: the axes.
        height: of the area with the marks, pixels.
        is_downward: whether the y axis begins at the top.
        has_legend: whether the names of the marks are listed above; by default if there are several.
    """

    sentence: str
    marks: Sequence[Mark]
    x: Axis
    y: Axis
    height: int = 240
    is_downward: bool = False
    has_legend: bool | None = None
    left: int = _LEFT
    _parts: list[Markup] = field(default_factory=list, init=False, repr=False, compare=False)

    def markup(self) -> Markup:
        """Return the chart as HTML."""
        stretched = Markup("").join(self._stretched(mark) for mark in self.marks)
        above = Markup("").join(self._above(mark) for mark in self.marks)
        body = Markup(
            '<svg x="{left}" y="{top}" width="100%" height="{height}" overflow="visible">{grid}'
            '<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" width="100%" height="{height}">'
            "{marks}</svg>{above}</svg>"
        ).format(
            left=self.left,
            top=_TOP,
            height=self.height,
            width=_WIDTH,
            grid=self._grid(),
            marks=stretched,
            above=above,
        )
        title = Markup('<text x="0" y="13" class="axis-title">{}</text>').format(self.y.title)
        x_title = Markup(
            '<svg x="{}" width="100%" overflow="visible"><text x="50%" y="{}" class="{}">{}</text></svg>'
        ).format(self.left, _TOP + self.height + _BOTTOM + 10, "axis-title middle", self.x.title)
        total = _TOP + self.height + _BOTTOM + (18 if self.x.title else 0)
        # The outer picture is as wide as the marks, which is 100 % inside it; the labels are to the left of them
        # An image may have no links
        role = "group" if any(isinstance(mark, Cells) and mark.urls for mark in self.marks) else "img"
        return self._legend() + Markup(
            '<svg class="plot plot-{}" role="{}" aria-label="{}" height="{}">{}{}{}</svg>'
        ).format(self.left, role, self.sentence, total, title, body, x_title if self.x.title else "")

    def _grid(self) -> Markup:
        parts = []
        for value, label in self.y.marked(max(4, self.height // 48)):
            y = self._y(value)
            parts.append(Markup('<line x1="0" x2="100%" y1="{0}" y2="{0}" class="grid"/>').format(y))
            parts.append(Markup('<text x="-8" y="{}" class="tick end">{}</text>').format(round(y + 4, 1), label))
        marked = self.x.marked(8)
        # The second line of a time is the day, which only its first hour has
        has_days = not all("\n" in label for _, label in marked)
        for number, (value, label) in enumerate(marked):
            x = f"{100 * self.x.share(value):.2f}%"
            first, _, second = label.partition("\n")
            parts.append(
                Markup('<line x1="{0}" x2="{0}" y1="{1}" y2="{2}" class="tick-line"/>').format(
                    x, self.height, self.height + 5
                )
            )
            css = "tick middle alternate" if number % 2 and not (second and has_days) else "tick middle"
            text = Markup('<text x="{}" y="{}" class="{}">{}</text>')
            parts.append(text.format(x, self.height + 19, css, first))
            if second:
                parts.append(text.format(x, self.height + 34, css, second))
        return Markup("").join(parts)

    def _stretched(self, mark: Mark) -> Markup:
        """Return the parts of a mark that take the width of the page."""
        if isinstance(mark, Line):
            path = " ".join(_path(part) for part in self._runs(mark.x, mark.y))
            css = "line dashed" if mark.dashed else "line"
            return Markup('<path d="{}" class="{} stroke-{}" stroke-width="{}"/>').format(
                path, css, mark.colour, mark.width
            )
        if isinstance(mark, Band):
            lows, highs = self._runs(mark.x, mark.low, mark.high), self._runs(mark.x, mark.high, mark.low)
            path = " ".join(f"{_path(high)} L{_path(low[::-1])[1:]}Z" for low, high in zip(lows, highs, strict=True))
            return Markup('<path d="{}" class="fill-{}"/>').format(path, mark.colour)
        if isinstance(mark, Bars):
            return Markup("").join(self._bar(mark, place) for place in range(len(mark.x0)))
        if isinstance(mark, Cells):
            return Markup("").join(self._cell(mark, place) for place in range(len(mark.x0)))
        return Markup("")

    def _above(self, mark: Mark) -> Markup:
        """Return the parts of a mark that keep their size."""
        if isinstance(mark, Rule):
            return self._rule(mark)
        if isinstance(mark, Points):
            circle = Markup('<circle cx="{:.2f}%" cy="{}" r="{}" class="fill-{}">{}</circle>')
            return Markup("").join(
                circle.format(100 * self.x.share(x), self._y(y), mark.radius, mark.colour, _hint(mark.labels, place))
                for place, (x, y) in enumerate(zip(mark.x, mark.y, strict=True))
                if y is not None and _is_known(y)
            )
        if isinstance(mark, Cells) and mark.texts:
            text = Markup('<text x="{:.2f}%" y="{}" class="cell-text {}on-{}">{}</text>')
            widest = max(self.x.share(end) - self.x.share(start) for start, end in zip(mark.x0, mark.x1, strict=True))
            # On a phone, the texts of narrow cells would overlap
            density = "dense " if widest < 1 / 12 else ""
            return Markup("").join(
                text.format(
                    50 * (self.x.share(mark.x0[place]) + self.x.share(mark.x1[place])),
                    round((self._y(mark.y0[place]) + self._y(mark.y1[place])) / 2 + 4, 1),
                    density,
                    mark.colours[place],
                    shown,
                )
                for place, shown in enumerate(mark.texts)
                if shown
            )
        return Markup("")

    def _bar(self, mark: Bars, place: int) -> Markup:
        low, high = mark.y0[place], mark.y1[place]
        if low is None or high is None or not (_is_known(low) and _is_known(high)):
            return Markup("")
        colour = mark.colours if isinstance(mark.colours, str) else mark.colours[place]
        return self._rectangle((mark.x0[place], mark.x1[place], low, high), colour, _hint(mark.labels, place))

    def _cell(self, mark: Cells, place: int) -> Markup:
        corners = mark.x0[place], mark.x1[place], mark.y0[place], mark.y1[place]
        drawn = self._rectangle(corners, mark.colours[place], _hint(mark.labels, place), css="cell ")
        if not mark.urls:
            return drawn
        return Markup('<a href="{}" tabindex="-1" aria-hidden="true">{}</a>').format(mark.urls[place], drawn)

    def _rectangle(
        self, corners: tuple[float, float, float, float], colour: str, hint: Markup, css: str = ""
    ) -> Markup:
        x0, x1 = (_WIDTH * self.x.share(x) for x in corners[:2])
        y0, y1 = sorted((self._y(corners[2]), self._y(corners[3])))
        return Markup('<rect x="{:.2f}" y="{}" width="{:.2f}" height="{}" class="{}fill-{}">{}</rect>').format(
            x0, y0, max(x1 - x0, 0), round(y1 - y0, 2), css, colour, hint
        )

    def _rule(self, mark: Rule) -> Markup:
        if mark.is_vertical:
            x = f"{100 * self.x.share(mark.value):.2f}%"
            css = "rule-label end" if self.x.share(mark.value) > 0.8 else "rule-label"
            return Markup(
                '<line x1="{0}" x2="{0}" y1="0" y2="{1}" class="rule stroke-{2}"/>'
                '<text x="{0}" y="-4" class="{3}">{4}</text>'
            ).format(x, self.height, mark.colour, css, mark.label)
        y = self._y(mark.value)
        return Markup(
            '<line x1="0" x2="100%" y1="{0}" y2="{0}" class="rule stroke-{1}"/>'
            '<text x="100%" y="{2}" class="rule-label end">{3}</text>'
        ).format(y, mark.colour, round(y - 4, 1), mark.label)

    def _legend(self) -> Markup:
        named = [mark for mark in self.marks if not isinstance(mark, Rule) and mark.name]
        if not (len(named) > 1 if self.has_legend is None else self.has_legend):
            return Markup("")
        items = [Markup("<li>{} {}</li>").format(_key(mark), mark.name) for mark in named]
        return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))

    def _y(self, value: float) -> float:
        share = self.y.share(value)
        return round(self.height * (share if self.is_downward else 1 - share), 2)

    def _runs(
        self, x: Sequence[float], y: Sequence[Number], other: Sequence[Number] | None = None
    ) -> list[list[tuple[float, float]]]:
        """Return the points of a line in parts without missing values; also where the other line has none missing."""
        runs: list[list[tuple[float, float]]] = [[]]
        for place, (at, value) in enumerate(zip(x, y, strict=True)):
            if value is None or not _is_known(value) or (other is not None and not _is_known(other[place])):
                runs.append([])
            else:
                runs[-1].append((round(_WIDTH * self.x.share(at), 2), self._y(value)))
        return [run for run in runs if run]


def wide(plot: Plot) -> Markup:
    """Return a chart that scrolls on a narrow page, so that the numbers in its cells stay apart."""
    return Markup('<div class="wide" tabindex="0" role="group" aria-label="{}">{}</div>').format(
        f"{plot.sentence} It scrolls sideways.", plot.markup()
    )


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers between two ends: multiples of 1, 2 or 5 of a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def number_labels(values: Sequence[float]) -> list[str]:
    """Return numbers with the decimals that their distance needs, and thousands separators."""
    steps = [abs(b - a) for a, b in pairwise(values) if b != a]
    digits = max(0, -math.floor(math.log10(min(steps)) + 1e-9)) if steps else 0
    return [f"{value + 0.0:,.{digits}f}".replace("-", "\N{MINUS SIGN}") for value in values]


def time_axis(clock: Clock, first: datetime, last: datetime, most: int = 8) -> Axis:
    """Return an axis of local times; its positions are seconds since 1970."""
    ticks, labels = clock.ticks(first, last, most)
    return Axis(first.timestamp(), last.timestamp(), f"Local time, {clock.name}", ticks, labels)


def value_axis(title: str, *values: Sequence[Number], zero: bool = False) -> Axis:
    """Return an axis with room for all values.

    Args:
        title: with the unit.
        values: of the marks.
        zero: whether it includes zero.
    """
    known = [value for part in values for value in part if value is not None and _is_known(value)]
    low, high = min([*known, *([0.0] if zero else [])], default=0.0), max([*known, *([0.0] if zero else [])], default=1)
    room = (high - low or abs(high) or 1.0) * 0.06
    return Axis(0.0 if zero and low == 0 else low - room, 0.0 if zero and high == 0 else high + room, title)


def _is_known(value: Number) -> bool:
    return value is not None and math.isfinite(value)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points)


def _hint(labels: Sequence[str], place: int) -> Markup:
    return Markup("<title>{}</title>").format(labels[place]) if labels else Markup("")


def _key(mark: Line | Band | Bars | Points | Cells) -> Markup:
    """Return the sign of a mark in the legend."""
    if isinstance(mark, Line):
        css = "line dashed" if mark.dashed else "line"
        sign = f'<path d="M0,6L22,6" class="{css} stroke-{escape(mark.colour)}" stroke-width="2.5"/>'
    elif isinstance(mark, Points):
        sign = f'<circle cx="11" cy="6" r="4" class="fill-{escape(mark.colour)}"/>'
    else:
        colour = (
            mark.colour
            if isinstance(mark, Band)
            else (mark.colours if isinstance(mark.colours, str) else mark.colours[0])
        )
        sign = f'<rect width="22" height="12" rx="2" class="fill-{escape(colour)}"/>'
    return Markup(f'<svg class="key" width="22" height="12" aria-hidden="true">{sign}</svg>')
