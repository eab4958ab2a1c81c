"""Files of `--plot` and `.plot()`: their content, and that nothing in it can break the page."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from energy_forecast.charts.answers import answer_page
from energy_forecast.charts.certificate_page import certificate_page
from energy_forecast.charts.comparison import comparison_page
from energy_forecast.charts.errors import errors_page, heat_colours
from energy_forecast.charts.forecast import CityPicture
from energy_forecast.charts.forecast_page import forecast_page
from energy_forecast.charts.pages import write_page
from energy_forecast.charts.units import energy_unit
from energy_forecast.forecasting import QUANTILE_LEVELS
from energy_forecast.pipelines import ErrorReport
from energy_forecast.pipelines.score import worth_showing
from energy_forecast.zones import zone as rules_of
from offline_pages import (
    HOSTILE,
    HOUR,
    ISSUED,
    PAGES,
    all_pages,
    comparison,
    coverage_report,
    errors_report,
    fan,
    hours,
    picture,
    scores,
    series,
)

DASH = "\N{EN DASH}"
LARGEST = 300_000
"""Bytes of a page with 10 days of one city."""


class Page(HTMLParser):
    """The content of a page as an HTML parser reads it: text, scripts, tags, and the rows of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.styles: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._tag = tag
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))
        elif tag == "style":
            self.styles.append("")
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "script", "style"}:
            self._tag = ""

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data
        elif self.cdata_elem == "style":
            self.styles[-1] += data
        else:
            self.text += data
            if self._tag in {"td", "th", "strong", "small", "a"} and self.rows:
                self.rows[-1][-1] += data

    def charts(self) -> list[dict[str, Any]]:
        """Return the data of the charts that the script draws."""
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]


def page_of(cities: Sequence[CityPicture], table: pl.DataFrame | None = None, **words: Any) -> Page:
    return Page(forecast_page(cities, table, **({"title": "Forecasts"} | words)))


# The file


@pytest.mark.parametrize("kind", PAGES)
def test_page_of_ten_days_is_small(kind: str) -> None:
    """Pages are sent by mail and kept for years."""
    assert len(all_pages("Victoria")[kind].encode()) <= LARGEST


@pytest.mark.parametrize("kind", PAGES)
def test_policy_allows_only_own_script_and_style(kind: str) -> None:
    """The browser checks each script and each style against the hashes, and loads nothing."""
    page = Page(all_pages(HOSTILE)[kind])
    [policy] = [value for tag, name, value in page.attributes if tag == "meta" and name == "content" and "src" in value]  # type: ignore[operator]
    rules = {rule.split()[0]: rule.split()[1:] for rule in str(policy).split("; ")}
    assert rules["default-src"] == ["'none'"]
    assert rules["img-src"] == ["data:"]

    def digests(texts: Sequence[str]) -> list[str]:
        return [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]

    assert rules["style-src"] == digests(page.styles)
    assert rules["script-src"] == (digests([text for kind, text in page.scripts if kind is None]) or ["'none'"])
    loading = [
        (tag, name, value) for tag, name, value in page.attributes if name in {"src", "href", "srcset", "action"}
    ]
    assert [one for one in loading if not str(one[2]).startswith(("data:", "#"))] == []
    assert not {name for _, name, _ in page.attributes if name.startswith("on") or name == "style"}
    assert not {"img", "iframe", "object", "form"} & set(page.tags)


@pytest.mark.parametrize("kind", PAGES)
def test_names_are_shown_as_text(kind: str) -> None:
    """A city's name is what somebody typed."""
    hostile, plain = Page(all_pages(HOSTILE)[kind]), Page(all_pages("Victoria")[kind])
    assert len(plain.tags) > 30
    assert hostile.tags == plain.tags
    assert HOSTILE in hostile.text


@pytest.mark.parametrize("kind", PAGES)
def test_numbers_can_be_read_without_script(kind: str) -> None:
    """The tables have the values of the charts, and each drawn chart has a name for screen readers."""
    page = Page(all_pages("Victoria")[kind])
    assert len(page.rows) > 1
    names = [value for tag, name, value in page.attributes if name == "aria-label"]
    assert all(names)
    plots = [value for tag, name, value in page.attributes if tag == "svg" and name == "role"]
    assert plots or page.charts()


def test_file_is_replaced_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "forecast.html"
    write_page(path, "first")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_page(path, "second")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["forecast.html"]


def test_page_requires_a_city_with_a_forecast() -> None:
    with pytest.raises(ValueError, match="at least one city"):
        page_of([])
    with pytest.raises(ValueError, match="no forecast"):
        page_of([picture(forecast=fan(0))])


