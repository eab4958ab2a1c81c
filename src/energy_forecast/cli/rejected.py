"""energy-forecast ingest rejected"""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from energy_forecast.cli.access import open_database
from energy_forecast.cli.console import Json, counted, emit, minute, out, say, table
from energy_forecast.cli.output_files import check_output, write_frame

_ON_SCREEN = 50
_LONGEST_ROW = 200


def rejected(
    batch: Annotated[
        UUID | None, typer.Argument(metavar="[BATCH]", help="A load, as its report names it. Default: the newest.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"At most so many rows. Default: {_ON_SCREEN} on the screen, else all.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="Write file, line, column, reason and row here; ends in .csv or .parquet."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the rows that a load could not take, as they stood in its files, with line, column and reason.

    Example: energy-forecast ingest rejected --output rejected.csv
    """
    from energy_forecast.database.quarantine import rejected_rows

    check_output(output, "--output", (".csv", ".parquet"))
    on_screen = output is None and not json
    load, rows = rejected_rows(open_database(), batch, limit=limit or (_ON_SCREEN if on_screen else None))
    # As in the files: "column" is no word for a field of a table
    found = [
        {"file": row.file, "line": row.line, "column": row.column_name, "reason": row.reason, "row": row.row_data}
        for row in rows
    ]
    if output is not None:
        import polars as pl

        schema = {"file": pl.String, "line": pl.Int64, "column": pl.String, "reason": pl.String, "row": pl.String}
        write_frame(pl.DataFrame([one | {"row": _text(one["row"])} for one in found], schema=schema), output)
    if json:
        emit(
            {
                "batch": load.id,
                "kind": load.kind,
                "files": load.files,
                "loaded_at": load.loaded_at,
                "read": load.read,
                "rejected": load.rejected,
                "rows": found,
            }
        )
        return
    if on_screen and found:
        table(
            ["file", "line", "column", "reason", "row"],
            [
                (one["file"], one["line"], one["column"], one["reason"], _text(one["row"])[:_LONGEST_ROW])
                for one in found
            ],
        )
    which = f"{load.kind} of {minute(load.loaded_at)}, {', '.join(load.files[:5])}{', ...' if load.files[5:] else ''}"
    out.print(
        f"{load.rejected:,} of {counted(load.read, 'row')} rejected: {which}.  (batch {load.id})",
        markup=False,
        soft_wrap=True,
    )
    if on_screen and len(found) < load.rejected:
        say(f"  {load.rejected - len(found):,} more: --limit, or all of them by --output FILE.csv")


def _text(cells: object) -> str:
    return json_text.dumps(cells, ensure_ascii=False)
