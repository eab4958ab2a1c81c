"""A page as one HTML file: styles, scripts, data and Plotly inside, so that it opens without a network."""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from energy_forecast.extras import needs_extra


def page(script: str, *, title: str, notes: Sequence[str], body: str, data: str) -> str:
    """Return a page as HTML.

    Args:
        script: the script of this package that draws the data: charts.js or forecast.js.
        title, notes: plain text, shown at the top; one line for each note.
        body: HTML.
        data: JSON by `json_in_script`.

    Raises:
        MissingExtraError: the extra `plot` is not installed.
    """
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return Template(_part("page.html")).substitute(
        title=escape(title),
        notes=f'<ul class="notes">{lines}</ul>' if notes else "",
        body=body,
        data=data,
        style=_part("page.css"),
        script=_part(script),
        plotly=_plotly(),
    )


def write_page(path: Path, html: str) -> None:
    """Write a page atomically: a reader finds the old file or the new one, never a part. Its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(html, "utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def json_in_script(value: object) -> str:
    """Return JSON that cannot end its script block or begin a comment in it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plotly() -> str:
    with needs_extra("plot"):
        folder = importlib.resources.files("plotly")
    return folder.joinpath("package_data/plotly.min.js").read_text("utf-8")


def _part(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
