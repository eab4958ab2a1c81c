"""energy-forecast partition."""

from __future__ import annotations

from typing import Annotated

import typer

from energy_forecast.cli.access import acting_database, reading_database
from energy_forecast.cli.console import emit, out, size, table
from energy_forecast.cli.options import Json
from energy_forecast.database.partitions import Partition

app = typer.Typer(no_args_is_help=True, help="The partitions of the tables.")
Wait = Annotated[bool, typer.Option("--allow-wait", help="Even if readers of predictions wait for over a second.")]
City = Annotated[str, typer.Argument(help="The city's name.")]


@app.command("list")
def list_(
    exact: Annotated[bool, typer.Option("--exact", help="Count the rows of large partitions as well.")] = False,
    json: Json = False,
) -> None:
    """List every partition with its range or city, rows and bytes.

    A number of rows after ~ is the planner's estimate, given for partitions over 256 MB.

    Example: energy-forecast partition list
    """
    from energy_forecast.operations.partitions import list_partitions

    found = list_partitions(reading_database(), exact=exact)
    if json:
        emit(found)
        return
    table(
        ["table", "partition", "range or city", "rows", "size"],
        [(part.table_name, part.partition_name, _extent(part), _rows(part), size(part.byte_count)) for part in found],
    )


def _extent(part: Partition) -> str:
    if part.range_start is not None:
        extent = f"{part.range_start:%Y-%m} UTC"
    else:
        extent = part.city or ("every other city" if part.is_shared else "-")
    return f"{extent}, detach not finished" if part.detach_pending else extent


def _rows(part: Partition) -> str:
    if part.row_count is None:
        return "unknown"
    return f"{part.row_count:,}" if part.is_exact else f"~{part.row_count:,}"


@app.command()
def dedicate(city: City, allow_wait: Wait = False, json: Json = False) -> None:
    """Move a city's current predictions into a separate partition.

    This helps if a city's forecasts are read or written much more than others'. Writers of predictions wait until it is
    done, readers only for a moment.

    Example: energy-forecast partition dedicate Mumbai
    """
    from energy_forecast.operations import partitions

    move = partitions.dedicate(acting_database(), city, allow_wait=allow_wait)
    if json:
        emit(move)
    elif move.outcome == "already":
        out.print(f"{city} already has a separate partition: {move.partition_name}.")
    else:
        out.print(f"Moved {move.row_count:,} predictions of {city} into {move.partition_name}.")


@app.command()
def share(city: City, allow_wait: Wait = False, json: Json = False) -> None:
    """Move a city's predictions back into the shared partition.

    Example: energy-forecast partition share Mumbai
    """
    from energy_forecast.operations import partitions

    move = partitions.share(acting_database(), city, allow_wait=allow_wait)
    if json:
        emit(move)
    elif move.outcome == "already":
        out.print(f"{city} already uses the shared partition.")
    else:
        out.print(f"Moved {move.row_count:,} predictions of {city} back; removed {move.partition_name}.")
