"""Pages from templates: live ones, and files that open without a network."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from energy_forecast.charts.cards import Best, Card, Link

STATIC = ("style.css", "uplot.css", "uplot.js", "htmx.js", "charts.js")


@cache
def environment() -> Environment:
    """Return the templates, with all texts escaped."""
    found = Environment(
        loader=PackageLoader("energy_forecast.charts"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.globals |= {"static": static_url, "in_format": in_format}
    found.tests |= {
        "link": lambda cell: isinstance(cell, Link),
        "best": lambda cell: isinstance(cell, Best),
    }
    return found


def render(template: str, **context: Any) -> str:
    """Return a page from a template."""
    return environment().get_template(template).render(**context)


@cache
def static_file(name: str) -> bytes:
    """Return a script or a style."""
    return files("energy_forecast.charts").joinpath("static", name).read_bytes()


@cache
def static_url(name: str) -> str:
    """Return the path of a script or a style, which differs if its content differs."""
    return f"/static/{name}?v={hashlib.sha256(static_file(name)).hexdigest()[:12]}"


def in_format(data: str, form: str) -> str:
    """Return the URL of data in a format: csv, arrow or json."""
    return f"{data}{'&' if '?' in data else '?'}{urlencode({'format': form})}"


def offline_page(title: str, cards: Sequence[Card], *, notes: Sequence[str] = ()) -> str:
    """Return a page with its style, its script and its data, which opens without a network.

    Its policy lets the browser run no other script and load nothing.

    Args:
        title: plain text.
        cards: from top to bottom.
        notes: plain text, below the charts.
    """
    has_chart = any('class="time-chart"' in figure for card in cards for figure in card.figures)
    scripts = [_inline(name) for name in (("uplot.js", "charts.js") if has_chart else ())]
    styles = [_inline(name) for name in (("style.css", "uplot.css") if has_chart else ("style.css",))]
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_digest, scripts)) or chr(39) + 'none' + chr(39)}; "
        f"style-src {' '.join(map(_digest, styles))}; img-src data:"
    )
    return render(
        "offline.html", title=title, cards=cards, notes=notes, scripts=scripts, styles=styles, policy=Markup(policy)
    )


def _inline(name: str) -> Markup:
    return Markup(static_file(name).decode())


def _digest(text: str) -> str:
    """Return the source of a policy that allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def write_page(path: Path, html: str) -> None:
    """Write a page atomically: a reader finds the old file or the new one, never a part. Its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(html, "utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
