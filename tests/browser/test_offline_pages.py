"""Files of `--plot` in Chromium: no network, both colour schemes, phone width, print, and no script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import Page

from browser.conftest import Viewer, assert_accessible, assert_fits
from energy_forecast.charts.errors import errors_page
from energy_forecast.charts.forecast_page import forecast_page
from energy_forecast.forecasting.evaluation.breakdown import WEEKDAYS
from energy_forecast.pipelines import ErrorReport
from offline_pages import HOSTILE, HOUR, ISSUED, PAGES, all_pages, fan, picture

ACTIVE = HOSTILE.replace("alert(1)", "window.broken = 1")
Opener = Callable[..., Page]


@pytest.fixture
def show(viewer: Viewer, tmp_path: Path) -> Opener:
    """Return a function that opens a page from a file. The browser asks for nothing else."""

    def opened(html: str, *, width: int = 1400, dark: bool = False, zone: str = "UTC", scripts: bool = True) -> Page:
        path = tmp_path / "page.html"
        path.write_text(html, "utf-8")
        context = viewer.context(
            "",
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            timezone_id=zone,
            java_script_enabled=scripts,
        )
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_load_state("load")
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
        return page

    return opened


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)], ids=["desk-light", "phone-dark"])
def test_page_opens_without_a_network(kind: str, width: int, dark: bool, show: Opener) -> None:
    """The name of the city is shown and not run; the fixture fails on any complaint of the browser."""
    page = show(all_pages(ACTIVE)[kind], width=width, dark=dark)
    assert page.evaluate("window.broken") is None
    assert ACTIVE in page.inner_text("body")
    assert page.locator("svg.plot, .time-chart.drawn canvas").count() > 0
    assert_fits(page)
    assert_accessible(page)


@pytest.mark.parametrize("kind", PAGES)
def test_page_can_be_read_without_script_and_printed(kind: str, show: Opener) -> None:
    page = show(all_pages("Bath")[kind], scripts=False)
    for one in page.locator("summary").all():
        one.click()
    assert page.locator("tbody tr").last.is_visible()
    if kind == "forecast":
        assert page.get_by_text("The chart needs JavaScript. The table has its values.").is_visible()
    page.emulate_media(media="print")
    assert page.locator("h1").is_visible()
    assert page.locator("tbody tr").last.is_visible()
    assert not page.locator("summary").first.is_visible()


INK = """() => [...document.querySelectorAll(".cell-text")].map((text, place) => [text.textContent,
  getComputedStyle(text).fill, getComputedStyle(document.querySelectorAll(".cell")[place]).fill])"""


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.2) of a colour such as rgb(1, 2, 3)."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_digits_of_every_cell_can_be_read(dark: bool, show: Opener) -> None:
    """4.5 to 1 between digits and cell (WCAG 2.2, AA), from no error to the largest, and of an unknown one."""
    errors: list[float | None] = [10 * place / 167 for place in range(24 * 7)]
    errors[-2:] = [60.0, None]
    cells = pl.DataFrame(
        {
            "city": ["Bath"] * len(errors),
            "weekday": [day for day in WEEKDAYS[:7] for _ in range(24)],
            "local_hour": list(range(24)) * 7,
            "mape": errors,
            "mae_kwh": [1.0] * len(errors),
            "bias_kwh": [1.0] * len(errors),
            "coverage_90": [0.9] * len(errors),
            "pair_count": [10] * len(errors),
        }
    )
    page = show(errors_page(ErrorReport("ensemble", "backtest", cells, {}, [])), dark=dark)
    found = page.evaluate(INK)
    assert len(found) == len(errors)
    assert [text for text, *_ in found].count("60.0") == 1
    assert len({fill for *_, fill in found}) == 8
    for text, ink, fill in found:
        low, high = sorted((luminance(ink), luminance(fill)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ink, fill)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_arrow_keys_read_the_values_on_the_clock_of_the_city(zone: str, show: Opener) -> None:
    """In any zone of the browser. The first value is that of 10 days before the issue."""
    page = show(forecast_page([picture(forecast=fan(48))], None, title="Forecasts"), zone=zone)
    page.focus(".time-chart")
    page.keyboard.press("End")
    # 47 hours after 12:00 UTC, in Melbourne
    readout = page.inner_text(".readout")
    assert readout.startswith("Wed 6 May, 21:00 (Australia/Melbourne, UTC+10): ")
    assert "forecast 5.00 GWh" in readout
    assert "90 % interval 4.50\N{EN DASH}5.50 GWh" in readout
    page.keyboard.press("Home")
    readout = page.inner_text(".readout")
    assert readout.startswith("Fri 24 Apr, 22:00 (Australia/Melbourne, UTC+10): ")
    assert "observed 4.00 GWh" in readout
    assert "temperature 15.5 °C" in readout
    assert "forecast" not in readout


def test_each_city_has_its_own_chart(show: Opener) -> None:
    """Of several cities, each is drawn: that without weather has one panel."""
    past = fan(24, ISSUED - 24 * HOUR)
    cities = [picture(past=past), picture(name=HOSTILE, timezone="Asia/Kolkata", weather=None)]
    page = show(forecast_page(cities, None, title="Forecasts"))
    panels: list[Any] = [chart.locator("canvas").count() for chart in page.locator(".time-chart").all()]
    assert panels == [2, 1]
    assert page.locator("h2").all_inner_texts() == ["Victoria", HOSTILE]
    legends = [one.inner_text() for one in page.locator(".legend").all()]
    assert "earlier forecast" in legends[0]
    assert "earlier forecast" not in legends[1]
