"""The chart of a forecast: load, forecast with intervals, an earlier forecast, the usual range, and temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Fact, Field, Grid, Link
from energy_forecast.charts.clock import Clock
from energy_forecast.charts.time_chart import Interval, Panel, TimeChart, TimeMark, Trace
from energy_forecast.charts.units import EnergyUnit, energy_unit

INTERVALS = ((90, "q05", "q95"), (80, "q10", "q90"), (50, "q25", "q75"))
"""Nominal coverage in percent, and its quantiles: widest first, so that narrower bands are painted over it."""
HISTORY = timedelta(days=10)
"""Span of history to show before the issue; if the last load is older than the issue, before the last load."""
STEP_NAMES = {3600: "hour", 1800: "half hour", 900: "quarter hour", 86400: "day"}


@dataclass(frozen=True, eq=False)
class CityPicture:
    """The input for the chart of one city. All energies in kWh in the interval that begins at `timestamp` (UTC).

    Attributes:
        name: shown unchanged; it may have any characters.
        timezone: IANA zone of all times of the chart.
        history: timestamp, consumption_kwh. Summed if its interval is shorter than the forecast's; incomplete sums are
            left out. A missing row is drawn as a gap. Values after the issue are drawn too.
        forecast: timestamp, predicted and quantiles q05, q10 .. q95; a band for each available pair of `INTERVALS`.
        issued_at: issue time of the forecast, with an offset.
        model: the model of the forecast.
        weather: timestamp, temperature (degrees Celsius); None or empty without.
        past: an earlier forecast: timestamp, predicted and, for its 90 % interval, q05 and q95.
        past_name: of the earlier forecast, in the legend.
        usual: the usual range: timestamp, low, high.
        span: of the history that is shown.
        now: marked in the chart; None without a mark.
        notes: remarks of the run, below the chart.
    """

    name: str
    timezone: str
    history: pl.DataFrame
    forecast: pl.DataFrame
    issued_at: datetime
    model: str
    weather: pl.DataFrame | None = None
    past: pl.DataFrame | None = None
    past_name: str = "earlier forecast"
    usual: pl.DataFrame | None = None
    span: timedelta = HISTORY
    now: datetime | None = None
    notes: Sequence[str] = ()


class Drawing:
    """The data of one city on one time axis, with the interval of its forecast."""

    def __init__(self, city: CityPicture) -> None:
        if city.forecast.is_empty():
            raise ValueError(f"{city.name} has no forecast to draw")
        self.city = city
        self.clock = Clock(city.timezone)
        self.forecast = city.forecast.sort("timestamp")
        self.step = _step(self.forecast) or _step(city.history) or timedelta(hours=1)
        self.end: datetime = self.forecast["timestamp"][-1] + self.step
        known = city.history.filter(pl.col("consumption_kwh").is_finite())["timestamp"]
        last: datetime | None = known.max()  # type: ignore[assignment]
        # Old load is shown too; otherwise the gap before the forecast would not be visible
        before = city.issued_at if last is None else min(city.issued_at, last + self.step)
        self.first = before.astimezone(UTC) - city.span
        self.history = _on_step(self._shown(city.history), self.step)
        self.past = self._shown(city.past)
        self.weather = self._shown(city.weather)
        if self.weather.height and not self.weather["temperature"].is_finite().any():
            self.weather = self._shown(None)
        self.usual = self._shown(city.usual)
        self.intervals = [one for one in INTERVALS if {one[1], one[2]} <= set(self.forecast.columns)]
        widest = self.intervals[0][2] if self.intervals else "predicted"
        values = [*self.history["consumption_kwh"].drop_nulls(), *self.forecast[widest].drop_nulls()]
        self.unit: EnergyUnit = energy_unit(max(values, default=math.nan))
        self.step_name = step_name(self.step)

    def _shown(self, frame: pl.DataFrame | None) -> pl.DataFrame:
        if frame is None:
            return pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC")})
        return frame.filter((pl.col("timestamp") >= self.first) & (pl.col("timestamp") < self.end)).sort("timestamp")

    def chart(self, name: str, sentence: str) -> TimeChart:
        """Return the chart."""
        # Weather has its own hours; its times would cut the lines of a load whose hours begin at other minutes
        parts = [self.history, self.forecast, self.past, self.usual]
        times = pl.concat([part["timestamp"].cast(pl.Datetime("us", "UTC")) for part in parts]).unique().sort()
        first: datetime = times[0]
        if self.weather.height:
            first -= max(0, -(-(first - self.weather["timestamp"][0]) // self.step)) * self.step
        # A row for each step: a missing value is a gap
        grid = pl.datetime_range(first, self.end, self.step, closed="left", time_unit="us", eager=True)
        # An issue before all values is inside the chart too
        issue = pl.Series([self.city.issued_at], dtype=times.dtype).filter([self.city.issued_at < first])
        axis = pl.DataFrame({"timestamp": pl.concat([times, grid, issue]).unique().sort()})

        def column(frame: pl.DataFrame, name: str, scale: float = 1.0) -> pl.Series:
            if name not in frame.columns:
                return pl.Series([None] * axis.height, dtype=pl.Float64)
            return axis.join(frame.select("timestamp", name), on="timestamp", how="left")[name].cast(pl.Float64) / scale

        kwh = self.unit.kwh
        intervals = []
        if self.usual.height:
            low, high = column(self.usual, "low", kwh), column(self.usual, "high", kwh)
            intervals.append(Interval("usual range", low, high, "usual"))
        if {"q05", "q95"} <= set(self.past.columns):
            low, high = column(self.past, "q05", kwh), column(self.past, "q95", kwh)
            intervals.append(Interval(f"90 % of {self.city.past_name}", low, high, "pastband"))
        quantiles = [
            (cover, column(self.forecast, low, kwh), column(self.forecast, high, kwh))
            for cover, low, high in self.intervals
        ]
        intervals += [Interval(f"{cover} % interval", low, high, f"band{cover}") for cover, low, high in quantiles]
        traces = [
            Trace("observed", column(self.history, "consumption_kwh", kwh), "measured"),
            Trace("forecast", column(self.forecast, "predicted", kwh), "forecast", is_dashed=True),
        ]
        if self.past.height:
            traces.append(Trace(self.city.past_name, column(self.past, "predicted", kwh), "past", is_dashed=True))
        title = f"Load, {self.unit.name} per {self.step_name}"
        panels = [Panel(title, self.unit.name, self.unit.digits, traces, intervals)]
        if self.weather.height:
            temperature = Trace("temperature", self._temperature(axis), "temperature")
            panels.append(Panel("Temperature, °C", "°C", 1, [temperature], height=150))
        marks = [TimeMark(self.city.issued_at, f"issued {self.clock.hour(self.city.issued_at)}")]
        if self.city.now is not None and abs(self.city.now - self.city.issued_at) > timedelta(minutes=90):
            marks.append(TimeMark(self.city.now, f"now {self.clock.hour(self.city.now)}"))
        return TimeChart(name, sentence, self.clock, axis["timestamp"], panels, marks)

    def _temperature(self, axis: pl.DataFrame) -> pl.Series:
        """Return the temperature of the hour that contains each time of the axis; null without one."""
        own = self.weather.select(pl.col("timestamp").cast(pl.Datetime("us", "UTC")), "temperature")
        found = axis.join_asof(own, on="timestamp", strategy="backward", tolerance=timedelta(minutes=59, seconds=59))
        return found["temperature"].cast(pl.Float64)

    def grid(self, urls: Sequence[str] | None = None) -> Grid:
        """Return the table of the forecast.

        Args:
            urls: a link for each interval of the forecast, such as to its evolution.
        """
        unit = f"{self.unit.name} per {self.step_name}"
        temperatures = {}
        if self.weather.width == 2:
            times = self.forecast.select(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))
            temperatures = dict(zip(self.forecast["timestamp"], self._temperature(times), strict=True))
        quantiles = [name for _, low, high in self.intervals for name in (low, high)]
        rows: list[list[str | Link]] = []
        for place, row in enumerate(self.forecast.iter_rows(named=True)):
            when = self.clock.short(row["timestamp"])
            shown = when if urls is None else Link(when, urls[place])
            temperature = temperatures.get(row["timestamp"])
            rows.append(
                [
                    shown,
                    self.unit.text(row["predicted"]),
                    *(self.unit.text(row[name]) for name in quantiles),
                    *([UNKNOWN if temperature is None else f"{temperature:.1f}"] if temperatures else []),
                ]
            )
        fields = [Field("From", self.clock.name, is_text=True), Field("Forecast", unit)]
        fields += [Field(f"{int(name[1:])} % quantile", unit) for name in quantiles]
        fields += [Field("Temperature", "°C")] if temperatures else []
        return Grid(f"forecast of {self.city.name}", fields, rows)

    def peak_facts(self) -> list[Fact]:
        """Return the peak of the forecast, its total and its issue."""
        peak = self.forecast.sort("predicted", "timestamp", descending=[True, False]).row(0, named=True)
        at = self.clock.short(peak["timestamp"])
        interval = ""
        if self.intervals:
            cover, low, high = self.intervals[0]
            interval = f"{cover} % interval {self._range(peak[low], peak[high])}"
        total = energy_unit(float(self.forecast["predicted"].sum()))
        amount = total.text(float(self.forecast["predicted"].sum()))
        hours = (self.end - self.forecast["timestamp"][0]) / timedelta(hours=1)
        issued = self.city.issued_at
        return [
            Fact(f"Peak, {at}", f"{self.unit.text(peak['predicted'])} {self.unit.name}", interval),
            Fact(f"Total of {hours:g} hours", f"{amount} {total.name}"),
            Fact("Issued", f"{self.clock.short(issued)} {self.clock.abbreviation(issued)}", f"by {self.city.model}"),
        ]

    def sentence(self) -> str:
        """Return what the chart shows."""
        peak = self.forecast.sort("predicted", "timestamp", descending=[True, False]).row(0, named=True)
        text = (
            f"{self.city.name}: the highest forecast is {self.unit.text(peak['predicted'])} {self.unit.name} per "
            f"{self.step_name} at {self.clock.text(peak['timestamp'])}"
        )
        if not self.intervals:
            return f"{text}."
        cover, low, high = self.intervals[0]
        return f"{text}, {cover} % interval {self._range(peak[low], peak[high])}."

    def _range(self, low: float, high: float) -> str:
        return f"{self.unit.text(low)} to {self.unit.text(high)} {self.unit.name}"


def forecast_card(
    drawing: Drawing,
    *,
    title: str | None = None,
    sentence: str | None = None,
    name: str = "forecast",
    data: str | None = None,
    notes: Sequence[str] = (),
    facts: Sequence[Fact] = (),
    links: Sequence[Link] = (),
    urls: Sequence[str] | None = None,
) -> Card:
    """Return the chart of a forecast with its table.

    Args:
        drawing: what is drawn.
        title: the heading; None: the name of the city.
        sentence: what the chart shows; None: the peak of the forecast.
        name: of the chart, unique on the page.
        data: URL of the same data.
        notes: below the chart, after those of the city.
        facts: after those of the peak.
        links: to other views.
        urls: a link for each interval of the forecast.
    """
    city = drawing.city
    sentence = sentence or drawing.sentence()
    without = [] if drawing.weather.height else ["No temperature is available."]
    return Card(
        title=city.name if title is None else title,
        sentence=sentence,
        figures=[drawing.chart(name, sentence).markup()],
        table=drawing.grid(urls),
        data=data,
        notes=[*city.notes, *notes, *without],
        facts=[*drawing.peak_facts(), *facts],
        links=links,
    )


def _step(frame: pl.DataFrame) -> timedelta | None:
    """Return the interval of a frame: its most frequent distance between rows; None with fewer than two rows."""
    steps = frame["timestamp"].unique().sort().diff().drop_nulls()
    return None if steps.is_empty() else steps.mode().min()  # type: ignore[return-value]


def _on_step(history: pl.DataFrame, step: timedelta) -> pl.DataFrame:
    """Sum the history to the forecast's interval; incomplete sums are left out."""
    own = _step(history) or step
    if own > step:
        raise ValueError(f"the history's interval ({own}) is longer than the forecast's ({step})")
    if own == step:
        return history
    sums = history.group_by_dynamic("timestamp", every=step).agg(
        pl.col("consumption_kwh").sum(), pl.len().alias("parts")
    )
    return sums.filter(pl.col("parts") == step // own).drop("parts")


def step_name(step: timedelta) -> str:
    """Return the name of a step between values, such as hour or 15 minutes."""
    return STEP_NAMES.get(round(step.total_seconds()), f"{step.total_seconds() / 60:g} minutes")
