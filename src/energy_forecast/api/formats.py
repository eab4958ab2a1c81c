"""Formats of answers: JSON by columns or rows, CSV, an Arrow stream, Parquet; and their choice."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import polars as pl

from energy_forecast.errors import FormatError
from energy_forecast.tables import Table, quantile_level

FACTS_HEADER = "Energy-Forecast-Facts"
# A spreadsheet would run a text that begins so
_FORMULA = r"^[=+\-@\t\r]"
# Times of arrays are in UTC, and end in Z
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
_MICROSECONDS = "%Y-%m-%dT%H:%M:%S%.6fZ"
_SECONDS = "%Y-%m-%dT%H:%M:%SZ"


class Shape(StrEnum):
    """The shape of JSON: an array for each column, or an object for each row."""

    COLUMNS = "columns"
    ROWS = "rows"


@dataclass(frozen=True)
class Format:
    """A format of answers."""

    name: str
    media_type: str
    encode: Callable[[Table], bytes]


def plain(value: object) -> Any:
    """Return a value for JSON: times end in Z, and spans are seconds."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | UUID():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(one) for one in value]
        case _:
            return value


def document(table: Table, shape: Shape = Shape.COLUMNS) -> dict[str, Any]:
    """Return a table as a document for JSON, with its facts and units."""
    units = table.units
    read = _list if shape is Shape.ROWS else _values
    values = {column.name: read(column) for column in table.frame.iter_columns()}
    head = {
        **plain(table.facts),
        "interval": _interval(table),
        "label": "start",
        "unit": _main_unit(units),
        "units": units,
    }
    if shape is Shape.ROWS:
        names = list(values)
        return {**head, "rows": [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)]}
    levels = {name: level for name in values if (level := quantile_level(name)) is not None}
    columns = {name: column for name, column in values.items() if name not in levels}
    if not levels:
        return {**head, "columns": columns}
    return {**head, "columns": columns, "quantiles": {f"{level:g}": values[name] for name, level in levels.items()}}


def _interval(table: Table) -> str | None:
    """Return the length of all intervals as an ISO 8601 duration; None if they differ, or the rows have none."""
    minutes = table.facts.get("interval_minutes")
    if minutes is None and "interval_minutes" in table.frame.columns:
        lengths = table.frame["interval_minutes"].unique()
        minutes = lengths[0] if len(lengths) == 1 else None
    return None if minutes is None else f"PT{minutes}M"


def _main_unit(units: Mapping[str, str]) -> str | None:
    """Return the unit of energies if there are any, otherwise the only unit, or None."""
    distinct = {unit for name, unit in units.items() if name != "interval_minutes"}
    return "kWh" if "kWh" in distinct else next(iter(distinct)) if len(distinct) == 1 else None


def _values(column: pl.Series) -> Any:
    """Return the values of a column for JSON: if possible an array, which is encoded without objects for its values."""
    if column.null_count() == 0 and (column.dtype.is_numeric() or isinstance(column.dtype, pl.Datetime)):
        return np.ascontiguousarray(column.to_numpy())
    return _list(column)


def _list(column: pl.Series) -> list[Any]:
    """Return the values of a column as a list."""
    if isinstance(column.dtype, pl.Datetime):
        return _as_text(column).to_list()
    if column.dtype.is_temporal():
        return column.cast(pl.String).to_list()
    return column.to_list()


def _as_text(column: pl.Series) -> pl.Series:
    whole = not (column.dt.microsecond() != 0).any()
    return column.dt.strftime(_SECONDS if whole else _MICROSECONDS)


def _json(table: Table) -> bytes:
    return orjson.dumps(document(table), plain, _OPTIONS)


def json_rows(table: Table) -> bytes:
    """Return JSON with an object for each row."""
    return orjson.dumps(document(table, Shape.ROWS), plain, _OPTIONS)


def _csv(table: Table) -> bytes:
    """Return CSV with times that end in Z. An apostrophe comes before a text that a spreadsheet would run."""
    columns = []
    for column in table.frame.iter_columns():
        if isinstance(column.dtype, pl.Datetime):
            columns.append(_as_text(column))
        elif column.dtype == pl.String:
            columns.append(column.str.replace(f"({_FORMULA})", "'$1"))
        elif column.dtype.is_nested():
            texts = [None if one is None else json.dumps(plain(one), ensure_ascii=False) for one in column.to_list()]
            columns.append(pl.Series(column.name, texts, pl.String))
        else:
            columns.append(column)
    return pl.DataFrame(columns).write_csv().encode()


def _arrow(table: Table) -> bytes:
    buffer = io.BytesIO()
    # Readers other than polars do not know its views of texts
    table.frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def _parquet(table: Table) -> bytes:
    buffer = io.BytesIO()
    table.frame.write_parquet(buffer)
    return buffer.getvalue()


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("json", "application/json", _json),
        Format("csv", "text/csv", _csv),
        Format("arrow", "application/vnd.apache.arrow.stream", _arrow),
        Format("parquet", "application/vnd.apache.parquet", _parquet),
    )
}


def chosen_format(accept: str | None, name: str | None) -> Format:
    """Return the format that a request asks for: by name, otherwise by the header Accept, otherwise JSON.

    Raises:
        FormatError: there is no such format.
    """
    if name is not None:
        if name not in FORMATS:
            raise FormatError("`format` is not known.", hint=f"Choose from: {', '.join(FORMATS)}.")
        return FORMATS[name]
    if not accept or not accept.strip():
        return FORMATS["json"]
    for media_type in _by_preference(accept):
        for one in FORMATS.values():
            if media_type in {one.media_type, "*/*", f"{one.media_type.partition('/')[0]}/*"}:
                return one
    known = ", ".join(one.media_type for one in FORMATS.values())
    raise FormatError("No format of `Accept` is available.", hint=f"Choose from: {known}.")


def _by_preference(accept: str) -> list[str]:
    """Return the media types of the header with a weight above 0, by weight."""
    weighted = []
    for part in accept.split(","):
        media_type, *options = (one.strip().lower() for one in part.split(";"))
        weight = 1.0
        for option in options:
            if option.startswith("q="):
                try:
                    weight = float(option[2:])
                except ValueError:
                    weight = 0.0
        if weight > 0:
            weighted.append((-weight, media_type))
    return [media_type for _, media_type in sorted(weighted, key=lambda one: one[0])]


def facts_header(table: Table) -> str:
    """Return the facts and units of a table as one line of ASCII, for formats that have no place for them."""
    return json.dumps({**plain(table.facts), "units": table.units}, separators=(",", ":"), allow_nan=False)
