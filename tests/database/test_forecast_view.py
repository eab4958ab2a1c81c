"""The view of a forecast, as a user reads it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import energy_forecast as ef
from api.conftest import FIRST, NOW, two_users
from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.web.state import state_of
from energy_forecast.web.views.forecast import forecast
from synthetic import frames, write_cities


def test_city_without_weather_is_drawn(database: Database, tmp_path: Path) -> None:
    """Weather is optional, so the page must not need it."""
    with ef.connect(database.url) as platform:
        platform.import_cities(write_cities(tmp_path / "cities.csv"))
        platform.ingest("consumption", frames(FIRST, NOW)[0])
    pipelines.forecast(database, cities=["Berlin"], horizon=timedelta(hours=24), model="naive-168")
    with (
        two_users(database) as (anna, _),
        database.request(lambda _: anna, name="test", seconds=30) as connection,
    ):
        content = forecast(connection, state_of(connection, {}))
    (card,) = content.cards
    assert card.figures