def test_page_shows_each_city_with_its_facts() -> None:
    page = page_of([picture(), picture(name="Bath", weather=None, notes=["Replayed."])], pl.DataFrame())
    assert page.text.count("No temperature is available.") == 1
    assert "No forecast has been scored yet." in page.text
    assert "Replayed." in page.text
    # 12:00 UTC is 22:00 in Melbourne in May
    assert "Mon 4 May, 22:00 AEST" in page.text
    assert "5.00 GWh" in page.text
    assert "90 % interval 4.50 to 5.50 GWh" in page.text
    assert len({chart for tag, name, chart in page.attributes if tag == "div" and name == "id"}) == 2


# The chart of a forecast


def values(page: Page, name: str, place: int = 0) -> list[float | None]:
    """Return the values of a line."""
    for panel in page.charts()[place]["panels"]:
        for trace in panel["traces"]:
            if trace["name"] == name:
                found: list[float | None] = trace["values"]
                return found
    raise LookupError(name)


def known(page: Page, name: str) -> list[tuple[int, float]]:
    """Return the times and values of a line without its gaps."""
    times = page.charts()[0]["x"]
    return [(at, value) for at, value in zip(times, values(page, name), strict=True) if value is not None]


def test_history_is_cut_to_ten_days_and_scaled_to_the_unit() -> None:
    page = page_of([picture()])
    [chart] = page.charts()
    load = chart["panels"][0]
    assert load["title"] == "Load, GWh per hour"
    observed = known(page, "observed")
    assert len(observed) == 240
    assert {value for _, value in observed} == {4.0}
    assert chart["x"][0] == (ISSUED - timedelta(days=10)).timestamp()
    assert [one["name"] for one in load["intervals"]] == ["90 % interval", "80 % interval", "50 % interval"]
    wide, _, narrow = load["intervals"]
    assert (wide["low"][-1], wide["high"][-1]) == (4.5, 5.5)
    # q25 = 0.9 + 0.2 * 20 / 90 of 5 GWh
    assert narrow["low"][-1] == pytest.approx(4.72222)


def test_load_of_weeks_ago_is_shown_with_the_gap_and_the_issue() -> None:
    """The last load is 21 days old: ten days before it are drawn, and the mark of the issue is in the chart."""
    last = ISSUED - timedelta(days=21)
    old = series("consumption_kwh", [4e6] * 24 * 30, start=last - timedelta(days=30))
    warm = series("temperature", [12.0] * 24 * 30, start=last - timedelta(days=30))
    page = page_of([picture(history=old, weather=warm)])
    [chart] = page.charts()
    assert len(known(page, "observed")) == 240
    assert chart["x"][0] == (last - timedelta(days=10)).timestamp()
    assert chart["x"][0] < chart["marks"][0]["x"] == ISSUED.timestamp() < chart["x"][-1]
    assert None in values(page, "observed")
    assert len(chart["panels"]) == 2


def test_unknown_load_after_the_last_value_is_no_load() -> None:
    last = ISSUED - timedelta(days=21)
    old = series("consumption_kwh", [4e6] * 24 * 30, start=last - timedelta(days=30))
    empty = series("consumption_kwh", [math.nan] * 24 * 21, start=last)
    assert page_of([picture(history=pl.concat([old, empty]))]).charts() == page_of([picture(history=old)]).charts()


def test_issue_before_all_values_is_inside_the_chart() -> None:
    """Issued at 12:23, the first hour begins at 13:00; nothing was observed."""
    issued = ISSUED + timedelta(minutes=23)
    page = page_of(
        [
            picture(
                history=series("consumption_kwh", [], start=ISSUED),
                weather=None,
                forecast=fan(48, ISSUED + HOUR),
                issued_at=issued,
            )
        ]
    )
    [chart] = page.charts()
    assert chart["x"][0] == chart["marks"][0]["x"] == issued.timestamp()
    # 48, and not 49
    assert "Total of 48 hours" in page.text


def test_half_hours_are_summed_to_the_hours_of_the_forecast() -> None:
    half = series("consumption_kwh", [1e6, 2e6, 3e6, 4e6, 5e6], start=ISSUED - 3 * HOUR, step=HOUR / 2)
    # The last half hour has no partner yet: half an hour's energy would look like a drop
    assert [value for _, value in known(page_of([picture(history=half)]), "observed")] == [3.0, 7.0]


