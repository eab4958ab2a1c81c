"""The views of a city whose local hours begin half an hour past those of UTC."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

import energy_forecast as ef
from api.conftest import FIRST, NOW
from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.readings.usual_load import usual_load
from energy_forecast.web.content import Content
from energy_forecast.web.state import state_of
from energy_forecast.web.views import VIEWS
from energy_forecast.web.views.evolution import _hour_of
from issued_runs import issue_noisy
from servers import Server
from synthetic import frames, write_cities

HALF = timedelta(minutes=30)
# The start of the last hour with load, and a time at which it is known
LAST = NOW - timedelta(hours=1) - HALF
ISSUED = NOW - timedelta(hours=24)


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with server.copy_of(template) as database:
        moved = [
            frame.filter(city="Pune").with_columns(pl.col("timestamp").str.to_datetime(time_zone="UTC") - HALF)
            for frame in frames(FIRST, NOW)
        ]
        with ef.connect(database.url) as platform:
            platform.import_cities(write_cities(tmp_path_factory.mktemp("half") / "cities.csv"))
            platform.ingest("consumption", moved[0])
            platform.ingest("weather", moved[1])
            # Its hours begin at full hours of UTC, and it has no weather
            platform.add_city("Bare", latitude=10.0, longitude=10.0, timezone="America/Lima")
            bare = moved[0].with_columns(pl.col("timestamp") + HALF, pl.lit("Bare").alias("city"))
            platform.ingest("consumption", bare.with_columns(pl.col("consumption_kwh") * 0))
        pipelines.forecast(database, at=ISSUED, horizon=timedelta(hours=48), model="naive-168")
        pipelines.forecast(database, horizon=timedelta(hours=48), model="naive-168")
        with database.reading() as connection:
            ((model,),) = connection.execute("SELECT id FROM models WHERE name = 'naive-168'").fetchall()
            ((city,),) = connection.execute("SELECT id FROM cities WHERE name = 'Bare'").fetchall()
        issue_noisy(database, city, model, moved[0], [NOW - timedelta(minutes=7)], purpose="backtest")
        yield database


def built(database: Database, path: str, **query: str) -> Content:
    view = next(one for one in VIEWS if one.path == path)
    with database.reading() as connection:
        return view.build(connection, state_of(connection, {"city": "Pune"} | query))


def chart_of(content: Content) -> dict[str, Any]:
    """Return the data of the first chart that the script draws."""
    figure = str(content.cards[0].figures[0])
    found = re.search(r'<script type="application/json">(.*?)</script>', figure, re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("minutes", [0, 17, 59])
def test_evolution_of_any_minute_is_that_of_its_hour(filled: Database, minutes: int) -> None:
    """A time in the hour is no other hour: the title, the lead time and the load are those of the hour."""
    at = LAST + timedelta(minutes=minutes)
    content = built(filled, "/evolution", timestamp=f"{at:%Y-%m-%dT%H:%MZ}", purpose="replay")
    local = LAST.astimezone(UTC) + timedelta(hours=5, minutes=30)
    assert f"{local:%H:%M} IST" in content.title
    assert local.minute == 0
    assert "The load was" in content.sentence
    assert f"{(LAST - ISSUED) / timedelta(hours=1):.0f} h ahead" in content.sentence


def test_evolution_begins_with_an_hour_that_has_passed(filled: Database) -> None:
    content = built(filled, "/evolution", purpose="replay")
    assert re.search(r", \d\d:00 IST", content.title)


def test_usual_load_has_the_hours_of_the_load(filled: Database) -> None:
    with filled.reading() as connection:
        found = usual_load(connection, "Pune").frame
    assert found["timestamp"].dt.minute().unique().to_list() == [30]
    assert found["usual_load"].is_not_null().any()


@pytest.mark.parametrize("path", ["/forecast", "/replay"])
def test_lines_of_a_chart_are_not_cut_at_each_hour(filled: Database, path: str) -> None:
    """A missing value cuts a line, so an axis with the hours of UTC too would draw nothing."""
    chart = chart_of(built(filled, path, purpose="replay"))
    steps = {after - before for before, after in zip(chart["x"], chart["x"][1:], strict=False)}
    assert steps == {3600}
    lines = [one for panel in chart["panels"] for one in panel["traces"]]
    assert lines
    for one in lines:
        known = [place for place, value in enumerate(one["values"]) if value is not None]
        assert not known or len(known) == known[-1] - known[0] + 1, one["name"]
    if path == "/forecast":
        names = {one["name"] for one in lines if any(value is not None for value in one["values"])}
        assert {"observed", "forecast", "temperature"} <= names


def test_hours_of_other_places_are_still_full_hours() -> None:
    moment = datetime(2026, 10, 25, 1, 59, 59, tzinfo=UTC)
    assert _hour_of(moment, 0) == datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert _hour_of(moment, 45) == datetime(2026, 10, 25, 1, 45, tzinfo=UTC)


@pytest.mark.parametrize("path", [view.path for view in VIEWS])
def test_city_without_weather_and_with_a_load_of_zero_has_all_views(filled: Database, path: str) -> None:
    content = built(filled, path, city="Bare", purpose="replay")
    texts = [content.sentence, *(card.sentence for card in content.cards)]
    assert all(texts)
    assert not re.search(r"\bnan\b|\binf\b", " ".join(texts))


def test_replay_leaves_out_forecasts_of_other_intervals(filled: Database) -> None:
    """Hours that begin seven minutes past those of the load have no place on its axis."""
    content = built(filled, "/replay", city="Bare", purpose="backtest")
    assert "No backtest forecast" in content.sentence
    assert not content.cards
