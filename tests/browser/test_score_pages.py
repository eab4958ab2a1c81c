"""The pictures of errors and of calibration, in a real browser, offline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_forecast.charts.score_pictures import write_certificate_page, write_errors_page
from energy_forecast.forecasting import QUANTILE_LEVELS, City
from energy_forecast.forecasting.evaluation.breakdown import WEEKDAYS, errors_by_weekday
from energy_forecast.forecasting.evaluation.coverage import coverage_certificate, reliability
from energy_forecast.pipelines import CoverageReport, ErrorReport
from pages import CHROMIUM, HOSTILE, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")

CITY = City(HOSTILE, 52.52, 13.405, "Europe/Berlin", "DE", "BE")
ISSUED = datetime(2025, 5, 9, 22, tzinfo=UTC)
PROBE = """
const box = (mark) => mark.getBBox();
Object.assign(found, {
  names: [...document.querySelectorAll(".chart")].map((chart) => chart.data.map((trace) => trace.name)),
  cells: [...document.querySelectorAll(".heatmaplayer .heatmap-label")].map((cell) => cell.textContent),
  bars: [...document.querySelectorAll(".barlayer .point path")].map((bar) => box(bar).height),
  lines: [...document.querySelectorAll(".chart")].map((chart) => chart.querySelectorAll(".js-line").length),
  titles: [...document.querySelectorAll("h1, h2")].map((title) => title.textContent),
  rows: [...document.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)) });
"""


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    """Four weeks of forecasts that are 2 % high, on Saturdays 6 %; actuals are uniform between the quantiles."""
    times = [ISSUED + timedelta(hours=h) for h in range(24 * 28)]
    frame = pl.DataFrame([pl.Series("timestamp", times, pl.Datetime("us", "UTC"))])
    saturday = pl.col("timestamp").dt.convert_time_zone(CITY.timezone).dt.weekday() == 6
    share = pl.Series("share", (np.arange(len(times)) * 0.6180339887 % 1))
    return frame.with_columns(
        share,
        issued_at=pl.col("timestamp").dt.truncate("1d"),
        city=pl.lit(HOSTILE),
        predicted=pl.when(saturday).then(1060.0).otherwise(1020.0),
    ).with_columns(
        actual=pl.lit(1000.0),
        **{f"q{round(100 * level):02}": 1000 + (level - pl.col("share")) * 100 for level in QUANTILE_LEVELS},
    )


def test_errors_stand_at_their_weekday_and_hour(pairs: pl.DataFrame, tmp_path: Path) -> None:
    rows = errors_by_weekday(pairs, CITY).select(pl.lit(HOSTILE).alias("city"), pl.all())
    path = tmp_path / "errors.html"
    write_errors_page(path, ErrorReport("ensemble", "backtest", rows, {}, ["Nowhere"]))
    found = opened(path, PROBE)
    assert found["titles"] == ["Errors of ensemble by weekday and hour", HOSTILE]
    # Monday to Sunday and Ascension Day, which was a Thursday; Saturday is the sixth row
    assert len(found["cells"]) == 8 * 24
    assert sorted(set(found["cells"])) == ["2.0", "6.0"]
    assert found["cells"].count("6.0") == 24
    saturday = [row[6] for row in found["rows"]]
    assert set(saturday) == {"6.00"}
    assert {row[1] for row in found["rows"]} == {"2.00"}


CELLS = """
const heat = document.querySelector(".chart").data[0];
const canvas = document.createElement("canvas").getContext("2d");
const rgb = (colour) => { canvas.fillStyle = colour; const hex = canvas.fillStyle;
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)); };
found.dark = matchMedia("(prefers-color-scheme: dark)").matches;
found.scale = heat.colorscale.map(([share, colour]) => [share, rgb(colour)]);
found.z = heat.z.map((line) => line.map((value) => value / heat.zmax));
found.texts = [...document.querySelectorAll(".heatmap-label text, text.heatmap-label")]
  .map((cell) => [cell.textContent, rgb(getComputedStyle(cell).fill)]);
"""


def luminance(colour: list[int]) -> float:
    """Relative luminance (WCAG 2.2) of red, green and blue from 0 to 255."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_digits_of_every_cell_can_be_read(tmp_path: Path, dark: bool) -> None:
    """4.5 to 1 between digits and cell (WCAG 2.2, AA), from no error to the worst, and beyond the end of the scale."""
    errors = np.linspace(0, 10, 24 * 7)
    errors[-1] = 60.0
    cells = pl.DataFrame(
        {
            "city": ["Bath"] * len(errors),
            "weekday": np.repeat(WEEKDAYS[:7], 24),
            "local_hour": list(range(24)) * 7,
            "mape": errors,
            "mae_kwh": errors,
            "bias_kwh": errors,
            "coverage_90": [0.9] * len(errors),
            "pair_count": [10] * len(errors),
        }
    )
    path = tmp_path / "errors.html"
    write_errors_page(path, ErrorReport("ensemble", "backtest", cells, {}, []))
    found = opened(path, CELLS, dark=dark)
    assert found["dark"] == dark
    assert len(found["texts"]) == len(errors)
    assert [text for text, _ in found["texts"]].count("60.0") == 1
    shares = np.array(found["z"])
    assert shares.max() <= 1, "Plotly goes on into colours of its own"
    for share, (text, ink) in zip(shares.ravel(), found["texts"], strict=True):
        cell = next(colour for end, colour in found["scale"][1::2] if share <= end + 1e-9)
        low, high = sorted((luminance(cell), luminance(ink)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, share, cell, ink)


def test_calibration_shows_each_level_and_the_histogram_between_them(pairs: pl.DataFrame, tmp_path: Path) -> None:
    counted = coverage_certificate(pairs)
    path = tmp_path / "certificate.html"
    write_certificate_page(path, CoverageReport("ensemble", "backtest", counted, reliability(pairs), []))
    found = opened(path, PROBE)
    assert found["names"][0] == ["ideal", "observed"]
    # Actuals are uniform between the quantiles, so all twenty bars are as high
    assert len(found["bars"]) == 20
    assert found["bars"] == pytest.approx([np.mean(found["bars"])] * 20, rel=0.1)
    assert [row[-1] for row in found["rows"]] == counted["verdict"].to_list()
