"""Figures of Plotly as plain data, which charts.js draws, and the sections of a page that hold them.

Colours are the names of page.css. Texts that hold a name which somebody typed go through `label` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from energy_forecast.web.page_file import json_in_script, write_page


@dataclass(frozen=True)
class Figure:
    """Plotly's traces and layout; `name` says what is seen, for those who do not. `css` is further classes."""

    name: str
    traces: Sequence[dict[str, Any]]
    layout: dict[str, Any]
    css: str = ""

    @property
    def html(self) -> str:
        """The place that charts.js draws it into."""
        return f'<figure aria-label="{escape(self.name)}"><div class="chart {self.css}"></div></figure>'


@dataclass(frozen=True)
class Section:
    """A card on the page: `lead` and `tail` are HTML before and after the figures."""

    title: str
    figures: Sequence[Figure]
    lead: str = ""
    tail: str = ""


def write_figures(path: Path, sections: Sequence[Section], *, title: str, notes: Sequence[str]) -> None:
    """Writes a page of figures, all at once; `title`, `notes` and the titles of sections are plain text."""
    body = "".join(
        f'<section class="card">{f"<h2>{escape(one.title)}</h2>" if one.title else ""}{one.lead}'
        f"{_beside(one.figures)}{one.tail}</section>"
        for one in sections
    )
    figures = [{"traces": f.traces, "layout": f.layout} for one in sections for f in one.figures]
    write_page(path, "charts.js", title=title, notes=notes, body=body, data=json_in_script(figures))


def _beside(figures: Sequence[Figure]) -> str:
    html = "".join(figure.html for figure in figures)
    return f'<div class="pair">{html}</div>' if len(figures) > 1 else html


def label(text: str) -> str:
    """A text for a chart: Plotly takes tags for mark-up."""
    return escape(text, quote=False)


def paragraph(text: str) -> str:
    """A small muted paragraph of plain text, as HTML."""
    return f'<p class="small muted">{escape(text)}</p>'


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, name: str) -> str:
    """A table as HTML: the first column is text, the others are numbers."""
    first, *others = head
    top = f'<th scope="col" class="text">{escape(first)}</th>' + "".join(
        f'<th scope="col">{escape(cell)}</th>' for cell in others
    )
    lines = "".join(
        f'<tr><td class="text">{escape(row[0])}</td>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(name)}"><table>'
        f"<thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, name: str, shown: bool = False) -> str:
    """As `html_table`, folded away until it is asked for, or `shown`."""
    return (
        f"<details{' open' if shown else ''}><summary>As a table</summary>{html_table(head, rows, name=name)}</details>"
    )
