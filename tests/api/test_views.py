"""Views over a real socket: their sentences and tables agree with the readings behind them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from urllib.parse import quote, urlencode

import pytest

from api.conftest import NOW, Api, body
from api.test_sign_in import by_key, cookie
from energy_forecast.web.content import View
from energy_forecast.web.views import VIEWS


@pytest.fixture(scope="module")
def session(api: Api) -> str:
    return cookie(by_key(api))


def page(api: Api, session: str, path: str, status: int = 200, **query: str) -> str:
    answer = api.get(f"{path}?{urlencode(query)}" if query else path, None, Cookie=session)
    assert answer.status == status, answer.data[:500]
    return unescape(answer.data.decode())


def test_now_shows_the_overview(api: Api, session: str) -> None:
    row = body(api.get("/v1/overview?shape=rows"))["rows"][0]
    text = page(api, session, "/")
    assert row["city"] == "Berlin"
    assert "Berlin" in text
    assert "Pune" not in text
    assert row["actual"] is not None


def test_forecast_links_to_the_data_that_it_shows(api: Api, session: str) -> None:
    text = page(api, session, "/forecast", city="Berlin")
    link = re.search(r'href="(/v1/cities/Berlin/forecast[^"]*format=csv)"', text)
    assert link is not None
    csv = api.get(link[1], None, Cookie=session).data.decode().splitlines()
    chart = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    predicted = next(one["values"] for one in chart["panels"][0]["traces"] if one["name"] == "forecast")
    assert len([value for value in predicted if value is not None]) == len(csv) - 1
    # A refresh asks for the same page
    assert 'hx-get="/forecast?city=Berlin"' in text


def test_page_of_the_past_says_so_and_knows_nothing_later(api: Api, session: str) -> None:
    then = NOW - timedelta(hours=30)
    text = page(api, session, "/forecast", city="Berlin", as_of=f"{then:%Y-%m-%dT%H:%MZ}", model="naive-168")
    assert "As of" in text
    assert "no live forecast" in text
    assert "hx-get" not in text


def test_evolution_has_every_issue_of_the_hour(api: Api, session: str) -> None:
    at = NOW - timedelta(hours=1)
    found = body(api.get(f"/v1/cities/Berlin/evolution?timestamp={at:%Y-%m-%dT%H:%MZ}&shape=rows"))["rows"]
    replays = [row for row in found if row["purpose"] == "replay"]
    text = page(api, session, "/evolution", city="Berlin", timestamp=f"{at:%Y-%m-%dT%H:%MZ}", purpose="replay")
    rows = text.count('<th scope="row"')
    assert rows == len(replays) > 0
    assert "The load was" in text


def test_replay_has_all_vintages_on_the_page(api: Api, session: str) -> None:
    text = page(api, session, "/replay", city="Berlin", purpose="replay", window="7")
    chart = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert len(chart["frames"]) == 2
    for frame in chart["frames"]:
        assert len(frame["predicted"]) == 48
        assert all(
            low <= mid <= high for low, mid, high in zip(frame["low"], frame["predicted"], frame["high"], strict=True)
        )
        assert "MAPE" in frame["label"]


def test_peaks_have_bounds_only_without_past_days(api: Api, session: str) -> None:
    """Two past forecasts do not tell how the errors of hours are related: nothing is guessed."""
    rows = body(api.get("/v1/cities/Berlin/peaks/risk?shape=rows"))["rows"]
    assert all(row["probability"] is None and 0 <= row["at_least"] <= row["at_most"] <= 1 for row in rows)
    text = page(api, session, "/peaks", city="Berlin")
    assert "only bounds of the probability are known" in text
    threshold = round(rows[0]["threshold_kwh"])
    one = page(api, session, "/peaks", city="Berlin", threshold=f"{threshold:,}")
    assert f"thresholds={threshold}" in one


@pytest.mark.parametrize("view", VIEWS, ids=[view.path for view in VIEWS])
@pytest.mark.parametrize(
    "query",
    [
        {"city": "Pune"},
        {"city": "<script>"},
        {"as_of": "yesterday"},
        {"as_of": "9999-01-01T00:00Z"},
        {"window": "-1", "city": "Berlin"},
        {"window": "1e9", "city": "Berlin"},
        {"model": "no-such-model", "city": "Berlin"},
        {"model": "\0", "city": "Berlin"},
        {"timestamp": "0001-01-01T00:00", "day": "x", "purpose": "x", "threshold": "-5", "city": "Berlin"},
    ],
    ids=["other-city", "hostile", "no-time", "future", "negative", "huge", "no-model", "nul", "others"],
)
def test_bad_parameters_are_a_page_and_no_fault(api: Api, session: str, view: View, query: dict[str, str]) -> None:
    """A page explains what is wrong; nothing of another city, and no text of the URL as markup."""
    answer = api.get(f"{view.path}?{urlencode(query, quote_via=quote)}", None, Cookie=session)
    assert answer.status in {200, 404, 422}, (answer.status, answer.data[:300])
    assert answer.headers["content-type"].startswith("text/html")
    text = answer.data.decode()
    assert "<script>" not in text.replace('<script type="application/json">', "")
    if query == {"city": "Pune"} and view.of_city:
        assert answer.status == 404
        assert "There is no city" in text


@pytest.mark.parametrize("view", [one for one in VIEWS if one.of_city], ids=lambda one: one.path)
def test_city_of_another_user_is_like_an_unknown_one(api: Api, session: str, view: View) -> None:
    """Names of cities cannot be found by trying them."""
    pages = [page(api, session, view.path, 404, city=city).replace(city, "CITY") for city in ("Pune", "Pxne")]
    assert pages[0] == pages[1]
