"""energy-forecast score."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.access import acting_database, reading_database
from energy_forecast.cli.console import (
    counted,
    echo,
    echo_failures,
    emit,
    failures,
    named,
    out,
    progress,
    require_parts,
    table,
)
from energy_forecast.cli.options import AllowPartial, Cities, From, Json, Processes, To, WeatherChoice, plot_option
from energy_forecast.cli.output_files import write_chart
from energy_forecast.cli.score_cells import SCORE_COLUMNS, SCORE_LEGEND, Purpose, by_city, echo_left_out, score_cells
from energy_forecast.cli.score_explanation import explain
from energy_forecast.errors import EnergyForecastError, PartialResultError

if TYPE_CHECKING:
    from energy_forecast.pipelines import CoverageReport, ErrorReport, ScoreReport

app = typer.Typer()

OfRuns = Annotated[
    Purpose,
    typer.Option(
        help="Purpose of the runs: live (issued in time), replay (issued later for a past moment) or backtest."
    ),
]
OfWeather = Annotated[WeatherChoice | None, typer.Option(help="Weather of the target hours. Default: any.")]


@app.callback(invoke_without_command=True)
def score(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Score all forecasts again, and add the scores that differ.")
    ] = False,
    processes: Processes = None,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Score the forecasts whose hours have a new or changed actual. Safe to repeat.

    Example: energy-forecast score
    """
    if context.invoked_subcommand is not None:
        return
    from energy_forecast import pipelines

    database = acting_database()
    with progress() as report_progress:
        report = pipelines.score(
            database,
            everything=everything,
            processes=processes or pipelines.usable_processors(),
            progress=report_progress,
        )
    if json:
        emit(
            {
                "as_of": report.as_of,
                "new": report.new,
                "hours": report.hours,
                "scored_cities": report.scored_cities,
                "unchanged_cities": report.unchanged_cities,
                "left_out_hours": report.left_out,
                "scores": [
                    {k: v for k, v in row.items() if k not in ("pair_digest", "by_hour", "city_id", "model_id")}
                    for row in report.scores
                ],
                "failed": failures(report.failed),
            }
        )
    else:
        _print_scores(report, everything=everything)
    require_parts(
        report.scored_cities - len(report.failed), list(report.failed.values()), "scored", allow_partial=allow_partial
    )


def _print_scores(report: ScoreReport, *, everything: bool) -> None:
    from energy_forecast.pipelines.labels import PURPOSE_LABELS

    echo_left_out(report.left_out)
    echo_failures("Not scored", report.failed)
    if not report.scores:
        if not report.failed:
            out.print("No score changed: no forecast hour has a new or changed actual.")
        return
    for name, rows in by_city(report.scores).items():
        for purpose in ("live", "replay"):
            made = [row for row in rows if row["purpose"] == purpose]
            if made:
                table(
                    ["model", "month", "lead h", *SCORE_COLUMNS],
                    [
                        (
                            row["model"],
                            row["month"],
                            f"{row['lead_start_hours']}-{row['lead_end_hours']}",
                            *score_cells(row),
                        )
                        for row in sorted(made, key=lambda r: (r["model"], r["period_start"], r["lead_start_hours"]))
                    ],
                    title=f"{name}, {PURPOSE_LABELS[purpose]}",
                )
    out.print(SCORE_LEGEND)
    hours = counted(report.hours, "hour" if everything else "new or changed hour")
    others = counted(report.unchanged_cities, "other city", "other cities")
    out.print(
        f"Scored {hours} of {counted(report.scored_cities, 'city', 'cities')}"
        f"{f'; no change in {others}' if report.unchanged_cities else ''}. "
        f"New scores: {report.new:,} of {len(report.scores):,}."
    )


app.command("explain")(explain)


