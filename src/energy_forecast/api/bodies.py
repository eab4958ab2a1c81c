"""Bodies of requests: their formats, and how they are received within limits of size and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import orjson
import polars as pl
from starlette.requests import ClientDisconnect, Request

from energy_forecast.errors import (
    EnergyForecastError,
    IngestError,
    MediaTypeError,
    TimedOutError,
    TooLargeError,
    describe,
)

_MOST_COLUMNS = 100
# Seconds until the next bytes of a body
_SLOWEST = 30
# Bytes whose writing may wait for the disk
_MANY = 65_536


@dataclass(frozen=True)
class Kind:
    """A format of bodies.

    Args:
        suffix: of its file.
        read: makes a frame of the file; None if the loader reads the file itself.
    """

    suffix: str
    read: Callable[[Path], pl.DataFrame] | None = None


def _read_arrow(path: Path) -> pl.DataFrame:
    try:
        return pl.read_ipc_stream(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise IngestError(f"The body is not an Arrow stream: {describe(error)}") from None


def _read_json(path: Path) -> pl.DataFrame:
    """Return JSON as a frame: a list of rows, or an object with `columns` or `rows`, as the API itself answers."""
    try:
        body = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise IngestError(f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    if isinstance(body, dict) and len(found := {"columns", "rows"} & body.keys()) == 1:
        body = body[found.pop()]
    columns: dict[str, list[Any]]
    if isinstance(body, dict) and all(isinstance(one, list) for one in body.values()):
        columns = body
    elif isinstance(body, list) and all(isinstance(one, dict) for one in body):
        names = list(dict.fromkeys(name for row in body for name in row))
        if len(names) > _MOST_COLUMNS:
            raise IngestError(f"The rows have more than {_MOST_COLUMNS} different names.", hint="Name the columns.")
        columns = {name: [row.get(name) for row in body] for name in names}
    else:
        raise IngestError(
            "The body is not a table.",
            hint='Send {"columns": {NAME: [VALUE, ...], ...}}, {"rows": [{NAME: VALUE, ...}, ...]}, or a list of rows.',
        )
    if len(columns) > _MOST_COLUMNS:
        raise IngestError(f"The table has more than {_MOST_COLUMNS} columns.")
    if len({len(values) for values in columns.values()}) > 1:
        raise IngestError("The columns have different lengths.")
    return pl.DataFrame([_column(name, values) for name, values in columns.items()])


def _column(name: str, values: list[Any]) -> pl.Series:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {int, float}:
        try:
            return pl.Series(name, values, pl.Float64, strict=False)
        except (OverflowError, TypeError) as error:
            raise IngestError(f"Column {name}: a number is too large.") from error
    if kinds & {dict, list}:
        raise IngestError(f"Column {name}: a value is no text and no number.")
    return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)


KINDS: dict[str, Kind] = {
    "text/csv": Kind(".csv"),
    "application/gzip": Kind(".csv.gz"),
    "application/vnd.apache.parquet": Kind(".parquet"),
    "application/vnd.apache.arrow.stream": Kind(".arrows", _read_arrow),
    "application/json": Kind(".json", _read_json),
}


def kind_of(request: Request) -> Kind:
    """Return the format of the body.

    Raises:
        MediaTypeError: it is not supported.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type not in KINDS:
        raise MediaTypeError("`Content-Type` is not supported.", hint=f"Choose from: {', '.join(KINDS)}.")
    if encoding not in {"identity", "gzip"} or (encoding == "gzip" and media_type != "text/csv"):
        raise MediaTypeError("`Content-Encoding` is not supported.", hint="Only CSV may be compressed, with gzip.")
    return KINDS["application/gzip"] if encoding == "gzip" else KINDS[media_type]


async def receive(request: Request, path: Path, digest: Any, most: int) -> None:
    """Store the body in a file.

    Args:
        digest: is updated with the bytes.

    Raises:
        TooLargeError: it is larger than `most` bytes.
        TimedOutError: the client sends too slowly.
        EnergyForecastError: it is empty, or ends early.
    """
    size = 0
    too_large = TooLargeError(f"The body is larger than {most // 1024**2} MiB.", hint="Send it in several requests.")
    if (
        request.headers.get("content-length", "0").isdecimal()
        and int(request.headers.get("content-length", "0")) > most
    ):
        raise too_large
    chunks = request.stream().__aiter__()
    try:
        with path.open("wb") as file:
            while True:
                with anyio.fail_after(_SLOWEST):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                size += len(chunk)
                if size > most:
                    raise too_large
                digest.update(chunk)
                if len(chunk) > _MANY:
                    await anyio.to_thread.run_sync(file.write, chunk)
                else:
                    file.write(chunk)
    except TimeoutError:
        raise TimedOutError(f"No byte of the body came in {_SLOWEST} seconds.", hint="Send it again.") from None
    except ClientDisconnect:
        raise EnergyForecastError("The body ended early.", hint="Send it again.") from None
    if not size:
        raise IngestError("The body is empty.", hint="Send the rows in the body.")
