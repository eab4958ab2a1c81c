"""Page for the forecasts of some cities, and their scores: one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from energy_forecast.charts.forecast import CityPicture, Drawing, forecast_card
from energy_forecast.charts.pages import offline_page
from energy_forecast.charts.scores import score_card


def forecast_page(
    cities: Sequence[CityPicture], scores: pl.DataFrame | None, *, title: str, notes: Sequence[str] = ()
) -> str:
    """Return the page as HTML.

    Args:
        cities: at least one, each with a forecast of at least one row.
        scores: the frame for `score_card`; if it is empty, the page reports that nothing is scored yet. None for a
            page without scores.
        title, notes: plain text; one paragraph for each note.

    Raises:
        ValueError: no city, a forecast without rows, or a history coarser than its forecast.
    """
    if not cities:
        raise ValueError("a page requires at least one city")
    cards = [forecast_card(Drawing(city), name=f"forecast-{place}") for place, city in enumerate(cities)]
    return offline_page(title, [*cards, *([] if scores is None else [score_card(scores)])], notes=notes)
