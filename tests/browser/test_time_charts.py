"""Charts over time in a real browser: zones, keyboard, colours, and refreshes that leave nothing behind."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import Page

from browser.conftest import HOSTILE, Opener, Viewer, assert_accessible
from energy_forecast.charts.cards import Card
from energy_forecast.charts.clock import Clock
from energy_forecast.charts.pages import offline_page, write_page
from energy_forecast.charts.time_chart import Interval, Panel, TimeChart, TimeMark, Trace

HOUR = timedelta(hours=1)
BROWSERS = ("America/New_York", "Europe/Berlin", "Pacific/Auckland")
# The last one changes by half an hour
CITIES = (*BROWSERS, "Australia/Lord_Howe")
TICKS = """() => [...energyForecast.drawn.values()].map(({ plots }) => {
  const axis = plots[plots.length - 1].axes[0];
  return axis._splits.map((at, i) => [at, axis._values[i]]);
})"""


def changes(zone: str) -> list[datetime]:
    """Return when the clocks of a zone change in 2026."""
    clock = Clock(zone)
    first = datetime(2026, 1, 2, tzinfo=UTC)
    hours = [first + HOUR * n for n in range(360 * 24)]
    return [at for at in hours if clock.local(at).utcoffset() != clock.local(at - HOUR).utcoffset()]


def chart_of(zone: str, first: datetime, hours: int, *, name: str = "load") -> TimeChart:
    """Return a chart whose value is the number of the hour, with a gap."""
    times = pl.Series([first + HOUR * n for n in range(hours)], dtype=pl.Datetime("us", "UTC"))
    values = pl.Series([None if n == 5 else float(n) for n in range(hours)], dtype=pl.Float64)
    panel = Panel(
        "MWh in the hour",
        "MWh",
        1,
        [Trace("measured", values, "measured")],
        [Interval("90 % interval", values - 1, values + 1, "band90")],
    )
    mark = TimeMark(first + HOUR * 10, "now")
    return TimeChart(name, "Numbers of hours", Clock(zone), times, [panel], [mark])


def opened(viewer: Viewer, folder: Path, charts: list[TimeChart], zone: str = "UTC", width: int = 1400) -> Page:
    """Open a page with charts as a file, in a browser of a zone."""
    path = folder / "chart.html"
    cards = [Card(HOSTILE, one.sentence, [one.markup()]) for one in charts]
    write_page(path, offline_page(HOSTILE, cards))
    page = viewer.context("", timezone_id=zone, viewport={"width": width, "height": 900}).new_page()
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("zone", BROWSERS)
@pytest.mark.parametrize("width", [1400, 400])
def test_ticks_are_local_hours_of_city_in_every_browser(viewer: Viewer, tmp_path: Path, zone: str, width: int) -> None:
    """On days of 23, 23.5, 24.5 and 25 hours too, in the browser's own change hour, and over weeks."""
    cases = [(city, change, days) for city in CITIES for change in changes(city) for days in (2, 21)]
    charts = [
        chart_of(city, change - timedelta(days=days / 2), days * 24, name=f"load-{number}")
        for number, (city, change, days) in enumerate(cases)
    ]
    page = opened(viewer, tmp_path, charts, zone, width)
    for (city, change, days), ticks in zip(cases, page.evaluate(TICKS), strict=True):
        clock = Clock(city)
        assert len(ticks) >= 3
        for at, label in ticks:
            local = clock.local(datetime.fromtimestamp(at, UTC))
            texts = label.split("\n")
            if ":" in texts[0]:
                assert texts[0] == f"{local:%H:%M}"
                assert texts[1:] in ([], [f"{local:%a} {local.day}"])
            else:
                assert texts[0] in {f"{local:%a} {local.day}", f"{local.day} {local:%b}"}
                assert f"{local:%H:%M}" == "00:00"
        if days == 2:
            # The day of the change has its true length
            begins = [at for at, label in ticks if "\n" in label]
            before, after = (clock.local(change + n * timedelta(days=1)).utcoffset() or HOUR for n in (-1, 1))
            gaps = {timedelta(seconds=b - a) for a, b in pairwise(begins)}
            assert gaps <= {timedelta(days=1), timedelta(days=1) + before - after}


