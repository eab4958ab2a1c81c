"""The page of forecasts in a real browser: Debian's Chromium, headless, offline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from energy_forecast.charts.pictures import CityPicture, write_forecast_page
from pages import CHROMIUM, HOSTILE, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")

HOUR = timedelta(hours=1)
# London's clocks go back on 25 October 2026: the day has 25 hours.
ISSUED = datetime(2026, 10, 26, 9, tzinfo=UTC)

# Points at the middle of the forecast, then goes through what a reader can press, and leaves its findings in the page.
PROBE = """
  const wait = () => new Promise((done) => setTimeout(done, 300));
  const shown = () => [...document.querySelectorAll("section.city")].find((section) => !section.hidden);
  const lines = (section) => [...section.querySelectorAll(".scatterlayer .js-line")]
    .filter((line) => line.getAttribute("d") && parseFloat(line.style.strokeWidth) > 0).length;
  const bands = (section) => [...section.querySelectorAll(".scatterlayer .js-fill")]
    .filter((area) => area.getAttribute("d")).length;
  let section = shown();
  let chart = section.querySelector(".chart");
  found.names = chart.data.map((trace) => trace.name);
  found.lines = lines(section);
  found.bands = bands(section);
  found.ticks = chart.layout.xaxis.tickvals;
  found.labels = chart.layout.xaxis.ticktext;
  const drag = chart.querySelector(".nsewdrag").getBoundingClientRect();
  const axis = chart._fullLayout.xaxis;
  for (const kind of ["mouseover", "mousemove"]) {
    chart.querySelector(".nsewdrag").dispatchEvent(new MouseEvent(kind, { bubbles: true,
      clientX: drag.left + axis.d2p(chart.data[found.names.indexOf("forecast")].x[20]), clientY: drag.top + 50 }));
  }
  await wait();
  found.clock = section.querySelector(".clock").textContent;
  found.readings = [...section.querySelectorAll(".legend b")].map((b) => b.textContent);
  section.querySelector(".view input[value='3']").click();
  await wait();
  const after = chart._fullLayout.xaxis;
  found.days = (after.r2l(after.range[1]) - after.r2l(after.range[0])) / 864e5;
  document.querySelectorAll(".cities input")[1].click();
  await wait();
  section = shown();
  found.second = { title: section.querySelector("h2").textContent, lines: lines(section),
    axes: section.querySelectorAll(".ytitle, .y2title").length, absent: section.querySelector(".absent") !== null };
"""


def picture(name: str, zone: str, *, weather: bool) -> CityPicture:
    times = [ISSUED + HOUR * k for k in range(-240, 48)]
    stamps = pl.Series("timestamp", times, dtype=pl.Datetime("us", "UTC"))
    load = [3e6 + 1e6 * (t.hour % 12) / 12 for t in times]
    frame = pl.DataFrame([stamps, pl.Series("consumption_kwh", load)])
    quantiles = [(pl.col("consumption_kwh") * (0.9 + level / 500)).alias(f"q{level:02d}") for level in range(5, 100, 5)]
    predicted = frame.select("timestamp", *quantiles, predicted="consumption_kwh")
    return CityPicture(
        name=name,
        timezone=zone,
        history=frame.head(240),
        forecast=predicted.tail(48),
        issued_at=ISSUED,
        model="naive-168",
        weather=frame.head(240).select("timestamp", temperature=pl.col("consumption_kwh") / 1e6) if weather else None,
        past=predicted.slice(216, 24),
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the findings of the probe in the page."""
    folder = tmp_path_factory.mktemp("page")
    path = folder / "forecast.html"
    cities = [picture("London", "Europe/London", weather=True), picture(HOSTILE, "Asia/Kolkata", weather=False)]
    write_forecast_page(path, cities, None, title=HOSTILE, notes=[])
    return opened(path, PROBE)


def test_a_name_is_shown_and_not_run(found: dict[str, Any]) -> None:
    assert found["second"]["title"] == HOSTILE


def test_every_part_is_drawn(found: dict[str, Any]) -> None:
    assert {"measured", "forecast", "earlier forecasts", "temperature"} <= set(found["names"])
    assert [name for name in found["names"] if name.endswith("%")] == ["90 %", "90 %", "80 %", "80 %", "50 %", "50 %"]
    # Four lines and four bands: three of the forecast, one of the earlier ones.
    assert (found["lines"], found["bands"]) == (4, 4)


def test_pointing_reads_the_values_on_the_citys_clock(found: dict[str, Any]) -> None:
    # 20 hours after 09:00 UTC, in winter time.
    assert found["clock"] == "Tue 27 Oct, 05:00, Europe/London"
    measured, forecast, fifty = found["readings"][:3]
    # 05:00: 3 + 5 / 12 GWh; 50 % from 0.95 to 1.05 of it.
    assert (measured, forecast) == ("", "3.42 GWh")
    assert fifty == "3.25\N{EN DASH}3.59 GWh"


def test_ticks_stand_at_local_midnight_through_a_clock_change(found: dict[str, Any]) -> None:
    steps = dict(
        zip(found["labels"][1:], (b - a for a, b in zip(found["ticks"], found["ticks"][1:], strict=False)), strict=True)
    )
    assert steps["Sun 25"] == 24 * 3600e3
    assert steps["Mon 26"] == 25 * 3600e3


def test_the_history_can_be_shortened(found: dict[str, Any]) -> None:
    assert found["days"] == pytest.approx(5)


def test_a_city_without_weather_has_one_axis_and_says_why(found: dict[str, Any]) -> None:
    assert found["second"]["absent"]
    assert found["second"]["axes"] == 1
    assert found["second"]["lines"] == 3
