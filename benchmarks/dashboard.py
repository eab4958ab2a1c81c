r"""Measure the pages in Debian's Chromium, each speed compared with a reference in the same run, alternating.

    .venv/bin/python benchmarks/dashboard.py [--times 20] [--points 100000] [--only chart,points,bytes]

A server of its own, `energy-forecast serve`, on a database of its own with a city, 40 days of load and live forecasts;
browser, server and PostgreSQL share the machine.

chart    from the start of the navigation to the first drawn chart of a city, with an empty cache and a full one,
         compared with the whole load of the page for signing in
points   drawing a line of many points in a file, from its data as text to the next frame, compared with uPlot alone
bytes    bytes over the wire of each view, with an empty cache
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import measuring
import numpy as np
import polars as pl
from measuring import percentile
from playwright.sync_api import Browser, BrowserContext, sync_playwright

import energy_forecast as ef
from api import Server, started
from energy_forecast import pipelines
from energy_forecast.charts.cards import Card
from energy_forecast.charts.clock import Clock
from energy_forecast.charts.pages import offline_page, write_page
from energy_forecast.charts.time_chart import Panel, TimeChart, Trace
from energy_forecast.database import Database
from energy_forecast.web.views import VIEWS

PARTS = ("chart", "points", "bytes")
CITY = "Berlin"
# When the first chart is drawn, and the frame after it begins
_WATCH = """new MutationObserver((_, observer) => {
  if (!document.querySelector(".time-chart.drawn canvas")) return;
  observer.disconnect();
  requestAnimationFrame(() => { window.drawnAt = performance.now(); });
}).observe(document, { childList: true, subtree: true, attributes: true });"""
_DRAW = """async () => {
  const [element] = document.querySelectorAll(".time-chart");
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame();
  const start = performance.now();
  const chart = energyForecast.draw(element);
  await frame();
  const took = performance.now() - start;
  const { x, panels: [panel] } = chart.data;
  const place = document.createElement("div");
  document.body.append(place);
  await frame();
  const again = performance.now();
  new uPlot({ width: 1000, height: 320, series: [{}, { stroke: "black" }], scales: { x: { time: false } } },
    [x, panel.traces[0].values], place);
  await frame();
  return [took, performance.now() - again];
}"""


def row(work: str, reference: str, goal: str, reached: float, unit: str, note: str = "") -> dict[str, object]:
    """Return one result."""
    return {
        "work": work,
        "reference": reference,
        "goal": goal,
        "reached": round(reached, 2 if reached < 10 else 0),
        "unit": unit,
        "note": note,
    }


def fill(url: str) -> None:
    """Store a city with 40 days of load, and forecasts of the last day and now."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    times = [now - timedelta(hours=hour) for hour in range(40 * 24, 0, -1)]
    rng = np.random.default_rng(0)
    load = [50_000 + 10_000 * np.sin(2 * np.pi * at.hour / 24) + 500 * float(rng.normal()) for at in times]
    with ef.connect(url) as platform:
        platform.import_cities(
            pl.DataFrame({"name": [CITY], "latitude": [52.5], "longitude": [13.4], "timezone": ["Europe/Berlin"]})
        )
        platform.ingest("consumption", pl.DataFrame({"city": CITY, "timestamp": times, "consumption_kwh": load}))
    for hours in (24, 0):
        at = now - timedelta(hours=hours) if hours else None
        pipelines.forecast(Database(url), at=at, model="naive-168")
    pipelines.score(Database(url))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def signed_in(browser: Browser, server: Server) -> BrowserContext:
    """Return a context of a signed-in user, with an empty cache."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    address = f"http://{server.host}:{server.port}"
    answer = context.request.post(
        f"{address}/sign-in", form={"key": server.key}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert answer.ok, answer.text()
    return context


def chart(browser: Browser, server: Server, times: int) -> list[dict[str, object]]:
    """Measure the first chart of a city."""
    address = f"http://{server.host}:{server.port}"
    found: dict[str, list[float]] = {"empty": [], "full": [], "reference": []}
    answers: dict[str, list[float]] = {"empty": [], "full": []}
    for _ in range(times):
        context = signed_in(browser, server)
        page = context.new_page()
        page.add_init_script(_WATCH)
        for cache in ("empty", "full"):
            page.goto(f"{address}/forecast?city={CITY}")
            page.wait_for_function("window.drawnAt")
            found[cache].append(page.evaluate("window.drawnAt"))
            answers[cache].append(page.evaluate("performance.getEntriesByType('navigation')[0].responseEnd"))
        page.goto(f"{address}/sign-in", wait_until="load")
        found["reference"].append(
            page.evaluate("performance.timing.loadEventStart - performance.timing.navigationStart")
        )
        context.close()
    reference = f"load of the page for signing in, {statistics.median(found['reference']):.0f} ms"
    return [
        row(
            f"first chart of a city, {cache} cache",
            reference,
            "200 ms",
            statistics.median(found[cache]),
            "ms",
            f"p95 {percentile(found[cache], 0.95):.0f} ms of {times}; page received after "
            f"{statistics.median(answers[cache]):.0f} ms",
        )
        for cache in ("empty", "full")
    ]


def points(browser: Browser, count: int, times: int, folder: Path) -> list[dict[str, object]]:
    """Measure the drawing of a long line."""
    first = datetime(2015, 1, 1, tzinfo=UTC)
    moments = pl.Series([first + timedelta(hours=hour) for hour in range(count)], dtype=pl.Datetime("us", "UTC"))
    values = pl.Series(np.random.default_rng(0).normal(50, 5, count))
    panel = Panel("MWh in the hour", "MWh", 1, [Trace("load", values, "measured")])
    figure = TimeChart("load", "A long line", Clock("Europe/Berlin"), moments, [panel]).markup()
    path = folder / "points.html"
    write_page(path, offline_page("Points", [Card("Points", "A long line", [figure])]))
    ours, reference = [], []
    for _ in range(times):
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(path.as_uri())
        took, alone = page.evaluate(_DRAW)
        ours.append(took)
        reference.append(alone)
        page.close()
    return [
        row(
            f"{count:,} points drawn",
            f"uPlot alone, {statistics.median(reference):.0f} ms",
            "100 ms",
            statistics.median(ours),
            "ms",
            f"p95 {percentile(ours, 0.95):.0f} ms of {times}",
        )
    ]


def wire(browser: Browser, server: Server) -> list[dict[str, object]]:
    """Measure the bytes of each view."""
    address, rows = f"http://{server.host}:{server.port}", []
    for view in VIEWS:
        context = signed_in(browser, server)
        page = context.new_page()
        page.goto(f"{address}{view.path}", wait_until="networkidle")
        document, rest = page.evaluate(
            """["navigation", "resource"].map((kind) =>
              performance.getEntriesByType(kind).reduce((sum, one) => sum + one.encodedBodySize, 0))"""
        )
        note = f"script and style {rest / 1000:.1f} kB"
        rows.append(row(f"bytes of {view.path}", "", "", (document + rest) / 1000, "kB", note))
        context.close()
    return rows


def main() -> None:
    """Run the benchmarks, print and store their results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    parts = options.only.split(",")
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="ef-") as name, chromium() as browser:
        folder = Path(name)
        folder.chmod(0o711)
        rows += points(browser, options.points, options.times, folder) if "points" in parts else []
        if {"chart", "bytes"} & set(parts):
            with measuring.server() as url, measuring.database(url) as target:
                fill(target)
                with started(target, folder / "home") as server:
                    rows += chart(browser, server, options.times) if "chart" in parts else []
                    rows += wire(browser, server) if "bytes" in parts else []
    print(f"{'work':48}{'reference':52}{'goal':>9}{'reached':>9}  note")
    for one in rows:
        print(
            f"{one['work']:48}{one['reference']:52}{one['goal']:>9}{one['reached']:>7} {one['unit']:2}  {one['note']}"
        )
    print(f"Stored: {measuring.record('dashboard', rows)}")


if __name__ == "__main__":
    main()
