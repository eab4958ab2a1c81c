"""The picture of an answer in a real browser: Debian's Chromium, headless, offline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from energy_forecast.charts.answers import AnswerKind, write_answer_page
from energy_forecast.zones import zone as rules_of
from pages import CHROMIUM, HOSTILE, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")

PROBE = """
const bars = [...document.querySelectorAll(".chart .bars .point path")];
Object.assign(found, {
  heights: bars.map((bar) => bar.getBBox().height), widths: bars.map((bar) => bar.getBBox().width),
  colours: bars.map((bar) => bar.style.fill), title: document.querySelector("h1").textContent,
  ticks: [...document.querySelectorAll(".xtick text")].map((tick) => tick.textContent),
  rows: [...document.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)) });
"""


def drawn(folder: Path, kind: AnswerKind, rows: list[dict[str, Any]], city: str) -> dict[str, Any]:
    """Return the texts of the page after the browser has drawn it."""
    path = folder / "answer.html"
    write_answer_page(path, kind, rows, city=city, timezone="Europe/Berlin")
    return opened(path, PROBE)


def test_hours_are_drawn_in_their_order_and_a_part_is_pale(tmp_path: Path) -> None:
    """Through the hour that the clock has twice; the name of the city is not run."""
    first = datetime(2026, 10, 24, 23, tzinfo=UTC)
    rows = [
        {
            "local_hour": (first + timedelta(hours=n))
            .astimezone(rules_of("Europe/Berlin"))
            .strftime("%Y-%m-%d %H:%M %z"),
            "total_consumption": None if n == 2 else Decimal(1000 * (n + 1)),
            "minutes_known": {1: 30, 2: 0}.get(n, 60),
        }
        for n in range(4)
    ]
    found = drawn(tmp_path, "hours", rows, HOSTILE)
    assert found["title"] == f"Recent consumption of {HOSTILE}"
    heights = [height for height in found["heights"] if height]
    assert [height / heights[0] for height in heights] == pytest.approx([1, 2, 4], rel=0.02)
    assert len(set(found["colours"][:2])) == 2
    assert found["ticks"] == ["10-25 01:00", "10-25 02:00", "10-25 02:00", "10-25 03:00"]
    assert found["rows"][1:3] == [
        ["2026-10-25 02:00 +0200", "2.00", "30 of 60 min"],
        ["2026-10-25 02:00 +0100", "\N{EN DASH}", "0 of 60 min"],
    ]


def test_bins_of_temperature_stand_where_they_are_on_the_scale(tmp_path: Path) -> None:
    """A bin without an hour is a gap, not a neighbour."""
    rows = [
        {
            "temperature": Decimal(t),
            "temperature_end": Decimal(t + 2),
            "avg_consumption": Decimal(100),
            "sample_count": n,
        }
        for t, n in ((-2, 12), (0, 12), (6, 3))
    ]
    found = drawn(tmp_path, "temperatures", rows, "Berlin")
    assert found["widths"] == pytest.approx([found["widths"][0]] * 3, rel=0.02)
    assert found["ticks"] == ["-2", "0", "6"]
    assert found["colours"][0] == found["colours"][1] != found["colours"][2]
    assert found["rows"][2] == ["6 to 8 °C", "100", "3 hours"]


def test_many_bins_of_temperature_have_a_scale_of_round_degrees(tmp_path: Path) -> None:
    """Every third bin from the coldest on would say -14, -11, -8."""
    rows = [
        {
            "temperature": Decimal(t),
            "temperature_end": Decimal(t + 1),
            "avg_consumption": Decimal(100),
            "sample_count": 12,
        }
        for t in range(-14, 20)
    ]
    ticks = [
        int(tick.replace("\N{MINUS SIGN}", "-")) for tick in drawn(tmp_path, "temperatures", rows, "Berlin")["ticks"]
    ]
    assert len(ticks) > 3
    assert all(tick % 5 == 0 for tick in ticks)


def test_an_answer_without_a_row_says_so(tmp_path: Path) -> None:
    found = drawn(tmp_path, "days", [], "Berlin")
    assert found["rows"] == found["heights"] == []
    assert "No data is available" in (tmp_path / "answer.html").read_text()