@app.command()
def certificate(
    model: Annotated[str, typer.Option(metavar="NAME", help="The model.")],
    city: Cities = None,
    purpose: OfRuns = Purpose.LIVE,
    weather: OfWeather = None,
    first: From = None,
    end: To = None,
    plot: Annotated[Path | None, plot_option("Draw how often actuals are below each quantile into FILE.html.")] = None,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial",
            help="Exit with 0 instead of 3 if there is not enough data for a verdict, or a city could not be examined.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check that the intervals of a model have their nominal coverage: passed, failed or not enough data.

    Passed: the observed coverage of a city is within 2 points of the nominal one, and the true coverage is within 5
    points with 95 % confidence; for a bucket of lead times or a season 4 and 10. Failed: it is significantly outside.
    Otherwise there is not enough data, and the exit status is 3.

    Example: energy-forecast score certificate --model ensemble --purpose backtest
    """
    from energy_forecast import pipelines
    from energy_forecast.forecasting.evaluation.coverage import FAILED, FEWEST_DAYS, NOT_ENOUGH_DATA, PASSED

    found = pipelines.check_coverage(
        reading_database(),
        model,
        purpose=purpose.value,
        weather=None if weather is None else weather.value,
        cities=city or (),
        first=first,
        end=end,
    )
    if plot is not None:
        from energy_forecast.charts.certificate_page import certificate_page

        write_chart(plot, certificate_page(found))
    if json:
        emit(
            {
                "model": model,
                "purpose": found.purpose,
                "verdict": found.verdict,
                "passed": found.passed,
                "rows": [row | {"passed": row["verdict"] == PASSED} for row in found.rows.to_dicts()],
                "reliability": found.reliability.to_dicts(),
                "conditions": found.conditions,
                "lacking": found.lacking,
                "failed": failures(found.failed),
            }
        )
    else:
        for (name,), rows in found.rows.group_by("city", maintain_order=True):
            table(
                ["part", "interval %", "hours", "days", "covers %", "confidence %", "verdict"],
                [
                    (
                        "all" if row["part"] == "city" else row["group"],
                        f"{100 * row['nominal']:.0f}",
                        f"{row['hours']:,}",
                        row["days"],
                        f"{100 * row['coverage']:.1f}",
                        None if row["lower"] is None else f"{100 * row['lower']:.1f} to {100 * row['upper']:.1f}",
                        row["verdict"].upper() if row["verdict"] == FAILED else row["verdict"],
                    )
                    for row in rows.iter_rows(named=True)
                ],
                title=f"{name}, {model}{_conditions(found, name)}",
            )
        out.print(
            f"Confidence: 90 % interval of the coverage; it requires {FEWEST_DAYS} days. Verdict: see "
            "energy-forecast score certificate --help"
        )
        if found.lacking:
            echo(f"Not checked, because none of the selected forecasts has an actual yet: {named(found.lacking)}")
        echo_failures("Not checked", found.failed)
        if plot is not None:
            out.print(f"Written: {plot}")
    counts = Counter(found.rows["verdict"])
    if found.verdict == FAILED:
        raise EnergyForecastError(
            f"{counts[FAILED]} of {found.rows.height} intervals do not have their nominal coverage.",
            hint="Train the model again, or serve another one: energy-forecast model promote --help",
        )
    if found.verdict == NOT_ENOUGH_DATA and not allow_partial:
        raise PartialResultError(
            f"Not enough data for a verdict on {counts[NOT_ENOUGH_DATA]} of {found.rows.height} intervals.",
            hint="Use a longer backtest, or wait for more forecasts. With --allow-partial the exit status is 0.",
        )
    certified = found.rows["city"].n_unique()
    require_parts(certified, list(found.failed.values()), "checked", allow_partial=allow_partial)


@app.command()
def errors(
    model: Annotated[str, typer.Option(metavar="NAME", help="The model.")],
    city: Cities = None,
    purpose: OfRuns = Purpose.LIVE,
    weather: OfWeather = None,
    first: From = None,
    end: To = None,
    plot: Annotated[Path | None, plot_option("Draw the errors as a heat map into FILE.html.")] = None,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Show the errors of a model by weekday and local hour; public holidays are separate.

    Example: energy-forecast score errors --model ensemble --purpose backtest --plot errors.html
    """
    from energy_forecast import pipelines

    found = pipelines.report_errors(
        reading_database(),
        model,
        purpose=purpose.value,
        weather=None if weather is None else weather.value,
        cities=city or (),
        first=first,
        end=end,
    )
    if plot is not None:
        from energy_forecast.charts.errors import errors_page

        write_chart(plot, errors_page(found))
    if json:
        emit(
            {
                "model": model,
                "purpose": found.purpose,
                "mape": found.mape,
                "conditions": found.conditions,
                "rows": found.rows.to_dicts(),
                "lacking": found.lacking,
                "failed": failures(found.failed),
            }
        )
    else:
        _print_errors(found)
        if plot is not None:
            out.print(f"Written: {plot}")
    require_parts(len(found.mape), list(found.failed.values()), "examined", allow_partial=allow_partial)


def _conditions(found: CoverageReport | ErrorReport, city: object) -> str:
    """Return the conditions of the examined backtests of a city, for a title."""
    used = found.conditions.get(str(city))
    if used is None:
        return ""
    from energy_forecast.pipelines.labels import condition_label

    return f" (backtests {condition_label(used['weather'], used['assumptions'])})"


def _print_errors(found: ErrorReport) -> None:
    from energy_forecast.forecasting.evaluation.breakdown import WEEKDAYS

    for (name,), rows in found.rows.group_by("city", maintain_order=True):
        cells = {(row["weekday"], row["local_hour"]): row["mape"] for row in rows.iter_rows(named=True)}
        days = [day for day in WEEKDAYS if any(at[0] == day for at in cells)]
        table(
            ["hour", *(day[:3] if day != "holiday" else day for day in days)],
            [
                (f"{hour:02}:00", *(None if (x := cells.get((day, hour))) is None else f"{x:.2f}" for day in days))
                for hour in range(24)
                if any(at[1] == hour for at in cells)
            ],
            title=f"{name}, {found.model}{_conditions(found, name)}: MAPE % by weekday and local hour; "
            f"of all hours {_share(found.mape[str(name)])}",
        )
    if found.lacking:
        echo(f"Left out, because none of the selected forecasts has an actual yet: {named(found.lacking)}")
    echo_failures("Not examined", found.failed)


def _share(mape: float) -> str:
    return f"{mape:.2f}" if math.isfinite(mape) else "undefined, because every actual is zero"
