"""Quality flags: faults that the checks found in a city's series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import one_row, queries


def last_before(connection: Connection, city: UUID, series: str, before: datetime) -> datetime | None:
    """Return the last timestamp before `before` with a value of the series (consumption or weather), or None."""
    name = "last_before" if series == "consumption" else "weather_last_before"
    row = one_row(connection, queries("quality")[name], {"city": city, "before": before})
    moment: datetime | None = row[0]
    return moment


def replace_flags(
    connection: Connection,
    city: UUID,
    series: str,
    *,
    first: datetime,
    last: datetime,
    levels_from: datetime,
    batch: UUID,
    flags: Sequence[Mapping[str, Any]],
) -> None:
    """Replace the flags of a city's series that overlap [first, last].

    Args:
        levels_from: start of the replaced flags of level changes, which are detected late.
        flags: kind, first, last, hours, factor, left_out.
    """
    statements = queries("quality")
    span = {"first": first, "last": last, "levels_from": levels_from}
    new = {f"{name}s": [flag[name] for flag in flags] for name in ("kind", "first", "last")}
    connection.execute(statements["remove_flags"], {"city": city, "series": series, **span, **new})
    with connection.cursor() as cursor:
        cursor.executemany(
            statements["add_flag"],
            [{**flag, "city": city, "series": series, "batch": batch} for flag in flags],
        )
