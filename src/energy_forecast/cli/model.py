"""energy-forecast model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.access import acting_database, open_database, reading_database
from energy_forecast.cli.console import echo, emit, minute, out, require_parts, table
from energy_forecast.cli.options import AllowPartial, Cities, Json, time_option
from energy_forecast.database import Role, champions
from energy_forecast.database import models as stored_models
from energy_forecast.database.cities import city_named
from energy_forecast.errors import PromotionError, UnknownModelError

if TYPE_CHECKING:
    from energy_forecast.pipelines import Promotion

app = typer.Typer(no_args_is_help=True, help="Models and their versions.")


@app.command("list")
def list_(json: Json = False) -> None:
    """List every version of every model that was trained.

    Example: energy-forecast model list
    """
    with reading_database().reading(Role.FORECASTER) as connection:
        rows = stored_models.list_models(connection)
    if json:
        emit(rows)
    elif not rows:
        out.print("No model is trained yet. Run: energy-forecast train")
    else:
        table(
            ["model", "version", "active", "trained on data until", "MAPE %", "cities"],
            [
                (
                    row["name"],
                    row["version"],
                    "yes" if row["is_active"] else "no",
                    minute(row["trained_until"]),
                    None if row["mape"] is None else f"{row['mape']:.2f}",
                    ", ".join(row["cities"] or []),
                )
                for row in rows
            ],
        )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[str | None, typer.Option(help="One version. Default: the highest number.")] = None,
    json: Json = False,
) -> None:
    """Show a version of a model: its training data, its scores on held-out data, and its forecast runs.

    Example: energy-forecast model show gradient-boosting
    """
    with reading_database().reading(Role.FORECASTER) as connection:
        rows = stored_models.show_model(connection, name=name, version=version)
    if not rows:
        raise UnknownModelError(
            f"Version {version} of {name!r} not found." if version else f"Trained model {name!r} not found.",
            hint="See: energy-forecast model list",
        )
    row = rows[0]
    if json:
        emit(row)
        return
    out.print(f"{row['name']} version {row['version']}", style="bold")
    out.print(f"  {row['type']}, {'active' if row['is_active'] else 'not active'}")
    out.print(f"  trained {minute(row['trained_at'])} on data available by {minute(row['trained_until'])}")
    out.print(f"  forecast runs {row['forecast_runs']:,}, backtest runs {row['backtest_runs']:,}")
    from energy_forecast.forecasting.models.weather_fallback import VARIANTS

    rows_shown = []
    for city, facts in (row["cities"] or {}).items():
        for variant in VARIANTS:
            held_out = facts.get(variant, {}).get("held_out", {})
            if held_out.get("mape") is not None:
                rows_shown.append(
                    (
                        city,
                        variant.replace("_", " "),
                        f"{facts['load_hours']:,}",
                        f"{held_out['mape']:.2f}",
                        f"{held_out['naive_168_mape']:.2f}" if "naive_168_mape" in held_out else None,
                        f"{facts['artifact_bytes'] / 1024:,.0f} kB",
                    )
                )
    if rows_shown:
        table(
            ["city", "variant", "training hours", "held-out MAPE %", "naive-168 %", "artifact"],
            rows_shown,
            title="One day ahead, on held-out data",
        )


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[
        str | None, typer.Option(help="One version. Default: that with the latest training data.")
    ] = None,
    city: Cities = None,
    reason: Annotated[str | None, typer.Option(help="The reason, stored with the promotion.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote without sufficient evidence; requires --reason.")
    ] = False,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Make a version the champion of cities, which `forecast` then uses, if backtests show that it is better.

    It must be significantly better than the naive models and the current champion, on common backtests.

    Example: energy-forecast model promote ensemble --city Munich
    """
    from energy_forecast import pipelines

    done = pipelines.promote(acting_database(), name, version=version, cities=city or (), reason=reason, force=force)
    _print_promotions(done, json, hint=_promotion_remedy(name, done), allow_partial=allow_partial)


def _promotion_remedy(name: str, done: Sequence[Promotion]) -> str:
    """Return the remedy after refusals: train, run a backtest, or force with a reason."""
    if all(not one.evidence for one in done):
        return f"To see the versions and their cities: energy-forecast model show {name}"
    untested = [row["rival"] for one in done for row in one.evidence if "pairs" not in row]
    if untested:
        models = ",".join(dict.fromkeys([name, *untested]))
        return (
            f"It requires 20 issues: energy-forecast backtest --model {models} --from TIME --to TIME. "
            "Or use --force with --reason."
        )
    return "Its backtests do not show that it is better. To promote it anyway, use --force with --reason."


