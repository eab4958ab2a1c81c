"""The chart data of one city: its frames, trimmed and converted to one interval and one unit."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from energy_forecast import zones
from energy_forecast.charts.units import EnergyUnit, energy_unit

HISTORY = timedelta(days=10)
"""Span of history to show before the issue; if the last load is older than the issue, before the last load."""

INTERVALS = ((90, "q05", "q95"), (80, "q10", "q90"), (50, "q25", "q75"))
"""Nominal coverage in percent, and its quantiles: widest first, so that narrower bands are painted over it."""

STEP_NAMES = {3600: "hour", 1800: "half hour", 900: "quarter hour", 86400: "day"}


@dataclass(frozen=True, eq=False)
class CityPicture:
    """The input for the chart of one city. All energies in kWh in the interval that begins at `timestamp` (UTC).

    Attributes:
        name: shown unchanged; it may have any characters.
        timezone: IANA zone of all times on the page.
        history: timestamp, consumption_kwh. Summed if its interval is shorter than the forecast's; incomplete sums are
            left out. A missing row is drawn as a gap. Values after the issue are drawn too.
        forecast: timestamp, predicted and quantiles q05, q10 .. q95; a band for each available pair of `INTERVALS`.
        issued_at: issue time of the forecast, with an offset.
        model: the model of the forecast.
        weather: timestamp, temperature (degrees Celsius); if None, empty or all null, the page reports that none is
            available.
        past: earlier forecasts: timestamp, predicted and, for their 90 % interval, q05 and q95. One row for each
            timestamp.
    """

    name: str
    timezone: str
    history: pl.DataFrame
    forecast: pl.DataFrame
    issued_at: datetime
    model: str
    weather: pl.DataFrame | None = None
    past: pl.DataFrame | None = None


class Drawing:
    """The data of one city, trimmed to the visible range, with the forecast's interval."""

    def __init__(self, city: CityPicture) -> None:
        if city.forecast.is_empty():
            raise ValueError(f"{city.name} has no forecast to draw")
        self.city = city
        self.zone = zones.zone(city.timezone)
        self.forecast = city.forecast.sort("timestamp")
        self.step = _step(self.forecast) or _step(city.history) or timedelta(hours=1)
        self.end: datetime = self.forecast["timestamp"][-1] + self.step
        known = city.history.filter(pl.col("consumption_kwh").is_finite())["timestamp"]
        last: datetime | None = known.max()  # type: ignore[assignment]
        # Old load is shown too; otherwise the gap before the forecast would not be visible
        self.known = self.city.issued_at if last is None else min(city.issued_at, last + self.step)
        self.history = _on_step(self._shown(city.history), self.step)
        self.past = None if city.past is None or city.past.is_empty() else self._shown(city.past)
        self.weather = None if city.weather is None else self._shown(city.weather)
        if self.weather is not None and not self.weather["temperature"].is_finite().any():
            self.weather = None
        self.intervals = [one for one in INTERVALS if {one[1], one[2]} <= set(self.forecast.columns)]
        widest = self.intervals[0][2] if self.intervals else "predicted"
        values = [*self.history["consumption_kwh"].drop_nulls(), *self.forecast[widest].drop_nulls()]
        self.unit: EnergyUnit = energy_unit(max(values, default=math.nan))

    def _shown(self, frame: pl.DataFrame) -> pl.DataFrame:
        first = self.known.astimezone(UTC) - HISTORY
        return frame.filter((pl.col("timestamp") >= first) & (pl.col("timestamp") < self.end)).sort("timestamp")

    def _offsets(self, first: datetime) -> list[list[int]]:
        """Return the start of each offset and local minus UTC time, in milliseconds. A browser's rules may be older."""
        known = zones.offsets(self.city.timezone)
        since, until = first - timedelta(days=1), self.end + timedelta(days=1)
        begins = bisect.bisect_right(known.starts, since.timestamp()) - 1
        ends = bisect.bisect_right(known.starts, until.timestamp())
        spans = zip(known.starts[begins:ends], known.seconds[begins:ends], strict=True)
        return [[max(start, round(since.timestamp())) * 1000, seconds * 1000] for start, seconds in spans]

    def data(self) -> dict[str, Any]:
        """Return the data for forecast.js: times in milliseconds of UTC, energies in the unit."""
        bands = {
            f"{side}{coverage}": column
            for coverage, low, high in self.intervals
            for side, column in (("low", low), ("high", high))
        }
        past = None
        if self.past is not None:
            past_bands = {"low90": "q05", "high90": "q95"} if {"q05", "q95"} <= set(self.past.columns) else {}
            past = _series(self.past, {"predicted": "predicted"} | past_bands, self.unit.kwh)
        starts = [f["timestamp"][0] for f in (self.history, self.past, self.forecast) if f is not None and f.height]
        return {
            "offsets": self._offsets(min([*starts, self.city.issued_at])),
            "zone": self.city.timezone.replace("_", " "),
            "axis": f"Local time, {self.city.timezone.replace('_', ' ')}",
            "unit": self.unit.name,
            "digits": self.unit.digits,
            "step": step_name(self.step),
            "step_ms": round(self.step.total_seconds() * 1000),
            "issued": _ms(self.city.issued_at),
            "known": _ms(self.known),
            "start": _ms(min([*starts, self.city.issued_at])),
            "intervals": [coverage for coverage, *_ in self.intervals],
            "history": _series(self.history, {"value": "consumption_kwh"}, self.unit.kwh),
            "forecast": _series(self.forecast, {"predicted": "predicted"} | bands, self.unit.kwh),
            "past": past,
            "weather": None if self.weather is None else _series(self.weather, {"value": "temperature"}, 1),
        }


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


def _series(frame: pl.DataFrame, columns: dict[str, str], unit: float) -> dict[str, list[Any]]:
    """Return lists for Plotly, with an empty point after each row that is followed by a gap."""
    step = _step(frame)
    out: dict[str, list[Any]] = {"x": []} | {key: [] for key in columns}
    before: datetime | None = None
    for row in frame.iter_rows(named=True):
        at: datetime = row["timestamp"]
        if before is not None and step is not None and at - before > step:
            out["x"].append(_ms(before + step))
            for key in columns:
                out[key].append(None)
        out["x"].append(_ms(at))
        for key, column in columns.items():
            value = row[column]
            known = value is not None and math.isfinite(value)
            out[key].append(float(f"{value / unit:.6g}") if known else None)
        before = at
    return out


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def step_name(step: timedelta) -> str:
    """Return the name of a step between values, such as hour or 15 minutes."""
    return STEP_NAMES.get(round(step.total_seconds()), f"{step.total_seconds() / 60:g} minutes")
