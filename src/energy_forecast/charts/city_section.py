"""One city on the page of forecasts, as HTML."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any

from energy_forecast.charts.drawing import HISTORY, Drawing, step_name

TO = "\N{EN DASH}"
PERCENT = "\N{NO-BREAK SPACE}%"
MOUSE = "Point at the chart to read its values. Drag to zoom in, double-click to zoom out."


def city_section(drawing: Drawing, index: int) -> str:
    """Return the HTML of one city: facts, legend, an empty chart for forecast.js, and the forecast as a table.

    `index` is the city's index in the page's data. All but the first are hidden until they are selected.
    """
    city, step = drawing.city, step_name(drawing.step)
    issued = city.issued_at.astimezone(drawing.zone)
    peak = drawing.forecast.row(drawing.forecast["predicted"].arg_max() or 0, named=True)
    low = drawing.forecast.row(drawing.forecast["predicted"].arg_min() or 0, named=True)
    hours = (drawing.end - drawing.forecast["timestamp"][0]).total_seconds() / 3600
    facts = (
        ("Highest forecast", *_fact(drawing, peak)),
        ("Lowest forecast", *_fact(drawing, low)),
        ("Issued", _when(issued), f"{city.timezone.replace('_', ' ')}, {_offset(issued)}"),
        ("Model", city.model, f"{hours:,.0f} {'hour' if round(hours) == 1 else 'hours'} ahead, one value per {step}"),
    )
    shown = "".join(
        f"<div><dt>{label}</dt><dd><strong>{escape(big)}</strong><span>{escape(small)}</span></dd></div>"
        for label, big, small in facts
    )
    name, alone = escape(city.name), " alone" if drawing.weather is None else ""
    absent = '<p class="absent">No weather is available for the time shown.</p>' if drawing.weather is None else ""
    views = "".join(
        f'<label><input type="radio" name="view{index}" value="{days}"{checked}><span>{days} days</span></label>'
        for days, checked in ((3, ""), (HISTORY.days, " checked"))
    )
    return f"""<section class="city card" aria-labelledby="city{index}"{" hidden" if index else ""}>
<div class="head"><h2 id="city{index}">{name}</h2>
<fieldset class="choice view"><legend>History</legend>{views}</fieldset></div>
<dl class="facts">{shown}</dl>
<figure aria-label="{name}: measured and forecast consumption. The table below has the values.">
<p class="clock" data-touch="Touch the chart to read its values." data-mouse="{MOUSE}">&nbsp;</p>
<ul class="legend">{_legend(drawing)}</ul>
<div class="chart{alone}"></div>{absent}
</figure>
<details><summary>The forecast as a table</summary>
<div class="scroll" tabindex="0" role="group" aria-label="Forecast of {name}">{_table(drawing)}</div></details>
</section>"""


def _fact(drawing: Drawing, row: dict[str, Any]) -> tuple[str, str]:
    value = f"{drawing.unit.text(row['predicted'])} {drawing.unit.name}"
    when = _when(row["timestamp"].astimezone(drawing.zone), year=False)
    if drawing.intervals:
        coverage, low, high = drawing.intervals[0]
        when += f", {coverage}{PERCENT}: {drawing.unit.text(row[low])}{TO}{drawing.unit.text(row[high])}"
    return value, when


def _legend(drawing: Drawing) -> str:
    def item(part: str, keys: str, css: str, colour: str, text: str) -> str:
        side = "border-color" if "line" in css else "background"
        mark = f'<i class="{css}" style="{side}: var(--{colour})"></i>'
        return f'<li>{mark}{text} <b data-part="{part}" data-keys="{keys}"></b></li>'

    items = [
        item("history", "value", "line", "measured", "Measured"),
        item("forecast", "predicted", "line", "forecast", "Forecast"),
    ]
    items += [
        item("forecast", f"low{n} high{n}", "area", f"band{n}", f"{n}{PERCENT} interval")
        for n, *_ in reversed(drawing.intervals)
    ]
    if drawing.past is not None:
        items.append(item("past", "predicted", "line dotted", "past", "Earlier forecasts"))
        if {"q05", "q95"} <= set(drawing.past.columns):
            items.append(item("past", "low90 high90", "area", "pastband", f"Their 90{PERCENT}"))
    if drawing.weather is not None:
        items.append(item("weather", "value", "line", "temperature", "Temperature"))
    return "".join(items)


def _table(drawing: Drawing) -> str:
    unit = drawing.unit
    intervals = list(reversed(drawing.intervals))
    head = "".join(f'<th scope="col">{coverage}{PERCENT}<small>{unit.name}</small></th>' for coverage, *_ in intervals)
    rows = []
    for row in drawing.forecast.iter_rows(named=True):
        cells = "".join(f"<td>{unit.text(row[low])}{TO}{unit.text(row[high])}</td>" for _, low, high in intervals)
        when = _when(row["timestamp"].astimezone(drawing.zone))
        rows.append(f'<tr><td class="text">{when}</td><td>{unit.text(row["predicted"])}</td>{cells}</tr>')
    return (
        f'<table><thead><tr><th scope="col" class="text">From<small>{escape(drawing.city.timezone)}</small></th>'
        f'<th scope="col">Forecast<small>{unit.name}</small></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _when(local: datetime, *, year: bool = True) -> str:
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M}" if year else f"{local:%a} {local.day} {local:%b, %H:%M}"


def _offset(local: datetime) -> str:
    text = f"{local:%z}"
    return f"UTC{text[:3]}:{text[3:5]}"
