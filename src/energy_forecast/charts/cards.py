"""The parts of a page: a card has a sentence, charts, the table behind them and a link to the same data.

All texts are plain; the templates escape them. Only modules of this package make markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup

UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Field:
    """A column of a table.

    Args:
        title: its head.
        unit: shown below the title.
        is_text: whether it is aligned to the left.
    """

    title: str
    unit: str | None = None
    is_text: bool = False


@dataclass(frozen=True)
class Link:
    """A cell with a link to another view.

    Args:
        text: shown.
        url: a path of these pages.
    """

    text: str
    url: str


@dataclass(frozen=True)
class Best:
    """A cell that stands out, such as the smallest error.

    Args:
        text: shown.
    """

    text: str


Cell: TypeAlias = str | Link | Best


@dataclass(frozen=True)
class Grid:
    """A table. The first column has the heads of the rows.

    Args:
        name: for screen readers.
        fields: the columns.
        rows: cells as text, with separators and without units. A row of one cell is the head of the rows below it.
        is_shown: otherwise it is folded below the chart.
    """

    name: str
    fields: Sequence[Field]
    rows: Sequence[Sequence[Cell]]
    is_shown: bool = False


@dataclass(frozen=True)
class Fact:
    """A number of note above a chart.

    Args:
        title: its name.
        value: with unit.
        detail: a second line.
        level: `good`, `warning` or `bad`; None without a judgment.
    """

    title: str
    value: str
    detail: str = ""
    level: str | None = None


@dataclass(frozen=True)
class Tile:
    """A small chart among others of its kind.

    Args:
        link: its heading.
        figure: the chart.
        text: below it.
    """

    link: Link
    figure: Markup
    text: str


@dataclass(frozen=True)
class Card:
    """A part of a page.

    Args:
        title: its heading.
        sentence: states what the charts show, with numbers and units.
        figures: charts, such as of `Plot.markup`.
        table: the numbers of the charts.
        data: URL of the same data without its format. The page adds links to CSV and Arrow.
        notes: remarks below the charts.
        facts: numbers above the charts.
        tiles: small charts, next to each other.
        links: to other views, below.
    """

    title: str
    sentence: str
    figures: Sequence[Markup] = ()
    table: Grid | None = None
    data: str | None = None
    notes: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    tiles: Sequence[Tile] = ()
    links: Sequence[Link] = ()