def test_history_coarser_than_the_forecast_is_refused() -> None:
    daily = series("consumption_kwh", [1e6] * 5, start=ISSUED - 120 * HOUR, step=24 * HOUR)
    with pytest.raises(ValueError, match="longer than the forecast's"):
        page_of([picture(history=daily)])


def test_gap_is_drawn_as_a_gap() -> None:
    """Both a missing row and an unknown value."""
    start = ISSUED - 5 * HOUR
    history = series("consumption_kwh", [1e6, 2e6, 3e6, math.nan, 5e6], start=start)
    page = page_of([picture(history=history.filter(pl.col("consumption_kwh") != 2e6), weather=None)])
    assert values(page, "observed")[:5] == [1.0, None, 3.0, None, 5.0]


@pytest.mark.parametrize(
    "weather",
    [
        pytest.param(None, id="none"),
        pytest.param(series("temperature", [], start=ISSUED), id="empty"),
        pytest.param(series("temperature", [None, math.nan], start=ISSUED - 2 * HOUR), id="unknown"),
        pytest.param(series("temperature", [12.0], start=ISSUED - 2000 * HOUR), id="long ago"),
    ],
)
def test_unknown_weather_has_no_panel(weather: pl.DataFrame | None) -> None:
    page = page_of([picture(weather=weather)])
    assert len(page.charts()[0]["panels"]) == 1
    assert "No temperature is available." in page.text


def test_new_city_without_history_has_its_forecast_drawn() -> None:
    page = page_of([picture(history=series("consumption_kwh", [], start=ISSUED), weather=None)])
    assert known(page, "observed") == []
    assert page.charts()[0]["x"][0] == ISSUED.timestamp()


def test_only_the_intervals_that_the_forecast_has_are_drawn() -> None:
    page = page_of([picture(forecast=fan().select("timestamp", "predicted", "q10", "q90"))])
    assert [one["name"] for one in page.charts()[0]["panels"][0]["intervals"]] == ["80 % interval"]
    heads = ["From", "Forecast", "10 % quantile", "90 % quantile", "Temperature"]
    assert [re.sub("Australia/Melbourne|GWh per hour|°C", "", cell) for cell in page.rows[0]] == heads


def test_earlier_forecasts_have_their_interval_if_it_is_known() -> None:
    past = fan(24, ISSUED - 24 * HOUR)
    [interval, *_] = page_of([picture(past=past)]).charts()[0]["panels"][0]["intervals"]
    assert interval["name"] == "90 % of earlier forecast"
    assert [value for value in interval["high"] if value is not None] == [5.5] * 24
    bare = page_of([picture(past=past.select("timestamp", "predicted"))]).charts()[0]["panels"][0]
    assert bare["intervals"][0]["name"] == "90 % interval"
    assert len([one for one in bare["traces"] if one["name"] == "earlier forecast"]) == 1


def test_issue_time_on_another_clock_is_the_same_moment() -> None:
    elsewhere = ISSUED.astimezone(rules_of("Asia/Kathmandu"))
    assert page_of([picture(issued_at=elsewhere)]).charts() == page_of([picture()]).charts()


@pytest.mark.parametrize(
    ("kwh", "unit", "text"),
    [
        (9.3e6, "GWh", "9.30"),
        (38.2e6, "GWh", "38.2"),
        (999e3, "MWh", "999"),
        (1.5e9, "TWh", "1.50"),
        (412.0, "kWh", "412"),
        (0.004, "kWh", "0.004"),
        (0.0, "kWh", "0.00"),
    ],
)
def test_energies_are_shown_in_a_readable_unit(kwh: float, unit: str, text: str) -> None:
    assert energy_unit(kwh).name == unit
    assert energy_unit(kwh).text(kwh) == text


# The table of scores


def cells(html: str, model: str) -> list[str]:
    row = next(row for row in re.split(r"<tr>", html) if f">{model}</th>" in row)
    return re.findall(r"<td>(.*?)</td>", row)


def test_scores_next_to_a_forecast_are_comparable() -> None:
    """Forecasts in time before those made later, city by city, and of backtests the whole span of lead times."""

    def row(city: str, model: str, low: int, high: int, weather: str = "forecast") -> dict[str, Any]:
        return {"city": city, "model": model, "weather": weather, "lead_start_hours": low, "lead_end_hours": high}

    shown = worth_showing(
        {
            "live": [row("Bath", "ensemble", 0, 6), row("Bath", "ensemble", 6, 24)],
            "replay": [row("Bath", "ensemble", 0, 6), row("York", "ensemble", 0, 6)],
            "backtest": [
                row("Bath", "ensemble", 0, 6),
                row("Bath", "ensemble", 0, 24),
                row("Bath", "ensemble", 6, 24),
                row("Bath", "ensemble", 0, 168, "actual"),
            ],
        }
    )
    assert [(r["purpose"], r["city"], r["weather"], r["lead_end_hours"]) for r in shown] == [
        ("live", "Bath", "forecast", 6),
        ("live", "Bath", "forecast", 24),
        ("replay", "York", "forecast", 6),
        ("backtest", "Bath", "forecast", 24),
        ("backtest", "Bath", "actual", 168),
    ]
    assert worth_showing({"live": [], "replay": [], "backtest": []}) == []


