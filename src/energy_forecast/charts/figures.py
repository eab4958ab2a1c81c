"""Plotly figures as plain data for charts.js, and the sections of a page that contain them.

Colours are the names of page.css. Texts with names from users must go through `label` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from energy_forecast.charts.page_file import json_in_script, page, write_page


@dataclass(frozen=True)
class Figure:
    """Plotly's traces and layout. `name` describes the chart for screen readers; `css` has additional classes."""

    name: str
    traces: Sequence[dict[str, Any]]
    layout: dict[str, Any]
    css: str = ""

    @property
    def html(self) -> str:
        """Return the HTML element for charts.js."""
        return f'<figure aria-label="{escape(self.name)}"><div class="chart {self.css}"></div></figure>'


@dataclass(frozen=True)
class Section:
    """A card on the page: `lead` and `tail` are HTML before and after the figures."""

    title: str
    figures: Sequence[Figure]
    lead: str = ""
    tail: str = ""


def write_figures(path: Path, sections: Sequence[Section], *, title: str, notes: Sequence[str]) -> None:
    """Write a page of figures, all at once; `title`, `notes` and the titles of sections are plain text."""
    body = "".join(
        f'<section class="card">{f"<h2>{escape(one.title)}</h2>" if one.title else ""}{one.lead}'
        f"{_pair(one.figures)}{one.tail}</section>"
        for one in sections
    )
    figures = [{"traces": f.traces, "layout": f.layout} for one in sections for f in one.figures]
    write_page(path, page("charts.js", title=title, notes=notes, body=body, data=json_in_script(figures)))


def _pair(figures: Sequence[Figure]) -> str:
    html = "".join(figure.html for figure in figures)
    return f'<div class="pair">{html}</div>' if len(figures) > 1 else html


def label(text: str) -> str:
    """Escape a text for a chart, because Plotly interprets tags."""
    return escape(text, quote=False)


def line(name: str, x: Sequence[Any], y: Sequence[Any], colour: str, **style: Any) -> dict[str, Any]:
    """Return the trace of a line; `style` has width, dash and other options of Plotly."""
    own = {"color": colour, "width": style.pop("width", 2), "dash": style.pop("dash", "solid")}
    return {"type": "scatter", "mode": "lines", "name": label(name), "x": x, "y": y, "line": own} | style


def bar(name: str, x: Sequence[Any], y: Sequence[Any], colour: str, hover: str) -> dict[str, Any]:
    """Return the trace of bars of one colour."""
    return {"type": "bar", "name": label(name), "x": x, "y": y, "marker": {"color": colour}, "hovertemplate": hover}


def paragraph(text: str) -> str:
    """Return a small muted paragraph of plain text, as HTML."""
    return f'<p class="small muted">{escape(text)}</p>'


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, name: str) -> str:
    """Return a table as HTML: the first column is text, the others are numbers."""
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
    """Return a table as `html_table` does, inside a collapsed element; open if `shown`."""
    return (
        f"<details{' open' if shown else ''}><summary>As a table</summary>{html_table(head, rows, name=name)}</details>"
    )