def test_arrow_keys_move_cursor_and_announce_values(viewer: Viewer, tmp_path: Path) -> None:
    """Through the hour that Berlin has twice; a missing value is left out."""
    first = datetime(2026, 10, 24, 22, tzinfo=UTC)
    page = opened(viewer, tmp_path, [chart_of("Europe/Berlin", first, 30)])
    assert_accessible(page)
    said = page.locator(".readout")
    assert said.get_attribute("aria-live") == "polite"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className").startswith("time-chart")
    heard = []
    for key in ("Home", *["ArrowRight"] * 5):
        page.keyboard.press(key)
        heard.append(said.inner_text())
    assert [re.search(r"\d\d:\d\d", one)[0] for one in heard] == [  # type: ignore[index]
        "00:00",
        "01:00",
        "02:00",
        "02:00",
        "03:00",
        "04:00",
    ]
    # A reader must be able to tell the two apart
    assert len(set(heard)) == 6
    assert heard[1].endswith("measured 1.0 MWh, 90 % interval 0.0\N{EN DASH}2.0 MWh")
    assert "MWh" not in heard[5]
    cursor = "() => [...energyForecast.drawn.values()][0].plots[0].cursor.idx"
    assert page.evaluate(cursor) == 5
    page.keyboard.press("End")
    assert page.evaluate(cursor) == 29
    page.keyboard.press("PageUp")
    assert page.evaluate(cursor) == 5
    page.keyboard.press("Escape")
    assert "MWh" not in said.inner_text()


def test_charts_are_redrawn_in_dark_colours(viewer: Viewer, tmp_path: Path) -> None:
    """A canvas does not follow the style of the page by itself."""
    page = opened(viewer, tmp_path, [chart_of("Europe/Berlin", datetime(2026, 5, 1, tzinfo=UTC), 48)])
    count = """() => { const canvas = document.querySelector("canvas");
      const context = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
      context.drawImage(canvas, 0, 0);
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height), found = {};
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) {
        const key = [data[i], data[i + 1], data[i + 2]].join(); found[key] = (found[key] || 0) + 1; }
      return found; }"""
    light = page.evaluate(count)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(200)
    dark = page.evaluate(count)
    assert light.get("217,231,249", 0) > 500
    assert dark.get("27,51,82", 0) > 500
    assert not dark.get("217,231,249")


def test_refresh_keeps_open_table_and_zoom(look: Opener) -> None:
    page = look("/forecast?city=Berlin")
    page.locator("summary").first.click()
    page.evaluate(
        "() => { const [chart] = energyForecast.drawn.values(), x = chart.data.x;"
        " chart.plots[0].setScale('x', { min: x[4], max: x[20] }); }"
    )
    page.evaluate("document.activeElement.blur()")
    scale = "() => { const { min, max } = [...energyForecast.drawn.values()][0].plots[0].scales.x; return [min, max]; }"
    before = page.evaluate(scale)
    _refresh(page, 1)
    assert page.locator("details").first.get_attribute("open") is not None
    assert page.evaluate(scale) == before
    assert page.locator(".time-chart.drawn").count() == page.locator(".time-chart").count()


def _refresh(page: Page, times: int) -> None:
    """Let the page read itself again, as it does each minute."""
    page.evaluate(
        """async (times) => {
          for (let i = 0; i < times; i++) {
            const main = document.querySelector("#main");
            await htmx.ajax("GET", location.pathname + location.search,
              { source: main, target: "#main", select: "#main", swap: "outerHTML" });
            if (document.querySelector("#main") === main) throw new Error("not refreshed: " + i);
          }
        }""",
        times,
    )


def _size(page: Page) -> dict[str, Any]:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    found: dict[str, float] = {}
    # The last pages that were replaced may need more than one collection
    for _ in range(5):
        session.send("HeapProfiler.collectGarbage")
        page.wait_for_timeout(100)
        sizes = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        found = {name: min(value, found.get(name, value)) for name, value in sizes.items()}
    session.detach()
    return {
        "charts": page.evaluate("energyForecast.drawn.size"),
        "timers": page.evaluate("timers.size"),
        **{name: found[name] for name in ("Nodes", "JSEventListeners", "JSHeapUsedSize")},
    }


@pytest.mark.parametrize("path", ["/", "/forecast?city=Berlin"])
def test_page_does_not_grow(look: Opener, path: str) -> None:
    """A page that is open for hours reads itself hundreds of times."""
    page = look(path)
    page.context.add_init_script(
        """const timers = new Set(), { setInterval: start, clearInterval: stop } = window;
        window.setInterval = (...given) => { const id = start(...given); timers.add(id); return id; };
        window.clearInterval = (id) => { timers.delete(id); stop(id); };
        window.timers = timers;"""
    )
    page.reload()
    page.wait_for_load_state("networkidle")
    _refresh(page, 20)
    before = _size(page)
    _refresh(page, 200)
    after = _size(page)
    assert after["charts"] == before["charts"]
    assert after["timers"] <= before["timers"]
    assert after["Nodes"] <= before["Nodes"] + 50
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 5
    assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] + 500_000
