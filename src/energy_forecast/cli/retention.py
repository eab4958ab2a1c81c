"""energy-forecast retention."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from energy_forecast.cli.access import acting_database, reading_database
from energy_forecast.cli.console import below, emit, minute, out, size, table
from energy_forecast.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="How long data is kept. `maintain retention` removes older data.")


def _span(interval: str | None) -> str:
    """Return an interval of PostgreSQL in words: 1 year 6 months."""
    return "ever" if interval is None else re.sub(r"\bmon(s?)\b", r"month\1", interval)


@app.command("list")
def list_(json: Json = False) -> None:
    """List how long the rows of each table are kept.

    Example: energy-forecast retention list
    """
    from energy_forecast.operations.retention import policies

    rows = policies(reading_database())
    if json:
        emit(rows)
        return
    table(
        ["table", "kept for", "thinned after", "to lead times", "removed as", "removed until", "rows", "note"],
        [
            (
                row["table_name"],
                _span(row["keep"]),
                row["thin_after"] and _span(row["thin_after"]),
                below(row["kept_lead_hours"]),
                "whole months" if row["by_month"] else "rows",
                minute(row["dropped_until"]),
                f"{row['dropped_rows'] or 0:,}",
                row["note"] if row["keep_scored"] else "Months to which stored scores refer are removed too",
            )
            for row in rows
        ],
    )


@app.command()
def keep(
    table_name: Annotated[str, typer.Argument(metavar="TABLE", help="A table of `retention list`.")],
    span: Annotated[str, typer.Argument(help="A span such as 730d, 18mo or 2y; or forever.")],
    scored: Annotated[
        bool | None,
        typer.Option(
            "--keep-scored/--drop-scored",
            help="prediction_vintages: whether months to which scores refer stay. Default: unchanged.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Change how long the rows of a table are kept. `maintain retention` removes older rows.

    With --drop-scored, `score explain` cannot list the forecasts of older scores. The scores stay.

    Example: energy-forecast retention keep predictions 18mo
    """
    from energy_forecast.operations import retention

    changed = retention.keep(acting_database(), table_name, span, scored=scored)
    if json:
        emit(changed)
    else:
        stay = "stay" if changed["keep_scored"] else "are removed too"
        scores = f"; months to which stored scores refer {stay}" if table_name == "prediction_vintages" else ""
        out.print(f"{changed['table_name']} is kept for {_span(changed['keep'])}{scores}.")


@app.command()
def thin(
    table_name: Annotated[str, typer.Argument(metavar="TABLE", help="weather_forecasts.")],
    after: Annotated[str, typer.Option(help="Age of the months: a span such as 400d, 18mo or 1y; or never.")],
    keep: Annotated[
        int | None, typer.Option(min=1, max=384, help="Keep lead times below this number of hours.")
    ] = None,
    json: Json = False,
) -> None:
    """Keep only short lead times of old months. `maintain retention` removes the others.

    Reads as of a time then return the same weather forecast as before, or none. A backtest or an explanation that needs
    a removed lead time fails.

    Example: energy-forecast retention thin weather_forecasts --after 1y --keep 30
    """
    from energy_forecast.operations import retention

    changed = retention.thin(acting_database(), table_name, after=after, keep=keep)
    if json:
        emit(changed)
    elif changed["thin_after"] is None:
        out.print(f"{changed['table_name']} is not thinned from now on.")
    else:
        out.print(
            f"{changed['table_name']} older than {_span(changed['thin_after'])} keeps lead times below "
            f"{changed['kept_lead_hours']} h."
        )


@app.command()
def ledger(
    limit: Annotated[int, typer.Option(min=1, help="Largest number of rows.")] = 50,
    json: Json = False,
) -> None:
    """Show the data that retention removed, newest first. With --json, also the SHA-256 of the rows.

    Example: energy-forecast retention ledger --limit 10
    """
    from energy_forecast.operations import retention

    rows = retention.ledger(reading_database(), limit=limit)
    if json:
        emit(rows)
    elif not rows:
        out.print("Nothing was removed yet.")
    else:
        table(
            ["removed", "table", "from", "to", "kept lead times", "rows", "size", "by"],
            [
                (
                    minute(row["dropped_at"]),
                    row["table_name"],
                    minute(row["range_start"]),
                    minute(row["range_end"]),
                    below(row["kept_lead_hours"]),
                    f"{row['row_count']:,}",
                    size(row["byte_count"]),
                    row["dropped_by"],
                )
                for row in rows
            ],
        )
