"""The chart of all forecasts that were issued in a window, one at a time, against the load."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from energy_forecast.charts.cards import UNKNOWN, Card, Field, Grid, Link
from energy_forecast.charts.clock import Clock
from energy_forecast.charts.time_chart import Frame, Interval, Panel, TimeChart, TimeMark, Trace
from energy_forecast.charts.units import energy_unit

_HOUR = timedelta(hours=1)


def replay_card(
    forecasts: pl.DataFrame, observed: pl.DataFrame, *, clock: Clock, urls: Sequence[str], now: datetime, data: str
) -> Card:
    """Return the chart with its slider.

    Args:
        forecasts: hourly forecasts of one model, in the order of their issue: run_id, issued_at, model, version,
            timestamp, predicted, q05, q95 (kWh); at least one.
        observed: timestamp, consumption_kwh by hour, as known now.
        clock: of the city.
        urls: a link for each issue, to the page as of then.
        now: marked in the chart.
        data: URL of the same data.
    """
    first: datetime = pl.concat([forecasts["timestamp"], observed["timestamp"]]).min()  # type: ignore[assignment]
    end: datetime = forecasts["timestamp"].max()  # type: ignore[assignment]
    times = pl.datetime_range(first, end, "1h", time_unit="us", eager=True)
    axis = pl.DataFrame({"timestamp": times}).with_row_index("place")
    unit = energy_unit(float(forecasts["q95"].max()))  # type: ignore[arg-type]
    load = axis.join(observed, on="timestamp", how="left", maintain_order="left")["consumption_kwh"]
    frames: list[Frame] = []
    rows: list[list[str | Link]] = []
    both = forecasts.join(observed, on="timestamp", how="left", maintain_order="left").join(axis, on="timestamp")
    for (_,), own in both.group_by("run_id", maintain_order=True):
        issued: datetime = own["issued_at"][0]
        known = own.filter(pl.col("consumption_kwh") > 0)
        label = f"Issued {clock.text(issued)} by {own['model'][0]} {own['version'][0]}"
        error, inside = UNKNOWN, UNKNOWN
        if known.height:
            errors = (known["predicted"] / known["consumption_kwh"] - 1).abs()
            error = f"{100 * float(errors.mean()):.1f}"  # type: ignore[arg-type]
            hits = known.filter(pl.col("consumption_kwh").is_between("q05", "q95")).height
            inside = f"{hits} of {known.height}"
            label += f". MAPE {error} %, {inside} known hours inside the 90 % interval"
        place = int(own["place"][0])
        kwh = unit.kwh
        frames.append(Frame(label, issued, place, own["predicted"] / kwh, own["q05"] / kwh, own["q95"] / kwh))
        rows.append(
            [Link(clock.short(issued), urls[len(rows)]), f"{own['model'][0]} {own['version'][0]}", error, inside]
        )
    none = pl.Series([None] * axis.height, dtype=pl.Float64)
    panel = Panel(
        f"Load, {unit.name} per hour",
        unit.name,
        unit.digits,
        [Trace("observed", load / unit.kwh, "measured"), Trace("forecast of then", none, "forecast", is_dashed=True)],
        [Interval("90 % interval", none, none, "band80")],
        height=360,
    )
    text = (
        f"{len(frames)} forecasts, issued from {clock.text(frames[0].issued_at)} to "
        f"{clock.text(frames[-1].issued_at)}. The slider chooses one; the line is the observed load."
    )
    marks = [TimeMark(frames[-1].issued_at, "issued"), TimeMark(now, "now")]
    fields = [
        Field("Issued", f"{clock.name}; link: the page as of then", is_text=True),
        Field("Model", is_text=True),
        Field("MAPE", "% of the hours known now"),
        Field("Inside the 90 % interval", "hours known now"),
    ]
    return Card(
        title="Forecast of then, and the load",
        sentence=text,
        figures=[TimeChart("replay", text, clock, times, [panel], marks, frames).markup()],
        table=Grid("issues of the window", fields, rows[::-1]),
        data=data,
    )
