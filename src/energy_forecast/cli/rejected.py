"""energy-forecast ingest rejected."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from energy_forecast.cli.access import reading_database
from energy_forecast.cli.console import counted, echo, emit, minute, out, table
from energy_forecast.cli.option_names import with_option_names
from energy_forecast.cli.options import Json, output_option
from energy_forecast.cli.output_files import write_frame

_ON_SCREEN = 50
_LONGEST_ROW = 200
_MOST_REASONS = 20


def _batch_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a batch id; see the report of the load.") from None


def rejected(
    batch: Annotated[
        UUID | None,
        typer.Argument(
            metavar="[BATCH]", parser=_batch_id, help="A batch id from a report. Default: the newest batch."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"Largest number of rows. Default: {_ON_SCREEN} on the screen, otherwise all."),
    ] = None,
    output: Annotated[
        Path | None,
        output_option("Write file, line, column, reason, row and cell_only here; ends in .csv or .parquet."),
    ] = None,
    json: Json = False,
) -> None:
    """List the rows that a batch rejected, and the cells that it left empty, with line, column and reason.

    Example: energy-forecast ingest rejected --output rejected.csv
    """
    from energy_forecast.database.quarantine import rejected_rows

    on_screen = output is None and not json
    summary, rows = rejected_rows(reading_database(), batch, limit=limit or (_ON_SCREEN if on_screen else None))
    # The same keys as in the output files
    found = [
        {
            "file": row.file,
            "line": row.line,
            "column": row.column_name,
            "reason": row.reason,
            "row": row.row_data,
            "cell_only": row.cell_only,
        }
        for row in rows
    ]
    if output is not None:
        import polars as pl

        schema = {"file": pl.String, "line": pl.Int64, "column": pl.String, "reason": pl.String, "row": pl.String}
        schema["cell_only"] = pl.Boolean
        write_frame(pl.DataFrame([one | {"row": _text(one["row"])} for one in found], schema=schema), output)
    if json:
        emit(
            {
                "batch": summary.id,
                "kind": summary.kind,
                "files": summary.files,
                "loaded_at": summary.loaded_at,
                "read": summary.read,
                "rejected": summary.rejected,
                "cells_left_empty": summary.cells_left_empty,
                "kept": summary.kept,
                "reasons": summary.reasons,
                "rows": found,
            }
        )
        return
    if on_screen and found:
        table(
            ["file", "line", "column", "rejected", "reason", "row"],
            [
                (
                    one["file"],
                    one["line"],
                    one["column"],
                    "cell" if one["cell_only"] else "row",
                    with_option_names(str(one["reason"]), "ingest", "consumption"),
                    _text(one["row"])[:_LONGEST_ROW],
                )
                for one in found
            ],
        )
    files = ", ".join(summary.files[:5]) + (", ..." if summary.files[5:] else "")
    which = f"{summary.kind} of {minute(summary.loaded_at)}, {files}"
    cells = f", {counted(summary.cells_left_empty, 'cell')} left empty" if summary.cells_left_empty else ""
    out.print(f"{summary.rejected:,} of {counted(summary.read, 'row')} rejected{cells}: {which}.  (batch {summary.id})")
    entries = summary.rejected + summary.cells_left_empty
    if summary.kept < entries:
        echo(f"  {summary.kept:,} of {entries:,} are kept; by reason:")
        for reason in summary.reasons[:_MOST_REASONS]:
            where = f"{reason['column']}: " if reason["column"] else ""
            echo(f"  {reason['count']:,} {'cells' if reason['cell_only'] else 'rows'}: {where}{reason['reason']}")
    if on_screen and len(found) < summary.kept:
        echo(f"  {summary.kept - len(found):,} more: use --limit, or --output FILE.csv for all.")


def _text(cells: object) -> str:
    return json_text.dumps(cells, ensure_ascii=False)
