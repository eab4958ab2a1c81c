"""energy-forecast score explain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from energy_forecast.cli.access import reading_database
from energy_forecast.cli.console import emit, minute, out, table
from energy_forecast.cli.options import Json, output_option
from energy_forecast.cli.output_files import write_frame
from energy_forecast.cli.score_cells import Purpose
from energy_forecast.errors import EnergyForecastError


def _score_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a score id. To choose by city or model, use the options.") from None


def explain(
    score: Annotated[
        UUID | None,
        typer.Argument(parser=_score_id, help="The score's id. Default: the newest score that matches the options."),
    ] = None,
    city: Annotated[str | None, typer.Option(metavar="CITY", help="Only scores of this city.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only scores of this model.")] = None,
    purpose: Annotated[Purpose | None, typer.Option(help="Only scores of runs with this purpose.")] = None,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Only scores of this local month.")] = None,
    lead: Annotated[
        int | None, typer.Option(metavar="HOURS", help="Only the bucket of lead times from: 0, 6, 24 or 48.")
    ] = None,
    output: Annotated[Path | None, output_option("Write every pair to FILE.csv or FILE.parquet.")] = None,
    json: Json = False,
) -> None:
    """Show the pairs behind a score, and recompute the score from them.

    The largest errors are shown with the part that the error of the weather forecast caused.

    Example: energy-forecast score explain --city Munich --model gradient-boosting --output pairs.csv
    """
    from energy_forecast import pipelines
    from energy_forecast.forecasting.hours import REPORT_LEADS
    from energy_forecast.pipelines.labels import condition_label
    from energy_forecast.pipelines.weather_share import WEATHER_PART_UNKNOWN

    if month is not None and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise typer.BadParameter(f"{month!r} is not a month such as 2026-03.", param_hint="--month")
    buckets = [start for start, _ in REPORT_LEADS]
    if lead is not None and lead not in buckets:
        allowed = ", ".join(map(str, buckets))
        raise typer.BadParameter(f"No bucket of lead times starts at {lead} hours. Use {allowed}.", param_hint="--lead")
    found = pipelines.explain_score(
        reading_database(),
        id=score,
        city=city,
        model=model,
        purpose=None if purpose is None else purpose.value,
        month=month,
        lead_start=lead,
    )
    if output is not None:
        write_frame(found.pairs, output)
    stored, again = found.stored, found.recomputed
    facts = {
        name: stored[name]
        for name in (
            *("id", "city", "model", "version", "purpose", "weather", "assumptions", "period_start", "period_end"),
            *("lead_start_hours", "lead_end_hours", "actuals_as_of", "created_at"),
        )
    }
    numbers = [name for name in pipelines.RECOMPUTED if name not in ("pair_digest", "by_hour")]
    worst, share = found.worst, found.weather_share
    if json:
        emit(
            facts
            | {
                "stored": {name: stored[name] for name in numbers}
                | {"pair_digest": bytes(stored["pair_digest"]).hex(), "by_hour": stored["by_hour"]},
                "recomputed": {name: again[name] for name in numbers}
                | {"pair_digest": again["pair_digest"].hex(), "by_hour": again["by_hour"]},
                "differing": found.differing,
                "worst": worst.select(
                    *("issued_at", "timestamp", "actual", "predicted", "q05", "q95"),
                    *("error_kwh", "weather_kwh", "model_kwh", "weather_percent", "temperature_error"),
                ).to_dicts(),
                "worst_error": None if share is None else share.as_dict(),
                "output": output,
            }
        )
    else:
        out.print(f"{stored['city']}, {stored['model']} {stored['version']}", style="bold")
        out.print(
            f"  {stored['purpose']} runs {condition_label(stored['weather'], stored['assumptions'])}, "
            f"lead {stored['lead_start_hours']} to "
            f"{stored['lead_end_hours']} h, {minute(stored['period_start'])} to {minute(stored['period_end'])}, "
            f"actuals as of {minute(stored['actuals_as_of'])}"
        )
        table(
            ["", "stored", "recomputed"],
            [(name, repr(stored[name]), repr(again[name])) for name in numbers]
            + [("pair_digest", bytes(stored["pair_digest"]).hex()[:16], again["pair_digest"].hex()[:16])],
        )
        table(
            ["issued", "hour", "actual kWh", "predicted", "90 % interval", "error", "of it weather"],
            [
                (
                    minute(row["issued_at"]),
                    minute(row["timestamp"]),
                    f"{row['actual']:,.1f}",
                    f"{row['predicted']:,.1f}",
                    f"{row['q05']:,.1f} to {row['q95']:,.1f}",
                    f"{row['error_kwh']:+,.1f}",
                    None if row["weather_kwh"] is None else f"{row['weather_kwh']:+,.1f}",
                )
                for row in worst.iter_rows(named=True)
            ],
            title="The largest errors",
        )
        if share is not None:
            out.print(share.statement)
        if worst["weather_kwh"].null_count():
            out.print(f"A dash: {WEATHER_PART_UNKNOWN.get(stored['weather'], WEATHER_PART_UNKNOWN['forecast'])}")
        if output is not None:
            out.print(f"Written: {output}")
    if found.differing:
        raise EnergyForecastError(
            f"Recomputed, the score differs in {', '.join(found.differing)}.",
            hint="Its forecasts or actuals were changed from outside, or a partition of them was dropped.",
        )