@app.command()
def rollback(
    city: Cities = None,
    reason: Annotated[str | None, typer.Option(help="The reason, stored with the promotion.")] = None,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Make the previous champion the champion again.

    Example: energy-forecast model rollback --city Munich
    """
    from energy_forecast import pipelines

    done = pipelines.roll_back(acting_database(), cities=city or (), reason=reason)
    _print_promotions(done, json, hint="See: energy-forecast model history CITY", allow_partial=allow_partial)


def _print_promotions(done: Sequence[Promotion], json: bool, *, hint: str, allow_partial: bool) -> None:
    if json:
        emit({"cities": done})
    else:
        table(
            ["city", "outcome", "champion", "before"],
            [
                (
                    one.city,
                    one.outcome,
                    one.before if one.outcome in ("refused", "failed") else f"{one.model} {one.version}",
                    one.before,
                )
                for one in done
            ],
        )
        for one in done:
            echo(f"  {one.city}: {one.reason}")
    failed = [one.reason for one in done if one.outcome == "failed"]
    if not failed and done and all(one.outcome == "refused" for one in done):
        raise PromotionError("No champion was changed.", hint=hint)
    require_parts(len(done) - len(failed), failed, "decided", allow_partial=allow_partial)


@app.command()
def history(
    city: Annotated[str, typer.Argument(help="The city's name.")],
    at: Annotated[datetime | None, time_option("Only the champion at TIME.")] = None,
    json: Json = False,
) -> None:
    """Show the champions of a city over time: version, user and reason.

    Example: energy-forecast model history Munich --at 2026-03-01T00:00Z
    """
    with reading_database().reading(Role.FORECASTER) as connection:
        name = city_named(connection, city).name
        rows = champions.promotions(connection, [name], at)
    if json:
        emit({"city": name, "champions": rows})
    elif not rows:
        when = "yet" if at is None else f"at {minute(at)}"
        out.print(f"{name} had no champion {when}; `forecast` chose the model automatically.")
    else:
        table(
            ["model", "version", "from", "to", "by", "reason"],
            [
                (r["model"], r["version"], minute(r["first"]), minute(r["end"]), r["promoted_by"], r["reason"])
                for r in rows
            ],
        )


@app.command()
def due(city: Cities = None, allow_partial: AllowPartial = False, json: Json = False) -> None:
    """List the cities due for retraining by the policy, with reasons. `train --due` trains them.

    Example: energy-forecast model due
    """
    from energy_forecast.pipelines import retrain

    found = retrain.retraining_status(reading_database(), cities=city or ())
    if json:
        emit([asdict(one) | {"due": bool(one.reasons)} for one in found])
    else:
        table(
            ["city", "model", "trained on data until", "MAPE %", "held-out", "inside 90 %", "due"],
            [
                (
                    one.city,
                    one.model if one.version is None else f"{one.model} {one.version}",
                    None if one.trained_until is None else minute(one.trained_until),
                    None if one.mape is None else f"{one.mape:.2f}",
                    None if one.held_out_mape is None else f"{one.held_out_mape:.2f}",
                    None if one.coverage is None else f"{one.coverage:.0%}",
                    "; ".join(one.reasons) or ("no" if one.fault is None else one.fault),
                )
                for one in found
            ],
        )
    faults = [one.fault for one in found if one.fault is not None]
    require_parts(len(found) - len(faults), faults, "checked", allow_partial=allow_partial)


@app.command()
def policy(
    reason: Annotated[str | None, typer.Argument(help="age, drift or coverage. Default: show all.")] = None,
    threshold: Annotated[
        str | None,
        typer.Argument(help="Days of age; multiple of the held-out MAPE; least share inside the 90 % interval; never."),
    ] = None,
    json: Json = False,
) -> None:
    """Show or change the thresholds for retraining a city.

    Example: energy-forecast model policy age 30
    """
    from energy_forecast.pipelines import retrain

    database = reading_database() if reason is None else open_database()
    if reason is not None:
        if threshold is None:
            raise typer.BadParameter("Give a threshold, or never.")
        try:
            number = None if threshold == "never" else float(threshold)
        except ValueError as error:
            raise typer.BadParameter(f"{threshold!r} is neither a number nor never.") from error
        retrain.set_policy(database, reason, number)
    rows = retrain.policies(database)
    if json:
        emit(rows)
        return
    table(
        ["reason", "threshold", "measured over", "note"],
        [
            (
                row["reason"],
                "never" if row["threshold"] is None else f"{row['threshold']:g} {retrain.THRESHOLDS[row['reason']][0]}",
                None if row["window_days"] is None else f"{row['window_days']} days",
                row["note"],
            )
            for row in rows
        ],
    )
