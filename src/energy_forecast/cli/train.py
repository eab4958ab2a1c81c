"""energy-forecast train.

The pipelines are imported inside the function: they import libraries that `--help` does not need.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.access import acting_database
from energy_forecast.cli.console import echo, echo_failures, emit, failures, out, progress, require_parts, table
from energy_forecast.cli.options import AllowPartial, Cities, Json, Processes, time_option

if TYPE_CHECKING:
    from energy_forecast.pipelines import TrainingReport

Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="NAME", help="A model; may be repeated. Default: all.")
]


def train(
    model: Models = None,
    city: Cities = None,
    until: Annotated[datetime | None, time_option("Train only on data available by TIME. Default: now.")] = None,
    due: Annotated[
        bool, typer.Option("--due", help="Only the cities listed by `model due`, each with the model that serves it.")
    ] = False,
    processes: Processes = None,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Train models for each city and store them as a new version.

    Example: energy-forecast train --model ensemble --city Munich
    """
    from energy_forecast import pipelines
    from energy_forecast.pipelines import retrain

    if due and (model or until is not None):
        raise typer.BadParameter("--due excludes --model and --until.")
    database = acting_database()
    with progress() as report_progress:
        if due:
            done = retrain.train_due(
                database,
                cities=city or (),
                processes=processes or pipelines.usable_processors(),
                progress=report_progress,
            )
            reasons = {one.city: one.reasons for one in done.statuses if one.reasons}
            unknown = {(one.city, one.model): one.fault for one in done.statuses if one.fault is not None}
            if not done.reports and not unknown:
                emit({"until": None, "trained": [], "failed": [], "due": {}}) if json else out.print("Nothing is due.")
                return
            report = pipelines.TrainingReport(
                done.reports[0].until if done.reports else datetime.now(UTC),
                [one for part in done.reports for one in part.trained],
                unknown | {key: why for part in done.reports for key, why in part.failed.items()},
            )
        else:
            reasons = {}
            report = pipelines.train(
                database,
                models=model or (),
                cities=city or (),
                until=until,
                processes=processes or pipelines.usable_processors(),
                allow_none=True,
                progress=report_progress,
            )
    if json:
        emit(
            {
                "until": report.until,
                "trained": report.trained,
                "failed": failures(report.failed),
                **({"due": reasons} if due else {}),
            }
        )
    else:
        _print_training(report, reasons)
    require_parts(
        len(report.trained), list(report.failed.values()), "trained", parts="models", allow_partial=allow_partial
    )


def _print_training(report: TrainingReport, due: Mapping[str, list[str]]) -> None:
    for name, whys in due.items():
        echo(f"{name}: {'; '.join(whys)}")
    if report.trained:
        table(
            ["city", "model", "version", "held-out MAPE %", "naive-168 %", "hours", "left out", ""],
            [
                (
                    t.city,
                    t.model,
                    t.version,
                    _held_out(t.facts, "mape"),
                    _held_out(t.facts, "naive_168_mape"),
                    t.facts.get("load_hours"),
                    t.left_out,
                    "unchanged: the data is the same" if t.reused else "new",
                )
                for t in report.trained
            ],
        )
    drifting = {t.city: t.clock for t in report.trained if t.clock.has_drifted}
    for name, clock in drifting.items():
        echo(f"  {name}: {clock}")
    echo_failures("Not trained", report.failed)


def _held_out(facts: dict[str, object], name: str) -> str | None:
    from energy_forecast.forecasting.models.weather_fallback import FORECAST_WEATHER, WITHOUT_WEATHER

    variant = facts.get(FORECAST_WEATHER) or facts.get(WITHOUT_WEATHER)
    held_out = variant.get("held_out", {}) if isinstance(variant, dict) else {}
    return f"{held_out[name]:.2f}" if name in held_out else None
