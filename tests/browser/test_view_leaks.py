"""What other cities' data do to the pages of a reader: nothing."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

import energy_forecast as ef
from api.conftest import FIRST, NOW, fill, started, two_users
from browser.conftest import Viewer, session_of
from energy_forecast import pipelines
from energy_forecast.web.views import VIEWS
from servers import Server
from synthetic import frames

# Ages, times of day and lines at the present move by themselves
_AGE = re.compile(r"\b(?:\d+ (?:h|min|s)\b ?)+|\d\d:\d\d")


def test_numbers_of_other_cities_change_nothing(
    server: Server, template: str, viewer: Viewer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bert's city gets corrections, other forecasts and scores: his pages show them, Anna's stay as they were."""
    folder = tmp_path_factory.mktemp("leaks")
    with server.copy_of(template) as database:
        fill(database, folder)
        with two_users(database) as (anna, bert), started(database, folder, anna, bert) as site:
            pages = {user: viewer.context(site.address, session_of(site, user)).new_page() for user in ("anna", "bert")}

            def shown(user: str) -> dict[str, Any]:
                found = {}
                for view in VIEWS:
                    pages[user].goto(view.path)
                    text = pages[user].locator("main").inner_text()
                    data = pages[user].locator("main script[type='application/json']").all_text_contents()
                    charts = [json.loads(one) for one in data]
                    found[view.path] = (_AGE.sub("", text), [(one["x"], one.get("panels")) for one in charts])
                return found

            before = {user: shown(user) for user in pages}
            consumption, weather = frames(FIRST, NOW, ("Pune",))
            with ef.connect(database.url) as platform:
                platform.ingest("consumption", consumption.with_columns(pl.col("consumption_kwh") * 3))
                platform.ingest("weather", weather.with_columns(pl.col("temperature") + 9))
            for hours in (6, 0):
                at = datetime.now(UTC) - timedelta(hours=hours) if hours else None
                pipelines.forecast(database, at=at, cities=["Pune"], model="naive-24")
            pipelines.score(database)
            after = {user: shown(user) for user in pages}
    for view in VIEWS:
        assert after["anna"][view.path] == before["anna"][view.path], view.path
    # The changes are visible to those who may see them
    assert all(after["bert"][path] != before["bert"][path] for path in ("/", "/forecast"))