def test_scores_have_units_and_the_best_of_a_group_is_bold() -> None:
    html = forecast_page([picture()], scores(), title="Forecasts")
    assert "<small>MWh</small>" in html  # 50,000 kWh is the smallest energy
    assert cells(html, "vanilla") == [
        "1,200", "3.25", "150.0", "<strong>200.0</strong>", "<strong>0.910</strong>", "<strong>50.0</strong>",
        "<strong>88.5</strong>", "<strong>\N{MINUS SIGN}12.5</strong>",
    ]  # fmt: skip
    # 93 % is 3 points from 90, 88.5 % only 1.5
    assert cells(html, "gradient-boosting")[6] == "93.0"
    assert cells(html, "gradient-boosting")[1] == "<strong>2.50</strong>"
    assert ["Victoria"] in Page(html).rows


@pytest.mark.parametrize("unknown", [None, math.nan], ids=["null", "NaN"])
def test_unknown_score_is_a_dash_and_never_the_best(unknown: float | None) -> None:
    html = forecast_page([picture()], scores(mape=unknown, n=None), title="Forecasts")
    assert cells(html, "vanilla")[:2] == [DASH, DASH]
    assert cells(html, "gradient-boosting")[1] == "<strong>2.50</strong>"


# Errors, calibration, comparisons and answers


def test_errors_are_in_the_cell_of_their_weekday_and_hour() -> None:
    html = errors_page(errors_report())
    head, *rows = Page(html).rows
    # Monday to Sunday and Ascension Day, which was a Thursday; Saturday is the sixth column
    assert [one.removesuffix("%") for one in head[1:]] == [
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "holiday",
    ]  # fmt: skip
    assert [row[0] for row in rows] == [f"{hour:02}:00" for hour in range(24)]
    assert {row[6] for row in rows} == {"6.00"}
    assert {row[1] for row in rows} == {"2.00"}
    inside = re.findall(r'class="cell-text [^"]*">([\d.]+)<', html)
    assert len(inside) == 8 * 24
    assert inside.count("6.0") == 24
    assert "Saturday, 23:00: MAPE 6.00 %, MAE 60.0 kWh, forecast too high by 60.0 kWh" in html
    assert "MAPE 2.57 % over 672 hours. Largest error of a cell with at least 5 hours" not in html  # four Saturdays
    assert "MAPE 2.57 % over 672 hours. Largest error: Saturday" in html
    assert "Left out, because no forecast has an actual: Nowhere." in html


def test_one_extreme_error_does_not_make_all_others_pale() -> None:
    """Colours are of equal steps to the 98 % quantile; zero and unknown values have their own."""
    colours = heat_colours([*np.linspace(0, 10, 99), 1000.0, None])
    assert colours[0] == "heat0"
    assert colours[98] == colours[99] == "heat6"
    assert colours[49] == "heat3"
    assert colours[-1] == "grid"
    assert heat_colours([0.0, 0.0]) == ["heat0", "heat0"]
    assert heat_colours([None]) == ["grid"]


def test_errors_without_a_percentage_are_dashes() -> None:
    """Every actual of the city is zero."""
    report = errors_report()
    rows = report.rows.with_columns(mape=pl.lit(None, pl.Float64))
    page = Page(errors_page(ErrorReport("ensemble", "live", rows, {HOSTILE: math.nan}, [])))
    assert {cell for row in page.rows[1:] for cell in row[1:]} == {DASH}
    assert "the MAPE is undefined, because every actual is zero" in page.text


def test_calibration_shows_each_level_and_the_histogram_between_them() -> None:
    found = coverage_report()
    html = certificate_page(found)
    page = Page(html)
    assert [row[-1] for row in page.rows[1 : 1 + found.rows.height]] == found.rows["verdict"].to_list()
    assert len(re.findall(r"<circle [^>]*><title>\d+ % quantile", html)) == len(QUANTILE_LEVELS)
    shares = [float(share) for share in re.findall(r"between the quantiles \d+ and \d+ %: ([\d.]+) % of actuals", html)]
    # Actuals are uniform between the quantiles, so all twenty shares are about 5 %
    assert len(shares) == 20
    assert shares == pytest.approx([5] * 20, abs=0.3)
    assert sum(shares) == pytest.approx(100, abs=1)
    assert f"Verdict: {found.verdict}." in page.text


