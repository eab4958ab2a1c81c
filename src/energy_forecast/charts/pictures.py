"""Page for forecasts: one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import polars as pl

from energy_forecast.charts.city_section import city_section
from energy_forecast.charts.drawing import CityPicture, Drawing
from energy_forecast.charts.page_file import json_in_script, page, write_page
from energy_forecast.charts.score_table import score_table

__all__ = ["CityPicture", "forecast_page", "write_forecast_page"]


def forecast_page(
    cities: Sequence[CityPicture], scores: pl.DataFrame | None, *, title: str, notes: Sequence[str]
) -> str:
    """Return the page as HTML.

    Args:
        cities: at least one, each with a forecast of at least one row.
        scores: the frame for `score_table`; if it is empty, the page reports that nothing is scored yet. None for a
            page without scores.
        title, notes: plain text, shown at the top; one paragraph for each note.

    Raises:
        ValueError: no city, a forecast without rows, or a history coarser than its forecast.
    """
    if not cities:
        raise ValueError("a page requires at least one city")
    drawings = [Drawing(city) for city in cities]
    sections = [city_section(drawing, index) for index, drawing in enumerate(drawings)]
    if scores is not None:
        table = score_table(scores) if scores.height else "<p>No forecast has been scored yet.</p>"
        sections.append(
            '<section class="card" aria-labelledby="scores-title"><h2 id="scores-title">Scores</h2>\n'
            f"{table}\n</section>"
        )
    return page(
        "forecast.js",
        title=title,
        notes=notes,
        body="\n".join([_chooser(cities), *sections]),
        data=json_in_script([drawing.data() for drawing in drawings]),
    )


def write_forecast_page(
    path: Path, cities: Sequence[CityPicture], scores: pl.DataFrame | None, *, title: str, notes: Sequence[str]
) -> None:
    """Write the page of `forecast_page` atomically: a reader finds the old file or the new one, never a part."""
    write_page(path, forecast_page(cities, scores, title=title, notes=notes))


def _chooser(cities: Sequence[CityPicture]) -> str:
    if len(cities) == 1:
        return ""
    options = "".join(
        f'<label><input type="radio" name="city" value="{i}"{" checked" if i == 0 else ""}>'
        f"<span>{escape(city.name)}</span></label>"
        for i, city in enumerate(cities)
    )
    return f'<fieldset class="choice cities"><legend>City</legend>{options}</fieldset>'
