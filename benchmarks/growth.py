"""Measure how load, read and forecast times grow with the number of cities and of rows.

    .venv/bin/python benchmarks/growth.py [--cities 10,100,1000] [--rows 1000000,10000000] [--parts load,read,forecast]

Calls loading.py, reading.py and forecasting.py for each size, and prints the cost of a row, a query and a city in CPU
time of client and server (on a shared machine only this is comparable). Linear growth is a level line. The table is
written to results/growth-DATE.csv, the chart next to it as SVG. Intervals are ten minutes: ten million rows of ten
cities are 19 years.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from measuring import printed_by, record, results, results_of, victoria

MEASURES = {
    "load": "load, microseconds a row",
    "recent": "last 24 hours, ms",
    "weather": "30 days with the weather, ms",
    "forecast as of": "forecast as of a moment, ms",
    "forecast": "forecast, ms a city",
}
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#a463f2")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cities", default="10,100,1000")
    parser.add_argument("--rows", default="1000000,10000000")
    parser.add_argument("--parts", default="load,read,forecast")
    options = parser.parse_args()
    parts = options.parts.split(",")
    found: list[dict[str, object]] = []

    def keep(what: str, cities: int, rows: int | str, cpu: float, wall: float) -> None:
        found.append({"what": what, "cities": cities, "rows": rows, "cpu": f"{cpu:.3f}", "wall": f"{wall:.3f}"})
        record("growth", found[-1:])

    for cities in map(int, options.cities.split(",")):
        for rows in map(int, options.rows.split(",")):
            if "load" in parts:
                (row,) = results_of("loading", "--rows", rows, "--cities", cities, "--ways", "parquet", "--repeats", 1)
                cpu = float(row["client"]) + float(row["server"])
                keep("load", cities, rows, cpu / rows * 1e6, float(row["wall"]) / rows * 1e6)
            if "read" in parts:
                days = max(2, rows // (144 * cities))
                for row in results_of("reading", "--cities", cities, "--days", days, "--times", 100):
                    if row["who"] == "person" and row["what"] in MEASURES:
                        keep(row["what"], cities, int(row["rows"]), float(row["cpu ms"]), float(row["median ms"]))
        if "forecast" in parts:
            with tempfile.TemporaryDirectory() as name:
                size = (victoria(Path(name)), "--cities", cities, "--history-days", 150)
                whole = next(row for row in printed_by("forecasting", *size) if row["what"] == "forecast")
            count = int(whole["cities"])
            cpu = (float(whole["cpu s"]) + float(whole["server cpu s"])) / count * 1000
            keep("forecast", count, "", cpu, float(whole["wall s"]) / count * 1000)
    print(f"\n{'what':18}{'cities':>8}{'rows':>12}{'CPU':>10}{'wall':>10}")
    for line in found:
        print("{what:18}{cities:>8}{rows:>12}{cpu:>10}{wall:>10}".format(**line))
    path = results() / f"growth-{datetime.now(UTC):%F}.svg"
    path.write_text(picture(found))
    print(path)


def picture(found: list[dict[str, object]]) -> str:
    """Return an SVG of CPU time by cities, both logarithmic; a line per measure and row count."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in found:
        rows = f", {int(str(row['rows'])) / 1e6:.0f}M rows" if row["rows"] else ""
        series.setdefault(f"{MEASURES[str(row['what'])]}{rows}", []).append(
            (float(str(row["cities"])), max(1e-3, float(str(row["cpu"]))))
        )
    points = [point for line in series.values() for point in line]
    bounds = [(math.floor(math.log10(min(v))), math.ceil(math.log10(max(v)))) for v in zip(*points, strict=True)]
    (left, right), (bottom, top) = ((low, max(high, low + 1)) for low, high in bounds)

    def place(cities: float, cost: float) -> tuple[float, float]:
        across = 60 + 420 * (math.log10(cities) - left) / (right - left)
        return across, 360 - 330 * (math.log10(cost) - bottom) / (top - bottom)

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 400" font-family="sans-serif" font-size="12">']
    for power in range(left, right + 1):
        across, down = place(10**power, 10**bottom)
        parts.append(f'<path d="M{across:.0f} {down:.0f}V30" stroke="#ddd"/>')
        parts.append(f'<text x="{across:.0f}" y="378" text-anchor="middle">{10**power} cities</text>')
    for power in range(bottom, top + 1):
        across, down = place(10**left, 10**power)
        parts.append(f'<path d="M{across:.0f} {down:.0f}H480" stroke="#ddd"/>')
        parts.append(f'<text x="54" y="{down + 4:.0f}" text-anchor="end">{10.0**power:g}</text>')
    for number, (name, line) in enumerate(sorted(series.items())):
        colour = COLOURS[next(n for n, measure in enumerate(MEASURES.values()) if name.startswith(measure))]
        dash = ' stroke-dasharray="5 3"' if number % 2 else ""
        where = [place(*point) for point in sorted(line)]
        path = "L".join(f"{across:.1f} {down:.1f}" for across, down in where)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="{colour}"/>' for across, down in where]
        parts.append(f'<text x="495" y="{40 + 20 * number}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, '<text x="60" y="18">CPU time of client and server</text>', "</svg>\n"])


if __name__ == "__main__":
    main()