def test_comparison_has_the_errors_of_each_issue() -> None:
    html = comparison_page([comparison()])
    page = Page(html)
    assert len(page.rows) == 31
    assert page.rows[1] == ["Mon 4 May 2026, 14:00 CEST", "24", "4.00", "5.00", "\N{MINUS SIGN}1.00"]
    assert "ensemble is better than naive-168: error -19.9 % on 30 issues" in page.text
    assert "Backtests with observed weather" in page.text


def test_hours_are_in_their_order_through_a_repeated_hour() -> None:
    """Berlin has 02:00 twice. Incomplete hours are pale, and a missing one has no bar."""
    html = answer_page("hours", hours(4), city="Berlin", timezone="Europe/Berlin")
    bars = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="([\d.]+)" class="fill-(\w+)">', html)
    assert [float(x) for x, *_ in bars] == [0, 250, 750]
    assert [float(height) / float(bars[0][2]) for *_, height, _ in bars] == pytest.approx([1, 2, 4], rel=0.01)
    assert [colour for *_, colour in bars] == ["forecast", "band80", "forecast"]
    page = Page(html)
    assert page.rows[2:4] == [
        ["2026-10-25 02:00 +0200", "2.00", "30 of 60 min"],
        ["2026-10-25 02:00 +0100", DASH, "0 of 60 min"],
    ]
    ticks = re.findall(r'class="tick middle[^"]*">([^<]*)<', html)
    assert [tick for tick in ticks if ":" in tick] == ["01:00", "02:00", "02:00", "03:00", "04:00"]


def test_bins_of_temperature_have_their_place_on_the_scale() -> None:
    """A bin without an hour is a gap, not a neighbour."""
    rows = [
        {"temperature": Decimal(t), "temperature_end": Decimal(t + 2), "avg_consumption": Decimal(100)}
        | {"sample_count": count}
        for t, count in ((-2, 12), (0, 12), (6, 3))
    ]
    html = answer_page("temperatures", rows, city="Berlin", timezone="Europe/Berlin")
    bars = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" class="fill-(\w+)">', html)
    assert bars == [("0.00", "200.00", "forecast"), ("200.00", "200.00", "forecast"), ("800.00", "200.00", "band80")]
    assert Page(html).rows[3] == ["6 to 8 °C", "100", "3 hours"]


def test_many_bins_of_temperature_have_a_scale_of_round_degrees() -> None:
    """Every third bin from the coldest on would be -14, -11, -8."""
    rows = [
        {"temperature": Decimal(t), "temperature_end": Decimal(t + 1), "avg_consumption": Decimal(100)}
        | {"sample_count": 12}
        for t in range(-14, 20)
    ]
    html = answer_page("temperatures", rows, city="Berlin", timezone="Europe/Berlin")
    ticks = [int(t.replace("\N{MINUS SIGN}", "-")) for t in re.findall(r'class="tick middle[^"]*">([^<]*)<', html)]
    assert len(ticks) > 3
    assert all(tick % 5 == 0 for tick in ticks)


def test_more_hours_than_pixels_are_a_line() -> None:
    """A year of bars would be a megabyte of marks that nobody can tell apart."""
    html = answer_page("hours", hours(8760), city="Berlin", timezone="Europe/Berlin")
    assert 'class="line stroke-forecast"' in html
    assert "<rect" not in html
    assert "pale" not in html
    # The missing hour cuts the line
    assert re.search(r'd="(M[^"]*)" class="line', html)[1].count("M") == 2  # type: ignore[index]


@pytest.mark.parametrize("kind", ["hours", "days", "temperatures"])
def test_answer_without_rows_reports_it(kind: Any) -> None:
    page = Page(answer_page(kind, [], city="Berlin", timezone="Europe/Berlin"))
    assert page.rows == []
    assert "No data of Berlin is available" in page.text


def test_answer_without_a_known_value_is_shown() -> None:
    rows = [row | {"total_consumption": None, "minutes_known": 0} for row in hours(3)]
    page = Page(answer_page("hours", rows, city="Berlin", timezone="Europe/Berlin"))
    assert "no value is known" in page.text
    assert [row[1] for row in page.rows[1:]] == [DASH] * 3
