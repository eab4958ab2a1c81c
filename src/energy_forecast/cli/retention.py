"""energy-forecast retention"""

from __future__ import annotations

from typing import Annotated

import typer

from energy_forecast.cli.access import acting_database, open_database
from energy_forecast.cli.console import Json, emit, minute, out, size, table

app = typer.Typer(no_args_is_help=True, help="How long data is kept. `maintain retention` takes away what is older.")


@app.command("list")
def list_(json: Json = False) -> None:
    """List how long the rows of each table are kept.

    Example: energy-forecast retention list
    """
    from energy_forecast.operations.retention import policies

    rows = policies(open_database())
    if json:
        emit(rows)
        return
    table(
        ["table", "kept for", "what goes", "gone so far, up to", "rows", "note"],
        [
            (
                row["table_name"],
                row["keep"] or "ever",
                "whole months" if row["by_month"] else "rows",
                minute(row["dropped_until"]),
                f"{row['dropped_rows'] or 0:,}",
                row["note"],
            )
            for row in rows
        ],
    )


@app.command()
def keep(
    table_name: Annotated[str, typer.Argument(metavar="TABLE", help="A table of `retention list`.")],
    span: Annotated[str, typer.Argument(help="Such as 730d, 18mo or 2y; or forever.")],
    json: Json = False,
) -> None:
    """Change how long the rows of a table are kept. Nothing goes before `maintain retention` runs.

    Example: energy-forecast retention keep predictions 18mo
    """
    from energy_forecast.operations import retention

    changed = retention.keep(acting_database(), table_name, span)
    if json:
        emit(changed)
    else:
        out.print(f"{changed['table_name']} is kept for {changed['keep'] or 'ever'}.", markup=False)


@app.command()
def ledger(
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 50,
    json: Json = False,
) -> None:
    """Show what retention took away, newest first. With --json, the SHA-256 of the rows too.

    Example: energy-forecast retention ledger --limit 10
    """
    from energy_forecast.operations import retention

    rows = retention.ledger(open_database(), limit=limit)
    if json:
        emit(rows)
    elif not rows:
        out.print("Nothing was taken away yet.")
    else:
        table(
            ["gone", "table", "from", "to", "rows", "size", "by"],
            [
                (
                    minute(row["dropped_at"]),
                    row["table_name"],
                    minute(row["range_start"]),
                    minute(row["range_end"]),
                    f"{row['row_count']:,}",
                    size(row["byte_count"]),
                    row["dropped_by"],
                )
                for row in rows
            ],
        )
