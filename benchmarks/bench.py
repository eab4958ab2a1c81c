"""Measure every speed that the platform promises, in one table: operation, reference, goal and result.

    .venv/bin/python benchmarks/bench.py [--quick] [--only loading,reading,forecasting]

Calls the other benchmarks, each of which measures its reference in the same run, and collects their results in
results/bench-DATE.csv. --quick runs the same at a hundredth of the size, in about two minutes. It only shows that all
benchmarks run: at that size most of the time is the fixed cost of each load or run. So it judges no load or forecast,
and stores no results. The full size takes two hours.

`reached` is wall-clock time; on a machine with other work, compare the ratio of CPU times next to it.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from measuring import printed_by, record, results_elsewhere, results_of, victoria

PARTS = ("loading", "reading", "forecasting")


@dataclass(frozen=True)
class Line:
    """A line of the table. `reached` and `cpu` are ratios, or values if `goal` has a unit."""

    work: str
    reference: str
    goal: str
    reached: float
    cpu: float | None
    limit: float
    judged: bool = True

    def row(self) -> dict[str, object]:
        """Return the columns of the table."""
        return {
            "work": self.work,
            "reference": self.reference,
            "goal": self.goal,
            "reached": f"{self.reached:.2f}" if self.limit >= 0.1 else f"{self.reached:.4f}",
            "by CPU": "" if self.cpu is None else f"{self.cpu:.2f}" if self.limit >= 0.1 else f"{self.cpu:.4f}",
            "met": ""
            if not (self.limit and self.judged)
            else "yes"
            if self.reached <= self.limit
            else "by CPU"
            if (self.cpu or 1e9) <= self.limit
            else "no",
        }


def main() -> None:
    """Run the benchmarks and print their table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--data", type=Path, help="for forecasting: a folder of files; default: the sample's record")
    parser.add_argument("--database", help="for reading: an existing filled database")
    options = parser.parse_args()
    with results_elsewhere() if options.quick else nullcontext():
        _bench(parser, options)
    if options.quick:
        print(
            "\nThis size only shows that all benchmarks run. If a goal is not judged, the fixed cost of each load or "
            "run is most of the time; `make bench` judges all goals. No results were stored."
        )


def _bench(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    lines: list[Line] = []
    for part in options.only.split(","):
        match part:
            case "loading":
                lines += loading(quick=options.quick)
            case "reading":
                lines += reading(quick=options.quick, database=options.database)
            case "forecasting":
                lines += forecasting(quick=options.quick, data=options.data)
            case _:
                parser.error(f"part '{part}' not found; use {', '.join(PARTS)}")
    rows = [line.row() for line in lines]
    print(f"\n{'work':58}{'reference':44}{'goal':>12}{'reached':>10}{'by CPU':>10}{'met':>8}")
    for row in rows:
        print("{work:58}{reference:44}{goal:>12}{reached:>10}{by CPU:>10}{met:>8}".format(**row))
    record("bench", [{"size": "quick" if options.quick else "whole"} | row for row in rows])


def loading(*, quick: bool) -> list[Line]:
    """Return the results of loading.py."""
    size = (
        ("--rows", 100_000, "--cities", 20, "--repeats", 1)
        if quick
        else ("--rows", 10_000_000, "--cities", 200, "--repeats", 5)
    )
    found = {row["way"]: row for row in results_of("loading", *size)}
    names = {
        "parquet": ("load new rows from Parquet", "psql \\copy of the same rows"),
        "csv": ("load new rows from CSV", "psql \\copy of the same rows"),
        "csv.gz": ("load new rows from CSV, gzipped", "psql \\copy of the same rows as plain CSV"),
        "again": ("load the same file again", "the first load"),
        "corrected": ("load it with 1 % corrected and 0.1 % bad", "the first load"),
        "single": ("upsert of a single value", "a bare INSERT ... ON CONFLICT"),
    }
    lines = [
        Line(
            work,
            reference,
            f"{found[way]['goal']}x",
            float(found[way]["wall ratio"]),
            float(found[way]["CPU ratio"]),
            float(found[way]["goal"]),
            judged=not quick,
        )
        for way, (work, reference) in names.items()
    ]
    peak = max(float(found[way]["peak"]) for way in ("csv", "csv.gz", "parquet"))
    return [*lines, Line("load: peak memory of the client", "", "600 MB", peak, None, 600, judged=not quick)]


def reading(*, quick: bool, database: str | None) -> list[Line]:
    """Return the results of reading.py."""
    size: tuple[object, ...] = ("--cities", 25, "--days", 60, "--times", 60) if quick else ("--times", 300)
    if database:
        size = (*size, "--database", database)
    lines = []
    for row in results_of("reading", *size):
        work = f"{row['what']}, one city, as {row['who']}"
        if row["goal"]:
            lines.append(
                Line(
                    work,
                    "the same SQL on a table of that city alone",
                    f"{row['goal']}x",
                    float(row["ratio"]),
                    float(row["cpu ratio"]),
                    float(row["goal"]),
                )
            )
        if row["p99 goal"]:
            lines.append(
                Line(
                    f"{work}: 99th percentile",
                    "",
                    f"{row['p99 goal']} ms",
                    float(row["p99 ms"]),
                    float(row["cpu p99"]),
                    float(row["p99 goal"]),
                )
            )
    return lines


def forecasting(*, quick: bool, data: Path | None) -> list[Line]:
    """Return the results of forecasting.py."""
    size = ("--cities", 20, "--history-days", 150) if quick else ("--cities", 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = data if data and not quick else victoria(Path(name))
        found = {row["what"]: row for row in printed_by("forecasting", folder, *size)}
    model, whole, train = (found[what] for what in ("model", "forecast", "train"))
    whole_cpu = float(whole["cpu s"]) + float(whole["server cpu s"])
    return [
        Line(
            f"forecasts for {whole['cities']} cities x 48 h, stored",
            "the model alone",
            "1.3x",
            float(whole["wall s"]) / float(model["wall s"]),
            whole_cpu / float(model["cpu s"]),
            1.3,
            # With twenty cities the start of the processes takes most of the time, so the ratio means nothing
            judged=not quick,
        ),
        Line("forecasts: in all", "", "30 s", float(whole["wall s"]), None, 30, judged=not quick),
        # Its peer is not installed with the platform; see docs/decisions/models.md
        Line(
            f"training of {train['cities']} cities, seconds a city",
            "mlforecast: not measured here",
            "0.5x",
            float(train["wall s"]) / int(train["cities"]),
            float(train["cpu s"]) / int(train["cities"]),
            0,
        ),
    ]


if __name__ == "__main__":
    main()
